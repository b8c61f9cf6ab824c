//! How much the path to the service carries. Simple and honest: loss alone never lowers the rate, growing delay
//! does, and silence of the feedback changes nothing.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Least that is ever reported: the low layer, a few frames a second.
pub(crate) const FLOOR_BPS: u64 = 150_000;
/// What is assumed before anything is known.
const START_BPS: u64 = 4_000_000;
/// Packets remembered until their feedback comes.
const MAX_IN_FLIGHT: usize = 4096;
/// Delay above the least seen that counts as a queue.
const QUEUE: Duration = Duration::from_millis(50);
/// The same, but only together with loss.
const QUEUE_WITH_LOSS: Duration = Duration::from_millis(20);
/// Time between two decreases.
const DECREASE_EVERY: Duration = Duration::from_millis(300);
/// The least delay is that of the last ten seconds, so that a changed route is learnt.
const BASE_WINDOW: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct Sent {
    sequence: u16,
    at: Instant,
    size: u32,
}

/// Estimates from transport-wide feedback and the service's own limit (REMB).
#[derive(Debug)]
pub(crate) struct Estimator {
    epoch: Instant,
    rate_bps: f64,
    in_flight: VecDeque<Sent>,
    /// Time and relative one-way delay, in microseconds, both smoothed over one report.
    delays: VecDeque<(Instant, i64)>,
    /// Time and bits of acknowledged packets.
    acknowledged: VecDeque<(Instant, u64)>,
    loss: f32,
    last_decrease: Option<Instant>,
    last_report: Option<Instant>,
    limit: Option<(Instant, u64)>,
    needed_bps: u64,
}

impl Estimator {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            rate_bps: START_BPS as f64,
            in_flight: VecDeque::new(),
            delays: VecDeque::new(),
            acknowledged: VecDeque::new(),
            loss: 0.0,
            last_decrease: None,
            last_report: None,
            limit: None,
            needed_bps: START_BPS,
        }
    }

    /// What the layers would like; the estimate does not grow far beyond what was ever tried.
    pub(crate) fn set_needed(&mut self, bps: u64) {
        self.needed_bps = bps.max(FLOOR_BPS);
    }

    /// A packet with a transport-wide number was sent; only these count.
    pub(crate) fn sent(&mut self, sequence: u16, size: usize, now: Instant) {
        self.in_flight.push_back(Sent { sequence, at: now, size: size as u32 });
        if self.in_flight.len() > MAX_IN_FLIGHT {
            self.in_flight.pop_front();
        }
    }

    /// A report arrived; see [`super::feedback::arrivals`].
    pub(crate) fn reported(&mut self, arrivals: &[(u16, Option<i64>)], now: Instant) {
        let (mut received, mut lost, mut bits, mut delay_sum) = (0u32, 0u32, 0u64, 0i64);
        for (sequence, arrival) in arrivals {
            // Numbers that were never sent with this transport do not count as lost.
            let Some(i) = self.in_flight.iter().position(|s| s.sequence == *sequence) else { continue };
            let sent = self.in_flight[i];
            let Some(arrival) = arrival else {
                lost += 1;
                continue;
            };
            let sent_us = i64::try_from(sent.at.duration_since(self.epoch).as_micros()).unwrap_or(i64::MAX);
            delay_sum += arrival.wrapping_sub(sent_us);
            received += 1;
            bits += u64::from(sent.size) * 8;
        }
        if let Some((last, _)) = arrivals.iter().rev().find(|(_, a)| a.is_some()) {
            // What is older than the newest reported packet is done with.
            while self.in_flight.front().is_some_and(|s| last.wrapping_sub(s.sequence) < 0x8000) {
                self.in_flight.pop_front();
            }
        }
        if received == 0 {
            return;
        }
        let share = lost as f32 / (lost + received) as f32;
        self.loss += (share - self.loss) * 0.2;
        self.acknowledged.push_back((now, bits));
        self.delays.push_back((now, delay_sum / i64::from(received)));
        forget(&mut self.acknowledged, now, Duration::from_millis(1000));
        forget(&mut self.delays, now, BASE_WINDOW);
        self.adapt(now);
    }

    fn adapt(&mut self, now: Instant) {
        let elapsed = self.last_report.map_or(0.0, |at| now.duration_since(at).as_secs_f64()).min(0.5);
        self.last_report = Some(now);
        let queue = self.queue_delay();
        let congested = queue > QUEUE || (queue > QUEUE_WITH_LOSS && self.loss > 0.05);
        let may_decrease = self.last_decrease.is_none_or(|at| now.duration_since(at) >= DECREASE_EVERY);
        if congested {
            if may_decrease {
                let through = self.acknowledged_bps();
                let target = if through > 0 { through as f64 } else { self.rate_bps };
                self.rate_bps = (self.rate_bps * 0.7).max((target * 0.85).min(self.rate_bps));
                self.last_decrease = Some(now);
            }
        } else if queue < QUEUE_WITH_LOSS {
            // Fast until the first trouble, careful after it.
            let recent =
                self.last_decrease.is_some_and(|at| now.duration_since(at) < Duration::from_secs(10));
            let growth: f64 = if recent { 1.08 } else { 1.5 };
            self.rate_bps *= growth.powf(elapsed);
        }
        let ceiling = (self.needed_bps as f64 * 1.5).max(START_BPS as f64);
        self.rate_bps = self.rate_bps.clamp(FLOOR_BPS as f64, ceiling);
    }

    /// Delay of the newest reports above the least of the window.
    fn queue_delay(&self) -> Duration {
        let Some(base) = self.delays.iter().map(|d| d.1).min() else { return Duration::ZERO };
        let newest: Vec<i64> = self.delays.iter().rev().take(3).map(|d| d.1).collect();
        let mean = newest.iter().map(|d| d - base).sum::<i64>() / newest.len().max(1) as i64;
        Duration::from_micros(mean.unsigned_abs())
    }

    /// Bits a second that arrived in the last second.
    fn acknowledged_bps(&self) -> u64 {
        let (Some(first), Some(last)) = (self.acknowledged.front(), self.acknowledged.back()) else {
            return 0;
        };
        let span = last.0.duration_since(first.0);
        if span < Duration::from_millis(200) {
            return 0;
        }
        let bits: u64 = self.acknowledged.iter().skip(1).map(|a| a.1).sum();
        (bits as f64 / span.as_secs_f64()) as u64
    }

    /// The service's own limit (draft-alvestrand-rmcat-remb-03).
    pub(crate) fn limited(&mut self, bps: u64, now: Instant) {
        self.limit = Some((now, bps.max(FLOOR_BPS)));
    }

    /// Bits a second that may be sent.
    pub(crate) fn estimate_bps(&self, now: Instant) -> u64 {
        let own = self.rate_bps as u64;
        match self.limit {
            Some((at, limit)) if now.duration_since(at) < Duration::from_secs(5) => own.min(limit),
            _ => own,
        }
    }

    /// Part of the packets lost lately, 0.0..=1.0.
    pub(crate) fn loss(&self) -> f32 {
        self.loss
    }
}

