//! Settings of the room that change in a meeting.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;
use crate::voice::{VoiceMode, mode_or_music};

/// All of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Largest layer that the camera sends.
    pub max_layer: MaxLayer,
    /// Clockwise turn of the camera's picture in degrees: 0, 90, 180 or 270.
    #[schema(schema_with = schema::orientation)]
    pub orientation: Orientation,
    /// The camera's picture is sent mirrored.
    pub mirrored: bool,
    /// What to keep when there is too little bandwidth.
    pub preference: Preference,
    /// Send and show no pictures.
    pub audio_only: bool,
    /// What the microphones are for.
    #[serde(default, alias = "music_mode", deserialize_with = "mode_or_music")]
    pub voice_mode: VoiceMode,
    /// Show the room's own camera on its screen.
    pub self_view: bool,
    /// Join the next meetings muted.
    pub join_muted: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_layer: MaxLayer::High,
            orientation: Orientation::Deg0,
            mirrored: false,
            preference: Preference::Sharpness,
            audio_only: false,
            voice_mode: VoiceMode::Voice,
            self_view: true,
            join_muted: false,
        }
    }
}

/// Largest layer that the camera sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaxLayer {
    /// At most 360 lines.
    Low,
    /// At most 720 lines.
    Mid,
    /// At most 1080 lines.
    High,
}

/// What to keep when there is too little bandwidth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preference {
    /// The size of the picture, for slides and whiteboards.
    Sharpness,
    /// The frame rate, for people who move.
    Fluency,
}

/// Clockwise turn of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum Orientation {
    /// As the camera sees it.
    Deg0,
    /// Its top to the right.
    Deg90,
    /// On its head.
    Deg180,
    /// Its top to the left.
    Deg270,
}

impl Orientation {
    /// The turn in degrees.
    pub const fn degrees(self) -> u16 {
        match self {
            Self::Deg0 => 0,
            Self::Deg90 => 90,
            Self::Deg180 => 180,
            Self::Deg270 => 270,
        }
    }
}

impl From<Orientation> for u16 {
    fn from(orientation: Orientation) -> Self {
        orientation.degrees()
    }
}

impl TryFrom<u16> for Orientation {
    type Error = &'static str;

    fn try_from(degrees: u16) -> Result<Self, Self::Error> {
        match degrees {
            0 => Ok(Self::Deg0),
            90 => Ok(Self::Deg90),
            180 => Ok(Self::Deg180),
            270 => Ok(Self::Deg270),
            _ => Err("an orientation is 0, 90, 180 or 270"),
        }
    }
}

/// Some settings: those that are absent stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SettingsPatch {
    /// See [`Settings::max_layer`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_layer: Option<MaxLayer>,
    /// See [`Settings::orientation`].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_orientation)]
    pub orientation: Option<Orientation>,
    /// See [`Settings::mirrored`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirrored: Option<bool>,
    /// See [`Settings::preference`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preference: Option<Preference>,
    /// See [`Settings::audio_only`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_only: Option<bool>,
    /// See [`Settings::voice_mode`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice_mode: Option<VoiceMode>,
    /// See [`Settings::self_view`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_view: Option<bool>,
    /// See [`Settings::join_muted`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_muted: Option<bool>,
}

impl SettingsPatch {
    /// `settings` with what this names.
    #[must_use]
    pub fn applied_to(&self, settings: Settings) -> Settings {
        Settings {
            max_layer: self.max_layer.unwrap_or(settings.max_layer),
            orientation: self.orientation.unwrap_or(settings.orientation),
            mirrored: self.mirrored.unwrap_or(settings.mirrored),
            preference: self.preference.unwrap_or(settings.preference),
            audio_only: self.audio_only.unwrap_or(settings.audio_only),
            voice_mode: self.voice_mode.unwrap_or(settings.voice_mode),
            self_view: self.self_view.unwrap_or(settings.self_view),
            join_muted: self.join_muted.unwrap_or(settings.join_muted),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let patch: SettingsPatch =
            serde_json::from_str(r#"{"orientation": 90, "voice_mode": "music"}"#).unwrap();
        let expected =
            Settings { orientation: Orientation::Deg90, voice_mode: VoiceMode::Music, ..Settings::default() };
        assert_eq!(patch.applied_to(Settings::default()), expected);
    }

    #[test]
    fn an_orientation_between_the_quarters_is_refused() {
        for text in ["45", "360", "-90", "\"90\""] {
            assert!(serde_json::from_str::<Orientation>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_was_kept_before_there_were_three_modes_is_read() {
        for (music, mode) in [(true, VoiceMode::Music), (false, VoiceMode::Voice)] {
            let mut kept = serde_json::to_value(Settings::default()).unwrap();
            kept.as_object_mut().unwrap().remove("voice_mode");
            kept["music_mode"] = music.into();
            assert_eq!(serde_json::from_value::<Settings>(kept).unwrap().voice_mode, mode);
        }
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        assert!(serde_json::from_str::<SettingsPatch>(r#"{"mirored": true}"#).is_err());
    }
}
