//! What is below every voice: rumble, wind, direct current.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// -3 dB here. Gentle, so that the low notes of a voice keep their phase: steep filters turn it by half a
/// circle and more, which no ear minds but every comparison of wave forms.
const CORNER_HZ: f64 = 40.0;

/// A Butterworth filter of second order at 48 kHz (R. Bristow-Johnson, Audio EQ Cookbook: HPF, Q = 1/sqrt 2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct HighPass {
    b: [f64; 3],
    a: [f64; 2],
    state: [f64; 2],
}

impl HighPass {
    pub(crate) fn new() -> Self {
        let angle = TAU * CORNER_HZ / f64::from(crate::RATE_HZ);
        let (alpha, cos) = (angle.sin() * FRAC_1_SQRT_2, angle.cos());
        let b = (1.0 + cos) / 2.0;
        let scale = 1.0 / (1.0 + alpha);
        Self {
            b: [b * scale, -2.0 * b * scale, b * scale],
            a: [-2.0 * cos * scale, (1.0 - alpha) * scale],
            state: [0.0; 2],
        }
    }

    /// Forgets what it heard.
    pub(crate) fn clear(&mut self) {
        self.state = [0.0; 2];
    }

    /// The next sample; `sample` is finite.
    pub(crate) fn next(&mut self, sample: f32) -> f32 {
        let x = f64::from(sample);
        let y = self.b[0] * x + self.state[0];
        self.state = [self.b[1] * x - self.a[0] * y + self.state[1], self.b[2] * x - self.a[1] * y];
        y as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gain in dB for a tone.
    fn gain(hz: f64) -> f64 {
        let mut filter = HighPass::new();
        let (mut into, mut out) = (0.0, 0.0);
        for i in 0..96_000 {
            let x = (f64::from(i) * hz * TAU / 48_000.0).sin();
            let y = f64::from(filter.next(x as f32));
            if i >= 48_000 {
                (into, out) = (into + x * x, out + y * y);
            }
        }
        10.0 * (out / into).log10()
    }

    #[test]
    fn rumble_goes_and_voices_stay() {
        assert!(gain(8.0) < -25.0);
        assert!((gain(40.0) + 3.0).abs() < 0.1);
        assert!(gain(120.0).abs() < 0.3 && gain(1_000.0).abs() < 0.01);
    }

    #[test]
    fn direct_current_dies_away() {
        let mut filter = HighPass::new();
        let last = (0..48_000).map(|_| filter.next(1.0)).last().unwrap_or(1.0);
        assert!(last.abs() < 1e-6);
    }
}
