//! The hardware watchdog: resets the board when nobody feeds it.

use std::time::Duration;

/// A running watchdog. Dropping it without [`Watchdog::disarm`] leaves it running: the board resets.
pub trait Watchdog: Send {
    /// Time without food until the reset.
    fn timeout(&self) -> Duration;

    /// Why the board started, as far as the watchdog's hardware knows.
    fn last_reset(&self) -> ResetReason;

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

/// Why a board started; the boot status of the kernel's `Documentation/watchdog/watchdog-api.rst`, without
/// the differences that nobody would act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResetReason {
    /// Nobody fed the watchdog (`WDIOF_CARDRESET`).
    Watchdog,
    /// It was too hot, or its fan stood still (`WDIOF_OVERHEAT`, `WDIOF_FANFAULT`).
    Overheat,
    /// Its power was too low or too high (`WDIOF_POWERUNDER`, `WDIOF_POWEROVER`).
    Power,
    /// Something else that the hardware watches (`WDIOF_EXTERN1`, `WDIOF_EXTERN2`).
    Other,
    /// An ordinary start, or hardware that does not tell.
    Unknown,
}

/// What can go wrong with a watchdog.
#[derive(Debug, thiserror::Error)]
#[error("the watchdog cannot be used: {message}")]
pub struct WatchdogError {
    /// What the system said.
    pub message: String,
}
