//! What is published beside an image: a block map, a checksum and a signature.
//!
//! ```text
//! IMAGE.bmap     for `bmaptool copy`; of an image as it is flashed, and not of a compressed one or of a bundle
//! IMAGE.sha256   for `sha256sum --check`
//! IMAGE.sig      for `openssl dgst -sha256 -verify BENCH.pub -signature IMAGE.sig IMAGE`
//! ```
//!
//! An image is read once, in pieces, and its holes are not read at all.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use rustix::{fs::SeekFrom, io::Errno};
use sha2::{Digest, Sha256};

use super::{
    ProvisionError,
    bench_key::BenchKey,
    block_map::{self, BLOCK, Range},
};

/// Endings of files that are not flashed as they are: `bmaptool` unpacks them, and takes the map of what is in them.
const PACKED: [&str; 6] = ["gz", "xz", "zst", "bz2", "zip", "raucb"];
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;
const ZEROS: [u8; 4096] = [0; 4096];

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// SHA-256 of the image, in hexadecimal.
    pub sha256: String,
    /// Bytes of the image that hold something.
    pub mapped_bytes: u64,
    /// The files: the block map where one is of use, the checksum, the signature.
    pub files: Vec<PathBuf>,
}

/// Writes the files beside an image.
///
/// # Errors
/// [`ProvisionError::Io`].
pub fn seal(image: &Path, key: &BenchKey) -> Result<Sealed, ProvisionError> {
    let at = |error| ProvisionError::at(image)(error);
    let name = image.file_name().ok_or_else(|| at(io::ErrorKind::InvalidFilename.into()))?;
    let mut file = File::open(image).map_err(at)?;
    let length = file.metadata().map_err(at)?.len();
    let (ranges, digest) = read(&mut file, length).map_err(at)?;
    let beside = |extension: &str| {
        let mut name = OsString::from(name);
        name.push(extension);
        image.with_file_name(name)
    };
    let sha256 = hex::encode(digest.clone().finalize());
    let line = format!("{sha256}  {}\n", name.to_string_lossy());
    let mut files = Vec::new();
    let mut publish = |extension: &str, bytes: &[u8]| -> Result<(), ProvisionError> {
        let path = beside(extension);
        write(&path, bytes)?;
        files.push(path);
        Ok(())
    };
    let is_packed =
        image.extension().is_some_and(|of| PACKED.iter().any(|packed| of.eq_ignore_ascii_case(packed)));
    if !is_packed {
        publish(".bmap", block_map::text(length, &ranges).as_bytes())?;
    }
    publish(".sha256", line.as_bytes())?;
    publish(".sig", &key.sign_digest(digest))?;
    let blocks: u64 = ranges.iter().map(|range| range.last - range.first + 1).sum();
    Ok(Sealed { sha256, mapped_bytes: blocks * BLOCK, files })
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ProvisionError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let at = |error| ProvisionError::at(path)(error);
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(at)?;
    new.write_all(bytes).and_then(|()| new.as_file().sync_all()).map_err(at)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(new.path(), mode).map_err(at)?;
    new.persist(path).map_err(|error| at(error.error))?;
    Ok(())
}

/// The ranges that hold something, and the checksum of all.
fn read(file: &mut File, length: u64) -> io::Result<(Vec<Range>, Sha256)> {
    let mut all = Sha256::new();
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some((first, end)) = next_data(file, at, length)? {
        zeros(&mut all, first - at);
        let mut own = Sha256::new();
        file.seek(io::SeekFrom::Start(first))?;
        let mut rest = (&*file).take(end - first);
        let mut piece = vec![0; PIECE];
        let mut left = end - first;
        while left > 0 {
            let count = rest.read(&mut piece)?;
            if count == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it became shorter while it was read",
                ));
            }
            all.update(&piece[..count]);
            own.update(&piece[..count]);
            left -= count as u64;
        }
        ranges.push(Range { first: first / BLOCK, last: (end - 1) / BLOCK, sha256: own.finalize().into() });
        at = end;
    }
    zeros(&mut all, length - at);
    Ok((ranges, all))
}

fn zeros(digest: &mut Sha256, mut count: u64) {
    while count > 0 {
        let now = count.min(ZEROS.len() as u64);
        digest.update(&ZEROS[..now as usize]);
        count -= now;
    }
}

/// The next bytes from `at` on that hold something, from the beginning of a block to the end of one, or of the file.
/// `at` is the beginning of a block. A file system that knows of no holes calls all of a file data (lseek(2)).
fn next_data(file: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= length {
        return Ok(None);
    }
    let first = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(first) => first / BLOCK * BLOCK,
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Holes that begin within the last block of what was found are of no use.
    let end = rustix::fs::seek(file, SeekFrom::Hole(first.max(at)))?;
    Ok(Some((first.max(at), end.next_multiple_of(BLOCK).min(length))))
}
