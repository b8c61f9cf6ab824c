//! What people are told, in plain words.

use crate::{Part, Reset, Update};
use rostrum_hal::Timestamp;
use std::borrow::Cow;

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// It heals by itself, or the meeting goes on without it.
    Warning,
    /// Somebody must act.
    Error,
}

/// One thing to tell people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Note {
    /// Stable name for programs and translations, `snake_case`.
    pub code: Cow<'static, str>,
    /// How much it matters.
    pub severity: Severity,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: Cow<'static, str>,
    /// Since when, in microseconds on `CLOCK_MONOTONIC`.
    pub since_us: u64,
}

/// `now` as notes and statuses carry it.
pub(crate) fn microseconds(now: Timestamp) -> u64 {
    u64::try_from(now.since_start().as_micros()).unwrap_or(u64::MAX)
}

impl Note {
    pub(crate) fn new(
        now: Timestamp,
        code: &'static str,
        severity: Severity,
        message: impl Into<String>,
        hint: &'static str,
    ) -> Self {
        Self {
            code: code.into(),
            severity,
            message: message.into(),
            hint: hint.into(),
            since_us: microseconds(now),
        }
    }

    /// The note of a closed cover: people look for a fault where there is none.
    pub(crate) fn covered(now: Timestamp) -> Self {
        let message = "The camera is covered; nobody sees the room.";
        Self::new(now, "camera_covered", Severity::Info, message, "Open its cover to be seen.")
    }

    /// The note of a reset to factory that is counted down or done.
    pub(crate) fn reset(now: Timestamp, reset: Reset) -> Self {
        let (code, message, hint) = match reset {
            Reset::CountingDown { seconds_left } => (
                "factory_reset_counts_down",
                format!("The terminal forgets everything and is reset to factory in {seconds_left} s."),
                "Let the buttons go to keep everything as it is.",
            ),
            Reset::Resetting => (
                "factory_reset",
                "The terminal is being reset to factory.".to_owned(),
                "Leave it on power; it restarts by itself.",
            ),
        };
        Self::new(now, code, Severity::Warning, message, hint)
    }

    /// The note of a reset to factory that did not happen.
    pub(crate) fn reset_failed(now: Timestamp, detail: &str) -> Self {
        let message = format!("The terminal was not reset to factory: {detail}.");
        let hint = "Nothing was forgotten. Switch it off and on, and try again.";
        Self::new(now, "factory_reset_failed", Severity::Error, message, hint)
    }

    /// The note of a new version that comes.
    pub(crate) fn update(now: Timestamp, update: Update) -> Self {
        let (message, hint) = match update {
            Update::Installing => (
                "A new version is being installed.",
                "Leave the terminal on power; you can meet all the same.",
            ),
            Update::Restarting => ("The terminal restarts into a new version.", "It is back in a minute."),
            Update::Checking => {
                ("A new version shows that it is good.", "If it is not, the one before comes back by itself.")
            }
        };
        Self::new(now, "updating", Severity::Info, message, hint)
    }

    /// The note of a failed part.
    pub(crate) fn fault(now: Timestamp, part: Part, detail: &str) -> Self {
        let (code, what, hint) = match part {
            Part::Camera => (
                "camera_fault",
                "The camera does not work",
                "Check its cable. The meeting goes on without a picture.",
            ),
            Part::Encoder => (
                "encoder_fault",
                "The picture cannot be sent",
                "The meeting goes on without a picture. If it stays so, restart the terminal.",
            ),
            Part::Microphones => (
                "microphones_fault",
                "The microphones do not work; the room is muted",
                "Check their cable. When they are back, press Mute to be heard.",
            ),
            Part::ArrayMicrophones => (
                "array_microphones_fault",
                "Some microphones of the array do not work",
                "The others are heard. Check the cable of the array, and have it changed when it stays so.",
            ),
            Part::Speaker => {
                ("speaker_fault", "The speaker does not work", "Check its cable and that it is switched on.")
            }
            Part::Display => ("display_fault", "The screen does not work", "Check its cable and its input."),
            Part::ContentDisplay => (
                "content_display_fault",
                "The second screen does not work",
                "Check its cable and its input. The first shows everything meanwhile.",
            ),
            Part::MuteSwitch => (
                "mute_switch_fault",
                "The mute switch cannot be read; the room is muted",
                "Check the switch. The room stays muted until it can be read.",
            ),
            Part::MuteLight => (
                "mute_light_fault",
                "The mute light does not work; the room was muted",
                "Do not trust the light: this page shows whether the room is heard.",
            ),
            Part::StatusLight => {
                ("status_light_fault", "The status light does not work", "This page shows the state.")
            }
            Part::MeetingLight => {
                ("meeting_light_fault", "The meeting light does not work", "This page shows the state.")
            }
            Part::Buttons => ("buttons_fault", "The buttons do not work", "Use this page instead."),
        };
        let message = if detail.is_empty() { format!("{what}.") } else { format!("{what} ({detail}).") };
        Self::new(now, code, Severity::Error, message, hint)
    }
}
