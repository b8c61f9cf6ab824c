//! A recording in the place of the drawn scene.

use std::{sync::Arc, time::Duration};

use crate::FrameSize;

/// One picture of a recording.
#[derive(Clone, Debug)]
pub struct ClipFrame {
    /// Counted from 0 in the order of presentation; starts again with each round of the loop.
    pub index: u32,
    /// [`crate::PixelFormat::Yuv420`] of the size asked for.
    pub bytes: Arc<[u8]>,
}

/// A recording that plays in a loop. Its reader (files and decoders) lives in `board/`.
pub trait ClipSource: Send + Sync {
    /// The name to show to people.
    fn name(&self) -> String;

    /// Pictures a second.
    fn frame_rate_hz(&self) -> f64;

    /// Starts decoding pictures scaled to `size`, borders black where the shape differs. Returns at once;
    /// `from` is the position to begin at, counted over all rounds.
    fn video(&self, size: FrameSize, from: Duration) -> Box<dyn ClipVideo>;

    /// Starts decoding sound at the position `from`, counted over all rounds; `None` when the recording
    /// is silent.
    fn audio(&self, from: Duration) -> Option<Box<dyn ClipAudio>>;
}

/// Pictures of a recording.
pub trait ClipVideo: Send {
    /// The newest picture that is not after `position` (counted over all rounds), and forgets older ones.
    /// `None` while it would be the picture given last, or when decoding is late. Never blocks.
    fn frame_at(&mut self, position: Duration) -> Option<ClipFrame>;
}

/// Sound of a recording.
pub trait ClipAudio: Send {
    /// Writes the next samples, mono at 48 kHz; silence where decoding is late. Never blocks.
    fn read(&mut self, samples: &mut [f32]);
}
