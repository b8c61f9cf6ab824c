//! The estimator on simulated paths, in virtual time.
#![allow(clippy::unwrap_used)]

use super::*;

/// A path: so much a second through a queue of so long, with random loss and a delay.
#[derive(Clone, Copy)]
struct Path {
    capacity_bps: f64,
    queue_s: f64,
    loss: f64,
}

impl Path {
    fn wide() -> Self {
        Self { capacity_bps: 50e6, queue_s: 0.3, loss: 0.0 }
    }
}

/// Sends at the estimate, at most `offered_bps`, with probes.
struct Sender {
    estimator: Estimator,
    now: Instant,
    start: Instant,
    number: u16,
    free_at: f64,
    budget: f64,
    dice: u64,
    report: Vec<(u16, Option<i64>)>,
    /// The deepest queue of the last run, in seconds.
    deepest: f64,
}

impl Sender {
    fn new(start_bps: u64) -> Self {
        let now = Instant::now();
        let estimator = Estimator::new(now, Options { start_bps });
        Self {
            estimator,
            now,
            start: now,
            number: 0,
            free_at: 0.0,
            budget: 0.0,
            dice: 12_345,
            report: Vec::new(),
            deepest: 0.0,
        }
    }

    fn send(&mut self, path: Path, bytes: usize) {
        self.number = self.number.wrapping_add(1);
        self.estimator.sent(self.number, bytes, self.now);
        let t = (self.now - self.start).as_secs_f64();
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let lost = (self.dice >> 33) as f64 / f64::from(1u32 << 31) < path.loss;
        let through = bytes as f64 * 8.0 / path.capacity_bps;
        let full = self.free_at - t > path.queue_s;
        if !full {
            self.free_at = self.free_at.max(t) + through;
        }
        self.deepest = self.deepest.max(self.free_at - t);
        let arrival = (!lost && !full).then_some(((self.free_at + 0.02) * 1e6) as i64);
        self.report.push((self.number, arrival));
    }

    /// Runs for so long; the estimate at the end.
    fn run(&mut self, seconds: f64, path: Path, offered_bps: u64) -> u64 {
        self.deepest = 0.0;
        for _ in 0..(seconds * 1000.0).round() as u64 {
            self.now += Duration::from_millis(1);
            self.budget += self.estimator.estimate_bps(self.now).min(offered_bps) as f64 / 8000.0;
            while self.budget >= 1200.0 {
                self.budget -= 1200.0;
                self.send(path, 1200);
            }
            let mut padding = self.estimator.padding(self.now);
            while padding > 0 {
                self.send(path, 1200);
                padding = padding.saturating_sub(1200);
            }
            if (self.now - self.start).as_millis() % 80 == 79 {
                let report = std::mem::take(&mut self.report);
                // What is still in the queue is not reported yet.
                let t = (self.now - self.start).as_secs_f64() * 1e6;
                let (done, later) =
                    report.into_iter().partition(|(_, at)| at.is_none_or(|at| (at as f64) < t));
                self.report = later;
                self.estimator.reported(done, self.now);
            }
        }
        self.estimator.estimate_bps(self.now)
    }

    /// Seconds until the estimate meets a condition, at most `limit`.
    fn until(&mut self, limit: f64, path: Path, offered_bps: u64, met: impl Fn(u64) -> bool) -> f64 {
        let from = self.now;
        while (self.now - from).as_secs_f64() < limit {
            if met(self.run(0.08, path, offered_bps)) {
                break;
            }
        }
        (self.now - from).as_secs_f64()
    }
}

#[test]
fn loss_alone_does_not_collapse_the_rate() {
    for loss in [0.05, 0.3, 0.7] {
        let mut sender = Sender::new(4_000_000);
        sender.estimator.set_needed(3_000_000);
        let rate = sender.run(20.0, Path { loss, ..Path::wide() }, 3_000_000);
        assert!(rate >= 3_000_000, "{rate} at {loss}");
        assert!((sender.estimator.loss() - loss as f32).abs() < 0.15);
    }
}

