//! Who talks, and from where: the direction from which the phases of most bins agree (SRP-PHAT; DiBiase 2000), one
//! map for what is heard now and one for the talker who has the floor.
//!
//! Who begins while nobody talks has the floor within 30 ms. Who begins while somebody talks is an intruder, who is kept
//! out until the talker has said nothing for a while. Who began in a talker's pause is one too, when the talker goes on who
//! had talked for longer: both had the floor, and it belongs to whoever talked more of late.

use super::health::MAX;
use super::steering::{Index, LOOKED_AT, Steering, looked_at};
use crate::transform::Spectrum;

/// How fast the maps forget: 40 ms, and a second of talk.
const FAST: f32 = 0.22;
const SLOW: f32 = 0.015;
/// A bin counts when it is so much louder than its noise (power).
const OVER_NOISE: f32 = 4.0;
/// How fast the noise of a bin follows: down at once, up by 6 dB in a second.
const NOISE_DOWN: f32 = 0.1;
const NOISE_UP: f32 = 1.014;
/// Share of all bins that must count for a frame to be talk.
const TALK: f32 = 0.12;
/// How much of the highest peak a second talker must have, and what any must have.
const BESIDE: f32 = 0.55;
const AGREEING: f32 = 0.1;
/// Degrees within which it is the same talker, and within which he is followed.
const SAME_DEG: f32 = 25.0;
const NEAR_DEG: f32 = 15.0;
/// Frames: of talk before somebody has the floor; of silence before another has it who began then; who began before.
const BEGINS: u32 = 2;
const PAUSE: u32 = 5;
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

/// Where somebody talks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Direction {
    /// Degrees from straight ahead (y of the geometry), positive to the right (x), -180.0..=180.0. A straight array from
    /// left to right cannot tell before from behind and says -90.0..=90.0.
    pub azimuth_deg: f32,
    /// How sure that is, 0.0..=1.0: how well the microphones agree, less the longer nobody talks.
    pub confidence: f32,
}

/// Finds talkers.
pub(super) struct Finder {
    microphones: usize,
    noise: [f32; LOOKED_AT],
    gates: [f32; LOOKED_AT],
    /// Phases of each bin that is looked at and each plane, as numbers of length one.
    re: Vec<f32>,
    im: Vec<f32>,
    map: Vec<f32>,
    fast: Vec<f32>,
    slow: Vec<f32>,
    loudness: f32,
    talks: bool,
    /// Frames without talk, up to now.
    quiet: u32,
    target: Option<Index>,
    age: u32,
    /// Frames of talk since the floor was given.
    fresh: u32,
    silent: u32,
    /// Frames in which the talker talked alone, and those of who had the floor before.
    tenure: u32,
    former: Option<(Index, u32)>,
    other: Option<Index>,
    other_for: u32,
    other_silent: u32,
    intrudes: bool,
    azimuth_deg: f32,
    agreement: f32,
}

impl Finder {
    pub(super) fn new(steering: &Steering) -> Self {
        let size = steering.len();
        let microphones = steering.microphones();
        Self {
            microphones,
            noise: [0.0; LOOKED_AT],
            gates: [0.0; LOOKED_AT],
            re: vec![0.0; LOOKED_AT * microphones],
            im: vec![0.0; LOOKED_AT * microphones],
            map: vec![0.0; size],
            fast: vec![0.0; size],
            slow: vec![0.0; size],
            loudness: 0.0,
            talks: false,
            quiet: 0,
            target: None,
            age: 0,
            fresh: 0,
            silent: 0,
            tenure: 0,
            former: None,
            other: None,
            other_for: 0,
            other_silent: GAP,
            intrudes: false,
            azimuth_deg: 0.0,
            agreement: 0.0,
        }
    }

    /// Whom to listen to.
    pub(super) fn target(&self) -> Option<Index> {
        self.target
    }

    /// Whether somebody else has the floor since a moment.
    pub(super) fn is_new(&self) -> bool {
        self.fresh <= BEGINS
    }

    /// Who talks at the same time.
    pub(super) fn intruder(&self) -> Option<Index> {
        self.other.filter(|_| self.intrudes && self.other_silent < GAP)
    }

