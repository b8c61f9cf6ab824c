//! The weights of the microphones: a talker as he is, and as little as can be of all else (MVDR; Capon 1969, in a
//! diffuse field Cox et al. 1986), with a second direction kept out where somebody else talks.

use super::steering::{Index, SPEED_OF_SOUND, Steering};
use super::{health::MAX, hz};
use crate::transform::{BINS, Spectrum};
use rostrum_hal::microphone::Position;

/// Noise of the microphones themselves and what is not known of them, beside the diffuse field (power).
const LOADING: f64 = 0.01;
/// How much louder than the diffuse field somebody else is taken to be (power).
const INTRUDER: f32 = 20.0;

/// Weights that glide to where they should be.
pub(super) struct Weights {
    geometry: Vec<Position>,
    /// Of each bin: the inverse of the field's coherence between trusted microphones.
    inverse: Vec<f32>,
    trusted: u16,
    aimed: Option<(Option<Index>, Option<Index>)>,
    now: Vec<Spectrum>,
    goal: Vec<Spectrum>,
    waves: [Vec<Spectrum>; 2],
    /// To the talker without anybody kept out, how much of the field they let pass (one over it), and to the intruder
    /// without the talker.
    plain: Vec<Spectrum>,
    passed: [f32; BINS],
    away: Vec<Spectrum>,
}

/// What a bin gave to whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// By the talker's weights, and by the intruder's, power.
    pub(super) talker: f32,
    pub(super) intruder: f32,
    /// By the talker's weights with nobody kept out, and how much of it is of the field, power.
    pub(super) plain: f32,
    pub(super) field: f32,
}

impl Heard {
    pub(super) fn is_finite(&self) -> bool {
        (self.talker + self.intruder + self.plain + self.field).is_finite()
    }
}

impl Weights {
    pub(super) fn new(geometry: &[Position]) -> Self {
        let microphones = geometry.len();
        let planes = || vec![Spectrum::zero(); microphones];
        let mut this = Self {
            geometry: geometry.to_vec(),
            inverse: vec![0.0; BINS * microphones * microphones],
            trusted: 0,
            aimed: None,
            now: planes(),
            goal: planes(),
            waves: [planes(), planes()],
            plain: planes(),
            passed: [1.0; BINS],
            away: planes(),
        };
        this.trust(((1_u32 << microphones) - 1) as u16);
        this.mean();
        this.now.clone_from(&this.goal);
        this
    }

    /// Only the microphones of this set count.
    fn trust(&mut self, trusted: u16) {
        self.trusted = trusted;
        let size = self.geometry.len();
        for bin in 0..BINS {
            let mut field = [[0.0_f64; MAX]; MAX];
            for (i, a) in self.geometry.iter().enumerate() {
                for (j, b) in self.geometry.iter().enumerate() {
                    let apart = [a.x - b.x, a.y - b.y, a.z - b.z].map(|d| d * d).iter().sum::<f32>().sqrt();
                    let turns = std::f64::consts::TAU * f64::from(hz(bin) * apart / SPEED_OF_SOUND);
                    field[i][j] = if i == j {
                        1.0 + LOADING
                    } else if turns < 1e-6 {
                        1.0
                    } else {
                        turns.sin() / turns
                    };
                }
            }
            for microphone in (0..size).filter(|m| trusted >> m & 1 == 0) {
                field[microphone] = [0.0; MAX];
                for row in &mut field {
                    row[microphone] = 0.0;
                }
                field[microphone][microphone] = 1.0;
            }
            let inverse = invert(&mut field, size);
            for (i, row) in inverse.iter().enumerate().take(size) {
                for (j, value) in row.iter().enumerate().take(size) {
                    // One that is not trusted has no part in anything.
                    let part = trusted >> i & trusted >> j & 1 == 1;
                    self.inverse[(bin * size + i) * size + j] = if part { *value as f32 } else { 0.0 };
                }
            }
        }
    }

    /// Towards `target` and away from `intruder`, with the microphones of the set `trusted`.
    pub(super) fn aim(
        &mut self,
        steering: &Steering,
        target: Option<Index>,
        intruder: Option<Index>,
        trusted: u16,
    ) {
        if self.aimed == Some((target, intruder)) && self.trusted == trusted {
            return;
        }
        if self.trusted != trusted {
            self.trust(trusted);
        }
        self.aimed = Some((target, intruder));
        let Some(target) = target else {
            self.mean();
            return;
        };
        for (m, wave) in self.waves[0].iter_mut().enumerate() {
            steering.wave(target, m, &mut wave.re, &mut wave.im);
        }
        if let Some(intruder) = intruder {
            for (m, wave) in self.waves[1].iter_mut().enumerate() {
                steering.wave(intruder, m, &mut wave.re, &mut wave.im);
            }
        }
        for bin in 0..BINS {
            self.solve(bin, intruder.is_some());
        }
    }

    /// The mean of trusted microphones.
    fn mean(&mut self) {
        let share = 1.0 / self.trusted.count_ones().max(1) as f32;
        for (m, goal) in self.goal.iter_mut().enumerate() {
            goal.re.fill(if self.trusted >> m & 1 == 1 { share } else { 0.0 });
            goal.im.fill(0.0);
        }
    }

