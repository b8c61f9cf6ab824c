//! Lights that tell the room what the terminal does.

use std::time::Duration;

/// What one light shows. A driver that lacks a colour or blinking shows the nearest thing it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Signal {
    /// Red, green, blue, each 0..=255. A one-colour light is lit by the brightest of them.
    pub rgb: [u8; 3],
    /// Half the period of blinking; `None` is steady.
    pub blink: Option<Duration>,
}

impl Signal {
    /// Dark.
    pub const OFF: Self = Self { rgb: [0; 3], blink: None };
    /// Steady red.
    pub const RED: Self = Self { rgb: [255, 0, 0], blink: None };
    /// Steady green.
    pub const GREEN: Self = Self { rgb: [0, 255, 0], blink: None };

    /// The same colour, blinking.
    pub const fn blinking(self, half_period: Duration) -> Self {
        Self { rgb: self.rgb, blink: Some(half_period) }
    }
}

/// What a light stands for, by the board's profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IndicatorRole {
    /// State of the terminal: idle, joining, in a channel, faulty.
    Status,
    /// Lit when the microphones are muted.
    Mute,
    /// Lit in a meeting and on the way into one, whatever else happens: a lamp at the door, or a
    /// speakerphone's Off-Hook, without which that closes its microphone.
    Meeting,
}

/// A light, opened and owned by one caller.
///
/// Dropping it leaves the light as it is: a crashed program must not look like a muted room.
pub trait Indicator: Send {
    /// Shows `signal` until the next call.
    ///
    /// # Errors
    /// [`IndicatorError::Gone`] when the light was unplugged; the caller may open it again later.
    fn show(&mut self, signal: Signal) -> Result<(), IndicatorError>;
}

/// What can go wrong with a light.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndicatorError {
    /// The board has no light of that name.
    #[error("there is no light named {name}; the board has {present:?}")]
    Absent {
        /// The name asked for.
        name: String,
        /// Names that are there.
        present: Vec<String>,
    },
    /// It was unplugged.
    #[error("the light {name} is gone")]
    Gone {
        /// Its name.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
}
