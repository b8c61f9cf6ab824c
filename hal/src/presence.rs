//! A sensor that tells whether somebody is in the room.

/// The sensor, owned by one task.
#[async_trait::async_trait]
pub trait Presence: Send {
    /// `true` when it senses somebody now. A sensor may miss who sits still.
    ///
    /// # Errors
    /// [`PresenceError::Gone`]: take the room as occupied.
    fn present(&mut self) -> Result<bool, PresenceError>;

    /// Waits until that changes and gives what it is now. Cancel-safe.
    ///
    /// # Errors
    /// [`PresenceError::Gone`]: take the room as occupied.
    async fn changed(&mut self) -> Result<bool, PresenceError>;
}

/// What can go wrong with the sensor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PresenceError {
    /// It cannot be read.
    #[error("the presence sensor cannot be read: {message}")]
    Gone {
        /// What the system said.
        message: String,
    },
}
