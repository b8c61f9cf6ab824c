//! The equaliser of a board's profile: what its microphones or its speaker colour is taken back.

use crate::RATE_HZ;
use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// The most bands of an equaliser.
pub const MAX_BANDS: usize = 8;

/// One filter of second order (R. Bristow-Johnson, Audio EQ Cookbook).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Band {
    /// Raises or lowers what is about a frequency.
    Peaking {
        /// The middle, 20..=20000 Hz.
        hz: f32,
        /// There, -15..=15 dB.
        gain_db: f32,
        /// Middle frequency over width, 0.1..=10.
        q: f32,
    },
    /// Raises or lowers what is below a frequency.
    LowShelf {
        /// Half of the gain in dB is reached here, 20..=20000 Hz.
        hz: f32,
        /// Far below, -15..=15 dB.
        gain_db: f32,
    },
    /// Raises or lowers what is above a frequency.
    HighShelf {
        /// Half of the gain in dB is reached here, 20..=20000 Hz.
        hz: f32,
        /// Far above, -15..=15 dB.
        gain_db: f32,
    },
    /// Takes away what is below a frequency, 12 dB an octave (Butterworth).
    HighPass {
        /// -3 dB here, 20..=20000 Hz.
        hz: f32,
    },
    /// Takes away what is above a frequency, 12 dB an octave (Butterworth).
    LowPass {
        /// -3 dB here, 20..=20000 Hz.
        hz: f32,
    },
}

/// What is wrong with a band.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BandError {
    /// There are too many.
    #[error("the equaliser has {bands} bands; {MAX_BANDS} are possible")]
    TooMany {
        /// How many.
        bands: usize,
    },
    /// A value is not within its range.
    #[error("band {band} of the equaliser: {field} is {value}; set {least} to {most}")]
    Range {
        /// Which band, from 1.
        band: usize,
        /// Which field.
        field: &'static str,
        /// Its value.
        value: f32,
        /// The least possible.
        least: f32,
        /// The most possible.
        most: f32,
    },
}

/// Up to [`MAX_BANDS`] valid bands; in a profile a list of [`Band`]. Without any, nothing is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<Band>", into = "Vec<Band>")]
pub struct EqualizerSettings {
    bands: [Option<Band>; MAX_BANDS],
}

impl EqualizerSettings {
    /// The settings of these bands.
    ///
    /// # Errors
    /// [`BandError`] says which band has what.
    pub fn new(bands: &[Band]) -> Result<Self, BandError> {
        if bands.len() > MAX_BANDS {
            return Err(BandError::TooMany { bands: bands.len() });
        }
        let mut settings = Self::default();
        for (i, (to, band)) in settings.bands.iter_mut().zip(bands).enumerate() {
            band.check(i + 1)?;
            *to = Some(*band);
        }
        Ok(settings)
    }

    /// Its bands, in their order.
    pub fn bands(&self) -> impl Iterator<Item = Band> {
        self.bands.into_iter().flatten()
    }
}

impl TryFrom<Vec<Band>> for EqualizerSettings {
    type Error = BandError;

    fn try_from(bands: Vec<Band>) -> Result<Self, BandError> {
        Self::new(&bands)
    }
}

impl From<EqualizerSettings> for Vec<Band> {
    fn from(settings: EqualizerSettings) -> Self {
        settings.bands().collect()
    }
}

