//! Screens.

use crate::{Frame, FrameSize};

/// A screen, owned by one caller.
pub trait Display: Send {
    /// The name to show to people.
    fn name(&self) -> String;

    /// Size of the frames that it takes, [`crate::PixelFormat::Yuv420`].
    fn size(&self) -> FrameSize;

    /// Shows `frame` until the next call. Never blocks: a frame that comes too early replaces the one
    /// that waits.
    ///
    /// # Errors
    /// [`DisplayError::Gone`] when it was unplugged; later calls may work again.
    fn show(&mut self, frame: Frame) -> Result<(), DisplayError>;

    /// How the screen is, for callers that have nothing new to show. Never blocks. Displays that find out only by
    /// showing say that all is well.
    ///
    /// # Errors
    /// As [`Display::show`].
    fn check(&mut self) -> Result<(), DisplayError> {
        Ok(())
    }
}

/// What can go wrong with a screen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DisplayError {
    /// It is not there (any more).
    #[error("the screen {name} is not there; {hint}")]
    Gone {
        /// Name of the screen.
        name: String,
        /// What to do, such as "plug it in".
        hint: String,
    },
    /// The driver failed in another way.
    #[error("the screen {name} failed: {message}")]
    Failed {
        /// Name of the screen.
        name: String,
        /// What the driver said.
        message: String,
    },
}
