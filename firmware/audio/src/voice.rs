//! From all microphones to one clean voice: echo, noise, gain.

use crate::activity::Activity;
use crate::beam::{Beam, Direction, MicrophoneFault};
use crate::echo::{Aec3Settings, Echo, EchoControl, MAX_MICROPHONES};
use crate::equalizer::{Equalizer, EqualizerSettings};
use crate::gain::{Gain, Heard};
use crate::high_pass::HighPass;
use crate::knock::Knock;
use crate::level::sane;
use crate::limiter::Limiter;
use crate::noise::{NoiseReduction, reduction};
use crate::recorder::{Signals, Taps};
use crate::{AudioError, FRAME};
use rostrum_hal::microphone::Position;
use std::time::Duration;

/// How much the network leaves of a frame of a voice at least (-10 dB, power).
const LEFT_OF_VOICE: f32 = 0.1;

/// What noise is taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseSuppression {
    /// None.
    Off,
    /// Of steady noise (fans, projectors) 6 dB.
    Low,
    /// Of steady noise 12 dB.
    #[default]
    Moderate,
    /// Of steady noise 18 dB.
    High,
    /// All that is no voice (fans as well as keys, cups and paper), without a limit, by a small network: RNNoise. Its
    /// voice is 3 ms later than the others'. [`crate::Mode::VoiceWide`], which leaves the room around the voice, is
    /// with [`NoiseSuppression::Low`] as ever.
    Neural,
}

/// How a voice is treated and encoded.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VoiceOptions {
    /// Where the echo of the own speaker is taken out.
    pub echo: EchoControl,
    /// How [`EchoControl::Aec3`] works.
    pub aec3: Aec3Settings,
    /// Channels that the speaker has, 1..=8. [`crate::CaptureChain::playback`] takes another number as well, and
    /// repeats or mixes them.
    pub speaker_channels: u8,
    /// What noise is taken away.
    pub noise: NoiseSuppression,
    /// Take down keys, pens and knocks. Where [`NoiseSuppression::Neural`] is at work it does so, asked or not.
    pub knocks: bool,
    /// Bring near and far talkers to one level, and limit what is too loud.
    pub gain: bool,
    /// What the microphones' colour is taken back by, before the gain; see [`EqualizerSettings`].
    pub equalizer: EqualizerSettings,
    /// Opus' target in voice mode, bit/s, 6000..=510000.
    pub bitrate_bps: u32,
    /// Opus' target for a voice in the whole band, bit/s, 6000..=510000.
    pub wide_bitrate_bps: u32,
    /// Opus' target in music mode (stereo), bit/s, 6000..=510000.
    pub music_bitrate_bps: u32,
    /// Packet loss that Opus' forward error correction reckons with even on a good link, 0..=100 percent; 0 leaves
    /// it out until packets are lost.
    pub expected_loss_percent: u8,
    /// Opus' effort, 0..=10.
    pub complexity: u8,
}

impl Default for VoiceOptions {
    fn default() -> Self {
        Self {
            echo: EchoControl::default(),
            aec3: Aec3Settings::default(),
            speaker_channels: 1,
            noise: NoiseSuppression::Moderate,
            knocks: false,
            gain: true,
            equalizer: EqualizerSettings::default(),
            bitrate_bps: 40_000,
            wide_bitrate_bps: 64_000,
            music_bitrate_bps: 256_000,
            expected_loss_percent: 10,
            complexity: 7,
        }
    }
}

