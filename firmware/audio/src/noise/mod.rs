//! Noise of the room is taken out of the voice.
//!
//! [`steady`] takes down what does not change, [`neural`] what is no voice. Another way is a file here and a line of
//! [`reduction`].

mod neural;
mod steady;

use crate::{FRAME, NoiseSuppression};
use neural::Neural;
use sonora_ns::config::SuppressionLevel;
use std::time::Duration;
use steady::Steady;

/// Both libraries count in steps of 16 bit samples; a sample of ours is -1.0..=1.0.
const FULL_SCALE: f32 = 32_768.0;

/// One way to take noise out of a voice: one channel, 48 kHz.
pub(crate) trait NoiseReduction: Send {
    /// Takes noise out of `frame` in place (10 ms, finite, -2.0..=2.0); what comes back was heard
    /// [`NoiseReduction::delay`] before.
    fn process(&mut self, frame: &mut [f32; FRAME]);

    /// How far its output is behind its input; it never changes.
    fn delay(&self) -> Duration;
}

/// The one that is asked for; `None` when nothing is to be taken away.
pub(crate) fn reduction(wanted: NoiseSuppression) -> Option<Box<dyn NoiseReduction>> {
    let steady = |level| -> Option<Box<dyn NoiseReduction>> { Some(Box::new(Steady::new(level))) };
    match wanted {
        NoiseSuppression::Off => None,
        NoiseSuppression::Low => steady(SuppressionLevel::K6dB),
        NoiseSuppression::Moderate => steady(SuppressionLevel::K12dB),
        NoiseSuppression::High => steady(SuppressionLevel::K18dB),
        NoiseSuppression::Neural => Some(Box::new(Neural::new())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rms(samples: &[f32]) -> f32 {
        (samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32).sqrt()
    }

    #[test]
    fn steady_noise_is_taken_down_as_far_as_asked_and_a_tone_that_begins_is_not() {
        for (level, db) in [(NoiseSuppression::Low, 5.0), (NoiseSuppression::Moderate, 10.0)] {
            let mut noise = reduction(level).unwrap();
            let (mut state, mut before, mut after) = (1_u32, Vec::new(), Vec::new());
            for n in 0..500 {
                let mut frame: [f32; FRAME] = std::array::from_fn(|i| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let hiss = ((state >> 8) as f32 / 8_388_608.0 - 1.0) * 0.01;
                    let tone = ((n * FRAME + i) as f32 * 0.06).sin() * 0.3;
                    if n < 450 { hiss } else { hiss + tone }
                });
                before.extend_from_slice(&frame);
                noise.process(&mut frame);
                after.extend_from_slice(&frame);
            }
            let taken = |from: usize, to: usize| {
                20.0 * (rms(&before[from * FRAME..to * FRAME]) / rms(&after[from * FRAME..to * FRAME]))
                    .log10()
            };
            assert!(taken(400, 450) > db, "{level:?} takes {} dB", taken(400, 450));
            assert!(taken(455, 475).abs() < 2.0, "{level:?} takes {} dB of a tone", taken(455, 475));
        }
    }

    /// Pops of a tenth of a second, which never are steady.
    #[test]
    fn what_is_no_voice_is_taken_away_by_the_network_and_not_by_the_filter() {
        let taken = |level| {
            let mut noise = reduction(level).unwrap();
            let (mut state, mut before, mut after) = (1_u32, Vec::new(), Vec::new());
            for n in 0..600 {
                let mut frame: [f32; FRAME] = std::array::from_fn(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let hiss = (state >> 8) as f32 / 8_388_608.0 - 1.0;
                    if n % 37 < 10 { hiss * 0.1 } else { hiss * 1e-4 }
                });
                before.extend_from_slice(&frame);
                noise.process(&mut frame);
                after.extend_from_slice(&frame);
            }
            20.0 * (rms(&before[100 * FRAME..]) / rms(&after[100 * FRAME..])).log10()
        };
        let [steady, neural] = [NoiseSuppression::Moderate, NoiseSuppression::Neural].map(taken);
        assert!(neural > steady + 6.0, "{steady} and {neural} dB");
    }

    #[test]
    fn each_is_as_late_as_it_says() {
        for level in [NoiseSuppression::Low, NoiseSuppression::High, NoiseSuppression::Neural] {
            let mut noise = reduction(level).unwrap();
            // A voice of harmonics that swells and fades, which the network lets pass.
            let voice = |at: usize| {
                let s = at as f32 / 48_000.0;
                let swell = (s * 25.0).sin().max(0.0);
                (1..30).map(|h| (s * std::f32::consts::TAU * 140.0 * h as f32).sin() / h as f32).sum::<f32>()
                    * 0.1
                    * swell
            };
            let (mut before, mut after) = (Vec::new(), Vec::new());
            for n in 0..150 {
                let mut frame: [f32; FRAME] = std::array::from_fn(|i| voice(n * FRAME + i));
                before.extend_from_slice(&frame);
                noise.process(&mut frame);
                after.extend_from_slice(&frame);
            }
            let like = |late: usize| -> f32 {
                (100 * FRAME..after.len()).map(|at| after[at] * before[at - late]).sum()
            };
            let told = (noise.delay().as_secs_f32() * 48_000.0) as usize;
            // Less than half a wave of the voice either way: it is like itself again after a whole one.
            let late = (told - 150..told + 150).max_by(|a, b| like(*a).total_cmp(&like(*b))).unwrap();
            assert!(late.abs_diff(told) < 48, "{level:?}: {late} samples, told {told}");
        }
    }
}
