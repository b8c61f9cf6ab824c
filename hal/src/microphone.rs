//! Microphone arrays.

use crate::Timestamp;

/// Where a microphone sits, in metres: x right, y towards the talkers, z up, from the array's centre.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Right.
    pub x: f32,
    /// Towards the talkers.
    pub y: f32,
    /// Up.
    pub z: f32,
}

/// What an array gives.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayFormat {
    /// Samples a second of each microphone, in Hz.
    pub rate_hz: u32,
    /// Samples of each microphone in one period.
    pub period_frames: usize,
    /// One microphone a channel, in the order of the samples.
    pub geometry: Vec<Position>,
}

impl ArrayFormat {
    /// Number of microphones.
    pub fn channels(&self) -> usize {
        self.geometry.len()
    }
}

/// An array of microphones, owned by one thread.
pub trait MicrophoneArray: Send {
    /// The name to show to people.
    fn name(&self) -> String;

    /// What [`MicrophoneArray::read`] gives.
    fn format(&self) -> ArrayFormat;

    /// Blocks until the next period is there and writes it interleaved, -1.0..=1.0, to `samples`, whose
    /// length is `period_frames * channels`. Returns when its first sample was heard. Allocates nothing.
    ///
    /// # Errors
    /// [`MicrophoneError::Gone`] at once (later calls try to open it again: wait before them),
    /// [`MicrophoneError::Overrun`] (samples were lost, the next call goes on).
    fn read(&mut self, samples: &mut [f32]) -> Result<Timestamp, MicrophoneError>;

    /// What the speaker played during the period that was read last, where the hardware gives it together with the
    /// microphones: `period_frames` samples, one channel, -1.0..=1.0. It leaves the speaker no later than the
    /// microphones hear it.
    fn reference(&self) -> Option<&[f32]> {
        None
    }

    /// How much faster than its nominal rate the device runs by the monotonic clock, in parts per million;
    /// `None` while it is not known, or for drivers that do not measure it.
    fn drift_ppm(&self) -> Option<f64> {
        None
    }
}

/// What can go wrong with microphones.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MicrophoneError {
    /// They are not there (any more).
    #[error("the microphones {name} are not there; plug them in")]
    Gone {
        /// Name of the device.
        name: String,
    },
    /// The caller was too slow and samples are lost.
    #[error("{lost_frames} frames of the microphones were lost")]
    Overrun {
        /// Samples lost of each microphone.
        lost_frames: usize,
    },
    /// The driver failed in another way.
    #[error("the microphones {name} failed: {message}")]
    Failed {
        /// Name of the device.
        name: String,
        /// What the driver said.
        message: String,
    },
}
