//! `cargo xtask bench voice`: the voice chain beside its peers, in rooms that are generated. Ends with one line of JSON.

mod case;
mod figures;
mod instructions;
mod listeners;
mod rooms;

use std::path::PathBuf;

use clap::Parser;

/// Measures the voice chain, and `aec3`, `sonora` and speexdsp by themselves in the same rooms.
#[derive(Parser)]
struct Options {
    /// Rooms for each figure: the median and the worst of them are told.
    #[arg(long, default_value_t = 6)]
    rooms: u64,
    /// The first room's seed: other seeds are other rooms, places and voices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only our chain.
    #[arg(long)]
    no_peers: bool,
    /// Only figures whose names contain this.
    #[arg(long)]
    only: Option<String>,
    /// Runs a folder's `microphones.wav`, `playback.wav`, and (optional) `near.wav` and `geometry.toml` through the chain
    /// instead, and writes `out.wav` and `figures.json` there.
    #[arg(long)]
    case: Option<PathBuf>,
    /// Runs the chain for so many frames and measures nothing: for counters of instructions.
    #[arg(long)]
    frames: Option<usize>,
    /// Writes what each room gave and what became of it as WAV files there.
    #[arg(long)]
    keep: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match (&options.case, options.frames) {
        (Some(folder), _) => case::run(folder),
        (None, Some(frames)) => instructions::run(frames),
        (None, None) => rooms::run(&options),
    }
}
