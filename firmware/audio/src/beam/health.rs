//! Which microphones can be trusted: a dead one and a loud one are left out, and two whose cables were exchanged are
//! told apart.

use super::steering::LOOKED_AT;
use crate::echo::MAX_MICROPHONES;
use crate::transform::Spectrum;

pub(super) const MAX: usize = MAX_MICROPHONES;

/// How fast levels are forgotten: a second.
const MEMORY: f32 = 0.99;
/// Power against the middle microphone's below which one is dead (-25 dB), above which it is broken (20 dB).
const DEAD: f32 = 0.003;
const LOUD: f32 = 100.0;
/// Frames until it is said, and until one that is well again is believed: a second.
const SURE: u16 = 100;
/// Mean power of a bin below which nothing can be said.
const SILENCE: f32 = 1e-7;
/// Frames of talk for each exchange that is tried: cables stay exchanged, and a trial costs as much as finding the talker.
const EACH: u32 = 2;
/// How much of the trials of an exchange still counts after the next, how many must count, and by how much they must agree
/// better.
const TRIALS: f32 = 0.98;
const TRIED: f32 = 40.0;
const BETTER: f32 = 0.06;

/// What is wrong with a microphone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MicrophoneFault {
    /// It hears next to nothing; it is left out.
    Dead,
    /// It hears much more than all others; it is left out.
    Loud,
    /// Its place is that of the microphone with this number (from 0), and the other way round; they are used in their
    /// true places. In an array that is its own mirror, it may be the pair on the other side of the mirror, and directions
    /// are mirrored then: no sound tells one from the other.
    SwappedWith(u8),
}

/// The state of all microphones.
pub(super) struct Health {
    microphones: usize,
    levels: [f32; MAX],
    /// Frames for which one was not as it is taken to be.
    unlike: [u16; MAX],
    faults: [Option<MicrophoneFault>; MAX],
    order: [u8; MAX],
    /// Exchanges that are tried in turn, with how much better they agree and how often they were tried.
    pair: usize,
    gains: Vec<(f32, f32)>,
    talked: u32,
}

impl Health {
    pub(super) fn new(microphones: usize) -> Self {
        let pairs = microphones * (microphones - 1) / 2;
        Self {
            microphones,
            levels: [0.0; MAX],
            unlike: [0; MAX],
            faults: [None; MAX],
            order: std::array::from_fn(|m| m as u8),
            pair: 0,
            gains: vec![(0.0, 0.0); pairs],
            talked: 0,
        }
    }

    /// Which plane is each microphone's.
    pub(super) fn order(&self) -> &[u8; MAX] {
        &self.order
    }

    /// The set of microphones (by their places in the geometry) that count.
    pub(super) fn trusted(&self) -> u16 {
        let counts = |place: &usize| {
            let plane = usize::from(self.order[*place]);
            !matches!(self.faults[plane], Some(MicrophoneFault::Dead | MicrophoneFault::Loud))
        };
        let set = (0..self.microphones).filter(counts).fold(0, |set, place| set | 1 << place);
        // When all are bad none is worse than another.
        if set == 0 { ((1_u32 << self.microphones) - 1) as u16 } else { set }
    }

    pub(super) fn faults(&self) -> impl Iterator<Item = (usize, MicrophoneFault)> + '_ {
        self.faults.iter().enumerate().filter_map(|(m, fault)| Some((m, (*fault)?)))
    }

    /// Looks at levels.
    pub(super) fn look(&mut self, heard: &[Spectrum]) {
        for (level, spectrum) in self.levels.iter_mut().zip(heard) {
            // 250 Hz to 5 kHz.
            let power = |i: usize| spectrum.re[i] * spectrum.re[i] + spectrum.im[i] * spectrum.im[i];
            let power = (5..5 + 2 * LOOKED_AT).map(power).sum::<f32>() / (2 * LOOKED_AT) as f32;
            *level = MEMORY * *level + (1.0 - MEMORY) * power.min(1e9);
        }
        let mut sorted = self.levels;
        let sorted = &mut sorted[..self.microphones];
        sorted.sort_by(f32::total_cmp);
        let middle = sorted[self.microphones / 2];
        if middle < SILENCE {
            return;
        }
        for m in 0..self.microphones {
            let fault = match self.levels[m] / middle {
                share if share < DEAD => Some(MicrophoneFault::Dead),
                share if share > LOUD => Some(MicrophoneFault::Loud),
                _ => None,
            };
            let now = self.faults[m].filter(|fault| !matches!(fault, MicrophoneFault::SwappedWith(_)));
            self.unlike[m] = if fault == now { 0 } else { self.unlike[m] + 1 };
            if self.unlike[m] > SURE {
                self.unlike[m] = 0;
                self.faults[m] = fault;
            }
        }
    }

    /// The exchange to be tried in this frame of talk, as an order of planes; none when there is no other way to put them, or
    /// it is not its turn.
    pub(super) fn trial(&mut self) -> Option<[u8; MAX]> {
        // Two microphones exchanged are a mirror.
        if self.microphones < 3 {
            return None;
        }
        self.talked = self.talked.wrapping_add(1);
        if !self.talked.is_multiple_of(EACH) {
            return None;
        }
        self.pair = (self.pair + 1) % self.gains.len();
        let (a, b) = self.exchanged(self.pair);
        let mut order = self.order;
        order.swap(a, b);
        Some(order)
    }

    /// The last trial agreed so much better (or worse, when negative). `true` when planes are in another order now.
    pub(super) fn judge(&mut self, better: f32) -> bool {
        let (sum, tried) = &mut self.gains[self.pair];
        *sum = TRIALS * *sum + better;
        *tried = TRIALS * *tried + 1.0;
        if *tried < TRIED || *sum < BETTER * *tried {
            return false;
        }
        // Others may agree as well, from directions in a mirror: the best of all counts.
        let mean = |(sum, tried): &(f32, f32)| if *tried < TRIED { f32::MAX } else { sum / tried };
        let mine = mean(&self.gains[self.pair]);
        if self.gains.iter().any(|gain| mean(gain) > mine) {
            return false;
        }
        let (a, b) = self.exchanged(self.pair);
        self.order.swap(a, b);
        self.gains.fill((0.0, 0.0));
        for place in [a, b] {
            let plane = usize::from(self.order[place]);
            let is_home = plane == place;
            self.faults[plane] = (!is_home).then_some(MicrophoneFault::SwappedWith(place as u8));
        }
        true
    }

    /// The places of the exchange with that number.
    fn exchanged(&self, mut pair: usize) -> (usize, usize) {
        for a in 0..self.microphones {
            let with = self.microphones - a - 1;
            if pair < with {
                return (a, a + 1 + pair);
            }
            pair -= with;
        }
        (0, 0)
    }
}
