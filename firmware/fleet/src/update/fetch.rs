//! Fetches a bundle to a file: goes on where it was cut off, pauses while a meeting runs, and gives nothing but what was
//! promised.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{StatusCode, header::CONTENT_RANGE};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use url::Url;

use super::{
    http::{Http, HttpError},
    offer::Trouble,
};

/// What is to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is.
    pub url: Url,
    /// Bytes, when that is known.
    pub size: Option<u64>,
    /// SHA-256 in lower-case hexadecimal, when that is known.
    pub sha256: Option<String>,
}

/// Bytes that stay free for what else the terminal writes.
const SPARE: u64 = 4 << 20;
/// Connections that bring nothing before it is given up; one that brings something is not counted.
const FRUITLESS: u32 = 3;
/// Time between two of them.
const PAUSE: Duration = Duration::from_secs(2);
/// Bytes between two syncs: what a power cut takes away at most.
const SYNC: u64 = 8 << 20;

/// The folder that one bundle is fetched to.
#[derive(Clone, Debug)]
pub struct Folder {
    dir: PathBuf,
}

impl Folder {
    /// Takes `dir`, which is made when it is absent.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Forgets what was fetched.
    pub fn clear(&self) {
        for file in [self.part(), self.name(), self.whole()] {
            if let Err(error) = fs::remove_file(&file)
                && error.kind() != io::ErrorKind::NotFound
            {
                log::warn!(file:% = file.display(), error:%; "what was fetched cannot be removed");
            }
        }
    }

    fn part(&self) -> PathBuf {
        self.dir.join("bundle.part")
    }

    /// Says what the part is of.
    fn name(&self) -> PathBuf {
        self.dir.join("bundle.name")
    }

    fn whole(&self) -> PathBuf {
        self.dir.join("bundle.raucb")
    }

    /// Opens the part of `wanted`, empty when another one is here.
    fn open(&self, wanted: &Wanted) -> io::Result<(File, u64)> {
        let name = match &wanted.sha256 {
            Some(hash) => hash.clone(),
            None => format!("{} {:?}", wanted.url, wanted.size),
        };
        if !fs::read_to_string(self.name()).is_ok_and(|known| known == name) {
            self.clear();
            fs::write(self.name(), &name)?;
        }
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(self.part())?;
        let mut length = file.metadata()?.len();
        if wanted.size.is_some_and(|size| length > size) {
            file.set_len(0)?;
            length = 0;
        }
        Ok((file, length))
    }
}

