//! What a terminal lives by: its watchdog, its name, its clock.

use std::time::{Duration, SystemTime};

use rostrum_hal::{identity::Identity, watchdog::Watchdog};
use tokio::task::JoinHandle;

use super::{Figure, Outcome, Part, Test};

/// 1 January 2025: no terminal is older than its program.
const EARLIEST: Duration = Duration::from_secs(1_735_689_600);
/// 1 January 2100.
const LATEST: Duration = Duration::from_secs(4_102_444_800);

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What it says.
    pub now: SystemTime,
    /// Whether the kernel has been told that it is right; `None` when that cannot be known.
    pub is_synchronised: Option<bool>,
}

/// Feeds and stops it. One that cannot be stopped is fed by the task that is returned.
pub(super) async fn watchdog(
    test: &mut Test<'_>,
    watchdog: Option<Box<dyn Watchdog>>,
) -> Option<JoinHandle<()>> {
    const NAME: &str = Part::Watchdog.name();
    let Some(mut watchdog) = watchdog else {
        test.over(NAME, Outcome::skipped("the board has no watchdog"), Vec::new());
        return None;
    };
    test.begins(NAME);
    let figures = vec![Figure::new("timeout", watchdog.timeout().as_secs_f64(), "s")];
    let fed = watchdog.feed();
    let stopped = watchdog.disarm();
    let outcome = match fed {
        Ok(()) => Outcome::Passed,
        Err(error) => {
            Outcome::failed(error.to_string(), "choose another in [watchdog] of the board's profile")
        }
    };
    test.over(NAME, outcome, figures);
    stopped.err().map(|_| {
        tokio::spawn(async move {
            loop {
                // Nothing more can be done than to try again.
                let _ = watchdog.feed();
                tokio::time::sleep(watchdog.timeout() / 3).await;
            }
        })
    })
}

pub(super) fn identity(test: &mut Test<'_>, identity: Option<&mut dyn Identity>) {
    const NAME: &str = Part::Identity.name();
    let Some(identity) = identity else {
        return test.over(NAME, Outcome::skipped("the board has no name"), Vec::new());
    };
    let outcome = match identity.udid() {
        Ok(_) => Outcome::Passed,
        Err(error) => Outcome::failed(error.to_string(), "look at [identity] of the board's profile"),
    };
    test.over(NAME, outcome, Vec::new());
}

pub(super) fn clock(test: &mut Test<'_>, clock: &Clock) {
    test.over(Part::Clock.name(), judge(clock), Vec::new());
}

fn judge(clock: &Clock) -> Outcome {
    let since = clock.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if !(EARLIEST..LATEST).contains(&since) {
        let problem = format!("its date cannot be: {} seconds since 1970", since.as_secs());
        return Outcome::failed(
            problem,
            "let systemd-timesyncd set it; renew the battery of the real-time clock",
        );
    }
    match clock.is_synchronised {
        Some(true) => Outcome::Passed,
        Some(false) => Outcome::failed(
            "nothing has set it since the start",
            "let the network reach a time server, and systemd-timesyncd or chrony run",
        ),
        None => Outcome::skipped("this system does not tell whether it is set; its date can be"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, is_synchronised: Option<bool>) -> Outcome {
        judge(&Clock { now: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), is_synchronised })
    }

    #[test]
    fn a_clock_is_right_when_something_sets_it_and_its_date_can_be() {
        assert_eq!(at(1_800_000_000, Some(true)), Outcome::Passed);
        assert!(
            matches!(at(1_800_000_000, Some(false)), Outcome::Failed { problem, .. } if problem.contains("set"))
        );
        assert!(
            matches!(at(86_400, Some(true)), Outcome::Failed { problem, .. } if problem.contains("date"))
        );
        assert!(matches!(at(5_000_000_000, None), Outcome::Failed { .. }));
        assert!(matches!(at(1_800_000_000, None), Outcome::Skipped { .. }));
    }
}
