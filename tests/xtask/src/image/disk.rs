//! File systems and disks made as files: no root's rights, nothing mounted.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use super::layout::{self, Partition};
use crate::rig::kernel::quiet;

/// All times in a file system are this one (2026-01-01), and its ids are made of names: two images of the same files are
/// equal, and an update fetches only blocks that really differ.
const TIME_S: u64 = 1_767_225_600;
const MIB: u64 = 1024 * 1024;

/// A random-looking id that is the same for the same name.
fn id_of(name: &str) -> String {
    let hash = |seed: u64| {
        name.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    let (high, low) = (hash(1), hash(2));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

/// Makes an ext4 file system of the files below `root`, all of root's, no larger than they need, at `file`.
///
/// No program in it keeps another user's rights (set-user-ID): nothing on a terminal asks for them.
pub(super) fn system_image(root: &Path, file: &Path, most_mib: u64) -> anyhow::Result<()> {
    quiet(
        Command::new("sh")
            .arg("-c")
            .arg("find . -perm /6000 -type f -exec chmod ug-s {} +")
            .current_dir(root),
    )?;
    let output =
        Command::new("du").args(["--summarize", "--block-size=1M", "--apparent-size"]).arg(root).output()?;
    let used: u64 =
        String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap_or_default().parse()?;
    let files = super::packages::files_below(root)?.len() as u64;
    // A block for what is left of each file's last one, its inode, and the tables.
    let size_mib = (used + used / 16 + files * 3 / 1024 + 24).next_multiple_of(4);
    ensure!(
        size_mib <= most_mib,
        "the system needs {size_mib} MiB and its partition has {most_mib}; make it larger in qemu-arm64.wks, or leave \
         something out in image/packages.rs"
    );
    let _ = fs::remove_file(file);
    let script = format!(
        "set -e\n\
         find . -exec touch -h -d @{TIME_S} {{}} +\n\
         chown -hR 0:0 .\n\
         chown 0:42 etc/shadow etc/gshadow\n\
         chmod 0640 etc/shadow etc/gshadow\n\
         chmod 0755 .\n\
         exec mke2fs -q -t ext4 -b 4096 -O ^has_journal,^metadata_csum_seed,^orphan_file -m 0 -L system -U {} \
         -E hash_seed={},root_owner=0:0,lazy_itable_init=0 -N {} -d . \"$1\" {size_mib}M",
        id_of("system"),
        id_of("hash seed"),
        files + files / 4 + 4096,
    );
    fakeroot(&script, root, file)
}

/// Makes an ext4 file system of `size_mib`, with the files below `root` when there are any.
pub(super) fn data_image(root: Option<&Path>, label: &str, size_mib: u64, file: &Path) -> anyhow::Result<()> {
    let _ = fs::remove_file(file);
    let empty = tempdir(file, "empty")?;
    let root = root.unwrap_or(&empty);
    let script = format!(
        "exec mke2fs -q -t ext4 -O ^metadata_csum_seed,^orphan_file -L {label} -U {} -E hash_seed={},root_owner=0:0 \
         -d . \"$1\" {size_mib}M",
        id_of(label),
        id_of("hash seed"),
    );
    fakeroot(&format!("set -e\nchown -hR 0:0 .\n{script}"), root, file)?;
    Ok(fs::remove_dir_all(empty)?)
}

fn tempdir(beside: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let dir = beside.with_extension(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Runs a script in `folder` that sees and sets owners as if it were root; `$1` is `file`.
fn fakeroot(script: &str, folder: &Path, file: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("fakeroot");
    command.args(["sh", "-c", script, "sh"]).arg(std::path::absolute(file)?).current_dir(folder);
    command.env("E2FSPROGS_FAKE_TIME", TIME_S.to_string()).env("SOURCE_DATE_EPOCH", TIME_S.to_string());
    quiet(&mut command)
}

/// Makes a FAT file system with `files` in its root.
pub(super) fn boot_image(files: &[(&Path, &str)], size_mib: u64, file: &Path) -> anyhow::Result<()> {
    let _ = fs::remove_file(file);
    File::create(file)?.set_len(size_mib * MIB)?;
    quiet(Command::new("mkfs.vfat").args(["-n", "BOOT", "-i", "52535452", "--invariant"]).arg(file))?;
    for (from, name) in files {
        let mut copy = Command::new("mcopy");
        copy.arg("-i")
            .arg(file)
            .arg(from)
            .arg(format!("::{name}"))
            .env("SOURCE_DATE_EPOCH", TIME_S.to_string());
        quiet(&mut copy)?;
    }
    Ok(())
}

/// Makes a disk of `partitions`; `content` gives the file that is in one, or none.
pub(super) fn assemble(
    partitions: &[Partition],
    content: impl Fn(&Partition) -> Option<PathBuf>,
    disk: &Path,
) -> anyhow::Result<()> {
    let (starts, length) = layout::places(partitions);
    let _ = fs::remove_file(disk);
    let mut out = File::create(disk)?;
    out.set_len(length * MIB)?;
    let mut sfdisk = Command::new("sfdisk");
    let mut child =
        sfdisk.arg("--quiet").arg(disk).stdin(Stdio::piped()).spawn().context("cannot start sfdisk")?;
    let mut input = child.stdin.take().context("sfdisk has no input")?;
    input.write_all(layout::sfdisk(partitions, &id_of("disk")).as_bytes())?;
    drop(input);
    ensure!(child.wait()?.success(), "sfdisk refuses the partitions");
    for (partition, start) in partitions.iter().zip(starts) {
        let Some(file) = content(partition) else { continue };
        let size = fs::metadata(&file)?.len();
        if size > partition.size_mib * MIB {
            bail!("{} has {size} bytes and its partition {} MiB", file.display(), partition.size_mib);
        }
        copy_sparse(&mut File::open(&file)?, &mut out, start * MIB)?;
    }
    Ok(out.sync_all()?)
}

/// Copies a file into a disk, leaving out blocks of zeros.
fn copy_sparse(from: &mut File, to: &mut File, at: u64) -> anyhow::Result<()> {
    let mut block = vec![0; 64 * 1024];
    let mut position = at;
    loop {
        let length = from.read(&mut block)?;
        if length == 0 {
            return Ok(());
        }
        if block[..length].iter().any(|byte| *byte != 0) {
            to.seek(SeekFrom::Start(position))?;
            to.write_all(&block[..length])?;
        }
        position += length as u64;
    }
}
