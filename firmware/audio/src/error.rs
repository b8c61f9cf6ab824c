//! What can go wrong with sound.

/// Why a chain cannot be built. Once built, chains do not fail: bad input is left out and counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The array's rate is not ours.
    #[error("the microphones give {rate_hz} Hz; set 48000 Hz in the board's profile")]
    Rate {
        /// What they give.
        rate_hz: u32,
    },
    /// The array has no microphone, or more than anybody has tried.
    #[error("the microphone array has {channels} microphones; 1 to {max} are supported")]
    Microphones {
        /// What it has.
        channels: usize,
        /// The most that is supported.
        max: usize,
    },
    /// A speaker has one channel or two.
    #[error("the speaker has {channels} channels; set 1 or 2 in the board's profile")]
    SpeakerChannels {
        /// What was asked for.
        channels: usize,
    },
    /// AEC3 has no such setting.
    #[error("aec3.{key} of the voice chain is out of its range; set {least} to {most}")]
    Aec3 {
        /// Which setting.
        key: &'static str,
        /// The least that it may be.
        least: f32,
        /// The most.
        most: f32,
    },
    /// Opus has no such bit rate.
    #[error("a bit rate of {bitrate_bps} bit/s is outside of what Opus can do; set 6000 to 510000")]
    Bitrate {
        /// What was asked for.
        bitrate_bps: u32,
    },
    /// Opus refused the settings.
    #[error("Opus refused {what}: {message}")]
    Opus {
        /// Which setting.
        what: &'static str,
        /// What Opus said.
        message: &'static str,
    },
}

impl AudioError {
    pub(crate) fn opus(what: &'static str) -> impl Fn(opusic_c::ErrorCode) -> Self {
        move |code| Self::Opus { what, message: code.message() }
    }
}
