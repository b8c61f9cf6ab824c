//! What a device lost: counted always, logged seldom.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rostrum_hal::Timestamp;

/// Time between two lines about the same loss.
const QUIET: Duration = Duration::from_secs(30);

/// Losses of one kind.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    untold: u64,
    told_at: Option<Instant>,
}

impl Losses {
    /// `lost` more were lost at `now`; gives how many since the last line when it is time for the next.
    pub(crate) fn add(&mut self, now: Instant, lost: u64) -> Option<u64> {
        self.untold += lost;
        if self.untold == 0 || self.told_at.is_some_and(|told| now < told + QUIET) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// Frames of a stream that nobody got: those that the driver counted, or, as many drivers count only what arrived,
/// those for which there was time.
#[derive(Debug)]
pub(crate) struct Gaps {
    frame_rate_hz: f64,
    last: Option<(u64, Timestamp)>,
    /// Times between the newest frames: a camera in the dark may be slower than it promised, and loses nothing.
    pace: VecDeque<Duration>,
}

/// Frames by which a camera's pace is known.
const PACE: usize = 30;

impl Gaps {
    /// A stream of so many frames a second.
    pub(crate) fn at(frame_rate_hz: f64) -> Self {
        Self { frame_rate_hz, last: None, pace: VecDeque::with_capacity(PACE) }
    }

    /// Frames that are missing before this one.
    pub(crate) fn before(&mut self, sequence: u64, capture_time: Timestamp) -> u64 {
        let Some((last, time)) = self.last.replace((sequence, capture_time)) else { return 0 };
        let counted = sequence.saturating_sub(last + 1);
        let gap = capture_time.saturating_since(time);
        let shortest = self.pace.iter().min().copied().unwrap_or_default().as_secs_f64();
        // A cast of a float saturates.
        let periods = (gap.as_secs_f64() / shortest.max(1.0 / self.frame_rate_hz)).round() as u64;
        if self.pace.len() == PACE {
            self.pace.pop_front();
        }
        self.pace.push_back(gap);
        counted.max(periods.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_loss_is_told_at_once_and_the_next_together() {
        let (mut losses, start) = (Losses::default(), Instant::now());
        assert_eq!(losses.add(start, 0), None);
        assert_eq!(losses.add(start, 3), Some(3));
        for second in 1..30 {
            assert_eq!(losses.add(start + Duration::from_secs(second), 2), None);
        }
        assert_eq!(losses.add(start + QUIET, 1), Some(59));
        assert_eq!(losses.add(start + 3 * QUIET, 0), None);
    }

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_clock(Duration::from_millis(milliseconds))
    }

    #[test]
    fn gaps_in_the_sequence_and_in_time_are_lost_frames() {
        let mut gaps = Gaps::at(10.0);
        assert_eq!(gaps.before(7, at(1000)), 0);
        // Late, and then early.
        assert_eq!(gaps.before(8, at(1140)), 0);
        assert_eq!(gaps.before(9, at(1200)), 0);
        assert_eq!(gaps.before(12, at(1500)), 2);
        // A driver that counts what arrived.
        assert_eq!(gaps.before(13, at(1800)), 2);
        assert_eq!(gaps.before(0, at(1900)), 0);
    }

    #[test]
    fn a_camera_that_is_slow_loses_nothing_and_one_that_loses_every_third_frame_does() {
        let mut slow = Gaps::at(30.0);
        // 15 a second in the dark: the first gap is not known to be its pace.
        let lost: u64 = (0..100).map(|number| slow.before(number, at(number * 1000 / 15))).sum();
        assert!(lost <= 1, "{lost}");
        let mut bad = Gaps::at(10.0);
        let came = (0..90_u64).filter(|number| number % 3 != 0);
        let lost: u64 =
            came.enumerate().map(|(count, number)| bad.before(count as u64, at(number * 100))).sum();
        assert_eq!(lost, 29);
    }
}
