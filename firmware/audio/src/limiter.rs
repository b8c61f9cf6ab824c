//! Nothing louder than full scale: a limiter that looks ahead.

use crate::FRAME;
use std::time::Duration;

/// What comes out is not louder: -1 dB of full scale, which leaves Opus its overshoot.
pub(crate) const CEILING: f32 = 0.891_25;
/// Samples over which the gain moves on a straight line, and which it looks ahead: 1 ms.
const BLOCK: usize = 48;
const BLOCKS: usize = FRAME / BLOCK;
/// How much of the way back to no attenuation a block goes: some 60 ms.
const RELEASE: f32 = 0.016;

/// The gain at a border of two blocks is what the louder of both may have, so that the line between two borders is
/// below what its block may have: no sample and no point between samples is above [`CEILING`].
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    /// The newest block, which is not out yet, and the gain that it may have.
    held: [f32; BLOCK],
    allowed: f32,
    /// The gain at the border before it.
    gain: f32,
    /// The last samples looked at, for the peaks between samples.
    last: [f32; 3],
    least: f32,
}

impl Limiter {
    /// How far what comes out is behind.
    pub(crate) const DELAY: Duration = Duration::from_millis(1);

    pub(crate) fn new() -> Self {
        Self { held: [0.0; BLOCK], allowed: 1.0, gain: 1.0, last: [0.0; 3], least: 1.0 }
    }

    /// Limits `frame` in place, [`Limiter::DELAY`] late. Samples are finite.
    pub(crate) fn process(&mut self, frame: &mut [f32; FRAME]) {
        self.least = 1.0;
        for i in 0..BLOCKS {
            let block = &mut frame[i * BLOCK..(i + 1) * BLOCK];
            let peak = self.peak(block);
            let allowed = if peak > CEILING { CEILING / peak } else { 1.0 };
            let released = self.gain + (1.0 - self.gain) * RELEASE;
            let next = self.allowed.min(allowed).min(released);
            let step = (next - self.gain) / BLOCK as f32;
            for (j, (sample, held)) in block.iter_mut().zip(&mut self.held).enumerate() {
                std::mem::swap(sample, held);
                // Rounding may be a hair above.
                *sample = (*sample * (self.gain + step * (j + 1) as f32)).clamp(-CEILING, CEILING);
            }
            self.gain = next;
            self.allowed = allowed;
            self.least = self.least.min(next);
        }
    }

    /// The most that it took in the last frame, dB, 0 or below.
    pub(crate) fn reduction_db(&self) -> f32 {
        20.0 * self.least.log10()
    }

    /// The loudest sample, and point half way between two (by the cubic through four).
    fn peak(&mut self, block: &[f32]) -> f32 {
        let [mut a, mut b, mut c] = self.last;
        let mut peak = 0.0_f32;
        for d in block {
            let between = (9.0 * (b + c) - (a + d)) * 0.0625;
            peak = peak.max(d.abs()).max(between.abs());
            (a, b, c) = (b, c, *d);
        }
        self.last = [a, b, c];
        peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_too_loud_comes_out_as_it_is_a_millisecond_later() {
        let mut limiter = Limiter::new();
        let sound: Vec<f32> = (0..4_800).map(|i| (i as f32 * 0.05).sin() * 0.8).collect();
        let mut out = sound.clone();
        for frame in out.as_chunks_mut::<FRAME>().0 {
            limiter.process(frame);
            assert_eq!(limiter.reduction_db(), 0.0);
        }
        assert_eq!(out[48..], sound[..4_752]);
    }

    #[test]
    fn a_tone_that_is_too_loud_keeps_its_shape() {
        let mut limiter = Limiter::new();
        let (mut error, mut power) = (0.0, 0.0);
        for n in 0..100 {
            let at = |i: usize| ((n * FRAME + i) as f32 * 0.03).sin();
            let mut frame: [f32; FRAME] = std::array::from_fn(|i| at(i) * 1.8);
            limiter.process(&mut frame);
            if n > 50 {
                for (i, sample) in frame.iter().enumerate() {
                    let want = ((n * FRAME + i) as f32 - 48.0).mul_add(0.03, 0.0).sin() * CEILING;
                    error += (sample - want).powi(2);
                    power += want.powi(2);
                }
            }
        }
        assert!(error / power < 1e-3, "{error} of {power}");
        assert!((limiter.reduction_db() + 6.1).abs() < 0.3, "{}", limiter.reduction_db());
    }

    #[test]
    fn it_lets_go_within_a_quarter_of_a_second() {
        let mut limiter = Limiter::new();
        limiter.process(&mut [1.9; FRAME]);
        for _ in 0..25 {
            limiter.process(&mut [0.1; FRAME]);
        }
        assert!(limiter.reduction_db() > -0.5, "{}", limiter.reduction_db());
    }

    proptest! {
        #[test]
        fn nothing_is_ever_louder_than_the_ceiling(seed in any::<u32>(), loud in 0.5_f32..2.0) {
            let (mut limiter, mut state) = (Limiter::new(), seed);
            for _ in 0..20 {
                let mut frame: [f32; FRAME] = std::array::from_fn(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let burst = if state >> 29 == 0 { loud } else { 0.05 };
                    ((state >> 8) as f32 / 8_388_608.0 - 1.0) * burst
                });
                limiter.process(&mut frame);
                prop_assert!(frame.iter().all(|s| s.abs() <= CEILING));
            }
        }
    }
}
