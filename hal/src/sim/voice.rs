//! What is said in the virtual room: synthetic speech, sentence after sentence, never the same twice.
//!
//! A source and filter model (G. Fant, "Acoustic Theory of Speech Production"): a pulse train or noise
//! through three resonances, in syllables, words and sentences with pauses.

use super::RATE_HZ;

const RATE: f32 = RATE_HZ as f32;
/// First three formants in Hz of five vowels: a, e, i, o, u.
const VOWELS: [[f32; 3]; 5] = [
    [730.0, 1090.0, 2440.0],
    [530.0, 1840.0, 2480.0],
    [290.0, 2250.0, 2950.0],
    [570.0, 840.0, 2410.0],
    [320.0, 900.0, 2240.0],
];

/// Small pseudo-random numbers for scenes and sounds (splitmix64), the same for the same seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// 0.0..1.0.
    pub(super) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// `0..limit`.
    pub(super) fn below(&mut self, limit: u8) -> u8 {
        (self.unit() * f32::from(limit)) as u8
    }

    /// A colour with luma within the given levels.
    pub(super) fn colour(&mut self, darkest: u8, brightest: u8) -> [u8; 3] {
        [darkest + self.below(brightest - darkest), 88 + self.below(80), 88 + self.below(80)]
    }

    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }
}

/// What the voice does for a while.
#[derive(Clone, Copy)]
enum Sound {
    Vowel { from: [f32; 3], to: [f32; 3], pitch_hz: f32, fall: f32 },
    Hiss { formant_hz: f32 },
    Pause,
}

/// A resonance of the second order.
#[derive(Default)]
struct Resonance {
    a: f32,
    b: f32,
    gain: f32,
    past: [f32; 2],
}

impl Resonance {
    fn tune(&mut self, frequency_hz: f32, bandwidth_hz: f32) {
        let radius = (-std::f32::consts::PI * bandwidth_hz / RATE).exp();
        let angle = std::f32::consts::TAU * frequency_hz / RATE;
        self.a = 2.0 * radius * angle.cos();
        self.b = -radius * radius;
        self.gain = (1.0 - radius) * (1.0 - 2.0 * radius * (2.0 * angle).cos() + radius * radius).sqrt();
    }

    fn filter(&mut self, input: f32) -> f32 {
        let out = self.gain * input + self.a * self.past[0] + self.b * self.past[1];
        self.past = [out, self.past[0]];
        out
    }
}

/// One talker.
pub(super) struct Voice {
    random: Random,
    pitch_hz: f32,
    sound: Sound,
    at: usize,
    length: usize,
    /// Syllables until the word and the sentence end.
    word: u32,
    sentence: u32,
    phase: f32,
    formants: [f32; 3],
    resonances: [Resonance; 3],
    loudness: f32,
}

