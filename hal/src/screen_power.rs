//! Power of the screen: a television or projector that can be woken and sent to standby.

/// What the screen says of its power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScreenState {
    /// It shows a picture.
    On,
    /// It is on its way there.
    Waking,
    /// It is in standby, or on its way there.
    Standby,
}

/// The power of a screen, owned by one thread. Each call may take some seconds.
pub trait ScreenPower: Send {
    /// The name to show to people.
    fn name(&self) -> String;

    /// Wakes the screen and makes it show our picture, if it does not already.
    ///
    /// # Errors
    /// [`ScreenPowerError`]; a later call may work.
    fn wake(&mut self) -> Result<(), ScreenPowerError>;

    /// Sends the screen to standby.
    ///
    /// # Errors
    /// [`ScreenPowerError`]; a later call may work.
    fn standby(&mut self) -> Result<(), ScreenPowerError>;

    /// What the screen says; `None` when it is one that does not say.
    ///
    /// # Errors
    /// [`ScreenPowerError`]; a later call may work.
    fn state(&mut self) -> Result<Option<ScreenState>, ScreenPowerError>;
}

/// What can go wrong with the power of a screen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScreenPowerError {
    /// Nobody is at the other end, or the screen does not listen.
    #[error("the screen at {name} does not answer; check its cable, and that CEC is allowed in its menu")]
    NoAnswer {
        /// What it is switched by.
        name: String,
    },
    /// What switches the screen does not work.
    #[error("{name} cannot switch the screen: {message}")]
    Failed {
        /// What it is switched by.
        name: String,
        /// What is wrong, and what to do.
        message: String,
    },
}
