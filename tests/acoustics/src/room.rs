//! Rooms of six walls, by the image-source method (Allen and Berkley 1979).

use rostrum_hal::microphone::Position;

use crate::random::Random;
use crate::sinc::{Sinc, TAPS};

/// Samples a second.
pub const RATE_HZ: f64 = 48_000.0;
/// Of sound in air at 20 degrees, metres a second.
pub const SPEED_OF_SOUND: f64 = 343.0;
/// How far mirror images of higher orders are moved at random, metres: real walls are no perfect mirrors, and perfect
/// ones make sweeping tones.
const JITTER_M: f64 = 0.08;
/// High notes die sooner than low ones, in air and in cloth.
const HIGH_SHARE: f64 = 0.6;

/// A place in a room, metres from a corner.
pub type Point = [f64; 3];

/// A box with walls that all swallow the same share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    /// Length, width, height, metres.
    pub size_m: Point,
    /// Seconds in which sound falls by 60 dB.
    pub rt60_s: f64,
    /// Chooses how the images are moved.
    pub seed: u64,
}

impl Room {
    /// The share of pressure that a wall gives back, by Eyring's formula.
    fn reflection(&self) -> f64 {
        let [x, y, z] = self.size_m;
        let volume = x * y * z;
        let surface = 2.0 * (x * y + y * z + z * x);
        let exponent = 24.0 * std::f64::consts::LN_10 * volume / (SPEED_OF_SOUND * surface * self.rt60_s);
        (-exponent).exp().sqrt()
    }

    /// The response from `source` to each of `microphones`, at [`RATE_HZ`], from the moment of the sound. A distance
    /// of 1 m gives 1.0.
    pub fn responses(&self, source: Point, microphones: &[Point]) -> Vec<Vec<f32>> {
        let table = Sinc::new(1.0);
        let length_s = (self.rt60_s * 0.9).max(0.05);
        let length = (length_s * RATE_HZ) as usize + TAPS;
        let reach = length_s * SPEED_OF_SOUND;
        let beta = self.reflection();
        let mut out = vec![vec![0.0_f32; length]; microphones.len()];
        let [nx, ny, nz] = self.size_m.map(|size| (reach / (2.0 * size)).ceil() as i64 + 1);
        let image = |cell: i64, side: i64, axis: usize| {
            let mirrored = if side == 0 { source[axis] } else { -source[axis] };
            let bounces = (cell - side).abs() + cell.abs();
            (mirrored + 2.0 * cell as f64 * self.size_m[axis], bounces)
        };
        let pairs = |n: i64| (-n..=n).flat_map(|cell| [(cell, 0), (cell, 1)]);
        let centre = mean(microphones);
        for (cell_x, side_x) in pairs(nx) {
            let (x, order_x) = image(cell_x, side_x, 0);
            if (x - centre[0]).abs() > reach {
                continue;
            }
            for (cell_y, side_y) in pairs(ny) {
                let (y, order_y) = image(cell_y, side_y, 1);
                if (x - centre[0]).hypot(y - centre[1]) > reach {
                    continue;
                }
                for (cell_z, side_z) in pairs(nz) {
                    let (z, order_z) = image(cell_z, side_z, 2);
                    let order = order_x + order_y + order_z;
                    let mut at = [x, y, z];
                    if distance(at, centre) > reach {
                        continue;
                    }
                    if order > 1 {
                        let cells = [cell_x, side_x, cell_y, side_y, cell_z, side_z];
                        let seed = cells
                            .iter()
                            .fold(self.seed, |seed, cell| seed.wrapping_mul(31).wrapping_add(*cell as u64));
                        let mut random = Random::new(seed);
                        at = at.map(|value| value + random.between(-JITTER_M, JITTER_M));
                    }
                    let gain = beta.powi(order as i32);
                    for (response, microphone) in out.iter_mut().zip(microphones) {
                        let far = distance(at, *microphone).max(0.01);
                        table.add(response, far / SPEED_OF_SOUND * RATE_HZ, (gain / far) as f32);
                    }
                }
            }
        }
        for response in &mut out {
            damp_high_notes(response, self.rt60_s);
            remove_rumble(response);
        }
        out
    }
}

