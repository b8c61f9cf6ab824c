//! From the microphones to Opus and from Opus to the speaker: pure functions of sample frames, without
//! I/O, threads or a clock.
//!
//! Sound is `f32` at 48 kHz, -1.0..=1.0, interleaved, in frames of 10 ms ([`FRAME`] samples of each channel).
//! A shell with an audio thread owns a [`CaptureChain`] (microphones to packets) and a [`PlayOut`] (packets to
//! the speaker) and carries what the speaker plays ([`PlayOut::reference`]) to [`CaptureChain::playback`].

mod activity;
mod alignment;
mod beam;
mod capture;
mod decode;
mod delay;
mod drift;
mod echo;
mod encode;
mod equalizer;
mod error;
mod fifo;
mod gain;
mod high_pass;
mod jitter;
mod knock;
mod level;
mod leveller;
mod limiter;
mod lip_sync;
mod mode;
mod noise;
mod notification;
mod opus_policy;
mod playout;
mod recorder;
mod redundancy;
mod stretch;
mod track;
mod transform;
mod voice;

pub use beam::{Direction, MicrophoneFault};
pub use capture::{CaptureChain, CaptureMeters, EncodedAudio};
pub use echo::{Aec3Mask, Aec3Nearend, Aec3Settings, Aec3Suppressor, EchoControl};
pub use equalizer::{Band, BandError, Equalizer, EqualizerSettings, MAX_BANDS};
pub use error::AudioError;
pub use level::{Dbov, SILENCE};
pub use lip_sync::{Holds, LipSync};
pub use mode::Mode;
pub use notification::Ducking;
pub use opus_policy::{LinkState, OpusPolicy, OpusSettings};
pub use playout::{MAX_TRACKS, PlayOut, TrackKey};
pub use recorder::{Recorder, Signals};
pub use track::TrackStatistics;
pub use voice::{NoiseSuppression, VoiceOptions};

/// Samples a second.
pub const RATE_HZ: u32 = 48_000;
/// Samples of one channel in a frame of 10 ms.
pub const FRAME: usize = 480;
/// Samples of one channel in a packet of 20 ms.
pub const PACKET: usize = 960;