impl Band {
    fn check(&self, band: usize) -> Result<(), BandError> {
        let within = |field, value: f32, least, most| {
            // What is no number is in no range.
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(BandError::Range { band, field, value, least, most })
            }
        };
        let hz = |hz| within("hz", hz, 20.0, 20_000.0);
        let gain = |gain_db| within("gain_db", gain_db, -15.0, 15.0);
        match *self {
            Self::Peaking { hz: middle, gain_db, q } => {
                hz(middle).and(gain(gain_db)).and(within("q", q, 0.1, 10.0))
            }
            Self::LowShelf { hz: corner, gain_db } | Self::HighShelf { hz: corner, gain_db } => {
                hz(corner).and(gain(gain_db))
            }
            Self::HighPass { hz: corner } | Self::LowPass { hz: corner } => hz(corner),
        }
    }

    /// Its coefficients b0, b1, b2, a1, a2; a0 is 1.
    fn coefficients(&self) -> [f64; 5] {
        let (hz, gain_db, q) = match *self {
            Self::Peaking { hz, gain_db, q } => (hz, gain_db, f64::from(q)),
            Self::LowShelf { hz, gain_db } | Self::HighShelf { hz, gain_db } => (hz, gain_db, FRAC_1_SQRT_2),
            Self::HighPass { hz } | Self::LowPass { hz } => (hz, 0.0, FRAC_1_SQRT_2),
        };
        let angle = TAU * f64::from(hz) / f64::from(RATE_HZ);
        let (cos, alpha) = (angle.cos(), angle.sin() / (2.0 * q));
        let amplitude = 10_f64.powf(f64::from(gain_db) / 40.0);
        let (more, less) = (amplitude + 1.0, amplitude - 1.0);
        let root = 2.0 * amplitude.sqrt() * alpha;
        let ([b0, b1, b2], [a0, a1, a2]) = match self {
            Self::Peaking { .. } => (
                [1.0 + alpha * amplitude, -2.0 * cos, 1.0 - alpha * amplitude],
                [1.0 + alpha / amplitude, -2.0 * cos, 1.0 - alpha / amplitude],
            ),
            Self::LowShelf { .. } => (
                [more - less * cos + root, 2.0 * (less - more * cos), more - less * cos - root]
                    .map(|b| b * amplitude),
                [more + less * cos + root, -2.0 * (less + more * cos), more + less * cos - root],
            ),
            Self::HighShelf { .. } => (
                [more + less * cos + root, -2.0 * (less + more * cos), more + less * cos - root]
                    .map(|b| b * amplitude),
                [more - less * cos + root, 2.0 * (less - more * cos), more - less * cos - root],
            ),
            Self::HighPass { .. } => {
                ([(1.0 + cos) / 2.0, -(1.0 + cos), (1.0 + cos) / 2.0], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
            }
            Self::LowPass { .. } => {
                ([(1.0 - cos) / 2.0, 1.0 - cos, (1.0 - cos) / 2.0], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
            }
        };
        [b0, b1, b2, a1, a2].map(|coefficient| coefficient / a0)
    }
}

/// The filters of one channel, without delay. Nothing is allocated once it is built.
#[derive(Clone, Debug)]
pub struct Equalizer {
    filters: [([f64; 5], [f64; 2]); MAX_BANDS],
    used: usize,
}

impl Equalizer {
    /// Filters at 48 kHz with nothing in their memory.
    pub fn new(settings: &EqualizerSettings) -> Self {
        let mut filters = [([0.0; 5], [0.0; 2]); MAX_BANDS];
        let mut used = 0;
        for (filter, band) in filters.iter_mut().zip(settings.bands()) {
            filter.0 = band.coefficients();
            used += 1;
        }
        Self { filters, used }
    }

    /// Forgets what it heard.
    pub fn clear(&mut self) {
        self.filters.iter_mut().for_each(|(_, state)| *state = [0.0; 2]);
    }

    /// Filters `samples` of one channel in place, any number of them. What is no number counts as silence.
    pub fn process(&mut self, samples: &mut [f32]) {
        for ([b0, b1, b2, a1, a2], state) in &mut self.filters[..self.used] {
            for sample in samples.iter_mut() {
                let x = if sample.is_finite() { f64::from(*sample) } else { 0.0 };
                let y = *b0 * x + state[0];
                *state = [*b1 * x - *a1 * y + state[1], *b2 * x - *a2 * y];
                *sample = y as f32;
            }
            // What is too small for any ear is slow to reckon with.
            state.iter_mut().filter(|s| s.abs() < 1e-30).for_each(|s| *s = 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// Gain in dB for a tone, measured.
    fn gain(bands: &[Band], hz: f32) -> f32 {
        let mut equalizer = Equalizer::new(&EqualizerSettings::new(bands).unwrap());
        let tone: Vec<f32> =
            (0..96_000).map(|i| (TAU * f64::from(i) * f64::from(hz) / 48_000.0).sin() as f32 * 0.5).collect();
        let mut out = tone.clone();
        out.chunks_mut(480).for_each(|frame| equalizer.process(frame));
        let power = |samples: &[f32]| samples[48_000..].iter().map(|s| f64::from(s * s)).sum::<f64>();
        (10.0 * (power(&out) / power(&tone)).log10()) as f32
    }

    #[test]
    fn each_kind_does_what_it_says_at_its_frequency_and_nothing_far_from_it() {
        let peak = [Band::Peaking { hz: 1_000.0, gain_db: 6.0, q: 1.0 }];
        let low = [Band::LowShelf { hz: 300.0, gain_db: -8.0 }];
        let high = [Band::HighShelf { hz: 4_000.0, gain_db: 5.0 }];
        let (high_pass, low_pass) = ([Band::HighPass { hz: 200.0 }], [Band::LowPass { hz: 7_000.0 }]);
        for (bands, hz, db) in [
            (&peak, 1_000.0, 6.0),
            (&peak, 30.0, 0.0),
            (&peak, 20_000.0, 0.0),
            (&low, 20.0, -8.0),
            (&low, 300.0, -4.0),
            (&low, 10_000.0, 0.0),
            (&high, 20_000.0, 5.0),
            (&high, 4_000.0, 2.5),
            (&high, 100.0, 0.0),
            (&high_pass, 200.0, -3.01),
            (&high_pass, 50.0, -24.1),
            (&high_pass, 5_000.0, 0.0),
            (&low_pass, 7_000.0, -3.01),
            (&low_pass, 200.0, 0.0),
        ] {
            let got = gain(bands, hz);
            assert!((got - db).abs() < 0.15, "{bands:?} at {hz} Hz: {got} dB");
        }
        let both = [peak[0], low[0]];
        assert!((gain(&both, 1_000.0) - gain(&peak, 1_000.0) - gain(&low, 1_000.0)).abs() < 0.01);
    }

    #[test]
    fn without_bands_no_bit_changes() {
        let mut equalizer = Equalizer::new(&EqualizerSettings::default());
        let mut frame = [0.1, -0.2, f32::MIN_POSITIVE, 1.5];
        equalizer.process(&mut frame);
        assert_eq!(frame, [0.1, -0.2, f32::MIN_POSITIVE, 1.5]);
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_the_fix() {
        let error = EqualizerSettings::new(&[Band::HighPass { hz: 100.0 }, Band::LowPass { hz: 24_000.0 }]);
        assert_eq!(error.unwrap_err().to_string(), "band 2 of the equaliser: hz is 24000; set 20 to 20000");
        let nothing = Band::Peaking { hz: 100.0, gain_db: f32::NAN, q: 1.0 };
        assert!(EqualizerSettings::new(&[nothing]).is_err());
        assert!(EqualizerSettings::new(&[Band::Peaking { hz: 100.0, gain_db: 1.0, q: 0.0 }]).is_err());
        assert!(EqualizerSettings::new(&[Band::HighPass { hz: 100.0 }; 9]).is_err());
    }

    #[test]
    fn a_profile_names_its_bands_and_is_told_what_is_wrong() {
        let read = |text: &str| toml::from_str::<crate::VoiceOptions>(text).map_err(|e| e.to_string());
        let text = "equalizer = [{ kind = 'peaking', hz = 250, gain_db = -3.5, q = 1.4 }, { kind = 'low_pass', hz = 9000 }]";
        let bands: Vec<Band> = read(text).unwrap().equalizer.bands().collect();
        let peak = Band::Peaking { hz: 250.0, gain_db: -3.5, q: 1.4 };
        assert_eq!(bands, [peak, Band::LowPass { hz: 9_000.0 }]);
        let error = read("equalizer = [{ kind = 'low_pass', hz = 5 }]").unwrap_err();
        assert!(error.contains("hz is 5; set 20 to 20000"), "{error}");
        let error = read("equalizer = [{ kind = 'low_pass', hz = 500, q = 3 }]").unwrap_err();
        assert!(error.contains("unknown field `q`"), "{error}");
        assert!(read("equalizer = [{ kind = 'middle', hz = 500 }]").is_err());
    }

    #[test]
    fn what_is_no_number_is_forgotten() {
        let band = Band::Peaking { hz: 100.0, gain_db: 15.0, q: 10.0 };
        let mut equalizer = Equalizer::new(&EqualizerSettings::new(&[band]).unwrap());
        equalizer.process(&mut [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0]);
        let mut rest = [0.0; 48_000];
        equalizer.process(&mut rest);
        assert!(rest.iter().all(|s| s.is_finite()) && rest[47_999].abs() < 1e-6);
    }

    fn band() -> impl Strategy<Value = Band> {
        let (hz, gain) = (20.0_f32..=20_000.0, -15.0_f32..=15.0);
        prop_oneof![
            (hz.clone(), gain.clone(), 0.1_f32..=10.0).prop_map(|(hz, gain_db, q)| Band::Peaking {
                hz,
                gain_db,
                q
            }),
            (hz.clone(), gain.clone()).prop_map(|(hz, gain_db)| Band::LowShelf { hz, gain_db }),
            (hz.clone(), gain).prop_map(|(hz, gain_db)| Band::HighShelf { hz, gain_db }),
            hz.clone().prop_map(|hz| Band::HighPass { hz }),
            hz.prop_map(|hz| Band::LowPass { hz }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_is_accepted_dies_away(bands in prop::collection::vec(band(), 1..=MAX_BANDS)) {
            let mut equalizer = Equalizer::new(&EqualizerSettings::new(&bands).unwrap());
            let mut sound = [0.0_f32; 48_000];
            for (i, sample) in sound[..4_800].iter_mut().enumerate() {
                *sample = if i % 97 < 48 { 1.0 } else { -1.0 };
            }
            equalizer.process(&mut sound);
            prop_assert!(sound.iter().all(|s| s.is_finite()));
            let late = sound[43_200..].iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
            let loud = sound[..4_800].iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
            prop_assert!(late < 0.3 * loud + 1e-3, "{late} of {loud}");
        }
    }
}
