//! What the panel asks of the daemon.

use std::{borrow::Cow, collections::BTreeSet, path::PathBuf, sync::Arc};

use rostrum_hal::{DeviceKind, selftest::Part};
use tokio::sync::oneshot;

use crate::{
    devices::DeviceChoices,
    settings::{Settings, SettingsPatch},
};

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
    /// List the devices that could be used.
    ListDevices {
        /// The answer.
        reply: Reply<DeviceChoices>,
    },
    /// Use another device from now on, also after a restart. Answered when it is in use; the old one stays when the new
    /// one cannot be used.
    SwitchDevice {
        /// Which kind.
        kind: DeviceKind,
        /// A [`crate::DeviceChoice::id`].
        id: String,
        /// The answer.
        reply: Reply<()>,
    },
    /// Test parts of the terminal, outside of a meeting. Answered when it begins; the state tells the rest.
    StartSelftest {
        /// Which parts; all of them when there is none.
        parts: BTreeSet<Part>,
        /// Somebody is there to look, to press and to answer.
        person: bool,
        /// The answer.
        reply: Reply<()>,
    },
    /// Answer the question of the test.
    AnswerSelftest {
        /// The answer to the question.
        yes: bool,
        /// The answer to the caller.
        reply: Reply<()>,
    },
    /// End the test; what was found stays.
    StopSelftest {
        /// The answer.
        reply: Reply<()>,
    },
    /// Reset the terminal to factory; whoever asks meant it. Answered when it is on its way.
    FactoryReset {
        /// The answer.
        reply: Reply<()>,
    },
    /// Ask the update server now.
    CheckUpdates {
        /// The answer.
        reply: Reply<()>,
    },
    /// Say yes or no to the version that the update server offers.
    ConfirmUpdate {
        /// Yes.
        yes: bool,
        /// The answer.
        reply: Reply<()>,
    },
    /// Install a bundle that a person brought. Answered when it is handed on.
    InstallUpdate {
        /// Where it is.
        path: PathBuf,
        /// The answer.
        reply: Reply<()>,
    },
    /// Record the inner signals of the voice chain. Answered when it begins; the state tells the rest.
    StartRecording {
        /// How long, 1..=120.
        seconds: u16,
        /// The answer.
        reply: Reply<()>,
    },
    /// End a recording, and remove its files.
    ForgetRecording {
        /// The answer.
        reply: Reply<()>,
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
    /// What it names is not there (HTTP 404).
    NotFound,
    /// A part that it needs does not work now (HTTP 503).
    Unavailable,
}
