//! The cancellers by name, behind one face.

use super::aec3::Aec3;
use super::settings::Aec3Settings;
use super::{Canceller, Suppressor};
use crate::FRAME;
use crate::drift::Drift;
use std::time::Duration;

/// What AEC3 holds back, measured.
const AEC3_DELAY: Duration = Duration::from_millis(9);
/// The most microphones an array may have.
pub(crate) const MAX_MICROPHONES: usize = 16;

/// Where and how the echo of the own speaker is taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EchoControl {
    /// Nowhere: for headsets, and for tests that must howl.
    Off,
    /// A filter of 0.4 s on each microphone (0.2 s for each of two speakers), and a suppressor on the voice: the talker stays
    /// intelligible while the far end talks.
    #[default]
    Long,
    /// AEC3 on each microphone: less to compute, and it mutes the talker while the far end talks.
    Aec3,
}

/// One of them. Their parts are boxed: they are large, and threads have small stacks.
pub(crate) enum Echo {
    Off,
    Long { canceller: Box<Canceller>, suppressor: Box<Suppressor>, meter: Meter },
    Aec3 { engine: Box<Aec3>, drift: Box<Drift>, far: Box<[[f32; FRAME]; 1]> },
}

impl Echo {
    /// For that many `microphones`, and a speaker of `channels`.
    pub(crate) fn new(
        control: EchoControl,
        settings: Aec3Settings,
        microphones: usize,
        channels: usize,
    ) -> Self {
        match control {
            EchoControl::Off => Self::Off,
            EchoControl::Long => Self::Long {
                canceller: Box::new(Canceller::new(microphones, channels)),
                suppressor: Box::new(Suppressor::new()),
                meter: Meter::default(),
            },
            EchoControl::Aec3 => Self::Aec3 {
                engine: Box::new(Aec3::new(settings, microphones)),
                drift: Box::new(Drift::new(1)),
                far: Box::new([[0.0; FRAME]]),
            },
        }
    }

    /// How far the voice is behind the microphones by it.
    pub(crate) fn delay(&self) -> Duration {
        match self {
            Self::Off => Duration::ZERO,
            Self::Long { .. } => Suppressor::DELAY,
            Self::Aec3 { .. } => AEC3_DELAY,
        }
    }

    /// What the speaker will play: a frame, interleaved.
    pub(crate) fn playback(&mut self, far: &[f32], channels: usize) {
        match self {
            Self::Off => {}
            Self::Long { canceller, .. } => canceller.playback(far, channels),
            Self::Aec3 { drift, .. } => drift.push(far, channels),
        }
    }

    /// The microphones lost `samples`; what was played meanwhile was told of.
    pub(crate) fn pass_over(&mut self, samples: i64) {
        match self {
            Self::Off => {}
            Self::Long { canceller, .. } => canceller.pass_over(samples),
            Self::Aec3 { drift, .. } => drift.pass_over(samples),
        }
    }

    /// Whether anybody will use what comes out.
    pub(crate) fn set_output_used(&mut self, used: bool) {
        if let Self::Aec3 { engine, .. } = self {
            engine.set_output_used(used);
        }
    }

    /// Takes the echo out of what each microphone `heard`: what remains (`errors`), and what was taken (`echoes`;
    /// silence where the canceller does not say).
    pub(crate) fn cancel(
        &mut self,
        heard: &[[f32; FRAME]],
        errors: &mut [[f32; FRAME]],
        echoes: &mut [[f32; FRAME]],
    ) {
        match self {
            Self::Off => errors.copy_from_slice(heard),
            Self::Long { canceller, suppressor, meter } => {
                canceller.process(heard, errors, echoes);
                if canceller.changed() {
                    suppressor.unsure();
                }
                meter.heard = energy(&heard[0]);
            }
            Self::Aec3 { engine, drift, far } => {
                drift.pull(&mut far[..]);
                engine.process(&far[0], heard, errors);
            }
        }
    }

    /// Whether most of what the microphones hear is echo, where the canceller does not give the echo itself.
    pub(crate) fn is_echo(&self) -> bool {
        matches!(self, Self::Aec3 { engine, .. } if engine.is_echo())
    }

    /// What the linear filter alone left of each microphone in the last frame, where the canceller took more than that.
    pub(crate) fn linear(&self) -> Option<&[[f32; FRAME]]> {
        match self {
            Self::Off | Self::Long { .. } => None,
            Self::Aec3 { engine, .. } => Some(engine.linear()),
        }
    }

    /// Takes the rest out of the one `voice`; `echo` went the same way as it since [`Echo::cancel`].
    pub(crate) fn suppress(&mut self, voice: &mut [f32; FRAME], echo: &[f32; FRAME]) {
        if let Self::Long { suppressor, meter, .. } = self {
            suppressor.process(voice, echo);
            meter.tell(energy(voice), energy(echo), suppressor.near());
        }
    }

    /// What is reckoned to be removed, dB; the delay of the echo, ms; how much faster the speaker's clock is, ppm.
    pub(crate) fn statistics(&self) -> (Option<f32>, Option<u32>, Option<f32>) {
        match self {
            Self::Off => (None, None, None),
            Self::Long { canceller, meter, .. } => {
                (meter.removed_db(), canceller.delay_ms(), Some(canceller.drift_ppm() as f32))
            }
            Self::Aec3 { engine, drift, .. } => {
                let metrics = engine.metrics();
                let delay = metrics.and_then(|metrics| u32::try_from(metrics.delay_ms).ok());
                let removed = metrics.map(|metrics| metrics.echo_return_loss_enhancement as f32);
                (removed, delay, Some(drift.ppm() as f32))
            }
        }
    }
}

/// Frames of echo before anything is said of it.
const SEEN: u32 = 50;

/// Echo return loss enhancement over the last second or so in which only the far end talked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    heard: f32,
    sums: [f32; 2],
    frames: u32,
}

impl Meter {
    fn tell(&mut self, left: f32, echo: f32, near: f32) {
        if near < 0.5 && echo > 0.25 * self.heard && self.heard > 1e-6 {
            for (sum, energy) in self.sums.iter_mut().zip([self.heard, left]) {
                *sum += 0.02 * (energy - *sum);
            }
            self.frames = self.frames.saturating_add(1);
        }
    }

    fn removed_db(&self) -> Option<f32> {
        let [heard, left] = self.sums;
        // A filter that finds nothing takes something for an echo at first.
        (self.frames >= SEEN && heard > 0.0).then(|| 10.0 * (heard / left.max(1e-12)).log10())
    }
}

fn energy(of: &[f32; FRAME]) -> f32 {
    of.iter().map(|sample| sample * sample).sum()
}
