//! The echo of the own speaker is taken out of each microphone.
//!
//! [`Echo`] is the canceller that is asked for. [`Canceller`]: the reference on the microphones' clock and at its place in time ([`crate::drift`],
//! [`crate::alignment`]), then a long linear filter a microphone ([`linear`]), with short ones for what a small
//! loudspeaker adds ([`bends`]). What is left is taken out of the one voice, after the beam ([`suppressor`]).

mod aec3;
mod bends;
mod engine;
mod likeness;
mod linear;
mod settings;
mod suppressor;

pub use engine::EchoControl;
pub(crate) use engine::{Echo, MAX_MICROPHONES};
pub use settings::{Aec3Mask, Aec3Nearend, Aec3Settings, Aec3Suppressor};

use suppressor::Suppressor;

use crate::FRAME;
use crate::alignment::Alignment;
use crate::drift::{Drift, milliseconds};
use crate::transform::Transform;
use bends::{BENDS, Bends};
use linear::{Extent, Far, Linear, QUICK, STEADY};

/// Most channels of a speaker that are told apart; more are folded into these.
const MOST_CHANNELS: usize = 2;
/// 0.4 s for one channel (long rooms echo so long), less for each of two.
const EXTENTS: [Extent; MOST_CHANNELS] =
    [Extent { partitions: 40, whole: 12, doubt: 0.1 }, Extent { partitions: 20, whole: 12, doubt: 0.1 }];
/// What a loudspeaker adds is weaker, and can be told from the rest in the first sound only.
const BENT: Extent = Extent { partitions: 4, whole: 4, doubt: 0.005 };
/// Where the highest peak of the echo is brought to, samples after the reference: what is heard before it, and
/// what interpolation needs, has room.
const LEAD: i64 = 144;
/// Where it may stay.
const EARLIEST: i64 = 24;
const LATEST: i64 = 720;
/// How far around its place it is looked for first.
const NEARBY: i64 = 96;
/// Unread samples below which an echo is rather brought to [`LEAD`] than left late: clocks run apart.
const SPARE: i64 = 192;
/// How much of an energy is still counted after a frame.
const MEMORY: f32 = 0.9;
/// Frames with sound after which the challenger starts anew.
const ROUND: u32 = 120;
/// Frames in which the quick filter must be better by [`BETTER`] (power) before it is believed.
const BETTER: f32 = 0.5;
const BETTER_FRAMES: u32 = 12;

/// From microphones to microphones without echo.
pub(crate) struct Canceller {
    drift: Drift,
    alignment: Alignment,
    transform: Transform,
    frame: Vec<[f32; FRAME]>,
    mono: [f32; FRAME],
    bends: Bends,
    bent: Vec<[f32; FRAME]>,
    /// What is played, and the bent copies of it.
    fars: [Far; 2],
    linear: Vec<Linear>,
    quick: Linear,
    quick_error: [f32; FRAME],
    quick_echo: [f32; FRAME],
    /// Energies of what the first microphone hears, and what its two filters leave.
    energies: [f32; 3],
    better: u32,
    age: u32,
    changed: bool,
    /// Where the echo was when it was last found, samples after the reference.
    lag: Option<i64>,
}

impl Canceller {
    /// For that many `microphones`, and a speaker of `channels`, 1..=8.
    pub(crate) fn new(microphones: usize, channels: usize) -> Self {
        let channels = channels.clamp(1, MOST_CHANNELS);
        let fars = [Far::new(channels, EXTENTS[channels - 1]), Far::new(channels * BENDS, BENT)];
        Self {
            drift: Drift::new(channels),
            alignment: Alignment::new(),
            transform: Transform::new(),
            frame: vec![[0.0; FRAME]; channels],
            mono: [0.0; FRAME],
            bends: Bends::new(channels),
            bent: vec![[0.0; FRAME]; channels * BENDS],
            linear: (0..microphones).map(|_| Linear::new(&fars, STEADY)).collect(),
            quick: Linear::new(&fars, QUICK),
            fars,
            quick_error: [0.0; FRAME],
            quick_echo: [0.0; FRAME],
            energies: [0.0; 3],
            better: 0,
            age: 0,
            changed: false,
            lag: None,
        }
    }

    /// What the speaker will play: a frame, interleaved, of any number of channels.
    pub(crate) fn playback(&mut self, far: &[f32], channels: usize) {
        self.drift.push(far, channels);
    }

    /// The microphones lost `samples`; what was played meanwhile was told of.
    pub(crate) fn pass_over(&mut self, samples: i64) {
        self.drift.pass_over(samples);
        self.replay();
    }

