//! Packets that wait for their turn.

use crate::redundancy::Redundancy;

/// Packets of one track that can wait: 20 ms each, more than a second.
const SLOTS: usize = 64;
/// The longest packet taken, in bytes. 20 ms of Opus are at most 1276.
pub(crate) const MAX_PACKET: usize = 1500;

/// A packet that waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    /// RTP timestamp, counted on past 32 bits.
    pub(crate) timestamp: i64,
    /// RTP sequence number.
    pub(crate) sequence: u16,
    /// Samples of a channel in it.
    pub(crate) samples: u32,
    /// What it carries about the time before it.
    pub(crate) redundancy: Redundancy,
    opus: Vec<u8>,
}

impl Waiting {
    pub(crate) fn opus(&self) -> &[u8] {
        &self.opus
    }
}

/// The packets of one track, in any order of arrival. Memory is taken once.
pub(crate) struct PacketStore {
    /// Those in use first.
    slots: Vec<Waiting>,
    used: usize,
}

impl PacketStore {
    pub(crate) fn new() -> Self {
        let slot = || Waiting { opus: Vec::with_capacity(MAX_PACKET), ..Waiting::default() };
        Self { slots: (0..SLOTS).map(|_| slot()).collect(), used: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
    }

    /// Keeps a copy. `false` for a timestamp that is there already. When full, the oldest makes room.
    pub(crate) fn insert(
        &mut self,
        sequence: u16,
        timestamp: i64,
        samples: u32,
        redundancy: Redundancy,
        opus: &[u8],
    ) -> bool {
        if opus.len() > MAX_PACKET || self.slots[..self.used].iter().any(|slot| slot.timestamp == timestamp) {
            return false;
        }
        if self.used == SLOTS {
            self.remove_first();
        }
        let slot = &mut self.slots[self.used];
        slot.timestamp = timestamp;
        slot.sequence = sequence;
        slot.samples = samples;
        slot.redundancy = redundancy;
        slot.opus.clear();
        slot.opus.extend_from_slice(opus);
        self.used += 1;
        true
    }

    fn first_index(&self) -> Option<usize> {
        (0..self.used).min_by_key(|i| self.slots[*i].timestamp)
    }

    /// The oldest.
    pub(crate) fn first(&self) -> Option<&Waiting> {
        self.first_index().map(|i| &self.slots[i])
    }

    /// Drops the oldest.
    pub(crate) fn remove_first(&mut self) {
        if let Some(i) = self.first_index() {
            self.used -= 1;
            self.slots.swap(i, self.used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(store: &mut PacketStore, timestamp: i64, opus: &[u8]) -> bool {
        store.insert(0, timestamp, 960, Redundancy::default(), opus)
    }

    #[test]
    fn packets_come_out_in_order_of_time_once() {
        let mut store = PacketStore::new();
        for timestamp in [2880, 960, 1920, 960, 0] {
            insert(&mut store, timestamp, &[1]);
        }
        let mut order = Vec::new();
        while let Some(first) = store.first() {
            order.push(first.timestamp);
            store.remove_first();
        }
        assert_eq!(order, [0, 960, 1920, 2880]);
    }

    #[test]
    fn a_full_store_drops_the_oldest() {
        let mut store = PacketStore::new();
        for i in 0..=SLOTS as i64 {
            assert!(insert(&mut store, i, &[0; MAX_PACKET]));
        }
        assert_eq!(store.first().map(|first| first.timestamp), Some(1));
        assert!(!insert(&mut store, 1_000, &[0; MAX_PACKET + 1]));
    }
}
