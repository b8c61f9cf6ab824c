//! What the room is, as the panel shows it.

use crate::{MuteReason, Note, Reset};
use rostrum_hal::indicator::Signal;

/// Where the room is between alone and in a meeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// In no channel.
    Idle,
    /// On the way into the channel.
    Joining,
    /// In the channel.
    InChannel,
    /// Was in the channel, lost it, and is on the way back.
    Reconnecting,
    /// On the way out.
    Leaving,
}

impl Phase {
    /// Whether we are in a meeting or on the way into one: the phases in which the room may be heard.
    pub const fn in_meeting(self) -> bool {
        matches!(self, Self::Joining | Self::InChannel | Self::Reconnecting)
    }
}

/// What the lights show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Signals {
    /// State of the terminal.
    pub status: Signal,
    /// Lit when the room is muted.
    pub mute: Signal,
    /// Lit in a meeting and on the way into one.
    pub meeting: Signal,
}

/// Everything that follows from the room's state.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Status {
    /// Where the room is.
    pub phase: Phase,
    /// When it got there, in microseconds on `CLOCK_MONOTONIC`.
    pub phase_since_us: u64,
    /// Whether the room is muted: then, and only then, the microphones are closed.
    pub muted: bool,
    /// Why it is muted; the reason that has to go first when there are several.
    pub mute_reason: Option<MuteReason>,
    /// Whether pressing Mute would unmute it now.
    pub can_unmute: bool,
    /// Whether the camera's cover is closed: then no picture is sent.
    pub camera_covered: bool,
    /// Volume of the speaker, 0..=100 percent.
    pub volume: u8,
    /// Whether the next meetings are joined muted.
    pub join_muted: bool,
    /// How far a reset to factory is.
    pub reset: Option<Reset>,
    /// What the lights show.
    pub signals: Signals,
    /// What people should know now: parts that fail, and why the last meeting ended. The newest last.
    pub notes: Vec<Note>,
}
