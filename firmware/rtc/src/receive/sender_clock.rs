//! When what arrives was captured, by the publisher's own clock: sender reports say which wall clock time an RTP
//! timestamp is (RFC 3550 §6.4.1). Sound and picture of one publisher share that clock, and are in step by it.

use std::time::Duration;

/// A report this far from what was expected is of another clock, or false: it must be said twice.
const JUMP_US: i64 = 100_000;
/// The publisher's clocks are compared over at least so long, and at most over twice the second.
const COMPARED_FROM_US: i64 = 30_000_000;
const COMPARED_OVER_US: i64 = 120_000_000;
/// No sound card or camera is further off.
const MOST_SKEW: f64 = 500e-6;

/// One report: the wall clock, microseconds since 1900, at an RTP timestamp.
#[derive(Clone, Copy, Debug)]
struct Reference {
    rtp: u32,
    wall_us: i64,
}

/// The clock of one received stream.
#[derive(Debug)]
pub(super) struct SenderClock {
    rate_hz: f64,
    newest: Option<Reference>,
    /// What the newest is compared with, and what takes its place when it is too old.
    oldest: Option<Reference>,
    next_oldest: Option<Reference>,
    doubtful: Option<Reference>,
    /// How much slower than nominal the RTP clock runs.
    skew: f64,
}

impl SenderClock {
    pub(super) fn new(rate_hz: u32) -> Self {
        Self {
            rate_hz: f64::from(rate_hz),
            newest: None,
            oldest: None,
            next_oldest: None,
            doubtful: None,
            skew: 0.0,
        }
    }

    /// A sender report: the RTP timestamp `rtp` is `ntp`, in NTP's 32.32 format.
    pub(super) fn report(&mut self, rtp: u32, ntp: u64) {
        // A publisher without a wall clock says 0.
        if ntp == 0 {
            return;
        }
        let micros = ((ntp & 0xffff_ffff) * 1_000_000) >> 32;
        let reference = Reference { rtp, wall_us: (ntp >> 32) as i64 * 1_000_000 + micros as i64 };
        let Some(newest) = self.newest else {
            self.begin(reference);
            return;
        };
        let off = |from: Reference| (self.at(from, rtp) - reference.wall_us).abs();
        if off(newest) > JUMP_US {
            match self.doubtful {
                Some(doubtful) if off(doubtful) <= JUMP_US => self.begin(reference),
                _ => self.doubtful = Some(reference),
            }
            return;
        }
        self.doubtful = None;
        self.newest = Some(reference);
        self.compare(reference);
    }

    fn begin(&mut self, reference: Reference) {
        self.newest = Some(reference);
        self.oldest = Some(reference);
        self.next_oldest = None;
        self.doubtful = None;
        self.skew = 0.0;
    }

    fn compare(&mut self, newest: Reference) {
        let Some(oldest) = self.oldest else { return };
        let passed = newest.wall_us - oldest.wall_us;
        if passed >= COMPARED_FROM_US {
            let by_rtp = f64::from(newest.rtp.wrapping_sub(oldest.rtp) as i32) / self.rate_hz * 1e6;
            self.skew = (passed as f64 / by_rtp.max(1.0) - 1.0).clamp(-MOST_SKEW, MOST_SKEW);
        }
        if passed >= COMPARED_OVER_US {
            match self.next_oldest {
                Some(next) if passed >= 2 * COMPARED_OVER_US => {
                    (self.oldest, self.next_oldest) = (Some(next), Some(newest));
                }
                None => self.next_oldest = Some(newest),
                Some(_) => {}
            }
        }
    }

    fn at(&self, reference: Reference, rtp: u32) -> i64 {
        let moved = f64::from(rtp.wrapping_sub(reference.rtp) as i32) / self.rate_hz * (1.0 + self.skew);
        reference.wall_us + (moved * 1e6).round() as i64
    }

