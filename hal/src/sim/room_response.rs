//! How the virtual room carries sound to each microphone.

use super::{RATE_HZ, voice::Random};
use crate::microphone::Position;

/// Metres a second.
const SPEED_OF_SOUND: f32 = 343.0;
/// Where the talker sits: a bit to the right, at arm's length.
const TALKER: Position = Position { x: 0.4, y: 0.9, z: 0.1 };
/// Time from the speaker to the microphones with what a sound card adds, in samples: 10 ms.
const ECHO_DELAY: usize = 480;
/// Loudness of the direct echo.
const ECHO_GAIN: f32 = 0.22;
/// Reflections of the speaker, over the 40 ms after the direct echo.
const REFLECTIONS: usize = 24;
const REVERBERATION: usize = 1920;
/// Samples before the present that the interpolation needs.
pub(super) const LOOK_BACK: usize = 64;

/// What one microphone hears of the talker and of the speaker.
pub(super) struct Ear {
    /// Whole samples that the talker's sound comes later than at the talker, and weights of the four
    /// samples around the fraction (third order Lagrange).
    delay: usize,
    weights: [f32; 4],
    /// Delays in samples and gains of the speaker's sound.
    echoes: Vec<(u64, f32)>,
}

impl Ear {
    /// For each microphone, its ear. Only differences of the talker's distance count, so that the nearest
    /// microphone hears the talker at once.
    pub(super) fn of_array(microphones: &[Position], seed: u64) -> Vec<Self> {
        let nearest = microphones.iter().map(|m| distance(*m, TALKER)).fold(f32::INFINITY, f32::min);
        let ear = |microphone: &Position| {
            let later = (distance(*microphone, TALKER) - nearest) / SPEED_OF_SOUND * RATE_HZ as f32;
            // One sample more, as the interpolation also needs the sample after.
            let later = (later + 1.0).min((LOOK_BACK - 4) as f32);
            let fraction = later.fract();
            Self { delay: later as usize, weights: lagrange(fraction), echoes: echoes(*microphone, seed) }
        };
        microphones.iter().map(ear).collect()
    }

    /// The talker's sound at sample `at` of `dry`, where at least [`LOOK_BACK`] samples come before.
    pub(super) fn talker(&self, dry: &[f32], at: usize) -> f32 {
        let newest = at - self.delay + 1;
        self.weights.iter().enumerate().map(|(i, weight)| weight * dry[newest - i]).sum()
    }

    /// The speaker's sound at sample `at`, where `played` gives what it played.
    pub(super) fn echo(&self, at: u64, played: impl Fn(u64) -> f32) -> f32 {
        self.echoes.iter().map(|&(delay, gain)| at.checked_sub(delay).map_or(0.0, &played) * gain).sum()
    }
}

/// Weights of the samples at -1, 0, 1 and 2 for the value `fraction` of the way from 0 to 1.
fn lagrange(fraction: f32) -> [f32; 4] {
    let d = fraction;
    [
        -d * (d - 1.0) * (d - 2.0) / 6.0,
        (d + 1.0) * (d - 1.0) * (d - 2.0) / 2.0,
        -(d + 1.0) * d * (d - 2.0) / 2.0,
        (d + 1.0) * d * (d - 1.0) / 6.0,
    ]
}

fn echoes(microphone: Position, seed: u64) -> Vec<(u64, f32)> {
    // The speaker stands below the array, so its distance hardly differs; reflections come from all sides.
    let mut random = Random::new(seed ^ 0xEC40);
    let direct = (ECHO_DELAY as u64 + (microphone.x.abs() * 20.0) as u64, ECHO_GAIN);
    let reflection = |_| {
        let later = random.unit() * REVERBERATION as f32;
        let side = (random.unit() - 0.5) * 2.0 * microphone.x / SPEED_OF_SOUND * RATE_HZ as f32;
        let sign = if random.unit() < 0.5 { -1.0 } else { 1.0 };
        let decay = (-later / REVERBERATION as f32 * 4.0).exp();
        ((ECHO_DELAY as f32 + 24.0 + later + side).max(0.0) as u64, sign * ECHO_GAIN * 0.35 * decay)
    };
    std::iter::once(direct).chain((0..REFLECTIONS).map(reflection)).collect()
}

fn distance(a: Position, b: Position) -> f32 {
    ((a.x - b.x).powi(2) + (a.y - b.y).powi(2) + (a.z - b.z).powi(2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::linear_array;

    /// Delay at which `heard` fits `dry` best, in hundredths of a sample.
    fn delay_of(ear: &Ear) -> i32 {
        let tone = |t: f32| (t * 0.11).sin();
        let dry: Vec<f32> = (0..400).map(|i| tone(i as f32)).collect();
        let error = |delay: i32| -> f32 {
            (LOOK_BACK..390)
                .map(|at| (ear.talker(&dry, at) - tone(at as f32 - delay as f32 / 100.0)).powi(2))
                .sum()
        };
        (0..1500).min_by(|a, b| error(*a).total_cmp(&error(*b))).unwrap_or_default()
    }

    #[test]
    fn a_microphone_farther_from_the_talker_hears_later_by_the_way_of_the_sound() {
        let array = linear_array(4, 0.065);
        let delays: Vec<i32> = Ear::of_array(&array, 1).iter().map(delay_of).collect();
        assert_eq!(delays[3], 100, "the nearest hears after one sample");
        let way = (distance(array[0], TALKER) - distance(array[3], TALKER)) / SPEED_OF_SOUND * 48_000.0;
        assert!((delays[0] - 100 - (way * 100.0) as i32).abs() <= 2, "{delays:?}, way {way}");
        assert!(delays.windows(2).all(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn the_echo_comes_after_ten_milliseconds_and_fades_within_sixty() {
        for ear in Ear::of_array(&linear_array(4, 0.065), 9) {
            let click = |at: u64| f32::from(u8::from(at == 1000));
            let heard: Vec<f32> = (1000..5000).map(|at| ear.echo(at, click)).collect();
            assert!(heard[..480].iter().all(|&s| s == 0.0));
            assert!(heard[480..482].iter().any(|&s| s > 0.2));
            assert!(heard[2880..].iter().all(|&s| s == 0.0));
            let energy: f32 = heard.iter().map(|s| s * s).sum();
            assert!((0.04..0.2).contains(&energy), "{energy}");
        }
    }
}
