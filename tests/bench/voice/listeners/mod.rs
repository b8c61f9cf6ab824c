//! Models of listeners: what people would say of a voice, as mean opinion scores of 1 to 5.

use std::{io::Write, process::Command};

use anyhow::{Context, ensure};
use rostrum_acoustics::scene::Heard;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Judge {
    /// PESQ against the near talker.
    Quality,
    /// DNSMOS of the voice alone.
    Opinion,
    /// AECMOS where only the far end talks.
    FarEnd,
    /// AECMOS where both talk.
    DoubleTalk,
}

impl Judge {
    fn name(self) -> &'static str {
        match self {
            Self::Quality => "quality",
            Self::Opinion => "opinion",
            Self::FarEnd => "far_end",
            Self::DoubleTalk => "double_talk",
        }
    }
}

/// Collects sounds, and has all of them judged at once: the models take seconds to start.
pub(crate) struct Listeners {
    folder: TempDir,
    jobs: Vec<Value>,
    files: usize,
}

impl Listeners {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: TempDir::new()?, jobs: Vec::new(), files: 0 })
    }

    /// Has `judge` hear what became of `heard` from a second on; `figure` is what the score is called, `{}` in it the
    /// name of the model.
    pub(crate) fn ask(
        &mut self,
        judge: Judge,
        figure: &str,
        heard: &Heard,
        voice: &[f32],
        from_s: f64,
    ) -> anyhow::Result<()> {
        let from = (from_s * 48_000.0) as usize;
        let mut sounds = json!({ "voice": self.write(voice, from)? });
        let mut add = |name: &str, planes: &[Vec<f32>]| -> anyhow::Result<()> {
            if let Some(plane) = planes.first() {
                sounds[name] = json!(self.write(plane, from)?);
            }
            Ok(())
        };
        match judge {
            Judge::Quality => add("near", &heard.near)?,
            Judge::Opinion => {}
            Judge::FarEnd | Judge::DoubleTalk => {
                add("microphone", &heard.microphones)?;
                add("played", &heard.played)?;
            }
        }
        self.jobs.push(json!({ "judge": judge.name(), "figure": figure, "sounds": sounds }));
        Ok(())
    }

    fn write(&mut self, plane: &[f32], from: usize) -> anyhow::Result<String> {
        let name = format!("{}.f32", self.files);
        self.files += 1;
        let bytes: Vec<u8> = plane.iter().skip(from).flat_map(|sample| sample.to_le_bytes()).collect();
        std::fs::write(self.folder.path().join(&name), bytes)?;
        Ok(name)
    }

    /// All scores, by the figures' names.
    pub(crate) fn scores(self) -> anyhow::Result<Vec<(String, f64)>> {
        if self.jobs.is_empty() {
            return Ok(Vec::new());
        }
        let _ = writeln!(std::io::stderr(), "models of listeners hear {} voices", self.jobs.len());
        std::fs::write(self.folder.path().join("jobs.json"), serde_json::to_vec(&self.jobs)?)?;
        let output = Command::new(xtask::setup::listeners()?)
            .arg(xtask::paths::root().join("tests/bench/voice/listeners/listen.py"))
            .arg(self.folder.path())
            .stderr(std::process::Stdio::inherit())
            .output()
            .context("cannot start Python")?;
        ensure!(output.status.success(), "the models of listeners ended with {}", output.status);
        serde_json::from_slice(&output.stdout).context("what the models of listeners said")
    }
}
