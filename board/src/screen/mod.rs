//! What the drivers of screens share: the way of a picture to a GStreamer sink ([`pipeline`]), and a thread that keeps a
//! screen which comes and goes ([`kept`]).

pub(crate) mod kept;
pub(crate) mod pipeline;

use rostrum_hal::FrameSize;
use serde::Deserialize;

/// By how much a picture is turned clockwise, for a screen that hangs turned the other way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) enum Rotation {
    #[default]
    None,
    Quarter,
    Half,
    ThreeQuarters,
}

impl TryFrom<u32> for Rotation {
    type Error = String;

    fn try_from(degrees: u32) -> Result<Self, String> {
        match degrees {
            0 => Ok(Self::None),
            90 => Ok(Self::Quarter),
            180 => Ok(Self::Half),
            270 => Ok(Self::ThreeQuarters),
            other => Err(format!("rotation is 0, 90, 180 or 270, not {other}")),
        }
    }
}

impl Rotation {
    /// The size of a turned picture of `size`.
    pub(crate) fn of(self, size: FrameSize) -> FrameSize {
        match self {
            Self::None | Self::Half => size,
            Self::Quarter | Self::ThreeQuarters => FrameSize::new(size.height, size.width),
        }
    }

    /// GStreamer's name for it (`GstVideoOrientationMethod`).
    fn method(self) -> &'static str {
        match self {
            Self::None => "identity",
            Self::Quarter => "90r",
            Self::Half => "180",
            Self::ThreeQuarters => "90l",
        }
    }
}

/// What a screen's picture may measure.
pub(crate) const USABLE: &str = "size is 64x40 to 7680x4320, the width a multiple of 4 (the height too when it is turned by 90 or 270), the height even";

/// Whether pictures of `size` can be shown, turned or not.
pub(crate) fn is_usable(size: FrameSize, rotation: Rotation) -> bool {
    let within = (64..=7680).contains(&size.width) && (40..=4320).contains(&size.height);
    within
        && size.width.is_multiple_of(4)
        && size.height.is_multiple_of(2)
        && rotation.of(size).width.is_multiple_of(4)
}
