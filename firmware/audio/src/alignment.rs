//! How much later than the reference the echo is heard: cross-correlation with whitened phases
//! (C. Knapp, G. Carter, "The generalized correlation method for estimation of time delay", 1976).

use crate::FRAME;
use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use std::ops::Range;
use std::sync::Arc;

/// Samples of ours are this many of 48 kHz: 4 kHz are enough for speech, and cheap.
pub(crate) const STEP: usize = 12;
const EACH: usize = FRAME / STEP;
/// What is looked at: a second.
const SPAN: usize = 4_000;
/// Transform, with room for lags of either sign.
const SIZE: usize = 8_192;
/// Frames between two looks.
const PERIOD: u32 = 10;
/// Most that is found, in our samples: 600 ms.
const MOST: i64 = 2_400;
/// Looks that must agree, within [`NEAR`] of our samples.
const AGREE: u32 = 3;
const NEAR: f32 = 2.0;
/// Of the highest peak over the mean square of all.
const SURE: f32 = 7.0;
/// Share of the highest peak that one at home must have to be believed instead: what repeats itself (a ringing tone, a
/// beat) is like itself at other lags too.
const HOME: f32 = 0.5;

/// Finds the lag.
pub(crate) struct Alignment {
    far: Vec<f32>,
    heard: Vec<f32>,
    far_smooth: [f32; 2 * STEP],
    heard_smooth: [f32; 2 * STEP],
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    time: Vec<f32>,
    far_bins: Vec<Complex<f32>>,
    bins: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    frames: u32,
    candidate: f32,
    agreed: u32,
    pub(crate) peak: f32,
}

impl Alignment {
    pub(crate) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(SIZE), planner.plan_fft_inverse(SIZE));
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        Self {
            far: vec![0.0; SPAN],
            heard: vec![0.0; SPAN],
            far_smooth: [0.0; 2 * STEP],
            heard_smooth: [0.0; 2 * STEP],
            forward,
            inverse,
            time: vec![0.0; SIZE],
            far_bins: vec![Complex::default(); SIZE / 2 + 1],
            bins: vec![Complex::default(); SIZE / 2 + 1],
            scratch: vec![Complex::default(); scratch],
            frames: 0,
            candidate: f32::MAX,
            agreed: 0,
            peak: 0.0,
        }
    }

    /// Forgets what it heard: the reference jumped.
    pub(crate) fn clear(&mut self) {
        self.far.fill(0.0);
        self.heard.fill(0.0);
        self.agreed = 0;
        self.candidate = f32::MAX;
    }

    /// One frame of both; gives the lag in samples of 48 kHz when several looks agree. `home` is where it was before: in
    /// doubt it still is there.
    pub(crate) fn process(
        &mut self,
        far: &[f32; FRAME],
        heard: &[f32; FRAME],
        home: Range<i64>,
    ) -> Option<i64> {
        decimate(far, &mut self.far_smooth, &mut self.far);
        decimate(heard, &mut self.heard_smooth, &mut self.heard);
        self.frames += 1;
        if !self.frames.is_multiple_of(PERIOD) {
            return None;
        }
        let lag = self.look(home)?;
        self.agreed = if (lag - self.candidate).abs() <= NEAR { self.agreed + 1 } else { 1 };
        self.candidate = lag;
        (self.agreed >= AGREE).then(|| (lag * STEP as f32).round() as i64)
    }

    fn look(&mut self, home: Range<i64>) -> Option<f32> {
        if self.far[SPAN / 2..].iter().map(|s| s * s).sum::<f32>() < 1e-6 * SPAN as f32 {
            return None;
        }
        for (n, (to, from)) in
            [(&mut self.far_bins, &self.far), (&mut self.bins, &self.heard)].into_iter().enumerate()
        {
            // What is newer counts more: a jump is found before the old lag has left the span.
            self.time[SPAN..].fill(0.0);
            for (i, (time, sample)) in self.time.iter_mut().zip(from).enumerate() {
                let weight = if n == 1 { (i as f32 / SPAN as f32).powi(2) } else { 1.0 };
                *time = sample * weight;
            }
            let done = self.forward.process_with_scratch(&mut self.time, to, &mut self.scratch);
            debug_assert!(done.is_ok(), "lengths are fixed");
        }
        // 120 Hz to 1.9 kHz.
        let (low, high) = (SIZE * 120 / 4_000, SIZE * 1_900 / 4_000);
        for (i, (heard, far)) in self.bins.iter_mut().zip(&self.far_bins).enumerate() {
            let product = *heard * far.conj();
            let size = product.norm_sqr().sqrt() + 1e-9;
            *heard = if (low..high).contains(&i) { product / size.powf(0.8) } else { Complex::default() };
        }
        let done = self.inverse.process_with_scratch(&mut self.bins, &mut self.time, &mut self.scratch);
        debug_assert!(done.is_ok(), "lengths are fixed");
        let sum: f32 = self.time.iter().map(|s| s * s).sum();
        let (mut best, mut at) = self.highest(-MOST..MOST);
        let step = STEP as i64;
        let (at_home, there) = self.highest(home.start / step..home.end / step);
        if at_home > HOME * best {
            (best, at) = (at_home, there);
        }
        self.peak = best / (sum / SIZE as f32).sqrt().max(1e-12);
        (self.peak > SURE).then_some(at as f32)
    }

    /// The highest peak among lags, and its lag.
    fn highest(&self, among: Range<i64>) -> (f32, i64) {
        let value = |lag: i64| self.time[lag.rem_euclid(SIZE as i64) as usize].abs();
        among
            .map(|lag| (value(lag), lag))
            .fold((0.0, 0), |best, next| if next.0 > best.0 { next } else { best })
    }
}

