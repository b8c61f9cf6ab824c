//! From the speaker to the microphones.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use rostrum_hal::{
    Timestamp,
    microphone::{MicrophoneArray, MicrophoneError},
    speaker::{Speaker, SpeakerError},
};

use super::{
    Figure, Outcome, Part, Test,
    echo::{Heard, listen, sweep},
};

const NAME: &str = Part::Sound.name();
/// Silence before the sweep, so that a card that wakes up slowly loses nothing of it.
const LEAD: Duration = Duration::from_millis(300);
/// How long the room is listened to after the sweep: longer than any sound is on its way.
const TAIL: Duration = Duration::from_millis(700);
/// A machine that is busy gets another chance.
const TRIES: usize = 3;
/// A microphone that is so much quieter than the best one has its hole covered, or is broken.
const MUCH_QUIETER_DB: f32 = 20.0;
/// Sound is not on its way for longer; then the times of the card are wrong.
const LONGEST_MS: f64 = 500.0;
/// Nor heard earlier than played, but for how exactly cards tell times.
const EARLIEST_MS: f64 = -30.0;

/// Blocks, which the runtime is told of.
pub(super) fn check(
    test: &mut Test<'_>,
    microphones: Option<&mut dyn MicrophoneArray>,
    speaker: Option<&mut dyn Speaker>,
    is_cut: bool,
) {
    let (Some(microphones), Some(speaker)) = (microphones, speaker) else {
        return test.over(
            NAME,
            Outcome::skipped("the board has not both microphones and a speaker"),
            Vec::new(),
        );
    };
    if is_cut {
        return test.over(
            NAME,
            Outcome::skipped("the mute switch cuts the microphones; move it"),
            Vec::new(),
        );
    }
    test.begins(NAME);
    let taken = tokio::task::block_in_place(|| take(microphones, speaker));
    match taken.map(|take| judge(&take)) {
        Ok((outcome, figures)) => test.over(NAME, outcome, figures),
        Err(outcome) => test.over(NAME, outcome, Vec::new()),
    }
}

/// The sweep as it was played and heard.
struct Take {
    rate_hz: u32,
    channels: usize,
    /// Interleaved.
    samples: Vec<f32>,
    /// When the first of them was heard.
    start: Timestamp,
    /// When the sweep was to be heard at the speaker.
    played: Timestamp,
}

