//! What a device lost: counted always, logged seldom.

use std::time::{Duration, Instant};

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
}

impl Gaps {
    /// A stream of so many frames a second.
    pub(crate) fn at(frame_rate_hz: f64) -> Self {
        Self { frame_rate_hz, last: None }
    }

    /// Frames that are missing before this one.
    pub(crate) fn before(&mut self, sequence: u64, capture_time: Timestamp) -> u64 {
        let Some((last, time)) = self.last.replace((sequence, capture_time)) else { return 0 };
        let counted = sequence.saturating_sub(last + 1);
        // A cast of a float saturates.
        let periods = (capture_time.saturating_since(time).as_secs_f64() * self.frame_rate_hz).round() as u64;
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
}
