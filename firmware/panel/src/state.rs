//! What the panel shows: one value, made by the daemon, sent whole at each change.

use rostrum_hal::camera::ControlState;
use rostrum_hal::indicator::Signal;
use rostrum_room::{MuteReason, Note, Phase, Reset, Severity, Status};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::board::BoardState;
use crate::devices::Selftest;
use crate::{schema, settings::Settings, updates::Update, voice::VoiceRecording};

/// Everything there is to show.
///
/// The daemon makes one with [`State::default`], fills what it knows and sends it through
/// [`crate::PanelHandles::state`]. The panel itself fills [`State::now_us`], [`CameraState::controls`],
/// [`CameraState::presets`] and [`State::board`] on the way out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct State {
    /// What the room does.
    pub room: RoomState,
    /// Channel that the room joins or is in.
    pub channel: Option<String>,
    /// UserId of the room in it.
    pub user: Option<String>,
    /// Name that others see.
    pub display_name: String,
    /// Volume of the speaker in percent, 0..=100.
    pub volume: u8,
    /// Who else is in the channel.
    pub participants: Vec<Participant>,
    /// The room's camera; `null` when the board has none.
    pub camera: Option<CameraState>,
    /// What the lights show.
    pub indicators: Indicators,
    /// Buttons that the board has: `join`, `mute`, `volume_up`, `volume_down`, `reset`.
    pub buttons: Vec<String>,
    /// Settings that change in a meeting.
    pub settings: Settings,
    /// Link by which a guest comes into the channel; `null` when the service gives none.
    pub guest_link: Option<String>,
    /// What people should know, the newest last.
    pub errors: Vec<Problem>,
    /// The devices in use.
    pub devices: Devices,
    /// The test of the devices that runs, or the last one; `null` when there was none since the start.
    pub selftest: Option<Selftest>,
    /// The recording of the voice chain that runs, or the last one; `null` when there is none.
    pub recording: Option<VoiceRecording>,
    /// Counters and measurements of the meeting.
    pub statistics: Statistics,
    /// How updates of the software stand; `null` when nobody looks after them.
    pub update: Option<Update>,
    /// Whether the terminal can be reset to factory.
    pub can_reset: bool,
    /// The board is the virtual one: its buttons, lights and faults are under `/api/v1/board`.
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
    /// The virtual board's inside; `null` on a real board.
    pub board: Option<BoardState>,
    /// Version of the firmware.
    pub version: String,
    /// When this was sent, in microseconds on `CLOCK_MONOTONIC`: to tell the age of what has a `since_us`.
    pub now_us: u64,
}

impl State {
    /// Shows what the room's state machine says: phase, mute, volume, lights, `join_muted` and notes.
    pub fn show_room(&mut self, status: &Status) {
        self.room = RoomState {
            phase: status.phase,
            phase_since_us: status.phase_since_us,
            muted: status.muted,
            mute_reason: status.mute_reason,
            can_unmute: status.can_unmute,
            reset_in_s: status.reset.map(|reset| match reset {
                Reset::CountingDown { seconds_left } => seconds_left,
                Reset::Resetting => 0,
            }),
        };
        self.volume = status.volume.min(100);
        self.settings.join_muted = status.join_muted;
        self.indicators =
            Indicators { status: status.signals.status.into(), mute: status.signals.mute.into() };
        self.errors = status.notes.iter().map(Problem::from).collect();
    }
}

/// What the room does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomState {
    /// Where the room is between alone and in a meeting.
    #[schema(schema_with = schema::phase)]
    pub phase: Phase,
    /// When it got there, in microseconds on `CLOCK_MONOTONIC`.
    pub phase_since_us: u64,
    /// Muted: no sample of the microphones leaves the room.
    pub muted: bool,
    /// Why, when it is muted: the reason that has to go first.
    #[schema(schema_with = schema::mute_reason)]
    pub mute_reason: Option<MuteReason>,
    /// Whether asking to unmute would unmute now.
    pub can_unmute: bool,
    /// Seconds until the terminal is reset to factory, while its buttons are held; 0 when it cannot be stopped any more.
    pub reset_in_s: Option<u8>,
}

