//! Waiting for a condition with a deadline.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Calls `look` until it gives something, and at most for `timeout`. What `look` last failed with is told.
///
/// # Errors
/// When time is over.
pub fn until<T>(
    what: &str,
    timeout: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + timeout;
    let mut last = String::from("nothing yet");
    loop {
        match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => last = format!("{error:#}"),
        }
        if Instant::now() >= deadline {
            bail!("{what}: not within {timeout:?} ({last})");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
