//! The controls of the camera: camera terminal (UVC 1.1 §4.2.2.1), processing unit (§4.2.2.3) and a unit of
//! our own (§4.2.2.4), with the ranges of a common conference camera.

/// Entities, by the ids of their descriptors.
pub(crate) mod entity {
    /// Camera terminal.
    pub(crate) const CAMERA: u8 = 1;
    /// Processing unit.
    pub(crate) const PROCESSING: u8 = 2;
    /// Output terminal of the stream.
    pub(crate) const OUTPUT: u8 = 3;
    /// Extension unit.
    pub(crate) const EXTENSION: u8 = 4;
}

/// GUID of the extension unit, `4d4f4f52-5452-5553-4d00-000000000001`, as it lies in its descriptor: the
/// first three groups are little endian. It stands for no product.
pub(crate) const EXTENSION_GUID: [u8; 16] =
    [0x52, 0x4f, 0x4f, 0x4d, 0x52, 0x54, 0x53, 0x55, 0x4d, 0x00, 0, 0, 0, 0, 0, 1];

/// Names of the fields that the camera itself looks at.
pub(crate) mod name {
    /// 1 manual, 2 automatic, 4 shutter priority, 8 aperture priority.
    pub(crate) const AE_MODE: &str = "ae_mode";
    /// Exposure time in 100 us.
    pub(crate) const EXPOSURE: &str = "exposure_abs";
    /// Whether the camera focuses.
    pub(crate) const FOCUS_AUTO: &str = "focus_auto";
    /// Whether the camera balances white.
    pub(crate) const WHITE_BALANCE_AUTO: &str = "wb_auto";
    /// Percent.
    pub(crate) const ZOOM: &str = "zoom_abs";
    /// -1 out, 0 stop, 1 in.
    pub(crate) const ZOOM_DIRECTION: &str = "zoom_rel_dir";
    /// See [`crate::motion`].
    pub(crate) const ZOOM_SPEED: &str = "zoom_rel_speed";
    /// Arc seconds, to the right.
    pub(crate) const PAN: &str = "pan_abs";
    /// Arc seconds, up.
    pub(crate) const TILT: &str = "tilt_abs";
    /// -1 left, 0 stop, 1 right.
    pub(crate) const PAN_DIRECTION: &str = "pan_rel";
    /// See [`crate::motion`].
    pub(crate) const PAN_SPEED: &str = "pan_speed";
    /// -1 down, 0 stop, 1 up.
    pub(crate) const TILT_DIRECTION: &str = "tilt_rel";
    /// See [`crate::motion`].
    pub(crate) const TILT_SPEED: &str = "tilt_speed";
    /// Whether the shutter is closed.
    pub(crate) const PRIVACY: &str = "privacy";
    /// Added to the luma.
    pub(crate) const BRIGHTNESS: &str = "brightness";
}

/// A number in a control.
#[derive(Debug)]
pub(crate) struct Field {
    /// Name for the commands of [`crate::remote`].
    pub(crate) name: &'static str,
    /// Size on the wire.
    pub(crate) bytes: usize,
    /// Least value; the field is signed when it is negative.
    pub(crate) min: i64,
    /// Greatest value.
    pub(crate) max: i64,
    /// Step; for a bitmap, the bits that may be set.
    pub(crate) resolution: i64,
    /// Value after power on.
    pub(crate) default: i64,
}

/// What keeps a host from setting a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Automatic {
    /// [`name::FOCUS_AUTO`] is on.
    Focus,
    /// [`name::AE_MODE`] leaves the exposure time to the camera.
    Exposure,
    /// [`name::WHITE_BALANCE_AUTO`] is on.
    WhiteBalance,
}

/// A control.
#[derive(Debug)]
pub(crate) struct Control {
    /// The unit or terminal that has it.
    pub(crate) entity: u8,
    /// Control selector.
    pub(crate) selector: u8,
    /// Its bit in `bmControls` of the entity's descriptor.
    pub(crate) bit: u8,
    /// Whether it changes without the host.
    pub(crate) auto_update: bool,
    /// What keeps a host from setting it.
    pub(crate) automatic: Option<Automatic>,
    /// Its fields, in the order of the wire, without gaps.
    pub(crate) fields: &'static [Field],
}

impl Control {
    /// Size on the wire.
    pub(crate) fn bytes(&self) -> usize {
        self.fields.iter().map(|field| field.bytes).sum()
    }
}

