//! What a room chooses about its picture. All of it can change in a meeting.

use rostrum_hal::FrameSize;

/// How far the picture is turned clockwise before it is sent.
///
/// Written as degrees: 0, 90, 180 or 270.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum Orientation {
    /// As the camera gives it.
    #[default]
    Upright,
    /// A quarter turn clockwise.
    Right,
    /// Upside down.
    Down,
    /// A quarter turn counter-clockwise.
    Left,
}

impl TryFrom<u32> for Orientation {
    type Error = String;
    fn try_from(degrees: u32) -> Result<Self, String> {
        Self::from_degrees(degrees).ok_or_else(|| format!("orientation is 0, 90, 180 or 270, not {degrees}"))
    }
}

impl From<Orientation> for u32 {
    fn from(orientation: Orientation) -> Self {
        match orientation {
            Orientation::Upright => 0,
            Orientation::Right => 90,
            Orientation::Down => 180,
            Orientation::Left => 270,
        }
    }
}

impl Orientation {
    /// From degrees clockwise; `None` unless 0, 90, 180 or 270.
    pub fn from_degrees(degrees: u32) -> Option<Self> {
        match degrees {
            0 => Some(Self::Upright),
            90 => Some(Self::Right),
            180 => Some(Self::Down),
            270 => Some(Self::Left),
            _ => None,
        }
    }

    /// The size of a picture of `size` once it is turned.
    pub fn turned(self, size: FrameSize) -> FrameSize {
        match self {
            Self::Upright | Self::Down => size,
            Self::Right | Self::Left => FrameSize::new(size.height, size.width),
        }
    }
}

/// What gives way when the network is narrow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preference {
    /// Keep the frame rate; the picture gets smaller. For people.
    #[default]
    Fluency,
    /// Keep the size; the frame rate gets lower. For documents and whiteboards.
    Sharpness,
}

/// What a room chooses about its picture.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PictureSettings {
    /// Largest size to send; the longer sides and the shorter sides are compared, however the picture is
    /// turned. Below 64x64 it counts as that.
    pub max_size: FrameSize,
    /// Largest frame rate to send, 1..=60; others become the nearest of these.
    pub frame_rate_hz: f64,
    /// How far to turn the picture.
    pub orientation: Orientation,
    /// Swap left and right (after turning).
    pub mirror: bool,
    /// What gives way when the network is narrow.
    pub preference: Preference,
    /// Send no picture at all.
    pub audio_only: bool,
}

impl Default for PictureSettings {
    fn default() -> Self {
        Self {
            max_size: FrameSize::new(1920, 1080),
            frame_rate_hz: 30.0,
            orientation: Orientation::default(),
            mirror: false,
            preference: Preference::default(),
            audio_only: false,
        }
    }
}

impl PictureSettings {
    /// [`PictureSettings::frame_rate_hz`] within its range.
    pub(crate) fn frame_rate(&self) -> f64 {
        if self.frame_rate_hz.is_finite() { self.frame_rate_hz.clamp(1.0, 60.0) } else { 30.0 }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn settings_are_read_as_people_write_them() {
        let text = "orientation = 90\nmirror = true\npreference = \"sharpness\"";
        let settings: PictureSettings = toml::from_str(text).unwrap();
        let expected = PictureSettings {
            orientation: Orientation::Right,
            mirror: true,
            preference: Preference::Sharpness,
            ..Default::default()
        };
        assert_eq!(settings, expected);
        assert_eq!(
            toml::from_str::<PictureSettings>(&toml::to_string(&settings).unwrap()).unwrap(),
            settings
        );
    }

    #[test]
    fn what_is_no_setting_is_refused_with_a_reason() {
        let error = toml::from_str::<PictureSettings>("orientation = 45").unwrap_err().to_string();
        assert!(error.contains("0, 90, 180 or 270"), "{error}");
        assert!(toml::from_str::<PictureSettings>("mirrored = true").is_err());
    }
}
