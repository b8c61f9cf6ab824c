//! Who speaks, from the loudness that senders write into their packets (RFC 6464).

use std::time::{Duration, Instant};

/// How long loudness is gathered before a decision.
pub(super) const INTERVAL: Duration = Duration::from_millis(300);
/// A packet at most this far below full scale counts as speech.
const SPEECH_DB: u8 = 40;
/// The least share of speech in an interval.
const SPEECH_SHARE: f32 = 0.3;
/// Quiet intervals after which a speaker counts as silent, so that pauses between words do not flicker.
const HOLD: u8 = 3;

/// One participant's loudness.
#[derive(Debug, Clone, Default)]
pub(super) struct SpeakerMeter {
    started: Option<Instant>,
    packets: u32,
    loud: u32,
    loudest: Option<u8>,
    quiet_intervals: u8,
    told: Level,
}

/// A loudness as LiveKit tells it, in eighths, so that small changes are not told; 0 is silence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level(u8);

impl Level {
    /// Loudness from 0 to 1.
    pub(super) fn value(self) -> f32 {
        f32::from(self.0) / 8.0
    }

    pub(super) fn is_speaking(self) -> bool {
        self.0 > 0
    }

    /// From decibels below full scale: 0 dB is 1, [`SPEECH_DB`] is the least.
    fn from_db(below_full_scale: u8) -> Self {
        let above = f32::from(SPEECH_DB.saturating_sub(below_full_scale)) / f32::from(SPEECH_DB);
        Level(((above * 8.0).round() as u8).clamp(1, 8))
    }
}

impl SpeakerMeter {
    /// A packet came, `below_full_scale` dB below the loudest.
    pub(super) fn heard(&mut self, now: Instant, below_full_scale: u8) {
        self.started.get_or_insert(now);
        self.packets += 1;
        if below_full_scale <= SPEECH_DB {
            self.loud += 1;
            self.loudest =
                Some(self.loudest.map_or(below_full_scale, |loudest| loudest.min(below_full_scale)));
        }
    }

    /// Ends an interval: the level, when it is another than told before.
    pub(super) fn changed(&mut self) -> Option<Level> {
        let (packets, loud, loudest) = (self.packets, self.loud, self.loudest);
        (self.packets, self.loud, self.loudest, self.started) = (0, 0, None, None);
        let speaks = packets > 0 && loud as f32 >= packets as f32 * SPEECH_SHARE;
        let level = match loudest.filter(|_| speaks) {
            Some(db) => {
                self.quiet_intervals = 0;
                Level::from_db(db)
            }
            None => {
                self.quiet_intervals = self.quiet_intervals.saturating_add(1);
                if self.quiet_intervals < HOLD { self.told } else { Level::default() }
            }
        };
        (std::mem::replace(&mut self.told, level) != level).then_some(level)
    }

    /// What was told last.
    pub(super) fn level(&self) -> Level {
        self.told
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hear(meter: &mut SpeakerMeter, db: u8, packets: usize) {
        for _ in 0..packets {
            meter.heard(Instant::now(), db);
        }
    }

    #[test]
    fn speech_is_told_at_once_and_silence_after_a_pause() {
        let mut meter = SpeakerMeter::default();
        hear(&mut meter, 20, 15);
        assert!(meter.changed().unwrap().is_speaking());
        hear(&mut meter, 20, 15);
        assert_eq!(meter.changed(), None, "nothing new");
        for _ in 0..HOLD - 1 {
            hear(&mut meter, 127, 15);
            assert_eq!(meter.changed(), None);
        }
        hear(&mut meter, 127, 15);
        assert!(!meter.changed().unwrap().is_speaking());
    }

    #[test]
    fn a_click_is_no_speech() {
        let mut meter = SpeakerMeter::default();
        hear(&mut meter, 10, 1);
        hear(&mut meter, 127, 14);
        assert_eq!(meter.changed(), None);
    }

    #[test]
    fn louder_is_higher() {
        assert!(Level::from_db(0).value() > Level::from_db(30).value());
        assert_eq!(Level::from_db(0).value(), 1.0);
    }
}
