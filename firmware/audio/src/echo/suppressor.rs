//! What the linear filters leave of the echo is taken out of the one voice, and the talker is left in it.
//!
//! What is left is modelled in bands as a share (*leak*) of what was taken: of the same band, of its past (the tail of
//! the room is longer than the filter) and of the middle of the voice (a small speaker makes tones that were not
//! played). The leak is learned as a middling quantile of what was seen, fast in the first second, slowly then, and
//! hardly upwards while somebody talks in the room. Whether somebody does is told by all bands together, whose sum is
//! much steadier than one band, by whether somebody did of late, and by whether what is left goes its own way
//! ([`Likeness`]): if not, much more than the model is taken away; if so, no more. The gain of each bin is Wiener's with the
//! prior of Y. Ephraim and D. Malah, "Speech enhancement using a minimum mean-square error short-time spectral amplitude
//! estimator", 1984; it acts through a short filter in time, so that only 5 ms are added.

use super::likeness::Likeness;
use crate::FRAME;
use crate::transform::{BINS, Spectrum, Transform, WINDOW};
use std::time::Duration;

/// Bands: 100 Hz wide below 1 kHz, a tenth of their place above.
const BANDS: usize = 40;
/// Above this bin (10 kHz) bands say nothing of talkers.
const TALK_TOP: usize = 200;
/// The middle of a voice: 200 Hz to 6 kHz.
const MIDDLE: std::ops::Range<usize> = 4..120;
/// How much of a band's power is still there after a frame.
const SMOOTH: f32 = 0.5;
/// Tail of the room: how loud, and how much of it after a frame (63 dB a second).
const TAIL: f32 = 0.5;
const TAIL_KEEP: f32 = 0.93;
/// How much of the middle of the voice a speaker spreads over all bands (-25 dB).
const SPREAD: f32 = 0.003;
/// Steps of the leak per frame, dB, when more is heard and when less is: in the first second of an echo, then, and while
/// somebody talks. A talker who begins softly must not be learned as a leak before he is noticed.
const YOUNG_DB: [f32; 2] = [0.5, -0.3];
const STEP_DB: [f32; 2] = [0.15, -0.1];
const NEAR_STEP_DB: [f32; 2] = [0.02, -0.1];
const YOUNG: u32 = 100;
const LEAST_LEAK: f32 = 1e-5;
/// Who is softer than this share of the echo is not told from what is left of it now and then.
const TALKER_LEAK: f32 = 1e-3;
/// Power of the middle of an echo of which something is learned.
const AUDIBLE: f32 = 1e-3;
/// Somebody talks for sure when the sum of the bands is this far above the model, and surely not when below. dB.
const NEAR_DB: std::ops::Range<f32> = 5.0..9.0;
/// Who was talking of late is noticed at so much less, dB; how fast that is forgotten, a frame, and the mean of the sums'
/// ratio (held in the range, dB) at which it is so for sure.
const LATELY_DB: f32 = 3.0;
const LATELY_PACE: f32 = 0.015;
const LATELY_RANGE_DB: std::ops::Range<f32> = -3.0..12.0;
const LATELY_SURE_DB: f32 = 2.5;
/// What is left goes with the echo when their [`Likeness`] is more: it is learned as a leak, not kept as a talker.
const ALIKE: f32 = 0.7;
/// How much of those sums is still there after a frame: syllables are longer than an echo's flickering.
const SUM_KEEP: f32 = 0.7;
/// Frames that a talker is thought to go on.
const NEAR_HOLD: u32 = 20;
/// How much more than the model is taken away, and the most that is: nobody talks, somebody talks. dB.
const OVER_DB: [f32; 2] = [22.0, 0.0];
const FLOOR_DB: [f32; 2] = [-40.0, -10.0];
/// Share of the last frame's voice in what is thought of this one's.
const PRIOR: f32 = 0.6;
/// Noise of the room is the least that a bin gave in the last two and a half to five seconds: how fast its power
/// follows, the frames after which older ones are forgotten, and how much louder steady noise is than its least (power,
/// measured).
const NOISE_PACE: f32 = 0.3;
const NOISE_FRAMES: u32 = 250;
const NOISE_BIAS: f32 = 4.0;
/// Frames without an echo after which noise is learned: rooms have tails.
const QUIET: u32 = 20;
/// Power of a bin that nobody hears.
const LEAST: f32 = 1e-9;
/// One over the mean square of the window that noise is measured with.
const WINDOW_LOSS: f32 = 8.0 / 3.0;

