//! When a publisher is asked for a key frame of a layer: at once, but not more often than an encoder bears.

use std::time::{Duration, Instant};

/// The least time between two requests for one layer.
pub const MIN_INTERVAL: Duration = Duration::from_millis(300);

/// Merges the requests of all subscribers of one layer.
#[derive(Debug, Clone, Default)]
pub struct KeyRequests {
    last: Option<Instant>,
    waiting: bool,
}

impl KeyRequests {
    /// Somebody needs a key frame. `true` when the publisher is to be asked now; else it waits for
    /// [`KeyRequests::due`].
    #[must_use]
    pub fn request(&mut self, now: Instant) -> bool {
        self.waiting = true;
        self.due(now)
    }

    /// Whether a request that waited is to be sent now.
    #[must_use]
    pub fn due(&mut self, now: Instant) -> bool {
        let open = self.last.is_none_or(|last| now.saturating_duration_since(last) >= MIN_INTERVAL);
        if !(self.waiting && open) {
            return false;
        }
        self.last = Some(now);
        self.waiting = false;
        true
    }

    /// A key frame came: what waited has what it asked for.
    pub fn satisfied(&mut self) {
        self.waiting = false;
    }

    /// When [`KeyRequests::due`] should be asked again.
    pub fn deadline(&self) -> Option<Instant> {
        if !self.waiting {
            return None;
        }
        self.last.map(|last| last + MIN_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_request_goes_at_once_and_the_next_waits() {
        let start = Instant::now();
        let mut requests = KeyRequests::default();
        assert!(requests.request(start));
        assert!(!requests.request(start + Duration::from_millis(100)));
        assert_eq!(requests.deadline(), Some(start + MIN_INTERVAL));
        assert!(requests.due(start + MIN_INTERVAL));
        assert!(!requests.due(start + MIN_INTERVAL * 3), "nobody asked again");
    }

    #[test]
    fn a_key_frame_that_came_meanwhile_is_enough() {
        let start = Instant::now();
        let mut requests = KeyRequests::default();
        assert!(requests.request(start));
        assert!(!requests.request(start + Duration::from_millis(100)));
        requests.satisfied();
        assert!(!requests.due(start + MIN_INTERVAL));
    }

    proptest! {
        #[test]
        fn never_two_within_the_interval(steps in prop::collection::vec((0u64..400, any::<bool>()), 1..200)) {
            let (start, mut time, mut last) = (Instant::now(), 0, None);
            let mut requests = KeyRequests::default();
            for (later, asks) in steps {
                time += later;
                let now = start + Duration::from_millis(time);
                if if asks { requests.request(now) } else { requests.due(now) } {
                    prop_assert!(last.is_none_or(|last: u64| time - last >= MIN_INTERVAL.as_millis() as u64));
                    last = Some(time);
                }
            }
        }
    }
}