#[test]
fn a_narrow_path_is_found_at_once_and_left_within_seconds() {
    let mut sender = Sender::new(4_000_000);
    sender.estimator.set_needed(3_000_000);
    sender.run(5.0, Path::wide(), 2_500_000);
    let narrow = Path { capacity_bps: 500e3, queue_s: 0.4, loss: 0.0 };
    let down = sender.until(5.0, narrow, 2_500_000, |bps| bps < 550_000);
    assert!(down < 1.3, "{down} s down");
    let steady = sender.run(10.0, narrow, 2_500_000);
    assert!((250_000..550_000).contains(&steady), "{steady}");
    let up = sender.until(20.0, Path { capacity_bps: 3e6, ..narrow }, 2_500_000, |bps| bps > 2_000_000);
    assert!(up < 8.0, "{up} s up");
}

#[test]
fn what_a_layered_sender_does_not_use_is_found_by_probes() {
    // It sends 200 kbit/s and could use 2 Mbit/s: only probes can tell that the path carries it.
    let mut sender = Sender::new(4_000_000);
    sender.estimator.set_needed(2_000_000);
    let narrow = Path { capacity_bps: 400e3, queue_s: 0.4, loss: 0.0 };
    sender.run(6.0, narrow, 2_000_000);
    sender.run(10.0, narrow, 200_000);
    let held = sender.run(10.0, narrow, 200_000);
    assert!(held < 450_000, "{held}");
    assert!(sender.deepest < 0.25, "probes made a queue of {} s", sender.deepest);
    let up = sender.until(20.0, Path::wide(), 200_000, |bps| bps >= 2_000_000);
    assert!(up < 8.0, "{up} s up");
}

#[test]
fn a_policer_without_a_queue_is_told_from_a_lossy_link() {
    let mut sender = Sender::new(4_000_000);
    sender.estimator.set_needed(3_000_000);
    let policer = Path { capacity_bps: 1e6, queue_s: 0.012, loss: 0.0 };
    let rate = sender.run(20.0, policer, 3_000_000);
    assert!((500_000..1_300_000).contains(&rate), "{rate}");
}

#[test]
fn a_route_that_became_longer_is_no_congestion_for_ever() {
    let mut sender = Sender::new(4_000_000);
    sender.estimator.set_needed(2_000_000);
    sender.run(3.0, Path::wide(), 2_000_000);
    // The same capacity, 100 ms more delay: as if the queue stood there.
    for second in 0..20 {
        for ms in 0..1000u64 {
            sender.now += Duration::from_millis(1);
            if ms % 5 == 0 {
                sender.number = sender.number.wrapping_add(1);
                sender.estimator.sent(sender.number, 1200, sender.now);
                let at = (sender.now - sender.start).as_micros() as i64 + 120_000;
                sender.report.push((sender.number, Some(at)));
            }
            if ms % 80 == 79 {
                let report = std::mem::take(&mut sender.report);
                sender.estimator.reported(report, sender.now);
            }
        }
        if second > 12 {
            assert!(sender.estimator.queue() < Duration::from_millis(5));
        }
    }
    assert!(sender.estimator.estimate_bps(sender.now) >= 1_200_000);
}

#[test]
fn a_calm_path_tells_how_fast_bursts_pass() {
    // 30 pictures of eight packets a second: 2.3 Mbit/s.
    let pictures = |sender: &mut Sender, seconds: f64, path: Path| {
        for _ in 0..(seconds * 30.0) as u32 {
            (0..8).for_each(|_| sender.send(path, 1200));
            // What a run offers beside them is next to nothing.
            sender.run(0.033, path, 1);
        }
        sender.estimator.calm_burst_bps(sender.now)
    };
    let mut sender = Sender::new(4_000_000);
    sender.estimator.set_needed(2_400_000);
    let wide = Path { capacity_bps: 30e6, ..Path::wide() };
    assert_eq!(pictures(&mut sender, 1.5, wide), None, "too early to say");
    let speed = pictures(&mut sender, 4.0, wide).unwrap();
    assert!((25_000_000..35_000_000).contains(&speed), "{speed}");
    let narrow = Path { capacity_bps: 1e6, ..wide };
    assert_eq!(pictures(&mut sender, 1.5, narrow), None, "a queue stands");
    assert_eq!(pictures(&mut sender, 1.5, wide), None, "it was narrow just now");
    // Reports stop.
    pictures(&mut sender, 6.0, wide).unwrap();
    assert_eq!(sender.estimator.calm_burst_bps(sender.now + Duration::from_secs(2)), None);
}