/// Takes the rest of the echo out of the voice.
pub(crate) struct Suppressor {
    transform: Transform,
    /// Raised cosine, and its root.
    window: [f32; WINDOW],
    edges: [usize; BANDS + 1],
    voice: [f32; WINDOW],
    echo: [f32; WINDOW],
    spectrum: Spectrum,
    power: [f32; BINS],
    echo_power: [f32; BINS],
    /// Of each band: voice now, voice, model before the leak, the tail of the echo, and the leak.
    band_now: [f32; BANDS],
    band_voice: [f32; BANDS],
    band_model: [f32; BANDS],
    tail: [f32; BANDS],
    leak: [f32; BANDS],
    /// Of each bin: what is thought to be left of the echo, noise, voice of the last frame, gain.
    residual: [f32; BINS],
    noise: [f32; BINS],
    /// Power that follows slowly, its least in this window and in the one before, and the frames of noise that were heard.
    smooth: [f32; BINS],
    least: [[f32; BINS]; 2],
    noise_age: u32,
    /// Frames since an echo was heard.
    quiet: u32,
    clean: [f32; BINS],
    gain: [f32; BINS],
    filter: Spectrum,
    last_filter: Spectrum,
    product: Spectrum,
    time: [f32; WINDOW],
    last_time: [f32; WINDOW],
    comfort: [f32; WINDOW],
    seed: u32,
    /// Sums over all bands of what is heard and of what the model expects.
    sums: [f32; 2],
    /// How surely somebody talks, 0..=1.
    near: f32,
    hold: u32,
    /// Sums' ratio of late, dB, and whether what is left goes with the echo.
    lately_db: f32,
    likeness: Likeness,
    /// Frames with an echo until the leak is known roughly.
    young: u32,
}

impl Suppressor {
    /// By how much its output is later than its input.
    pub(crate) const DELAY: Duration = Duration::from_millis(5);

    pub(crate) fn new() -> Self {
        let turn = std::f32::consts::TAU / WINDOW as f32;
        Self {
            transform: Transform::new(),
            window: std::array::from_fn(|i| 0.5 - 0.5 * (turn * (i as f32 + 0.5)).cos()),
            edges: edges(),
            voice: [0.0; WINDOW],
            echo: [0.0; WINDOW],
            spectrum: Spectrum::zero(),
            power: [0.0; BINS],
            echo_power: [0.0; BINS],
            band_now: [0.0; BANDS],
            band_voice: [0.0; BANDS],
            band_model: [0.0; BANDS],
            tail: [0.0; BANDS],
            leak: [1.0; BANDS],
            residual: [0.0; BINS],
            noise: [LEAST; BINS],
            smooth: [0.0; BINS],
            least: [[f32::MAX; BINS]; 2],
            noise_age: 0,
            quiet: QUIET,
            clean: [0.0; BINS],
            gain: [1.0; BINS],
            filter: Spectrum::zero(),
            last_filter: Spectrum::zero(),
            product: Spectrum::zero(),
            time: [0.0; WINDOW],
            last_time: [0.0; WINDOW],
            comfort: [0.0; WINDOW],
            seed: 1,
            sums: [LEAST; 2],
            near: 0.0,
            hold: 0,
            lately_db: LATELY_RANGE_DB.start,
            likeness: Likeness::default(),
            young: YOUNG,
        }
    }

    /// The way of the echo changed: everything that was taken may be left as well.
    pub(crate) fn unsure(&mut self) {
        self.leak.fill(1.0);
        self.young = YOUNG;
        self.near = 0.0;
        self.hold = 0;
    }

    /// How surely somebody in the room talks, 0..=1.
    pub(crate) fn near(&self) -> f32 {
        self.near
    }

    /// Takes out of `voice` what is left of `echo`, which the linear filters took from it. Both are of the same
    /// time and went the same way; `voice` comes back [`Suppressor::DELAY`] later.
    pub(crate) fn process(&mut self, voice: &mut [f32; FRAME], echo: &[f32; FRAME]) {
        for (kept, new, power) in
            [(&mut self.echo, echo, &mut self.echo_power), (&mut self.voice, &*voice, &mut self.power)]
        {
            kept.copy_within(FRAME.., 0);
            kept[FRAME..].copy_from_slice(new);
            for ((time, sample), window) in self.time.iter_mut().zip(&*kept).zip(&self.window) {
                *time = sample * window;
            }
            self.transform.forward(&self.time, &mut self.spectrum);
            self.spectrum.power(power);
        }
        let finite = |power: &[f32; BINS]| power.iter().sum::<f32>().is_finite();
        if !finite(&self.power) || !finite(&self.echo_power) {
            *self = Self::new();
            voice.fill(0.0);
            return;
        }
        self.look();
        self.weigh();
        self.filter(voice);
        self.soothe(voice);
    }

