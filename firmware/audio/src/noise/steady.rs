//! Steady noise: fans, projectors, air.

use super::{FULL_SCALE, NoiseReduction};
use crate::FRAME;
use sonora::three_band_filter_bank::{NUM_BANDS, SPLIT_BAND_SIZE, ThreeBandFilterBank};
use sonora_ns::config::{NsConfig, SuppressionLevel};
use sonora_ns::noise_suppressor::NoiseSuppressor;
use std::time::Duration;

/// What the splitting into bands holds back, measured.
const DELAY: Duration = Duration::from_millis(7);

/// A Wiener filter below 8 kHz and one gain above. Used without the library's chain, which would put a steep
/// high-pass filter before it that turns the phase of every voice (`high_pass.rs`).
pub(super) struct Steady {
    bands: ThreeBandFilterBank,
    suppressor: NoiseSuppressor,
    split: [[f32; SPLIT_BAND_SIZE]; NUM_BANDS],
}

impl Steady {
    /// Takes `target_level` of what is steady.
    pub(super) fn new(target_level: SuppressionLevel) -> Self {
        Self {
            bands: ThreeBandFilterBank::new(),
            suppressor: NoiseSuppressor::new_with_bands(NsConfig { target_level }, NUM_BANDS),
            split: [[0.0; SPLIT_BAND_SIZE]; NUM_BANDS],
        }
    }
}

impl NoiseReduction for Steady {
    fn delay(&self) -> Duration {
        DELAY
    }

    fn process(&mut self, frame: &mut [f32; FRAME]) {
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
