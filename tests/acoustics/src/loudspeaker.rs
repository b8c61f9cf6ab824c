//! Small loudspeakers are not linear.

use crate::room::RATE_HZ;

/// How a speaker bends what it plays.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loudspeaker {
    /// Not at all.
    #[default]
    Linear,
    /// A cone at its limits: its excursion (the signal below some 500 Hz counts most) is asymmetric (second order)
    /// and limited (soft).
    Small {
        /// Level at which it gives in: full scale is 1.0. 0.3 is a bad one, 1.0 a good one.
        limit: f32,
        /// Share of the second order at the limit: 0.1 is 10 % distortion.
        second_order: f32,
    },
}

impl Loudspeaker {
    /// A cheap one, driven near its limits: some 10 % harmonic distortion for speech at full level.
    pub const CHEAP: Self = Self::Small { limit: 0.5, second_order: 0.1 };

    /// What it makes of `signal`, in place.
    pub fn sound(self, signal: &mut [f32]) {
        let Self::Small { limit, second_order } = self else { return };
        // The bend works on the signal with its low notes raised, and the inverse filter takes that back: so low notes
        // modulate high ones, as a cone does.
        let pole = (-std::f64::consts::TAU * 500.0 / RATE_HZ).exp() as f32;
        let mut low = 0.0;
        let mut undone = 0.0;
        for sample in signal {
            low = *sample + pole * (low - *sample);
            let excursion = *sample + low;
            let x = excursion / limit;
            let bent = limit * (x.tanh() + second_order * (x * x).min(1.0));
            // bent = y + lowpass(y), where lowpass(y) = (1 - pole) y + pole * undone.
            let y = (bent - pole * undone) / (2.0 - pole);
            undone = y + pole * (undone - y);
            *sample = y;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_sound_is_not_bent_and_a_loud_one_is() {
        let distortion = |level: f32| {
            let step = std::f64::consts::TAU * 480.0 / RATE_HZ;
            let mut signal: Vec<f32> = (0..48_000).map(|i| level * (step * i as f64).sin() as f32).collect();
            Loudspeaker::CHEAP.sound(&mut signal);
            let bin = |harmonic: f64| {
                let (mut re, mut im) = (0.0, 0.0);
                for (i, sample) in signal[24_000..].iter().enumerate() {
                    let angle = step * harmonic * (24_000 + i) as f64;
                    re += f64::from(*sample) * angle.cos();
                    im += f64::from(*sample) * angle.sin();
                }
                re.hypot(im)
            };
            (2..6).map(|harmonic| bin(f64::from(harmonic)).powi(2)).sum::<f64>().sqrt() / bin(1.0)
        };
        assert!(distortion(0.01) < 0.01, "{}", distortion(0.01));
        assert!((0.05..0.4).contains(&distortion(0.4)), "{}", distortion(0.4));
    }
}
