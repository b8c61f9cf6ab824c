//! Steady noise: fans, projectors, air.

use crate::{FRAME, NoiseSuppression};
use sonora::three_band_filter_bank::{NUM_BANDS, SPLIT_BAND_SIZE, ThreeBandFilterBank};
use sonora_ns::config::{NsConfig, SuppressionLevel};
use sonora_ns::noise_suppressor::NoiseSuppressor;

/// The suppressor counts in the steps of 16 bit samples.
const FULL_SCALE: f32 = 32_768.0;

/// A Wiener filter below 8 kHz and one gain above. Used without the library's chain, which would put a steep
/// high-pass filter before it that turns the phase of every voice (`high_pass.rs`).
pub(crate) struct Noise {
    bands: ThreeBandFilterBank,
    suppressor: NoiseSuppressor,
    split: [[f32; SPLIT_BAND_SIZE]; NUM_BANDS],
}

impl Noise {
    /// `None` when nothing is to be taken away.
    pub(crate) fn new(level: NoiseSuppression) -> Option<Self> {
        let target_level = match level {
            NoiseSuppression::Off => return None,
            NoiseSuppression::Low => SuppressionLevel::K6dB,
            NoiseSuppression::Moderate => SuppressionLevel::K12dB,
            NoiseSuppression::High => SuppressionLevel::K18dB,
        };
        Some(Self {
            bands: ThreeBandFilterBank::new(),
            suppressor: NoiseSuppressor::new_with_bands(NsConfig { target_level }, NUM_BANDS),
            split: [[0.0; SPLIT_BAND_SIZE]; NUM_BANDS],
        })
    }

    /// Takes noise out of `frame`, some 8 ms late.
    pub(crate) fn process(&mut self, frame: &mut [f32; FRAME]) {
        for sample in frame.iter_mut() {
            *sample *= FULL_SCALE;
        }
        self.bands.analysis(frame, &mut self.split);
        let [low, upper @ ..] = &mut self.split;
        self.suppressor.analyze(low);
        self.suppressor.process(low);
        let gain = self.suppressor.upper_band_gain();
        for (i, band) in upper.iter_mut().enumerate() {
            self.suppressor.process_upper_band(band, i, gain);
        }
        self.bands.synthesis(&self.split, frame);
        for sample in frame.iter_mut() {
            *sample /= FULL_SCALE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rms(samples: &[f32]) -> f32 {
        (samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32).sqrt()
    }

    #[test]
    fn steady_noise_is_taken_down_as_far_as_asked_and_a_tone_that_begins_is_not() {
        for (level, db) in [(NoiseSuppression::Low, 5.0), (NoiseSuppression::Moderate, 10.0)] {
            let Some(mut noise) = Noise::new(level) else { return assert_eq!(level, NoiseSuppression::Off) };
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
}
