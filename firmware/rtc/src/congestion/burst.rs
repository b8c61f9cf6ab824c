//! How fast packets arrive that were sent all at once: what the narrowest piece of the way lets through.

use std::collections::VecDeque;

/// Packets sent within this time are one burst.
const AT_ONCE_US: i64 = 1_000;
/// Reports say arrivals in steps of this.
const STEP_US: i64 = 250;
/// A burst of fewer bytes after its first packet tells nothing.
const MIN_BYTES: u64 = 1_000;
/// Bursts that are remembered.
const REMEMBERED: usize = 16;

/// A burst whose packets are being reported.
#[derive(Debug)]
struct Burst {
    sent_us: i64,
    first_us: i64,
    last_us: i64,
    /// Without the first packet's: the clock starts when that one is there.
    bytes: u64,
}

/// Learns from each burst how fast it came.
#[derive(Debug, Default)]
pub(super) struct BurstMeter {
    burst: Option<Burst>,
    /// In bits a second, the newest last.
    speeds: VecDeque<f64>,
}

impl BurstMeter {
    /// A packet arrived.
    pub(super) fn arrived(&mut self, sent_us: i64, arrival_us: i64, bytes: u32) {
        if let Some(burst) = &mut self.burst
            && (0..=AT_ONCE_US).contains(&(sent_us - burst.sent_us))
        {
            burst.last_us = burst.last_us.max(arrival_us);
            burst.bytes += u64::from(bytes);
            return;
        }
        let next = Burst { sent_us, first_us: arrival_us, last_us: arrival_us, bytes: 0 };
        if let Some(burst) = self.burst.replace(next).filter(|burst| burst.bytes >= MIN_BYTES) {
            let span_us = (burst.last_us - burst.first_us).max(STEP_US);
            self.speeds.push_back(burst.bytes as f64 * 8e6 / span_us as f64);
            while self.speeds.len() > REMEMBERED {
                self.speeds.pop_front();
            }
        }
    }

    /// The median of the bursts' speeds, in bits a second; `None` until there were enough: one that a busy receiver
    /// took late, or one that a radio link gathered, is chance.
    pub(super) fn bps(&self) -> Option<f64> {
        if self.speeds.len() < REMEMBERED {
            return None;
        }
        let mut speeds: Vec<f64> = self.speeds.iter().copied().collect();
        speeds.sort_by(f64::total_cmp);
        speeds.get(REMEMBERED / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// Bursts of five packets of 1250 bytes through a link of so many bits a second.
    fn through(meter: &mut BurstMeter, bursts: i64, bps: f64) {
        for burst in 0..bursts {
            for packet in 0..5 {
                let sent = burst * 33_000;
                let through = (f64::from(packet) * 1250.0 * 8e6 / bps) as i64;
                meter.arrived(sent + i64::from(packet) * 10, 5_000 + sent + through, 1250);
            }
        }
    }

    #[test]
    fn a_link_lets_bursts_through_at_its_own_speed() {
        for bps in [1e6, 3e6, 20e6] {
            let mut meter = BurstMeter::default();
            through(&mut meter, 8, bps);
            assert_eq!(meter.bps(), None, "too few");
            through(&mut meter, 20, bps);
            assert!((meter.bps().unwrap() / bps - 1.0).abs() < 0.05);
        }
    }

    #[test]
    fn one_late_packet_is_chance() {
        let mut meter = BurstMeter::default();
        through(&mut meter, 20, 20e6);
        meter.arrived(10_000_000, 10_000_000, 1250);
        meter.arrived(10_000_001, 10_080_000, 1250);
        meter.arrived(10_100_000, 10_100_000, 1250);
        assert!(meter.bps().unwrap() > 19e6);
    }

    #[test]
    fn packets_sent_one_by_one_tell_nothing() {
        let mut meter = BurstMeter::default();
        (0..1000).for_each(|ms| meter.arrived(ms * 2_000, ms * 2_000, 1250));
        assert_eq!(meter.bps(), None);
    }

    proptest! {
        #[test]
        fn any_order_of_anything_is_borne(packets in prop::collection::vec((-5_000i64..5_000, any::<i32>(), 0u32..2_000), 0..300)) {
            let mut meter = BurstMeter::default();
            for (sent, arrival, bytes) in packets {
                meter.arrived(sent, arrival.into(), bytes);
                prop_assert!(meter.bps().is_none_or(|bps| bps.is_finite() && bps > 0.0));
                prop_assert!(meter.speeds.len() <= REMEMBERED);
            }
        }
    }
}
