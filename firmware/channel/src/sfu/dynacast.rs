//! Which layers a publisher needs to send: those up to the best that somebody watches.

use std::time::{Duration, Instant};

/// How long a layer must be unwatched before its publisher is told, so that a subscriber that comes back
/// does not wait for an encoder.
const LOWER_AFTER: Duration = Duration::from_secs(5);

/// The number of layers that a publisher was told to send (0 = none, 3 = all).
#[derive(Debug, Clone, Default)]
pub(super) struct Dynacast {
    told: Option<usize>,
    lower_since: Option<Instant>,
}

impl Dynacast {
    /// How many layers the publisher was told to send, if it was told anything.
    pub(super) fn told(&self) -> Option<usize> {
        self.told
    }

    /// `wanted` layers are watched now. Returns what to tell the publisher: more at once, less after a
    /// while of being asked again and again.
    pub(super) fn update(&mut self, now: Instant, wanted: usize) -> Option<usize> {
        let Some(told) = self.told else {
            // What it sends before it is told anything is everything.
            self.told = Some(super::forward_layers());
            return self.update(now, wanted);
        };
        if wanted >= told {
            self.lower_since = None;
            self.told = Some(wanted);
            return (wanted > told).then_some(wanted);
        }
        let since = *self.lower_since.get_or_insert(now);
        if now.saturating_duration_since(since) < LOWER_AFTER {
            return None;
        }
        self.lower_since = None;
        self.told = Some(wanted);
        Some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_told_at_once_and_less_after_a_while() {
        let start = Instant::now();
        let mut dynacast = Dynacast::default();
        assert_eq!(dynacast.update(start, 3), None, "all is sent anyway");
        assert_eq!(dynacast.update(start, 1), None);
        assert_eq!(dynacast.update(start + LOWER_AFTER, 1), Some(1));
        assert_eq!(dynacast.update(start + LOWER_AFTER, 3), Some(3));
    }

    #[test]
    fn a_subscriber_that_comes_back_in_time_changes_nothing() {
        let start = Instant::now();
        let mut dynacast = Dynacast::default();
        assert_eq!(dynacast.update(start, 0), None);
        assert_eq!(dynacast.update(start + LOWER_AFTER / 2, 3), None);
        assert_eq!(dynacast.update(start + LOWER_AFTER, 0), None, "it counts from the beginning again");
    }
}
