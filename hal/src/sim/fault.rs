//! What can be made to go wrong with the virtual board.

use std::str::FromStr;

/// A fault that can be injected and cleared while the board runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// The camera is not there: it gives [`crate::camera::CameraError::Gone`] until the fault is cleared
    /// and it was started again.
    CameraUnplugged,
    /// Each frame comes 150 ms after its capture time, and the frames in between are lost.
    FramesLate,
    /// The camera gives the same picture again and again, at its usual pace and with new times.
    CameraFrozen,
    /// The microphones give digital silence, at their usual pace.
    MicrophoneSilent,
    /// Every encoder of the board fails at its next frame, and none can be opened.
    EncoderError,
    /// The speaker is not there: [`crate::speaker::SpeakerError::Gone`].
    SpeakerGone,
    /// The mute switch cannot be read: [`crate::mute_switch::MuteSwitchError::Gone`].
    MuteSwitchGone,
    /// The second screen is not there: [`crate::display::DisplayError::Gone`].
    ContentDisplayGone,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::CameraUnplugged,
        Self::FramesLate,
        Self::CameraFrozen,
        Self::MicrophoneSilent,
        Self::EncoderError,
        Self::SpeakerGone,
        Self::MuteSwitchGone,
        Self::ContentDisplayGone,
    ];

    /// Its name, as in configuration and in the panel's interface.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CameraUnplugged => "camera_unplugged",
            Self::FramesLate => "frames_late",
            Self::CameraFrozen => "camera_frozen",
            Self::MicrophoneSilent => "microphone_silent",
            Self::EncoderError => "encoder_error",
            Self::SpeakerGone => "speaker_gone",
            Self::MuteSwitchGone => "mute_switch_gone",
            Self::ContentDisplayGone => "content_display_gone",
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no fault of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no fault named {0}; there are camera_unplugged, frames_late, camera_frozen, microphone_silent, \
     encoder_error, speaker_gone, mute_switch_gone, content_display_gone"
)]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|f| f.name() == name).ok_or_else(|| UnknownFault(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_by_its_name_and_an_unknown_name_lists_them() {
        let error = Fault::from_str("gremlins").expect_err("no such fault").to_string();
        for fault in Fault::ALL {
            assert_eq!(Fault::from_str(fault.name()), Ok(fault));
            assert!(error.contains(fault.name()), "{error} lacks {fault}");
        }
    }
}
