//! An HTTP server of one file that gives ranges of it, and counts what it gave.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;

/// A server. It goes on until the process ends.
pub struct Files {
    address: String,
    given: Arc<AtomicU64>,
}

impl Files {
    /// Serves `file` at a free port of `here`.
    pub fn serve(here: &str, file: &Path) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((here, 0)).context("cannot serve the bundle")?;
        let address = format!("http://{}/bundle.raucb", listener.local_addr()?);
        let given = Arc::<AtomicU64>::default();
        let (file, count) = (file.to_owned(), Arc::clone(&given));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (file, count) = (file.clone(), Arc::clone(&count));
                // Whoever went away asks again.
                std::thread::spawn(move || answer(stream, &file, &count));
            }
        });
        Ok(Self { address, given })
    }

    /// Where the file is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Bytes of it that were given so far.
    pub fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }
}

fn answer(mut stream: TcpStream, file: &PathBuf, given: &AtomicU64) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    loop {
        let (mut range, mut first) = (None, String::new());
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(words) = line.strip_prefix("range: bytes=") {
                range = words.trim().split_once('-').map(|(from, to)| (from.to_owned(), to.to_owned()));
            }
        }
        let (status, from, to) = match range {
            Some((from, to)) => {
                let from: u64 = from.parse()?;
                ("206 Partial Content", from, to.parse::<u64>().unwrap_or(length - 1).min(length - 1))
            }
            None => ("200 OK", 0, length - 1),
        };
        let size = (to + 1).saturating_sub(from);
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {size}\r\nAccept-Ranges: bytes\r\n\
             Content-Range: bytes {from}-{to}/{length}\r\nContent-Type: application/octet-stream\r\n\r\n"
        )?;
        if first.starts_with("HEAD") {
            continue;
        }
        file.seek(SeekFrom::Start(from))?;
        let copied = std::io::copy(&mut (&mut file).take(size), &mut stream)?;
        given.fetch_add(copied, Ordering::Relaxed);
    }
}
