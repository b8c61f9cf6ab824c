//! The disk of a terminal, or the image of one, open to be read or written.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{Advice, OFlags, fadvise};

use super::{
    ProvisionError, factory,
    partition_table::{self, Partition},
};

/// Bytes that are read of a factory partition: more than a file system of ours has.
const MOST: u64 = 64 << 20;

/// An open disk.
pub struct Disk {
    path: PathBuf,
    file: File,
    factory: Partition,
}

impl Disk {
    /// Opens a disk to read it.
    ///
    /// # Errors
    /// [`ProvisionError::Disk`] when it has no partition `factory`, [`ProvisionError::Io`].
    pub fn read_only(path: &Path) -> Result<Self, ProvisionError> {
        Self::open(path, OpenOptions::new().read(true))
    }

    /// Opens a disk to write it. Nobody else has it, or one of its partitions, mounted or open to be mounted.
    ///
    /// # Errors
    /// [`ProvisionError::InUse`], and as [`Disk::read_only`].
    pub fn exclusive(path: &Path) -> Result<Self, ProvisionError> {
        let kind = fs::metadata(path).map_err(ProvisionError::at(path))?.file_type();
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if kind.is_block_device() {
            // The kernel gives it to one owner, of the disk or of a partition (open(2)).
            options.custom_flags(OFlags::EXCL.bits().cast_signed());
        } else if let Some(device) = loop_of(path, Path::new("/sys/block")) {
            return Err(in_use(path, format!("{device} shows it as a disk; run `losetup -d {device}`")));
        }
        Self::open(path, &options)
    }

    fn open(path: &Path, options: &OpenOptions) -> Result<Self, ProvisionError> {
        let mut file = options.open(path).map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => in_use(path, "it or one of its partitions is mounted".into()),
            _ => ProvisionError::at(path)(error),
        })?;
        let at = || ProvisionError::at(path);
        let none = |message: &str| ProvisionError::Disk {
            place: path.display().to_string(),
            message: message.into(),
        };
        let length = file.seek(SeekFrom::End(0)).map_err(at())?;
        let partitions = partition_table::read(&mut file, length).map_err(at())?;
        let partitions = partitions.ok_or_else(|| none("it has no partition table (GPT)"))?;
        let mut ours = partitions.into_iter().filter(|partition| partition.name == factory::LABEL);
        let factory = ours.next().ok_or_else(|| none("it has no partition that is named factory"))?;
        if ours.next().is_some() {
            return Err(none("it has more than one partition that is named factory"));
        }
        Ok(Self { path: path.to_owned(), file, factory })
    }

    /// Size of the factory partition in bytes.
    pub fn factory_length(&self) -> u64 {
        self.factory.length
    }

    /// What is in the factory partition, of a large one its beginning.
    ///
    /// # Errors
    /// [`ProvisionError::Io`].
    pub fn read_factory(&mut self) -> Result<Vec<u8>, ProvisionError> {
        let length = self.factory.length.min(MOST);
        self.bytes(usize::try_from(length).unwrap_or(0)).map_err(ProvisionError::at(&self.path))
    }

    fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(self.factory.start))?;
        let mut bytes = vec![0; count];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes the factory partition. It is on the disk, and was read from there again, when this returns.
    ///
    /// # Errors
    /// [`ProvisionError::Differs`], [`ProvisionError::Io`].
    pub fn write_factory(&mut self, bytes: &[u8]) -> Result<(), ProvisionError> {
        let at = || ProvisionError::at(&self.path);
        if u64::try_from(bytes.len()).map_or(true, |count| count > self.factory.length) {
            let message = "the factory partition is too small".into();
            return Err(ProvisionError::Disk { place: self.path.display().to_string(), message });
        }
        self.file.seek(SeekFrom::Start(self.factory.start)).map_err(at())?;
        self.file.write_all(bytes).and_then(|()| self.file.sync_all()).map_err(at())?;
        // So that what is read comes from the card.
        fadvise(&self.file, self.factory.start, None, Advice::DontNeed)
            .map_err(|error| at()(error.into()))?;
        let read = self.bytes(bytes.len()).map_err(ProvisionError::at(&self.path))?;
        if read == bytes {
            Ok(())
        } else {
            Err(ProvisionError::Differs { place: self.path.display().to_string() })
        }
    }
}

fn in_use(path: &Path, by: String) -> ProvisionError {
    ProvisionError::InUse { place: path.display().to_string(), by }
}

/// The loop device that shows this file as a disk, below `blocks` (`/sys/block`;
/// `Documentation/ABI/testing/sysfs-block-loop`, `loop/backing_file`).
fn loop_of(path: &Path, blocks: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let devices = fs::read_dir(blocks).ok()?.flatten();
    let shows = |device: &fs::DirEntry| {
        let file = fs::read_to_string(device.path().join("loop/backing_file"));
        file.is_ok_and(|file| Path::new(file.trim_end_matches('\n')) == path)
    };
    let device = devices.into_iter().find(shows)?;
    Some(format!("/dev/{}", device.file_name().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_image_that_is_a_loop_device_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("a.img");
        fs::write(&image, "").unwrap();
        let device = folder.path().join("block/loop3/loop");
        fs::create_dir_all(&device).unwrap();
        let found = || loop_of(&image, &folder.path().join("block"));
        assert_eq!(found(), None);
        fs::write(device.join("backing_file"), format!("{}\n", image.canonicalize().unwrap().display()))
            .unwrap();
        assert_eq!(found().as_deref(), Some("/dev/loop3"));
    }

    #[test]
    fn what_is_no_disk_of_a_terminal_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("a.img");
        fs::write(&image, [0; 8192]).unwrap();
        let error = Disk::exclusive(&image).err().unwrap().to_string();
        assert!(error.contains("no partition table") && error.contains("flash the image first"), "{error}");
        assert!(matches!(Disk::exclusive(&folder.path().join("b")), Err(ProvisionError::Io { .. })));
    }
}
