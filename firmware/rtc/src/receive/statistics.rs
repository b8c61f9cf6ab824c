//! What a receiver report says about one stream (RFC 3550 §6.4.1 and appendix A).

use std::time::{Duration, Instant};

use rtc::rtcp::reception_report::ReceptionReport;

/// Counts one SSRC.
#[derive(Debug)]
pub(crate) struct Reception {
    clock_rate: u32,
    base: Option<u64>,
    highest: u64,
    received: u64,
    expected_before: u64,
    received_before: u64,
    jitter: f64,
    transit: Option<i64>,
    epoch: Instant,
    last_sender_report: Option<(u32, Instant)>,
}

impl Reception {
    pub(crate) fn new(clock_rate: u32, now: Instant) -> Self {
        Self {
            clock_rate,
            base: None,
            highest: 0,
            received: 0,
            expected_before: 0,
            received_before: 0,
            jitter: 0.0,
            transit: None,
            epoch: now,
            last_sender_report: None,
        }
    }

    /// A packet arrived, not by repair.
    pub(crate) fn received(&mut self, sequence: u64, timestamp: u32, now: Instant) {
        self.base.get_or_insert(sequence);
        self.received += 1;
        if sequence < self.highest {
            return;
        }
        self.highest = sequence;
        let arrival = (now.duration_since(self.epoch).as_secs_f64() * f64::from(self.clock_rate)) as i64;
        let transit = arrival.wrapping_sub(i64::from(timestamp));
        if let Some(before) = self.transit {
            // Differences modulo 2^32, as the timestamps are.
            let d = f64::from((transit.wrapping_sub(before) as i32).unsigned_abs());
            self.jitter += (d - self.jitter) / 16.0;
        }
        self.transit = Some(transit);
    }

    /// A sender report arrived; `ntp` is its time.
    pub(crate) fn sender_report(&mut self, ntp: u64, now: Instant) {
        self.last_sender_report = Some(((ntp >> 16) as u32, now));
    }

    /// Packets that should have come and packets that came, since the last [`Reception::report`].
    fn interval(&self) -> (u64, u64) {
        let expected = self.base.map_or(0, |base| self.highest + 1 - base);
        (expected - self.expected_before, self.received - self.received_before)
    }

    /// A block of the next receiver report, and the packets expected and lost since the last one.
    pub(crate) fn report(&mut self, ssrc: u32, now: Instant) -> Option<(ReceptionReport, u64, u64)> {
        let base = self.base?;
        let (expected, received) = self.interval();
        let lost = expected.saturating_sub(received);
        let fraction_lost = (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8;
        self.expected_before += expected;
        self.received_before += received;
        let total = (self.highest + 1 - base).saturating_sub(self.received).min(0x7f_ffff);
        let (last_sender_report, delay) = self.last_sender_report.map_or((0, 0), |(ntp, at)| {
            let delay = now.duration_since(at).min(Duration::from_secs(60_000));
            (ntp, (delay.as_secs_f64() * 65_536.0) as u32)
        });
        let report = ReceptionReport {
            ssrc,
            fraction_lost,
            total_lost: total as u32,
            last_sequence_number: self.highest.saturating_sub(0x1_0000) as u32,
            jitter: self.jitter as u32,
            last_sender_report,
            delay,
        };
        Some((report, expected, lost))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_quarter_lost_is_reported_as_a_quarter() {
        let now = Instant::now();
        let mut r = Reception::new(90_000, now);
        let first = 0x1_0000 + 100;
        for i in (0..100).filter(|i| i % 4 != 1) {
            r.received(first + i, i as u32 * 3000, now + Duration::from_micros(i * 33_333));
        }
        let (report, expected, lost) = r.report(7, now + Duration::from_secs(4)).unwrap();
        assert_eq!((expected, lost), (100, 25));
        assert_eq!(report.fraction_lost, 64);
        assert_eq!(report.last_sequence_number, 199);
        assert!(report.jitter < 90, "{}", report.jitter);
        let (report, ..) = r.report(7, now + Duration::from_secs(5)).unwrap();
        assert_eq!(report.fraction_lost, 0, "nothing new was lost");
    }
}
