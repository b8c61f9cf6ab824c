//! How fast a device's clock really runs.
//!
//! A pure estimator: it is told how many frames a device had moved at which time, and gives the slope of the
//! one against the other. Times are late by scheduling and interrupts, so that those of each second are
//! averaged, and the slope is the median of the slopes between all pairs of seconds (Theil-Sen), which a few
//! seconds with wrong times do not bend.

use std::time::Duration;

use rostrum_hal::Timestamp;

/// Seconds that are looked at.
const SECONDS: usize = 30;
/// Fewest seconds that say something: with 1 ms of jitter some 10 ppm after these, below 5 ppm after 30.
const ENOUGH: usize = 10;
const PAIRS: usize = SECONDS * (SECONDS - 1) / 2;

/// Measures the rate of one device.
#[derive(Debug)]
pub(super) struct Clock {
    rate_hz: f64,
    begin: Option<(Timestamp, u64)>,
    /// The second that is not over.
    sum: Sum,
    /// The last whole seconds, the oldest overwritten first.
    points: [Point; SECONDS],
    whole: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u32,
    second: u64,
    nominal: f64,
    late: f64,
}

/// Averages of one second: time by the frames, and how far the monotonic clock was ahead of it, in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    nominal: f64,
    late: f64,
}

impl Clock {
    /// For a device of nominally `rate_hz`.
    pub(super) fn new(rate_hz: u32) -> Self {
        Self {
            rate_hz: f64::from(rate_hz.max(1)),
            begin: None,
            sum: Sum::default(),
            points: [Point::default(); SECONDS],
            whole: 0,
        }
    }

    /// The device stopped: what comes next does not belong to what was.
    pub(super) fn restart(&mut self) {
        self.begin = None;
        self.sum = Sum::default();
        self.whole = 0;
    }

    /// At `time` the device had moved `frames` in all. Allocates nothing.
    pub(super) fn observe(&mut self, time: Timestamp, frames: u64) {
        let (begin, first) = *self.begin.get_or_insert((time, frames));
        let nominal = frames.saturating_sub(first) as f64 / self.rate_hz;
        let late = signed_seconds(begin, time) - nominal;
        let second = nominal as u64;
        if second != self.sum.second && self.sum.count > 0 {
            let count = f64::from(self.sum.count);
            self.points[self.whole % SECONDS] =
                Point { nominal: self.sum.nominal / count, late: self.sum.late / count };
            self.whole += 1;
            self.sum = Sum::default();
        }
        self.sum.second = second;
        self.sum.count += 1;
        self.sum.nominal += nominal;
        self.sum.late += late;
    }

    /// How much faster than nominal the device runs, in parts per million.
    pub(super) fn drift_ppm(&self) -> Option<f64> {
        let points = &self.points[..self.whole.min(SECONDS)];
        if points.len() < ENOUGH {
            return None;
        }
        let mut slopes = [0.0; PAIRS];
        let mut count = 0;
        for (index, a) in points.iter().enumerate() {
            for b in &points[index + 1..] {
                slopes[count] = (b.late - a.late) / (b.nominal - a.nominal);
                count += 1;
            }
        }
        let slopes = &mut slopes[..count];
        let (_, slope, _) = slopes.select_nth_unstable_by(count / 2, f64::total_cmp);
        Some((1.0 / (1.0 + *slope) - 1.0) * 1e6)
    }
}

fn signed_seconds(from: Timestamp, to: Timestamp) -> f64 {
    let forward: Duration = to.saturating_since(from);
    forward.as_secs_f64() - from.saturating_since(to).as_secs_f64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// Tells a clock of `seconds` of periods whose times are late by `lateness(period)` seconds.
    fn run(clock: &mut Clock, seconds: u64, ppm: f64, mut lateness: impl FnMut(u64) -> f64) {
        for period in 0..seconds * 100 {
            let time = 1_000.0 + period as f64 * 0.01 / (1.0 + ppm * 1e-6) + lateness(period);
            clock.observe(Timestamp::from_clock(Duration::from_secs_f64(time)), period * 480);
        }
    }

    /// 0.0..1.0, the same for the same state.
    fn random(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as f64 / (1_u64 << 24) as f64
    }

    proptest! {
        #[test]
        fn a_drift_is_found_within_5_ppm_after_30_seconds_with_1_ms_of_jitter(
            ppm in -300.0..300.0_f64, mut seed: u64,
        ) {
            let mut clock = Clock::new(48_000);
            run(&mut clock, 31, ppm, |_| random(&mut seed) * 0.001);
            let found = clock.drift_ppm().unwrap();
            prop_assert!((found - ppm).abs() < 5.0, "{found} in the place of {ppm}");
        }

        #[test]
        fn a_few_times_that_are_very_late_do_not_matter(
            ppm in -300.0..300.0_f64, mut seed: u64, late in prop::collection::vec(0_u64..3_000, 0..6),
        ) {
            let mut clock = Clock::new(48_000);
            run(&mut clock, 31, ppm, |period| {
                if late.contains(&period) { 0.05 } else { random(&mut seed) * 0.001 }
            });
            let found = clock.drift_ppm().unwrap();
            prop_assert!((found - ppm).abs() < 10.0, "{found} in the place of {ppm}");
        }

        #[test]
        fn no_observation_panics(observed in prop::collection::vec((any::<u32>(), any::<u64>()), 0..100)) {
            let mut clock = Clock::new(48_000);
            for (millis, frames) in observed {
                clock.observe(Timestamp::from_clock(Duration::from_millis(millis.into())), frames);
            }
            let _ = clock.drift_ppm();
        }
    }

    #[test]
    fn a_clock_that_changes_is_followed() {
        let mut clock = Clock::new(16_000);
        for period in 0..7_000_u64 {
            // 50 ppm fast, after 30 s 20 ppm slow.
            let nominal = period as f64 * 0.01;
            let late =
                if nominal < 30.0 { -50e-6 * nominal } else { -50e-6 * 30.0 + 20e-6 * (nominal - 30.0) };
            clock.observe(Timestamp::from_clock(Duration::from_secs_f64(5.0 + nominal + late)), period * 160);
        }
        let found = clock.drift_ppm().unwrap();
        assert!((found + 20.0).abs() < 1.0, "{found}");
    }

    #[test]
    fn little_is_nothing_and_a_restart_forgets() {
        let mut clock = Clock::new(48_000);
        run(&mut clock, 9, 10.0, |_| 0.0);
        assert_eq!(clock.drift_ppm(), None);
        run(&mut clock, 31, 10.0, |_| 0.0);
        clock.restart();
        assert_eq!(clock.drift_ppm(), None);
        run(&mut clock, 31, -10.0, |_| 0.0);
        assert!((clock.drift_ppm().unwrap() + 10.0).abs() < 1.0);
    }
}
