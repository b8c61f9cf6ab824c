//! All microphones together listen to one talker.
//!
//! [`direction`] finds who talks, [`weights`] makes of the microphones one voice that comes from there, [`post`] takes
//! down what is left of others in it, and [`health`] leaves microphones out that cannot be trusted. Frames of 20 ms
//! overlap by half: 10 ms of delay.

mod direction;
mod floor;
mod health;
mod post;
mod steering;
#[cfg(test)]
mod tests;
mod weights;

pub use direction::Direction;
pub use health::MicrophoneFault;

use crate::FRAME;
use crate::transform::{BINS, Spectrum, Transform, WINDOW};
use direction::Finder;
use health::Health;
use post::PostFilter;
use rostrum_hal::microphone::Position;
use std::time::Duration;
use steering::Steering;
use weights::Weights;

/// Microphones closer together than this hear the same, m: their mean is all that can be had.
const SMALLEST: f32 = 0.008;
/// How much of the way to new weights is gone in a frame: a change is over after 50 ms, and after 20 when somebody else
/// has begun.
const GLIDE: f32 = 0.35;
const QUICK_GLIDE: f32 = 0.75;
/// An echo estimate this much weaker than what is heard (power) does not disturb the search for talkers.
const ECHO_SHARE: f32 = 0.25;
/// Frames after an echo in which all microphones count alike: a second.
const AFTER_ECHO: u32 = 100;

/// From the microphones' planes to one voice.
pub(crate) struct Beam {
    /// `None` when the microphones are one, or in one place. Boxed: it is large, and threads have small stacks.
    array: Option<Box<Array>>,
}

/// An array that has a size.
struct Array {
    steering: Steering,
    finder: Finder,
    weights: Weights,
    post: PostFilter,
    health: Health,
    transform: Transform,
    window: [f32; WINDOW],
    /// The frame before of each plane, and the second half of what came out.
    before: [Vec<[f32; FRAME]>; 2],
    tail: [[f32; FRAME]; 2],
    heard: Vec<Spectrum>,
    echoes: Vec<Spectrum>,
    sum: Spectrum,
    /// Frames until the beam is trusted again after an echo.
    echoing: u32,
}

impl Beam {
    /// For microphones at `geometry`, 1..=16 of them.
    pub(crate) fn new(geometry: &[Position]) -> Self {
        let wide = geometry.iter().any(|a| {
            geometry.iter().any(|b| {
                let apart = [a.x - b.x, a.y - b.y, a.z - b.z];
                apart.iter().map(|d| d * d).sum::<f32>().sqrt() > SMALLEST
            })
        });
        Self { array: wide.then(|| Box::new(Array::new(geometry))) }
    }

    /// Makes one `voice` of what the canceller left of each microphone, and with the same weights one `echo` of what it
    /// took of each.
    pub(crate) fn process(
        &mut self,
        microphones: &[[f32; FRAME]],
        echoes: &[[f32; FRAME]],
        voice: &mut [f32; FRAME],
        echo: &mut [f32; FRAME],
    ) {
        match &mut self.array {
            Some(array) => array.process(microphones, echoes, voice, echo),
            None => {
                mean(microphones, voice);
                mean(echoes, echo);
            }
        }
    }

    /// How far its output is behind its input.
    pub(crate) fn delay(&self) -> Duration {
        if self.array.is_some() { Duration::from_millis(10) } else { Duration::ZERO }
    }

    /// Where somebody talks.
    pub(crate) fn direction(&self) -> Option<Direction> {
        self.array.as_ref().and_then(|array| array.finder.floor().direction())
    }

    /// Microphones (by their channels, from 0) that are not as the profile says, with what is wrong with each.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (usize, MicrophoneFault)> + '_ {
        self.array.iter().flat_map(|array| array.health.faults())
    }
}

