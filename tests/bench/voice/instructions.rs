//! What a slower processor would need: by counting instructions.

use std::process::Command;

use rostrum_acoustics::cases::CIRCLE;
use rostrum_acoustics::engines::{Chain, Engine, FRAME};
use rostrum_acoustics::random::Random;
use rostrum_audio::VoiceOptions;

/// Of a Raspberry Pi 4.
const A72_HZ: f64 = 1.5e9;
/// Instructions in a cycle. A72s reach 1.2 to 1.6 in loops of floating point with NEON, whose vectors are as wide as the
/// SSE2 that this program is built for.
const A72_PER_CYCLE: f64 = 1.2;
const FEW: usize = 100;
const MANY: usize = 300;

/// Runs the whole chain over `frames` of noise on four microphones while the speaker plays. Counted from outside.
pub(crate) fn run(frames: usize) -> anyhow::Result<()> {
    let mut chain = Chain::new(&CIRCLE, VoiceOptions::default())?;
    let mut random = Random::new(1);
    let mut noise = || -> Vec<f32> { (0..FRAME).map(|_| random.between(-0.1, 0.1) as f32).collect() };
    let mut voice = [0.0; FRAME];
    for _ in 0..frames {
        let (far, near) = (noise(), noise());
        chain.playback(&[&far]);
        chain.process(&[&near, &near, &near, &near], &mut voice);
    }
    Ok(())
}

/// Instructions of a frame, counted by valgrind's callgrind as the difference of a long and a short run. `None` without
/// valgrind.
pub(crate) fn per_frame() -> Option<f64> {
    Some((counted(MANY)? - counted(FEW)?) / (MANY - FEW) as f64)
}

fn counted(frames: usize) -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--frames", &frames.to_string()])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&out.stderr);
    let line = said.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// The share of one core.
pub(crate) fn a72_core_percent(per_frame: f64) -> f64 {
    per_frame * 100.0 / (A72_HZ * A72_PER_CYCLE) * 100.0
}
