//! Kinds of devices that can be exchanged.

use serde::{Deserialize, Serialize};

/// A kind of device of which a room uses one and a machine may have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// The camera.
    Camera,
    /// The microphone array.
    Microphones,
    /// The speaker.
    Speaker,
}

impl DeviceKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Camera, Self::Microphones, Self::Speaker];

    /// Its word in profiles and addresses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::Microphones => "microphones",
            Self::Speaker => "speaker",
        }
    }
}