/// Why there is no take.
enum Trouble {
    /// Samples were lost; the next try may go better.
    Gap(&'static str),
    Failed(Outcome),
}

fn take(microphones: &mut dyn MicrophoneArray, speaker: &mut dyn Speaker) -> Result<Take, Outcome> {
    let mut gap = "";
    for _ in 0..TRIES {
        match take_once(microphones, speaker) {
            Ok(take) => return Ok(take),
            Err(Trouble::Failed(outcome)) => return Err(outcome),
            Err(Trouble::Gap(what)) => gap = what,
        }
    }
    Err(Outcome::failed(
        format!("{gap} in each of {TRIES} tries"),
        "the machine is too busy for sound; stop other programs, or give the profile's section more periods",
    ))
}

fn take_once(microphones: &mut dyn MicrophoneArray, speaker: &mut dyn Speaker) -> Result<Take, Trouble> {
    let format = microphones.format();
    let (rate_hz, channels) = (format.rate_hz, format.channels());
    let mut period = vec![0.0; format.period_frames * channels];
    // The first period says that they run.
    read(microphones, &mut period)?;
    let silent = AtomicBool::new(false);
    let (told, heard) = mpsc::channel();
    std::thread::scope(|scope| {
        let silent = &silent;
        scope.spawn(move || {
            let played = play(speaker);
            silent.store(true, Ordering::Release);
            let _ = told.send(played);
        });
        let mut samples = Vec::new();
        let mut start = None;
        let mut left = TAIL.as_secs_f64() * f64::from(rate_hz) / format.period_frames as f64;
        while left > 0.0 {
            let time = match read(microphones, &mut period) {
                Ok(time) => time,
                // The speaker ends by itself.
                Err(trouble) => return Err(trouble),
            };
            start.get_or_insert(time);
            samples.extend_from_slice(&period);
            if silent.load(Ordering::Acquire) {
                left -= 1.0;
            }
        }
        let played = heard.recv().unwrap_or(Err(Trouble::Gap("the speaker's thread ended")))?;
        Ok(Take { rate_hz, channels, samples, start: start.unwrap_or(played), played })
    })
}

fn read(microphones: &mut dyn MicrophoneArray, period: &mut [f32]) -> Result<Timestamp, Trouble> {
    microphones.read(period).map_err(|error| match error {
        MicrophoneError::Overrun { .. } => Trouble::Gap("the microphones lost samples"),
        error => Trouble::Failed(Outcome::failed(
            error.to_string(),
            "plug them in, or correct [microphones] of the board's profile with `rostrumd probe`",
        )),
    })
}

/// Plays the sweep and gives the time at which it is heard.
fn play(speaker: &mut dyn Speaker) -> Result<Timestamp, Trouble> {
    let format = speaker.format();
    let lead = (LEAD.as_secs_f64() * f64::from(format.rate_hz)) as usize;
    let lead = lead.next_multiple_of(format.period_frames);
    let mut mono = vec![0.0; lead];
    mono.extend(sweep(format.rate_hz));
    mono.resize(mono.len().next_multiple_of(format.period_frames) + format.period_frames, 0.0);
    let mut played = None;
    for (number, period) in mono.chunks(format.period_frames).enumerate() {
        let samples: Vec<_> =
            period.iter().flat_map(|sample| std::iter::repeat_n(*sample, format.channels)).collect();
        let position = number * format.period_frames;
        match speaker.write(&samples) {
            Ok(time) if position == lead => played = Some(time),
            Ok(_) => {}
            // Nothing of the sweep is missing yet.
            Err(SpeakerError::Underrun) if position < lead => {}
            Err(SpeakerError::Underrun) => return Err(Trouble::Gap("the speaker ran out of samples")),
            Err(error) => {
                return Err(Trouble::Failed(Outcome::failed(
                    error.to_string(),
                    "plug it in, or correct [speaker] of the board's profile with `rostrumd probe`",
                )));
            }
        }
    }
    played.ok_or(Trouble::Gap("the speaker gave no time"))
}

/// Delay and level of each microphone, and what is wrong with which.
fn judge(take: &Take) -> (Outcome, Vec<Figure>) {
    let sweep = sweep(take.rate_hz);
    let heard: Vec<_> = (0..take.channels)
        .map(|channel| {
            let one: Vec<_> = take.samples.iter().skip(channel).step_by(take.channels).copied().collect();
            listen(&one, &sweep)
        })
        .collect();
    let delay_ms = |at: usize| {
        let begin = take.start + Duration::from_secs_f64(at as f64 / f64::from(take.rate_hz));
        let late = begin.saturating_since(take.played).as_secs_f64();
        let early = take.played.saturating_since(begin).as_secs_f64();
        (late - early) * 1000.0
    };
    let mut figures = Vec::new();
    for (number, heard) in (1..).zip(&heard) {
        if let Heard::Sweep { at, level_db } = heard {
            figures.push(Figure::new(format!("microphone {number} delay"), delay_ms(*at), "ms"));
            figures.push(Figure::new(format!("microphone {number} level"), f64::from(*level_db), "dBFS"));
        }
    }
    let loudest = heard.iter().filter_map(|heard| match heard {
        Heard::Sweep { level_db, .. } => Some(*level_db),
        _ => None,
    });
    let loudest = loudest.fold(f32::NEG_INFINITY, f32::max);
    if heard.iter().all(|heard| *heard == Heard::Zeros) {
        let remedy =
            "switch the microphones on, raise their mixer, and look at [microphones] of the board's profile";
        return (Outcome::failed("all microphones give nothing but zeros", remedy), figures);
    }
    if heard.iter().all(|heard| *heard == Heard::NotTheSweep) {
        let remedy =
            "raise the speaker's volume, look whether it plays at all, and choose another in [speaker]";
        return (Outcome::failed("no microphone hears the speaker", remedy), figures);
    }
    let problems: Vec<_> = (1..)
        .zip(&heard)
        .filter_map(|(number, heard)| {
            let problem = match heard {
                Heard::Zeros => "gives nothing but zeros".into(),
                Heard::NotTheSweep => "does not hear the speaker".into(),
                Heard::Clipped => "is too loud: samples are cut off".into(),
                Heard::Sweep { level_db, .. } if *level_db < loudest - MUCH_QUIETER_DB => {
                    format!("is {:.0} dB quieter than the best", loudest - level_db)
                }
                Heard::Sweep { at, .. } if !(EARLIEST_MS..=LONGEST_MS).contains(&delay_ms(*at)) => {
                    format!("hears the speaker {:.0} ms later than it plays", delay_ms(*at))
                }
                Heard::Sweep { .. } => return None,
            };
            Some(format!("microphone {number} {problem}"))
        })
        .collect();
    if problems.is_empty() {
        return (Outcome::Passed, figures);
    }
    let remedy =
        "look at its connection and its hole; where it is too loud lower the gain in [microphones.mixer]";
    (Outcome::failed(problems.join(", "), remedy), figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE_HZ: u32 = 16_000;

    /// A second and a half in which each channel hears the sweep with its gain, 20 ms after it was played.
    fn take(gains: &[f32]) -> Take {
        let start = Timestamp::from_clock(Duration::from_secs(100));
        let played = start + Duration::from_millis(100);
        let begin = RATE_HZ as usize * 120 / 1000;
        let sweep = sweep(RATE_HZ);
        let frames = RATE_HZ as usize * 3 / 2;
        let mut samples = Vec::new();
        for frame in 0..frames {
            let played = frame.checked_sub(begin).and_then(|i| sweep.get(i)).copied().unwrap_or(0.0);
            samples.extend(gains.iter().map(|gain| played * gain));
        }
        Take { rate_hz: RATE_HZ, channels: gains.len(), samples, start, played }
    }

    fn problem(gains: &[f32]) -> String {
        match judge(&take(gains)).0 {
            Outcome::Failed { problem, .. } => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_microphone_has_its_delay_and_level() {
        let (outcome, figures) = judge(&take(&[0.5, 0.25]));
        assert_eq!(outcome, Outcome::Passed);
        let value = |name: &str| figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
        assert!(value("microphone 1 delay").is_some_and(|ms| (ms - 20.0).abs() < 0.1), "{figures:?}");
        let apart = value("microphone 1 level").zip(value("microphone 2 level")).map(|(a, b)| a - b);
        assert!(apart.is_some_and(|db| (db - 6.02).abs() < 0.1), "{figures:?}");
    }

    #[test]
    fn the_microphone_that_is_dead_or_covered_is_named() {
        assert_eq!(problem(&[0.5, 0.0, 0.5]), "microphone 2 gives nothing but zeros");
        assert!(problem(&[0.5, 0.5, 0.01]).starts_with("microphone 3 is 34 dB quieter"));
        assert_eq!(problem(&[0.0, 0.0]), "all microphones give nothing but zeros");
    }

    #[test]
    fn times_that_cannot_be_are_told() {
        let take = Take { played: Timestamp::from_clock(Duration::from_secs(90)), ..take(&[0.5]) };
        assert!(matches!(judge(&take).0, Outcome::Failed { problem, .. } if problem.contains("ms later")));
    }
}
