//! The room's voice: how it is treated, what it measures, and recordings of it for fault reports.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// What the microphones are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VoiceMode {
    /// Speech: echo, noise and loudness are taken care of.
    #[default]
    Voice,
    /// Speech with the room around it: little noise is taken away, and the whole band is sent.
    VoiceWide,
    /// Music: stereo, as the microphones give it.
    Music,
}

impl VoiceMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Voice, Self::VoiceWide, Self::Music];

    /// Its name: `voice`, `voice-wide`, `music`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Voice => "voice",
            Self::VoiceWide => "voice-wide",
            Self::Music => "music",
        }
    }

    /// The mode of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// A mode by its name, or what was kept before there were three: whether it was music.
pub(crate) fn mode_or_music<'de, D: Deserializer<'de>>(from: D) -> Result<VoiceMode, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Kept {
        Mode(VoiceMode),
        Music(bool),
    }
    Ok(match Kept::deserialize(from)? {
        Kept::Mode(mode) => mode,
        Kept::Music(true) => VoiceMode::Music,
        Kept::Music(false) => VoiceMode::Voice,
    })
}

/// What the voice chain measures. Nothing of a muted room is told but that it is muted and which microphones are broken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VoiceMeters {
    /// What the microphones are for.
    pub mode: VoiceMode,
    /// Whether the room is muted.
    pub muted: bool,
    /// Each microphone, in the order of the array.
    pub microphones: Vec<MicrophoneMeter>,
    /// Loudness of what is sent, in dB below full scale (RFC 6464 with its sign: -127..=0); `null` while muted.
    pub sent_dbov: Option<f32>,
    /// Somebody in the room speaks; `null` where nobody can tell, as in music mode.
    pub speech: Option<bool>,
    /// What gain control adds, dB; `null` without it.
    pub gain_db: Option<f32>,
    /// Echo of the own speaker that is taken out, dB; `null` until it is known.
    pub echo_removed_db: Option<f32>,
    /// Time from playing to hearing, milliseconds; `null` until it is known.
    pub echo_delay_ms: Option<u32>,
    /// How much faster the speaker's clock runs than the microphones', parts per million; `null` until it is known.
    pub clock_drift_ppm: Option<f32>,
    /// Where the talker is, degrees counter-clockwise from the array's x axis; `null` when nobody can tell.
    pub direction_deg: Option<f32>,
    /// How sure that is, 0..=1; `null` when nobody can tell.
    pub direction_confidence: Option<f32>,
}

/// What one microphone measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MicrophoneMeter {
    /// Loudness over the last tenth of a second, dB below full scale (a full-scale square wave is 0); `null` while muted.
    pub level_dbfs: Option<f32>,
    /// It works.
    pub ok: bool,
}

/// A recording of the voice chain's inner signals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VoiceRecording {
    /// How far it is.
    pub phase: RecordingPhase,
    /// Seconds recorded.
    pub seconds: f32,
    /// Seconds wanted.
    pub wanted_s: u16,
    /// Why it failed, in plain words.
    pub problem: Option<String>,
}

/// How far a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingPhase {
    /// The room and the meeting are told that they are recorded.
    Announcing,
    /// It is recorded.
    Recording,
    /// The room is muted: nothing is recorded until it is not.
    Paused,
    /// The files are there.
    Done,
    /// There are no files.
    Failed,
}

impl RecordingPhase {
    /// Whether it goes on.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Announcing | Self::Recording | Self::Paused)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mode_has_the_same_name_in_json_and_in_words() {
        for mode in VoiceMode::ALL {
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.name());
            assert_eq!(VoiceMode::named(mode.name()), Some(mode));
        }
        assert_eq!(VoiceMode::named("loud"), None);
    }
}
