//! Which packets to ask for again (RFC 4585 §6.2.1).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Missing packets remembered; with more, only a key frame helps.
const MAX_MISSING: usize = 512;
/// Requests for one packet.
const MAX_REQUESTS: u8 = 10;
/// A packet that is only out of order comes within this.
const REORDER: Duration = Duration::from_millis(5);
/// Least time between two requests for the same packet.
const SHORTEST: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug)]
struct Missing {
    due: Instant,
    requests: u8,
}

/// The holes in one stream.
#[derive(Debug, Default)]
pub(crate) struct Nack {
    newest: Option<u64>,
    missing: BTreeMap<u64, Missing>,
}

impl Nack {
    /// A packet arrived, at first or by repair.
    pub(crate) fn received(&mut self, sequence: u64, now: Instant) {
        let Some(newest) = self.newest else {
            self.newest = Some(sequence);
            return;
        };
        self.missing.remove(&sequence);
        if sequence <= newest {
            return;
        }
        if sequence - newest > MAX_MISSING as u64 {
            self.missing.clear();
        } else {
            for missing in newest + 1..sequence {
                self.missing.insert(missing, Missing { due: now + REORDER, requests: 0 });
            }
            while self.missing.len() > MAX_MISSING {
                self.missing.pop_first();
            }
        }
        self.newest = Some(sequence);
    }

    /// Whether this packet is still waited for.
    pub(crate) fn is_missing(&self, sequence: u64) -> bool {
        self.missing.contains_key(&sequence)
    }

    /// Packets before `sequence` are not needed any more.
    pub(crate) fn forget_before(&mut self, sequence: u64) {
        while self.missing.first_key_value().is_some_and(|(first, _)| *first < sequence) {
            self.missing.pop_first();
        }
    }

    /// Sequence numbers to ask for now, each at most once a round trip.
    pub(crate) fn due(&mut self, now: Instant, round_trip: Duration) -> Vec<u16> {
        let again = (round_trip + Duration::from_millis(5)).max(SHORTEST);
        let mut out = Vec::new();
        self.missing.retain(|sequence, missing| {
            if missing.due > now {
                return true;
            }
            if missing.requests == MAX_REQUESTS {
                return false;
            }
            missing.requests += 1;
            missing.due = now + again;
            out.push(*sequence as u16);
            true
        });
        out
    }

    /// When [`Nack::due`] has something.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.missing.values().map(|m| m.due).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    #[test]
    fn a_hole_is_asked_for_once_a_round_trip_until_it_is_filled() {
        let now = Instant::now();
        let mut n = Nack::default();
        n.received(10, now);
        n.received(13, now);
        assert!(n.due(now, RTT).is_empty(), "it may be out of order");
        let at = now + REORDER;
        assert_eq!(n.due(at, RTT), [11, 12]);
        n.received(11, at);
        assert!(n.due(at + Duration::from_millis(54), RTT).is_empty());
        assert_eq!(n.due(at + Duration::from_millis(55), RTT), [12]);
        n.forget_before(13);
        assert_eq!(n.poll_timeout(), None);
    }

    proptest! {
        #[test]
        fn requests_are_bounded(sequences in prop::collection::vec(0u64..5000, 1..500)) {
            let mut now = Instant::now();
            let mut n = Nack::default();
            let mut asked = std::collections::HashMap::new();
            for sequence in sequences {
                n.received(sequence, now);
                now += Duration::from_millis(7);
                for s in n.due(now, RTT) {
                    *asked.entry(s).or_insert(0) += 1;
                }
                prop_assert!(n.missing.len() <= MAX_MISSING);
            }
            prop_assert!(asked.values().all(|n| *n <= i32::from(MAX_REQUESTS)));
        }
    }
}
