//! The sounds that the terminal itself makes.

use std::{f32::consts::PI, io::Cursor, sync::Arc};

use anyhow::Context;

/// "Attention. For a fault report, the sound of this room is now recorded.", 16 kHz, mono; see `sounds/README.md`.
const RECORDING_WARNING: &[u8] = include_bytes!("../sounds/recording-warning.wav");
/// Samples a second of all sounds that are given out.
const RATE_HZ: f32 = 48_000.0;
/// Notes of the chimes, Hz: a fourth, up for who comes and down for who leaves.
const NOTES_HZ: [f32; 2] = [587.33, 783.99];
/// Between the notes, and how long they ring: seconds.
const NOTE_S: f32 = 0.12;
const RINGS_S: f32 = 0.35;
/// How loud a note begins (-20 dB of full scale), and how long that takes, seconds.
const STRIKE: f32 = 0.1;
const STRIKES_S: f32 = 0.004;
/// 48 kHz for each sample of a file.
const TIMES: usize = 3;
/// Samples of the file on either side that a sample between them is made of.
const REACH: isize = 12;

/// What is heard when somebody comes into the channel, and when somebody leaves it.
#[derive(Clone)]
pub(crate) struct Chimes {
    /// 48 kHz, mono, -1.0..=1.0, as all sounds.
    pub(crate) came: Arc<[f32]>,
    pub(crate) left: Arc<[f32]>,
}

impl Chimes {
    pub(crate) fn new() -> Self {
        let [low, high] = NOTES_HZ;
        Self { came: chime([low, high]), left: chime([high, low]) }
    }
}

/// Two notes that die away, the second before the first is gone.
fn chime(notes_hz: [f32; 2]) -> Arc<[f32]> {
    let length = ((NOTE_S + RINGS_S) * RATE_HZ) as usize;
    let note = |hz: f32, at_s: f32| {
        if !(0.0..RINGS_S).contains(&at_s) {
            return 0.0;
        }
        let strike = (at_s / STRIKES_S).min(1.0);
        let fade = (-5.0 * at_s / RINGS_S).exp() * (1.0 - at_s / RINGS_S);
        STRIKE * strike * fade * (2.0 * PI * hz * at_s).sin()
    };
    let at = |i: usize| i as f32 / RATE_HZ;
    (0..length).map(|i| note(notes_hz[0], at(i)) + note(notes_hz[1], at(i) - NOTE_S)).collect()
}

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
    fn chimes_begin_and_end_in_silence_and_are_not_one_another() {
        let Chimes { came, left } = Chimes::new();
        for chime in [&came, &left] {
            let step = |i: usize| (chime[i] - chime[i - 1]).abs();
            assert_eq!(chime[0], 0.0);
            assert!((1..chime.len()).map(step).fold(0.0, f32::max) < 0.02, "a click");
            assert!(chime[chime.len() - 1].abs() < 1e-4);
            let loudest = chime.iter().fold(0.0, |most: f32, sample| most.max(sample.abs()));
            assert!((0.05..0.15).contains(&loudest), "{loudest}");
        }
        // Waves of the first note.
        let crossings =
            |chime: &[f32]| chime[..4_800].windows(2).filter(|two| two[0] < 0.0 && two[1] >= 0.0).count();
        assert!(crossings(&came) + 15 < crossings(&left));
    }

    #[test]
    fn a_tone_stays_the_tone_that_it_was() {
        let tone = |rate: f32| move |i: usize| (2.0 * PI * 1000.0 * i as f32 / rate).sin();
        let made = thrice(&(0..800).map(tone(16_000.0)).collect::<Vec<_>>());
        let worst = (300..2000).map(|i| (made[i] - tone(48_000.0)(i)).abs()).fold(0.0, f32::max);
        assert!(worst < 0.01, "{worst}");
    }
}
