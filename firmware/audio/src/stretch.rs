//! Playing a little faster or slower without changing the pitch: one period of the voice is left out or said twice,
//! faded over (WSOLA; Verhelst and Roelands, ICASSP 1993).

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

/// What was left out or added at the start of a piece of sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    /// Samples of a channel.
    pub(crate) length: usize,
    /// Whether nobody can hear it: silence.
    pub(crate) quiet: bool,
}

/// Leaves out up to `most` samples of a channel near the start of `sound` (interleaved, at least [`NEEDED`]
/// of a channel) and moves what is kept to its end: the first `length` samples of each channel are then
/// waste. `None`, and nothing is changed, when it would be heard and not `forced`.
pub(crate) fn shorten(sound: &mut [f32], channels: usize, most: usize, forced: bool) -> Option<Change> {
    let change = period(sound, channels, most, forced)?;
    let length = change.length;
    // From the end, so that nothing is overwritten before it is read.
    for i in (0..FADE).rev() {
        let later = i as f32 / FADE as f32;
        for channel in 0..channels {
            let (from, to) = (i * channels + channel, (i + length) * channels + channel);
            sound[to] = sound[from] * (1.0 - later) + sound[to] * later;
        }
    }
    Some(change)
}

/// Adds up to `most` samples of a channel near the start of a sound: `room` is the sound behind `head` free samples
/// of each channel (at least [`LONGEST`]); it then begins `length` samples earlier. `None`, and nothing is changed,
/// when it would be heard and not `forced`.
pub(crate) fn lengthen(
    room: &mut [f32],
    head: usize,
    channels: usize,
    most: usize,
    forced: bool,
) -> Option<Change> {
    let start = head * channels;
    let change = period(&room[start..], channels, most.min(head), forced)?;
    let length = change.length * channels;
    // The first period moves to the front; where it was, what follows it glides back into it.
    room.copy_within(start..start + length, start - length);
    for i in 0..FADE * channels {
        let later = (i / channels) as f32 / FADE as f32;
        let at = start + i;
        room[at] = room[at + length] * (1.0 - later) + room[at] * later;
    }
    Some(change)
}

/// The distance at which the start of `sound` is most like itself.
fn period(sound: &[f32], channels: usize, most: usize, forced: bool) -> Option<Change> {
    let frames = sound.len() / channels;
    let most = most.min(LONGEST);
    if frames < NEEDED || most < SHORTEST {
        return None;
    }
    let mean = |i: usize| -> f32 { sound[i * channels..(i + 1) * channels].iter().sum() };
    let energy = |from: usize| -> f32 { (from..from + FADE).step_by(STEP).map(|i| mean(i) * mean(i)).sum() };
    let here = energy(0);
    let quiet_sum = QUIET * (FADE / STEP) as f32 * channels as f32;
    if here < quiet_sum && energy(most) < quiet_sum {
        return Some(Change { length: most, quiet: true });
    }
    let likeness = |lag: usize, step: usize| {
        let product: f32 = (0..FADE).step_by(step).map(|i| mean(i) * mean(i + lag)).sum();
        product / (here * energy(lag)).sqrt().max(1e-9)
    };
    let best = |lags: &mut dyn Iterator<Item = usize>| {
        lags.map(|lag| (likeness(lag, STEP), lag)).max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let (_, coarse) = best(&mut (SHORTEST..=most).step_by(STEP))?;
    // Then to the sample: a period that is off by some is a phase that is off at every change.
    let near = coarse.saturating_sub(STEP - 1).max(SHORTEST)..=(coarse + STEP - 1).min(most);
    let (alike, length) = best(&mut near.into_iter())?;
    (alike >= ALIKE || forced).then_some(Change { length, quiet: false })
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

    /// The frequency of a sound, by its rising zero crossings.
    fn pitch_hz(sound: &[f32]) -> f32 {
        let rising: Vec<f32> = sound
            .windows(2)
            .enumerate()
            .filter(|(_, pair)| pair[0] < 0.0 && pair[1] >= 0.0)
            .map(|(i, pair)| i as f32 - pair[0] / (pair[1] - pair[0]))
            .collect();
        let (Some(first), Some(last)) = (rising.first(), rising.last()) else { return 0.0 };
        (rising.len() - 1) as f32 * 48_000.0 / (last - first)
    }

    #[test]
    fn a_sound_that_is_stretched_again_and_again_keeps_its_pitch_and_has_no_click() {
        for hz in [110.0, 173.0, 260.0, 311.0] {
            for longer in [false, true] {
                let source = tone(hz, 96_000);
                let (mut played, mut from, mut changed) = (Vec::new(), 0, 0);
                while from + 2 * NEEDED < source.len() {
                    let mut room = vec![0.0; LONGEST];
                    room.extend_from_slice(&source[from..from + 2 * NEEDED]);
                    let start = if longer {
                        let change = lengthen(&mut room, LONGEST, 1, LONGEST, false);
                        LONGEST - change.map_or(0, |change| change.length)
                    } else {
                        let change = shorten(&mut room[LONGEST..], 1, LONGEST, false);
                        LONGEST + change.map_or(0, |change| change.length)
                    };
                    changed += start.abs_diff(LONGEST);
                    played.extend_from_slice(&room[start..]);
                    from += 2 * NEEDED;
                }
                let expected = if longer { from + changed } else { from - changed };
                assert_eq!(played.len(), expected);
                assert!(changed * 20 > from, "{changed} of {from} samples");
                let got = pitch_hz(&played);
                assert!((got / hz - 1.0).abs() < 0.01, "{got} Hz of {hz}");
                let natural = hz * std::f32::consts::TAU / 48_000.0 * 0.5;
                let steepest = played.windows(2).map(|p| (p[1] - p[0]).abs()).fold(0.0, f32::max);
                assert!(steepest < natural * 1.5 + 0.002, "{steepest} against {natural}");
            }
        }
    }

    #[test]
    fn silence_is_cut_as_far_as_allowed() {
        let mut sound = vec![0.0; 2 * NEEDED];
        assert_eq!(shorten(&mut sound, 2, 300, false), Some(Change { length: 300, quiet: true }));
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
