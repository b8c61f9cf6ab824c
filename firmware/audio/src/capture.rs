//! Microphones to packets.

use crate::beam::{Direction, MicrophoneFault};
use crate::echo::MAX_MICROPHONES;
use crate::encode::PacketEncoder;
use crate::level::{dbov, sane};
use crate::mode::{Gate, Mode, Modes};
use crate::opus_policy::{LinkState, OpusPolicy, OpusSettings};
use crate::recorder::Signals;
use crate::voice::Voice;
use crate::{AudioError, Dbov, FRAME, PACKET, RATE_HZ, SILENCE, VoiceOptions};
use rostrum_hal::microphone::ArrayFormat;
use std::time::Duration;

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
    /// Where somebody talks; `None` before anybody did, and for microphones that cannot tell.
    pub direction: Option<Direction>,
    /// What is wrong with each microphone, by its channel.
    pub microphone_faults: [Option<MicrophoneFault>; MAX_MICROPHONES],
}

/// The most channels a speaker may have.
const MAX_CHANNELS: usize = 8;
/// An encoder, and who says how it is set.
struct Lane {
    encoder: PacketEncoder,
    policy: OpusPolicy,
}

/// The chain: echo canceller, beam, noise suppression, gain, Opus; in music mode Opus alone.
pub struct CaptureChain {
    microphones: usize,
    modes: Modes,
    muted: bool,
    voice: Voice,
    /// A frame of the speaker, without what is no number.
    far: Vec<f32>,
    /// One for each of [`Mode::ALL`].
    lanes: [Lane; 3],
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
        let lane = |policy: OpusPolicy, build: fn(&OpusSettings) -> Result<PacketEncoder, AudioError>| {
            Ok::<_, AudioError>(Lane { encoder: build(&policy.settings_now())?, policy })
        };
        Ok(Self {
            microphones: array.channels(),
            modes: Modes::new(),
            muted: false,
            voice: Voice::new(&array.geometry, &options)?,
            far: vec![0.0; FRAME * MAX_CHANNELS],
            lanes: [
                lane(OpusPolicy::voice(&options), PacketEncoder::voice)?,
                lane(OpusPolicy::voice_wide(&options), PacketEncoder::voice_wide)?,
                lane(OpusPolicy::music(&options), PacketEncoder::music)?,
            ],
            link: LinkState::default(),
            meters: CaptureMeters::default(),
        })
    }

    /// Changes what the microphones are for: the present mode fades out to the end of its packet, at most 20 ms from
    /// now, and the next fades in.
    pub fn set_mode(&mut self, mode: Mode) {
        if self.modes.want(mode, self.muted) {
            self.begin_mode();
        }
    }

    /// The mode that was set last.
    pub fn mode(&self) -> Mode {
        self.modes.wanted()
    }

    fn begin_mode(&mut self) {
        self.lane().encoder.clear();
        self.voice.set_gentle(self.modes.now() == Mode::VoiceWide);
    }

    fn lane(&mut self) -> &mut Lane {
        &mut self.lanes[self.modes.now() as usize]
    }

    /// What the link is like from now on: the encoders follow it.
    pub fn set_link(&mut self, link: LinkState) {
        self.link = link;
    }

    /// How the present mode is encoded.
    pub fn opus_settings(&self) -> OpusSettings {
        self.lanes[self.modes.now() as usize].policy.settings_now()
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
        self.lanes.iter_mut().for_each(|lane| lane.encoder.clear());
        self.modes.forget();
        self.meters.level_dbov = None;
    }

    /// What the speaker will play next ([`crate::PlayOut::reference`]): 480 samples of each of 1 to 8 channels,
    /// interleaved; mono is what all channels play. Called once for each period that is played, before the
    /// microphones can hear it, in bursts if need be; a speaker that is not heard of for 100 ms counts as silent.
    /// Other sizes are left out.
    pub fn playback(&mut self, far: &[f32]) {
        let channels = far.len() / FRAME;
        if !self.modes.now().is_voice()
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

    /// The microphones lost `samples` (of each of them) before the next frame, as their reader was late. What the speaker
    /// played meanwhile has been told of by [`CaptureChain::playback`]; it is passed over, so that the echo does not have
    /// to be found anew.
    pub fn lost(&mut self, samples: usize) {
        self.voice.pass_over(i64::try_from(samples).unwrap_or(i64::MAX));
    }

    /// Takes 10 ms of all microphones, interleaved (480 samples each), and gives a packet after every second
    /// call. The packet's first sample was heard 10 ms before the first of `microphones`. Input of another
    /// size is left out and counted; samples that are no numbers count as silence.
    pub fn process(&mut self, microphones: &[f32]) -> Option<EncodedAudio<'_>> {
        if !self.advance(microphones) {
            return None;
        }
        let Lane { encoder, policy } = &mut self.lanes[self.modes.now() as usize];
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
        if self.lane().encoder.starts() && self.modes.begin() {
            self.begin_mode();
        }
        let mode = self.modes.now();
        if mode.is_voice() {
            self.voice.process(microphones);
        }
        if self.muted {
            return false;
        }
        let encoder = &mut self.lanes[mode as usize].encoder;
        let Gate::Sent(from, to) = self.modes.next(!encoder.starts()) else { return false };
        let (full, loudness) = if mode.is_voice() {
            let voice = self.voice.voice();
            (encoder.add(faded(voice.iter().copied(), 1, from, to)), dbov(voice))
        } else {
            // The widest pair that the array has.
            let (left, right) = (0, self.microphones - 1);
            let pairs = microphones
                .chunks_exact(self.microphones)
                .flat_map(|samples| [samples[left], samples[right]])
                .map(|sample| if sample.is_finite() { sample } else { 0.0 });
            let full = encoder.add(faded(pairs, 2, from, to));
            let newest = encoder.pending.len() - 2 * FRAME;
            (full, dbov(&encoder.pending[newest..]))
        };
        self.meters.level_dbov = Some(loudness);
        full
    }

    /// What each step made of the last frame, for a recorder. `None` while muted (nothing of a muted room is recorded)
    /// and in music mode, which has no steps.
    pub fn signals(&self) -> Option<Signals<'_>> {
        (self.modes.now().is_voice() && !self.muted && self.modes.settled()).then(|| self.voice.signals())
    }

    /// How long a sample takes from the microphone into the encoder, beside the 20 ms that a packet collects:
    /// what the canceller and the noise suppressor hold back.
    pub fn delay(&self) -> Duration {
        if self.modes.now().is_voice() { self.voice.delay() } else { Duration::ZERO }
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
        let mut microphone_faults = [None; MAX_MICROPHONES];
        for (channel, fault) in self.voice.microphone_faults() {
            microphone_faults[channel] = Some(fault);
        }
        let direction = self.voice.direction();
        CaptureMeters {
            echo_removed_db,
            echo_delay_ms,
            clock_drift_ppm,
            voice_active: voice_active && !self.muted,
            gain_db,
            limiter_db,
            knocks: self.voice.knocks(),
            direction,
            microphone_faults,
            ..self.meters
        }
    }
}

