//! A switch that cuts the microphones in hardware.

/// The switch, owned by one task.
#[async_trait::async_trait]
pub trait MuteSwitch: Send {
    /// `true` when it cuts the microphones now.
    ///
    /// # Errors
    /// [`MuteSwitchError::Gone`]: treat the room as muted.
    fn cut(&mut self) -> Result<bool, MuteSwitchError>;

    /// Waits until it moves and gives its new position. Cancel-safe.
    ///
    /// # Errors
    /// [`MuteSwitchError::Gone`]: treat the room as muted.
    async fn moved(&mut self) -> Result<bool, MuteSwitchError>;
}

/// What can go wrong with the switch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MuteSwitchError {
    /// It cannot be read.
    #[error("the mute switch cannot be read: {message}")]
    Gone {
        /// What the system said.
        message: String,
    },
}
