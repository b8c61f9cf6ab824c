//! A RAUC that is newer than Debian 12's: unpacked beside this system, and run with its own libraries.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::Context;

use super::debian::Apt;
use crate::{
    paths,
    process::run,
    setup::{apt, once},
};

/// Debian's release with it.
const RELEASE: &str = "trixie";
/// What is unpacked.
const PACKAGES: &str = "rauc";

/// Debian packages with the reason for each.
const NEEDED: &[(&str, &str)] = &[
    ("mmdebstrap", "unpacks a newer RAUC"),
    ("dbus-daemon", "a bus of their own for RAUC and rostrum-updater"),
    ("e2fsprogs", "disks of the update tests"),
    ("openssl", "keys that sign update bundles"),
    ("squashfs-tools", "packs update bundles"),
];

/// RAUC, unpacked.
#[derive(Clone, Debug)]
pub struct Rauc {
    root: PathBuf,
}

impl Rauc {
    /// Fetches it unless it is here.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn get() -> anyhow::Result<Self> {
        let root = paths::cache().join("rauc-root");
        once(&root.with_extension("complete"), format!("1 {RELEASE} {PACKAGES}").as_bytes(), || {
            apt(NEEDED)?;
            let _ = fs::remove_dir_all(&root);
            let known = fs::read_to_string(Apt::update()?.sources_list())?;
            let line = known.lines().find(|line| line.ends_with(" bookworm main"));
            let line = line.context("this machine's apt does not know Debian 12")?;
            let sources = paths::cache().join("rauc-sources.list");
            fs::write(&sources, format!("{}\n", line.replace(" bookworm ", &format!(" {RELEASE} "))))?;
            let mut command = Command::new("mmdebstrap");
            command
                .args(["--quiet", "--variant=extract", "--architectures=amd64"])
                .arg(format!("--include={PACKAGES}"))
                .arg(RELEASE)
                .arg(&root)
                .arg(&sources)
                .stdin(Stdio::null());
            run("mmdebstrap: unpacking RAUC 1.13 (some 80 MB)", &mut command)
        })?;
        apt(NEEDED)?;
        Ok(Self { root })
    }

    /// The command, with its own libraries.
    pub fn command(&self) -> Command {
        let libraries = self.root.join("usr/lib/x86_64-linux-gnu");
        let mut command = Command::new(self.root.join("lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(libraries).arg(self.root.join("usr/bin/rauc"));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        command
    }
}
