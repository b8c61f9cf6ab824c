//! A folder of recordings through the chain.

use std::path::Path;

use anyhow::{Context, ensure};
use rostrum_acoustics::clocks::PlayClock;
use rostrum_acoustics::engines::{Chain, run as run_engine};
use rostrum_acoustics::estoi::estoi;
use rostrum_acoustics::scene::Heard;
use rostrum_acoustics::scores::{aligned, level_db};
use rostrum_acoustics::{measure, wav};
use rostrum_audio::VoiceOptions;
use rostrum_hal::microphone::Position;
use serde_json::json;

use crate::figures::print;

/// `geometry.toml`: where the microphones sit, and how the chain is set.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// One a channel of `microphones.wav`, metres: `{ x = 0.03, y = 0.0, z = 0.0 }`.
    microphones: Vec<Position>,
    /// As `[voice]` of the terminal's configuration.
    voice: VoiceOptions,
    /// Seconds of the near talker's recording that are left out of the score.
    skip_s: f64,
}

/// Runs it.
pub(crate) fn run(folder: &Path) -> anyhow::Result<()> {
    let microphones = wav::read(&folder.join("microphones.wav"))?;
    let length = microphones.iter().map(Vec::len).min().unwrap_or(0);
    ensure!(length > 0, "microphones.wav is empty");
    let playback = folder.join("playback.wav");
    let played = if playback.exists() { wav::read(&playback)? } else { vec![vec![0.0; length]] };
    let path = folder.join("geometry.toml");
    let mut settings = if path.exists() {
        let text = std::fs::read_to_string(&path)?;
        toml::from_str(&text).with_context(|| format!("in {}", path.display()))?
    } else {
        Settings::default()
    };
    if settings.microphones.is_empty() {
        settings.microphones = vec![Position::default(); microphones.len()];
    }
    ensure!(
        settings.microphones.len() == microphones.len(),
        "geometry.toml has {} microphones and microphones.wav {} channels",
        settings.microphones.len(),
        microphones.len()
    );
    let silence = vec![vec![0.0; length]; microphones.len()];
    let heard = Heard {
        echo: microphones.clone(),
        near: silence.clone(),
        others: silence.clone(),
        noise: silence,
        microphones,
        played,
        clock: PlayClock::default(),
        geometry: settings.microphones.clone(),
    };
    settings.voice.speaker_channels = heard.played.len().clamp(1, 8) as u8;
    let mut chain = Chain::new(&settings.microphones, settings.voice)?;
    let out = run_engine(&mut chain, &heard);
    wav::write(&folder.join("out.wav"), std::slice::from_ref(&out.voice))?;
    let meters = chain.meters.last().map(|meters| format!("{meters:?}"));
    let mut figures = json!({
        "bench": "voice",
        "case": folder.display().to_string(),
        "level_in_db": level_db(&heard.microphones[0]),
        "level_out_db": level_db(&out.voice),
        "removed_db": measure::removed_db(&heard, &out.voice, 0.0, f64::INFINITY),
        "removed_1_3s_db": measure::removed_db(&heard, &out.voice, 1.0, 3.0),
        "removed_after_3s_db": measure::removed_db(&heard, &out.voice, 3.0, f64::INFINITY),
        "cpu_us_per_10ms": out.us_per_frame(),
        "delay_told_ms": chain.delay().as_secs_f64() * 1e3,
        "meters_at_the_end": meters,
    });
    let near = folder.join("near.wav");
    if near.exists() {
        let near = wav::read(&near)?.remove(0);
        let skip = (settings.skip_s * 48_000.0) as usize;
        let near = near.get(skip..).unwrap_or_default();
        let (near, voice) = aligned(near, out.voice.get(skip..).unwrap_or_default(), 2_880);
        figures["estoi"] = json!(estoi(near, voice));
    }
    std::fs::write(folder.join("figures.json"), format!("{figures:#}\n"))?;
    print(&figures)
}
