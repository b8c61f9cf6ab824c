//! From a case and what an engine made of it to a figure.

use crate::cases::{JUMP_AT_S, TALK_AT_S};
use crate::engines::Processed;
use crate::estoi::estoi;
use crate::room::RATE_HZ;
use crate::scene::Heard;
use crate::scores::{aligned, energy, level_db, window};

/// The longest delay of an engine that is looked for, samples: 60 ms.
const MOST_LATE: usize = 2_880;

/// How much weaker the voice is than the microphones in the mean, in a window of seconds, dB: ERLE where only the far
/// end talks.
pub fn removed_db(heard: &Heard, voice: &[f32], from_s: f64, to_s: f64) -> f64 {
    let powers = heard.microphones.iter().map(|plane| {
        let part = window(plane, from_s, to_s);
        energy(part) / part.len().max(1) as f64
    });
    let mean = powers.sum::<f64>() / heard.microphones.len().max(1) as f64;
    (10.0 * mean.max(1e-20).log10() - level_db(window(voice, from_s, to_s))).min(100.0)
}

/// Echo removed: after 3 s (to the jump, if there is one).
pub fn after_3s_db(heard: &Heard, out: &Processed) -> f64 {
    removed_db(heard, &out.voice, 3.0, f64::INFINITY)
}

/// Echo removed in seconds 1 to 3.
pub fn from_1_to_3s_db(heard: &Heard, out: &Processed) -> f64 {
    removed_db(heard, &out.voice, 1.0, 3.0)
}

/// Echo removed in the two seconds that begin 2 s after the change.
pub fn after_jump_db(heard: &Heard, out: &Processed) -> f64 {
    removed_db(heard, &out.voice, JUMP_AT_S + 2.0, JUMP_AT_S + 4.0)
}

/// [`near_estoi`] in double talk, from one second after the near talker began.
pub fn double_talk_estoi(heard: &Heard, out: &Processed) -> Option<f64> {
    near_estoi(heard, out, TALK_AT_S + 1.0)
}

/// ESTOI of the voice against the near talker as the first microphone alone would hear him, from a second on.
pub fn near_estoi(heard: &Heard, out: &Processed, from_s: f64) -> Option<f64> {
    let from = (from_s * RATE_HZ) as usize;
    let near = heard.near.first()?.get(from..)?;
    let (near, voice) = aligned(near, out.voice.get(from..)?, MOST_LATE);
    estoi(near, voice)
}

/// How much the ratio of the wanted talker to all else is better in the voice than at the microphones, dB.
///
/// `with` and `against` are what an engine made of wanted + unwanted and of wanted - unwanted: half their sum is the
/// talker, half their difference the rest (Hagerman and Olofsson 2004). That holds as far as what the engine does follows
/// from powers. Levels are compared in thirds of an octave and weighted by how much each carries of what is understood
/// (ANSI S3.5, as in Greenberg et al. 1993): else the lowest notes decided alone.
pub fn ratio_gain_db(
    heard: &Heard,
    unwanted: &[Vec<f32>],
    with: &[f32],
    against: &[f32],
    from_s: f64,
) -> f64 {
    let (talker, rest) = (half(with, against, 1.0), half(with, against, -1.0));
    let (talker, rest) = (bands(window(&talker, from_s, 1e9)), bands(window(&rest, from_s, 1e9)));
    let mean = |planes: &[Vec<f32>]| {
        let mut sums = [1e-30; WEIGHTS.len()];
        for plane in planes {
            let add = bands(window(plane, from_s, 1e9));
            sums.iter_mut().zip(add).for_each(|(sum, add)| *sum += add);
        }
        sums
    };
    let (near, noise) = (mean(&heard.near), mean(unwanted));
    let gain = |band: usize| 10.0 * (talker[band] / rest[band].max(1e-30) / near[band] * noise[band]).log10();
    (0..WEIGHTS.len()).map(|band| WEIGHTS[band] * gain(band)).sum::<f64>() / WEIGHTS.iter().sum::<f64>()
}

/// The same as one ratio over all notes.
pub fn broadband_ratio_gain_db(
    heard: &Heard,
    unwanted: &[Vec<f32>],
    with: &[f32],
    against: &[f32],
    from_s: f64,
) -> f64 {
    let part = |signal: &[f32]| energy(window(signal, from_s, 1e9)).max(1e-30);
    let all = |planes: &[Vec<f32>]| planes.iter().map(|plane| part(plane)).sum::<f64>();
    10.0 * (part(&half(with, against, 1.0)) / part(&half(with, against, -1.0)) / all(&heard.near)
        * all(unwanted))
    .log10()
}

/// Half the sum (`sign` 1) or half the difference (-1) of two signals.
fn half(with: &[f32], against: &[f32], sign: f32) -> Vec<f32> {
    with.iter().zip(against).map(|(a, b)| 0.5 * (a + sign * b)).collect()
}

/// Importance of thirds of an octave from 160 Hz to 8 kHz (ANSI S3.5-1997, table 3).
const WEIGHTS: [f64; 18] = [
    0.0083, 0.0095, 0.0150, 0.0289, 0.0440, 0.0578, 0.0653, 0.0711, 0.0818, 0.0844, 0.0882, 0.0898, 0.0868,
    0.0844, 0.0771, 0.0527, 0.0364, 0.0185,
];