/// Splits at some 3 kHz and lets what is above die in [`HIGH_SHARE`] of the time.
fn damp_high_notes(response: &mut [f32], rt60_s: f64) {
    // A cascade of two filters of first order, forward and back: no phase.
    let pole = (-std::f64::consts::TAU * 3_000.0 / RATE_HZ).exp() as f32;
    let mut low = response.to_vec();
    for _ in 0..2 {
        let mut state = 0.0;
        for sample in &mut low {
            state = *sample + pole * (state - *sample);
            *sample = state;
        }
        low.reverse();
    }
    let more_db_per_sample = 60.0 / rt60_s * (1.0 / HIGH_SHARE - 1.0) / RATE_HZ;
    let first = response.iter().position(|x| x.abs() > 1e-3).unwrap_or(0);
    for (i, (sample, low)) in response.iter_mut().zip(low).enumerate() {
        let db = more_db_per_sample * i.saturating_sub(first + TAPS) as f64;
        *sample = low + (*sample - low) * 10_f64.powf(-db / 20.0) as f32;
    }
}

/// Images of walls that only swallow add up at the lowest notes: 40 Hz, first order.
fn remove_rumble(response: &mut [f32]) {
    let pole = (-std::f64::consts::TAU * 40.0 / RATE_HZ).exp() as f32;
    let (mut before, mut state) = (0.0, 0.0);
    for sample in response {
        state = pole * (state + *sample - before);
        before = *sample;
        *sample = state;
    }
}

/// Metres between two places.
pub fn distance(a: Point, b: Point) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// The middle of places.
pub fn mean(points: &[Point]) -> Point {
    std::array::from_fn(|axis| {
        points.iter().map(|point| point[axis]).sum::<f64>() / points.len().max(1) as f64
    })
}

/// Where the microphones of an array are that stands at `centre`, its y axis along the room's y.
pub fn placed(geometry: &[Position], centre: Point) -> Vec<Point> {
    geometry
        .iter()
        .map(|p| [centre[0] + f64::from(p.x), centre[1] + f64::from(p.y), centre[2] + f64::from(p.z)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Schroeder 1965: seconds for 60 dB, out of the fall from -5 to -25 dB.
    fn measured_rt60(response: &[f32]) -> f64 {
        let mut sum = 0.0;
        let mut left: Vec<f64> = response
            .iter()
            .rev()
            .map(|x| {
                sum += f64::from(x * x);
                sum
            })
            .collect();
        left.reverse();
        let at = |db: f64| left.iter().position(|x| 10.0 * (x / sum).log10() < db).unwrap_or(left.len());
        (at(-25.0) - at(-5.0)) as f64 / RATE_HZ * 3.0
    }

    #[test]
    fn sound_dies_in_the_time_that_was_asked_for() {
        for rt60_s in [0.2, 0.45, 0.7] {
            let room = Room { size_m: [6.0, 5.0, 3.0], rt60_s, seed: 3 };
            let response = room.responses([1.5, 2.0, 1.2], &[[4.0, 3.5, 0.8]]).remove(0);
            let measured = measured_rt60(&response);
            assert!((0.7..1.25).contains(&(measured / rt60_s)), "{measured} s instead of {rt60_s} s");
        }
    }

    #[test]
    fn the_first_sound_comes_from_where_the_source_is() {
        let room = Room { size_m: [6.0, 5.0, 3.0], rt60_s: 0.3, seed: 1 };
        let response = room.responses([2.0, 2.0, 1.2], &[[2.0, 3.0, 1.2], [2.0, 4.0, 1.2]]);
        let peak = |response: &[f32]| {
            (0..response.len()).max_by(|a, b| response[*a].abs().total_cmp(&response[*b].abs()))
        };
        assert_eq!(peak(&response[0]), Some((RATE_HZ / SPEED_OF_SOUND).round() as usize));
        assert_eq!(peak(&response[1]), Some((2.0 * RATE_HZ / SPEED_OF_SOUND).round() as usize));
        let loudest = |response: &[f32]| response.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
        let ratio = loudest(&response[0]) / loudest(&response[1]);
        assert!((1.7..2.3).contains(&ratio), "{ratio}");
    }
}
