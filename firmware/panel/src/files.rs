//! Small files that survive a power cut.

use std::io::Write;
use std::path::Path;

use crate::PanelError;

fn failed(path: &Path, source: std::io::Error) -> PanelError {
    PanelError::File { path: path.to_owned(), doing: "written", source }
}

/// A file next to `path` with `bytes` in it, on the disk, readable by its owner alone.
fn draft(path: &Path, bytes: &[u8]) -> std::io::Result<tempfile::NamedTempFile> {
    let folder = folder_of(path);
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The new name itself is on the disk only when its folder is.
fn settle(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder_of(path))?.sync_all()
}

/// Puts `bytes` in the place of what `path` holds: a reader, and a power cut, sees all or nothing of it.
/// Mode 0600. Blocks.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), PanelError> {
    let write = || {
        draft(path, bytes)?.persist(path).map_err(|error| error.error)?;
        settle(path)
    };
    write().map_err(|source| failed(path, source))
}

/// Like [`replace`], but only when `path` is absent: `false` when it is there. Mode 0600. Blocks.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<bool, PanelError> {
    let write = || match draft(path, bytes)?.persist_noclobber(path) {
        Ok(_) => settle(path).map(|()| true),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    };
    write().map_err(|source| failed(path, source))
}

/// What `path` holds; `None` when it is absent. Blocks.
pub(crate) fn read(path: &Path) -> Result<Option<String>, PanelError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PanelError::File { path: path.to_owned(), doing: "read", source }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_its_owners_alone_and_created_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/secret");
        assert_eq!(read(&path).unwrap(), None);
        assert!(create(&path, b"one").unwrap());
        assert!(!create(&path, b"two").unwrap());
        assert_eq!(read(&path).unwrap().unwrap(), "one");
        replace(&path, b"three").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), "three");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }
}
