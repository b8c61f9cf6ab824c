//! From all microphones to one clean voice: echo, noise, gain.

use crate::level::sane;
use crate::{AudioError, FRAME, RATE_HZ};
use sonora::config::{
    AdaptiveDigital, EchoCanceller, GainController2, HighPassFilter, MaxProcessingRate,
    NoiseSuppressionLevel, Pipeline,
};
use sonora::{AudioProcessing, Config, StreamConfig};

/// The most microphones an array may have.
pub(crate) const MAX_MICROPHONES: usize = 16;

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
    /// Opus' target in music mode (stereo), bit/s, 6000..=510000.
    pub music_bitrate_bps: u32,
    /// Packet loss that Opus' forward error correction reckons with, 0..=100 percent; 0 leaves it out.
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
            music_bitrate_bps: 160_000,
            expected_loss_percent: 10,
            complexity: 7,
        }
    }
}

/// The chain. Its output is some 10 ms behind its input (overlapping transforms and band splitting).
pub(crate) struct Voice {
    /// Per microphone, where that is wanted.
    echo: Option<AudioProcessing>,
    /// On the mean.
    clean: AudioProcessing,
    reference_to_clean: bool,
    planes: Vec<[f32; FRAME]>,
    cancelled: Vec<[f32; FRAME]>,
    mean: [f32; FRAME],
    out: [f32; FRAME],
}

impl Voice {
    pub(crate) fn new(microphones: usize, options: &VoiceOptions) -> Result<Self, AudioError> {
        if !(1..=MAX_MICROPHONES).contains(&microphones) {
            return Err(AudioError::Microphones { channels: microphones, max: MAX_MICROPHONES });
        }
        let per_microphone = options.echo == EchoControl::PerMicrophone && microphones > 1;
        let echo = per_microphone.then(|| {
            let config = Config {
                high_pass_filter: Some(HighPassFilter::default()),
                echo_canceller: Some(EchoCanceller::default()),
                ..Config::default()
            };
            engine(config, microphones as u16)
        });
        let level = match options.noise {
            NoiseSuppression::Off => None,
            NoiseSuppression::Low => Some(NoiseSuppressionLevel::Low),
            NoiseSuppression::Moderate => Some(NoiseSuppressionLevel::Moderate),
            NoiseSuppression::High => Some(NoiseSuppressionLevel::High),
        };
        let reference_to_clean = !per_microphone && options.echo != EchoControl::Off;
        let clean = engine(
            Config {
                high_pass_filter: (!per_microphone).then(HighPassFilter::default),
                echo_canceller: reference_to_clean.then(EchoCanceller::default),
                noise_suppression: level
                    .map(|level| sonora::config::NoiseSuppression { level, ..Default::default() }),
                gain_controller2: options.gain.then(|| GainController2 {
                    // Gain is also gain for what the canceller left over: not the 50 dB of a telephone.
                    adaptive_digital: Some(AdaptiveDigital {
                        max_gain_db: 24.0,
                        initial_gain_db: 8.0,
                        ..AdaptiveDigital::default()
                    }),
                    ..GainController2::default()
                }),
                ..Config::default()
            },
            1,
        );
        Ok(Self {
            echo,
            clean,
            reference_to_clean,
            planes: vec![[0.0; FRAME]; microphones],
            cancelled: vec![[0.0; FRAME]; microphones],
            mean: [0.0; FRAME],
            out: [0.0; FRAME],
        })
    }

    /// What the speaker will play: one frame, mono.
    pub(crate) fn playback(&mut self, far: &[f32; FRAME]) {
        let mut unused = [0.0; FRAME];
        let engine = match &mut self.echo {
            Some(echo) => echo,
            None if self.reference_to_clean => &mut self.clean,
            None => return,
        };
        let done = engine.process_render_f32(&[far], &mut [&mut unused]);
        debug_assert!(done.is_ok(), "formats are fixed when the engine is built");
    }

    /// Whether anybody will use what comes out: the canceller goes on learning while the room is muted.
    pub(crate) fn set_output_used(&mut self, used: bool) {
        if let Some(echo) = &mut self.echo {
            echo.set_capture_output_used(used);
        }
        self.clean.set_capture_output_used(used);
    }

    /// One frame of all microphones, interleaved; gives the frame of the voice.
    pub(crate) fn process(&mut self, microphones: &[f32]) -> &[f32; FRAME] {
        let channels = self.planes.len();
        debug_assert_eq!(microphones.len(), channels * FRAME);
        for (i, samples) in microphones.chunks_exact(channels).enumerate() {
            for (plane, sample) in self.planes.iter_mut().zip(samples) {
                plane[i] = sane(*sample);
            }
        }
        if let Some(echo) = &mut self.echo {
            let mut from = self.planes.iter();
            let from: [&[f32]; MAX_MICROPHONES] =
                std::array::from_fn(|_| from.next().map_or(&[][..], |plane| plane.as_slice()));
            let mut to = self.cancelled.iter_mut();
            let mut to: [&mut [f32]; MAX_MICROPHONES] =
                std::array::from_fn(|_| to.next().map_or(&mut [][..], |plane| plane.as_mut_slice()));
            let done = echo.process_capture_f32(&from[..channels], &mut to[..channels]);
            debug_assert!(done.is_ok(), "formats are fixed when the engine is built");
        }
        let source = if self.echo.is_some() { &self.cancelled } else { &self.planes };
        let share = 1.0 / channels as f32;
        for (i, mean) in self.mean.iter_mut().enumerate() {
            *mean = source.iter().map(|plane| plane[i]).sum::<f32>() * share;
        }
        let done = self.clean.process_capture_f32(&[&self.mean], &mut [&mut self.out]);
        debug_assert!(done.is_ok(), "formats are fixed when the engine is built");
        for sample in &mut self.out {
            *sample = sane(*sample);
        }
        &self.out
    }

    /// What the canceller reckons to remove, dB, and the echo's delay, ms.
    pub(crate) fn echo_statistics(&self) -> (Option<f32>, Option<u32>) {
        let statistics = self.echo.as_ref().unwrap_or(&self.clean).statistics();
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
    AudioProcessing::builder()
        .config(config)
        .capture_config(StreamConfig::new(RATE_HZ, channels))
        .render_config(StreamConfig::new(RATE_HZ, 1))
        .build()
}
