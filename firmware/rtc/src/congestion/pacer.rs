//! The order and speed in which packets leave. Audio never waits. Video leaves at once while the path carries all
//! that the encoders make; only on a narrow path key frames and repairs are spread.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How much faster than the estimate a narrow path is filled, so that frames do not queue here.
const HEADROOM: f64 = 2.0;
/// Behind a queue on the way that is deeper than this there is none: what is added too fast is lost at its end.
const DEEP_QUEUE: Duration = Duration::from_millis(100);
/// What a narrow path takes at once.
const BURST: Duration = Duration::from_millis(10);
/// A frame older than this is dropped, with its layer's frames until the next key frame.
const MAX_AGE: Duration = Duration::from_millis(300);
/// Bytes of repair that may be sent at once.
const REPAIR_BURST: f64 = 50_000.0;
/// Part of the estimate that repair may take.
const REPAIR_SHARE: f64 = 0.5;

/// A queue of `T` (something with a size) that is emptied at a rate.
#[derive(Debug)]
pub struct Pacer<T> {
    queue: VecDeque<(Instant, usize, T)>,
    /// Bits a second; `None` is no limit.
    rate: Option<f64>,
    /// Bytes that may leave now.
    credit: f64,
    repair_credit: f64,
    repair_rate: f64,
    last: Instant,
}

impl<T> Pacer<T> {
    /// An empty queue without a limit.
    pub fn new(now: Instant) -> Self {
        let repair_rate = 1e6;
        Self {
            queue: VecDeque::new(),
            rate: None,
            credit: 0.0,
            repair_credit: REPAIR_BURST,
            repair_rate,
            last: now,
        }
    }

    /// Sets the estimate and what the encoders make, both in bits a second, and the queue that stands on the way.
    pub fn set_rates(&mut self, estimate_bps: u64, needed_bps: u64, queue: Duration) {
        self.repair_rate = estimate_bps as f64 * REPAIR_SHARE;
        let headroom = if queue > DEEP_QUEUE { 1.0 } else { HEADROOM };
        self.rate = (estimate_bps < needed_bps).then_some(estimate_bps as f64 * headroom);
    }

    /// Whether a packet of `size` bytes may leave at once: nothing waits, and the path takes it. Else
    /// [`Pacer::push`] it.
    pub fn may_pass(&mut self, size: usize, now: Instant) -> bool {
        if !self.queue.is_empty() {
            return false;
        }
        if self.rate.is_none() {
            return true;
        }
        self.refill(now);
        let passes = self.credit > 0.0;
        if passes {
            self.credit -= size as f64;
        }
        passes
    }

    /// Adds a packet; see [`Pacer::poll`].
    pub fn push(&mut self, size: usize, packet: T, now: Instant) {
        self.queue.push_back((now, size, packet));
    }

    /// Whether a repair of `size` bytes may be sent now.
    pub fn may_repair(&mut self, size: usize, now: Instant) -> bool {
        self.refill(now);
        let may = self.repair_credit >= size as f64;
        if may {
            self.repair_credit -= size as f64;
        }
        may
    }

    /// The next packet that may leave.
    pub fn poll(&mut self, now: Instant) -> Option<T> {
        self.refill(now);
        if self.rate.is_some() && self.credit <= 0.0 {
            return None;
        }
        let (_, size, packet) = self.queue.pop_front()?;
        self.credit -= size as f64;
        Some(packet)
    }

    /// Takes everything out when the oldest has waited too long; its layers then need key frames.
    pub fn take_stale(&mut self, now: Instant) -> Vec<T> {
        if self.queue.front().is_some_and(|(at, ..)| now.duration_since(*at) > MAX_AGE) {
            return self.queue.drain(..).map(|(_, _, packet)| packet).collect();
        }
        Vec::new()
    }

    /// When [`Pacer::poll`] has something again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.queue.front()?;
        let rate = self.rate?;
        let seconds = (1.0 - self.credit).max(0.0) * 8.0 / rate;
        Some(self.last + Duration::from_secs_f64(seconds.min(1.0)))
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = self.last.max(now);
        self.repair_credit = (self.repair_credit + self.repair_rate * elapsed / 8.0).min(REPAIR_BURST);
        if let Some(rate) = self.rate {
            self.credit = (self.credit + rate * elapsed / 8.0).min(rate * BURST.as_secs_f64() / 8.0);
        } else {
            self.credit = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_path_takes_a_key_frame_at_once() {
        let now = Instant::now();
        let mut p = Pacer::new(now);
        p.set_rates(5_000_000, 3_000_000, Duration::ZERO);
        for i in 0..100 {
            p.push(1200, i, now);
        }
        assert_eq!(std::iter::from_fn(|| p.poll(now)).count(), 100);
    }

    /// Packets of 10 kbit that leave within 100 ms at an estimate of 1 Mbit/s.
    fn left_in_100_ms(queue: Duration) -> usize {
        let now = Instant::now();
        let mut p = Pacer::new(now);
        p.set_rates(1_000_000, 3_000_000, queue);
        for i in 0..100 {
            p.push(1250, i, now);
        }
        let left = (0..100).map(|ms| {
            let at = now + Duration::from_millis(ms);
            std::iter::from_fn(|| p.poll(at)).count()
        });
        let left = left.sum();
        assert!(p.poll_timeout().is_some());
        left
    }

    #[test]
    fn a_narrow_path_is_filled_at_twice_the_estimate_and_behind_a_queue_at_the_estimate() {
        let left = left_in_100_ms(Duration::ZERO);
        assert!((18..=24).contains(&left), "{left}");
        let left = left_in_100_ms(Duration::from_millis(200));
        assert!((9..=12).contains(&left), "{left}");
    }

    #[test]
    fn what_waits_too_long_is_given_up() {
        let now = Instant::now();
        let mut p = Pacer::new(now);
        p.push(1200, 1, now);
        assert!(p.take_stale(now + MAX_AGE).is_empty());
        assert_eq!(p.take_stale(now + MAX_AGE + Duration::from_millis(1)), [1]);
    }

    #[test]
    fn repair_has_a_budget() {
        let now = Instant::now();
        let mut p: Pacer<()> = Pacer::new(now);
        p.set_rates(1_000_000, 500_000, Duration::ZERO);
        let sent = (0..1000).filter(|_| p.may_repair(1200, now)).count();
        assert!(sent <= 42, "{sent}");
        assert!(p.may_repair(1200, now + Duration::from_millis(100)));
    }
}
