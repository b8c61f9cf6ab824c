//! What was sent under which transport-wide number, until its feedback comes.

use std::collections::VecDeque;

/// Packets remembered: two seconds at 30 Mbit/s.
const MAX_PACKETS: usize = 8192;
/// A packet that is not reported within this time never is.
const MAX_AGE_US: i64 = 2_000_000;
/// The widest gap of numbers that is filled; a wider one begins the log anew.
const MAX_GAP: u16 = 1024;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not reported yet.
    Pending,
    /// Arrived.
    Received,
    /// Reported missing; it may still be reported as received.
    Lost,
    /// The number was never used here.
    Unused,
}

/// A packet on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// When it left, in microseconds since the estimator's beginning.
    pub(super) at_us: i64,
    pub(super) bytes: u32,
    /// The probe that it belongs to; 0 is none.
    pub(super) probe: u32,
    pub(super) fate: Fate,
}

/// Packets by number. Numbers grow by one; those that were used elsewhere are gaps.
#[derive(Debug, Default)]
pub(super) struct SentLog {
    first: u16,
    packets: VecDeque<Sent>,
}

impl SentLog {
    pub(super) fn push(&mut self, number: u16, sent: Sent) {
        let gap = number.wrapping_sub(self.first.wrapping_add(self.packets.len() as u16));
        if self.packets.is_empty() || gap > MAX_GAP {
            self.packets.clear();
            self.first = number;
        } else {
            let unused = Sent { bytes: 0, probe: 0, fate: Fate::Unused, ..sent };
            self.packets.extend(std::iter::repeat_n(unused, usize::from(gap)));
        }
        self.packets.push_back(sent);
        while self.packets.len() > MAX_PACKETS
            || self.packets.front().is_some_and(|old| sent.at_us - old.at_us > MAX_AGE_US)
        {
            self.packets.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    pub(super) fn get_mut(&mut self, number: u16) -> Option<&mut Sent> {
        self.packets.get_mut(usize::from(number.wrapping_sub(self.first)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn sent(at_us: i64) -> Sent {
        Sent { at_us, bytes: 100, probe: 0, fate: Fate::Pending }
    }

    #[test]
    fn numbers_used_elsewhere_are_gaps() {
        let mut log = SentLog::default();
        log.push(65_535, sent(0));
        log.push(1, sent(1));
        assert_eq!(log.get_mut(65_535).unwrap().fate, Fate::Pending);
        assert_eq!(log.get_mut(0).unwrap().fate, Fate::Unused);
        assert_eq!(log.get_mut(1).unwrap().at_us, 1);
        assert!(log.get_mut(2).is_none());
    }

    proptest! {
        #[test]
        fn it_never_grows_and_finds_the_newest(numbers in prop::collection::vec((any::<u16>(), 0i64..3_000_000), 1..300)) {
            let mut log = SentLog::default();
            let mut now = 0;
            for (number, later) in numbers {
                now += later;
                log.push(number, sent(now));
                prop_assert!(log.packets.len() <= MAX_PACKETS);
                prop_assert_eq!(log.get_mut(number).unwrap().at_us, now);
            }
        }
    }
}
