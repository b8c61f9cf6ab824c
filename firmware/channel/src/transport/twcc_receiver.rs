//! Tells a publisher when its packets arrived (draft-holmer-rmcat-transport-wide-cc-extensions-01), from which
//! it estimates how much it may send.

use super::TransportFeedback;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Time between two feedbacks: libwebrtc's own is 50 to 250 ms.
const INTERVAL: Duration = Duration::from_millis(50);
/// How many packets wait for the next feedback at most; more make one at once.
const MAX_PENDING: usize = 512;
/// How many numbers one feedback may span.
const MAX_SPAN: i64 = 2048;
/// One tick of a delta, in us.
const TICK_US: i64 = 250;

/// Arrival times of one transport.
#[derive(Debug)]
pub struct TwccReceiver {
    epoch: Instant,
    /// Unwrapped number -> arrival after the epoch in us.
    arrivals: BTreeMap<i64, i64>,
    highest: Option<i64>,
    /// The first number that was not reported yet.
    next: Option<i64>,
    feedback_count: u8,
    due: Option<Instant>,
}

impl TwccReceiver {
    /// Counts time from `now` on.
    pub fn new(now: Instant) -> TwccReceiver {
        TwccReceiver {
            epoch: now,
            arrivals: BTreeMap::new(),
            highest: None,
            next: None,
            feedback_count: 0,
            due: None,
        }
    }

    /// Notes when the packet with that transport-wide number arrived: at `now` or before.
    pub fn received(&mut self, now: Instant, arrived: Instant, seq: u16) {
        let seq = self.unwrap(seq);
        // A packet that comes after its place was reported is reported once more, from there on.
        self.next = Some(self.next.map_or(seq, |next| next.min(seq)));
        let at_us = arrived.saturating_duration_since(self.epoch).as_micros() as i64;
        self.arrivals.entry(seq).or_insert(at_us);
        self.due = Some(match self.due {
            _ if self.arrivals.len() >= MAX_PENDING => now,
            Some(due) => due,
            None => now + INTERVAL,
        });
    }

    /// When [`TwccReceiver::poll`] has something to say.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The next feedback, when it is time. Call until there is none.
    pub fn poll(&mut self, now: Instant) -> Option<TransportFeedback> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        let Some((&first, &first_at_us)) = self.arrivals.first_key_value() else {
            self.due = None;
            return None;
        };
        // What was missed before the first arrival is reported as missing.
        let begin = self.next.unwrap_or(first).clamp(first - MAX_SPAN / 2, first);
        let reference_time_64ms = first_at_us / 64_000;
        let mut last_us = reference_time_64ms * 64_000;
        let mut deltas_250us = Vec::new();
        let mut next = begin;
        while let Some((&seq, &at_us)) = self.arrivals.first_key_value() {
            let ticks = (at_us - last_us).div_euclid(TICK_US);
            let Ok(ticks) = i16::try_from(ticks) else { break };
            if seq - begin >= MAX_SPAN {
                break;
            }
            deltas_250us.extend((next..seq).map(|_| None));
            deltas_250us.push(Some(ticks));
            last_us += i64::from(ticks) * TICK_US;
            next = seq + 1;
            self.arrivals.pop_first();
        }
        self.next = Some(next);
        if self.arrivals.is_empty() {
            self.due = None;
        }
        let feedback_count = self.feedback_count;
        self.feedback_count = feedback_count.wrapping_add(1);
        Some(TransportFeedback {
            first_seq: begin as u16,
            feedback_count,
            reference_time_64ms: (reference_time_64ms & 0xff_ffff) as u32,
            deltas_250us,
        })
    }

    fn unwrap(&mut self, seq: u16) -> i64 {
        let unwrapped = match self.highest {
            None => i64::from(seq),
            Some(highest) => highest + i64::from(seq.wrapping_sub(highest as u16).cast_signed()),
        };
        self.highest = Some(self.highest.map_or(unwrapped, |h| h.max(unwrapped)));
        unwrapped
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// (number, arrival in us after the epoch) of all that a feedback reports as received.
    fn arrivals(feedback: &TransportFeedback) -> Vec<(u16, i64)> {
        let mut at_us = i64::from(feedback.reference_time_64ms) * 64_000;
        let mut all = Vec::new();
        for (offset, delta) in feedback.deltas_250us.iter().enumerate() {
            if let Some(delta) = delta {
                at_us += i64::from(*delta) * TICK_US;
                all.push((feedback.first_seq.wrapping_add(offset as u16), at_us));
            }
        }
        all
    }

    #[test]
    fn losses_and_reordering_are_reported() {
        let start = Instant::now();
        let mut receiver = TwccReceiver::new(start);
        for (seq, ms) in [(65_534, 1), (0, 3), (65_535, 5), (3, 9)] {
            // Read 20 ms late: what counts is when they came.
            let arrived = start + Duration::from_millis(ms);
            receiver.received(arrived + Duration::from_millis(20), arrived, seq);
        }
        assert!(receiver.poll(start + Duration::from_millis(70)).is_none());
        let feedback = receiver.poll(start + Duration::from_millis(71)).unwrap();
        assert_eq!(arrivals(&feedback), [(65_534, 1000), (65_535, 5000), (0, 3000), (3, 9000)]);
        assert_eq!(feedback.deltas_250us.len(), 6);
        assert!(receiver.poll(start + Duration::from_millis(80)).is_none());
        assert_eq!(receiver.poll_timeout(), None);
        // What is lost between two feedbacks is in the second.
        let later = start + Duration::from_millis(90);
        receiver.received(later, later, 6);
        let feedback = receiver.poll(start + Duration::from_millis(200)).unwrap();
        assert_eq!(feedback.first_seq, 4);
        assert_eq!(feedback.deltas_250us.iter().filter(|d| d.is_none()).count(), 2);
    }

    proptest! {
        #[test]
        fn any_numbers_end_in_bounded_feedback(
            packets in proptest::collection::vec((any::<u16>(), 0_u64..20_000), 0..800),
        ) {
            let mut now = Instant::now();
            let mut receiver = TwccReceiver::new(now);
            for (seq, gap_us) in packets {
                now += Duration::from_micros(gap_us);
                receiver.received(now, now, seq);
                while let Some(feedback) = receiver.poll(now) {
                    prop_assert!(!feedback.deltas_250us.is_empty());
                    prop_assert!(feedback.deltas_250us.len() as i64 <= MAX_SPAN);
                }
                prop_assert!(receiver.arrivals.len() <= MAX_PENDING);
            }
        }
    }
}
