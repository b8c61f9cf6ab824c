//! Who talks: one has the floor, and is followed in a map of his own.
//!
//! Who begins while nobody talks has the floor within 30 ms. Who begins while somebody talks is an intruder, who is kept
//! out until the talker has said nothing for a while. Who began in a talker's pause is one too, when the talker goes on who
//! had talked for longer: both had the floor, and it belongs to whoever talked more of late.

use super::direction::{Direction, PAUSE};
use super::steering::{Index, Steering};

/// How fast the talker's map forgets: a second of talk.
const SLOW: f32 = 0.015;
/// How much of the highest peak a second talker must have, and what any must have.
const BESIDE: f32 = 0.55;
const AGREEING: f32 = 0.1;
/// Degrees within which it is the same talker, and within which he is followed.
const SAME_DEG: f32 = 25.0;
const NEAR_DEG: f32 = 15.0;
/// Frames: of talk before somebody has the floor; of silence before another has it who began before the talker's last word.
const BEGINS: u32 = 2;
const YIELDS: u32 = 70;
/// Frames for which who was interrupted must go on until the floor is his again; those of his talk that make it his, and
/// the most of them that count.
const RETURNS: u32 = 20;
const EARNED: u32 = 40;
const MOST_TENURE: u32 = 200;
/// Frames without a word after which somebody begins anew.
const GAP: u32 = 30;
/// Frames of talk in which the whole map may still correct the first guess.
const YOUNG: u32 = 100;
/// Frames of silence after which nobody is sure any more where the talker is.
const FORGOTTEN: f32 = 1_000.0;

/// Who has the floor; all of it in frames.
#[derive(Clone, Copy)]
struct Talker {
    at: Index,
    /// In which he was heard.
    age: u32,
    /// In which he talked alone.
    tenure: u32,
    /// Without a word of his.
    silent: u32,
}

/// Who talks beside him.
#[derive(Clone, Copy)]
struct Other {
    at: Index,
    /// Frames in which he was heard, and those since he was.
    talked: u32,
    silent: u32,
    /// He began while the talker talked.
    intrudes: bool,
}

/// The floor.
pub(super) struct Floor {
    /// The talker's map: how well each direction agrees with what was heard of him.
    slow: Vec<f32>,
    talker: Option<Talker>,
    other: Option<Other>,
    /// Who had it before, and his tenure.
    former: Option<(Index, u32)>,
    /// Frames of talk before anybody had it, and since it was given.
    begun: u32,
    given: u32,
    azimuth_deg: f32,
    agreement: f32,
}

impl Floor {
    /// For so many directions.
    pub(super) fn new(directions: usize) -> Self {
        Self {
            slow: vec![0.0; directions],
            talker: None,
            other: None,
            former: None,
            begun: 0,
            given: 0,
            azimuth_deg: 0.0,
            agreement: 0.0,
        }
    }

    /// Whom to listen to.
    pub(super) fn target(&self) -> Option<Index> {
        self.talker.map(|talker| talker.at)
    }

    /// Whether somebody else has it since a moment.
    pub(super) fn is_new(&self) -> bool {
        self.given <= BEGINS
    }

    /// Who talks at the same time.
    pub(super) fn intruder(&self) -> Option<Index> {
        self.other.filter(|other| other.intrudes && other.silent < GAP).map(|other| other.at)
    }

    pub(super) fn direction(&self) -> Option<Direction> {
        let kept = 1.0 - self.talker?.silent as f32 / FORGOTTEN;
        let confidence = (1.5 * self.agreement * kept).clamp(0.0, 1.0);
        Some(Direction { azimuth_deg: self.azimuth_deg, confidence })
    }

    /// A frame in which nobody talks.
    pub(super) fn rest(&mut self) {
        if let Some(talker) = &mut self.talker {
            talker.silent = talker.silent.saturating_add(1);
        }
        if let Some(other) = &mut self.other {
            other.silent = other.silent.saturating_add(1);
        }
    }

