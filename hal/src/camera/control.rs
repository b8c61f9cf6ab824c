//! Names of what can be turned and set on a camera.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A property of a camera that can be listed and set; V4L2 "Camera Control Reference".
///
/// Programs and files know it by its name in `snake_case`; one of a vendor's own is `vendor_` and the name that the
/// board's profile gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CameraControl {
    /// Left and right, in arc seconds; positive is to the right of the camera.
    Pan,
    /// Down and up, in arc seconds; positive is up.
    Tilt,
    /// Magnification in hundredths: 100 is the whole picture, 200 half of it.
    Zoom,
    /// Distance of focus: 0 is infinity, the maximum is nearest.
    Focus,
    /// 1 lets the camera focus by itself.
    FocusAuto,
    /// Exposure time in units of 100 us.
    Exposure,
    /// 1 lets the camera choose the exposure.
    ExposureAuto,
    /// 1 when a cover or switch blinds the camera. Often read-only.
    Privacy,
    /// Amplification of the picture, in the camera's own steps; set by the camera while it chooses the exposure.
    Gain,
    /// Colour temperature of the light that is white, in kelvin.
    WhiteBalance,
    /// 1 lets the camera choose the white balance.
    WhiteBalanceAuto,
    /// How much a talker in front of a window is brightened; 0 is off.
    Backlight,
    /// What the light flickers with: 0 nothing, 1 50 Hz, 2 60 Hz, 3 found by the camera.
    PowerLine,
    /// In the camera's own steps, as the four below it.
    Brightness,
    /// See `Brightness`.
    Contrast,
    /// See `Brightness`.
    Saturation,
    /// See `Brightness`.
    Sharpness,
    /// Turns until told otherwise, in percent of full speed, -100..=100: positive is to the right, 0 stops.
    /// Its value is what was set last; a set [`Self::Pan`] ends it (`V4L2_CID_PAN_SPEED`).
    PanSpeed,
    /// The same for up (positive) and down (`V4L2_CID_TILT_SPEED`).
    TiltSpeed,
    /// The same for magnification: positive is towards a part of the picture (`V4L2_CID_ZOOM_CONTINUOUS`).
    ZoomSpeed,
    /// What its vendor alone knows the meaning of, such as a control of a UVC extension unit.
    Vendor(VendorControl),
}

/// What every name of a vendor's control begins with, so that it is never that of a control yet to come.
const VENDOR: &str = "vendor_";

const NAMES: [(CameraControl, &str); 20] = [
    (CameraControl::Pan, "pan"),
    (CameraControl::Tilt, "tilt"),
    (CameraControl::Zoom, "zoom"),
    (CameraControl::Focus, "focus"),
    (CameraControl::FocusAuto, "focus_auto"),
    (CameraControl::Exposure, "exposure"),
    (CameraControl::ExposureAuto, "exposure_auto"),
    (CameraControl::Privacy, "privacy"),
    (CameraControl::Gain, "gain"),
    (CameraControl::WhiteBalance, "white_balance"),
    (CameraControl::WhiteBalanceAuto, "white_balance_auto"),
    (CameraControl::Backlight, "backlight"),
    (CameraControl::PowerLine, "power_line"),
    (CameraControl::Brightness, "brightness"),
    (CameraControl::Contrast, "contrast"),
    (CameraControl::Saturation, "saturation"),
    (CameraControl::Sharpness, "sharpness"),
    (CameraControl::PanSpeed, "pan_speed"),
    (CameraControl::TiltSpeed, "tilt_speed"),
    (CameraControl::ZoomSpeed, "zoom_speed"),
];

impl CameraControl {
    /// Whether it is a movement that goes on, not a place where the camera can stand.
    pub fn is_speed(self) -> bool {
        matches!(self, Self::PanSpeed | Self::TiltSpeed | Self::ZoomSpeed)
    }
}

impl fmt::Display for CameraControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vendor(vendor) => write!(f, "{VENDOR}{vendor}"),
            standard => {
                let name = NAMES.iter().find(|(control, _)| control == standard).map(|(_, name)| *name);
                f.write_str(name.unwrap_or_default())
            }
        }
    }
}

impl FromStr for CameraControl {
    type Err = UnknownControl;

    fn from_str(text: &str) -> Result<Self, UnknownControl> {
        if let Some((control, _)) = NAMES.iter().find(|(_, name)| *name == text) {
            return Ok(*control);
        }
        let vendor = text.strip_prefix(VENDOR).and_then(|name| VendorControl::new(name).ok());
        vendor.map(Self::Vendor).ok_or_else(|| UnknownControl { name: text.to_owned() })
    }
}

impl Serialize for CameraControl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CameraControl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Not the name of a control.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no control {name:?} of a camera; there are pan, tilt, zoom, focus, focus_auto, exposure, exposure_auto and others, and vendor_... of 1 to 32 characters a-z, 0-9 and _"
)]
pub struct UnknownControl {
    /// What was said.
    pub name: String,
}

/// The name of a vendor's control: 1 to 32 of `a-z`, `0-9` and `_`, the first a letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VendorControl {
    /// Zeros follow the name.
    bytes: [u8; Self::MAX_LENGTH],
}

impl VendorControl {
    const MAX_LENGTH: usize = 32;

    /// A control of that name.
    ///
    /// # Errors
    /// [`UnknownControl`] when it is not such a name.
    pub fn new(name: &str) -> Result<Self, UnknownControl> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.len() <= Self::MAX_LENGTH
            && name.bytes().all(allowed);
        if !is_name {
            return Err(UnknownControl { name: name.to_owned() });
        }
        let mut bytes = [0; Self::MAX_LENGTH];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self { bytes })
    }

    /// The name, without `vendor_`.
    pub fn as_str(&self) -> &str {
        let end = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(Self::MAX_LENGTH);
        std::str::from_utf8(&self.bytes[..end]).unwrap_or_default()
    }
}

impl fmt::Display for VendorControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for VendorControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_control_is_known_by_its_own_name() {
        assert_eq!(NAMES.iter().map(|(control, _)| control).collect::<BTreeSet<_>>().len(), NAMES.len());
        for (control, name) in NAMES {
            assert_eq!((control.to_string().as_str(), name.parse()), (name, Ok(control)));
            let debug = format!("{control:?}");
            assert_eq!(debug.to_lowercase(), name.replace('_', ""), "a name is that of the control");
        }
    }

    #[test]
    fn a_name_of_nothing_is_refused() {
        for name in ["legs", "", "Pan", "vendor_", "vendor_Led", "vendor_1", "vendor_a/b", "led"] {
            assert!(name.parse::<CameraControl>().is_err(), "{name:?}");
        }
        assert!(VendorControl::new(&"x".repeat(33)).is_err());
    }

    proptest! {
        #[test]
        fn a_vendors_control_survives_its_name(name in "[a-z][a-z0-9_]{0,31}") {
            let control = CameraControl::Vendor(VendorControl::new(&name).unwrap());
            prop_assert_eq!(control.to_string(), format!("vendor_{name}"));
            prop_assert_eq!(control.to_string().parse(), Ok(control));
        }

        #[test]
        fn any_text_is_a_control_or_an_error(text: String) {
            if let Ok(control) = text.parse::<CameraControl>() {
                prop_assert_eq!(control.to_string(), text);
            }
        }
    }
}
