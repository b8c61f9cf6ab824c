//! What a test of a terminal's parts found: shared by who tests and who shows it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// One part of a terminal, in the order of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// The watchdog.
    Watchdog,
    /// The terminal's name for life.
    Identity,
    /// The date.
    Clock,
    /// The way to the service.
    Network,
    /// The camera.
    Camera,
    /// The video encoder.
    Encoder,
    /// The scaler.
    Scaler,
    /// The switch that cuts the microphones.
    MuteSwitch,
    /// From the speaker to the microphones.
    Sound,
    /// The screen.
    Display,
    /// The second screen.
    ContentDisplay,
    /// What switches the screen.
    ScreenPower,
    /// The lights, each with a check of its own.
    Lights,
    /// The buttons.
    Buttons,
    /// The presence sensor.
    Presence,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Watchdog,
        Self::Identity,
        Self::Clock,
        Self::Network,
        Self::Camera,
        Self::Encoder,
        Self::Scaler,
        Self::MuteSwitch,
        Self::Sound,
        Self::Display,
        Self::ContentDisplay,
        Self::ScreenPower,
        Self::Lights,
        Self::Buttons,
        Self::Presence,
    ];

    /// Its name in a report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Watchdog => "watchdog",
            Self::Identity => "identity",
            Self::Clock => "clock",
            Self::Network => "network",
            Self::Camera => "camera",
            Self::Encoder => "encoder",
            Self::Scaler => "scaler",
            Self::MuteSwitch => "mute switch",
            Self::Sound => "sound",
            Self::Display => "display",
            Self::ContentDisplay => "second display",
            Self::ScreenPower => "screen power",
            Self::Lights => "lights",
            Self::Buttons => "buttons",
            Self::Presence => "presence",
        }
    }
}

/// What became of one part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The part; a light has a name of its own.
    pub name: String,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was measured.
    pub figures: Vec<Figure>,
}

/// How a check went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It works.
    Passed,
    /// It does not.
    Failed {
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// It was not tested.
    Skipped {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// It does not work.
    pub fn failed(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed { problem: problem.into(), remedy: remedy.into() }
    }

    /// It was not tested.
    pub fn skipped(reason: impl Into<String>) -> Self {
        Self::Skipped { reason: reason.into() }
    }
}

/// Something measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What.
    pub name: String,
    /// How much, to two decimals.
    pub value: f64,
    /// Of what; empty for plain numbers.
    pub unit: Cow<'static, str>,
}

impl Figure {
    /// A figure, rounded: two decimals are more than any of this is worth.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value: (value * 100.0).round() / 100.0, unit: unit.into() }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.value)?;
        if self.unit.is_empty() { Ok(()) } else { write!(f, " {}", self.unit) }
    }
}