    /// The model, and whether somebody talks.
    fn look(&mut self) {
        let middle = mean(&self.echo_power[MIDDLE]);
        let (mut seen, mut expected, mut played) = (LEAST, LEAST, LEAST);
        let [up, down] = match self.near > 0.5 {
            true if self.likeness.value() < ALIKE => NEAR_STEP_DB,
            false if self.young > 0 => YOUNG_DB,
            _ => STEP_DB,
        };
        for band in 0..BANDS {
            let bins = self.edges[band]..self.edges[band + 1];
            let noise = mean(&self.noise[bins.clone()]);
            let echo = mean(&self.echo_power[bins.clone()]);
            let voice = mean(&self.power[bins.clone()]);
            self.band_now[band] = voice;
            self.tail[band] = (self.tail[band] * TAIL_KEEP).max(echo);
            let model = echo + TAIL * self.tail[band] + SPREAD * middle;
            self.band_model[band] = model + SMOOTH * (self.band_model[band] - model);
            self.band_voice[band] = voice + SMOOTH * (self.band_voice[band] - voice);
            let own = (self.band_voice[band] - 1.5 * noise).max(0.0);
            let left = self.band_model[band] * self.leak[band];
            if bins.start < TALK_TOP {
                // Roots: one loud band alone is no talker.
                seen += own.sqrt();
                played += self.band_model[band].sqrt();
                expected += (self.band_model[band] * self.leak[band].max(TALKER_LEAK)).sqrt();
            }
            // Learned where an echo could be heard.
            if self.band_model[band] > (10.0 * noise).max(1e-4) {
                let step = if own > left { up } else { down };
                self.leak[band] = (self.leak[band] * power(step)).clamp(LEAST_LEAK, 1.0);
            }
        }
        if middle > AUDIBLE {
            self.young = self.young.saturating_sub(1);
            self.likeness.hear(seen, played);
        }
        for (sum, now) in self.sums.iter_mut().zip([seen, expected]) {
            *sum = now + SUM_KEEP * (*sum - now);
        }
        let above = 20.0 * (self.sums[0] / self.sums[1]).log10();
        let held = above.clamp(LATELY_RANGE_DB.start, LATELY_RANGE_DB.end);
        self.lately_db += LATELY_PACE * (held - self.lately_db);
        let above = above + LATELY_DB * (self.lately_db / LATELY_SURE_DB).clamp(0.0, 1.0);
        let near = ((above - NEAR_DB.start) / (NEAR_DB.end - NEAR_DB.start)).clamp(0.0, 1.0);
        if near > self.near {
            self.near += 0.7 * (near - self.near);
            self.hold = NEAR_HOLD;
        } else if self.hold > 0 {
            self.hold -= 1;
        } else {
            self.near += 0.15 * (near - self.near);
        }
    }

    /// The gain of each bin, and the noise of the room.
    fn weigh(&mut self) {
        let between = |of: [f32; 2]| of[0] + (of[1] - of[0]) * self.near;
        let (over, floor) = (power(between(OVER_DB)), power(0.5 * between(FLOOR_DB)));
        for band in 0..BANDS {
            let model = self.band_model[band];
            for i in self.edges[band]..self.edges[band + 1] {
                // The echo is finer than a band, but not all of what is left.
                let fine = 0.5 * self.echo_power[i].min(4.0 * model) + 0.5 * model;
                self.residual[i] = 0.4 * self.residual[i] + 0.6 * fine * self.leak[band];
            }
        }
        for i in 0..BINS {
            let (voice, left) = (self.power[i], self.residual[i] * over + 1e-12);
            let now = (voice / left - 1.0).max(0.0);
            let prior = PRIOR * self.clean[i] / left + (1.0 - PRIOR) * now;
            let gain = (prior / (1.0 + prior)).max(floor);
            self.clean[i] = gain * gain * voice;
            self.gain[i] = gain;
        }
        self.hear_noise();
    }

    /// The noise of the room (R. Martin, "Noise power spectral density estimation based on optimal smoothing and minimum
    /// statistics", 2001, with two windows).
    ///
    /// It is learned while nothing is played: a fan at the far end is steady too.
    fn hear_noise(&mut self) {
        self.quiet = if mean(&self.echo_power[MIDDLE]) > AUDIBLE { 0 } else { self.quiet.saturating_add(1) };
        if self.quiet < QUIET {
            return;
        }
        self.noise_age += 1;
        let is_over = self.noise_age.is_multiple_of(NOISE_FRAMES);
        let [now, before] = &mut self.least;
        for i in 0..BINS {
            self.smooth[i] += NOISE_PACE * (self.power[i] - self.smooth[i]);
            now[i] = now[i].min(self.smooth[i]);
            self.noise[i] = (NOISE_BIAS * now[i].min(before[i])).max(LEAST);
            if is_over {
                (before[i], now[i]) = (now[i], self.smooth[i]);
            }
        }
    }

