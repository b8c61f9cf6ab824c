//! Noise that comes from everywhere.

use realfft::{RealFftPlanner, num_complex::Complex};

use crate::random::Random;
use crate::room::{Point, RATE_HZ, SPEED_OF_SOUND, mean};

/// Plane waves that make up the field.
const WAVES: usize = 96;

/// How a noise is spread over its notes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// Equal power in every Hz.
    White,
    /// As fans and streets are: falls by 6 dB an octave above 300 Hz.
    #[default]
    Fan,
}

/// Noise with the coherence of a spherically isotropic field (plane waves from evenly spread directions), one signal
/// a microphone, RMS 1.0 each (before small differences of chance).
pub fn diffuse(microphones: &[Point], length: usize, colour: Colour, seed: u64) -> Vec<Vec<f32>> {
    let mut random = Random::new(seed ^ 0x006e_6f69_7365);
    // A good length for transforms; the field is as periodic as it is long.
    let size = length.next_multiple_of(4_800).max(4_800);
    let bins = size / 2 + 1;
    let mut spectra = vec![vec![Complex::new(0.0_f32, 0.0); bins]; microphones.len()];
    let centre = mean(microphones);
    let hz = |bin: usize| bin as f64 * RATE_HZ / size as f64;
    let shape: Vec<f32> = (0..bins)
        .map(|bin| match colour {
            _ if hz(bin) < 40.0 || bin == bins - 1 => 0.0,
            Colour::White => 1.0,
            Colour::Fan => (1.0 / (1.0 + (hz(bin) / 300.0).powi(2)).sqrt()) as f32,
        })
        .collect();
    let energy: f64 = shape.iter().map(|x| f64::from(*x).powi(2)).sum();
    // Parseval for a real signal whose bins each have variance 2 (real and imaginary part) x waves.
    let scale = ((size as f64).powi(2) / (2.0 * energy * 2.0 * WAVES as f64)).sqrt() as f32;
    for wave in 0..WAVES {
        // Fibonacci's lattice spreads directions evenly over the sphere.
        let z = 1.0 - (2.0 * wave as f64 + 1.0) / WAVES as f64;
        let turn = wave as f64 * std::f64::consts::PI * (3.0 - 5_f64.sqrt());
        let flat = (1.0 - z * z).sqrt();
        let direction = [flat * turn.cos(), flat * turn.sin(), z];
        let steps: Vec<Complex<f32>> = microphones
            .iter()
            .map(|microphone| {
                let ahead: f64 = (0..3).map(|axis| direction[axis] * (microphone[axis] - centre[axis])).sum();
                let angle = std::f64::consts::TAU * ahead / SPEED_OF_SOUND * RATE_HZ / size as f64;
                Complex::new(angle.cos() as f32, angle.sin() as f32)
            })
            .collect();
        let mut turns: Vec<Complex<f32>> = vec![Complex::new(1.0, 0.0); microphones.len()];
        for bin in 0..bins {
            // Uniform bits are Gaussian enough when so many waves add up.
            let bits = random.bits();
            let half = |bits: u64| (bits as u32 as f32 / 4_294_967_296.0 - 0.5) * 12_f32.sqrt();
            let value = Complex::new(half(bits), half(bits >> 32)) * (shape[bin] * scale);
            for ((spectrum, turn), step) in spectra.iter_mut().zip(&mut turns).zip(&steps) {
                spectrum[bin] += value * *turn;
                *turn *= step;
            }
        }
    }
    let inverse = RealFftPlanner::<f32>::new().plan_fft_inverse(size);
    spectra
        .into_iter()
        .map(|mut spectrum| {
            spectrum[0].im = 0.0;
            let mut time = vec![0.0; size];
            // Lengths are the plan's, and the edges are real.
            let _ = inverse.process(&mut spectrum, &mut time);
            for sample in &mut time {
                *sample /= size as f32;
            }
            time.truncate(length);
            time
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Coherence of a diffuse field is sinc(2 f d / c): averaged over a band it shows in the correlation.
    #[test]
    fn microphones_further_apart_hear_more_different_noise() {
        let at = |x: f64| [x, 0.0, 0.0];
        let noise = diffuse(&[at(0.0), at(0.02), at(1.0)], 48_000, Colour::White, 5);
        let correlation = |a: &[f32], b: &[f32]| {
            let product: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            product / crate::scores::energy(a).sqrt() as f32 / crate::scores::energy(b).sqrt() as f32
        };
        // Mean of sinc(2 f 0.02 / 343) over 0..24 kHz: Si(pi 5.6 / 2 ...) = 0.27 or so.
        let near = correlation(&noise[0], &noise[1]);
        assert!((0.1..0.35).contains(&near), "{near}");
        assert!(correlation(&noise[0], &noise[2]).abs() < 0.05);
        let rms = (crate::scores::energy(&noise[0]) / 48_000.0).sqrt();
        assert!((0.9..1.1).contains(&rms), "{rms}");
    }
}
