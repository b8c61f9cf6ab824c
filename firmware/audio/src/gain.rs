//! One level for near and far talkers.

use crate::FRAME;

/// Speech comes out so loud, dB of full scale: RMS while somebody speaks. The play-out side's leveller wants the same.
const WANTED_DB: f32 = -24.0;
/// The most that is taken away, that is added, and that is added before anybody spoke.
const LEAST_DB: f32 = -15.0;
const MOST_DB: f32 = 24.0;
const FIRST_DB: f32 = 8.0;
/// Frames over which power is taken together: 100 ms, about a syllable.
const SYLLABLE: u32 = 10;
/// How far the level goes to a syllable's: louder ones count for more, since quiet ones are ends and tails.
const UP: f32 = 0.35;
const DOWN: f32 = 0.16;
/// A syllable that is quieter than the level by so much is a tail in the room until many follow it.
const TAIL_DB: f32 = 9.0;
const TAILS: u32 = 3;
/// Speech is not quieter than this: dB of full scale.
const FAINTEST_DB: f32 = -62.0;
/// How fast the gain moves while somebody speaks, dB a frame: 15 dB a second up, 40 down.
const LOUDER: f32 = 0.15;
const QUIETER: f32 = 0.4;
/// Frames for which the room still echoes after its speaker: 200 ms.
const ECHO_TAIL: u32 = 20;

/// What is known of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// Somebody speaks.
    pub(crate) speech: bool,
    /// It is, or may be, the speaker's echo: nothing is learned of it, and the gain stays.
    pub(crate) echo: bool,
    /// A knock or a key: nothing is learned of it.
    pub(crate) knock: bool,
}

/// Follows the level of speech, and only of speech: in pauses, in noise and in echo the gain stays where it is.
#[derive(Clone, Debug)]
pub(crate) struct Gain {
    /// Power of the syllable that is under way.
    power: f32,
    frames: u32,
    /// Of speech; `None` before there was any.
    level_db: Option<f32>,
    tails: u32,
    echo: u32,
    gain_db: f32,
    /// What the last frame ended with.
    applied: f32,
}

impl Gain {
    pub(crate) fn new() -> Self {
        Self {
            power: 0.0,
            frames: 0,
            level_db: None,
            tails: 0,
            echo: 0,
            gain_db: FIRST_DB,
            applied: amplitude(FIRST_DB),
        }
    }

    /// Levels `frame` (finite) in place, without delay. What comes out may be above full scale: a limiter follows.
    pub(crate) fn process(&mut self, frame: &mut [f32; FRAME], heard: Heard) {
        self.echo = if heard.echo { ECHO_TAIL } else { self.echo.saturating_sub(1) };
        let learn = heard.speech && self.echo == 0 && !heard.knock;
        if learn {
            self.learn(frame.iter().map(|s| s * s).sum::<f32>() / FRAME as f32);
        } else if !heard.speech {
            // A syllable ends with its speech.
            (self.power, self.frames) = (0.0, 0);
        }
        if let (true, Some(level)) = (learn, self.level_db) {
            let wanted = (WANTED_DB - level).clamp(LEAST_DB, MOST_DB);
            self.gain_db += (wanted - self.gain_db).clamp(-QUIETER, LOUDER);
        }
        let to = amplitude(self.gain_db);
        let step = (to - self.applied) / FRAME as f32;
        for (i, sample) in frame.iter_mut().enumerate() {
            *sample *= self.applied + step * (i + 1) as f32;
        }
        self.applied = to;
    }

    fn learn(&mut self, power: f32) {
        self.power += power / SYLLABLE as f32;
        self.frames += 1;
        if self.frames < SYLLABLE {
            return;
        }
        let syllable = 10.0 * self.power.max(1e-12).log10();
        (self.power, self.frames) = (0.0, 0);
        if syllable < FAINTEST_DB {
            return;
        }
        let Some(level) = &mut self.level_db else {
            self.level_db = Some(syllable);
            return;
        };
        let apart = syllable - *level;
        self.tails = if apart < -TAIL_DB { self.tails + 1 } else { 0 };
        if self.tails == 0 || self.tails > TAILS {
            *level += apart * if apart > 0.0 { UP } else { DOWN };
        }
    }

