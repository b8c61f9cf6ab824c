//! Listening: WAV files of the virtual board, levels, and correlation.

use anyhow::{Context, ensure};
use rustfft::{FftPlanner, num_complex::Complex};
use xtask::room::Terminal;

/// Samples a second everywhere in the scenarios.
pub const RATE_HZ: usize = 48_000;

/// Mono sound with the time of its first sample.
#[derive(Clone, Debug)]
pub struct Recording {
    /// On `CLOCK_MONOTONIC`, in microseconds.
    pub start_us: u64,
    /// -1.0..=1.0 at 48 kHz.
    pub samples: Vec<f32>,
}

/// What the room's virtual board remembers: `scene` (what sounds in the room), `microphone` or `speaker`.
///
/// # Errors
/// When the panel does not answer with a WAV file.
pub fn of_board(room: &Terminal, which: &str, seconds: u32) -> anyhow::Result<Recording> {
    let url = format!("{}/api/v1/board/sound/{which}.wav?seconds={seconds}", room.panel.url);
    let (headers, body) = xtask::room::http_bytes(&url)?;
    let start = headers.iter().find(|(name, _)| name == "x-start-time-us").map(|(_, value)| value.as_str());
    Ok(Recording { start_us: start.context("no X-Start-Time-Us")?.parse()?, samples: parse_wav(&body)? })
}

/// 32-bit floats in little-endian bytes.
pub fn from_le_bytes(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

/// First channel of a WAV file (16-bit PCM or 32-bit float).
///
/// # Errors
/// When it is none.
pub fn parse_wav(bytes: &[u8]) -> anyhow::Result<Vec<f32>> {
    ensure!(bytes.get(..4) == Some(b"RIFF") && bytes.get(8..12) == Some(b"WAVE"), "not a WAV file");
    let (mut place, mut format) = (12, None);
    while let Some(head) = bytes.get(place..place + 8) {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let body = bytes.get(place + 8..(place + 8 + length).min(bytes.len())).unwrap_or_default();
        match &head[..4] {
            b"fmt " if body.len() >= 16 => {
                let word = |at: usize| u16::from_le_bytes([body[at], body[at + 1]]);
                format = Some((usize::from(word(2)), word(14)));
            }
            b"data" => {
                let (channels, bits) = format.context("data before format")?;
                let all = match bits {
                    16 => body
                        .as_chunks::<2>()
                        .0
                        .iter()
                        .map(|chunk| f32::from(i16::from_le_bytes(*chunk)) / 32768.0)
                        .collect(),
                    32 => from_le_bytes(body),
                    other => anyhow::bail!("{other} bits a sample"),
                };
                return Ok(all.into_iter().step_by(channels.max(1)).collect());
            }
            _ => {}
        }
        place += 8 + length + length % 2;
    }
    anyhow::bail!("no data")
}

/// Root of the mean square.
pub fn level(samples: &[f32]) -> f32 {
    (samples.iter().map(|x| x * x).sum::<f32>() / samples.len().max(1) as f32).sqrt()
}

/// Where `heard` lies in `reference`: the lag in samples (index in `reference` of the first sample of `heard`) with
/// the highest normalised correlation, and that correlation, -1.0..=1.0. Only whole overlaps count.
pub fn find(reference: &[f32], heard: &[f32]) -> (usize, f32) {
    if heard.is_empty() || reference.len() < heard.len() {
        return (0, 0.0);
    }
    let size = (reference.len() + heard.len()).next_power_of_two();
    let mut planner = FftPlanner::<f32>::new();
    let forward = planner.plan_fft_forward(size);
    let spectrum = |samples: &[f32]| {
        let mut buffer: Vec<_> = samples.iter().map(|x| Complex::new(*x, 0.0)).collect();
        buffer.resize(size, Complex::default());
        forward.process(&mut buffer);
        buffer
    };
    let mut product: Vec<_> =
        spectrum(reference).into_iter().zip(spectrum(heard)).map(|(r, h)| r * h.conj()).collect();
    planner.plan_fft_inverse(size).process(&mut product);

    let norm = heard.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
    let mut energy = vec![0.0_f64];
    for x in reference {
        energy.push(energy[energy.len() - 1] + f64::from(x * x));
    }
    let loudest = (0..=reference.len() - heard.len())
        .map(|lag| energy[lag + heard.len()] - energy[lag])
        .fold(0.0, f64::max);
    (0..=reference.len() - heard.len())
        .map(|lag| {
            // A stretch of near silence correlates with anything.
            let here = (energy[lag + heard.len()] - energy[lag]).max(loudest * 0.01).sqrt();
            let value = f64::from(product[lag].re) / size as f64;
            (lag, if norm > 0.0 && here > 0.0 { (value / (norm * here)) as f32 } else { 0.0 })
        })
        .fold((0, f32::MIN), |best, next| if next.1 > best.1 { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize, mut seed: u32) -> Vec<f32> {
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn a_piece_is_found_where_it_was_cut_out() {
        let reference = noise(20_000, 1);
        let (lag, correlation) = find(&reference, &reference[7_000..12_000]);
        assert_eq!(lag, 7_000);
        assert!(correlation > 0.999);
    }

    #[test]
    fn something_else_is_not_found() {
        assert!(find(&noise(20_000, 1), &noise(5_000, 2)).1 < 0.1);
    }
}
