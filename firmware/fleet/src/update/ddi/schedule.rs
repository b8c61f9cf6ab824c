//! When the server is asked: as often as it says, never in step with other terminals, and less often while it fails.

use std::time::Duration;

/// Bounds of what a server may ask for.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Time after the first failure; it doubles with each.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// When to poll.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// When the server does not say.
    usual: Duration,
    failures: u32,
}

impl Schedule {
    /// Polls every `usual` when the server does not say how often.
    pub fn new(usual: Duration) -> Self {
        Self { usual, failures: 0 }
    }

    /// Time until the next poll after one that went well. `random` is in 0..1.
    pub fn after_success(&mut self, said: Option<Duration>, random: f64) -> Duration {
        self.failures = 0;
        jitter(said.unwrap_or(self.usual), random)
    }

    /// Time until the next poll after one that failed; `asked` is the server's `Retry-After`.
    pub fn after_failure(&mut self, asked: Option<Duration>, random: f64) -> Duration {
        let back_off = AFTER_FAILURE * (1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        // A poll that fails does not come more often than one that goes well.
        let time = jitter(back_off.min(self.usual.max(AFTER_FAILURE)), random);
        time.max(asked.unwrap_or_default().min(LONGEST))
    }
}

/// 0.9 to 1.1 of `time`.
fn jitter(time: Duration, random: f64) -> Duration {
    let factor = 0.9 + 0.2 * random.clamp(0.0, 1.0);
    time.clamp(SHORTEST, LONGEST).mul_f64(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const USUAL: Duration = Duration::from_secs(300);

    #[test]
    fn a_server_that_fails_is_asked_less_and_less_often_and_at_the_usual_pace_when_it_is_back() {
        let mut schedule = Schedule::new(USUAL);
        let times: Vec<_> = (0..9).map(|_| schedule.after_failure(None, 0.5).as_secs()).collect();
        assert_eq!(times, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(schedule.after_success(None, 0.5), USUAL);
        assert_eq!(schedule.after_failure(None, 0.5).as_secs(), 5);
        assert_eq!(schedule.after_failure(Some(Duration::from_secs(77)), 0.5).as_secs(), 77);
    }

    proptest! {
        #[test]
        fn terminals_do_not_come_in_step_nor_too_often(said: Option<u64>, random in 0.0..1.0_f64) {
            let mut schedule = Schedule::new(USUAL);
            let time = schedule.after_success(said.map(Duration::from_secs), random);
            prop_assert!(time >= Duration::from_millis(900) && time <= LONGEST.mul_f64(1.1));
            if said.is_none() {
                let middle = USUAL.as_secs_f64();
                prop_assert!((time.as_secs_f64() - middle).abs() <= middle * 0.1001);
            }
        }
    }
}