/// `samples` of `channels`, interleaved, times a factor that glides over a frame. A factor of 1 leaves every bit.
fn faded(
    samples: impl Iterator<Item = f32>,
    channels: usize,
    from: f32,
    to: f32,
) -> impl Iterator<Item = f32> {
    let step = (to - from) / FRAME as f32;
    let still = from == 1.0 && to == 1.0;
    samples
        .enumerate()
        .map(move |(i, sample)| if still { sample } else { sample * (from + step * (i / channels) as f32) })
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
                let got: Vec<u32> =
                    chain.lanes[Mode::Music as usize].encoder.pending.iter().map(|s| s.to_bits()).collect();
                assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn in_voice_mode_the_encoder_gets_something_else() {
        let mut chain = chain(1);
        chain.advance(&loud(0, 1));
        assert_ne!(chain.lanes[Mode::Voice as usize].encoder.pending, loud(0, 1));
    }

    #[test]
    fn a_muted_chain_gives_no_packet_and_feeds_the_encoder_nothing() {
        for mode in Mode::ALL {
            let mut chain = chain(2);
            chain.set_mode(mode);
            // Half a packet is under way when the room is muted.
            chain.process(&loud(0, 2));
            chain.set_muted(true);
            for n in 1..100 {
                assert_eq!(chain.process(&loud(n, 2)), None);
                assert!(chain.lanes.iter().all(|lane| lane.encoder.pending.is_empty()));
                assert_eq!(chain.level_dbov(), SILENCE);
            }
            assert_eq!(chain.meters().packets, 0);
        }
    }

    #[test]
    fn modes_change_without_a_click_and_without_a_missing_packet() {
        // Only what a mode itself does to sound is left: nothing.
        let options = VoiceOptions {
            echo: crate::EchoControl::Off,
            noise: crate::NoiseSuppression::Off,
            gain: false,
            ..VoiceOptions::default()
        };
        let geometry = vec![Position::default(); 2];
        let array = ArrayFormat { rate_hz: RATE_HZ, period_frames: FRAME, geometry };
        let mut chain = CaptureChain::new(&array, options).unwrap();
        let mut sent = vec![];
        let tone = |n: usize| (n as f32 * 0.03).sin() * 0.5;
        // Each change once when a packet begins and once in its middle.
        let changes = [(50, Mode::Music), (101, Mode::Voice), (151, Mode::VoiceWide), (200, Mode::Music)];
        let more = [(251, Mode::VoiceWide), (300, Mode::Voice), (351, Mode::Music), (400, Mode::Voice)];
        for n in 0..450 {
            if let Some((_, mode)) = changes.iter().chain(&more).find(|(at, _)| *at == n) {
                chain.set_mode(*mode);
                assert_eq!(chain.mode(), *mode);
            }
            let heard: Vec<f32> = (0..2 * FRAME).map(|i| tone(n * FRAME + i / 2)).collect();
            let complete = chain.advance(&heard);
            assert_eq!(complete, n % 2 == 1, "a packet at every second frame, {n}");
            if complete {
                let stereo = if chain.modes.now() == Mode::Music { 2 } else { 1 };
                let pending = &chain.lanes[chain.modes.now() as usize].encoder.pending;
                sent.extend(pending.iter().step_by(stereo));
            }
        }
        assert_eq!(sent.len(), 450 * FRAME);
        let jump = |from: usize, to: usize| {
            sent[from..to].windows(2).map(|pair: &[f32]| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
        };
        // The tone itself moves by 0.015 a sample, and a fade of 10 ms adds 0.001.
        assert!(jump(0, 40 * FRAME) < 0.016);
        assert!(jump(0, sent.len()) < 0.018, "{}", jump(0, sent.len()));
        let loudest =
            |frame: usize| sent[frame * FRAME..][..FRAME].iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        for settled in [40, 90, 140, 190, 240, 290, 340, 390, 440] {
            assert!(loudest(settled) > 0.45, "{} in frame {settled}", loudest(settled));
        }
    }

    #[test]
    fn modes_are_called_by_their_names() {
        let named = |name: &str| {
            use serde::de::IntoDeserializer;
            let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
                name.into_deserializer();
            <Mode as serde::Deserialize>::deserialize(name)
        };
        assert_eq!(named("voice"), Ok(Mode::Voice));
        assert_eq!(named("voice_wide"), Ok(Mode::VoiceWide));
        assert_eq!(named("voice-wide"), Ok(Mode::VoiceWide));
        assert_eq!(named("music"), Ok(Mode::Music));
        assert!(named("loud").is_err());
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
        let noises = [crate::NoiseSuppression::Moderate, crate::NoiseSuppression::Neural];
        for (mode, noise) in Mode::ALL.into_iter().flat_map(|mode| noises.map(|noise| (mode, noise))) {
            let array =
                ArrayFormat { rate_hz: RATE_HZ, period_frames: FRAME, geometry: vec![Position::default()] };
            let options = VoiceOptions { noise, ..VoiceOptions::default() };
            let mut chain = CaptureChain::new(&array, options).unwrap();
            chain.set_mode(mode);
            chain.set_muted(true);
            for n in 0..100 {
                chain.process(&loud(n, 1));
            }
            chain.set_muted(false);
            let mut packets = 0;
            for _ in 0..50 {
                let complete = chain.advance(&[0.0; FRAME]);
                let encoder = &chain.lanes[mode as usize].encoder;
                let loudest = encoder.pending.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
                assert!(loudest < 0.005, "{mode:?}, {noise:?}: {loudest} of 0.9 after {packets} packets");
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
