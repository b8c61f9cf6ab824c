//! Packets of one incoming stream, kept a while to answer subscribers that lost them.

use std::time::{Duration, Instant};

/// What is kept of a packet: its payload as it came, without a copy, and what its header needs.
#[derive(Debug, Clone)]
pub struct Stored<P> {
    /// Extended sequence number.
    pub number: u64,
    /// When it came.
    pub arrival: Instant,
    /// Bytes that it keeps alive.
    pub bytes: usize,
    /// The packet.
    pub packet: P,
}

/// Bounds of a [`History`].
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Packets.
    pub packets: usize,
    /// Bytes over all packets.
    pub bytes: usize,
    /// Age.
    pub age: Duration,
}

impl Bounds {
    /// For a layer of video: two seconds of any rate that a room sends.
    pub const VIDEO: Self = Self { packets: 1024, bytes: 2 << 20, age: Duration::from_secs(2) };
    /// For sound.
    pub const AUDIO: Self = Self { packets: 64, bytes: 64 << 10, age: Duration::from_secs(1) };
}

/// A ring of packets by number, bounded in packets, bytes and age.
#[derive(Debug)]
pub struct History<P> {
    bounds: Bounds,
    slots: Vec<Option<Stored<P>>>,
    /// No packet below this number is kept.
    oldest: u64,
    /// One above the highest number.
    end: u64,
    bytes: usize,
}

impl<P> History<P> {
    /// An empty history.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, slots: Vec::new(), oldest: 0, end: 0, bytes: 0 }
    }

    fn slot(&self, number: u64) -> usize {
        (number % self.bounds.packets as u64) as usize
    }

    /// Keeps a packet. `false` when it is a duplicate or older than what is kept.
    pub fn insert(&mut self, stored: Stored<P>) -> bool {
        let (number, now) = (stored.number, stored.arrival);
        if self.slots.is_empty() {
            self.slots.resize_with(self.bounds.packets, || None);
            // Room for packets that the first one overtook.
            self.oldest = number.saturating_sub(32.min(self.bounds.packets as u64 / 2));
            self.end = self.oldest;
        }
        if number < self.oldest || self.contains(number) {
            return false;
        }
        self.end = self.end.max(number + 1);
        self.evict_below(self.end.saturating_sub(self.bounds.packets as u64));
        let slot = self.slot(number);
        self.bytes += stored.bytes;
        self.slots[slot] = Some(stored);
        self.evict_surplus(now);
        true
    }

    /// Drops the oldest packets that are over the bounds of bytes or age.
    fn evict_surplus(&mut self, now: Instant) {
        let mut number = self.oldest;
        while number < self.end {
            if let Some(kept) = self.get(number) {
                let too_old = now.saturating_duration_since(kept.arrival) > self.bounds.age;
                if !too_old && self.bytes <= self.bounds.bytes {
                    break;
                }
                self.evict_below(number + 1);
            }
            number += 1;
        }
    }

    fn evict_below(&mut self, number: u64) {
        if number.saturating_sub(self.oldest) >= self.bounds.packets as u64 {
            // More than a turn of the ring: nothing of it stays.
            self.slots.iter_mut().for_each(|slot| *slot = None);
            self.bytes = 0;
        }
        for n in self.oldest.max(number.saturating_sub(self.bounds.packets as u64))..number {
            let slot = self.slot(n);
            if let Some(kept) = self.slots[slot].take_if(|kept| kept.number == n) {
                self.bytes -= kept.bytes;
            }
        }
        self.oldest = self.oldest.max(number);
    }

    /// Whether the packet is kept.
    pub fn contains(&self, number: u64) -> bool {
        self.get(number).is_some()
    }

    /// A packet by its number.
    pub fn get(&self, number: u64) -> Option<&Stored<P>> {
        self.slots.get(self.slot(number))?.as_ref().filter(|kept| kept.number == number)
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { packets: 16, bytes: 10_000, age: Duration::from_secs(2) };

    fn stored(start: Instant, number: u64, at_ms: u64, bytes: usize) -> Stored<()> {
        Stored { number, arrival: start + Duration::from_millis(at_ms), bytes, packet: () }
    }

    #[test]
    fn a_packet_is_found_until_it_is_too_old() {
        let start = Instant::now();
        let mut history = History::new(BOUNDS);
        assert!(history.insert(stored(start, 100, 0, 10)));
        assert!(history.insert(stored(start, 101, 1_900, 10)));
        assert!(history.contains(100));
        assert!(history.insert(stored(start, 102, 2_100, 10)));
        assert!(!history.contains(100) && history.contains(101));
    }

    #[test]
    fn a_duplicate_is_told() {
        let start = Instant::now();
        let mut history = History::new(BOUNDS);
        assert!(history.insert(stored(start, 100, 0, 10)));
        assert!(!history.insert(stored(start, 100, 1, 10)));
        assert!(history.insert(stored(start, 99, 2, 10)), "a late one is no duplicate");
    }

    proptest! {
        #[test]
        fn it_never_grows_over_its_bounds(packets in prop::collection::vec((0u64..5_000, 0u64..50, 1usize..3_000), 1..400)) {
            let start = Instant::now();
            let mut history = History::new(BOUNDS);
            let mut time = 0;
            for (number, later, bytes) in packets {
                time += later;
                history.insert(stored(start, number, time, bytes));
                prop_assert!(history.bytes() <= BOUNDS.bytes);
                let kept: Vec<_> = history.slots.iter().flatten().collect();
                prop_assert!(kept.len() <= BOUNDS.packets);
                prop_assert_eq!(kept.iter().map(|k| k.bytes).sum::<usize>(), history.bytes());
            }
        }
    }
}
