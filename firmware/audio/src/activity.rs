//! Whether somebody speaks.

use crate::FRAME;
use crate::transform::{BINS, Spectrum, Transform, WINDOW};

/// Bins of a voice, 50 Hz apart: 200 Hz to 4 kHz, in bands of so many.
const LOW: usize = 4;
const BAND: usize = 4;
const BANDS: usize = 19;
/// The noise is the least smoothed power of the last one to two of these (R. Martin, Noise Power Spectral Density
/// Estimation Based on Optimal Smoothing and Minimum Statistics, 2001): 0.8 s of frames.
const PERIOD: u32 = 80;
/// How much of the last smoothed power stays.
const SMOOTH: f32 = 0.8;
/// The least of smoothed power is below its mean by about so much.
const BIAS: f32 = 1.8;
/// Below this a band is silent whatever its noise: some -85 dB of full scale.
const LEAST: f32 = 2e-4;
/// Weight of the last frame's speech in the ratio of speech to noise (Y. Ephraim, D. Malah, 1984).
const LAST: f32 = 0.9;
/// Speech begins and ends at these mean logarithms of the likelihood ratio (J. Sohn, N. S. Kim, W. Sung, A
/// Statistical Model-Based Voice Activity Detection, 1999).
const BEGINS: f32 = 0.8;
const ENDS: f32 = 0.35;
/// Frames for which speech must hold before it counts, and for which it counts after its end.
const AT_LEAST: u32 = 3;
const HANGOVER: u32 = 12;

/// Compares each band with the noise that is always there.
pub(crate) struct Activity {
    transform: Transform,
    window: [f32; WINDOW],
    time: [f32; WINDOW],
    past: [f32; FRAME],
    spectrum: Spectrum,
    power: [f32; BINS],
    smooth: [f32; BANDS],
    least: [f32; BANDS],
    noise: [f32; BANDS],
    /// Ratio of speech to noise as the last frame left it.
    speech: [f32; BANDS],
    /// Whether `past` was heard.
    begun: bool,
    period: u32,
    periods: u32,
    score: f32,
    held: u32,
    hangover: u32,
}

impl Activity {
    pub(crate) fn new() -> Self {
        let step = std::f32::consts::TAU / WINDOW as f32;
        Self {
            transform: Transform::new(),
            window: std::array::from_fn(|i| 0.5 - 0.5 * (step * i as f32).cos()),
            time: [0.0; WINDOW],
            past: [0.0; FRAME],
            spectrum: Spectrum::zero(),
            power: [0.0; BINS],
            smooth: [0.0; BANDS],
            least: [f32::MAX; BANDS],
            noise: [LEAST; BANDS],
            speech: [0.0; BANDS],
            begun: false,
            period: 0,
            periods: 0,
            score: 0.0,
            held: 0,
            hangover: 0,
        }
    }

    /// Hears `frame` (finite), before its noise is suppressed; says whether it is speech.
    pub(crate) fn process(&mut self, frame: &[f32; FRAME]) -> bool {
        for (i, (time, window)) in self.time.iter_mut().zip(&self.window).enumerate() {
            let sample = if i < FRAME { self.past[i] } else { frame[i - FRAME] };
            *time = sample * window;
        }
        self.past = *frame;
        if !std::mem::replace(&mut self.begun, true) {
            return false;
        }
        self.transform.forward(&self.time, &mut self.spectrum);
        self.spectrum.power(&mut self.power);
        let first = self.periods == 0 && self.period == 0;
        let mut score = 0.0;
        for band in 0..BANDS {
            let from = LOW + band * BAND;
            let power = self.power[from..from + BAND].iter().sum::<f32>() / BAND as f32;
            self.smooth[band] =
                if first { power } else { SMOOTH * self.smooth[band] + (1.0 - SMOOTH) * power };
            self.least[band] = self.least[band].min(self.smooth[band]);
            // In its first period it goes down with the least at once, and never up at once.
            let noise =
                if self.periods == 0 { self.least[band] } else { self.noise[band].min(self.least[band]) };
            let posterior = (power / (BIAS * noise).max(LEAST)).min(1e4);
            let prior = LAST * self.speech[band] + (1.0 - LAST) * (posterior - 1.0).max(0.0);
            let wiener = prior / (1.0 + prior);
            self.speech[band] = wiener * wiener * posterior;
            score += (posterior * wiener - prior.ln_1p()).clamp(-1.0, 6.0);
        }
        self.period += 1;
        if self.period == PERIOD {
            // The least of the period that is over, and of the one that begins with what is now.
            self.noise = self.least;
            self.least = self.smooth;
            self.period = 0;
            self.periods = self.periods.saturating_add(1);
        }
        self.score = score / BANDS as f32;
        self.decide()
    }