impl Voice {
    /// A talker of the pitch and the words that `seed` gives.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5EED_0F5A_1D00_0000);
        let pitch_hz = random.between(95.0, 210.0);
        Self {
            random,
            pitch_hz,
            sound: Sound::Pause,
            at: 0,
            length: 0,
            word: 3,
            sentence: 9,
            phase: 0.0,
            formants: VOWELS[0],
            resonances: Default::default(),
            loudness: 0.0,
        }
    }

    /// Says the next `samples`, mono at 48 kHz.
    pub(super) fn say(&mut self, samples: &mut [f32]) {
        for sample in samples {
            if self.at == self.length {
                self.begin_next();
            }
            let progress = self.at as f32 / self.length as f32;
            // Formants glide; 1 ms steps are fine enough for the ear.
            if self.at.is_multiple_of(48) {
                self.tune(progress);
            }
            self.at += 1;
            *sample = self.sample(progress);
        }
    }

    fn begin_next(&mut self) {
        let random = &mut self.random;
        let (sound, seconds) = match self.sound {
            Sound::Hiss { .. } => {
                let vowel = VOWELS[usize::from(random.below(5))];
                let to = vowel.map(|f| f * random.between(0.92, 1.08));
                let pitch_hz = self.pitch_hz * random.between(0.85, 1.3);
                let fall = random.between(0.7, 1.05);
                (Sound::Vowel { from: self.formants, to, pitch_hz, fall }, random.between(0.09, 0.24))
            }
            Sound::Vowel { .. } if self.sentence == 0 => {
                self.sentence = 6 + u32::from(random.below(8));
                (Sound::Pause, random.between(0.35, 0.9))
            }
            Sound::Vowel { .. } if self.word == 0 => {
                self.word = 1 + u32::from(random.below(3));
                (Sound::Pause, random.between(0.03, 0.1))
            }
            Sound::Vowel { .. } | Sound::Pause => {
                self.word = self.word.saturating_sub(1);
                self.sentence = self.sentence.saturating_sub(1);
                let seconds = random.between(0.03, 0.09);
                (Sound::Hiss { formant_hz: random.between(2200.0, 6500.0) }, seconds)
            }
        };
        self.loudness = self.random.between(0.7, 1.0);
        (self.sound, self.at, self.length) = (sound, 0, (seconds * RATE) as usize);
    }

    fn tune(&mut self, progress: f32) {
        match self.sound {
            Sound::Vowel { from, to, .. } => {
                let glide = (progress * 3.0).min(1.0);
                for (now, (from, to)) in self.formants.iter_mut().zip(from.into_iter().zip(to)) {
                    *now = from + (to - from) * glide;
                }
                for ((resonance, &formant), width) in
                    self.resonances.iter_mut().zip(&self.formants).zip([70.0, 100.0, 150.0])
                {
                    resonance.tune(formant, width);
                }
            }
            Sound::Hiss { formant_hz } => self.resonances[2].tune(formant_hz, 900.0),
            Sound::Pause => {}
        }
    }

    fn sample(&mut self, progress: f32) -> f32 {
        let noise = self.random.unit() * 2.0 - 1.0;
        // Rises and falls without a click.
        let swell = (progress * 6.0).min((1.0 - progress) * 4.0).clamp(0.0, 1.0) * self.loudness;
        match self.sound {
            Sound::Pause => 0.0,
            Sound::Hiss { .. } => self.resonances[2].filter(noise * swell) * 0.9,
            Sound::Vowel { pitch_hz, fall, .. } => {
                let pitch = pitch_hz * (1.0 + (fall - 1.0) * progress);
                self.phase += pitch / RATE;
                if self.phase >= 1.0 {
                    self.phase -= 1.0;
                }
                // A glottal pulse: opens slowly, shuts fast; and breath.
                let open = self.phase / 0.6;
                let pulse = if open < 1.0 { open * open * (1.0 - open) * 6.75 } else { 0.0 };
                let source = (pulse - 0.33 + noise * 0.04) * swell;
                let [low, middle, high] = &mut self.resonances;
                (low.filter(source) + 0.7 * middle.filter(source) + 0.5 * high.filter(source)) * 0.9
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(seed: u64, seconds: usize) -> Vec<f32> {
        let mut samples = vec![0.0; RATE_HZ as usize * seconds];
        Voice::new(seed).say(&mut samples);
        samples
    }

    fn levels(samples: &[f32]) -> Vec<f32> {
        samples.chunks(960).map(|c| (c.iter().map(|s| s * s).sum::<f32>() / 960.0).sqrt()).collect()
    }

    #[test]
    fn it_talks_at_a_natural_level_with_pauses() {
        for seed in 0..8 {
            let samples = said(seed, 10);
            let peak = samples.iter().fold(0.0_f32, |p, s| p.max(s.abs()));
            assert!((0.1..0.9).contains(&peak), "peak {peak} of seed {seed}");
            let levels = levels(&samples);
            let loud = levels.iter().filter(|&&l| l > 0.02).count();
            let quiet = levels.iter().filter(|&&l| l < 0.001).count();
            assert!(loud * 3 > levels.len(), "talks {loud} of {}", levels.len());
            assert!(quiet * 20 > levels.len(), "pauses {quiet} of {}", levels.len());
        }
    }

    #[test]
    fn the_same_seed_says_the_same_and_another_does_not() {
        assert_eq!(said(3, 1), said(3, 1));
        assert_ne!(said(3, 1), said(4, 1));
    }
}
