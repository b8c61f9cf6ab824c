//! From where something is heard: the direction from which the phases of most bins agree (SRP-PHAT; DiBiase 2000).

use super::floor::Floor;
use super::health::MAX;
use super::steering::{LOOKED_AT, Steering, looked_at};
use crate::transform::Spectrum;

/// How fast the map of what is heard now forgets: 40 ms.
const FAST: f32 = 0.22;
/// A bin counts when it is so much louder than its noise (power).
const OVER_NOISE: f32 = 4.0;
/// How fast the noise of a bin follows: down at once, up by 6 dB in a second.
const NOISE_DOWN: f32 = 0.1;
const NOISE_UP: f32 = 1.014;
/// Share of all bins that must count for a frame to be talk.
const TALK: f32 = 0.12;
/// Frames of silence after which what was heard before says nothing of what is.
pub(super) const PAUSE: u32 = 5;

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
    /// A map that is only tried, and one bin's sums over all microphones, a direction each.
    trial: Vec<f32>,
    sum_re: Vec<f32>,
    sum_im: Vec<f32>,
    loudness: f32,
    talks: bool,
    /// Frames without talk, up to now.
    quiet: u32,
    floor: Floor,
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
            trial: vec![0.0; size],
            sum_re: vec![0.0; size],
            sum_im: vec![0.0; size],
            loudness: 0.0,
            talks: false,
            quiet: 0,
            floor: Floor::new(size),
        }
    }

    /// Who has the floor.
    pub(super) fn floor(&self) -> &Floor {
        &self.floor
    }

    /// Whether the last frame was talk.
    pub(super) fn talks(&self) -> bool {
        self.talks
    }

    /// A frame in which nothing can be found.
    pub(super) fn rest(&mut self) {
        self.talks = false;
        self.quiet = self.quiet.saturating_add(1);
        self.floor.rest();
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
        let mut map = std::mem::take(&mut self.map);
        self.agree(steering, order, trusted, &mut map);
        self.map = map;
        // After a pause what was heard before it says nothing.
        let share = if self.quiet >= PAUSE { 1.0 } else { FAST };
        self.quiet = 0;
        for (fast, map) in self.fast.iter_mut().zip(&self.map) {
            *fast += share * (map - *fast);
        }
        // What comes directly comes before its echoes: a rise counts more than a fall.
        let rise = (loudness / self.loudness.max(1e-12)).clamp(0.2, 3.0);
        self.loudness += 0.3 * (loudness - self.loudness);
        self.floor.decide(steering, &self.fast, &self.map, rise);
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

    /// How well phases agree with a wave from each direction, 0.0..=1.0.
    fn agree(&mut self, steering: &Steering, order: &[u8; MAX], trusted: u16, map: &mut [f32]) {
        map.fill(0.0);
        let mut all = 1e-9;
        for (i, gate) in self.gates.iter().enumerate().filter(|(_, gate)| **gate > 0.0) {
            self.sum_re.fill(0.0);
            self.sum_im.fill(0.0);
            for m in (0..self.microphones).filter(|m| trusted >> m & 1 == 1) {
                let at = i * self.microphones + usize::from(order[m]);
                let (a, b) = (self.re[at], self.im[at]);
                let (wave_re, wave_im) = steering.conjugates(i, m);
                let sums = self.sum_re.iter_mut().zip(&mut self.sum_im);
                for ((re, im), (wave_re, wave_im)) in sums.zip(wave_re.iter().zip(wave_im)) {
                    *re += a * wave_re - b * wave_im;
                    *im += a * wave_im + b * wave_re;
                }
            }
            for (sum, (re, im)) in map.iter_mut().zip(self.sum_re.iter().zip(&self.sum_im)) {
                *sum += gate * (re * re + im * im);
            }
            all += gate;
        }
        let count = trusted.count_ones().max(1) as f32;
        let scale = 1.0 / (all * count * count);
        map.iter_mut().for_each(|sum| *sum *= scale);
    }

    /// How much better the last frame would agree with any direction if planes were in another order.
    pub(super) fn better(&mut self, steering: &Steering, order: &[u8; MAX], trusted: u16) -> f32 {
        let best = |map: &[f32]| map.iter().copied().fold(0.0, f32::max);
        let mut trial = std::mem::take(&mut self.trial);
        self.agree(steering, order, trusted, &mut trial);
        self.trial = trial;
        best(&self.trial) - best(&self.map)
    }
}
