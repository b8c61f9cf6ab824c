//! The machine's clocks, read once: everything else is told the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Maps [`Instant`] to time since the start of `CLOCK_MONOTONIC`, the clock that cameras and sound cards use, and to
/// the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    instant: Instant,
    since_start: Duration,
    since_epoch: Duration,
}

impl Clock {
    /// Reads the clocks once.
    pub(crate) fn new() -> Self {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        // The kernel gives 0 <= tv_nsec < 1e9, and a monotonic clock is never negative.
        let since_start =
            Duration::new(t.tv_sec.unsigned_abs(), u32::try_from(t.tv_nsec).unwrap_or_default());
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), since_start, since_epoch }
    }

    /// The wall clock in milliseconds, as LiveKit's pings have it. It does not follow later corrections.
    pub(crate) fn wall_ms(&self, at: Instant) -> i64 {
        let since = self.since_epoch + at.saturating_duration_since(self.instant);
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// The wall clock as NTP has it (RFC 3550 §4), likewise.
    pub(crate) fn ntp(&self, at: Instant) -> u64 {
        let since = self.since_epoch + at.saturating_duration_since(self.instant);
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        (since.as_secs() + 2_208_988_800) << 32 | fraction
    }

    /// Time since the monotonic clock's start.
    pub(crate) fn since_start(&self, at: Instant) -> Duration {
        if at >= self.instant {
            self.since_start + at.duration_since(self.instant)
        } else {
            self.since_start.saturating_sub(self.instant.duration_since(at))
        }
    }
}