fn forget<T>(queue: &mut VecDeque<(Instant, T)>, now: Instant, after: Duration) {
    while queue.front().is_some_and(|(at, _)| now.duration_since(*at) > after) {
        queue.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link of `capacity_bps` with a queue of 300 ms and random loss, for `seconds`, fed at the estimate (at
    /// most `offered_bps`); every `audio_every`th number is never reported, as LiveKit does for audio.
    fn run(
        e: &mut Estimator,
        start: Instant,
        seconds: u64,
        capacity_bps: f64,
        loss: f64,
        offered_bps: u64,
    ) -> u64 {
        let mut queue_free_at = 0.0f64;
        let mut sequence = 0u16;
        let mut report = Vec::new();
        let mut budget = 0.0;
        let mut dice = 12_345u64;
        for ms in 0..seconds * 1000 {
            let now = start + Duration::from_millis(ms);
            let t = ms as f64 / 1000.0;
            budget += e.estimate_bps(now).min(offered_bps) as f64 / 1000.0;
            while budget >= 9600.0 {
                budget -= 9600.0;
                sequence = sequence.wrapping_add(1);
                e.sent(sequence, 1200, now);
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let lost = (dice >> 33) as f64 / f64::from(1u32 << 31) < loss;
                queue_free_at = queue_free_at.max(t) + 9600.0 / capacity_bps;
                let dropped = queue_free_at - t > 0.3;
                if dropped {
                    queue_free_at -= 9600.0 / capacity_bps;
                }
                let arrival = (!lost && !dropped).then_some(((queue_free_at + 0.02) * 1e6) as i64);
                report.push((sequence, arrival));
            }
            if ms % 100 == 99 {
                e.reported(&std::mem::take(&mut report), now);
            }
        }
        e.estimate_bps(start + Duration::from_secs(seconds))
    }

    #[test]
    fn loss_alone_does_not_collapse_the_rate() {
        let now = Instant::now();
        let mut e = Estimator::new(now);
        e.set_needed(3_000_000);
        let rate = run(&mut e, now, 20, 50e6, 0.3, 3_000_000);
        assert!(rate >= 3_000_000, "{rate}");
        assert!((e.loss() - 0.3).abs() < 0.1);
    }

    #[test]
    fn a_narrow_link_is_found_and_left_again() {
        let now = Instant::now();
        let mut e = Estimator::new(now);
        e.set_needed(3_000_000);
        let rate = run(&mut e, now, 20, 1e6, 0.0, 3_000_000);
        assert!((400_000..1_300_000).contains(&rate), "{rate}");
        let rate = run(&mut e, now + Duration::from_secs(20), 60, 20e6, 0.0, 3_000_000);
        assert!(rate >= 3_000_000, "{rate}");
    }

    #[test]
    fn numbers_that_were_never_sent_are_not_losses() {
        let now = Instant::now();
        let mut e = Estimator::new(now);
        for i in 0..200u16 {
            let at = now + Duration::from_millis(u64::from(i) * 10);
            e.sent(i * 2, 1200, at);
            e.reported(&[(i * 2, Some(i64::from(i) * 10_000)), (i * 2 + 1, None)], at);
        }
        assert!(e.loss() < 0.01);
    }

    #[test]
    fn the_floor_holds_and_the_services_limit_counts_while_it_is_fresh() {
        let now = Instant::now();
        let mut e = Estimator::new(now);
        e.limited(1, now);
        assert_eq!(e.estimate_bps(now), FLOOR_BPS);
        assert!(e.estimate_bps(now + Duration::from_secs(6)) > FLOOR_BPS);
    }
}