    fn decide(&mut self) -> bool {
        let bound = if self.hangover > 0 { ENDS } else { BEGINS };
        self.held = if self.score > bound { self.held + 1 } else { 0 };
        if self.held >= AT_LEAST || (self.hangover > 0 && self.held > 0) {
            self.hangover = HANGOVER;
        } else {
            self.hangover = self.hangover.saturating_sub(1);
        }
        self.hangover > 0
    }

    /// Whether the last frame itself was speech, and not what comes soon after.
    pub(crate) fn now(&self) -> bool {
        self.hangover == HANGOVER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frame `n` of hiss, RMS 1/sqrt 3.
    fn hiss(state: &mut u32) -> [f32; FRAME] {
        std::array::from_fn(|_| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (*state >> 8) as f32 / 8_388_608.0 - 1.0
        })
    }

    /// A vowel's pulses through two formants, in syllables of 200 ms with 100 ms between, 1.5 s of every 3.
    fn talk(n: usize, filter: &mut [[f32; 2]; 2]) -> [f32; FRAME] {
        std::array::from_fn(|i| {
            let at = n * FRAME + i;
            let spoken = at % 144_000 < 72_000 && at % 14_400 < 9_600;
            let pulse = if spoken && at.is_multiple_of(400) { 1.0 } else { 0.0 };
            let mut sum = 0.0;
            for (state, hz) in filter.iter_mut().zip([600.0, 1_700.0]) {
                let out = pulse + 2.0 * 0.985 * (hz * std::f32::consts::TAU / 48_000.0).cos() * state[0]
                    - 0.985 * 0.985 * state[1];
                *state = [out, state[0]];
                sum += out;
            }
            sum * 0.1
        })
    }

    /// How much of speech is found, and how much of what is no speech is taken for it, at `snr_db`.
    fn found(snr_db: f32) -> (f32, f32) {
        let (mut activity, mut seed, mut filter) = (Activity::new(), 7, [[0.0; 2]; 2]);
        let frames: Vec<_> = (0..1_500).map(|n| talk(n, &mut filter)).collect();
        let spoken = |n: usize| n % 300 < 150 && n % 30 < 20;
        let power: f32 = frames.iter().flatten().map(|s| s * s).sum::<f32>() / (1_500 * FRAME) as f32 * 3.0;
        let noise = (power * 3.0).sqrt() * 10_f32.powf(-snr_db / 20.0);
        let [mut hits, mut said, mut wrong, mut silent] = [0.0_f32; 4];
        for (n, mut frame) in frames.into_iter().enumerate() {
            let hiss = hiss(&mut seed);
            frame.iter_mut().zip(hiss).for_each(|(s, hiss)| *s += hiss * noise);
            let active = f32::from(u8::from(activity.process(&frame)));
            if n < 300 {
                continue;
            }
            if spoken(n) {
                (hits, said) = (hits + active, said + 1.0);
            } else if n % 300 > 180 {
                (wrong, silent) = (wrong + active, silent + 1.0);
            }
        }
        (hits / said, wrong / silent)
    }

    #[test]
    fn speech_is_found_in_noise_and_noise_is_not_taken_for_it() {
        for (snr_db, at_least) in [(20.0, 0.9), (10.0, 0.9), (5.0, 0.8)] {
            let (hits, wrong) = found(snr_db);
            assert!(hits > at_least && wrong < 0.05, "{snr_db} dB: {hits} found, {wrong} wrong");
        }
    }

    #[test]
    fn silence_and_a_fan_that_is_switched_on_are_no_speech_for_long() {
        let (mut activity, mut seed) = (Activity::new(), 1);
        assert!((0..100).all(|_| !activity.process(&[0.0; FRAME])));
        let on = (0..600).filter(|_| activity.process(&hiss(&mut seed).map(|s| s * 0.02))).count();
        assert!(on < 200, "{on} frames");
        assert!((0..200).filter(|_| activity.process(&hiss(&mut seed).map(|s| s * 0.02))).count() < 10);
    }
}
