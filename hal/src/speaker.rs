//! Loudspeakers.

use crate::Timestamp;

/// What a speaker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeakerFormat {
    /// Samples a second of each channel, in Hz.
    pub rate_hz: u32,
    /// Samples of each channel in one period.
    pub period_frames: usize,
    /// Channels, 1 or 2.
    pub channels: usize,
}

/// A speaker, owned by one thread.
pub trait Speaker: Send {
    /// The name to show to people.
    fn name(&self) -> String;

    /// What [`Speaker::write`] takes.
    fn format(&self) -> SpeakerFormat;

    /// Blocks until there is room for one period and plays it: interleaved, -1.0..=1.0, of length
    /// `period_frames * channels`. Returns when its first sample will be heard. Allocates nothing.
    ///
    /// # Errors
    /// [`SpeakerError::Gone`] at once (later calls try to open it again: wait before them),
    /// [`SpeakerError::Underrun`] (there was a gap before these samples, which are played).
    fn write(&mut self, samples: &[f32]) -> Result<Timestamp, SpeakerError>;

    /// How much faster than its nominal rate the device runs by the monotonic clock, in parts per million;
    /// `None` while it is not known, or for drivers that do not measure it.
    fn drift_ppm(&self) -> Option<f64> {
        None
    }
}

/// What can go wrong with a speaker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpeakerError {
    /// It is not there (any more).
    #[error("the speaker {name} is not there; plug it in")]
    Gone {
        /// Name of the device.
        name: String,
    },
    /// The caller was too slow and the room heard a gap.
    #[error("the speaker ran out of samples")]
    Underrun,
    /// The driver failed in another way.
    #[error("the speaker {name} failed: {message}")]
    Failed {
        /// Name of the device.
        name: String,
        /// What the driver said.
        message: String,
    },
}