    /// A frame of talk: how well each direction agrees with what was heard of late (`fast`) and in this frame (`map`).
    /// `rise`: how much louder it is than before; what comes directly comes before its echoes.
    pub(super) fn decide(&mut self, steering: &Steering, fast: &[f32], map: &[f32], rise: f32) {
        self.given = self.given.saturating_add(1);
        let mean = fast.iter().sum::<f32>() / fast.len() as f32;
        let height = |index: Index| (fast[index] - mean) / (1.0 - mean).max(1e-3);
        let peak = highest(fast, |_| true);
        let Some(mut talker) = self.talker else {
            self.begun += 1;
            if self.begun >= BEGINS && height(peak) > AGREEING {
                self.give(steering, fast, peak);
            }
            return;
        };
        let here = highest(fast, |index| steering.apart_deg(index, talker.at) <= NEAR_DEG);
        let there = highest(fast, |index| steering.apart_deg(index, talker.at) > SAME_DEG);
        let top = height(peak).max(AGREEING);
        let is_heard = height(here) >= BESIDE * top;
        talker.silent = if is_heard { 0 } else { talker.silent.saturating_add(1) };
        let other_is_heard = height(there) >= BESIDE * top && is_peak(fast, steering, there);
        let other = self.hear_other(other_is_heard.then_some(there), talker);
        if is_heard && other.is_none() {
            talker.tenure = (talker.tenure + 1).min(MOST_TENURE);
            self.former = self.former.and_then(|(who, tenure)| Some((who, tenure.checked_sub(1)?)));
        }
        self.talker = Some(talker);
        if let Some(other) = other {
            if self.was_interrupted(steering, other, talker) {
                self.give(steering, fast, other.at);
                // Who began in his pause is kept out.
                self.other = Some(Other { at: talker.at, talked: BEGINS, silent: 0, intrudes: true });
                return;
            }
            let waits = if other.intrudes { YIELDS } else { PAUSE };
            if other.talked >= BEGINS && talker.silent >= waits {
                self.give(steering, fast, other.at);
                return;
            }
        }
        let is_young = talker.age < YOUNG;
        if is_heard && height(here) >= height(there) || is_young {
            let share = SLOW * rise * if is_young { 2.0 } else { 1.0 };
            for (slow, map) in self.slow.iter_mut().zip(map) {
                *slow += share * (map - *slow);
            }
            talker.age += 1;
        }
        let near = |index: Index| steering.apart_deg(index, talker.at) <= NEAR_DEG;
        talker.at = highest(&self.slow, |index| talker.age < YOUNG || near(index));
        self.talker = Some(talker);
        self.say(steering, talker.at);
    }

    /// Who is heard beside the `talker`, if anybody is, and since when.
    fn hear_other(&mut self, at: Option<Index>, talker: Talker) -> Option<Other> {
        let Some(at) = at else {
            if let Some(other) = &mut self.other {
                other.silent = other.silent.saturating_add(1);
            }
            return None;
        };
        let goes_on = self.other.filter(|other| other.silent < GAP);
        let begins =
            || Other { at, talked: 0, silent: 0, intrudes: talker.silent < PAUSE && talker.age > YOUNG };
        let other = goes_on.unwrap_or_else(begins);
        self.other = Some(Other { at, talked: other.talked + 1, silent: 0, ..other });
        self.other
    }

    /// Whether the other is who had the floor before, talked for longer, and goes on.
    fn was_interrupted(&self, steering: &Steering, other: Other, talker: Talker) -> bool {
        self.former.is_some_and(|(former, tenure)| {
            other.talked >= RETURNS
                && tenure > talker.tenure
                && steering.apart_deg(other.at, former) <= SAME_DEG
        })
    }

    fn give(&mut self, steering: &Steering, fast: &[f32], at: Index) {
        let again = self.former.filter(|(who, _)| steering.apart_deg(*who, at) <= SAME_DEG);
        let tenure = again.map_or(0, |(_, tenure)| tenure);
        self.former = self.talker.map(|talker| (talker.at, talker.tenure));
        let age = if tenure > EARNED { YOUNG + 1 } else { 0 };
        self.talker = Some(Talker { at, age, tenure, silent: 0 });
        self.other = None;
        self.given = 0;
        self.slow.copy_from_slice(fast);
        self.say(steering, at);
    }

    /// Between two directions of the table by the parabola through three.
    fn say(&mut self, steering: &Steering, at: Index) {
        let value = |index: Option<Index>| index.map_or(self.slow[at], |index| self.slow[index]);
        let (left, right) = (value(steering.neighbour(at, false)), value(steering.neighbour(at, true)));
        let bend = left - 2.0 * self.slow[at] + right;
        let step = if bend < -1e-6 { (0.5 * (left - right) / bend).clamp(-0.5, 0.5) } else { 0.0 };
        let azimuth = steering.azimuth_deg(at) + step * Steering::step_deg();
        self.azimuth_deg = if azimuth < -180.0 { azimuth + 360.0 } else { azimuth };
        let mean = self.slow.iter().sum::<f32>() / self.slow.len() as f32;
        self.agreement = (self.slow[at] - mean) / (1.0 - mean).max(1e-3);
    }
}

fn is_peak(map: &[f32], steering: &Steering, at: Index) -> bool {
    [false, true].iter().all(|right| steering.neighbour(at, *right).is_none_or(|index| map[index] <= map[at]))
}

fn highest(map: &[f32], among: impl Fn(Index) -> bool) -> Index {
    let mut best = (0, f32::MIN);
    for (index, value) in map.iter().enumerate().filter(|(index, _)| among(*index)) {
        if *value > best.1 {
            best = (index, *value);
        }
    }
    best.0
}
