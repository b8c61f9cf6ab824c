//! The queue on the way, from one-way delays on two clocks that are not the same.

use std::collections::VecDeque;

/// A queue stands when even the least delay of this time is above the base: single late packets of a radio
/// link are no queue.
const STANDING_US: i64 = 100_000;
/// The base is the least delay of this time, so that a changed route is learnt.
const BASE_US: i64 = 10_000_000;
/// The base is kept in pieces of this time.
const PIECE_US: i64 = 500_000;

/// Learns the base delay and tells the standing queue.
#[derive(Debug, Default)]
pub(super) struct QueueMeter {
    /// Start of a piece of time and the least delay in it, in microseconds; the least first.
    base: VecDeque<(i64, i64)>,
    /// Arrival and delay; delays ascend.
    recent: VecDeque<(i64, i64)>,
    newest: i64,
}

impl QueueMeter {
    /// A packet arrived `delay_us` after it was sent, plus a constant that nobody knows.
    pub(super) fn arrived(&mut self, arrival_us: i64, delay_us: i64) {
        if (arrival_us - self.newest).abs() > BASE_US {
            // Another clock.
            self.base.clear();
            self.recent.clear();
            self.newest = arrival_us;
        }
        self.newest = self.newest.max(arrival_us);
        // Both queues hold only what could still become the least.
        let piece = arrival_us - arrival_us.rem_euclid(PIECE_US);
        while self.base.back().is_some_and(|(_, least)| *least >= delay_us) {
            self.base.pop_back();
        }
        self.base.push_back((piece, delay_us));
        while self.base.front().is_some_and(|(at, _)| self.newest - at > BASE_US) {
            self.base.pop_front();
        }
        if self.base.len() > 64 {
            // Many delays, each a little above the one before, within one piece: the first says it all.
            self.base.make_contiguous();
            let mut last = None;
            self.base.retain(|(at, _)| last.replace(*at) != Some(*at));
        }
        while self.recent.back().is_some_and(|(_, least)| *least >= delay_us) {
            self.recent.pop_back();
        }
        self.recent.push_back((arrival_us, delay_us));
        while self.recent.front().is_some_and(|(at, _)| self.newest - at > STANDING_US) {
            self.recent.pop_front();
        }
    }

    /// The standing queue in microseconds.
    pub(super) fn standing_us(&self) -> i64 {
        match (self.base.front(), self.recent.front()) {
            (Some((_, base)), Some((_, least))) => (least - base).max(0),
            _ => 0,
        }
    }

    /// What stands now is how long the way is: the base is learnt anew.
    pub(super) fn rebase(&mut self) {
        self.base.clear();
        if let Some((at, least)) = self.recent.front() {
            self.base.push_back((at - at.rem_euclid(PIECE_US), *least));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn single_late_packets_are_no_queue_but_a_row_of_them_is() {
        let mut meter = QueueMeter::default();
        for ms in 0..500 {
            let late = if ms % 20 == 0 { 60_000 } else { 0 };
            meter.arrived(ms * 1000, -777 + late);
        }
        assert_eq!(meter.standing_us(), 0);
        for ms in 500..650 {
            meter.arrived(ms * 1000, -777 + 40_000);
        }
        assert_eq!(meter.standing_us(), 40_000);
        meter.rebase();
        assert_eq!(meter.standing_us(), 0);
    }

    #[test]
    fn a_longer_route_is_learnt() {
        let mut meter = QueueMeter::default();
        for ms in 0..12_000 {
            meter.arrived(ms * 1000, if ms < 1000 { 10_000 } else { 90_000 });
        }
        assert_eq!(meter.standing_us(), 0);
    }

    proptest! {
        #[test]
        fn it_never_grows(samples in prop::collection::vec((0i64..50_000, -1_000_000i64..1_000_000), 1..3_000)) {
            let mut meter = QueueMeter::default();
            let mut now = 0;
            for (later, delay) in samples {
                now += later;
                meter.arrived(now, delay);
                prop_assert!(meter.standing_us() >= 0);
                prop_assert!(meter.base.len() <= 65 && meter.recent.len() <= 3_000);
            }
        }
    }
}
