//! What the image has beside Debian: the files of `yocto/`, by the list that Yocto's recipes are held against, the
//! programs, the pages, and what makes them a system.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::{paths, rig::kernel::quiet};

/// The machine's name here and in Yocto.
pub const MACHINE: &str = "qemu-arm64";

/// `yocto/meta-rostrum/install.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    file: Vec<Installed>,
}

/// One file that an image has.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// Below `yocto/meta-rostrum/recipes-rostrum`.
    pub source: String,
    /// Where it goes, from the root on.
    pub target: String,
    /// Octal.
    pub mode: String,
    /// Only these machines have it, when there are any.
    #[serde(default)]
    pub machines: Vec<String>,
    /// Only these kinds of image have it, when there are any: `dev`.
    #[serde(default)]
    pub variants: Vec<String>,
}

/// The folder that sources are named from.
pub fn recipes() -> PathBuf {
    paths::root().join("yocto/meta-rostrum/recipes-rostrum")
}

/// The list of installed files.
///
/// # Errors
/// When it is not as described above it.
pub fn list() -> anyhow::Result<Vec<Installed>> {
    let file = paths::root().join("yocto/meta-rostrum/install.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
    let list: List = toml::from_str(&text).with_context(|| format!("{} is wrong", file.display()))?;
    Ok(list.file)
}

/// Fills in a template (`.in`). The board profile of a machine has its name, where a word asks for it.
pub fn fill_in(template: &str, machine: &str) -> String {
    let boot_loader = if machine.starts_with("pc-") { "grub" } else { "uboot" };
    let compatible = format!("rostrum-{machine}");
    let words =
        [("@COMPATIBLE@", compatible.as_str()), ("@BOOTLOADER@", boot_loader), ("@PROFILE@", machine)];
    words.iter().fold(template.to_owned(), |text, (word, value)| text.replace(word, value))
}

/// Installs the files of the list that `machine` has, below `root`.
///
/// # Errors
/// When one cannot be read or written.
pub fn install(root: &Path, machine: &str, variant: Option<&str>) -> anyhow::Result<()> {
    for file in list()? {
        let has = |list: &[String], wanted: Option<&str>| {
            list.is_empty() || wanted.is_some_and(|wanted| list.iter().any(|one| one == wanted))
        };
        if !has(&file.machines, Some(machine)) || !has(&file.variants, variant) {
            continue;
        }
        let source = recipes().join(&file.source);
        let mut content = fs::read(&source).with_context(|| format!("no {}", source.display()))?;
        if file.source.ends_with(".in") {
            content = fill_in(&String::from_utf8(content)?, machine).into_bytes();
        }
        put(root, &file.target, &content, &file.mode)?;
    }
    Ok(())
}

/// Installs the configuration, which is an administrator's and no package's: all files of Yocto's `rostrum-config`, where its
/// recipe has them.
fn configure(root: &Path) -> anyhow::Result<()> {
    let folder = recipes().join("rostrum-config/files");
    for entry in fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fill_in(&fs::read_to_string(&file)?, MACHINE);
        let target = match name.split_once('.') {
            Some((stem, "tmpfiles")) => format!("/usr/lib/tmpfiles.d/{stem}.conf"),
            Some((_, "conf")) => format!("/usr/lib/systemd/system/rostrumd.service.d/{name}"),
            _ => format!("/etc/rostrum/{}", name.trim_end_matches(".in")),
        };
        put(root, &target, text.as_bytes(), "644")?;
    }
    Ok(())
}

/// Writes a file of the image.
pub(super) fn put(root: &Path, target: &str, content: &[u8], mode: &str) -> anyhow::Result<()> {
    let to = root.join(target.trim_start_matches('/'));
    let folder = to.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder)?;
    // What is there may be a link to elsewhere.
    let _ = fs::remove_file(&to);
    fs::write(&to, content).with_context(|| format!("cannot write {}", to.display()))?;
    quiet(Command::new("chmod").arg(mode).arg(&to))
}

/// What makes the tree a system.
pub(super) struct System<'a> {
    /// The programs of this build.
    pub(super) programs: &'a [PathBuf],
    /// What `VERSION_ID` says.
    pub(super) version: &'a str,
    /// Whose signature updates need.
    pub(super) keyring: &'a Path,
    /// `dev`, or none.
    pub(super) variant: Option<&'a str>,
}

/// Makes a system out of an unpacked Debian.
pub(super) fn make(root: &Path, system: &System<'_>) -> anyhow::Result<()> {
    for folder in ["data", "factory", "srv", "var", "etc/rauc", "etc/rostrum", "usr/share/rostrum"] {
        fs::create_dir_all(root.join(folder))?;
    }
    install(root, MACHINE, system.variant)?;
    configure(root)?;
    for program in system.programs {
        let name = program.file_name().unwrap_or_default();
        let to = root.join("usr/bin").join(name);
        // What only a debugger needs stays here.
        quiet(Command::new("aarch64-linux-gnu-strip").arg("-o").arg(&to).arg(program))?;
        quiet(Command::new("chmod").arg("755").arg(&to))?;
    }
    let pages = root.join("usr/share/rostrum/panel");
    quiet(Command::new("cp").arg("-rL").arg(paths::pages("panel")).arg(&pages))?;
    put(root, "/etc/rauc/keyring.pem", &fs::read(system.keyring)?, "644")?;
    put(root, "/usr/lib/os-release", os_release(system).as_bytes(), "644")?;
    put(root, "/etc/hostname", b"rostrum\n", "644")?;
    // Empty, so that systemd lays one over it: the boot loader's, or one for this boot.
    put(root, "/etc/machine-id", b"", "444")?;
    put(root, "/etc/fstab", b"# Units mount everything: data.mount, var.mount, factory.mount.\n", "644")?;
    let resolver = root.join("etc/resolv.conf");
    let _ = fs::remove_file(&resolver);
    std::os::unix::fs::symlink("/run/systemd/resolve/stub-resolv.conf", resolver)?;
    let at_root = format!("--root={}", root.display());
    quiet(Command::new("systemd-sysusers").arg(&at_root))?;
    quiet(Command::new("systemctl").arg(&at_root).args(["preset-all", "--preset-mode=full"]))?;
    // Users and groups may not be written any more, so nothing needs what was there before.
    for leftover in ["passwd-", "group-", "shadow-", "gshadow-", ".pwd.lock"] {
        let _ = fs::remove_file(root.join("etc").join(leftover));
    }
    Ok(())
}

fn os_release(system: &System<'_>) -> String {
    let variant = if system.variant.is_some() { " for development" } else { "" };
    format!(
        "NAME=Rostrum\nID=rostrum\nID_LIKE=debian\nPRETTY_NAME=\"Rostrum {0}{variant}\"\nVERSION_ID={0}\n\
         VARIANT_ID={MACHINE}\n",
        system.version
    )
}

/// The programs of a system, which must all be there.
pub(super) fn programs(folder: &Path, names: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let programs: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
    let missing: Vec<_> = programs.iter().filter(|program| !program.exists()).collect();
    ensure!(missing.is_empty(), "cargo did not build {missing:?}");
    Ok(programs)
}
