//! Buttons.

/// What a button means, by the board's profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ButtonRole {
    /// Joins the room's channel, or leaves it.
    Join,
    /// Mutes or unmutes.
    Mute,
    /// Louder.
    VolumeUp,
    /// Quieter.
    VolumeDown,
    /// Resets the terminal to factory when it is held; no other use.
    Reset,
}

/// A debounced change of a button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ButtonEvent {
    /// Which button.
    pub button: ButtonRole,
    /// `true` when it went down.
    pub pressed: bool,
}

/// All buttons of a board, owned by one task.
#[async_trait::async_trait]
pub trait Buttons: Send {
    /// The buttons that are there.
    fn present(&self) -> Vec<ButtonRole>;

    /// Whether they can be pressed, as far as is known: those that were unplugged are looked for by [`Buttons::next`].
    fn is_there(&self) -> bool {
        true
    }

    /// Waits for the next change. Cancel-safe.
    ///
    /// # Errors
    /// [`ButtonError::Gone`].
    async fn next(&mut self) -> Result<ButtonEvent, ButtonError>;
}

/// What can go wrong with buttons.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ButtonError {
    /// They were unplugged.
    #[error("the buttons are gone: {message}")]
    Gone {
        /// What the system said.
        message: String,
    },
}
