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
        let mut solved = times_inverse(0);
        if intruder {
            // The inverse of what has one more wave in it (Sherman and Morrison 1950).
            let other = times_inverse(1);
            let (re, im) = with(1, &solved);
            let scale = INTRUDER / (1.0 + INTRUDER * with(1, &other).0);
            for (solved, other) in solved.iter_mut().zip(other) {
                solved.0 -= scale * (other.0 * re - other.1 * im);
                solved.1 -= scale * (other.0 * im + other.1 * re);
            }
        }
        let (gain, _) = with(0, &solved);
        let scale = 1.0 / gain.max(1e-6);
        for (goal, (re, im)) in self.goal.iter_mut().zip(solved) {
            goal.re[bin] = re * scale;
            goal.im[bin] = im * scale;
        }
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
