//! Microphones to packets.

use crate::encode::PacketEncoder;
use crate::level::{dbov, sane};
use crate::opus_policy::{LinkState, OpusPolicy, OpusSettings};
use crate::recorder::Signals;
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
    /// How much faster the speaker's clock runs than the microphones', parts per million.
    pub clock_drift_ppm: Option<f32>,
    /// Whether somebody in the room speaks; of the last frame of a voice.
    pub voice_active: bool,
    /// What gain control adds, dB; `None` without it.
    pub gain_db: Option<f32>,
    /// The most that the limiter took in the last frame of a voice, dB, 0 or below.
    pub limiter_db: f32,
    /// Keys, pens and knocks that were taken down.
    pub knocks: u64,
}

/// The most channels a speaker may have.
const MAX_CHANNELS: usize = 8;
/// Frames that are dropped after an unmute: what the delay lines of the voice chain still hold was heard
/// in a muted room.
const FORGET_FRAMES: u8 = 2;
/// Frames over which the voice then fades in: the canceller's comfort noise still has the muted room's colour.
const FADE_FRAMES: u8 = 8;

/// The chain: echo canceller, mean of the microphones, noise suppression, gain, Opus; in music mode Opus alone.
pub struct CaptureChain {
    microphones: usize,
    mode: Mode,
    muted: bool,
    forget: u8,
    fade: u8,
    voice: Voice,
    /// A frame of the speaker, without what is no number.
    far: Vec<f32>,
    voice_encoder: PacketEncoder,
    music_encoder: PacketEncoder,
    voice_policy: OpusPolicy,
    music_policy: OpusPolicy,
    link: LinkState,
    meters: CaptureMeters,
}

