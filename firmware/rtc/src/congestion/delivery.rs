//! How much arrives, by the receiver's clock.

use std::collections::VecDeque;

/// Arrivals that are remembered.
const WINDOW_US: i64 = 1_000_000;
/// Fewer packets than this make no rate.
const MIN_PACKETS: usize = 5;

/// Bytes that arrived, with the time of each.
#[derive(Debug, Default)]
pub(super) struct DeliveryMeter {
    arrivals: VecDeque<(i64, u32)>,
}

impl DeliveryMeter {
    /// `bytes` arrived.
    pub(super) fn arrived(&mut self, arrival_us: i64, bytes: u32) {
        if self.arrivals.back().is_some_and(|(last, _)| (arrival_us - last).abs() > 10 * WINDOW_US) {
            self.arrivals.clear();
        }
        self.arrivals.push_back((arrival_us, bytes));
        while self.arrivals.front().is_some_and(|(first, _)| arrival_us - first > WINDOW_US) {
            self.arrivals.pop_front();
        }
    }

    /// Bits a second over the last `window_us` (at most a second); `None` when too little arrived to say.
    pub(super) fn bps(&self, window_us: i64) -> Option<f64> {
        let (last, _) = *self.arrivals.back()?;
        let recent = self.arrivals.iter().rev().take_while(|(at, _)| last - at <= window_us);
        let (mut first, mut bytes, mut packets) = (last, 0u64, 0);
        let mut first_bytes = 0;
        for (at, size) in recent {
            bytes += u64::from(*size);
            packets += 1;
            if *at <= first {
                (first, first_bytes) = (*at, *size);
            }
        }
        let span = last - first;
        // The first packet's bytes arrived before the span began.
        let bits = (bytes - u64::from(first_bytes)) as f64 * 8.0;
        (packets >= MIN_PACKETS && span >= window_us / 4).then(|| bits * 1e6 / span as f64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_window() {
        let mut meter = DeliveryMeter::default();
        assert_eq!(meter.bps(500_000), None);
        for ms in 0..1000 {
            meter.arrived(ms * 1000, if ms < 700 { 250 } else { 125 });
        }
        let near = |bps: f64, expected: f64| (bps / expected - 1.0).abs() < 0.02;
        assert!(near(meter.bps(250_000).unwrap(), 1e6));
        assert!(near(meter.bps(1_000_000).unwrap(), 1.7e6));
    }
}