fn decimate(from: &[f32; FRAME], smooth: &mut [f32; 2 * STEP], to: &mut [f32]) {
    to.copy_within(EACH.., 0);
    let keep = to.len() - EACH;
    for (to, samples) in to[keep..].iter_mut().zip(from.chunks_exact(STEP)) {
        smooth.copy_within(STEP.., 0);
        smooth[STEP..].copy_from_slice(samples);
        // A triangle: two means of twelve.
        let sum: f32 = smooth.iter().enumerate().map(|(i, s)| s * (1 + i.min(2 * STEP - 1 - i)) as f32).sum();
        *to = sum / (STEP * (STEP + 1)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tones of 20 ms, twice a second.
    fn tones(at: i64) -> f32 {
        let in_tone = at.rem_euclid(24_000);
        if at < 0 || in_tone >= 960 { 0.0 } else { (in_tone as f32 * 0.052_36).sin() }
    }

    /// The lags found in 20 s of tones, when `heard` gives what is heard of them.
    fn lags(heard: impl Fn(i64) -> f32) -> Vec<i64> {
        let (mut alignment, mut seed, mut found) = (Alignment::new(), 1_u32, vec![]);
        for frame in 0..2_000 {
            let at = |i: usize| frame * FRAME as i64 + i as i64;
            let heard = std::array::from_fn(|i| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                heard(at(i)) + 0.1 * (seed as f32 / u32::MAX as f32 - 0.5)
            });
            found.extend(alignment.process(&std::array::from_fn(|i| tones(at(i))), &heard, 48..240));
        }
        assert!(found.len() > 20, "{}", found.len());
        found
    }

    #[test]
    fn a_talker_who_sounds_like_the_speaker_does_not_move_an_echo_that_is_at_home() {
        let found = lags(|at| 0.3 * tones(at - 144) + 0.25 * tones(at - 6_000));
        assert!(found.iter().all(|lag| (lag - 144).abs() < 30), "{found:?}");
    }

    #[test]
    fn an_echo_that_has_moved_is_found_where_it_is() {
        let found = lags(|at| 0.3 * tones(at - 3_000));
        assert!(found.iter().all(|lag| (lag - 3_000).abs() < 30), "{found:?}");
    }
}
