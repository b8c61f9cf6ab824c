//! How well sound was kept, and how well it was removed.

use crate::room::RATE_HZ;

/// Sum of squares.
pub fn energy(signal: &[f32]) -> f64 {
    signal.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
}

/// Power in decibels below (or above) a full-scale square; -200 for silence.
pub fn level_db(signal: &[f32]) -> f64 {
    10.0 * (energy(signal) / signal.len().max(1) as f64).max(1e-20).log10()
}

/// Samples of `from_s..to_s`, as far as they are there.
pub fn window(signal: &[f32], from_s: f64, to_s: f64) -> &[f32] {
    let at = |s: f64| ((s * RATE_HZ) as usize).min(signal.len());
    &signal[at(from_s)..at(to_s.max(from_s))]
}

/// Echo return loss enhancement in a window: how much weaker `out` is than `microphone`, dB. Less than 100.
pub fn erle_db(microphone: &[f32], out: &[f32], from_s: f64, to_s: f64) -> f64 {
    (level_db(window(microphone, from_s, to_s)) - level_db(window(out, from_s, to_s))).min(100.0)
}

/// How many samples `heard` is behind `reference`, at most `most` either way: the highest correlation.
pub fn lag(reference: &[f32], heard: &[f32], most: usize) -> i64 {
    let length = reference.len().min(heard.len());
    if length == 0 {
        return 0;
    }
    let size = (length + most + 1).next_power_of_two();
    let mut planner = realfft::RealFftPlanner::<f32>::new();
    let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
    let spectrum = |signal: &[f32]| {
        let mut time = vec![0.0; size];
        time[..length].copy_from_slice(&signal[..length]);
        let mut out = forward.make_output_vec();
        let _ = forward.process(&mut time, &mut out);
        out
    };
    let mut product = spectrum(heard);
    for (value, reference) in product.iter_mut().zip(spectrum(reference)) {
        *value *= reference.conj();
    }
    let mut time = vec![0.0; size];
    let _ = inverse.process(&mut product, &mut time);
    let most = most as i64;
    (-most..=most)
        .max_by(|a, b| {
            let at = |lag: i64| time[lag.rem_euclid(size as i64) as usize];
            at(*a).total_cmp(&at(*b))
        })
        .unwrap_or(0)
}

/// Both on one clock: `heard` without its lag, and `reference`, of one length.
pub fn aligned<'a>(reference: &'a [f32], heard: &'a [f32], most: usize) -> (&'a [f32], &'a [f32]) {
    let lag = lag(reference, heard, most);
    let (reference, heard) = if lag >= 0 {
        (reference, heard.get(lag as usize..).unwrap_or_default())
    } else {
        (reference.get(lag.unsigned_abs() as usize..).unwrap_or_default(), heard)
    };
    let length = reference.len().min(heard.len());
    (&reference[..length], &heard[..length])
}

/// The factor for `heard` that brings it nearest to `reference`, dB: the gain that was lost.
pub fn lost_gain_db(reference: &[f32], heard: &[f32]) -> f64 {
    let product: f64 = reference.iter().zip(heard).map(|(r, h)| f64::from(*r) * f64::from(*h)).sum();
    20.0 * (product / energy(heard).max(1e-20)).abs().max(1e-10).log10()
}

/// Segmental signal-to-noise ratio, dB: frames of 20 ms in which `reference` is within 40 dB of its loudest, each held
/// in -10..=35 (Hansen and Pellom 1998). Both on one clock and at one level.
pub fn segmental_snr_db(reference: &[f32], heard: &[f32]) -> f64 {
    const LENGTH: usize = 960;
    let frames = || reference.chunks_exact(LENGTH).zip(heard.chunks_exact(LENGTH));
    let loudest = frames().map(|(r, _)| energy(r)).fold(0.0, f64::max);
    let (mut sum, mut count) = (0.0, 0.0);
    for (r, h) in frames().filter(|(r, _)| energy(r) > loudest * 1e-4) {
        let wrong: Vec<f32> = r.iter().zip(h).map(|(r, h)| r - h).collect();
        sum += (10.0 * (energy(r) / energy(&wrong).max(1e-12)).log10()).clamp(-10.0, 35.0);
        count += 1.0;
    }
    if count > 0.0 { sum / count } else { 0.0 }
}

/// Degrees between two directions, 0..=180.
pub fn angle_between_deg(a: f64, b: f64) -> f64 {
    let turn = (a - b).rem_euclid(360.0);
    turn.min(360.0 - turn)
}

/// The middle one; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn noise(length: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..length).map(|_| random.normal() as f32 * 0.1).collect()
    }

    #[test]
    fn what_is_later_is_found_and_brought_back() {
        let reference = noise(20_000, 1);
        for late in [0_usize, 7, 1_000] {
            let mut heard = vec![0.0; late];
            heard.extend(&reference);
            assert_eq!(lag(&reference, &heard, 2_000), late as i64);
            let (a, b) = aligned(&reference, &heard, 2_000);
            assert_eq!(a[..15_000], b[..15_000]);
        }
        assert_eq!(lag(&noise(20_000, 1)[100..], &noise(20_000, 1), 500), 100);
        assert_eq!(lag(&noise(20_000, 1), &noise(20_000, 1)[100..], 500), -100);
    }

    #[test]
    fn ratios_are_those_that_were_mixed() {
        let speech = noise(96_000, 2);
        let heard: Vec<f32> = speech.iter().zip(noise(96_000, 3)).map(|(s, n)| s + 0.1 * n).collect();
        assert!((segmental_snr_db(&speech, &heard) - 20.0).abs() < 0.3);
        let quiet: Vec<f32> = speech.iter().map(|x| x * 0.01).collect();
        assert!((erle_db(&speech, &quiet, 0.5, 1.5) - 40.0).abs() < 1e-3);
        assert!((lost_gain_db(&speech, &quiet) - 40.0).abs() < 1e-3);
        assert_eq!(angle_between_deg(-170.0, 175.0), 15.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }
}
