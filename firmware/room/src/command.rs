//! What the shell does next.

use crate::Note;
use rostrum_hal::indicator::{IndicatorRole, Signal};

/// Commands in the order in which they must be done.
pub type Commands = Vec<Command>;

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Join the channel, and keep trying until [`Command::Leave`] or until it makes no sense any more.
    /// Answered by [`crate::Event::Joined`], [`crate::Event::Lost`] or [`crate::Event::LeftByService`].
    Join {
        /// Publish the microphones as muted.
        muted: bool,
    },
    /// Leave the channel and stop trying. Answered by [`crate::Event::Left`].
    Leave,
    /// Let samples of the microphones out of the audio thread, or let none.
    Microphones {
        /// `true` lets them out.
        open: bool,
    },
    /// Tell the service, so that everybody sees it.
    TellService {
        /// The truth.
        muted: bool,
    },
    /// Send no picture and tell the service, so that everybody sees why; or send one again. A join begins with
    /// a picture.
    HidePicture {
        /// The truth.
        hidden: bool,
    },
    /// Show a signal on a light.
    ShowIndicator(IndicatorRole, Signal),
    /// Wake the screen, or send it to standby.
    SwitchScreen {
        /// `true` wakes it.
        on: bool,
    },
    /// Volume of the speaker, 0..=100 percent.
    SetVolume(u8),
    /// Reset the terminal to factory: forget everything but what the factory gave it, and restart. Answered by
    /// [`crate::Event::ResetFailed`] when that cannot be begun.
    FactoryReset,
    /// Tell people what happened: log it and show it once.
    Notify(Note),
    /// After [`crate::Event::Shutdown`]: nothing is left to do.
    Exit,
}
