//! What leaves a loudspeaker whose clock, buffers and volume are not the microphones'.

use crate::room::RATE_HZ;
use crate::sinc::Sinc;

/// From the samples that are given to a speaker to the sound, in samples of the microphones' clock.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlayClock {
    /// How much faster than the microphones' clock the speaker's is, parts per million.
    pub drift_ppm: f64,
    /// Between giving a sample and its sound, seconds.
    pub delay_s: f64,
    /// From each time on (seconds, rising), so much more delay (seconds; negative: less).
    pub jumps: Vec<(f64, f64)>,
}

impl PlayClock {
    /// The delay at `time_s`, seconds.
    pub fn delay_at(&self, time_s: f64) -> f64 {
        self.delay_s
            + self.jumps.iter().filter(|(from, _)| *from <= time_s).map(|(_, more)| more).sum::<f64>()
    }

    /// How many samples the speaker has taken when the microphones have heard `heard` samples.
    pub fn taken(&self, heard: usize) -> f64 {
        heard as f64 * (1.0 + self.drift_ppm * 1e-6)
    }

    /// What sounds, `length` samples of the microphones' clock, when `given` is played.
    pub fn play(&self, given: &[f32], length: usize) -> Vec<f32> {
        let table = Sinc::new(1.0);
        let whole = |place: f64| given.get(place as usize).copied().unwrap_or(0.0);
        (0..length)
            .map(|i| {
                let place = self.taken(i) - self.delay_at(i as f64 / RATE_HZ) * RATE_HZ;
                if place < 0.0 {
                    0.0
                } else if place.fract() == 0.0 {
                    whole(place)
                } else {
                    table.at(given, place)
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, length: usize) -> Vec<f32> {
        (0..length).map(|i| (std::f64::consts::TAU * hz * i as f64 / RATE_HZ).sin() as f32).collect()
    }

    #[test]
    fn a_fast_speaker_plays_a_tone_higher_and_nothing_else() {
        let clock = PlayClock { drift_ppm: 250.0, delay_s: 0.0101, ..PlayClock::default() };
        let sound = clock.play(&tone(3_000.0, 60_000), 48_000);
        for i in (1_000..47_000).step_by(97) {
            let at = (i as f64 * 1.00025 - 0.0101 * RATE_HZ) / RATE_HZ;
            let expected = (std::f64::consts::TAU * 3_000.0 * at).sin() as f32;
            assert!((sound[i] - expected).abs() < 1e-4, "{i}: {} {expected}", sound[i]);
        }
    }

    #[test]
    fn a_jump_repeats_or_leaves_out_samples() {
        let given: Vec<f32> = (0..48_000).map(|i| i as f32).collect();
        let clock = PlayClock { jumps: vec![(0.5, 0.06)], ..PlayClock::default() };
        let sound = clock.play(&given, 48_000);
        assert_eq!((sound[23_999], sound[24_000]), (23_999.0, 24_000.0 - 2_880.0));
    }
}