    /// What is added, dB.
    pub(crate) fn gain_db(&self) -> f32 {
        self.gain_db
    }
}

fn amplitude(db: f32) -> f32 {
    10_f32.powf(db / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Syllables of 200 ms, of different loudness, 50 ms apart, about `level_db`.
    fn talk(n: usize, level_db: f32) -> ([f32; FRAME], bool) {
        let (syllable, within) = (n / 25, n % 25);
        let loud = [0.0, -4.0, 2.0, -7.0, 1.0][syllable % 5];
        let shape = if within < 20 { (within as f32 / 20.0 * std::f32::consts::PI).sin() } else { 0.0 };
        let amplitude = amplitude(level_db + loud) * shape * 2.0;
        (std::array::from_fn(|i| ((n * FRAME + i) as f32 * 0.03).sin() * amplitude), within < 20)
    }

    /// Level of speech over `seconds`, dB.
    fn speak(gain: &mut Gain, level_db: f32, seconds: usize) -> f32 {
        let (mut power, mut count) = (0.0, 0);
        for n in 0..seconds * 100 {
            let (mut frame, speech) = talk(n, level_db);
            gain.process(&mut frame, Heard { speech, ..Heard::default() });
            if speech {
                power += frame.iter().map(|s| s * s).sum::<f32>();
                count += FRAME;
            }
        }
        10.0 * (power / count as f32).log10()
    }

    #[test]
    fn near_and_far_talkers_are_within_3_db_two_seconds_after_a_change() {
        let mut gain = Gain::new();
        speak(&mut gain, -20.0, 3);
        let near = speak(&mut gain, -20.0, 5);
        speak(&mut gain, -40.0, 2);
        let far = speak(&mut gain, -40.0, 5);
        speak(&mut gain, -20.0, 1);
        let again = speak(&mut gain, -20.0, 5);
        assert!((near - far).abs() < 1.5 && (near - again).abs() < 1.5, "{near}, {far}, {again} dB");
        assert!((near - WANTED_DB).abs() < 3.0, "{near} dB");
    }

    #[test]
    fn pauses_noise_echo_and_knocks_leave_the_gain_where_it_is() {
        let mut gain = Gain::new();
        speak(&mut gain, -26.0, 3);
        let before = gain.gain_db();
        for heard in [
            Heard::default(),
            Heard { speech: true, echo: true, knock: false },
            Heard { speech: true, echo: false, knock: true },
        ] {
            for _ in 0..1_000 {
                gain.process(&mut [0.001; FRAME], heard);
            }
            assert_eq!(gain.gain_db(), before, "{heard:?}");
        }
    }

    #[test]
    fn the_tail_of_an_echo_is_not_learned_of_either() {
        let mut gain = Gain::new();
        speak(&mut gain, -26.0, 3);
        let before = gain.gain_db();
        for _ in 0..20 {
            gain.process(&mut [0.001; FRAME], Heard { speech: true, echo: true, knock: false });
            for _ in 0..15 {
                gain.process(&mut [0.001; FRAME], Heard { speech: true, ..Heard::default() });
            }
        }
        assert_eq!(gain.gain_db(), before);
    }

    #[test]
    fn a_whisper_is_raised_by_no_more_than_the_most() {
        let mut gain = Gain::new();
        speak(&mut gain, -58.0, 20);
        assert!((gain.gain_db() - MOST_DB).abs() < 0.1, "{}", gain.gain_db());
    }

    #[test]
    fn the_gain_moves_without_a_step() {
        let mut gain = Gain::new();
        let mut last = None;
        for n in 0..600 {
            let mut frame = [0.1 * if n < 300 { 1.0 } else { 0.1 }; FRAME];
            gain.process(&mut frame, Heard { speech: true, ..Heard::default() });
            if n == 300 {
                last = None;
            }
            for sample in frame {
                let last = last.replace(sample).unwrap_or(sample);
                assert!((sample - last).abs() < 1e-3 * sample.abs(), "{last} to {sample} in frame {n}");
            }
        }
    }
}
