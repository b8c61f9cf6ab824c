//! From all microphones to one clean voice: echo, noise, gain.

use crate::high_pass::HighPass;
use crate::level::sane;
use crate::noise::Noise;
use crate::recorder::{Signals, Taps};
use crate::{AudioError, FRAME, RATE_HZ};
use sonora::config::{AdaptiveDigital, EchoCanceller, GainController2, MaxProcessingRate, Pipeline};
use sonora::{AudioProcessing, Config, StreamConfig};
use std::time::Duration;

/// The most microphones an array may have.
pub(crate) const MAX_MICROPHONES: usize = 16;

/// What the canceller and the noise suppressor hold back, measured.
const ECHO_DELAY: Duration = Duration::from_millis(9);
const NOISE_DELAY: Duration = Duration::from_millis(7);
/// Frames without a word of the speaker after which it counts as silent: 100 ms.
const SPEAKER_GONE: u32 = 10;

/// Where the echo of the own speaker is taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EchoControl {
    /// Nowhere: for headsets, and for tests that must howl.
    Off,
    /// In the mean of all microphones: one canceller whatever the array.
    #[default]
    OnMean,
    /// In each microphone before the mean: some 10 dB more is removed, for the cost of a canceller each.
    PerMicrophone,
}

/// How much of steady noise (fans, projectors) is taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseSuppression {
    /// Nothing.
    Off,
    /// 6 dB.
    Low,
    /// 12 dB.
    #[default]
    Moderate,
    /// 18 dB.
    High,
}

/// How a voice is treated and encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VoiceOptions {
    /// Where the echo of the own speaker is taken out.
    pub echo: EchoControl,
    /// How much of steady noise is taken away.
    pub noise: NoiseSuppression,
    /// Bring near and far talkers to one level.
    pub gain: bool,
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
            echo: EchoControl::OnMean,
            noise: NoiseSuppression::Moderate,
            gain: true,
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
    echo: Option<AudioProcessing>,
    noise: Option<Noise>,
    gain: Option<AudioProcessing>,
    output_used: bool,
    told_output_used: bool,
    /// Frames since the speaker was heard of.
    unplayed: u32,
    high_pass: Vec<HighPass>,
    /// What goes into the canceller and what comes out: each microphone, or their mean.
    heard: Vec<[f32; FRAME]>,
    cancelled: Vec<[f32; FRAME]>,
    voice: [f32; FRAME],
    out: [f32; FRAME],
    taps: Taps,
}

impl Voice {
    pub(crate) fn new(microphones: usize, options: &VoiceOptions) -> Result<Self, AudioError> {
        if !(1..=MAX_MICROPHONES).contains(&microphones) {
            return Err(AudioError::Microphones { channels: microphones, max: MAX_MICROPHONES });
        }
        let planes = if options.echo == EchoControl::PerMicrophone { microphones } else { 1 };
        let echo = (options.echo != EchoControl::Off).then(|| {
            // The canceller's own high-pass filter turns the phase of every voice (`high_pass.rs`).
            let echo = EchoCanceller { enforce_high_pass_filtering: false, ..EchoCanceller::default() };
            engine(Config { echo_canceller: Some(echo), ..Config::default() }, planes as u16)
        });
        let gain = options.gain.then(|| {
            // Gain is also gain for what the canceller left over: not the 50 dB of a telephone.
            let adaptive =
                AdaptiveDigital { max_gain_db: 24.0, initial_gain_db: 8.0, ..AdaptiveDigital::default() };
            let gain = GainController2 { adaptive_digital: Some(adaptive), ..GainController2::default() };
            engine(Config { gain_controller2: Some(gain), ..Config::default() }, 1)
        });
        Ok(Self {
            microphones,
            echo,
            noise: Noise::new(options.noise),
            gain,
            output_used: true,
            told_output_used: true,
            unplayed: 0,
            high_pass: vec![HighPass::new(); planes],
            heard: vec![[0.0; FRAME]; planes],
            cancelled: vec![[0.0; FRAME]; planes],
            voice: [0.0; FRAME],
            out: [0.0; FRAME],
            taps: Taps::new(microphones, 1, planes),
        })
    }

    /// How far its output is behind its input: overlapping transforms and the splitting into bands.
    pub(crate) fn delay(&self) -> Duration {
        let echo = if self.echo.is_some() { ECHO_DELAY } else { Duration::ZERO };
        let noise = if self.noise.is_some() { NOISE_DELAY } else { Duration::ZERO };
        echo + noise
    }

