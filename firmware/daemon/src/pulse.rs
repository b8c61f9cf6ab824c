//! Whether the loops that a room depends on still turn. The watchdog is fed only while all of them do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rostrum_hal::Timestamp;

/// A loop that did not come round for so long hangs: the slowest waits a second for a camera that is silent, and
/// opening a device may take some more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// All loops that are watched.
#[derive(Clone, Default)]
pub(crate) struct Pulses {
    loops: Arc<Mutex<Vec<Pulse>>>,
}

/// One loop's own: it tells each time that it came round. Costs no lock.
#[derive(Clone, Debug)]
pub(crate) struct Pulse {
    name: &'static str,
    /// Milliseconds of the monotonic clock.
    last: Arc<AtomicU64>,
}

impl Pulses {
    /// Watches one more loop, which came round just now; one that is still to begin has until some time after `now`.
    pub(crate) fn watch(&self, name: &'static str, now: Timestamp) -> Pulse {
        let pulse = Pulse { name, last: Arc::new(AtomicU64::new(0)) };
        pulse.beat(now);
        self.loops.lock().push(pulse.clone());
        pulse
    }

    /// A loop that hangs at `now`.
    pub(crate) fn hanging(&self, now: Timestamp) -> Option<&'static str> {
        let now = millis(now);
        let late =
            |pulse: &&Pulse| now.saturating_sub(pulse.last.load(Relaxed)) > PATIENCE.as_millis() as u64;
        self.loops.lock().iter().find(late).map(|pulse| pulse.name)
    }
}

impl Pulse {
    /// The loop came round.
    pub(crate) fn beat(&self, now: Timestamp) {
        self.last.store(millis(now), Relaxed);
    }
}

fn millis(time: Timestamp) -> u64 {
    u64::try_from(time.since_start().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_clock(Duration::from_secs(seconds))
    }

    #[test]
    fn the_loop_that_hangs_is_named_and_the_others_are_not() {
        let pulses = Pulses::default();
        let (audio, control) = (pulses.watch("capture", at(100)), pulses.watch("control", at(100)));
        assert_eq!(pulses.hanging(at(109)), None);
        control.beat(at(109));
        assert_eq!(pulses.hanging(at(111)), Some("capture"));
        audio.beat(at(111));
        assert_eq!(pulses.hanging(at(112)), None);
    }

    #[test]
    fn a_loop_that_begins_later_has_until_then() {
        let pulses = Pulses::default();
        let control = pulses.watch("control", at(160));
        assert_eq!(pulses.hanging(at(165)), None);
        assert_eq!(pulses.hanging(at(171)), Some("control"));
        control.beat(at(105));
        assert_eq!(pulses.hanging(at(116)), Some("control"));
    }

    #[test]
    fn without_loops_nothing_hangs() {
        assert_eq!(Pulses::default().hanging(at(1_000_000)), None);
    }
}
