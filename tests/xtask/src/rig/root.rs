//! The file system that the guest sees: this machine's own for amd64, a Debian unpacked beside it for arm64.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Architecture, debian::Apt};
use crate::{paths, process::run, setup::once};

/// Counted up when this file makes something else out of the same packages.
const RECIPE: u32 = 1;

/// What programs for arm64 are linked with, and what they run with.
const PACKAGES: &[&str] = &[
    "libc6-dev",
    "libgcc-12-dev",
    "libstd-rust-web-dev",
    "libasound2-dev",
    "libgstreamer1.0-dev",
    "libgstreamer-plugins-base1.0-dev",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "gstreamer1.0-plugins-ugly",
    "gstreamer1.0-libav",
    "gstreamer1.0-alsa",
    "fonts-dejavu-core",
    "v4l-utils",
];

/// The root of the guest's file system, which it only reads.
pub(super) fn root(architecture: Architecture) -> anyhow::Result<PathBuf> {
    if architecture == Architecture::Amd64 {
        return Ok(Path::new("/").into());
    }
    let dir = paths::cache().join("rig-root-arm64");
    let list = PACKAGES.join(",");
    once(&dir.with_extension("complete"), format!("{RECIPE} {list}").as_bytes(), || {
        let _ = fs::remove_dir_all(&dir);
        let apt = Apt::update()?;
        let mut command = Command::new("mmdebstrap");
        // Nothing of it is run here, so nothing needs to be set up.
        command
            .args(["--quiet", "--variant=extract", "--architectures=arm64"])
            .arg(format!("--include={list}"))
            .args(["bookworm"])
            .arg(&dir)
            .arg(apt.sources_list())
            .stdin(Stdio::null());
        run("mmdebstrap: unpacking a Debian for arm64 (about 1 GB)", &mut command)?;
        // What packages would choose when they are set up: whose linear algebra FFmpeg uses.
        let libraries = dir.join("usr/lib/aarch64-linux-gnu");
        for (link, target) in
            [("libblas.so.3", "blas/libblas.so.3"), ("liblapack.so.3", "lapack/liblapack.so.3")]
        {
            if libraries.join(target).exists() && !libraries.join(link).exists() {
                std::os::unix::fs::symlink(target, libraries.join(link))?;
            }
        }
        Ok(())
    })?;
    Ok(dir)
}