    /// What the speaker will play: one frame, mono.
    pub(crate) fn playback(&mut self, far: &[f32; FRAME]) {
        self.unplayed = 0;
        self.taps.reference[0] = *far;
        self.render(far);
    }

    fn render(&mut self, far: &[f32; FRAME]) {
        let mut unused = [0.0; FRAME];
        let Some(echo) = &mut self.echo else { return };
        let done = echo.process_render_f32(&[far], &mut [&mut unused]);
        debug_assert!(done.is_ok(), "formats are fixed when the engine is built");
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
            if let Some(echo) = &mut self.echo {
                echo.set_capture_output_used(self.output_used);
            }
            if let Some(gain) = &mut self.gain {
                gain.set_capture_output_used(self.output_used);
            }
        }
    }

    /// One frame of all microphones, interleaved; gives the frame of the voice.
    pub(crate) fn process(&mut self, microphones: &[f32]) -> &[f32; FRAME] {
        debug_assert_eq!(microphones.len(), self.microphones * FRAME);
        self.tell_output_used();
        // The canceller would take the last it heard of for what is still played, and the talker for its echo.
        self.unplayed = self.unplayed.saturating_add(1);
        if self.unplayed > SPEAKER_GONE {
            self.render(&[0.0; FRAME]);
        }
        self.taps.hear(microphones);
        self.hear(microphones);
        let planes = self.heard.len();
        if let Some(echo) = &mut self.echo {
            let mut from = self.heard.iter();
            let from: [&[f32]; MAX_MICROPHONES] =
                std::array::from_fn(|_| from.next().map_or(&[][..], |plane| plane.as_slice()));
            let mut to = self.cancelled.iter_mut();
            let mut to: [&mut [f32]; MAX_MICROPHONES] =
                std::array::from_fn(|_| to.next().map_or(&mut [][..], |plane| plane.as_mut_slice()));
            let done = echo.process_capture_f32(&from[..planes], &mut to[..planes]);
            debug_assert!(done.is_ok(), "formats are fixed when the engine is built");
        } else {
            self.cancelled.copy_from_slice(&self.heard);
        }
        self.taps.echo_removed.copy_from_slice(&self.cancelled);
        let share = 1.0 / planes as f32;
        for (i, voice) in self.voice.iter_mut().enumerate() {
            *voice = self.cancelled.iter().map(|plane| plane[i]).sum::<f32>() * share;
        }
        self.taps.beam = self.voice;
        if let Some(noise) = &mut self.noise {
            noise.process(&mut self.voice);
        }
        self.taps.noise_removed = self.voice;
        if let Some(gain) = &mut self.gain {
            let done = gain.process_capture_f32(&[&self.voice], &mut [&mut self.out]);
            debug_assert!(done.is_ok(), "formats are fixed when the engine is built");
        } else {
            self.out = self.voice;
        }
        for sample in &mut self.out {
            *sample = sane(*sample);
        }
        &self.out
    }

    /// What each step made of the last frame.
    pub(crate) fn signals(&self) -> Signals<'_> {
        self.taps.signals(&self.out)
    }

    /// The microphones, or their mean, without rumble.
    fn hear(&mut self, microphones: &[f32]) {
        let planes = self.heard.len();
        let each = self.microphones / planes;
        let share = 1.0 / each as f32;
        for (i, samples) in microphones.chunks_exact(self.microphones).enumerate() {
            let sums =
                samples.chunks_exact(each).map(|of_plane| of_plane.iter().map(|s| sane(*s)).sum::<f32>());
            for ((plane, filter), sum) in self.heard.iter_mut().zip(&mut self.high_pass).zip(sums) {
                plane[i] = filter.next(sum * share);
            }
        }
    }

    /// What the canceller reckons to remove, dB, and the echo's delay, ms.
    pub(crate) fn echo_statistics(&self) -> (Option<f32>, Option<u32>) {
        let Some(statistics) = self.echo.as_ref().map(AudioProcessing::statistics) else {
            return (None, None);
        };
        let delay = statistics.delay_ms.and_then(|ms| u32::try_from(ms).ok());
        (statistics.echo_return_loss_enhancement.map(|db| db as f32), delay)
    }
}

fn engine(config: Config, channels: u16) -> AudioProcessing {
    let config = Config {
        pipeline: Pipeline {
            maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
            ..Pipeline::default()
        },
        ..config
    };
    let mut engine = AudioProcessing::builder()
        .config(config)
        .capture_config(StreamConfig::new(RATE_HZ, channels))
        .render_config(StreamConfig::new(RATE_HZ, 1))
        .build();
    // Takes the memory of its queue of settings now and not when the room is muted.
    engine.set_capture_output_used(true);
    engine
}