/// Power in each of those thirds.
fn bands(signal: &[f32]) -> [f64; WEIGHTS.len()] {
    let mut out = [1e-30; WEIGHTS.len()];
    let size = signal.len().next_power_of_two().max(2);
    let forward = realfft::RealFftPlanner::<f32>::new().plan_fft_forward(size);
    let mut time = vec![0.0; size];
    time[..signal.len()].copy_from_slice(signal);
    let mut spectrum = forward.make_output_vec();
    let _ = forward.process(&mut time, &mut spectrum);
    let bin_hz = RATE_HZ / size as f64;
    for (bin, value) in spectrum.iter().enumerate() {
        let third = 3.0 * (bin as f64 * bin_hz / 160.0).log2() + 0.5;
        if third >= 0.0 && (third as usize) < out.len() {
            out[third as usize] += f64::from(value.norm_sqr());
        }
    }
    out
}

/// `heard` with its unwanted parts turned round: what [`ratio_gain_db`] needs.
pub fn turned(heard: &Heard) -> Heard {
    let mut out = heard.clone();
    for (m, plane) in out.microphones.iter_mut().enumerate() {
        for (i, sample) in plane.iter_mut().enumerate() {
            *sample -= 2.0 * (heard.noise[m][i] + heard.others[m][i]);
        }
    }
    out
}

/// How different the levels of the two talkers of [`crate::cases::near_and_far`] are, dB: of the louder half of tenths of
/// a second, from 2 s after each begins.
pub fn gain_difference_db(voice: &[f32]) -> f64 {
    let loud = |from_s: f64, to_s: f64| {
        let mut powers: Vec<f64> = window(voice, from_s, to_s).chunks_exact(4_800).map(energy).collect();
        powers.sort_by(f64::total_cmp);
        let louder = &powers[powers.len() / 2..];
        louder.iter().sum::<f64>() / louder.len().max(1) as f64
    };
    10.0 * (loud(2.0, 6.0) / loud(8.0, 12.0).max(1e-20)).log10().abs()
}

/// The share of frames, percent, in which `directions` (one a frame, degrees) is within `most_deg` of `azimuth_deg`,
/// among those from `from_s` on in which the near talker is heard. A frame without a direction is a miss.
pub fn directions_within_percent(
    heard: &Heard,
    directions: &[Option<f64>],
    azimuth_deg: f64,
    most_deg: f64,
    from_s: f64,
) -> f64 {
    let Some(near) = heard.near.first() else { return 0.0 };
    let energies: Vec<f64> = near.chunks_exact(480).map(energy).collect();
    let loudest = energies.iter().copied().fold(0.0, f64::max);
    let first = (from_s * 100.0) as usize;
    let (mut all, mut right) = (0.0_f64, 0.0);
    for (energy, direction) in energies.iter().zip(directions).skip(first) {
        if *energy > loudest * 1e-2 {
            all += 1.0;
            let near =
                direction.is_some_and(|at| crate::scores::angle_between_deg(at, azimuth_deg) <= most_deg);
            right += f64::from(u8::from(near));
        }
    }
    100.0 * right / all.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clocks::PlayClock;
    use crate::random::Random;

    fn noise(seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..96_000).map(|_| random.normal() as f32 * 0.05).collect()
    }

    #[test]
    fn a_filter_that_halves_the_noise_gains_6_db() {
        let (near, fan) = (noise(1), noise(2));
        let sum = |share: f32| -> Vec<f32> { near.iter().zip(&fan).map(|(a, b)| a + share * b).collect() };
        let heard = Heard {
            microphones: vec![sum(1.0)],
            echo: vec![vec![0.0; 96_000]],
            near: vec![near.clone()],
            others: vec![vec![0.0; 96_000]],
            noise: vec![fan.clone()],
            played: vec![],
            clock: PlayClock::default(),
            geometry: vec![],
        };
        let wrong = turned(&heard).microphones[0].iter().zip(sum(-1.0)).any(|(a, b)| (a - b).abs() > 1e-6);
        assert!(!wrong);
        let gain = ratio_gain_db(&heard, &heard.noise, &sum(0.5), &sum(-0.5), 0.5);
        assert!((gain - 6.02).abs() < 0.05, "{gain}");
        let gain = broadband_ratio_gain_db(&heard, &heard.noise, &sum(0.5), &sum(-0.5), 0.5);
        assert!((gain - 6.02).abs() < 0.05, "{gain}");
        assert!((removed_db(&heard, &sum(1.0), 0.0, 2.0)).abs() < 1e-6);
    }

    #[test]
    fn frames_without_a_direction_are_missed() {
        let heard = Heard {
            microphones: vec![],
            echo: vec![],
            near: vec![noise(1)],
            others: vec![],
            noise: vec![],
            played: vec![],
            clock: PlayClock::default(),
            geometry: vec![],
        };
        let mut said = vec![Some(175.0); 200];
        assert_eq!(directions_within_percent(&heard, &said, -178.0, 10.0, 0.0), 100.0);
        said[50..100].fill(None);
        said[100..150].fill(Some(20.0));
        assert_eq!(directions_within_percent(&heard, &said, -178.0, 10.0, 0.0), 50.0);
    }
}
