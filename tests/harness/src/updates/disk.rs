//! A disk that can lose its power: an ext4 file system on a loop device. What was not synced is not in the file behind
//! it, so a copy of that file is the disk after a power cut.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::bundle::succeeds;
use crate::until;

/// Size of the disk.
const SIZE: &str = "16M";

/// A mounted disk.
pub(super) struct Disk {
    image: PathBuf,
    mount: PathBuf,
    is_mounted: bool,
}

impl Disk {
    /// Makes one below `dir`.
    pub(super) fn new(dir: &Path) -> anyhow::Result<Self> {
        let image = dir.join("disk.img");
        succeeds(Command::new("mke2fs").args(["-q", "-t", "ext4", "-m", "0"]).arg(&image).arg(SIZE))?;
        let mut disk = Self { image, mount: dir.join("disk"), is_mounted: false };
        fs::create_dir_all(&disk.mount)?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> &Path {
        &self.mount
    }

    pub(super) fn mount(&mut self) -> anyhow::Result<()> {
        succeeds(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))?;
        self.is_mounted = true;
        Ok(())
    }

    /// In order: everything is written.
    pub(super) fn unmount(&mut self) -> anyhow::Result<()> {
        if self.is_mounted {
            // A process that was killed may be on its way out.
            until("the disk is free", Duration::from_secs(60), || {
                succeeds(Command::new("umount").arg(&self.mount)).map(Some)
            })?;
            self.is_mounted = false;
        }
        Ok(())
    }

    /// The power is gone: what was not synced is lost.
    pub(super) fn cut(&mut self) -> anyhow::Result<()> {
        let after = self.image.with_extension("cut");
        succeeds(Command::new("cp").arg("--sparse=always").args([&self.image, &after]))?;
        self.unmount()?;
        fs::rename(after, &self.image)?;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Nothing is left to be told.
        let _ = self.unmount();
    }
}
