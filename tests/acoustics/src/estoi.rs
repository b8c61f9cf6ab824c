//! Intelligibility: ESTOI (Jensen and Taal, "An Algorithm for Predicting the Intelligibility of Speech Masked by
//! Modulated Noise Maskers", 2016). 1.0 is clean speech, 0.2 is lost.

use realfft::RealFftPlanner;

use crate::room::RATE_HZ;
use crate::sinc::resample;

/// The rate that the measure was made for.
const INNER_HZ: f64 = 10_000.0;
const WINDOW: usize = 256;
const HOP: usize = WINDOW / 2;
const TRANSFORM: usize = 512;
const BANDS: usize = 15;
/// Middle of the lowest third of an octave.
const LOWEST_HZ: f64 = 150.0;
/// Frames in a segment: 384 ms.
const SEGMENT: usize = 30;
/// Frames of the clean speech that are so much weaker than its loudest are silence, dB.
const RANGE_DB: f64 = 40.0;

/// ESTOI of `heard` against the clean speech `reference`, both at 48 kHz and on one clock. `None` when there are not
/// 0.4 s of speech.
pub fn estoi(reference: &[f32], heard: &[f32]) -> Option<f64> {
    let length = reference.len().min(heard.len());
    let clean = resample(&reference[..length], RATE_HZ, INNER_HZ);
    let noisy = resample(&heard[..length], RATE_HZ, INNER_HZ);
    let (clean, noisy) = without_silence(&clean, &noisy);
    let (clean, noisy) = (bands(&clean), bands(&noisy));
    if clean.len() < SEGMENT {
        return None;
    }
    let segments = clean.windows(SEGMENT).zip(noisy.windows(SEGMENT));
    let count = segments.len() as f64;
    let sum: f64 = segments
        .map(|(clean, noisy)| {
            let (clean, noisy) = (normalised(clean), normalised(noisy));
            clean.iter().flatten().zip(noisy.iter().flatten()).map(|(a, b)| a * b).sum::<f64>()
                / SEGMENT as f64
        })
        .sum();
    Some(sum / count)
}

/// Hann's window without its zeros.
fn hann(i: usize) -> f64 {
    0.5 - 0.5 * (std::f64::consts::TAU * (i + 1) as f64 / (WINDOW + 1) as f64).cos()
}

/// Leaves out the frames in which `clean` is silent, and joins the others.
fn without_silence(clean: &[f32], noisy: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let starts: Vec<usize> = (0..clean.len().saturating_sub(WINDOW - 1)).step_by(HOP).collect();
    let frame = |signal: &[f32], start: usize| -> [f64; WINDOW] {
        std::array::from_fn(|i| hann(i) * f64::from(signal[start + i]))
    };
    let level = |start: &usize| {
        let norm = frame(clean, *start).iter().map(|x| x * x).sum::<f64>().sqrt();
        20.0 * (norm + f64::EPSILON).log10()
    };
    let levels: Vec<f64> = starts.iter().map(level).collect();
    let loudest = levels.iter().copied().fold(f64::MIN, f64::max);
    let kept: Vec<usize> = starts
        .into_iter()
        .zip(levels)
        .filter(|(_, level)| *level > loudest - RANGE_DB)
        .map(|(start, _)| start)
        .collect();
    let join = |signal: &[f32]| {
        let mut out = vec![0.0; if kept.is_empty() { 0 } else { (kept.len() - 1) * HOP + WINDOW }];
        for (i, start) in kept.iter().enumerate() {
            for (sample, add) in out[i * HOP..].iter_mut().zip(frame(signal, *start)) {
                *sample += add;
            }
        }
        out
    };
    (join(clean), join(noisy))
}

/// The size of each third of an octave in each frame.
fn bands(signal: &[f64]) -> Vec<[f64; BANDS]> {
    let bin_hz = INNER_HZ / TRANSFORM as f64;
    let nearest = |hz: f64| (hz / bin_hz).round() as usize;
    let edges: [(usize, usize); BANDS] = std::array::from_fn(|band| {
        let edge = |half: f64| nearest(LOWEST_HZ * 2_f64.powf((2.0 * band as f64 + half) / 6.0));
        (edge(-1.0), edge(1.0))
    });
    let forward = RealFftPlanner::<f64>::new().plan_fft_forward(TRANSFORM);
    let mut time = vec![0.0; TRANSFORM];
    let mut spectrum = forward.make_output_vec();
    // The last whole frame is left out, as in the authors' program.
    let last = signal.len().saturating_sub(WINDOW);
    (0..last)
        .step_by(HOP)
        .map(|start| {
            time.fill(0.0);
            for (i, value) in time.iter_mut().take(WINDOW).enumerate() {
                *value = hann(i) * signal[start + i];
            }
            let _ = forward.process(&mut time, &mut spectrum);
            edges.map(|(from, to)| spectrum[from..to].iter().map(|x| x.norm_sqr()).sum::<f64>().sqrt())
        })
        .collect()
}

/// Each band over time, and then each moment over bands, without its mean and of length 1.
fn normalised(segment: &[[f64; BANDS]]) -> Vec<[f64; BANDS]> {
    let mut out = segment.to_vec();
    for band in 0..BANDS {
        let mean = out.iter().map(|frame| frame[band]).sum::<f64>() / out.len() as f64;
        let norm = out.iter().map(|frame| (frame[band] - mean).powi(2)).sum::<f64>().sqrt();
        for frame in &mut out {
            frame[band] = (frame[band] - mean) / (norm + 1e-15);
        }
    }
    for frame in &mut out {
        let mean = frame.iter().sum::<f64>() / BANDS as f64;
        let norm = frame.iter().map(|x| (x - mean).powi(2)).sum::<f64>().sqrt();
        *frame = frame.map(|x| (x - mean) / (norm + 1e-15));
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::random::Random;

    /// Something with the rhythm and the notes of speech: harmonics that come and go.
    fn voice() -> Vec<f32> {
        let mut random = Random::new(9);
        let mut gains = [0.0_f64; 30];
        let mut goals = [0.0_f64; 30];
        (0..96_000)
            .map(|i| {
                if i % 7_200 == 0 {
                    goals = std::array::from_fn(|_| random.between(0.0, 1.0).powi(3));
                }
                let at = i as f64 / RATE_HZ;
                (0..30)
                    .map(|k| {
                        gains[k] += 0.001 * (goals[k] - gains[k]);
                        gains[k] * (std::f64::consts::TAU * 140.0 * (k + 1) as f64 * at).sin()
                    })
                    .sum::<f64>() as f32
                    * 0.05
            })
            .collect()
    }

    #[test]
    fn clean_is_one_and_noise_takes_it_away() {
        let voice = voice();
        assert!(estoi(&voice, &voice).unwrap() > 0.999);
        let mut last = 1.0;
        for noise in [0.01, 0.05, 0.2, 1.0] {
            let mut random = Random::new(4);
            let heard: Vec<f32> = voice.iter().map(|x| x + (noise * random.normal()) as f32).collect();
            let score = estoi(&voice, &heard).unwrap();
            assert!(score < last, "{score} at {noise}");
            last = score;
        }
        assert!(last < 0.2, "{last}");
        assert_eq!(estoi(&voice[..1_000], &voice[..1_000]), None);
    }
}