    /// The gains as a filter of 10 ms around 5 ms, from the last frame's to this one's within the frame.
    fn filter(&mut self, voice: &mut [f32; FRAME]) {
        self.filter.re = self.gain;
        self.filter.im.fill(0.0);
        self.transform.inverse(&self.filter, &mut self.time);
        let mut taps = [0.0; WINDOW];
        for (i, tap) in taps[..FRAME].iter_mut().enumerate() {
            *tap = self.time[(i + WINDOW - FRAME / 2) % WINDOW] * self.window[2 * i];
        }
        self.transform.forward(&taps, &mut self.filter);
        self.transform.forward(&self.voice, &mut self.spectrum);
        for (filter, time) in [(&self.filter, &mut self.time), (&self.last_filter, &mut self.last_time)] {
            self.product.clear();
            self.product.add_product(&self.spectrum, filter, BINS);
            self.transform.inverse(&self.product, time);
        }
        for (i, voice) in voice.iter_mut().enumerate() {
            let share = (i as f32 + 0.5) / FRAME as f32;
            *voice = share * self.time[FRAME + i] + (1.0 - share) * self.last_time[FRAME + i];
        }
        std::mem::swap(&mut self.filter, &mut self.last_filter);
    }

    /// Comfort noise: where the echo went the noise of the room stays, so that nobody hears the gate.
    fn soothe(&mut self, voice: &mut [f32; FRAME]) {
        if !self.gain.iter().any(|gain| *gain < 0.7) {
            // What the last frame began fades out with silence.
            self.product.clear();
        } else {
            let mut band = 0;
            for i in 0..BINS {
                band += usize::from(i == self.edges[band + 1]);
                // Never more than is heard: what was learned in a muted room does not come out of a silent one.
                let most = 2.0 * self.band_now[band];
                let lost = (1.0 - self.gain[i] * self.gain[i]).max(0.0);
                let size = (self.noise[i].min(most) * lost * WINDOW_LOSS).sqrt();
                // A turn by quarters and eighths is random enough, and cheap (xorshift: G. Marsaglia, 2003).
                self.seed ^= self.seed << 13;
                self.seed ^= self.seed >> 17;
                self.seed ^= self.seed << 5;
                let (re, im) = ((self.seed & 0xffff) as f32 - 32_767.5, (self.seed >> 16) as f32 - 32_767.5);
                let scale = size / (re * re + im * im).sqrt();
                (self.product.re[i], self.product.im[i]) = (re * scale, im * scale);
            }
        }
        self.transform.inverse(&self.product, &mut self.time);
        for (i, time) in self.time.iter_mut().enumerate() {
            *time *= self.window[i].sqrt();
        }
        for (i, voice) in voice.iter_mut().enumerate() {
            *voice += self.time[i] + self.comfort[FRAME + i];
        }
        self.comfort = self.time;
    }
}

/// dB to power.
fn power(db: f32) -> f32 {
    10.0_f32.powf(0.1 * db)
}

fn mean(of: &[f32]) -> f32 {
    of.iter().sum::<f32>() / of.len() as f32
}

/// First bin of each band, and one past the last.
fn edges() -> [usize; BANDS + 1] {
    let mut edges = [BINS; BANDS + 1];
    let (mut at, mut width) = (0.0_f32, 2.0_f32);
    for edge in &mut edges[..BANDS] {
        *edge = (at.round() as usize).min(BINS - 1);
        at += width;
        width = (0.104 * at).max(2.0);
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_echo_goes_the_noise_of_the_room_stays_as_loud_as_it_was() {
        let mut seed = 1_u32;
        let mut hiss = |size: f32| -> [f32; FRAME] {
            std::array::from_fn(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                size * (seed as f32 / u32::MAX as f32 - 0.5)
            })
        };
        let mut suppressor = Suppressor::new();
        let mut levels = [0.0_f32; 2];
        for frame in 0..1_600 {
            let mut voice = hiss(0.01);
            // From 8 s on an echo 40 dB above the room's noise, of which a tenth was left.
            let echo = if frame < 800 { [0.0; FRAME] } else { hiss(1.0) };
            voice.iter_mut().zip(&echo).for_each(|(voice, echo)| *voice += 0.1 * echo);
            suppressor.process(&mut voice, &echo);
            if let Some(level) = match frame {
                600..800 => Some(0),
                1_200..1_600 => Some(1),
                _ => None,
            } {
                levels[level] +=
                    voice.iter().map(|s| s * s).sum::<f32>() / if level == 0 { 200.0 } else { 400.0 };
            }
        }
        let louder_db = 10.0 * (levels[1] / levels[0]).log10();
        assert!(louder_db.abs() < 3.0, "{louder_db} dB");
    }

    #[test]
    fn every_band_has_bins() {
        assert!(edges().windows(2).all(|pair| pair[0] < pair[1]));
    }
}