    /// The publisher's wall clock, since 1900, when what has this timestamp was captured; `None` before the first
    /// report.
    pub(super) fn captured(&self, rtp: u32) -> Option<Duration> {
        let wall_us = self.at(self.newest?, rtp);
        u64::try_from(wall_us).ok().map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_US: i64 = 3_900_000_000_000_000;

    fn ntp(wall_us: i64) -> u64 {
        let (seconds, micros) = (wall_us as u64 / 1_000_000, wall_us as u64 % 1_000_000);
        (seconds << 32) | (((micros << 32) + 500_000) / 1_000_000)
    }

    /// A publisher whose RTP clock is off by `ppm`, and starts just before it wraps.
    fn rtp(rate_hz: f64, ppm: f64, since_us: i64) -> u32 {
        (u32::MAX - 1_000).wrapping_add((since_us as f64 / 1e6 * rate_hz * (1.0 + ppm * 1e-6)) as u64 as u32)
    }

    fn error_us(clock: &SenderClock, rate_hz: f64, ppm: f64, since_us: i64) -> i64 {
        let captured = clock.captured(rtp(rate_hz, ppm, since_us)).map_or(0, |c| c.as_micros() as i64);
        captured - START_US - since_us
    }

    #[test]
    fn nothing_is_known_before_the_first_report_and_of_a_sender_without_a_clock() {
        let mut clock = SenderClock::new(48_000);
        clock.report(1, 0);
        assert_eq!(clock.captured(1), None);
        clock.report(1, ntp(START_US));
        assert_eq!(clock.captured(48_001).map(|c| c.as_micros() as i64), Some(START_US + 1_000_000));
        assert_eq!(
            clock.captured(1_u32.wrapping_sub(48_000)).map(|c| c.as_micros() as i64),
            Some(START_US - 1_000_000)
        );
    }

    #[test]
    fn drift_wrapping_and_reports_that_do_not_come_keep_it_within_5_ms() {
        for (rate_hz, ppm) in [(48_000.0, 200.0), (90_000.0, -200.0), (90_000.0, 30.0)] {
            let mut clock = SenderClock::new(rate_hz as u32);
            // Reports every 5 s for two hours but for a gap of a minute every ten.
            for second in (0..7_200_i64).step_by(5) {
                let since = second * 1_000_000;
                if second % 600 < 540 {
                    clock.report(rtp(rate_hz, ppm, since), ntp(START_US + since));
                }
                let after = since + 4_000_000;
                let error = error_us(&clock, rate_hz, ppm, after);
                let most = if second < 60 { 10_000 } else { 5_000 };
                assert!(error.abs() < most, "{error} us off after {second} s at {ppm} ppm");
            }
        }
    }

    #[test]
    fn a_false_report_changes_nothing_and_a_clock_that_was_set_is_believed_the_second_time() {
        let mut clock = SenderClock::new(90_000);
        for second in 0..20_i64 {
            let since = second * 1_000_000;
            clock.report(rtp(90_000.0, 0.0, since), ntp(START_US + since));
        }
        clock.report(rtp(90_000.0, 0.0, 20_000_000), ntp(START_US + 77_000_000));
        assert!(error_us(&clock, 90_000.0, 0.0, 20_000_000).abs() < 100);
        clock.report(rtp(90_000.0, 0.0, 21_000_000), ntp(START_US + 21_000_000 - 3_000_000));
        clock.report(rtp(90_000.0, 0.0, 26_000_000), ntp(START_US + 26_000_000 - 3_000_000));
        let error = error_us(&clock, 90_000.0, 0.0, 26_000_000);
        assert!((error + 3_000_000).abs() < 100, "{error}");
    }

    #[test]
    fn any_report_can_come() {
        let mut clock = SenderClock::new(48_000);
        let mut state = 1_u64;
        for _ in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            clock.report((state >> 16) as u32, state);
            let _ = clock.captured(state as u32);
        }
    }
}
