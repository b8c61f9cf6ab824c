//! What a loudspeaker adds to what it is given: no small one is linear.
//!
//! Its cone goes so far and no farther, which gives odd harmonics, and not as far in as out, which gives even ones. Both
//! follow the cone's way, in which low notes count most. How strongly a loudspeaker does it, and at which level, nobody
//! says: two bent copies of what is played go to the microphones by filters of their own ([`super::linear`]), which weigh
//! them (as parallel Hammerstein models do). Their sum is what the suppressor takes its model of the leftovers from, so
//! that these few filters count for more than what they remove themselves.

use crate::{FRAME, RATE_HZ};

/// Bent copies of a channel.
pub(crate) const BENDS: usize = 2;
/// Below this, notes move the cone as far as their level says.
const CONE_HZ: f32 = 500.0;
/// Where the limited copy is bent by 3 dB, of full scale. The filters weigh it against the straight one: it need not be
/// the loudspeaker's own limit.
const LIMIT: f32 = 0.3;
/// Brings the even copy of loud speech to the level of the straight one.
const EVEN: f32 = 2.0;

/// The cones of some channels.
pub(crate) struct Bends {
    /// How much of the last way of each cone there is after a sample.
    keep: f32,
    low: Vec<f32>,
}

impl Bends {
    /// For that many `channels`.
    pub(crate) fn new(channels: usize) -> Self {
        Self { keep: (-std::f32::consts::TAU * CONE_HZ / RATE_HZ as f32).exp(), low: vec![0.0; channels] }
    }

    /// The copies of a frame of each channel: [`BENDS`] planes a channel.
    pub(crate) fn bend(&mut self, played: &[[f32; FRAME]], bent: &mut [[f32; FRAME]]) {
        for ((low, plane), bent) in self.low.iter_mut().zip(played).zip(bent.chunks_exact_mut(BENDS)) {
            let [even, limited] = bent else { continue };
            for ((sample, even), limited) in plane.iter().zip(even).zip(limited) {
                *low = sample + self.keep * (*low - sample);
                let way = sample + *low;
                *even = EVEN * sample * sample;
                *limited = way / (1.0 + (way / LIMIT) * (way / LIMIT)).sqrt();
            }
            if !low.is_finite() {
                *low = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Amplitudes of the first harmonics of a tone of 500 Hz in a frame (five periods).
    fn harmonics(frame: &[f32; FRAME]) -> [f32; 4] {
        std::array::from_fn(|harmonic| {
            let turn = std::f32::consts::TAU * 5.0 * (harmonic + 1) as f32 / FRAME as f32;
            let sum = |of: fn(f32) -> f32| -> f32 {
                frame.iter().enumerate().map(|(i, sample)| sample * of(turn * i as f32)).sum()
            };
            sum(f32::cos).hypot(sum(f32::sin)) * 2.0 / FRAME as f32
        })
    }

    fn bent(level: f32) -> [[f32; FRAME]; BENDS] {
        let mut bends = Bends::new(1);
        let mut out = [[0.0; FRAME]; BENDS];
        for _ in 0..3 {
            let tone = std::array::from_fn(|i| {
                level * (std::f32::consts::TAU * 5.0 * i as f32 / FRAME as f32).sin()
            });
            bends.bend(&[tone], &mut out);
        }
        out
    }

    #[test]
    fn one_copy_has_even_harmonics_and_the_other_odd_ones() {
        let [even, limited] = bent(0.5).map(|plane| harmonics(&plane));
        assert!(even[1] > 0.1 && even[0] < 1e-4 && even[2] < 1e-4, "{even:?}");
        assert!(limited[2] > 0.05 && limited[1] < 1e-3 && limited[3] < 1e-3, "{limited:?}");
    }

    #[test]
    fn quiet_sound_is_not_bent() {
        let [even, limited] = bent(0.01).map(|plane| harmonics(&plane));
        assert!(even[1] < 2e-4, "{even:?}");
        assert!(limited[2] < 0.001 * limited[0], "{limited:?}");
    }
}