    pub(super) fn direction(&self) -> Option<Direction> {
        self.target?;
        let kept = 1.0 - self.silent as f32 / FORGOTTEN;
        let confidence = (1.5 * self.agreement * kept).clamp(0.0, 1.0);
        Some(Direction { azimuth_deg: self.azimuth_deg, confidence })
    }

    /// Whether the last frame was talk.
    pub(super) fn talks(&self) -> bool {
        self.talks
    }

    /// A frame in which nothing can be found.
    pub(super) fn rest(&mut self) {
        self.talks = false;
        self.quiet = self.quiet.saturating_add(1);
        self.silent = self.silent.saturating_add(1);
        self.other_silent = self.other_silent.saturating_add(1);
    }

    /// A frame of all planes.
    pub(super) fn listen(
        &mut self,
        heard: &[Spectrum],
        steering: &Steering,
        order: &[u8; MAX],
        trusted: u16,
    ) {
        let loudness = self.look(heard, trusted, order);
        if self.gates.iter().sum::<f32>() < TALK * LOOKED_AT as f32 {
            self.rest();
            return;
        }
        self.talks = true;
        for index in 0..steering.len() {
            self.map[index] = self.agree(steering, index, order, trusted);
        }
        // After a pause what was heard before it says nothing.
        let share = if self.quiet >= PAUSE { 1.0 } else { FAST };
        self.quiet = 0;
        for (fast, map) in self.fast.iter_mut().zip(&self.map) {
            *fast += share * (map - *fast);
        }
        // What comes directly comes before its echoes: a rise counts more than a fall.
        let rise = (loudness / self.loudness.max(1e-12)).clamp(0.2, 3.0);
        self.loudness += 0.3 * (loudness - self.loudness);
        self.decide(steering, rise);
    }

    /// Takes the phases of a frame, and which bins count; gives its loudness.
    fn look(&mut self, heard: &[Spectrum], trusted: u16, order: &[u8; MAX]) -> f32 {
        let mut loudness = 0.0;
        for i in 0..LOOKED_AT {
            let bin = looked_at(i);
            let mut power = 0.0;
            for (m, spectrum) in heard.iter().enumerate() {
                let (re, im) = (spectrum.re[bin], spectrum.im[bin]);
                let square = re * re + im * im;
                let scale = 1.0 / square.sqrt().max(1e-12);
                let at = i * self.microphones + m;
                (self.re[at], self.im[at]) = (re * scale, im * scale);
                let is_trusted =
                    (0..heard.len()).any(|of| usize::from(order[of]) == m && trusted >> of & 1 == 1);
                if is_trusted {
                    power += square;
                }
            }
            let noise = &mut self.noise[i];
            let up = (*noise * NOISE_UP).max(1e-12);
            *noise = if power < *noise {
                *noise + NOISE_DOWN * (power - *noise)
            } else {
                up.min(power.max(1e-12))
            };
            let over = power > OVER_NOISE * *noise;
            self.gates[i] = if over { 1.0 - *noise / power } else { 0.0 };
            loudness += self.gates[i] * power;
        }
        loudness
    }

    /// How well phases agree with a wave from a direction, 0.0..=1.0.
    fn agree(&self, steering: &Steering, index: Index, order: &[u8; MAX], trusted: u16) -> f32 {
        let (mut sum, mut all) = (0.0, 1e-9);
        for (i, gate) in self.gates.iter().enumerate().filter(|(_, gate)| **gate > 0.0) {
            let (wave_re, wave_im) = steering.conjugate(index, i);
            let (mut re, mut im) = (0.0, 0.0);
            for m in 0..self.microphones {
                let at = i * self.microphones + usize::from(order[m]);
                let part = (trusted >> m & 1) as f32;
                let (a, b) = (self.re[at] * part, self.im[at] * part);
                re += a * wave_re[m] - b * wave_im[m];
                im += a * wave_im[m] + b * wave_re[m];
            }
            sum += gate * (re * re + im * im);
            all += gate;
        }
        let count = trusted.count_ones().max(1) as f32;
        sum / (all * count * count)
    }

