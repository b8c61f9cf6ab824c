//! The partitions of a disk image, read from the same `.wks` file that the Yocto image is made by.

use anyhow::{Context, bail, ensure};

/// One partition, as a line `part` of a kickstart file says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its GPT label, which everything on a terminal finds it by.
    pub name: String,
    /// `ext4`, `vfat`, or empty where nothing is made in it.
    pub file_system: String,
    /// Label of the file system.
    pub label: String,
    /// Where its content comes from: `rootfs`, `bootimg-partition`, or empty.
    pub source: String,
    /// GPT type; the default of Linux when empty.
    pub kind: String,
    /// MiB.
    pub size_mib: u64,
}

/// Where the first partition begins, and what every partition is aligned to.
pub const ALIGN_MIB: u64 = 4;

/// Reads the partitions of a kickstart file, in their order on the disk.
///
/// # Errors
/// When a line has a word that is not known here, or lacks a name or a size.
pub fn parse(wks: &str) -> anyhow::Result<Vec<Partition>> {
    let mut partitions = Vec::new();
    for (number, line) in wks.lines().enumerate() {
        let line = line.trim();
        if let Some(words) = line.strip_prefix("part ") {
            let read = partition(words).with_context(|| format!("line {}", number + 1))?;
            ensure!(
                partitions.iter().all(|one: &Partition| one.name != read.name),
                "{} is there twice",
                read.name
            );
            partitions.push(read);
        } else if line.starts_with("bootloader ") {
            ensure!(line.contains("--ptable gpt"), "line {}: only GPT is read here", number + 1);
        } else if !line.is_empty() && !line.starts_with('#') {
            bail!("line {}: {line:?} is neither part nor bootloader", number + 1);
        }
    }
    ensure!(!partitions.is_empty(), "there is no line `part`");
    Ok(partitions)
}

fn partition(words: &str) -> anyhow::Result<Partition> {
    let mut read = Partition::default();
    let mut words = words.split_whitespace().flat_map(|word| word.split('='));
    while let Some(word) = words.next() {
        let mut value = || words.next().map(str::to_owned).with_context(|| format!("{word} has no value"));
        match word {
            "--part-name" => read.name = value()?,
            "--fstype" => read.file_system = value()?,
            "--label" => read.label = value()?,
            "--source" => read.source = value()?,
            "--part-type" => read.kind = value()?,
            "--fixed-size" => read.size_mib = mebibytes(&value()?)?,
            "--align" => {
                let kib: u64 = value()?.parse()?;
                ensure!(kib == ALIGN_MIB * 1024, "--align is {kib}, not {}", ALIGN_MIB * 1024);
            }
            "--ondisk" => drop(value()?),
            "--active" => {}
            mount_point if mount_point.starts_with('/') => {}
            other => bail!("{other} is not known here"),
        }
    }
    ensure!(!read.name.is_empty(), "it lacks --part-name");
    ensure!(read.size_mib > 0, "it lacks --fixed-size");
    Ok(read)
}

fn mebibytes(text: &str) -> anyhow::Result<u64> {
    let (number, factor) = match text.strip_suffix('G') {
        Some(number) => (number, 1024),
        None => (text.strip_suffix('M').unwrap_or(text), 1),
    };
    let number: u64 = number.parse().with_context(|| format!("{text} is no size"))?;
    number.checked_mul(factor).with_context(|| format!("{text} is no size"))
}

/// Where each partition begins, in MiB, and how long the disk is at least.
pub fn places(partitions: &[Partition]) -> (Vec<u64>, u64) {
    let mut next = ALIGN_MIB;
    let mut starts = Vec::new();
    for partition in partitions {
        starts.push(next);
        next += partition.size_mib.next_multiple_of(ALIGN_MIB);
    }
    // The second partition table is at the end.
    (starts, next + ALIGN_MIB)
}

/// What `sfdisk` makes them by.
pub fn sfdisk(partitions: &[Partition], disk_id: &str) -> String {
    let (starts, _) = places(partitions);
    let mut text = format!("label: gpt\nlabel-id: {disk_id}\n");
    for (partition, start) in partitions.iter().zip(starts) {
        let kind = if partition.kind.is_empty() { "linux" } else { &partition.kind };
        text += &format!(
            "start={start}MiB, size={}MiB, type={kind}, name={}\n",
            partition.size_mib, partition.name
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WKS: &str = "# a comment\n\
        part /boot --source bootimg-partition --ondisk vda --fstype=vfat --label boot --part-name boot --align 4096 --fixed-size 32M\n\
        part --part-name system-b --align 4096 --fixed-size 1G\n\
        bootloader --ptable gpt\n";

    #[test]
    fn a_partition_is_what_its_line_says() {
        let partitions = parse(WKS).unwrap();
        assert_eq!(partitions.len(), 2);
        let boot = &partitions[0];
        assert_eq!((boot.name.as_str(), boot.file_system.as_str(), boot.size_mib), ("boot", "vfat", 32));
        assert_eq!((boot.source.as_str(), boot.label.as_str()), ("bootimg-partition", "boot"));
        assert_eq!((partitions[1].size_mib, partitions[1].file_system.as_str()), (1024, ""));
        assert_eq!(places(&partitions), (vec![4, 36], 4 + 32 + 1024 + 4));
    }

    #[test]
    fn a_word_that_is_not_known_is_refused_with_its_line() {
        for (from, to) in [
            ("--part-name boot", "--part-nam boot"),
            ("--fixed-size 1G", "--fixed-size big"),
            ("--align 4096", "--align 1024"),
            ("--ptable gpt", "--ptable msdos"),
            ("part --part-name system-b", "part --part-name boot"),
        ] {
            let error = format!("{:#}", parse(&WKS.replacen(from, to, 1)).unwrap_err());
            assert!(error.contains("line ") || error.contains("twice"), "{to}: {error}");
        }
    }
}