/// Fetches `wanted`, tells percent by `tell`, and gives the file. It waits while `hold` is true.
///
/// # Errors
/// [`Trouble`]: what is no use to try again lasts.
pub async fn fetch(
    http: &Http,
    wanted: &Wanted,
    folder: &Folder,
    mut hold: watch::Receiver<bool>,
    mut tell: impl FnMut(u8),
) -> Result<PathBuf, Trouble> {
    let (mut file, mut length) = folder.open(wanted).map_err(|error| local(&error))?;
    if let Some(size) = wanted.size {
        space_for(&folder.dir, size.saturating_sub(length))?;
    }
    let mut fruitless = 0;
    while wanted.size.is_none_or(|size| length < size) || (wanted.size == Some(0)) {
        released(&mut hold).await;
        let before = length;
        let result = connection(http, wanted, &mut file, &mut length, &mut hold, &mut tell).await;
        match result {
            Ok(true) => break,
            // Held: the connection was let go.
            Ok(false) => continue,
            Err(trouble) if !trouble.may_pass => return Err(trouble),
            Err(trouble) => {
                fruitless = if length > before { 0 } else { fruitless + 1 };
                log::warn!(bytes = length, reason = trouble.text.as_str(); "the bundle stopped coming; going on from there");
                if fruitless >= FRUITLESS {
                    return Err(trouble);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    check(wanted, &mut file, length).inspect_err(|_| folder.clear())?;
    file.sync_all().map_err(|error| local(&error))?;
    fs::rename(folder.part(), folder.whole()).map_err(|error| local(&error))?;
    // Not the name: what is whole is not taken for a part of another one.
    let _ = fs::remove_file(folder.name());
    Ok(folder.whole())
}

/// One connection. Gives whether the file is whole, or it is held.
async fn connection(
    http: &Http,
    wanted: &Wanted,
    file: &mut File,
    length: &mut u64,
    hold: &mut watch::Receiver<bool>,
    tell: &mut impl FnMut(u8),
) -> Result<bool, Trouble> {
    let mut response = match http.get_from(&wanted.url, *length).await {
        Ok(response) => response,
        // What is here is not a part of what is there.
        Err(HttpError::Status { status: StatusCode::RANGE_NOT_SATISFIABLE, .. }) if *length > 0 => {
            restart(file, length)?;
            return Err(Trouble::passing("the server has less than was fetched; starting anew"));
        }
        Err(error) => return Err(remote(&error)),
    };
    if *length > 0 {
        let begins = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let fits = response.status() == StatusCode::PARTIAL_CONTENT
            && begins.and_then(first_byte).is_some_and(|first| first == *length);
        if !fits {
            // It does not give parts, so all of it comes again.
            restart(file, length)?;
            if response.status() == StatusCode::PARTIAL_CONTENT {
                return Err(Trouble::passing("the server gave another part than was asked for"));
            }
        }
    }
    let expected = response.content_length().map(|more| *length + more);
    file.seek(SeekFrom::Start(*length)).map_err(|error| local(&error))?;
    let total = wanted.size.or(expected);
    let mut unsynced = 0;
    loop {
        let chunk = tokio::select! {
            chunk = response.chunk() => chunk,
            _ = hold.wait_for(|held| *held) => {
                file.sync_data().map_err(|error| local(&error))?;
                return Ok(false);
            }
        };
        let chunk = chunk.map_err(|error| Trouble::passing(format!("the connection was cut: {error}")))?;
        let Some(chunk) = chunk else { break };
        *length += chunk.len() as u64;
        if wanted.size.is_some_and(|size| *length > size) {
            restart(file, length)?;
            return Err(Trouble::lasting("the server sends more than it promised"));
        }
        file.write_all(&chunk).map_err(|error| local(&error))?;
        unsynced += chunk.len() as u64;
        if unsynced >= SYNC {
            unsynced = 0;
            file.sync_data().map_err(|error| local(&error))?;
        }
        if let Some(total) = total.filter(|total| *total > 0) {
            tell((*length * 100 / total).min(100) as u8);
        }
    }
    if total.is_some_and(|total| *length < total) {
        return Err(Trouble::passing("the connection ended early"));
    }
    Ok(true)
}

fn restart(file: &mut File, length: &mut u64) -> Result<(), Trouble> {
    *length = 0;
    file.set_len(0).map_err(|error| local(&error))
}

/// The first byte of a `Content-Range` (RFC 9110 §14.4).
fn first_byte(content_range: &str) -> Option<u64> {
    content_range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

async fn released(hold: &mut watch::Receiver<bool>) {
    // Nobody holds when the sender is gone.
    let _ = hold.wait_for(|held| !*held).await;
}

fn check(wanted: &Wanted, file: &mut File, length: u64) -> Result<(), Trouble> {
    if let Some(size) = wanted.size.filter(|size| *size != length) {
        return Err(Trouble::passing(format!("the bundle has {length} bytes in the place of {size}")));
    }
    let Some(expected) = &wanted.sha256 else { return Ok(()) };
    let found = hash(file).map_err(|error| local(&error))?;
    if found != *expected {
        return Err(Trouble::passing(
            "the bundle is not the one that the server speaks of (SHA-256 differs)",
        ));
    }
    Ok(())
}

fn hash(file: &mut File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether `dir` has room for so many bytes.
fn space_for(dir: &Path, bytes: u64) -> Result<(), Trouble> {
    let system = rustix::fs::statvfs(dir).map_err(|error| local(&error.into()))?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let needed = bytes.saturating_add(SPARE);
    if free < needed {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        return Err(Trouble::lasting(format!(
            "{} has {} MiB free, and the update needs {}; free some space",
            dir.display(),
            free >> 20,
            mib(needed)
        )));
    }
    Ok(())
}

fn local(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::StorageFull => Trouble::lasting("the disk is full; free some space"),
        _ => Trouble::passing(format!("the bundle cannot be written: {error}")),
    }
}

fn remote(error: &HttpError) -> Trouble {
    let lasting = matches!(error, HttpError::Status { status, .. } if status.is_client_error()
        && !matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS));
    Trouble { text: error.to_string(), may_pass: !lasting }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_says_where_it_begins() {
        assert_eq!(first_byte("bytes 5-9/10"), Some(5));
        assert_eq!(first_byte("bytes 5000000000-/*"), Some(5_000_000_000));
        for wrong in ["bytes */10", "5-9/10", "bytes -1-2/3", ""] {
            assert_eq!(first_byte(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader_of_ranges(text: String) {
            let _ = first_byte(&text);
        }
    }
}
