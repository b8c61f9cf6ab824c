//! Sequence numbers towards a subscriber: gapless over packets that are not forwarded and over switches.

use std::collections::VecDeque;

/// How many left-out packets are remembered for packets that arrive late.
const MAX_DROPS: usize = 256;

/// Maps the (extended) numbers of one incoming stream to those of an outgoing one. Packets that are left out
/// leave no gap; packets that were lost leave the gap that the subscriber must see to ask for them.
#[derive(Debug, Clone)]
pub struct SequenceMap {
    /// Incoming number of the first packet that may be forwarded.
    start: u64,
    /// What to add to an incoming number after which nothing was left out.
    base: i64,
    /// Incoming numbers that were left out, ascending.
    drops: VecDeque<u64>,
    highest: u64,
}

impl SequenceMap {
    /// A map that sends incoming `first_in` out as `first_out`. What came before is never forwarded.
    pub fn new(first_in: u64, first_out: u64) -> Self {
        Self {
            start: first_in,
            base: first_out.wrapping_sub(first_in) as i64,
            drops: VecDeque::new(),
            highest: first_in.saturating_sub(1),
        }
    }

    /// The outgoing number of an incoming packet; `None` when it is from before the start (or so late that
    /// it is not known any more what was left out since).
    pub fn map(&mut self, number: u64) -> Option<u64> {
        if number < self.start {
            return None;
        }
        self.highest = self.highest.max(number);
        let left_out = self.drops.partition_point(|drop| *drop < number);
        if self.drops.get(left_out) == Some(&number) {
            return None;
        }
        Some(number.wrapping_add_signed(self.base) - left_out as u64)
    }

    /// Whether a packet was left out.
    pub fn is_left_out(&self, number: u64) -> bool {
        self.drops.binary_search(&number).is_ok()
    }

    /// Leaves a packet out. `false` when later ones were forwarded already, so that its number is a gap that
    /// the subscriber sees: then it must be forwarded (empty) after all.
    pub fn leave_out(&mut self, number: u64) -> bool {
        if number < self.start || number <= self.highest {
            return number < self.start;
        }
        self.highest = number;
        self.drops.push_back(number);
        if self.drops.len() > MAX_DROPS
            && let Some(oldest) = self.drops.pop_front()
        {
            self.base -= 1;
            self.start = oldest + 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn what_is_left_out_leaves_no_gap() {
        let mut map = SequenceMap::new(100, 7);
        assert_eq!(map.map(100), Some(7));
        assert!(map.leave_out(101));
        assert_eq!(map.map(102), Some(8));
    }

    #[test]
    fn a_late_packet_finds_its_place() {
        let mut map = SequenceMap::new(100, 7);
        map.map(100);
        assert!(map.leave_out(102));
        assert_eq!(map.map(103), Some(9));
        assert_eq!(map.map(101), Some(8));
    }

    #[test]
    fn what_came_before_the_start_stays_out() {
        let mut map = SequenceMap::new(100, 7);
        assert_eq!(map.map(99), None);
    }

    #[test]
    fn a_late_packet_whose_gap_is_seen_cannot_be_left_out() {
        let mut map = SequenceMap::new(100, 7);
        map.map(102);
        assert!(!map.leave_out(101));
        assert_eq!(map.map(101), Some(8));
    }

    proptest! {
        #[test]
        fn in_order_numbers_are_gapless(first in 0u64..1_000_000, left_out in prop::collection::vec(any::<bool>(), 1..2_000)) {
            let mut map = SequenceMap::new(first, 5_000);
            let mut expected = 5_000;
            for (i, left_out) in left_out.iter().enumerate() {
                let number = first + i as u64;
                if *left_out {
                    prop_assert!(map.leave_out(number));
                } else {
                    prop_assert_eq!(map.map(number), Some(expected));
                    expected += 1;
                }
            }
            prop_assert!(map.drops.len() <= MAX_DROPS);
        }

        #[test]
        fn in_any_order_no_number_is_given_twice(order in prop::collection::vec((0u64..300, any::<bool>()), 1..600)) {
            let mut map = SequenceMap::new(0, 0);
            let (mut seen, mut given) = (HashSet::new(), HashSet::new());
            for (number, left_out) in order {
                if !seen.insert(number) {
                    continue;
                }
                if left_out && map.leave_out(number) {
                    continue;
                }
                if let Some(out) = map.map(number) {
                    prop_assert!(given.insert(out));
                }
            }
        }
    }
}