#[test]
fn numbers_that_were_never_sent_are_not_losses() {
    let now = Instant::now();
    let mut e = Estimator::new(now, Options { start_bps: 4_000_000 });
    for i in 0..200u16 {
        let at = now + Duration::from_millis(u64::from(i) * 10);
        e.sent(i * 2, 1200, at);
        e.reported([(i * 2, Some(i64::from(i) * 10_000)), (i * 2 + 1, None)], at);
    }
    assert!(e.loss() < 0.01);
}

#[test]
fn the_floor_holds_and_the_other_ends_limit_counts_while_it_is_fresh() {
    let now = Instant::now();
    let mut e = Estimator::new(now, Options { start_bps: 4_000_000 });
    e.limited(1, now);
    assert_eq!(e.estimate_bps(now), FLOOR_BPS);
    let later = now + Duration::from_secs(6);
    assert_eq!(e.estimate_bps(later), FLOOR_BPS, "it alone measures");
    e.sent(1, 1200, now);
    e.reported([(1, Some(0))], now);
    assert!(e.estimate_bps(later) > FLOOR_BPS);
}

/// A receiver that measures for itself: it allows half as much again as what arrives, and never more than the path
/// carries.
fn with_a_measuring_receiver(
    e: &mut Estimator,
    from: Instant,
    seconds: f64,
    capacity: f64,
    used: f64,
) -> u64 {
    let (mut arrived, mut budget) = (0.0, 0.0);
    for ms in 1..=(seconds * 1000.0) as u64 {
        let now = from + Duration::from_millis(ms);
        budget += used.min(e.estimate_bps(now) as f64) / 8000.0;
        let mut bytes = 0.0;
        while budget >= 1200.0 {
            (budget, bytes) = (budget - 1200.0, bytes + 1200.0);
            e.sent_unnumbered(1200);
        }
        if e.poll_timeout(now).is_some_and(|at| at <= now + Duration::from_millis(10)) {
            let padding = e.padding(now);
            e.sent_unnumbered(padding);
            bytes += padding as f64;
        }
        arrived += bytes;
        if ms % 500 == 0 {
            e.limited((arrived * 16.0 * 1.5).min(capacity) as u64, now);
            arrived = 0.0;
        }
    }
    e.estimate_bps(from + Duration::from_secs_f64(seconds))
}

#[test]
fn a_receiver_that_estimates_by_itself_is_filled_up_to_its_limit() {
    let now = Instant::now();
    let mut e = Estimator::new(now, Options { start_bps: 4_000_000 });
    e.set_needed(2_000_000);
    // The low layer is all that fits, and then it is all that is used.
    let narrow = with_a_measuring_receiver(&mut e, now, 10.0, 400e3, 1.7e6);
    assert!(narrow <= 400_000, "{narrow}");
    let later = now + Duration::from_secs(10);
    let wide = with_a_measuring_receiver(&mut e, later, 12.0, 20e6, 150e3);
    assert!(wide >= 2_000_000, "{wide}");
    e.limited(u64::MAX, now);
    assert_eq!(e.estimate_bps(now), 4_000_000, "no more than what could be used, or was assumed");
    // What it allows is what is needed: nothing is filled up any more.
    let much_later = later + Duration::from_secs(12);
    assert_eq!(e.padding(much_later), 0);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_report_breaks_it(
            limits in prop::collection::vec(any::<u64>(), 0..3),
            reports in prop::collection::vec((any::<u16>(), prop::option::of(any::<i32>()), 0u64..400), 1..400),
        ) {
            let mut now = Instant::now();
            let mut e = Estimator::new(now, Options { start_bps: 1_000_000 });
            e.set_needed(5_000_000);
            for limit in limits {
                e.limited(limit, now);
                prop_assert!((FLOOR_BPS..=7_500_000).contains(&e.estimate_bps(now)));
                prop_assert!(e.padding(now) < 1_000_000);
            }
            for (number, arrival, later) in reports {
                now += Duration::from_millis(later);
                e.sent(number.wrapping_add(3), 1200, now);
                e.reported([(number, arrival.map(i64::from))], now);
                let padding = e.padding(now);
                prop_assert!(padding < 1_000_000);
                let estimate = e.estimate_bps(now);
                prop_assert!((FLOOR_BPS..=7_500_000).contains(&estimate));
            }
        }
    }
}
