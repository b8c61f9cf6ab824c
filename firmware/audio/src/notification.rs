//! Sounds of the terminal itself between what others say.

use crate::{FRAME, RATE_HZ};
use std::sync::Arc;

/// Sounds that can wait for their turn.
const WAITING: usize = 4;
/// The longest sound: 30 s.
const LONGEST: usize = 30 * RATE_HZ as usize;
/// How low a chime is while somebody speaks, and how low others are while an announcement is made: 12 and 16 dB.
const UNDER: f32 = 0.25;
const BEHIND: f32 = 0.16;
/// Somebody spoke a moment ago: 300 ms.
const SPEAKS_FRAMES: u32 = 30;
/// A tenth of a second down, half a second up again: the share of the way that is gone each frame.
const DOWN: f32 = 0.25;
const UP: f32 = 0.06;
/// Begin and end of a sound: 5 ms.
const EDGE: usize = 240;

/// How a sound of the terminal and what others say make room for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ducking {
    /// The sound is 12 dB quieter while somebody speaks: somebody came, somebody left.
    UnderSpeech,
    /// What others say is 16 dB quieter while it sounds: what must be understood, such as that sound is recorded.
    OverSpeech,
}

/// A queue of sounds, and the gains of both sides.
pub(crate) struct Notifications {
    waiting: [Option<(Arc<[f32]>, Ducking)>; WAITING],
    at: usize,
    since_speech: u32,
    sound_gain: f32,
    others_gain: f32,
}

impl Notifications {
    pub(crate) fn new() -> Self {
        Self {
            waiting: std::array::from_fn(|_| None),
            at: 0,
            since_speech: SPEAKS_FRAMES,
            sound_gain: 1.0,
            others_gain: 1.0,
        }
    }

    /// `false` when it is too long or too many wait.
    pub(crate) fn add(&mut self, sound: Arc<[f32]>, ducking: Ducking) -> bool {
        let free = self.waiting.iter_mut().find(|place| place.is_none());
        match free {
            Some(place) if (1..=LONGEST).contains(&sound.len()) => {
                *place = Some((sound, ducking));
                true
            }
            _ => false,
        }
    }

    /// Whether a sound is playing or waiting.
    pub(crate) fn is_playing(&self) -> bool {
        self.waiting[0].is_some()
    }

    /// Mixes the next frame of the sound into what others say, `mix`, interleaved; `speech` says whether they do.
    pub(crate) fn mix(&mut self, mix: &mut [f32], channels: usize, speech: bool) {
        self.since_speech = if speech { 0 } else { self.since_speech.saturating_add(1) };
        let speaks = self.since_speech < SPEAKS_FRAMES;
        let ducking = self.waiting[0].as_ref().map(|(_, ducking)| *ducking);
        let others = if ducking == Some(Ducking::OverSpeech) { BEHIND } else { 1.0 };
        let sound = if ducking == Some(Ducking::UnderSpeech) && speaks { UNDER } else { 1.0 };
        if ducking.is_none() && self.others_gain == 1.0 {
            self.sound_gain = sound;
            return;
        }
        let (others_from, sound_from) = (self.others_gain, self.sound_gain);
        self.others_gain = glide(others_from, others);
        // A sound that has not begun begins where it shall be.
        self.sound_gain = if self.at == 0 { sound } else { glide(sound_from, sound) };
        let sound_from = if self.at == 0 { sound } else { sound_from };
        for (i, samples) in mix.chunks_exact_mut(channels).enumerate() {
            let part = (i + 1) as f32 / FRAME as f32;
            let others = others_from + (self.others_gain - others_from) * part;
            let own = self.next() * (sound_from + (self.sound_gain - sound_from) * part);
            samples.iter_mut().for_each(|sample| *sample = *sample * others + own);
        }
        if self.waiting[0].as_ref().is_some_and(|(sound, _)| self.at >= sound.len()) {
            self.waiting[0] = None;
            self.waiting.rotate_left(1);
            self.at = 0;
        }
    }

    fn next(&mut self) -> f32 {
        let Some((sound, _)) = &self.waiting[0] else { return 0.0 };
        let Some(sample) = sound.get(self.at) else { return 0.0 };
        let edge = (self.at + 1).min(sound.len() - self.at).min(EDGE) as f32 / EDGE as f32;
        self.at += 1;
        if sample.is_finite() { sample.clamp(-1.0, 1.0) * edge } else { 0.0 }
    }
}

fn glide(from: f32, to: f32) -> f32 {
    let share = if to < from { DOWN } else { UP };
    if (to - from).abs() < 0.001 { to } else { from + (to - from) * share }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest of each of so many frames, when others give `others` and speak as long as `speech` says so.
    fn frames(
        notifications: &mut Notifications,
        count: usize,
        others: f32,
        speech: impl Fn(usize) -> bool,
    ) -> Vec<f32> {
        let mut last = others;
        (0..count)
            .map(|i| {
                let mut mix = [others; FRAME];
                notifications.mix(&mut mix, 1, speech(i));
                for sample in mix {
                    assert!((sample - last).abs() < 0.01, "a step from {last} to {sample} in frame {i}");
                    last = sample;
                }
                mix.iter().fold(0.0, |peak, s| s.abs().max(peak))
            })
            .collect()
    }

    fn level(peak: f32) -> f32 {
        20.0 * peak.log10()
    }

    #[test]
    fn a_chime_is_12_db_lower_while_somebody_speaks() {
        let mut notifications = Notifications::new();
        assert!(notifications.add(Arc::from(vec![0.5; 96_000]), Ducking::UnderSpeech));
        let peaks = frames(&mut notifications, 200, 0.0, |i| (50..100).contains(&i));
        assert!(level(peaks[40]) > -6.5, "{}", level(peaks[40]));
        assert!((level(peaks[90]) + 18.0).abs() < 1.0, "{}", level(peaks[90]));
        // Half a second after the last word it is back.
        assert!(level(peaks[190]) > -6.8, "{}", level(peaks[190]));
    }

    #[test]
    fn others_are_16_db_lower_behind_an_announcement_and_come_back() {
        let mut notifications = Notifications::new();
        assert!(notifications.add(Arc::from(vec![0.0; 48_000]), Ducking::OverSpeech));
        let peaks = frames(&mut notifications, 250, 0.5, |_| true);
        assert!((level(peaks[60]) + 22.0).abs() < 0.5, "{}", level(peaks[60]));
        assert!(level(peaks[160]) > -7.0, "{}", level(peaks[160]));
        assert_eq!(peaks[249], 0.5);
        assert!(!notifications.is_playing());
    }

    #[test]
    fn sounds_wait_for_each_other_and_not_too_many_do() {
        let mut notifications = Notifications::new();
        let sound: Arc<[f32]> = Arc::from(vec![0.3; 9_600]);
        for i in 0..6 {
            assert_eq!(notifications.add(Arc::clone(&sound), Ducking::UnderSpeech), i < WAITING);
        }
        let peaks = frames(&mut notifications, 100, 0.0, |_| false);
        assert_eq!(peaks.iter().filter(|peak| **peak > 0.2).count(), 4 * 20);
        assert!(!notifications.add(Arc::from(vec![]), Ducking::UnderSpeech));
        assert!(notifications.add(sound, Ducking::UnderSpeech));
    }

    #[test]
    fn samples_that_are_none_are_silence() {
        let mut notifications = Notifications::new();
        assert!(notifications.add(Arc::from(vec![f32::NAN; 960]), Ducking::UnderSpeech));
        assert!(frames(&mut notifications, 4, 0.0, |_| false).iter().all(|peak| *peak == 0.0));
    }
}
