//! What takes echo out of a room's microphones: our chain, and the peers it is measured beside.

mod aec3;
mod chain;
mod sonora;
mod speex;

use std::time::Duration;

pub use self::aec3::Aec3;
pub use self::chain::{Chain, Frame as ChainFrame};
pub use self::sonora::Sonora;
pub use self::speex::Speex;
use crate::scene::Heard;

/// Samples in a frame of 10 ms.
pub const FRAME: usize = 480;

/// What an engine made of a room.
#[derive(Clone, Debug, Default)]
pub struct Processed {
    /// The voice, as long as what was heard.
    pub voice: Vec<f32>,
    /// Processor time of it all.
    pub spent: Duration,
    /// Frames of it.
    pub frames: usize,
}

impl Processed {
    /// Microseconds for a frame of 10 ms.
    pub fn us_per_frame(&self) -> f64 {
        self.spent.as_secs_f64() * 1e6 / self.frames.max(1) as f64
    }
}

/// A canceller that is told of frames. Frames are planes of [`FRAME`] samples.
pub trait Engine {
    /// What the speaker plays next, one plane a channel.
    fn playback(&mut self, frame: &[&[f32]]);
    /// What the microphones heard; writes the voice.
    fn process(&mut self, microphones: &[&[f32]], voice: &mut [f32]);
}

/// In the order of time: a frame of the speaker is told of before the microphones can hear it.
pub(crate) fn in_order(
    heard: &Heard,
    mut playback: impl FnMut(&[&[f32]]),
    mut process: impl FnMut(usize, &[&[f32]]),
) {
    let mut played = 0;
    let silence = [0.0_f32; FRAME];
    for start in (0..heard.length() / FRAME).map(|frame| frame * FRAME) {
        while (played as f64) < heard.clock.taken(start + FRAME) {
            let planes: Vec<&[f32]> =
                heard.played.iter().map(|p| p.get(played..played + FRAME).unwrap_or(&silence)).collect();
            playback(&planes);
            played += FRAME;
        }
        let planes: Vec<&[f32]> = heard.microphones.iter().map(|m| &m[start..start + FRAME]).collect();
        process(start, &planes);
    }
}

/// Runs `engine` through a room.
pub fn run(engine: &mut dyn Engine, heard: &Heard) -> Processed {
    let mut out = Processed { voice: vec![0.0; heard.length()], ..Processed::default() };
    // Both closures need it, one after the other.
    let engine = std::cell::RefCell::new(engine);
    let spent = std::cell::Cell::new(Duration::ZERO);
    let timed = |work: &mut dyn FnMut()| {
        let before = thread_time();
        work();
        spent.set(spent.get() + thread_time().saturating_sub(before));
    };
    in_order(
        heard,
        |planes| timed(&mut || engine.borrow_mut().playback(planes)),
        |start, planes| {
            let voice = &mut out.voice[start..start + FRAME];
            timed(&mut || engine.borrow_mut().process(planes, voice));
        },
    );
    out.spent = spent.get();
    out.frames = heard.length() / FRAME;
    out
}

/// The mean of planes: what a canceller with one input gets of an array.
pub(crate) fn mean(planes: &[&[f32]], out: &mut [f32]) {
    for (i, sample) in out.iter_mut().enumerate() {
        *sample = planes.iter().map(|plane| plane[i]).sum::<f32>() / planes.len().max(1) as f32;
    }
}

/// Processor time of this thread: what others take of a busy machine does not count.
fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}
