//! Statistics of one incoming stream for receiver reports (RFC 3550 §6.4, appendix A.1, A.3 and A.8).

use super::rtcp::ReportBlock;
use std::time::Instant;

/// What was received of one SSRC.
#[derive(Debug)]
pub(super) struct Reception {
    clock_rate_hz: u32,
    first: Option<u64>,
    /// Highest sequence number with the wraps above it; starts one wrap up so that it never goes below 0.
    highest: u64,
    received: u64,
    reported_expected: u64,
    reported_received: u64,
    jitter: f64,
    last_transit: Option<(Instant, u32)>,
    last_sr: Option<(u32, Instant)>,
}

impl Reception {
    pub(super) fn new(clock_rate_hz: u32) -> Reception {
        Reception {
            clock_rate_hz,
            first: None,
            highest: 0,
            received: 0,
            reported_expected: 0,
            reported_received: 0,
            jitter: 0.0,
            last_transit: None,
            last_sr: None,
        }
    }

    /// Notes a packet of the stream itself (not a repair).
    pub(super) fn received(&mut self, now: Instant, seq: u16, timestamp: u32) {
        self.received += 1;
        if self.first.is_none() {
            let start = 0x1_0000 + u64::from(seq);
            (self.first, self.highest) = (Some(start), start);
        } else {
            let ahead = seq.wrapping_sub(self.highest as u16);
            if ahead < 0x8000 {
                self.highest += u64::from(ahead);
            }
        }
        if let Some((last_at, last_timestamp)) = self.last_transit {
            let arrived =
                now.saturating_duration_since(last_at).as_secs_f64() * f64::from(self.clock_rate_hz);
            let sent = f64::from(timestamp.wrapping_sub(last_timestamp).cast_signed());
            let difference = (arrived - sent).abs();
            // A pause or a jump of the timestamps is no jitter.
            if difference < f64::from(self.clock_rate_hz) {
                self.jitter += (difference - self.jitter) / 16.0;
            }
        }
        self.last_transit = Some((now, timestamp));
    }

    /// Notes a sender report of the stream.
    pub(super) fn sender_report(&mut self, now: Instant, ntp_time: u64) {
        self.last_sr = Some(((ntp_time >> 16) as u32, now));
    }

    /// The block about this stream; `None` while nothing came.
    pub(super) fn report(&mut self, now: Instant, ssrc: u32) -> Option<ReportBlock> {
        let expected = self.highest - self.first? + 1;
        let expected_since = expected - self.reported_expected;
        let received_since = self.received - self.reported_received;
        (self.reported_expected, self.reported_received) = (expected, self.received);
        let lost_since = expected_since.saturating_sub(received_since);
        let fraction = (lost_since * 256).checked_div(expected_since).unwrap_or(0);
        let total_lost = expected.cast_signed() - self.received.cast_signed();
        let (last_sr, delay) = match self.last_sr {
            Some((sr, at)) => (sr, (now.saturating_duration_since(at).as_secs_f64() * 65_536.0) as u32),
            None => (0, 0),
        };
        Some(ReportBlock {
            ssrc,
            fraction_lost: fraction.min(255) as u8,
            total_lost: total_lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_seq: (self.highest - 0x1_0000) as u32,
            jitter: self.jitter as u32,
            last_sr,
            delay,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn loss_is_counted_over_a_wrap_and_per_report() {
        let start = Instant::now();
        let mut reception = Reception::new(90_000);
        for (n, seq) in (0..8_u16).map(|n| (n, 65_533_u16.wrapping_add(n))).filter(|(n, _)| n % 4 != 1) {
            let at = start + Duration::from_millis(10 * u64::from(n));
            reception.received(at, seq, 900 * u32::from(n));
        }
        let block = reception.report(start + Duration::from_millis(100), 7).unwrap();
        assert_eq!((block.total_lost, block.fraction_lost, block.highest_seq), (2, 64, 0x1_0004));
        assert!(block.jitter < 5, "the packets came as they were sent");
        let block = reception.report(start + Duration::from_millis(200), 7).unwrap();
        assert_eq!((block.total_lost, block.fraction_lost), (2, 0));
    }

    #[test]
    fn lateness_is_jitter() {
        let start = Instant::now();
        let mut reception = Reception::new(48_000);
        for n in 0..400_u16 {
            let late = if n % 2 == 0 { 0 } else { 5 };
            let at = start + Duration::from_millis(20 * u64::from(n) + late);
            reception.received(at, n, 960 * u32::from(n));
        }
        let jitter = reception.report(start, 7).unwrap().jitter;
        assert!((200..280).contains(&jitter), "5 ms at 48 kHz are 240, not {jitter}");
    }

    #[test]
    fn the_last_sender_report_is_named() {
        let start = Instant::now();
        let mut reception = Reception::new(48_000);
        reception.received(start, 1, 0);
        reception.sender_report(start, 0x0000_1111_2222_0000);
        let block = reception.report(start + Duration::from_millis(500), 7).unwrap();
        assert_eq!((block.last_sr, block.delay), (0x1111_2222, 32_768));
    }
}
