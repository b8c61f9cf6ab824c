//! The speaker's clock against the microphones' clock: what is played comes out at the rate at which is heard.
//!
//! Frames of the speaker come when its thread turns, in bursts; a frame is taken for each frame of the
//! microphones. The position read lags behind what was pushed by a *backlog*, which says how the two clocks run.
//! Two loops hold it: the canceller sees a residual drift of a fraction of a sample as a turn of phases
//! ([`Drift::steer`]) and corrects the rate within a second or two; without an echo the filling of the store
//! itself does, slowly, as it comes in steps of whole periods.

use crate::{FRAME, RATE_HZ};
use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{
    Async, FixedAsync, Indexing, Resampler, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

/// What is kept of the speaker, samples a channel: 1.4 s, a power of two.
const STORE: usize = 1 << 16;
/// Clocks differ by less: crystals by 100 ppm, two bad ones by 300.
const MOST_PPM: f64 = 500.0;
/// Taps of the interpolation. It looks half of them ahead, 0.2 ms, less than sound needs from the nearest speaker.
const TAPS: usize = 16;
/// By how much its output is behind what it has read, samples.
const LATE: i64 = (TAPS / 2) as i64;
/// More than the resampler ever asks for one frame.
const ROOM: usize = FRAME + 2 * TAPS + 64;
/// Samples kept between what is read and what was pushed, as the next frame may ask for one more.
const GUARD: i64 = (TAPS / 2) as i64 + 4;
/// Pulls without a push after which the speaker counts as stopped: 100 ms.
const STOPPED: u32 = 10;
/// Backlog is wrong when it is this far off for [`OFF_FRAMES`]: an xrun on either side. Samples.
const OFF: f64 = 960.0;
const OFF_FRAMES: u32 = 30;
/// Of the loop on phases: samples of skew to ppm, at once and per frame, while the rate is held and looked for. A rate
/// that is well known is held more firmly: crystals do not change, talkers disturb.
const PHASE_NOW: [f64; 2] = [100.0, 400.0];
const PHASE_SUM: [f64; 2] = [0.8, 10.0];
const PHASE_SUM_KNOWN: f64 = 0.25;
/// A skew is one that stays when its mean is more than this share of its mean square: of a rate that is little known,
/// and of one that is well known.
const STAYS: [f64; 2] = [0.2, 0.6];
/// Sure frames in which a rate becomes known (5 s), and the share of that which a frame with a skew that stays takes away.
const LEARNED: f64 = 500.0;
const UNLEARNED: f64 = 0.02;
/// Of the loop on the backlog: ppm per sample, and per sample and frame. A time constant of some 10 s.
const FILL_NOW: f64 = 0.5;
const FILL_SUM: f64 = 0.000_4;
/// Frames that the last good skew is trusted for: 3 s.
const TRUST: u32 = 300;

/// What the speaker plays, on the clock of the microphones.
pub(crate) struct Drift {
    channels: usize,
    /// One ring a channel.
    store: Vec<Vec<f32>>,
    /// Samples pushed, and the sample that is read next.
    written: i64,
    read: i64,
    resampler: Option<Async<f32>>,
    input: Vec<Vec<f32>>,
    output: Vec<Vec<f32>>,
    /// How much faster the speaker's samples are read than their rate says, ppm: slow part and what is used.
    ppm: f64,
    used_ppm: f64,
    /// The backlog that is held, and how it is, smoothed. Samples.
    target: f64,
    backlog: f64,
    off: u32,
    /// Frames since start, since the last push, and with a skew to trust.
    frames: u32,
    unpushed: u32,
    trust: u32,
    skew: f64,
    spread: f64,
    /// 0: holds the rate; 1: looks for it.
    gear: f64,
    /// How well the rate is known, 0..=1.
    known: f64,
    started: bool,
}

impl Drift {
    /// For a speaker of `channels`.
    pub(crate) fn new(channels: usize) -> Self {
        let parameters = SincInterpolationParameters::new(TAPS, WindowFunction::Blackman2)
            .oversampling_factor(256)
            .interpolation(SincInterpolationType::Linear);
        let resampler = Async::new_sinc(1.0, 1.01, &parameters, FRAME, channels, FixedAsync::Output).ok();
        debug_assert!(resampler.is_some(), "the parameters are fixed");
        Self {
            channels,
            store: vec![vec![0.0; STORE]; channels],
            written: 0,
            read: 0,
            resampler,
            input: vec![vec![0.0; ROOM]; channels],
            output: vec![vec![0.0; FRAME]; channels],
            ppm: 0.0,
            used_ppm: 0.0,
            target: 0.0,
            backlog: 0.0,
            off: 0,
            frames: 0,
            unpushed: 0,
            trust: 0,
            skew: 0.0,
            spread: 0.0,
            gear: 1.0,
            known: 0.0,
            started: false,
        }
    }

    /// One frame of the speaker, interleaved; fewer channels than ours are repeated, more are folded in.
    pub(crate) fn push(&mut self, far: &[f32], channels: usize) {
        let folds = channels.max(self.channels);
        let share = self.channels as f32 / folds as f32;
        for (c, store) in self.store.iter_mut().enumerate() {
            for (i, samples) in far.chunks_exact(channels).enumerate() {
                let sum: f32 = (c..folds).step_by(self.channels).map(|from| samples[from % channels]).sum();
                let at = (self.written + i as i64) as usize % STORE;
                store[at] = sum * share;
            }
        }
        self.written += FRAME as i64;
        self.unpushed = 0;
        if !self.started {
            // The first one may be followed by the rest of its burst: see `settle`.
            self.started = true;
            self.frames = 0;
            self.read = self.written - FRAME as i64 - GUARD;
        }
    }

    /// The frame that goes with the next frame of the microphones; silence where nothing is known.
    pub(crate) fn pull(&mut self, frame: &mut [[f32; FRAME]]) {
        self.unpushed = self.unpushed.saturating_add(1);
        self.frames = self.frames.saturating_add(1);
        if !self.started {
            frame.iter_mut().for_each(|plane| plane.fill(0.0));
            return;
        }
        self.control();
        let Some(resampler) = &mut self.resampler else { return };
        let ratio = 1.0 / (1.0 + self.used_ppm * 1e-6);
        if let Some(adjustable) = resampler.as_adjustable() {
            let set = adjustable.set_resample_ratio_relative(ratio, true);
            debug_assert!(set.is_ok(), "the ratio is clamped");
        }
        let needed = resampler.input_frames_next().min(ROOM);
        let (oldest, newest) = (self.written - STORE as i64, self.written);
        for (input, store) in self.input.iter_mut().zip(&self.store) {
            for (at, sample) in (self.read..).zip(&mut input[..needed]) {
                *sample = if at >= oldest.max(0) && at < newest { store[at as usize % STORE] } else { 0.0 };
            }
        }
        self.read += needed as i64;
        let from = SequentialSliceOfVecs::new(&self.input, self.channels, needed);
        let to = SequentialSliceOfVecs::new_mut(&mut self.output, self.channels, FRAME);
        if let (Ok(from), Ok(mut to)) = (from, to) {
            let done = resampler.process_into_buffer(&from, &mut to, None::<&Indexing>);
            debug_assert!(done.is_ok(), "sizes are what it asked for");
        }
        for (plane, output) in frame.iter_mut().zip(&self.output) {
            plane.copy_from_slice(output);
        }
    }

    /// What [`Drift::pull`] would have given `ago` frames before the last one, had it read where it does now: to half a
    /// sample, and a little more where the clocks run apart.
    pub(crate) fn past(&self, ago: usize, frame: &mut [[f32; FRAME]]) {
        let since = ((ago + 1) * FRAME) as f64 * (1.0 + self.used_ppm * 1e-6);
        let from = self.read - LATE - since.round() as i64;
        let (oldest, newest) = (self.written - STORE as i64, self.written);
        for (plane, store) in frame.iter_mut().zip(&self.store) {
            for (at, sample) in (from..).zip(plane) {
                *sample = if at >= oldest.max(0) && at < newest { store[at as usize % STORE] } else { 0.0 };
            }
        }
    }

    fn write_silence(&mut self) {
        for store in &mut self.store {
            for i in 0..FRAME as i64 {
                store[(self.written + i) as usize % STORE] = 0.0;
            }
        }
        self.written += FRAME as i64;
    }

    /// Both loops.
    fn control(&mut self) {
        let backlog = (self.written - self.read) as f64;
        if self.unpushed > STOPPED {
            // It plays silence, and will start anew with as much ahead of us as it had.
            while ((self.written - self.read) as f64) < self.target {
                self.write_silence();
            }
            self.off = 0;
            return;
        }
        // Half a second of bursts is averaged at the start, more later.
        let pace = if self.frames < 100 { 1.0 / f64::from(self.frames.max(1)) } else { 0.01 };
        self.backlog += pace * (backlog - self.backlog);
        if self.frames < 100 {
            self.target = self.backlog;
            self.used_ppm = self.ppm;
            return;
        }
        let error = self.backlog - self.target;
        if (backlog - self.target).abs() > OFF && error.abs() > 0.2 * OFF {
            self.off += 1;
            if self.off > OFF_FRAMES {
                self.jump((backlog - self.target) as i64);
                self.target = (self.written - self.read) as f64;
                self.backlog = self.target;
                self.off = 0;
            }
        } else {
            self.off = 0;
        }
        self.trust = self.trust.saturating_sub(1);
        if self.trust > 0 {
            // The phases know better: the backlog that they lead to is the right one.
            self.target += 0.01 * error;
        } else {
            self.ppm = (self.ppm + FILL_SUM * error).clamp(-MOST_PPM, MOST_PPM);
            self.used_ppm = (self.ppm + FILL_NOW * error).clamp(-MOST_PPM, MOST_PPM);
        }
    }

    /// The canceller saw that the echo comes `skew` samples later than its model says, of a filter that follows
    /// within some frames; `sure`: 0..=1.
    pub(crate) fn steer(&mut self, skew: f64, sure: f64) {
        let skew = skew.clamp(-1.0, 1.0) * sure;
        // A skew that stays is drift, one that comes and goes is the talker or the noise.
        self.skew += 0.03 * (skew - self.skew);
        self.spread += 0.03 * (skew * skew - self.spread);
        let share = STAYS[0] + (STAYS[1] - STAYS[0]) * self.known;
        let stays = self.skew * self.skew > share * self.spread && self.skew.abs() > 0.004;
        if stays {
            self.gear = (self.gear + 0.1 * sure).min(1.0);
            self.known *= 1.0 - UNLEARNED * sure;
        } else {
            self.gear *= 1.0 - 0.06 * sure;
            self.known += sure * (1.0 - self.known) / LEARNED;
        }
        let between = |of: [f64; 2]| of[0] + (of[1] - of[0]) * self.gear;
        let hold = PHASE_SUM[0] + (PHASE_SUM_KNOWN - PHASE_SUM[0]) * self.known;
        self.ppm = (self.ppm - between([hold, PHASE_SUM[1]]) * skew).clamp(-MOST_PPM, MOST_PPM);
        self.used_ppm = (self.ppm - between(PHASE_NOW) * skew).clamp(-MOST_PPM, MOST_PPM);
        if sure > 0.5 {
            self.trust = TRUST;
        }
    }

    /// The microphones lost `samples`, while the speaker went on (or not: what was not pushed is not passed over).
    pub(crate) fn pass_over(&mut self, samples: i64) {
        let ahead = (self.written - self.read - self.target as i64).max(0);
        self.read += samples.clamp(0, ahead + FRAME as i64);
    }

    /// From now on reads `samples` newer than until now (older when negative).
    pub(crate) fn jump(&mut self, samples: i64) {
        self.read += samples;
        self.target -= samples as f64;
        self.backlog -= samples as f64;
    }

    /// How much faster the speaker's clock is than the microphones', ppm.
    pub(crate) fn ppm(&self) -> f64 {
        self.ppm
    }

    /// How far behind what was pushed is read, samples.
    pub(crate) fn backlog(&self) -> i64 {
        self.written - self.read
    }
}

/// Of samples: what that many are, ms.
pub(crate) fn milliseconds(samples: i64) -> f64 {
    samples as f64 * 1000.0 / f64::from(RATE_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_what_was_pulled() {
        let mut seed = 1_u32;
        let mut low = 0.0_f32;
        // Notes below 2 kHz or so: half a sample is little.
        let mut sound = || -> Vec<f32> {
            (0..FRAME)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    low += 0.1 * (seed as f32 / u32::MAX as f32 - 0.5 - low);
                    low
                })
                .collect()
        };
        let mut drift = Drift::new(1);
        let mut pulled = Vec::new();
        for _ in 0..200 {
            drift.push(&sound(), 1);
            let mut frame = [[0.0; FRAME]];
            drift.pull(&mut frame);
            pulled.push(frame[0]);
        }
        for ago in [0, 1, 5, 39] {
            let mut past = [[0.0; FRAME]];
            drift.past(ago, &mut past);
            let then = &pulled[pulled.len() - 1 - ago];
            let wrong: f32 = past[0].iter().zip(then).map(|(a, b)| (a - b) * (a - b)).sum();
            let all: f32 = then.iter().map(|sample| sample * sample).sum();
            assert!(wrong < 0.1 * all, "{ago} frames ago: {wrong} of {all}");
        }
    }
}
