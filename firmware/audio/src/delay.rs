//! How late packets are, and how long they should wait therefore.

use rostrum_hal::Timestamp;
use std::time::Duration;

/// Width of a class of lateness: 5 ms.
const CLASS: i64 = 240;
const CLASSES: usize = 60;
/// How much one packet outlives the next: half of the memory is some 230 packets old.
const MEMORY: f32 = 0.997;
/// The share of packets that shall be in time.
const IN_TIME: f32 = 0.97;
/// Beside the lateness: half a period of the speaker, as packets and periods are not in step.
const MARGIN: i64 = 240;
/// The shortest and the longest wait: 15 and 200 ms.
const SHORTEST: i64 = 720;
const LONGEST: i64 = 9_600;
/// The fastest packet is looked for among those of the last one to two of these.
const BASE_PERIOD: Duration = Duration::from_secs(5);

/// Learns from arrivals. All lengths are samples at 48 kHz.
pub(crate) struct DelayEstimator {
    classes: [f32; CLASSES],
    /// The fastest transit of this and of the last period.
    fastest: Option<(i64, i64)>,
    period_since: Timestamp,
}

impl DelayEstimator {
    /// Knows nothing, and starts with a wait of 20 ms.
    pub(crate) fn new() -> Self {
        let mut classes = [0.0; CLASSES];
        classes[2] = 1.0;
        Self { classes, fastest: None, period_since: Timestamp::default() }
    }

    /// The sender's clock jumped: lateness is measured anew; how uneven the network is stays known.
    pub(crate) fn forget_clock(&mut self) {
        self.fastest = None;
    }

    /// A packet of `timestamp` came at `arrival`: how much later than the fastest.
    pub(crate) fn observe(&mut self, timestamp: i64, arrival: Timestamp) -> i64 {
        // 48 samples a millisecond; a monotonic clock stays far below 2^63 / 48 microseconds.
        let arrived = (arrival.since_start().as_micros() as i64).saturating_mul(48) / 1000;
        let transit = arrived.saturating_sub(timestamp);
        let (mut current, mut last) = self.fastest.unwrap_or_else(|| {
            self.period_since = arrival;
            (transit, transit)
        });
        if arrival.saturating_since(self.period_since) >= BASE_PERIOD {
            self.period_since = arrival;
            (current, last) = (transit, current);
        }
        current = current.min(transit);
        self.fastest = Some((current, last));
        let late = transit.saturating_sub(current.min(last));
        self.observe_late(late);
        late
    }

    /// A packet was there so much later than the fastest would have been.
    pub(crate) fn observe_late(&mut self, late: i64) {
        let class = usize::try_from(late / CLASS).unwrap_or(0).min(CLASSES - 1);
        for share in &mut self.classes {
            *share *= MEMORY;
        }
        self.classes[class] += 1.0 - MEMORY;
    }

    /// How long the fastest packet should wait.
    pub(crate) fn target(&self) -> i64 {
        let mut sum = 0.0;
        let class = self
            .classes
            .iter()
            .position(|share| {
                sum += share;
                sum >= IN_TIME
            })
            .unwrap_or(CLASSES - 1);
        ((class as i64 + 1) * CLASS + MARGIN).clamp(SHORTEST, LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(estimator: &mut DelayEstimator, packets: std::ops::Range<u64>, late_ms: impl Fn(u64) -> u64) {
        for i in packets {
            let at = Timestamp::from_clock(Duration::from_millis(1_000 + i * 20 + late_ms(i)));
            estimator.observe(i as i64 * 960, at);
        }
    }

    #[test]
    fn an_even_network_gets_the_shortest_wait_after_starting_at_20_ms() {
        let mut estimator = DelayEstimator::new();
        assert_eq!(estimator.target(), 960);
        arrive(&mut estimator, 0..1_500, |_| 0);
        assert_eq!(estimator.target(), SHORTEST);
    }

    #[test]
    fn an_uneven_network_gets_a_wait_as_long_as_its_unevenness() {
        let mut estimator = DelayEstimator::new();
        arrive(&mut estimator, 0..1_000, |i| (i * 7) % 60);
        assert!((50 * 48..=70 * 48).contains(&estimator.target()), "{}", estimator.target());
        arrive(&mut estimator, 1_000..3_000, |_| 0);
        assert_eq!(estimator.target(), SHORTEST);
    }

    #[test]
    fn a_single_hiccup_does_not_lengthen_the_wait() {
        let mut estimator = DelayEstimator::new();
        arrive(&mut estimator, 0..1_500, |i| if i == 700 { 180 } else { 0 });
        assert_eq!(estimator.target(), SHORTEST);
    }

    #[test]
    fn a_slower_path_is_no_jitter_for_long() {
        let mut estimator = DelayEstimator::new();
        arrive(&mut estimator, 0..500, |_| 0);
        arrive(&mut estimator, 500..4_000, |_| 80);
        assert_eq!(estimator.target(), SHORTEST);
    }
}
