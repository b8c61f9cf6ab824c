//! The update bundle of an image, and what lies beside a file that is downloaded: block map, checksum, signature.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::{install::MACHINE, keys::Keys};
use crate::{
    paths,
    process::run,
    rig::{debian::Apt, kernel::quiet},
    setup::once,
};

/// RAUC for this machine, which Debian 12 has only too old: unpacked beside it, with the libraries that it is linked with.
///
/// # Errors
/// When it cannot be fetched.
pub(super) fn rauc(apt: &Apt) -> anyhow::Result<Rauc> {
    let wanted = ["rauc:amd64"];
    let names: Vec<_> = apt.resolve(&wanted)?.into_iter().map(|source| source.name).collect();
    let root = paths::cache().join("image-rauc-amd64");
    once(&root.with_extension("complete"), format!("{names:?}").as_bytes(), || {
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        for package in apt.fetch_all(&wanted)? {
            quiet(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root))?;
        }
        Ok(())
    })?;
    Ok(Rauc { root })
}

/// RAUC of the image's release, for this machine.
#[derive(Clone, Debug)]
pub struct Rauc {
    root: PathBuf,
}

impl Rauc {
    /// A command of it.
    pub fn command(&self) -> Command {
        let mut rauc = Command::new(self.root.join("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"));
        rauc.arg("--library-path")
            .arg(self.root.join("usr/lib/x86_64-linux-gnu"))
            .arg(self.root.join("usr/bin/rauc"));
        rauc
    }
}

/// Makes a signed bundle of a system's image: verity, so that it can be streamed, and with an index of its blocks, so that
/// a terminal fetches only those that it does not have.
pub(super) fn bundle(
    rauc: &Rauc,
    system: &Path,
    version: &str,
    keys: &Keys,
    to: &Path,
) -> anyhow::Result<()> {
    let folder = to.with_extension("content");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let image = folder.join("system.ext4");
    fs::hard_link(system, &image).or_else(|_| fs::copy(system, &image).map(drop))?;
    let manifest = format!(
        "[update]\ncompatible=rostrum-{MACHINE}\nversion={version}\n\n[bundle]\nformat=verity\n\n\
         [image.rootfs]\nfilename=system.ext4\nadaptive=block-hash-index\n"
    );
    fs::write(folder.join("manifest.raucm"), manifest)?;
    let _ = fs::remove_file(to);
    let mut make = rauc.command();
    make.arg("--cert")
        .arg(&keys.certificate)
        .arg("--key")
        .arg(&keys.key)
        .arg("--keyring")
        .arg(&keys.authority);
    // Less than the best compression: the image is made on every change.
    make.args(["bundle", "--mksquashfs-args=-comp zstd -Xcompression-level 6 -b 128K -quiet -no-progress"]);
    run("rauc: making the bundle", make.arg(&folder).arg(to))?;
    Ok(fs::remove_dir_all(folder)?)
}

/// Writes beside `file`: its block map (`.bmap`), checksum (`.sha256`) and signature (`.p7s`, CMS, detached, DER).
pub(super) fn seal(file: &Path, keys: &Keys) -> anyhow::Result<()> {
    let beside = |extension: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(extension);
        PathBuf::from(name)
    };
    quiet(Command::new("bmaptool").args(["-q", "create", "-o"]).arg(beside(".bmap")).arg(file))?;
    let name = file.file_name().context("a file has a name")?;
    let folder = file.parent().context("a file is in a folder")?;
    let output = Command::new("sha256sum").arg(name).current_dir(folder).output()?;
    ensure!(output.status.success(), "sha256sum failed");
    fs::write(beside(".sha256"), output.stdout)?;
    let mut sign = Command::new("openssl");
    sign.args(["cms", "-sign", "-binary", "-nosmimecap", "-outform", "DER", "-in"]).arg(file);
    quiet(
        sign.arg("-signer")
            .arg(&keys.certificate)
            .arg("-inkey")
            .arg(&keys.key)
            .arg("-out")
            .arg(beside(".p7s")),
    )
}
