//! Keys, pens and knocks: what begins at once and is over at once.

use crate::FRAME;
use std::time::Duration;

/// Samples over which energy is taken together: 1 ms.
const BLOCK: usize = 48;
const BLOCKS: usize = FRAME / BLOCK;
/// Blocks that a decision waits for its block: with [`AFTER`] as many as noise suppression holds back.
const AHEAD: usize = 2;
/// A knock's block is above all of the 20 ms before by so much (16 dB in power), ...
const RISE: f32 = 40.0;
const BEFORE: usize = 20;
/// ... and the fifth millisecond after it is below it by so much (9 dB): a plosive's breath goes on.
const FALL: f32 = 8.0;
const AFTER: usize = 5;
/// A knock counts for so long at most, in blocks; its sound in the room dies away meanwhile.
const LASTS: u32 = 60;
/// What a knock may be as loud as: this times the mean of what was before it (6 dB).
const ALLOWED: f32 = 4.0;
/// Nothing is taken down by more: 24 dB.
const LEAST_GAIN: f32 = 0.063;
/// How loud the room was lately goes down by this in a block: by 60 dB in 600 ms, slower than a stop in speech.
const RECENT: f32 = 0.977;
/// Below this (mean power) nothing disturbs: -70 dB of full scale.
const FAINT: f32 = 1e-7;

/// Samples that what is taken is behind what is heard: 7 ms.
pub(crate) const LAG: usize = (AHEAD + AFTER) * BLOCK;

/// Looks at what is not out yet, and takes knocks down to what was there before them. While somebody speaks a knock is
/// taken down no further than the speech.
#[derive(Clone, Debug)]
pub(crate) struct Knock {
    /// Power of the last blocks, newest last.
    powers: [f32; BEFORE + AFTER + 1],
    /// Gains of the blocks that are not out yet, the next first.
    gains: [f32; AHEAD + BLOCKS],
    applied: f32,
    /// How loud the room was lately: the loudest block that was no knock, dying away.
    recent: f32,
    /// Blocks that the present knock may still last, its power, and what it may be as loud as.
    lasts: u32,
    peak: f32,
    allowed: f32,
    last: f32,
    knocks: u64,
    /// What waits, when no other step holds it back.
    held: Option<[f32; LAG]>,
}

impl Knock {
    /// [`LAG`]; a block is of 1 ms.
    pub(crate) const DELAY: Duration = Duration::from_millis((AHEAD + AFTER) as u64);

    /// `delayed`: another step holds the sound back by [`LAG`] between [`Knock::hear`] and [`Knock::take`].
    pub(crate) fn new(delayed: bool) -> Self {
        Self {
            powers: [0.0; BEFORE + AFTER + 1],
            gains: [1.0; AHEAD + BLOCKS],
            applied: 1.0,
            recent: 0.0,
            lasts: 0,
            peak: 0.0,
            allowed: 0.0,
            last: 0.0,
            knocks: 0,
            held: (!delayed).then_some([0.0; LAG]),
        }
    }

    /// Hears `frame` (finite) before its noise is suppressed.
    pub(crate) fn hear(&mut self, frame: &[f32; FRAME]) {
        self.gains.copy_within(BLOCKS.., 0);
        for i in 0..BLOCKS {
            let mut power = 0.0;
            for sample in &frame[i * BLOCK..(i + 1) * BLOCK] {
                // Low notes are no part of it: they rise slowly, and are the most of a voice.
                let high = sample - std::mem::replace(&mut self.last, *sample);
                power += high * high / BLOCK as f32;
            }
            self.powers.copy_within(1.., 0);
            self.powers[BEFORE + AFTER] = power;
            self.gains[AHEAD + i] = self.judge();
        }
    }

    /// The gain of the block that is [`AFTER`] blocks old.
    fn judge(&mut self) -> f32 {
        let power = self.powers[BEFORE];
        // The block before may have its first samples.
        let before = self.powers[..BEFORE - 1].iter().sum::<f32>() / (BEFORE - 1) as f32;
        let after = self.powers[BEFORE + AFTER].max(self.powers[BEFORE + AFTER - 1]);
        if self.lasts == 0 && power > FAINT && power > RISE * before && after < power / FALL {
            self.allowed = (ALLOWED * before).max(self.recent).max(FAINT);
            if power > self.allowed {
                (self.lasts, self.peak) = (LASTS, power);
                self.knocks += 1;
            }
        }
        if self.lasts > 0 {
            self.lasts -= 1;
            // It is over, or something as loud as it follows: no knock does that.
            let young = self.lasts + AFTER as u32 >= LASTS;
            if power <= self.allowed || (!young && after > self.peak / FALL) {
                self.lasts = 0;
            }
        }
        if self.lasts > 0 {
            return (self.allowed / power).sqrt().clamp(LEAST_GAIN, 1.0);
        }
        self.recent = (self.recent * RECENT).max(power);
        1.0
    }