const fn field(name: &'static str, bytes: usize, (min, max): (i64, i64), step: i64, default: i64) -> Field {
    Field { name, bytes, min, max, resolution: step, default }
}

const fn control(entity: u8, selector: u8, bit: u8, fields: &'static [Field]) -> Control {
    Control { entity, selector, bit, auto_update: false, automatic: None, fields }
}

/// A control that the camera changes by itself, or a person with the camera's remote control. `uvcvideo`
/// keeps the values of all others, and would not notice.
const fn changing(entity: u8, selector: u8, bit: u8, fields: &'static [Field]) -> Control {
    Control { entity, selector, bit, auto_update: true, automatic: None, fields }
}

impl Control {
    const fn unless(self, automatic: Automatic) -> Self {
        Self { automatic: Some(automatic), ..self }
    }
}

use entity::{CAMERA, EXTENSION, PROCESSING};

/// All of them.
pub(crate) static CONTROLS: [Control; 22] = [
    changing(CAMERA, 0x02, 1, &[field(name::AE_MODE, 1, (1, 15), 15, 8)]),
    control(CAMERA, 0x03, 2, &[field("ae_priority", 1, (0, 1), 1, 0)]),
    changing(CAMERA, 0x04, 3, &[field(name::EXPOSURE, 4, (3, 2047), 1, 250)]).unless(Automatic::Exposure),
    changing(CAMERA, 0x06, 5, &[field("focus_abs", 2, (0, 250), 5, 0)]).unless(Automatic::Focus),
    changing(CAMERA, 0x08, 17, &[field(name::FOCUS_AUTO, 1, (0, 1), 1, 1)]),
    changing(CAMERA, 0x09, 7, &[field("iris_abs", 2, (0, 100), 1, 50)]),
    changing(CAMERA, 0x0b, 9, &[field(name::ZOOM, 2, (100, 1000), 1, 100)]),
    control(
        CAMERA,
        0x0c,
        10,
        &[
            field(name::ZOOM_DIRECTION, 1, (-1, 1), 1, 0),
            field("zoom_rel_digital", 1, (0, 1), 1, 0),
            field(name::ZOOM_SPEED, 1, (0, 7), 1, 1),
        ],
    ),
    changing(
        CAMERA,
        0x0d,
        11,
        &[
            field(name::PAN, 4, (-612_000, 612_000), 3600, 0),
            field(name::TILT, 4, (-108_000, 324_000), 3600, 0),
        ],
    ),
    control(
        CAMERA,
        0x0e,
        12,
        &[
            field(name::PAN_DIRECTION, 1, (-1, 1), 1, 0),
            field(name::PAN_SPEED, 1, (1, 24), 1, 1),
            field(name::TILT_DIRECTION, 1, (-1, 1), 1, 0),
            field(name::TILT_SPEED, 1, (1, 20), 1, 1),
        ],
    ),
    changing(CAMERA, 0x11, 18, &[field(name::PRIVACY, 1, (0, 1), 1, 0)]),
    control(PROCESSING, 0x01, 8, &[field("backlight", 2, (0, 2), 1, 0)]),
    control(PROCESSING, 0x02, 0, &[field(name::BRIGHTNESS, 2, (-64, 64), 1, 0)]),
    control(PROCESSING, 0x03, 1, &[field("contrast", 2, (0, 95), 1, 32)]),
    control(PROCESSING, 0x04, 9, &[field("gain", 2, (0, 255), 1, 0)]),
    control(PROCESSING, 0x05, 10, &[field("power_line", 1, (0, 2), 1, 1)]),
    control(PROCESSING, 0x07, 3, &[field("saturation", 2, (0, 128), 1, 64)]),
    control(PROCESSING, 0x08, 4, &[field("sharpness", 2, (0, 6), 1, 3)]),
    changing(PROCESSING, 0x0a, 6, &[field("wb_temp", 2, (2800, 6500), 1, 4600)])
        .unless(Automatic::WhiteBalance),
    changing(PROCESSING, 0x0b, 12, &[field(name::WHITE_BALANCE_AUTO, 1, (0, 1), 1, 1)]),
    control(EXTENSION, 0x01, 0, &[field("led_brightness", 2, (0, 255), 1, 128)]),
    // Eight bytes that mean nothing to the camera; it gives back what it was given.
    control(EXTENSION, 0x02, 1, &[field("opaque", 8, (i64::MIN, i64::MAX), 1, 0)]),
];
