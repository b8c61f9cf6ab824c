//! The hardware watchdog: resets the board when nobody feeds it.

use std::time::Duration;

/// A running watchdog. Dropping it without [`Watchdog::disarm`] leaves it running: the board resets.
pub trait Watchdog: Send {
    /// Time without food until the reset.
    fn timeout(&self) -> Duration;

    /// Starts the time anew.
    ///
    /// # Errors
    /// [`WatchdogError`].
    fn feed(&mut self) -> Result<(), WatchdogError>;

    /// Stops it, for a clean end of the program.
    ///
    /// # Errors
    /// [`WatchdogError`]: some hardware cannot be stopped.
    fn disarm(&mut self) -> Result<(), WatchdogError>;
}

/// What can go wrong with a watchdog.
#[derive(Debug, thiserror::Error)]
#[error("the watchdog cannot be used: {message}")]
pub struct WatchdogError {
    /// What the system said.
    pub message: String,
}
