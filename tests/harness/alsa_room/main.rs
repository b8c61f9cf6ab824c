//! A voice through ALSA: plays a sound on a profile's speaker while its microphones are heard, and writes what the voice
//! chain makes of it. A program of its own, as ALSA reads its configuration once, from the environment.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Parser;
use rostrum_audio::{CaptureChain, FRAME, NoiseSuppression, VoiceOptions};
use rostrum_board::{OpenOptions, Profile};

/// Sounds are 32-bit floats of this machine's order, mono.
#[derive(Parser)]
struct Options {
    /// The board's profile.
    #[arg(long)]
    profile: PathBuf,
    /// What is played; the program ends with it.
    #[arg(long)]
    play: PathBuf,
    /// Where the voice is written.
    #[arg(long)]
    voice: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let profile = Profile::parse(&fs::read_to_string(&options.profile)?, &options.profile.to_string_lossy())?;
    let board = rostrum_board::open(&profile, OpenOptions::default())?;
    let mut microphones = board.microphones.context("the profile has no microphones")?;
    let mut speaker = board.speaker.context("the profile has no speaker")?;
    let format = microphones.format();
    // Gain would count as echo, and noise suppression as echo removed.
    let voice = VoiceOptions { noise: NoiseSuppression::Off, gain: false, ..VoiceOptions::default() };
    let mut chain = CaptureChain::new(&format, voice)?;
    let mut heard = vec![0.0; FRAME * format.channels()];
    let mut voice = Vec::new();
    for far in floats(&fs::read(&options.play)?).chunks_exact(FRAME) {
        speaker.write(far)?;
        chain.playback(far);
        microphones.read(&mut heard)?;
        chain.process(&heard);
        let signals = chain.signals().context("the room is not muted, and talks")?;
        voice.extend(signals.output.iter().flat_map(|sample| sample.to_ne_bytes()));
    }
    fs::write(&options.voice, voice).with_context(|| format!("cannot write {}", options.voice.display()))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_ne_bytes([four[0], four[1], four[2], four[3]])).collect()
}
