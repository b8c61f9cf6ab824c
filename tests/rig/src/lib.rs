//! What the guest's tests are written with: profiles of the rig's devices, and the emulated USB camera's other side.

mod module;
pub mod screen;
mod streaming;

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rostrum_board::{Board, OpenOptions, Profile};

pub use module::{Fault, Module};
pub use streaming::Streaming;

/// Emulation is slow: what takes a blink on hardware may take seconds.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Opens a board that has the devices of `sections` (TOML) and an encoder and a name, which every board has.
///
/// # Errors
/// As [`rostrum_board::open`].
pub fn open_board(sections: &str) -> anyhow::Result<Board> {
    let mut text = format!("name = \"rig\"\n{sections}\n");
    for (section, rest) in [
        ("[encoder]", "driver = \"gstreamer\"\nelement = \"x264enc\""),
        ("[identity]", "driver = \"virtual\"\nudid = \"rig-1\""),
    ] {
        if !sections.contains(section) {
            text += &format!("{section}\n{rest}\n");
        }
    }
    Ok(rostrum_board::open(&Profile::parse(&text, "rig.toml")?, OpenOptions::default())?)
}

/// The emulated USB camera, as its inside sees it.
pub struct UsbCamera {
    socket: String,
}

impl UsbCamera {
    /// The camera at a port of the virtual USB hub.
    pub fn at_port(port: u32) -> Self {
        Self { socket: format!("/run/uvc-camera-{port}.sock") }
    }

    /// Says one line and gives the answer.
    ///
    /// # Errors
    /// When the emulator is not there or refuses.
    pub fn ask(&self, line: &str) -> anyhow::Result<String> {
        let mut stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("the emulated camera does not answer at {}", self.socket))?;
        writeln!(stream, "{line}")?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        if answer.starts_with("error") {
            bail!("{line}: {answer}");
        }
        Ok(answer.trim().to_owned())
    }

    /// What the camera itself has for a control.
    ///
    /// # Errors
    /// As [`UsbCamera::ask`].
    pub fn value(&self, control: &str) -> anyhow::Result<i64> {
        let all = self.ask("get")?;
        let found =
            all.split(' ').find_map(|word| word.strip_prefix(&format!("{control}=")).map(str::to_owned));
        Ok(found.with_context(|| format!("no {control} in {all}"))?.parse()?)
    }
}

/// Waits until `found` gives something.
///
/// # Errors
/// When it does not within `PATIENCE`.
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = found() {
            return Ok(value);
        }
        if start.elapsed() > PATIENCE {
            bail!("no {what} within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
