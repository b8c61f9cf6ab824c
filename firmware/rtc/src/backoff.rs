//! When to try again.

use std::time::Duration;

use rand::Rng;

/// Why the last attempt failed, as far as it matters for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody listens, or a working connection broke: the service is most likely being restarted, and a try
    /// costs nearly nothing.
    NobodyThere,
    /// Anything else: timeouts, errors of the service.
    Other,
}

/// Delays between attempts: short at first, longer with each failure, never in step with other terminals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    waited: Duration,
}

/// Longest delay.
const LONGEST: Duration = Duration::from_secs(10);
/// Longest delay while [`Failure::NobodyThere`], within the first [`PATIENCE`].
const LONGEST_AT_FIRST: Duration = Duration::from_millis(400);
/// How long a restart of the service is expected at any moment.
const PATIENCE: Duration = Duration::from_secs(120);

impl Backoff {
    /// How long to wait before the next attempt; at most ten seconds.
    pub(crate) fn next(&mut self, failure: Failure, random: &mut impl Rng) -> Duration {
        let exponent = self.failures.min(10);
        let (first, longest) = match failure {
            Failure::NobodyThere if self.waited < PATIENCE => (Duration::from_millis(100), LONGEST_AT_FIRST),
            Failure::NobodyThere | Failure::Other => (Duration::from_millis(250), LONGEST),
        };
        let ceiling = first.saturating_mul(1 << exponent).min(longest);
        // Half of it is fixed, so that a service in trouble is never asked at once by everybody.
        let delay = ceiling.mul_f64(random.random_range(0.5..=1.0));
        self.failures += 1;
        self.waited += delay;
        delay
    }

    /// The terminal was in its channel for a while: the next failure starts afresh.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Attempts that failed since the last [`Backoff::reset`].
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn a_restarting_service_is_tried_at_least_every_half_second() {
        let mut random = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::default();
        let mut waited = Duration::ZERO;
        while waited < Duration::from_secs(60) {
            let delay = backoff.next(Failure::NobodyThere, &mut random);
            assert!(delay <= Duration::from_millis(500), "{delay:?}");
            waited += delay;
        }
    }

    #[test]
    fn two_terminals_do_not_try_in_step() {
        let delays = |seed| {
            let mut random = StdRng::seed_from_u64(seed);
            let mut backoff = Backoff::default();
            (0..10).map(|_| backoff.next(Failure::Other, &mut random)).collect::<Vec<_>>()
        };
        assert_ne!(delays(1), delays(2));
    }

    proptest! {
        #[test]
        fn delays_grow_to_ten_seconds_and_no_further(seed in any::<u64>(), n in 1..200usize) {
            let mut random = StdRng::seed_from_u64(seed);
            let mut backoff = Backoff::default();
            let mut last = Duration::ZERO;
            for _ in 0..n {
                last = backoff.next(Failure::Other, &mut random);
                prop_assert!(last >= Duration::from_millis(125) && last <= LONGEST);
            }
            if n > 8 {
                prop_assert!(last >= LONGEST / 2);
            }
            backoff.reset();
            prop_assert!(backoff.next(Failure::NobodyThere, &mut random) <= Duration::from_millis(100));
        }
    }
}