/// The chain.
pub(crate) struct Voice {
    microphones: usize,
    echo: Echo,
    beam: Beam,
    noise: Option<Box<dyn NoiseReduction>>,
    /// The filter of steady noise at its least, for voices with the room around them.
    gentle_noise: Option<Box<dyn NoiseReduction>>,
    gentle: bool,
    /// `noise` takes knocks away as well.
    noise_has_knocks: bool,
    activity: Activity,
    speaks: bool,
    equalizer: Equalizer,
    gain: Option<Gain>,
    limiter: Limiter,
    knock: Option<Knock>,
    output_used: bool,
    told_output_used: bool,
    high_pass: Vec<HighPass>,
    /// Of each microphone: what goes into the canceller, what comes out, and what it took.
    heard: Vec<[f32; FRAME]>,
    cancelled: Vec<[f32; FRAME]>,
    echoes: Vec<[f32; FRAME]>,
    /// Of all microphones together: the voice, and the echo that was in it.
    voice: [f32; FRAME],
    voice_echo: [f32; FRAME],
    out: [f32; FRAME],
    taps: Taps,
}

impl Voice {
    pub(crate) fn new(geometry: &[Position], options: &VoiceOptions) -> Result<Self, AudioError> {
        let microphones = geometry.len();
        if !(1..=MAX_MICROPHONES).contains(&microphones) {
            return Err(AudioError::Microphones { channels: microphones, max: MAX_MICROPHONES });
        }
        options.aec3.check()?;
        Ok(Self {
            microphones,
            echo: Echo::new(options.echo, options.aec3, microphones, usize::from(options.speaker_channels)),
            beam: Beam::new(geometry),
            noise: reduction(options.noise),
            gentle_noise: (options.noise != NoiseSuppression::Off)
                .then(|| reduction(NoiseSuppression::Low))
                .flatten(),
            gentle: false,
            noise_has_knocks: options.noise == NoiseSuppression::Neural,
            activity: Activity::new(),
            speaks: false,
            equalizer: Equalizer::new(&options.equalizer),
            gain: options.gain.then(Gain::new),
            limiter: Limiter::new(),
            knock: options.knocks.then(|| Knock::new(options.noise != NoiseSuppression::Off)),
            output_used: true,
            told_output_used: true,
            high_pass: vec![HighPass::new(); microphones],
            heard: vec![[0.0; FRAME]; microphones],
            cancelled: vec![[0.0; FRAME]; microphones],
            echoes: vec![[0.0; FRAME]; microphones],
            voice: [0.0; FRAME],
            voice_echo: [0.0; FRAME],
            out: [0.0; FRAME],
            taps: Taps::new(microphones, usize::from(options.speaker_channels).clamp(1, 8), microphones),
        })
    }

    /// How far its output is behind its input: overlapping transforms and the splitting into bands. It changes with
    /// [`Voice::set_gentle`].
    pub(crate) fn delay(&self) -> Duration {
        let noise = if self.gentle { &self.gentle_noise } else { &self.noise };
        let noise = match noise {
            Some(noise) => noise.delay(),
            None if self.knock.is_some() => Knock::DELAY,
            None => Duration::ZERO,
        };
        let limiter = if self.gain.is_some() { Limiter::DELAY } else { Duration::ZERO };
        self.echo.delay() + self.beam.delay() + noise + limiter
    }

    /// What the speaker will play: one frame, interleaved.
    pub(crate) fn playback(&mut self, far: &[f32], channels: usize) {
        self.taps.play(far, channels);
        self.echo.playback(far, channels);
    }

    /// The microphones lost `samples`.
    pub(crate) fn pass_over(&mut self, samples: i64) {
        self.echo.pass_over(samples);
    }

    /// Whether anybody will use what comes out: the canceller goes on learning while the room is muted.
    pub(crate) fn set_output_used(&mut self, used: bool) {
        self.output_used = used;
        // Their memory of low notes is longer than what the shell drops after an unmute.
        self.high_pass.iter_mut().for_each(HighPass::clear);
    }

    /// The engines queue what they are told until the next frame: they are told no more than once a frame.
    fn tell_output_used(&mut self) {
        if self.told_output_used != self.output_used {
            self.told_output_used = self.output_used;
            self.echo.set_output_used(self.output_used);
        }
    }

