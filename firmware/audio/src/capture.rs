//! Microphones to packets.

use crate::encode::PacketEncoder;
use crate::level::{dbov, sane};
use crate::voice::Voice;
use crate::{AudioError, Dbov, FRAME, PACKET, RATE_HZ, SILENCE, VoiceOptions};
use rostrum_hal::microphone::ArrayFormat;
use std::time::Duration;

/// What the microphones are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Speech: echo, noise and gain are taken care of; mono.
    #[default]
    Voice,
    /// Music: stereo, and not a sample is touched before the encoder.
    Music,
}

/// One packet of 20 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedAudio<'a> {
    /// An Opus packet (RFC 6716).
    pub opus: &'a [u8],
    /// Samples a channel at 48 kHz: how far the RTP timestamp moves on (RFC 7587 §4.1).
    pub samples: u32,
    /// Loudness, for the RTP extension of RFC 6464.
    pub level_dbov: Dbov,
}

/// What a chain has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CaptureMeters {
    /// Loudness of the last frame that could be sent, as it was sent; silence while muted.
    pub level_dbov: Option<Dbov>,
    /// Frames taken.
    pub frames: u64,
    /// Frames left out because their size was wrong.
    pub bad_frames: u64,
    /// Packets given out.
    pub packets: u64,
    /// What the canceller reckons to remove of the own speaker's echo, dB.
    pub echo_removed_db: Option<f32>,
    /// The delay it found between playing and hearing, milliseconds.
    pub echo_delay_ms: Option<u32>,
}

/// Frames that are dropped after an unmute: what the delay lines of the voice chain still hold was heard
/// in a muted room.
const FORGET_FRAMES: u8 = 2;

/// The chain: echo canceller, mean of the microphones, noise suppression, gain, Opus; in music mode Opus alone.
pub struct CaptureChain {
    microphones: usize,
    mode: Mode,
    muted: bool,
    forget: u8,
    voice: Voice,
    voice_encoder: PacketEncoder,
    music_encoder: PacketEncoder,
    meters: CaptureMeters,
}

impl CaptureChain {
    /// A chain for `array`: unmuted, in voice mode. All memory of ours is taken here.
    ///
    /// # Errors
    /// [`AudioError::Rate`] unless the array gives 48 kHz, [`AudioError::Microphones`],
    /// [`AudioError::Opus`] for a bit rate that Opus does not know.
    pub fn new(array: &ArrayFormat, options: VoiceOptions) -> Result<Self, AudioError> {
        if array.rate_hz != RATE_HZ {
            return Err(AudioError::Rate { rate_hz: array.rate_hz });
        }
        Ok(Self {
            microphones: array.channels(),
            mode: Mode::Voice,
            muted: false,
            forget: 0,
            voice: Voice::new(array.channels(), &options)?,
            voice_encoder: PacketEncoder::voice(&options)?,
            music_encoder: PacketEncoder::music(&options)?,
            meters: CaptureMeters::default(),
        })
    }

    /// Changes what the microphones are for, from the next frame on.
    pub fn set_mode(&mut self, mode: Mode) {
        if self.mode != mode {
            self.mode = mode;
            self.forget_all();
        }
    }

    /// Muted: no sample leaves. [`CaptureChain::process`] gives nothing, the encoder is fed nothing, and
    /// nothing that was heard while muted comes out later. The echo canceller goes on learning.
    pub fn set_muted(&mut self, muted: bool) {
        if self.muted != muted {
            self.muted = muted;
            self.voice.set_output_used(!muted);
            self.forget_all();
        }
    }

    fn forget_all(&mut self) {
        self.voice_encoder.clear();
        self.music_encoder.clear();
        self.forget = FORGET_FRAMES;
        self.meters.level_dbov = None;
    }

    /// What the speaker will play next: 480 samples, mono ([`crate::PlayOut::reference`]). Called once for each
    /// period that is played, before the microphones can hear it. Other sizes are left out.
    pub fn playback(&mut self, far: &[f32]) {
        if self.mode == Mode::Voice
            && let Ok(far) = <&[f32; FRAME]>::try_from(far)
        {
            self.voice.playback(&far.map(sane));
        }
    }

    /// Takes 10 ms of all microphones, interleaved (480 samples each), and gives a packet after every second
    /// call. The packet's first sample was heard 10 ms before the first of `microphones`. Input of another
    /// size is left out and counted; samples that are no numbers count as silence.
    pub fn process(&mut self, microphones: &[f32]) -> Option<EncodedAudio<'_>> {
        if !self.advance(microphones) {
            return None;
        }
        let encoder = match self.mode {
            Mode::Voice => &mut self.voice_encoder,
            Mode::Music => &mut self.music_encoder,
        };
        let (opus, level_dbov) = encoder.encode()?;
        self.meters.packets += 1;
        Some(EncodedAudio { opus, samples: PACKET as u32, level_dbov })
    }

    /// All but the encoding: `true` when a packet is complete.
    fn advance(&mut self, microphones: &[f32]) -> bool {
        if microphones.len() != self.microphones * FRAME {
            self.meters.bad_frames += 1;
            return false;
        }
        self.meters.frames += 1;
        match self.mode {
            Mode::Voice => {
                let voice = self.voice.process(microphones);
                if self.muted {
                    return false;
                }
                if self.forget > 0 {
                    self.forget -= 1;
                    return false;
                }
                self.meters.level_dbov = Some(dbov(voice));
                self.voice_encoder.add(voice.iter().copied())
            }
            Mode::Music => {
                if self.muted {
                    return false;
                }
                // The widest pair that the array has.
                let (left, right) = (0, self.microphones - 1);
                let pairs = microphones
                    .chunks_exact(self.microphones)
                    .flat_map(|samples| [samples[left], samples[right]])
                    .map(|sample| if sample.is_finite() { sample } else { 0.0 });
                let full = self.music_encoder.add(pairs);
                let newest = self.music_encoder.pending.len() - 2 * FRAME;
                self.meters.level_dbov = Some(dbov(&self.music_encoder.pending[newest..]));
                full
            }
        }
    }

    /// How long a sample takes from the microphone into the encoder, beside the 20 ms that a packet collects:
    /// what the canceller and the noise suppressor hold back.
    pub fn delay(&self) -> Duration {
        match self.mode {
            Mode::Voice => Duration::from_millis(10),
            Mode::Music => Duration::ZERO,
        }
    }

    /// Whether it is muted.
    pub fn muted(&self) -> bool {
        self.muted
    }

    /// Loudness as it was last sent; [`SILENCE`] while muted.
    pub fn level_dbov(&self) -> Dbov {
        self.meters.level_dbov.unwrap_or(SILENCE)
    }

    /// What the chain has seen so far.
    pub fn meters(&self) -> CaptureMeters {
        let (echo_removed_db, echo_delay_ms) = self.voice.echo_statistics();
        CaptureMeters { echo_removed_db, echo_delay_ms, ..self.meters }
    }
}
