//! Whether the screen is on: while the room is used, and for a while after.

use std::time::Duration;

use rostrum_hal::Timestamp;

/// Who uses the room, and since when nobody does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// Somebody is there, as far as a sensor can tell.
    occupied: bool,
    used: Timestamp,
}

impl Screen {
    /// A room that was just switched on counts as used.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { occupied: false, used: now }
    }

    /// What the sensor says; `true` when somebody just came.
    pub(crate) fn occupied(&mut self, now: Timestamp, occupied: bool) -> bool {
        self.used = now;
        !std::mem::replace(&mut self.occupied, occupied) && occupied
    }

    /// Somebody did something.
    pub(crate) fn used(&mut self, now: Timestamp) {
        self.used = now;
    }

    /// Whether it is to be on.
    pub(crate) fn is_on(&self, now: Timestamp, idle: bool, standby_after: Option<Duration>) -> bool {
        let unused = now.saturating_since(self.used);
        !idle || self.occupied || standby_after.is_none_or(|limit| unused < limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<Duration> = Some(Duration::from_secs(600));

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_clock(Duration::from_secs(seconds))
    }

    #[test]
    fn a_room_that_nobody_uses_goes_dark_after_the_limit() {
        let mut screen = Screen::new(at(0));
        assert!(screen.is_on(at(599), true, LIMIT) && !screen.is_on(at(600), true, LIMIT));
        assert!(screen.is_on(at(6_000), true, None), "never");
        screen.used(at(500));
        assert!(screen.is_on(at(1_099), true, LIMIT) && !screen.is_on(at(1_100), true, LIMIT));
        assert!(screen.is_on(at(9_000), false, LIMIT), "in a meeting");
    }

    #[test]
    fn somebody_who_is_there_keeps_it_on_and_who_comes_is_told_once() {
        let mut screen = Screen::new(at(0));
        assert!(screen.occupied(at(1_000), true) && !screen.occupied(at(1_001), true));
        assert!(screen.is_on(at(9_000), true, LIMIT));
        assert!(!screen.occupied(at(9_000), false));
        assert!(screen.is_on(at(9_599), true, LIMIT) && !screen.is_on(at(9_600), true, LIMIT));
    }
}