    /// One frame of all microphones, interleaved; gives the frame of the voice.
    pub(crate) fn process(&mut self, microphones: &[f32]) -> &[f32; FRAME] {
        debug_assert_eq!(microphones.len(), self.microphones * FRAME);
        self.tell_output_used();
        self.taps.hear(microphones);
        self.hear(microphones);
        self.echo.cancel(&self.heard, &mut self.cancelled, &mut self.echoes);
        self.taps.echo_removed.copy_from_slice(self.echo.linear().unwrap_or(&self.cancelled));
        self.beam.process(&self.cancelled, &self.echoes, &mut self.voice, &mut self.voice_echo);
        // What is taken as echo is more than half of what is left: more of it may be left than of a talker.
        let echo = self.echo.is_echo() || energy(&self.voice_echo) > 0.5 * energy(&self.voice);
        self.echo.suppress(&mut self.voice, &self.voice_echo);
        self.voice.iter_mut().for_each(|sample| *sample = sane(*sample));
        self.taps.beam = self.voice;
        self.speaks = self.activity.process(&self.voice);
        let mut knock = self.knock.as_mut().filter(|_| self.gentle || !self.noise_has_knocks);
        if let Some(knock) = &mut knock {
            knock.hear(&self.voice);
        }
        let before = energy(&self.voice);
        let noise = if self.gentle { &mut self.gentle_noise } else { &mut self.noise };
        if let Some(noise) = noise {
            noise.process(&mut self.voice);
        }
        // What the network takes for no voice is none that the gain should learn from.
        let is_voice = self.gentle || !self.noise_has_knocks || energy(&self.voice) > LEFT_OF_VOICE * before;
        if let Some(knock) = &mut knock {
            knock.take(&mut self.voice);
        }
        let knock = knock.is_some_and(|knock| knock.now());
        self.taps.noise_removed = self.voice;
        for (to, from) in self.out.iter_mut().zip(&self.voice) {
            *to = sane(*from);
        }
        self.equalizer.process(&mut self.out);
        if let Some(gain) = &mut self.gain {
            gain.process(&mut self.out, Heard { speech: self.activity.now() && is_voice, echo, knock });
            self.limiter.process(&mut self.out);
        }
        self.out.iter_mut().for_each(|sample| *sample = sane(*sample));
        &self.out
    }

    /// Whether noise is taken away only a little, from the next frame on.
    pub(crate) fn set_gentle(&mut self, gentle: bool) {
        self.gentle = gentle;
    }

    /// What the last frame gave.
    pub(crate) fn voice(&self) -> &[f32; FRAME] {
        &self.out
    }

    /// What each step made of the last frame.
    pub(crate) fn signals(&self) -> Signals<'_> {
        self.taps.signals(&self.out)
    }

    /// The microphones without rumble.
    fn hear(&mut self, microphones: &[f32]) {
        for (i, samples) in microphones.chunks_exact(self.microphones).enumerate() {
            for ((plane, filter), sample) in self.heard.iter_mut().zip(&mut self.high_pass).zip(samples) {
                plane[i] = filter.next(sane(*sample));
            }
        }
    }

    /// Knocks that were taken down.
    pub(crate) fn knocks(&self) -> u64 {
        self.knock.as_ref().map_or(0, Knock::knocks)
    }

    /// What the gain adds and the limiter takes, dB; whether somebody speaks.
    pub(crate) fn levels(&self) -> (Option<f32>, f32, bool) {
        (self.gain.as_ref().map(Gain::gain_db), self.limiter.reduction_db(), self.speaks)
    }

    /// Where somebody talks.
    pub(crate) fn direction(&self) -> Option<Direction> {
        self.beam.direction()
    }

    /// Microphones that are not as the profile says.
    pub(crate) fn microphone_faults(&self) -> impl Iterator<Item = (usize, MicrophoneFault)> + '_ {
        self.beam.faults()
    }

    /// See [`Echo::statistics`].
    pub(crate) fn echo_statistics(&self) -> (Option<f32>, Option<u32>, Option<f32>) {
        self.echo.statistics()
    }
}

fn energy(plane: &[f32; FRAME]) -> f32 {
    plane.iter().map(|s| s * s).sum()
}