    /// Takes knocks out of `frame` in place: what was heard [`LAG`] samples ago, and went through noise suppression
    /// meanwhile or waits here.
    pub(crate) fn take(&mut self, frame: &mut [f32; FRAME]) {
        if let Some(held) = &mut self.held {
            frame.rotate_right(LAG);
            frame[..LAG].swap_with_slice(held);
        }
        for (i, block) in frame.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            // It goes down before the knock and up after it.
            let next = self.gains[i].min(self.gains[i + 1]);
            let step = (next - self.applied) / BLOCK as f32;
            for (j, sample) in block.iter_mut().enumerate() {
                *sample *= self.applied + step * (j + 1) as f32;
            }
            self.applied = next;
        }
    }

    /// How many there were.
    pub(crate) fn knocks(&self) -> u64 {
        self.knocks
    }

    /// Whether one is under way.
    pub(crate) fn now(&self) -> bool {
        self.lasts > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(state: &mut u32) -> f32 {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*state >> 8) as f32 / 8_388_608.0 - 1.0
    }

    /// Hiss with a key every 300 ms that is 40 dB louder and dies away with `decay` samples.
    fn keys(decay: f32) -> Vec<f32> {
        let mut seed = 5;
        (0..96_000)
            .map(|i| {
                random(&mut seed)
                    * (0.001 + 0.2 * (-((i % 14_400) as f32) / decay).exp() * f32::from(u8::from(i > 14_399)))
            })
            .collect()
    }

    /// Syllables of 200 ms that begin and end gently: pulses of a throat through a formant, and some breath.
    fn speech() -> Vec<f32> {
        let (mut seed, mut state) = (9, [0.0_f32; 2]);
        (0..96_000_usize)
            .map(|i| {
                let shape = ((i % 14_400) as f32 / 9_600.0 * std::f32::consts::PI).sin().max(0.0);
                let pulse = if i % 380 == 0 { 1.0 } else { 0.02 * random(&mut seed) };
                let out = pulse + 1.95 * state[0] - 0.96 * state[1];
                state = [out, state[0]];
                out * shape * 0.1 + random(&mut seed) * 0.0005
            })
            .collect()
    }

    fn run(sound: &[f32]) -> (Vec<f32>, u64) {
        let (mut knock, mut out) = (Knock::new(false), sound.to_vec());
        for frame in out.as_chunks_mut::<FRAME>().0 {
            let heard = *frame;
            knock.hear(&heard);
            knock.take(frame);
        }
        (out, knock.knocks())
    }

    #[test]
    fn keys_are_taken_down_by_more_than_10_db() {
        let sound = keys(100.0);
        let (out, knocks) = run(&sound);
        assert_eq!(knocks, 6);
        let power = |s: &[f32]| s.iter().map(|s| s * s).sum::<f32>();
        let taken = 10.0 * (power(&sound[9_600..]) / power(&out[9_600..])).log10();
        assert!(taken > 10.0, "{taken} dB");
    }

    #[test]
    fn speech_loses_less_than_a_thousandth() {
        let sound = speech();
        let (out, _) = run(&sound);
        let lost = |from: &[f32], to: &[f32]| from.iter().zip(to).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        let power: f32 = sound.iter().map(|s| s * s).sum();
        let changed = 10.0 * (lost(&sound, &out[LAG..]) / power).log10();
        assert!(changed < -30.0, "{changed} dB");
    }

    #[test]
    fn a_key_in_speech_leaves_the_speech() {
        let (clean, key) = (speech(), keys(100.0));
        let both: Vec<f32> = clean.iter().zip(&key).map(|(a, b)| a + b).collect();
        let (out, _) = run(&both);
        // From 50 ms after each key on nothing is touched.
        for from in (14_400..81_600).step_by(14_400) {
            assert_eq!(out[from + 3_400 + LAG..from + 13_000 + LAG], both[from + 3_400..from + 13_000]);
        }
    }

    #[test]
    fn a_sound_that_goes_on_is_no_knock() {
        let mut seed = 3;
        let sound: Vec<f32> =
            (0..48_000).map(|i| random(&mut seed) * if i % 24_000 < 12_000 { 0.001 } else { 0.1 }).collect();
        assert_eq!(run(&sound).1, 0);
    }
}