impl CaptureChain {
    /// A chain for `array`: unmuted, in voice mode. All memory of ours is taken here.
    ///
    /// # Errors
    /// [`AudioError::Rate`] unless the array gives 48 kHz, [`AudioError::Microphones`],
    /// [`AudioError::Bitrate`], [`AudioError::Opus`].
    pub fn new(array: &ArrayFormat, options: VoiceOptions) -> Result<Self, AudioError> {
        if array.rate_hz != RATE_HZ {
            return Err(AudioError::Rate { rate_hz: array.rate_hz });
        }
        let (voice_policy, music_policy) = (OpusPolicy::voice(&options), OpusPolicy::music(&options));
        Ok(Self {
            microphones: array.channels(),
            mode: Mode::Voice,
            muted: false,
            forget: 0,
            fade: 0,
            voice: Voice::new(array.channels(), &options)?,
            far: vec![0.0; FRAME * MAX_CHANNELS],
            voice_encoder: PacketEncoder::voice(&voice_policy.settings_now())?,
            music_encoder: PacketEncoder::music(&music_policy.settings_now())?,
            voice_policy,
            music_policy,
            link: LinkState::default(),
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

    /// What the link is like from now on: the encoders follow it.
    pub fn set_link(&mut self, link: LinkState) {
        self.link = link;
    }

    /// How the present mode is encoded.
    pub fn opus_settings(&self) -> OpusSettings {
        match self.mode {
            Mode::Voice => self.voice_policy.settings_now(),
            Mode::Music => self.music_policy.settings_now(),
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
        self.fade = FADE_FRAMES;
        self.meters.level_dbov = None;
    }

    /// What the speaker will play next ([`crate::PlayOut::reference`]): 480 samples of each of 1 to 8 channels,
    /// interleaved; mono is what all channels play. Called once for each period that is played, before the
    /// microphones can hear it, in bursts if need be; a speaker that is not heard of for 100 ms counts as silent.
    /// Other sizes are left out.
    pub fn playback(&mut self, far: &[f32]) {
        let channels = far.len() / FRAME;
        if self.mode != Mode::Voice
            || !(1..=MAX_CHANNELS).contains(&channels)
            || !far.len().is_multiple_of(FRAME)
        {
            return;
        }
        let sane_far = &mut self.far[..far.len()];
        for (to, from) in sane_far.iter_mut().zip(far) {
            *to = sane(*from);
        }
        self.voice.playback(sane_far, channels);
    }

    /// Takes 10 ms of all microphones, interleaved (480 samples each), and gives a packet after every second
    /// call. The packet's first sample was heard 10 ms before the first of `microphones`. Input of another
    /// size is left out and counted; samples that are no numbers count as silence.
    pub fn process(&mut self, microphones: &[f32]) -> Option<EncodedAudio<'_>> {
        if !self.advance(microphones) {
            return None;
        }
        let (encoder, policy) = match self.mode {
            Mode::Voice => (&mut self.voice_encoder, &mut self.voice_policy),
            Mode::Music => (&mut self.music_encoder, &mut self.music_policy),
        };
        if let Some(settings) = policy.next(&self.link) {
            // Its settings are all within Opus' ranges.
            let applied = encoder.apply(&settings);
            debug_assert!(applied.is_ok());
        }
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
                let from = 1.0 - f32::from(self.fade) / f32::from(FADE_FRAMES);
                let step = if self.fade > 0 { 1.0 / f32::from(FADE_FRAMES) / FRAME as f32 } else { 0.0 };
                self.fade = self.fade.saturating_sub(1);
                self.meters.level_dbov = Some(dbov(voice));
                let faded = voice.iter().enumerate().map(|(i, sample)| sample * (from + step * i as f32));
                self.voice_encoder.add(faded)
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

    /// What each step made of the last frame, for a recorder. `None` while muted (nothing of a muted room is recorded)
    /// and in music mode, which has no steps.
    pub fn signals(&self) -> Option<Signals<'_>> {
        (self.mode == Mode::Voice && !self.muted && self.forget == 0).then(|| self.voice.signals())
    }

    /// How long a sample takes from the microphone into the encoder, beside the 20 ms that a packet collects:
    /// what the canceller and the noise suppressor hold back.
    pub fn delay(&self) -> Duration {
        match self.mode {
            Mode::Voice => self.voice.delay(),
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
        let (echo_removed_db, echo_delay_ms, clock_drift_ppm) = self.voice.echo_statistics();
        let (gain_db, limiter_db, voice_active) = self.voice.levels();
        CaptureMeters {
            echo_removed_db,
            echo_delay_ms,
            clock_drift_ppm,
            voice_active: voice_active && !self.muted,
            gain_db,
            limiter_db,
            knocks: self.voice.knocks(),
            ..self.meters
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rostrum_hal::microphone::Position;

    fn chain(microphones: usize) -> CaptureChain {
        let geometry = vec![Position::default(); microphones];
        let array = ArrayFormat { rate_hz: RATE_HZ, period_frames: FRAME, geometry };
        CaptureChain::new(&array, VoiceOptions::default()).unwrap()
    }

    /// Frame `n` of something loud on `microphones`, different on each.
    fn loud(n: usize, microphones: usize) -> Vec<f32> {
        let tone = |i: usize| {
            ((n * FRAME + i / microphones) as f32 * (0.05 + 0.01 * (i % microphones) as f32)).sin()
        };
        (0..FRAME * microphones).map(|i| tone(i) * 0.9).collect()
    }

    #[test]
    fn in_music_mode_the_encoder_gets_what_the_microphones_gave_bit_by_bit() {
        for (microphones, left, right) in [(1, 0, 0), (2, 0, 1), (4, 0, 3)] {
            let mut chain = chain(microphones);
            chain.set_mode(Mode::Music);
            for n in 0..10 {
                chain.playback(&[0.5; FRAME]);
                let given = [loud(2 * n, microphones), loud(2 * n + 1, microphones)];
                assert!(!chain.advance(&given[0]));
                assert!(chain.advance(&given[1]));
                let expected: Vec<u32> = given
                    .concat()
                    .chunks_exact(microphones)
                    .flat_map(|samples| [samples[left].to_bits(), samples[right].to_bits()])
                    .collect();
                let got: Vec<u32> = chain.music_encoder.pending.iter().map(|s| s.to_bits()).collect();
                assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn in_voice_mode_the_encoder_gets_something_else() {
        let mut chain = chain(1);
        chain.advance(&loud(0, 1));
        assert_ne!(chain.voice_encoder.pending, loud(0, 1));
    }

    #[test]
    fn a_muted_chain_gives_no_packet_and_feeds_the_encoder_nothing() {
        for mode in [Mode::Voice, Mode::Music] {
            let mut chain = chain(2);
            chain.set_mode(mode);
            // Half a packet is under way when the room is muted.
            chain.process(&loud(0, 2));
            chain.set_muted(true);
            for n in 1..100 {
                assert_eq!(chain.process(&loud(n, 2)), None);
                assert!(chain.voice_encoder.pending.is_empty() && chain.music_encoder.pending.is_empty());
                assert_eq!(chain.level_dbov(), SILENCE);
            }
            assert_eq!(chain.meters().packets, 0);
        }
    }

    #[test]
    fn nothing_of_a_muted_room_is_recorded() {
        let mut chain = chain(2);
        chain.process(&loud(0, 2));
        assert_eq!(chain.signals().unwrap().microphones[1][7], loud(0, 2)[15]);
        chain.set_muted(true);
        assert!(chain.signals().is_none());
        chain.process(&loud(1, 2));
        assert!(chain.signals().is_none());
        chain.set_muted(false);
        // Nor what delay lines still hold of it.
        assert!(chain.signals().is_none());
        for n in 2..10 {
            chain.process(&loud(n, 2));
        }
        assert_eq!(chain.signals().unwrap().microphones[0][7], loud(9, 2)[14]);
    }

    #[test]
    fn nothing_heard_while_muted_comes_out_after_the_unmute() {
        for mode in [Mode::Voice, Mode::Music] {
            let mut chain = chain(1);
            chain.set_mode(mode);
            chain.set_muted(true);
            for n in 0..100 {
                chain.process(&loud(n, 1));
            }
            chain.set_muted(false);
            let mut packets = 0;
            for _ in 0..50 {
                let complete = chain.advance(&[0.0; FRAME]);
                let encoder =
                    if mode == Mode::Voice { &mut chain.voice_encoder } else { &mut chain.music_encoder };
                let loudest = encoder.pending.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
                assert!(loudest < 0.005, "{mode:?}: {loudest} of 0.9 after {packets} packets");
                packets += u32::from(complete);
            }
            assert!(packets >= 24);
        }
    }

    #[test]
    fn an_array_that_does_not_fit_is_refused_with_the_fix() {
        let array = ArrayFormat { rate_hz: 16_000, period_frames: 160, geometry: vec![Position::default()] };
        let error = CaptureChain::new(&array, VoiceOptions::default()).err().unwrap();
        assert!(error.to_string().contains("set 48000 Hz"));
        let none = ArrayFormat { rate_hz: RATE_HZ, period_frames: FRAME, geometry: vec![] };
        assert!(matches!(
            CaptureChain::new(&none, VoiceOptions::default()),
            Err(AudioError::Microphones { channels: 0, .. })
        ));
        let one = ArrayFormat { geometry: vec![Position::default()], ..none };
        let silly = VoiceOptions { bitrate_bps: 1, ..VoiceOptions::default() };
        assert!(matches!(CaptureChain::new(&one, silly), Err(AudioError::Bitrate { bitrate_bps: 1 })));
    }
}
