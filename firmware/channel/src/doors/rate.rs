//! A token bucket: so many requests a second, and as many at once.

use std::time::Instant;

/// Requests of one application.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    per_second: f64,
    left: f64,
    at: Option<Instant>,
}

impl Bucket {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second), left: f64::from(per_second), at: None }
    }

    /// Whether a request is let through at `now`.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.at = Some(now);
        self.left = (self.left + passed * self.per_second).min(self.per_second);
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10);
        assert_eq!((0..20).filter(|_| bucket.take(start)).count(), 10);
        let later = start + Duration::from_millis(200);
        assert_eq!((0..20).filter(|_| bucket.take(later)).count(), 2);
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(waits in prop::collection::vec(0u64..100, 1..300)) {
            let (start, mut time, mut taken) = (Instant::now(), 0, 0u64);
            let mut bucket = Bucket::new(20);
            for wait in waits {
                time += wait;
                taken += u64::from(bucket.take(start + Duration::from_millis(time)));
                prop_assert!(taken <= 20 + time * 20 / 1000 + 1);
            }
        }
    }
}