    /// The best agreement of the last frame if planes were in another order.
    pub(super) fn best(&self, steering: &Steering, order: &[u8; MAX], trusted: u16) -> f32 {
        (0..steering.len()).map(|index| self.agree(steering, index, order, trusted)).fold(0.0, f32::max)
    }

    fn decide(&mut self, steering: &Steering, rise: f32) {
        self.fresh = self.fresh.saturating_add(1);
        let mean = self.fast.iter().sum::<f32>() / self.fast.len() as f32;
        let height = |value: f32| (value - mean) / (1.0 - mean).max(1e-3);
        let peak = highest(&self.fast, |_| true);
        let Some(target) = self.target else {
            self.age += 1;
            if self.age >= BEGINS && height(self.fast[peak]) > AGREEING {
                self.give_floor(steering, peak);
            }
            return;
        };
        let here = highest(&self.fast, |index| steering.apart_deg(index, target) <= NEAR_DEG);
        let other = highest(&self.fast, |index| steering.apart_deg(index, target) > SAME_DEG);
        let top = height(self.fast[peak]).max(AGREEING);
        let is_heard = height(self.fast[here]) >= BESIDE * top;
        let other_is_heard = height(self.fast[other]) >= BESIDE * top && is_peak(&self.fast, steering, other);
        self.silent = if is_heard { 0 } else { self.silent.saturating_add(1) };
        if other_is_heard {
            if self.other_silent >= GAP {
                self.other_for = 0;
                self.intrudes = self.silent < PAUSE && self.age > YOUNG;
            }
            self.other = Some(other);
            self.other_for += 1;
            self.other_silent = 0;
        } else {
            self.other_silent = self.other_silent.saturating_add(1);
        }
        if is_heard && !other_is_heard {
            self.tenure = (self.tenure + 1).min(MOST_TENURE);
            self.former = self.former.and_then(|(who, tenure)| Some((who, tenure.checked_sub(1)?)));
        }
        if let Some((former, tenure)) = self.former
            && other_is_heard
            && self.other_for >= RETURNS
            && tenure > self.tenure
            && steering.apart_deg(other, former) <= SAME_DEG
        {
            self.interrupted(steering, other, target);
            return;
        }
        let waits = if self.intrudes { YIELDS } else { PAUSE };
        if other_is_heard && self.other_for >= BEGINS && self.silent >= waits {
            self.give_floor(steering, other);
            return;
        }
        if is_heard && height(self.fast[here]) >= height(self.fast[other]) || self.age < YOUNG {
            for (slow, map) in self.slow.iter_mut().zip(&self.map) {
                *slow += (SLOW * rise * if self.age < YOUNG { 2.0 } else { 1.0 }) * (map - *slow);
            }
            self.age += 1;
        }
        let near = |index: Index| steering.apart_deg(index, target) <= NEAR_DEG;
        let best = highest(&self.slow, |index| self.age < YOUNG || near(index));
        self.target = Some(best);
        self.say(steering, best);
    }

    /// Who was interrupted in a pause goes on: it is his floor, and who began then is kept out.
    fn interrupted(&mut self, steering: &Steering, by: Index, intruder: Index) {
        self.give_floor(steering, by);
        self.other = Some(intruder);
        self.other_for = BEGINS;
        self.other_silent = 0;
        self.intrudes = true;
    }

    fn give_floor(&mut self, steering: &Steering, to: Index) {
        let before = self.target.map(|target| (target, self.tenure));
        let again = self.former.filter(|(who, _)| steering.apart_deg(*who, to) <= SAME_DEG);
        self.tenure = again.map_or(0, |(_, tenure)| tenure);
        self.age = if self.tenure > EARNED { YOUNG + 1 } else { 0 };
        self.former = before;
        self.target = Some(to);
        self.slow.copy_from_slice(&self.fast);
        self.silent = 0;
        self.other = None;
        self.other_for = 0;
        self.other_silent = GAP;
        self.intrudes = false;
        self.fresh = 0;
        self.say(steering, to);
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