impl Default for RoomState {
    fn default() -> Self {
        Self {
            phase: Phase::Idle,
            phase_since_us: 0,
            muted: true,
            mute_reason: None,
            can_unmute: false,
            reset_in_s: None,
        }
    }
}

/// Somebody else in the channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Participant {
    /// UserId.
    pub user: String,
    /// Name to show.
    pub name: String,
    /// Speaks now.
    pub speaking: bool,
    /// Is muted, or publishes no sound.
    pub muted: bool,
    /// Shows a camera.
    pub camera: bool,
    /// Shares a screen.
    pub sharing: bool,
    /// Quality of the connection.
    pub quality: Quality,
}

/// Quality of a connection, as the service tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Nothing said yet.
    #[default]
    Unknown,
    /// Excellent.
    Excellent,
    /// Good.
    Good,
    /// Poor.
    Poor,
    /// The connection is lost.
    Lost,
}

/// The room's camera.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CameraState {
    /// Name to show.
    pub name: String,
    /// What can be turned and set. Filled by the panel.
    #[serde(default)]
    #[schema(value_type = Vec<schema::ControlStateSchema>)]
    pub controls: Vec<ControlState>,
    /// Names of the presets in their order. Filled by the panel.
    #[serde(default)]
    pub presets: Vec<String>,
}

/// What the lights show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Indicators {
    /// State of the terminal.
    pub status: Light,
    /// Lit when the room is muted.
    pub mute: Light,
}

/// What one light shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Light {
    /// Red, green, blue, each 0..=255.
    pub rgb: [u8; 3],
    /// Half the period of blinking in milliseconds; `null` is steady.
    pub blink_ms: Option<u64>,
}

impl From<Signal> for Light {
    fn from(signal: Signal) -> Self {
        let milliseconds = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Self { rgb: signal.rgb, blink_ms: signal.blink.map(milliseconds) }
    }
}

/// Something that people should know, in plain words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Stable name for programs and translations, `snake_case`.
    pub code: String,
    /// How much it matters.
    #[schema(schema_with = schema::severity)]
    pub severity: Severity,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Since when, in microseconds on `CLOCK_MONOTONIC`; compare with `now_us`.
    pub since_us: u64,
}

impl From<&Note> for Problem {
    fn from(note: &Note) -> Self {
        Self {
            code: note.code.to_string(),
            severity: note.severity,
            message: note.message.clone(),
            hint: note.hint.to_string(),
            since_us: note.since_us,
        }
    }
}

/// The devices in use; `null` where the board has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Devices {
    /// The camera.
    pub camera: Option<Device>,
    /// The microphones.
    pub microphones: Option<Device>,
    /// The speaker.
    pub speaker: Option<Device>,
    /// The video encoder.
    pub encoder: Option<Device>,
    /// The screen.
    pub display: Option<Device>,
    /// The second screen, for what is shared.
    pub content_display: Option<Device>,
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Name to show.
    pub name: String,
    /// It works.
    pub ok: bool,
}

/// Counters since the start of the terminal, and measurements of the meeting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Statistics {
    /// Frames that came from the camera.
    pub camera_frames: u64,
    /// Frames that the camera missed at its rate, or that nobody fetched in time.
    pub camera_frames_lost: u64,
    /// Samples of each microphone that nobody fetched in time.
    pub microphone_samples_lost: u64,
    /// Encoded frames that were sent, over all layers.
    pub frames_sent: u64,
    /// Pictures shown on the room's screen.
    pub frames_shown: u64,
    /// Packets of sound that were sent.
    pub audio_packets_sent: u64,
    /// Round trip to the service in milliseconds; `null` when in no channel.
    pub rtt_ms: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_light_tells_half_its_period_in_milliseconds() {
        let light = Light::from(Signal::GREEN.blinking(Duration::from_millis(500)));
        assert_eq!(light, Light { rgb: [0, 255, 0], blink_ms: Some(500) });
        assert_eq!(Light::from(Signal::RED), Light { rgb: [255, 0, 0], blink_ms: None });
    }

    #[test]
    fn a_new_state_claims_neither_a_meeting_nor_open_microphones() {
        let state = State::default();
        assert_eq!(state.room.phase, Phase::Idle);
        assert!(state.room.muted);
    }
}
