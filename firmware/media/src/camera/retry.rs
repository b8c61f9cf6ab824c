//! When something that failed is tried again.

use std::time::Duration;

use rostrum_hal::Timestamp;

/// Time from the first failure to the next attempt; each further failure doubles it.
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);
/// What ran as long as this is good again.
const PROVEN: Duration = Duration::from_secs(10);

/// The failures of one encoder or scaler.
#[derive(Default)]
pub(super) struct Retry {
    next: Option<(Timestamp, Duration)>,
}

impl Retry {
    /// It failed, and was not proven good since.
    pub(super) fn is_on(&self) -> bool {
        self.next.is_some()
    }

    /// It may be opened.
    pub(super) fn may_open(&self, now: Timestamp) -> bool {
        self.next.is_none_or(|(at, _)| now >= at)
    }

    /// It failed; gives the time until the next attempt.
    pub(super) fn failed(&mut self, now: Timestamp) -> Duration {
        let wait = self.next.map_or(FIRST, |(_, wait)| (wait * 2).min(LAST));
        self.next = Some((now + wait, wait));
        wait
    }

    /// It works now and was opened at `since`.
    pub(super) fn works(&mut self, now: Timestamp, since: Timestamp) {
        if now.saturating_since(since) >= PROVEN {
            self.next = None;
        }
    }
}
