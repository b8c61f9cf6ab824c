//! What the panel asks of the daemon.

use std::{borrow::Cow, sync::Arc};

use tokio::sync::oneshot;

use crate::settings::{Settings, SettingsPatch};

/// Where the daemon answers. Dropping it tells the caller that the terminal is not ready.
pub type Reply<T> = oneshot::Sender<Result<T, CommandError>>;

/// One wish. The caller waits at most five seconds for the answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum PanelCommand {
    /// Join the room's channel. Answered when the room is on its way; the rest is told by the state.
    Join {
        /// The answer.
        reply: Reply<()>,
    },
    /// Leave the channel. Answered when the room is on its way out.
    Leave {
        /// The answer.
        reply: Reply<()>,
    },
    /// Mute or unmute. Answered when it is so: after the microphones closed or opened.
    SetMuted {
        /// `true` mutes.
        muted: bool,
        /// The answer.
        reply: Reply<()>,
    },
    /// Set the volume of the speaker.
    SetVolume {
        /// Percent, 0..=100.
        volume: u8,
        /// The answer.
        reply: Reply<()>,
    },
    /// Change settings ([`SettingsPatch::applied_to`]). Answered with all settings as they are then.
    ChangeSettings {
        /// What to change.
        patch: SettingsPatch,
        /// The answer.
        reply: Reply<Settings>,
    },
    /// Make one picture of the room's screen in its full size.
    Snapshot {
        /// Quality of the JPEG, 1..=100.
        quality: u8,
        /// A JPEG.
        reply: Reply<Arc<Vec<u8>>>,
    },
}

/// Why a wish was not done.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// Whether asking again later may help.
    pub kind: CommandErrorKind,
    /// Stable name, `snake_case`.
    pub code: Cow<'static, str>,
    /// What is the matter, in plain words.
    pub message: String,
    /// What to do about it.
    pub hint: Cow<'static, str>,
}

/// Whether asking again later may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandErrorKind {
    /// The room's state forbids it (HTTP 409): a hardware switch cuts the microphones.
    Refused,
    /// A part that it needs does not work now (HTTP 503).
    Unavailable,
}
