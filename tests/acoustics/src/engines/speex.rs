//! Debian's speexdsp: a process of its own that runs a whole room.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use super::{FRAME, Processed, in_order, mean};
use crate::scene::Heard;

/// Its canceller of 200 ms on the first microphone, and its suppressor of what is left.
pub struct Speex {
    library: PathBuf,
}

impl Speex {
    /// Fetches the library when it is not in the cache.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn fetch() -> anyhow::Result<Self> {
        Ok(Self { library: xtask::setup::speexdsp()? })
    }

    /// Runs it through a room.
    ///
    /// # Errors
    /// When the process fails.
    pub fn run(&self, heard: &Heard) -> anyhow::Result<Processed> {
        let mut child = Command::new("python3")
            .arg(xtask::paths::root().join("tests/peers/speex_echo.py"))
            .arg(&self.library)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start python3")?;
        // It takes one frame of the speaker for one of the microphone: its clock is the microphones', as a sound
        // server would do it that gives or leaves out frames.
        let newest = std::cell::Cell::new([0.0_f32; FRAME]);
        let mut bytes = Vec::new();
        in_order(
            heard,
            |planes| {
                let mut mono = [0.0; FRAME];
                mean(planes, &mut mono);
                newest.set(mono);
            },
            |_, planes| {
                for sample in newest.get().iter().chain(planes[0]) {
                    bytes.extend(((sample * 32_767.0).clamp(-32_768.0, 32_767.0) as i16).to_le_bytes());
                }
            },
        );
        // It reads everything before it writes.
        child.stdin.take().context("no standard input")?.write_all(&bytes)?;
        let out = child.wait_with_output()?;
        let mut said = String::new();
        out.stderr.as_slice().read_to_string(&mut said)?;
        anyhow::ensure!(out.status.success(), "speexdsp failed: {said}");
        let us: f64 = said.trim().parse().context("no time on standard error")?;
        let mut voice: Vec<f32> = out
            .stdout
            .as_chunks::<2>()
            .0
            .iter()
            .map(|bytes| f32::from(i16::from_le_bytes(*bytes)) / 32_767.0)
            .collect();
        voice.resize(heard.length(), 0.0);
        let frames = heard.length() / FRAME;
        Ok(Processed { voice, spent: Duration::from_secs_f64(us * frames as f64 / 1e6), frames })
    }
}
