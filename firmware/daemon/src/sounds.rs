//! The sounds that the terminal itself makes.

use std::{f32::consts::PI, io::Cursor, sync::Arc};

use anyhow::Context;

/// "Attention. For a fault report, the sound of this room is now recorded.", 16 kHz, mono; see `sounds/README.md`.
const RECORDING_WARNING: &[u8] = include_bytes!("../sounds/recording-warning.wav");
/// 48 kHz for each sample of a file.
const TIMES: usize = 3;
/// Samples of the file on either side that a sample between them is made of.
const REACH: isize = 12;

/// What people hear before a recording of their room: 48 kHz, mono, -1.0..=1.0.
///
/// # Errors
/// When the file that is built in is no such WAV file.
pub(crate) fn recording_warning() -> anyhow::Result<Arc<[f32]>> {
    let reader = hound::WavReader::new(Cursor::new(RECORDING_WARNING)).context("the warning")?;
    let samples: Result<Vec<i16>, _> = reader.into_samples().collect();
    let samples: Vec<f32> =
        samples.context("the warning")?.into_iter().map(|sample| f32::from(sample) / 32768.0).collect();
    Ok(thrice(&samples).into())
}

/// The same sound with three samples for each: between them by a windowed sinc.
fn thrice(samples: &[f32]) -> Vec<f32> {
    let at = |index: isize| usize::try_from(index).ok().and_then(|index| samples.get(index)).copied();
    let made = |i: usize| {
        let (whole, part) = ((i / TIMES) as isize, (i % TIMES) as f32 / TIMES as f32);
        if part == 0.0 {
            return at(whole).unwrap_or(0.0);
        }
        let taps = (1 - REACH..=REACH).map(|offset| {
            let distance = part - offset as f32;
            let window = (0.5 * PI * distance / REACH as f32).cos().powi(2);
            at(whole + offset).unwrap_or(0.0) * (PI * distance).sin() / (PI * distance) * window
        });
        taps.sum()
    };
    (0..samples.len() * TIMES).map(made).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_warning_can_be_heard_and_is_as_long_as_a_sentence() {
        let warning = recording_warning().unwrap();
        let seconds = warning.len() as f32 / 48_000.0;
        assert!((3.0..8.0).contains(&seconds), "{seconds} s");
        let level = (warning.iter().map(|sample| sample * sample).sum::<f32>() / warning.len() as f32).sqrt();
        assert!(level > 0.03, "{level}");
        assert!(warning.iter().all(|sample| sample.abs() <= 1.0));
    }

    #[test]
    fn a_tone_stays_the_tone_that_it_was() {
        let tone = |rate: f32| move |i: usize| (2.0 * PI * 1000.0 * i as f32 / rate).sin();
        let made = thrice(&(0..800).map(tone(16_000.0)).collect::<Vec<_>>());
        let worst = (300..2000).map(|i| (made[i] - tone(48_000.0)(i)).abs()).fold(0.0, f32::max);
        assert!(worst < 0.01, "{worst}");
    }
}
