//! Yocto's images, by kas: looks for everything that a build of hours needs before it starts one.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

use crate::{
    paths,
    process::{print, run, say},
    setup,
};

/// The boards, each a file of `yocto/kas`.
pub const MACHINES: &[&str] =
    &["imx8mp-evk", "pc-x86-64", "qemu-arm64", "raspberrypi4", "raspberrypi5", "rk3588"];
/// What a build takes at its peak, in GiB: OpenEmbedded asks for 90 (its system requirements), and ours has LLVM and Rust.
const DISK_GIB: u64 = 120;
/// Debian packages that OpenEmbedded wants on the machine that builds (Yocto's system requirements), and why.
const PACKAGES: &[(&str, &str)] = &[
    ("build-essential", "compiles the compilers"),
    ("bzip2", "unpacks sources"),
    ("chrpath", "makes programs of the build relocatable"),
    ("cpio", "file systems"),
    ("diffstat", "reads patches"),
    ("file", "tells programs from data"),
    ("gawk", "scripts of many recipes"),
    ("git", "fetches the layers"),
    ("locales", "bitbake's UTF-8 locale"),
    ("lz4", "unpacks sources"),
    ("patch", "patches sources"),
    ("python3", "bitbake"),
    ("socat", "QEMU's consoles"),
    ("texinfo", "manuals that some packages do not build without"),
    ("unzip", "unpacks sources"),
    ("wget", "fetches sources"),
    ("xz-utils", "unpacks sources"),
    ("zstd", "unpacks what was built before"),
];

/// Who signs updates, and whom the devices trust: PEM files.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// The key ring of the image.
    pub keyring: &'a Path,
    /// The signer's certificate.
    pub certificate: &'a Path,
    /// The signer's key.
    pub key: &'a Path,
}

/// Builds image and bundle of `machine`, and prints where they are.
///
/// # Errors
/// With what to do about it: an unknown machine, root's rights, a locale or a tool that is missing, too little disk; or
/// when the build fails.
pub fn build(machine: &str, signing: &Signing<'_>) -> anyhow::Result<()> {
    let file = configuration(machine)?;
    not_as_root(machine, setup::is_root())?;
    licences_accepted(machine, std::env::var("ACCEPT_FSL_EULA").ok().as_deref())?;
    let work = paths::target().join("yocto");
    std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    enough_disk(&work, free_bytes(&work)?)?;
    setup::apt(PACKAGES)?;
    let known =
        Command::new("locale").arg("-a").output().context("cannot ask for the locales of this machine")?;
    has_locale(&String::from_utf8_lossy(&known.stdout))?;
    let tools = setup::yocto_tools()?;
    setup::pages()?;

    say("kas: fetching layers, then building; the first time takes hours");
    let mut kas = Command::new(tools.join("kas"));
    kas.arg("build").arg(&file).current_dir(paths::root());
    kas.env("KAS_WORK_DIR", &work).env("LANG", "en_US.UTF-8").env("LC_ALL", "en_US.UTF-8");
    kas.env("ROSTRUM_PAGES", paths::root().join("firmware/web/dist"));
    kas.env("ROSTRUM_KEYRING", signing.keyring);
    kas.env("ROSTRUM_SIGNING_CERTIFICATE", signing.certificate);
    kas.env("ROSTRUM_SIGNING_KEY", signing.key);
    run(&format!("kas: building the image of {machine}"), &mut kas)?;
    print(&work.join("build/tmp/deploy/images").join(format!("rostrum-{machine}")).display().to_string());
    Ok(())
}

/// kas's file of a machine.
fn configuration(machine: &str) -> anyhow::Result<PathBuf> {
    ensure!(
        MACHINES.contains(&machine),
        "there is no board named {machine}; there are {}, and yocto/README.md says how one is added",
        MACHINES.join(", ")
    );
    Ok(paths::root().join(format!("yocto/kas/{machine}.yml")))
}

