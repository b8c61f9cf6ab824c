//! A disk for the boot loader alone: an image's partitions with its script, and no system.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use xtask::{
    image::{self, layout},
    paths,
};

const MIB: u64 = 1024 * 1024;

/// The partitions of the image for QEMU.
///
/// # Errors
/// When its layout cannot be read.
pub fn partitions() -> anyhow::Result<Vec<layout::Partition>> {
    let file = paths::root().join(format!("yocto/meta-rostrum-bsp/files/wic/{}.wks", image::MACHINE));
    layout::parse(&fs::read_to_string(file)?)
}

/// Makes the partitions on `disk`, all of them empty.
///
/// # Errors
/// When `sfdisk` refuses.
pub fn partition(disk: &Path) -> anyhow::Result<()> {
    let partitions = partitions()?;
    fs::File::create(disk)?.set_len(layout::places(&partitions).1 * MIB)?;
    let mut sfdisk = Command::new("sfdisk").arg("-q").arg(disk).stdin(Stdio::piped()).spawn()?;
    let table = layout::sfdisk(&partitions, "5b0e3a0c-8a0c-4b0a-9f0e-0d6a2f8e7c11");
    sfdisk.stdin.take().context("sfdisk has no input")?.write_all(table.as_bytes())?;
    ensure!(sfdisk.wait()?.success(), "sfdisk refuses the partitions");
    Ok(())
}

/// Makes `disk` with the boot loader's script; with a kernel of the first slot when one is given.
///
/// # Errors
/// When a tool fails.
pub fn make(dir: &Path, disk: &Path, kernel: Option<&[u8]>) -> anyhow::Result<()> {
    partition(disk)?;
    let (script, boot) = (dir.join("boot.scr"), dir.join("boot.vfat"));
    image::script(&script)?;
    let size_mib = partitions()?.first().context("there is no partition")?.size_mib;
    fs::File::create(&boot)?.set_len(size_mib * MIB)?;
    run(Command::new("mkfs.vfat").arg(&boot))?;
    run(Command::new("mcopy").arg("-i").arg(&boot).arg(&script).arg("::boot.scr"))?;
    put(disk, "boot", &boot)?;
    if let Some(kernel) = kernel {
        let (root, system) = (dir.join("root"), dir.join("system.ext4"));
        fs::create_dir_all(root.join("boot"))?;
        fs::write(root.join("boot/Image"), kernel)?;
        let features = ["-O", "^metadata_csum_seed,^orphan_file,^has_journal"];
        run(Command::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4"])
            .args(features)
            .arg("-d")
            .arg(&root)
            .arg(&system)
            .arg("8M"))?;
        put(disk, "system-a", &system)?;
    }
    Ok(())
}

fn put(disk: &Path, name: &str, content: &Path) -> anyhow::Result<()> {
    let partitions = partitions()?;
    let index =
        partitions.iter().position(|one| one.name == name).with_context(|| format!("no partition {name}"))?;
    let at = format!("seek={}", layout::places(&partitions).0[index]);
    run(Command::new("dd")
        .args(["bs=1M", "conv=notrunc,sparse", &at])
        .arg(format!("if={}", content.display()))
        .arg(format!("of={}", disk.display())))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", error.trim());
    Ok(())
}