impl Array {
    fn new(geometry: &[Position]) -> Self {
        let microphones = geometry.len();
        let steering = Steering::new(geometry);
        let mut window = [0.0; WINDOW];
        for (i, value) in window.iter_mut().enumerate() {
            *value = (std::f32::consts::PI * (i as f32 + 0.5) / WINDOW as f32).sin();
        }
        Self {
            finder: Finder::new(&steering),
            weights: Weights::new(geometry),
            post: PostFilter::new(),
            health: Health::new(microphones),
            transform: Transform::new(),
            window,
            before: [vec![[0.0; FRAME]; microphones], vec![[0.0; FRAME]; microphones]],
            tail: [[0.0; FRAME]; 2],
            heard: vec![Spectrum::zero(); microphones],
            echoes: vec![Spectrum::zero(); microphones],
            sum: Spectrum::zero(),
            echoing: 0,
            steering,
        }
    }

    fn process(
        &mut self,
        microphones: &[[f32; FRAME]],
        echoes: &[[f32; FRAME]],
        voice: &mut [f32; FRAME],
        echo: &mut [f32; FRAME],
    ) {
        self.analyse(0, microphones);
        self.analyse(1, echoes);
        let energy = |planes: &[[f32; FRAME]]| planes.iter().flatten().map(|s| s * s).sum::<f32>();
        let clear = energy(echoes) < ECHO_SHARE * energy(microphones);
        self.health.look(&self.heard);
        let trusted = self.health.trusted();
        if clear {
            self.finder.listen(&self.heard, &self.steering, self.health.order(), trusted);
            self.try_another_order(trusted);
        } else {
            self.finder.rest();
        }
        // What is left of an echo leads it astray: the mean of all understands talkers better then.
        let sounds = energy(echoes) > 1e-7;
        self.echoing = if clear || !sounds { self.echoing.saturating_sub(1) } else { AFTER_ECHO };
        let target = self.finder.floor().target().filter(|_| self.echoing == 0);
        self.weights.aim(&self.steering, target, self.finder.floor().intruder(), trusted);
        self.weights.glide(if self.finder.floor().is_new() { QUICK_GLIDE } else { GLIDE });
        self.post.look(&self.weights, &self.heard, self.health.order());
        self.synthesise(0, voice);
        self.synthesise(1, echo);
    }

    /// Microphones whose cables were exchanged agree better in another order, whoever talks.
    fn try_another_order(&mut self, trusted: u16) {
        if !self.finder.talks() {
            return;
        }
        let Some(trial) = self.health.trial() else { return };
        if self.health.judge(self.finder.better(&self.steering, &trial, trusted)) {
            self.finder = Finder::new(&self.steering);
        }
    }

    fn analyse(&mut self, which: usize, planes: &[[f32; FRAME]]) {
        let to = if which == 0 { &mut self.heard } else { &mut self.echoes };
        let mut time = [0.0; WINDOW];
        for ((plane, before), to) in planes.iter().zip(&mut self.before[which]).zip(to) {
            time[..FRAME].copy_from_slice(before);
            time[FRAME..].copy_from_slice(plane);
            before.copy_from_slice(plane);
            for (sample, window) in time.iter_mut().zip(&self.window) {
                *sample *= window;
            }
            self.transform.forward(&time, to);
        }
    }

    fn synthesise(&mut self, which: usize, out: &mut [f32; FRAME]) {
        let from = if which == 0 { &self.heard } else { &self.echoes };
        self.weights.apply(from, self.health.order(), &mut self.sum);
        self.post.apply(&mut self.sum);
        let mut time = [0.0; WINDOW];
        self.transform.inverse(&self.sum, &mut time);
        let tail = &mut self.tail[which];
        for (i, out) in out.iter_mut().enumerate() {
            *out = tail[i] + time[i] * self.window[i];
            tail[i] = time[FRAME + i] * self.window[FRAME + i];
        }
    }
}

/// The mean of all planes.
fn mean(planes: &[[f32; FRAME]], to: &mut [f32; FRAME]) {
    let share = 1.0 / planes.len() as f32;
    for (i, to) in to.iter_mut().enumerate() {
        *to = planes.iter().map(|plane| plane[i]).sum::<f32>() * share;
    }
}

/// Frequency of a bin, Hz.
fn hz(bin: usize) -> f32 {
    bin as f32 * crate::RATE_HZ as f32 / (2 * (BINS - 1)) as f32
}