fn not_as_root(machine: &str, is_root: bool) -> anyhow::Result<()> {
    ensure!(
        !is_root,
        "bitbake refuses to work with root's rights: run `cargo xtask image {machine}` as another user"
    );
    Ok(())
}

/// What whoever builds has to have accepted, for the firmware of some boards.
fn licences_accepted(machine: &str, fsl_eula: Option<&str>) -> anyhow::Result<()> {
    ensure!(
        machine != "imx8mp-evk" || fsl_eula == Some("1"),
        "this board's firmware is NXP's: read the file EULA of meta-freescale, and set ACCEPT_FSL_EULA=1 to accept it"
    );
    Ok(())
}

/// Free bytes of the disk that `dir` is on.
fn free_bytes(dir: &Path) -> anyhow::Result<u64> {
    let output = Command::new("df").args(["--output=avail", "--block-size=1"]).arg(dir).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.lines().nth(1).and_then(|line| line.trim().parse().ok());
    number.with_context(|| format!("df does not say how much of the disk of {} is free", dir.display()))
}

fn enough_disk(dir: &Path, free: u64) -> anyhow::Result<()> {
    let gibibyte = 1 << 30;
    if free < DISK_GIB * gibibyte {
        bail!(
            "a build takes {DISK_GIB} GiB and {} has {} GiB free; make room, or set CARGO_TARGET_DIR to a folder of a larger \
             disk",
            dir.display(),
            free / gibibyte
        );
    }
    Ok(())
}

fn has_locale(known: &str) -> anyhow::Result<()> {
    let is_it = |name: &str| name.to_ascii_lowercase().replace('-', "") == "en_us.utf8";
    ensure!(
        known.lines().any(is_it),
        "bitbake needs the locale en_US.UTF-8, as root: sed -i 's/^# *en_US.UTF-8/en_US.UTF-8/' /etc/locale.gen && locale-gen"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_unknown_board_is_refused_with_those_that_there_are() {
        let error = configuration("raspberrypi3").unwrap_err().to_string();
        assert!(error.contains("raspberrypi3") && error.contains("raspberrypi4, raspberrypi5"), "{error}");
    }

    #[test]
    fn every_board_has_its_file_of_kas_and_every_file_its_board() {
        let folder = paths::root().join("yocto/kas");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".yml").map(str::to_owned))
            .filter(|name| name != "common")
            .collect();
        files.sort();
        assert_eq!(files, MACHINES);
    }

    #[test]
    fn too_little_disk_is_said_with_what_there_is() {
        let error = enough_disk(Path::new("/somewhere"), 29 << 30).unwrap_err().to_string();
        assert!(error.contains("120 GiB") && error.contains("/somewhere has 29 GiB"), "{error}");
        enough_disk(Path::new("/somewhere"), 120 << 30).unwrap();
    }

    #[test]
    fn the_disk_of_a_folder_has_some_bytes_free() {
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
    }

    #[test]
    fn a_machine_without_the_locale_is_told_how_to_make_it() {
        has_locale("C\nC.utf8\nen_US.utf8\nPOSIX\n").unwrap();
        let error = has_locale("C\nC.utf8\nPOSIX\n").unwrap_err().to_string();
        assert!(error.contains("locale-gen"), "{error}");
    }

    #[test]
    fn nobody_builds_as_root() {
        not_as_root("raspberrypi4", false).unwrap();
        let error = not_as_root("raspberrypi4", true).unwrap_err().to_string();
        assert!(error.contains("as another user"), "{error}");
    }

    #[test]
    fn a_makers_licence_is_accepted_by_a_person_or_not_at_all() {
        licences_accepted("raspberrypi4", None).unwrap();
        licences_accepted("imx8mp-evk", Some("1")).unwrap();
        let error = licences_accepted("imx8mp-evk", None).unwrap_err().to_string();
        assert!(error.contains("ACCEPT_FSL_EULA=1"), "{error}");
    }
}
