//! U-Boot for the machine that QEMU is, built from Debian's source with our settings, and its script.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::install;
use crate::{
    paths,
    process::run,
    rig::{debian::Apt, kernel::quiet},
    setup::once,
};

/// Counted up when this file makes something else out of the same source.
const RECIPE: u32 = 1;
/// What U-Boot's own settings for QEMU are called.
const DEFAULTS: &str = "qemu_arm64_defconfig";

/// Debian packages that build it, with the reason for each.
pub(super) const PACKAGES: &[(&str, &str)] = &[
    ("bison", "U-Boot's settings"),
    ("flex", "U-Boot's settings"),
    ("bc", "U-Boot's version"),
    ("libssl-dev", "U-Boot's tools"),
    ("libgnutls28-dev", "U-Boot's tools"),
    ("u-boot-tools", "compiles the boot script"),
];

/// The boot loader; built when it is not in the cache, which takes a minute.
///
/// # Errors
/// When its source cannot be had or built.
pub(super) fn u_boot(apt: &Apt) -> anyhow::Result<PathBuf> {
    let sources = apt.source("u-boot")?;
    let source = sources
        .iter()
        .find(|source| source.name.contains(".orig.tar.") && !source.name.ends_with(".asc"))
        .context("Debian's u-boot has no source")?;
    let settings = install::recipes().join("u-boot/files/qemu-arm64.cfg");
    let dir = paths::cache().join("image-u-boot");
    let made_from = [format!("{RECIPE} {}", source.name).into_bytes(), fs::read(&settings)?].concat();
    once(&dir.join("complete"), &made_from, || {
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        let archive = apt.fetch_source(source, &dir)?;
        let tree = dir.join("source");
        fs::create_dir_all(&tree)?;
        quiet(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&tree).arg("--strip-components=1"))?;
        let make = |target: &[&str]| {
            let mut make = Command::new("make");
            make.args(["-s", "-j2", "ARCH=arm", "CROSS_COMPILE=aarch64-linux-gnu-"])
                .args(target)
                .current_dir(&tree);
            // The same source gives the same program.
            make.env("SOURCE_DATE_EPOCH", "1767225600");
            make
        };
        quiet(&mut make(&[DEFAULTS]))?;
        let mut merge = Command::new("scripts/kconfig/merge_config.sh");
        merge.args(["-m", ".config"]).arg(&settings).current_dir(&tree);
        quiet(&mut merge)?;
        quiet(&mut make(&["olddefconfig"]))?;
        all_taken(&settings, &tree.join(".config"))?;
        run("image: building U-Boot", &mut make(&["u-boot.bin"]))?;
        fs::copy(tree.join("u-boot.bin"), dir.join("u-boot.bin"))?;
        Ok(())
    })?;
    Ok(dir.join("u-boot.bin"))
}

/// A setting that U-Boot does not know, or that another one rules out, is dropped without a word by its own tools.
fn all_taken(settings: &Path, config: &Path) -> anyhow::Result<()> {
    let (wanted, taken) = (fs::read_to_string(settings)?, fs::read_to_string(config)?);
    let is_setting = |line: &&str| line.starts_with("CONFIG_") || line.starts_with("# CONFIG_");
    let dropped: Vec<_> = wanted
        .lines()
        .filter(is_setting)
        .filter(|line| !taken.lines().any(|one| one == *line) && !line.ends_with(" is not set"))
        .collect();
    ensure!(dropped.is_empty(), "U-Boot does not take these settings: {dropped:?}");
    Ok(())
}

/// Compiles the script that chooses the slot.
///
/// # Errors
/// When `mkimage` refuses.
pub fn script(to: &Path) -> anyhow::Result<()> {
    let source = install::recipes().join("u-boot/files/boot.cmd");
    let mut mkimage = Command::new("mkimage");
    mkimage
        .args(["-A", "arm64", "-T", "script", "-C", "none", "-n", "rostrum"])
        .arg("-d")
        .arg(source)
        .arg(to);
    quiet(mkimage.env("SOURCE_DATE_EPOCH", "1767225600"))
}