    fn solve(&mut self, bin: usize, intruder: bool) {
        let size = self.geometry.len();
        let inverse = &self.inverse[bin * size * size..(bin + 1) * size * size];
        let wave = |which: usize, m: usize| {
            let spectrum: &Spectrum = &self.waves[which][m];
            (spectrum.re[bin], spectrum.im[bin])
        };
        let times_inverse = |which: usize| -> [(f32, f32); MAX] {
            let mut out = [(0.0, 0.0); MAX];
            for (i, out) in out.iter_mut().enumerate().take(size) {
                for j in 0..size {
                    let (re, im) = wave(which, j);
                    out.0 += inverse[i * size + j] * re;
                    out.1 += inverse[i * size + j] * im;
                }
            }
            out
        };
        // conj(wave) * of.
        let with = |which: usize, of: &[(f32, f32); MAX]| -> (f32, f32) {
            (0..size).fold((0.0, 0.0), |sum, m| {
                let ((re, im), (a, b)) = (wave(which, m), of[m]);
                (sum.0 + re * a + im * b, sum.1 + re * b - im * a)
            })
        };
        // The inverse of what has one more wave in it (Sherman and Morrison 1950).
        let without = |of: &[(f32, f32); MAX], which: usize, other: &[(f32, f32); MAX]| {
            let (re, im) = with(which, of);
            let scale = INTRUDER / (1.0 + INTRUDER * with(which, other).0);
            let mut out = *of;
            for (out, other) in out.iter_mut().zip(other) {
                out.0 -= scale * (other.0 * re - other.1 * im);
                out.1 -= scale * (other.0 * im + other.1 * re);
            }
            out
        };
        let talker = times_inverse(0);
        let passed = with(0, &talker).0.max(1e-6);
        let mut solved = [(talker, passed), (talker, passed), (talker, passed)];
        if intruder {
            let other = times_inverse(1);
            let kept_out = without(&talker, 1, &other);
            let away = without(&other, 0, &talker);
            solved[1] = (kept_out, with(0, &kept_out).0.max(1e-6));
            solved[2] = (away, with(1, &away).0.max(1e-6));
        }
        self.passed[bin] = passed;
        for (to, (of, gain)) in [&mut self.plain, &mut self.goal, &mut self.away].into_iter().zip(solved) {
            for (to, (re, im)) in to.iter_mut().zip(of) {
                to.re[bin] = re / gain;
                to.im[bin] = im / gain;
            }
        }
    }

    /// What a bin gave to whom; `None` while the weights aim at nobody.
    pub(super) fn hear(&self, heard: &[Spectrum], order: &[u8; MAX], bin: usize) -> Option<Heard> {
        let (Some(_), intruder) = self.aimed? else { return None };
        let size = self.geometry.len();
        let mut planes = [(0.0, 0.0); MAX];
        for (m, plane) in planes.iter_mut().enumerate().take(size) {
            let spectrum = &heard[usize::from(order[m])];
            *plane = (spectrum.re[bin], spectrum.im[bin]);
        }
        let by = |weights: &[Spectrum]| {
            let (mut re, mut im) = (0.0, 0.0);
            for (weight, (a, b)) in weights.iter().zip(planes) {
                re += weight.re[bin] * a + weight.im[bin] * b;
                im += weight.re[bin] * b - weight.im[bin] * a;
            }
            re * re + im * im
        };
        let inverse = &self.inverse[bin * size * size..(bin + 1) * size * size];
        let mut all = 0.0;
        for (i, (re, im)) in planes.iter().enumerate().take(size) {
            for (j, (a, b)) in planes.iter().enumerate().take(size) {
                all += inverse[i * size + j] * (re * a + im * b);
            }
        }
        // What is at right angles to the talker's wave is of the field, which has the same power in each dimension.
        let plain = by(&self.plain);
        let others = self.trusted.count_ones().saturating_sub(1).max(1) as f32;
        let field = ((all / self.passed[bin] - plain) / others).max(0.0);
        let (talker, intruder) = match intruder {
            Some(_) => (by(&self.goal), by(&self.away)),
            None => (plain, 0.0),
        };
        Some(Heard { talker, intruder, plain, field })
    }

    /// Goes `share` of the way.
    pub(super) fn glide(&mut self, share: f32) {
        for (now, goal) in self.now.iter_mut().zip(&self.goal) {
            for (now, goal) in now.re.iter_mut().zip(&goal.re).chain(now.im.iter_mut().zip(&goal.im)) {
                *now += share * (goal - *now);
            }
        }
    }

    /// The sum of what the microphones heard, each with its weight. `order` says which plane is which microphone's.
    pub(super) fn apply(&self, heard: &[Spectrum], order: &[u8; MAX], sum: &mut Spectrum) {
        sum.clear();
        for (m, weight) in self.now.iter().enumerate() {
            let heard = &heard[usize::from(order[m])];
            for i in 0..BINS {
                sum.re[i] += weight.re[i] * heard.re[i] + weight.im[i] * heard.im[i];
                sum.im[i] += weight.re[i] * heard.im[i] - weight.im[i] * heard.re[i];
            }
        }
        if !sum.is_finite() {
            sum.clear();
        }
    }
}

/// The inverse of the first `size` rows and columns, which have one: Gauss and Jordan with pivots on the diagonal, as the
/// matrix is positive definite.
fn invert(matrix: &mut [[f64; MAX]; MAX], size: usize) -> [[f64; MAX]; MAX] {
    let mut inverse = [[0.0; MAX]; MAX];
    for (i, row) in inverse.iter_mut().enumerate() {
        row[i] = 1.0;
    }
    for pivot in 0..size {
        let scale = 1.0 / matrix[pivot][pivot];
        for column in 0..size {
            matrix[pivot][column] *= scale;
            inverse[pivot][column] *= scale;
        }
        let (row, inverse_row) = (matrix[pivot], inverse[pivot]);
        for other in (0..size).filter(|other| *other != pivot) {
            let factor = matrix[other][pivot];
            for column in 0..size {
                matrix[other][column] -= factor * row[column];
                inverse[other][column] -= factor * inverse_row[column];
            }
        }
    }
    inverse
}
