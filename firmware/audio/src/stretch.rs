//! Playing a little faster without changing the pitch: one period of the voice is left out, faded over
//! (WSOLA; Verhelst and Roelands, ICASSP 1993).

/// Periods looked for: 2.5 to 12.5 ms.
pub(crate) const SHORTEST: usize = 120;
pub(crate) const LONGEST: usize = 600;
/// Length of the fade: 10 ms.
const FADE: usize = 480;
/// Samples of a channel that must be there.
pub(crate) const NEEDED: usize = FADE + LONGEST;
/// Looking at every fourth sample finds the period well enough.
const STEP: usize = 4;
/// Mean square of what counts as silence: -50 dB.
const QUIET: f32 = 1e-5;
/// How alike two pieces must be to be faded over unheard.
const ALIKE: f32 = 0.6;

/// What can be left out at the start of a piece of sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cut {
    /// Samples of a channel.
    pub(crate) length: usize,
    /// Whether nobody can hear it: silence.
    pub(crate) quiet: bool,
}

/// Leaves out up to `most` samples of a channel near the start of `sound` (interleaved, at least [`NEEDED`]
/// of a channel) and moves what is kept to its end: the first `length` samples of each channel are then
/// waste. `None`, and nothing is changed, when it would be heard and not `forced`.
pub(crate) fn shorten(sound: &mut [f32], channels: usize, most: usize, forced: bool) -> Option<Cut> {
    let frames = sound.len() / channels;
    let most = most.min(LONGEST);
    if frames < NEEDED || most < SHORTEST {
        return None;
    }
    let mean = |i: usize| -> f32 { sound[i * channels..(i + 1) * channels].iter().sum() };
    let energy = |from: usize| -> f32 { (from..from + FADE).step_by(STEP).map(|i| mean(i) * mean(i)).sum() };
    let here = energy(0);
    let quiet_sum = QUIET * (FADE / STEP) as f32 * channels as f32;
    let (mut best, mut length) = (f32::MIN, most);
    let quiet = here < quiet_sum && energy(most) < quiet_sum;
    if !quiet {
        for lag in (SHORTEST..=most).step_by(STEP) {
            let product: f32 = (0..FADE).step_by(STEP).map(|i| mean(i) * mean(i + lag)).sum();
            let likeness = product / (here * energy(lag)).sqrt().max(1e-9);
            if likeness > best {
                (best, length) = (likeness, lag);
            }
        }
        if best < ALIKE && !forced {
            return None;
        }
    }
    // From the end, so that nothing is overwritten before it is read.
    for i in (0..FADE).rev() {
        let later = i as f32 / FADE as f32;
        for channel in 0..channels {
            let (from, to) = (i * channels + channel, (i + length) * channels + channel);
            sound[to] = sound[from] * (1.0 - later) + sound[to] * later;
        }
    }
    Some(Cut { length, quiet })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, frames: usize) -> Vec<f32> {
        (0..frames).map(|i| (i as f32 * hz * std::f32::consts::TAU / 48_000.0).sin() * 0.5).collect()
    }

    #[test]
    fn a_voiced_sound_loses_whole_periods_and_has_no_click() {
        let mut sound = tone(200.0, 2_000);
        let cut = shorten(&mut sound, 1, LONGEST, false).map(|cut| cut.length);
        assert!(cut.is_some_and(|length| length % 240 <= 4 || length % 240 >= 236), "{cut:?}");
        let kept = &sound[cut.unwrap_or(0)..];
        let steepest = kept.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.02, "{steepest}");
    }

    #[test]
    fn silence_is_cut_as_far_as_allowed() {
        let mut sound = vec![0.0; 2 * NEEDED];
        assert_eq!(shorten(&mut sound, 2, 300, false), Some(Cut { length: 300, quiet: true }));
    }

    #[test]
    fn noise_is_left_alone_unless_forced() {
        let mut state = 1_u32;
        let mut sound: Vec<f32> = (0..NEEDED)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect();
        let before = sound.clone();
        assert_eq!(shorten(&mut sound, 1, LONGEST, false), None);
        assert_eq!(sound, before);
        assert!(shorten(&mut sound, 1, LONGEST, true).is_some());
    }

    #[test]
    fn too_little_sound_is_left_alone() {
        assert_eq!(shorten(&mut tone(200.0, NEEDED - 1), 1, LONGEST, true), None);
        assert_eq!(shorten(&mut tone(200.0, NEEDED), 1, SHORTEST - 1, true), None);
    }
}