    /// Takes the echo out of what each microphone `heard`: what remains (`errors`), and what was taken (`echoes`).
    pub(crate) fn process(
        &mut self,
        heard: &[[f32; FRAME]],
        errors: &mut [[f32; FRAME]],
        echoes: &mut [[f32; FRAME]],
    ) {
        self.drift.pull(&mut self.frame);
        for (i, mono) in self.mono.iter_mut().enumerate() {
            *mono = self.frame.iter().map(|plane| plane[i]).sum();
        }
        let home = self.lag.map_or(0..0, |lag| lag - NEARBY..lag + NEARBY);
        let found = self.alignment.process(&self.mono, &heard[0], home);
        if !found.is_some_and(|lag| self.align(lag)) {
            self.play();
        }
        let planes = heard.iter().zip(errors.iter_mut()).zip(echoes.iter_mut());
        for (linear, ((heard, error), echo)) in self.linear.iter_mut().zip(planes) {
            linear.process(&self.fars, heard, error, echo, &mut self.transform);
        }
        self.compare(&heard[0], &errors[0]);
        if self.fars[0].sounds() {
            let (skew, sure) = self.linear[0].skew(&echoes[0], &mut self.transform);
            self.drift.steer(skew, sure);
        }
    }

    /// Whether the way of the echo changed in this frame: what is known of its leftovers holds no longer.
    pub(crate) fn changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The frame is the next one that was played.
    fn play(&mut self) {
        self.bends.bend(&self.frame, &mut self.bent);
        for (far, planes) in self.fars.iter_mut().zip([&self.frame, &self.bent]) {
            far.push(planes, &mut self.transform);
        }
    }

    /// Another past leads to now. What is heard was played before: without it everything would seem much louder than it was
    /// played.
    fn replay(&mut self) {
        self.fars.iter_mut().for_each(Far::clear);
        for ago in (0..self.fars[0].partitions()).rev() {
            self.drift.past(ago, &mut self.frame);
            self.play();
        }
    }

    /// The echo was found at `lag`. Whether another past is played from now on.
    fn align(&mut self, lag: i64) -> bool {
        let spare = self.drift.backlog() > SPARE;
        if (EARLIEST..LATEST).contains(&lag) && (spare || lag < 2 * LEAD) {
            self.lag = Some(lag);
            return false;
        }
        // The room is the same after a jump of time: the filters still fit when it is where it was.
        let want = self.lag.unwrap_or(LEAD);
        let want = if spare || want < 2 * LEAD { want } else { LEAD };
        self.drift.jump(want - lag);
        self.alignment.clear();
        self.replay();
        if self.lag != Some(want) {
            self.linear.iter_mut().for_each(Linear::restart);
        }
        self.quick.restart();
        self.energies = [0.0; 3];
        self.better = 0;
        self.changed = true;
        self.lag = Some(want);
        true
    }

    /// When a filter that forgets fast is the better one, the room has changed.
    fn compare(&mut self, heard: &[f32; FRAME], error: &[f32; FRAME]) {
        let (quick_error, quick_echo) = (&mut self.quick_error, &mut self.quick_echo);
        self.quick.process(&self.fars, heard, quick_error, quick_echo, &mut self.transform);
        if !self.fars[0].sounds() {
            return;
        }
        for (energy, plane) in self.energies.iter_mut().zip([heard, error, quick_error]) {
            *energy = MEMORY * *energy + plane.iter().map(|s| s * s).sum::<f32>();
        }
        self.age += 1;
        if self.age > ROUND {
            self.age = 0;
            self.quick.restart();
        }
        let [heard, steady, quick] = self.energies;
        let better = quick < BETTER * steady && steady > 0.003 * heard;
        self.better = if better { self.better + 1 } else { 0 };
        if self.better < BETTER_FRAMES {
            return;
        }
        self.better = 0;
        self.changed = true;
        let mut linear = self.linear.iter_mut();
        if let Some(first) = linear.next() {
            first.adopt(&self.quick);
        }
        linear.for_each(Linear::doubt_all);
        self.energies[1] = quick;
    }

    /// How long after it was told of does the echo come, ms, once it was found.
    pub(crate) fn delay_ms(&self) -> Option<u32> {
        let samples = self.drift.backlog() + self.lag?;
        Some(milliseconds(samples).max(0.0).round() as u32)
    }

    /// How much faster the speaker's clock is than the microphones', ppm.
    pub(crate) fn drift_ppm(&self) -> f64 {
        self.drift.ppm()
    }
}
