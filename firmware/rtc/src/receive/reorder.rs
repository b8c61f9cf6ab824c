//! Audio packets in order, within a tiny bound: the play-out side has the jitter buffer.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::rtp::Packet;

/// A packet waits no longer than this for an earlier one.
const BOUND: Duration = Duration::from_millis(10);
/// Nor behind more than this many.
const MAX_PACKETS: usize = 4;

/// Orders the packets of one audio stream.
#[derive(Debug, Default)]
pub(crate) struct Reorder {
    next: Option<u64>,
    waiting: BTreeMap<u64, (Packet, Instant)>,
}

impl Reorder {
    /// Takes a packet; what may leave is added to `out` with its number and arrival.
    pub(crate) fn insert(
        &mut self,
        sequence: u64,
        packet: Packet,
        now: Instant,
        out: &mut Vec<(u64, Packet, Instant)>,
    ) {
        let next = *self.next.get_or_insert(sequence);
        if sequence < next {
            // Too late to be in order; the jitter buffer may still use it.
            out.push((sequence, packet, now));
            return;
        }
        self.waiting.insert(sequence, (packet, now));
        self.release(now, out);
    }

    /// Lets go what has waited long enough.
    pub(crate) fn release(&mut self, now: Instant, out: &mut Vec<(u64, Packet, Instant)>) {
        while let Some((&first, &(_, arrival))) = self.waiting.first_key_value() {
            let in_order = self.next == Some(first);
            if !in_order && self.waiting.len() <= MAX_PACKETS && now.duration_since(arrival) < BOUND {
                return;
            }
            if let Some((sequence, (packet, arrival))) = self.waiting.pop_first() {
                self.next = Some(sequence + 1);
                out.push((sequence, packet, arrival));
            }
        }
    }

    /// When [`Reorder::release`] lets something go.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.values().map(|(_, arrival)| *arrival + BOUND).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet() -> Packet {
        Packet::for_test(0, 0, false, &[1])
    }

    #[test]
    fn a_swapped_pair_leaves_in_order_and_a_lost_packet_delays_ten_milliseconds() {
        let now = Instant::now();
        let mut r = Reorder::default();
        let mut out = Vec::new();
        for sequence in [1, 3, 2, 5] {
            r.insert(sequence, packet(), now, &mut out);
        }
        assert_eq!(out.iter().map(|o| o.0).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(r.poll_timeout(), Some(now + BOUND));
        r.release(now + BOUND, &mut out);
        assert_eq!(out.last().map(|o| o.0), Some(5));
    }

    proptest! {
        #[test]
        fn every_packet_leaves_once_and_soon(sequences in prop::collection::btree_set(0u64..300, 1..200), seed in any::<u64>()) {
            use rand::{SeedableRng as _, seq::SliceRandom as _};
            let mut order: Vec<u64> = sequences.iter().copied().collect();
            order.shuffle(&mut rand::rngs::StdRng::seed_from_u64(seed));
            let mut now = Instant::now();
            let mut r = Reorder::default();
            let mut out = Vec::new();
            for sequence in order {
                now += Duration::from_millis(3);
                r.insert(sequence, packet(), now, &mut out);
                prop_assert!(r.waiting.len() <= MAX_PACKETS);
            }
            r.release(now + BOUND, &mut out);
            let mut left: Vec<u64> = out.iter().map(|o| o.0).collect();
            left.sort_unstable();
            prop_assert_eq!(left, sequences.into_iter().collect::<Vec<_>>());
        }
    }
}
