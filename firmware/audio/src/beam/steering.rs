//! How a plane wave from each direction arrives at the microphones.

use super::hz;
use crate::transform::BINS;
use rostrum_hal::microphone::Position;

/// Metres a second, at 20 degrees Celsius.
pub(super) const SPEED_OF_SOUND: f32 = 343.0;
/// Degrees between two directions that are looked at.
const STEP_DEG: usize = 5;
pub(super) const AZIMUTHS: usize = 360 / STEP_DEG;
/// How high talkers are above the array, degrees: seated far away, and seated near or standing.
const ELEVATIONS_DEG: [f32; 2] = [0.0, 30.0];
/// Bins that directions are found by: 250 Hz to 5 kHz, each second one.
const LOWEST: usize = 5;
const STRIDE: usize = 2;
pub(super) const LOOKED_AT: usize = 48;

/// The bin with the number `i` of those that directions are found by.
pub(super) fn looked_at(i: usize) -> usize {
    LOWEST + STRIDE * i
}

/// A direction of the table.
pub(super) type Index = usize;

/// All directions.
pub(super) struct Steering {
    microphones: usize,
    /// Seconds by which a wave from a direction reaches a microphone earlier than the centre.
    ahead_s: Vec<f32>,
    /// Of each bin that is looked at, microphone, and direction: the conjugate of the wave there. Directions are side by side
    /// so that several are reckoned at once.
    re: Vec<f32>,
    im: Vec<f32>,
    directions: Vec<(usize, usize)>,
}

impl Steering {
    pub(super) fn new(geometry: &[Position]) -> Self {
        let microphones = geometry.len();
        let centre = |of: fn(&Position) -> f32| geometry.iter().map(of).sum::<f32>() / microphones as f32;
        let (x, y, z) = (centre(|p| p.x), centre(|p| p.y), centre(|p| p.z));
        // A line from left to right cannot tell before from behind: talkers are before it.
        let is_flat = geometry.iter().all(|p| (p.y - y).abs() < 0.004);
        let on_a_line = is_flat && geometry.iter().all(|p| (p.z - z).abs() < 0.004);
        let elevations = if on_a_line { 1 } else { ELEVATIONS_DEG.len() };
        let azimuths = (0..AZIMUTHS).filter(|azimuth| {
            let degrees = azimuth_deg(*azimuth);
            !is_flat || degrees.abs() <= 90.0
        });
        let directions: Vec<_> =
            azimuths.flat_map(|azimuth| (0..elevations).map(move |elevation| (azimuth, elevation))).collect();
        let mut ahead_s = Vec::with_capacity(directions.len() * microphones);
        for (azimuth, elevation) in &directions {
            let (side, up) = (azimuth_deg(*azimuth).to_radians(), ELEVATIONS_DEG[*elevation].to_radians());
            let unit = [side.sin() * up.cos(), side.cos() * up.cos(), up.sin()];
            ahead_s.extend(
                geometry.iter().map(|p| {
                    (unit[0] * (p.x - x) + unit[1] * (p.y - y) + unit[2] * (p.z - z)) / SPEED_OF_SOUND
                }),
            );
        }
        let size = directions.len() * LOOKED_AT * microphones;
        let (mut re, mut im) = (Vec::with_capacity(size), Vec::with_capacity(size));
        for i in 0..LOOKED_AT {
            for microphone in 0..microphones {
                for ahead_s in ahead_s.iter().skip(microphone).step_by(microphones) {
                    let angle = std::f32::consts::TAU * hz(looked_at(i)) * ahead_s;
                    re.push(angle.cos());
                    im.push(-angle.sin());
                }
            }
        }
        Self { microphones, ahead_s, re, im, directions }
    }

    pub(super) fn microphones(&self) -> usize {
        self.microphones
    }

    /// How many directions there are.
    pub(super) fn len(&self) -> usize {
        self.directions.len()
    }

    /// Degrees from straight ahead, to the right.
    pub(super) fn azimuth_deg(&self, index: Index) -> f32 {
        azimuth_deg(self.directions[index].0)
    }

    /// Degrees between two directions, as seen from above.
    pub(super) fn apart_deg(&self, a: Index, b: Index) -> f32 {
        let apart = (self.azimuth_deg(a) - self.azimuth_deg(b)).abs();
        apart.min(360.0 - apart)
    }

    /// The direction's neighbour to the left or the right at the same height.
    pub(super) fn neighbour(&self, index: Index, right: bool) -> Option<Index> {
        let (azimuth, elevation) = self.directions[index];
        let step = if right { 1 } else { AZIMUTHS - 1 };
        let wanted = ((azimuth + step) % AZIMUTHS, elevation);
        self.directions.iter().position(|direction| *direction == wanted)
    }

    pub(super) fn step_deg() -> f32 {
        STEP_DEG as f32
    }

    /// Conjugate waves at a microphone and the bin number `i` of those that are looked at, one a direction.
    pub(super) fn conjugates(&self, i: usize, microphone: usize) -> (&[f32], &[f32]) {
        let at = (i * self.microphones + microphone) * self.len();
        (&self.re[at..at + self.len()], &self.im[at..at + self.len()])
    }

    /// The wave of a direction at a microphone, for every bin.
    pub(super) fn wave(&self, index: Index, microphone: usize, re: &mut [f32; BINS], im: &mut [f32; BINS]) {
        let angle =
            f64::from(std::f32::consts::TAU * hz(1) * self.ahead_s[index * self.microphones + microphone]);
        let (turn_im, turn_re) = angle.sin_cos();
        let (mut a, mut b) = (1.0_f64, 0.0_f64);
        for (re, im) in re.iter_mut().zip(im) {
            (*re, *im) = (a as f32, b as f32);
            (a, b) = (a * turn_re - b * turn_im, a * turn_im + b * turn_re);
        }
    }
}

fn azimuth_deg(azimuth: usize) -> f32 {
    (azimuth * STEP_DEG) as f32 - 180.0
}
