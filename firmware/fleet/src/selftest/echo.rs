//! A sound that is easily found again, and where it is found. Pure functions.

use std::f32::consts::TAU;

use rustfft::{FftPlanner, num_complex::Complex};

/// What the sweep runs through, in Hz: what every speaker of a room plays.
const FROM_HZ: f32 = 300.0;
const TO_HZ: f32 = 6000.0;
/// How long it takes, in seconds.
const SECONDS: f32 = 0.7;
/// How loud it is: heard well, and far from what makes a speaker rattle.
const AMPLITUDE: f32 = 0.25;
/// In and out without a click, in seconds.
const FADE: f32 = 0.02;
/// A peak that stands out so far from everything else is the sweep; the highest of noise stands out some 5 times.
const STANDS_OUT: f32 = 10.0;

/// A sweep, rising evenly by octaves.
pub(super) fn sweep(rate_hz: u32) -> Vec<f32> {
    let rate = rate_hz as f32;
    let length = (SECONDS * rate) as usize;
    let octaves = (TO_HZ / FROM_HZ).ln();
    let one = |i: usize| {
        let time = i as f32 / rate;
        let turns = FROM_HZ * SECONDS / octaves * ((time / SECONDS * octaves).exp() - 1.0);
        let edge = time.min(SECONDS - time).max(0.0) / FADE;
        AMPLITUDE * edge.min(1.0) * (TAU * turns.fract()).sin()
    };
    (0..length).map(one).collect()
}

/// What one microphone heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Heard {
    /// Exact zeros: it is not connected, or cut.
    Zeros,
    /// Something, but not the sweep.
    NotTheSweep,
    /// The sweep.
    Sweep {
        /// Sample at which it begins.
        at: usize,
        /// Level of its straightest way from the speaker, in dB of full scale.
        level_db: f32,
    },
    /// The sweep, but so loud that samples are cut off.
    Clipped,
}

/// Looks for `sweep` in `recording`.
pub(super) fn listen(recording: &[f32], sweep: &[f32]) -> Heard {
    if recording.iter().all(|sample| *sample == 0.0) {
        return Heard::Zeros;
    }
    let correlation = correlate(recording, sweep);
    let (at, peak) = correlation
        .iter()
        .map(|value| value.abs())
        .enumerate()
        .fold((0, 0.0_f32), |best, next| if next.1 > best.1 { next } else { best });
    let rms = rms(&correlation);
    // A recording with what is no number compares as not heard.
    if rms.is_nan() || peak <= STANDS_OUT * rms {
        return Heard::NotTheSweep;
    }
    let clipped = recording.iter().filter(|sample| sample.abs() >= 0.999).count();
    if clipped * 1000 > sweep.len() {
        return Heard::Clipped;
    }
    let energy: f32 = sweep.iter().map(|sample| sample * sample).sum();
    let level_db = 20.0 * (peak / energy * self::rms(sweep)).log10();
    Heard::Sweep { at, level_db }
}

fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32).sqrt()
}

/// For each sample of `recording`, how much of what begins there is `sweep`.
fn correlate(recording: &[f32], sweep: &[f32]) -> Vec<f32> {
    let length = (recording.len() + sweep.len()).next_power_of_two();
    let mut planner = FftPlanner::new();
    let (forward, backward) = (planner.plan_fft_forward(length), planner.plan_fft_inverse(length));
    let spectrum = |samples: &[f32]| {
        let mut padded: Vec<_> = samples.iter().map(|sample| Complex::new(*sample, 0.0)).collect();
        padded.resize(length, Complex::default());
        forward.process(&mut padded);
        padded
    };
    let mut product: Vec<_> = spectrum(recording)
        .iter()
        .zip(spectrum(sweep))
        .map(|(heard, played)| heard * played.conj())
        .collect();
    backward.process(&mut product);
    product.truncate(recording.len());
    product.iter().map(|value| value.re / length as f32).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE_HZ: u32 = 16_000;

    /// Noise that is the same each time.
    fn noise(length: usize, amplitude: f32) -> Vec<f32> {
        let mut state = 1_u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / f32::from(1_u16 << 15) / 256.0 - 1.0
        };
        std::iter::repeat_with(next).take(length).map(|value| value * amplitude).collect()
    }

    fn with_sweep(mut recording: Vec<f32>, at: usize, gain: f32) -> Vec<f32> {
        for (i, sample) in sweep(RATE_HZ).into_iter().enumerate() {
            recording[at + i] += gain * sample;
        }
        recording
    }

    #[test]
    fn a_sweep_is_found_under_noise_that_is_as_loud() {
        let recording = with_sweep(noise(2 * RATE_HZ as usize, 0.05), 5000, 0.2);
        let Heard::Sweep { at, level_db } = listen(&recording, &sweep(RATE_HZ)) else { panic!("not found") };
        assert!(at.abs_diff(5000) <= 1, "{at}");
        // A sine of 0.25 x 0.2 has -29 dB.
        assert!((level_db + 29.0).abs() < 1.0, "{level_db}");
    }

    #[test]
    fn noise_is_no_sweep_and_zeros_are_a_dead_microphone() {
        let sweep = sweep(RATE_HZ);
        assert_eq!(listen(&noise(2 * RATE_HZ as usize, 0.5), &sweep), Heard::NotTheSweep);
        assert_eq!(listen(&[0.0; 40_000], &sweep), Heard::Zeros);
        assert_eq!(listen(&[], &sweep), Heard::Zeros);
        assert_eq!(listen(&[f32::NAN; 40_000], &sweep), Heard::NotTheSweep);
    }

    #[test]
    fn a_sweep_that_is_cut_off_is_told() {
        let loud = with_sweep(vec![0.0; 2 * RATE_HZ as usize], 3000, 8.0);
        let cut: Vec<_> = loud.iter().map(|sample| sample.clamp(-1.0, 1.0)).collect();
        assert_eq!(listen(&cut, &sweep(RATE_HZ)), Heard::Clipped);
    }

    #[test]
    fn a_sweep_is_as_loud_as_it_should_be_and_begins_and_ends_softly() {
        let sweep = sweep(48_000);
        let loudest = sweep.iter().fold(0.0_f32, |most, sample| most.max(sample.abs()));
        assert!((0.24..=0.25).contains(&loudest), "{loudest}");
        let edges = sweep[..10].iter().chain(&sweep[sweep.len() - 10..]);
        assert!(edges.fold(0.0_f32, |most, sample| most.max(sample.abs())) < 0.01);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_sweep_is_found_wherever_it_is(at in 0..20_000_usize, gain in 0.05..3.0_f32) {
            let recording = with_sweep(noise(2 * RATE_HZ as usize, 0.01), at, gain);
            match listen(&recording, &sweep(RATE_HZ)) {
                Heard::Sweep { at: found, .. } => prop_assert!(found.abs_diff(at) <= 1, "{} {}", found, at),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
