//! Pan, tilt, zoom, focus, exposure and the picture's settings ("Camera Control Reference" and "User Control Reference"
//! of the V4L2 specification), and a vendor's own.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rostrum_hal::{
    camera::{CameraControl, CameraControls, CameraError, ControlState},
    notify::Notify,
};
use rustix::io::Errno;
use v4l2r::{
    bindings::{self, v4l2_queryctrl, v4l2_querymenu},
    ioctl::{self, CtrlId, QueryCtrlFlags},
};

use super::{
    events::ControlEvents,
    extension::Extension,
    node::{Fault, Node, OrFault},
};

/// How a value of V4L2 becomes one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The same.
    Same,
    /// Magnification: V4L2 leaves the unit to the camera.
    Zoom,
    /// Ours is percent of the full speed to either side.
    Speed,
    /// `V4L2_CID_EXPOSURE_AUTO` is a menu of who chooses what; 1 when the camera chooses the time.
    ExposureMode,
}

const CONTROLS: [(CameraControl, u32, Meaning); 20] = [
    (CameraControl::Pan, bindings::V4L2_CID_PAN_ABSOLUTE, Meaning::Same),
    (CameraControl::Tilt, bindings::V4L2_CID_TILT_ABSOLUTE, Meaning::Same),
    (CameraControl::Zoom, bindings::V4L2_CID_ZOOM_ABSOLUTE, Meaning::Zoom),
    (CameraControl::PanSpeed, bindings::V4L2_CID_PAN_SPEED, Meaning::Speed),
    (CameraControl::TiltSpeed, bindings::V4L2_CID_TILT_SPEED, Meaning::Speed),
    (CameraControl::ZoomSpeed, bindings::V4L2_CID_ZOOM_CONTINUOUS, Meaning::Speed),
    (CameraControl::Focus, bindings::V4L2_CID_FOCUS_ABSOLUTE, Meaning::Same),
    (CameraControl::FocusAuto, bindings::V4L2_CID_FOCUS_AUTO, Meaning::Same),
    (CameraControl::Exposure, bindings::V4L2_CID_EXPOSURE_ABSOLUTE, Meaning::Same),
    (CameraControl::ExposureAuto, bindings::V4L2_CID_EXPOSURE_AUTO, Meaning::ExposureMode),
    (CameraControl::Privacy, bindings::V4L2_CID_PRIVACY, Meaning::Same),
    (CameraControl::Gain, bindings::V4L2_CID_GAIN, Meaning::Same),
    (CameraControl::WhiteBalance, bindings::V4L2_CID_WHITE_BALANCE_TEMPERATURE, Meaning::Same),
    (CameraControl::WhiteBalanceAuto, bindings::V4L2_CID_AUTO_WHITE_BALANCE, Meaning::Same),
    (CameraControl::Backlight, bindings::V4L2_CID_BACKLIGHT_COMPENSATION, Meaning::Same),
    (CameraControl::PowerLine, bindings::V4L2_CID_POWER_LINE_FREQUENCY, Meaning::Same),
    (CameraControl::Brightness, bindings::V4L2_CID_BRIGHTNESS, Meaning::Same),
    (CameraControl::Contrast, bindings::V4L2_CID_CONTRAST, Meaning::Same),
    (CameraControl::Saturation, bindings::V4L2_CID_SATURATION, Meaning::Same),
    (CameraControl::Sharpness, bindings::V4L2_CID_SHARPNESS, Meaning::Same),
];
/// What is set by hand, and who else would set it.
const AUTOMATICS: [(CameraControl, CameraControl); 3] = [
    (CameraControl::Focus, CameraControl::FocusAuto),
    (CameraControl::Exposure, CameraControl::ExposureAuto),
    (CameraControl::WhiteBalance, CameraControl::WhiteBalanceAuto),
];

/// Items of the menu `V4L2_CID_EXPOSURE_AUTO`.
mod exposure {
    /// The camera chooses time and iris.
    pub(super) const AUTO: i32 = 0;
    /// Nobody does.
    pub(super) const MANUAL: i32 = 1;
    /// The time is set, the camera chooses the iris.
    pub(super) const SHUTTER_PRIORITY: i32 = 2;
    /// The camera chooses the time: what a camera without an iris calls automatic.
    pub(super) const APERTURE_PRIORITY: i32 = 3;
}

/// The camera that is there now, shared by its stream and the handles of its controls.
pub(super) struct Present {
    /// The name to show to people.
    pub(super) name: RwLock<String>,
    /// Open while the camera is there.
    there: RwLock<Option<There>>,
    /// Hears what is changed by others while it is there.
    events: Mutex<Option<ControlEvents>>,
    changes: Arc<Notify>,
    /// Magnification at the far end of a zoom that counts from 0.
    zoom_max: f64,
}

/// An open camera.
#[derive(Clone)]
struct There {
    node: Arc<Node>,
    extensions: Arc<[Extension]>,
}

impl Present {
    /// A camera that is not there yet.
    pub(super) fn absent(name: String, zoom_max: f64) -> Self {
        Self {
            name: RwLock::new(name),
            there: RwLock::default(),
            events: Mutex::default(),
            changes: Arc::default(),
            zoom_max,
        }
    }

    /// It is there, with these controls of its vendor.
    pub(super) fn came(&self, node: Arc<Node>, extensions: Vec<Extension>) {
        *self.there.write() = Some(There { node, extensions: extensions.into() });
        self.tell();
    }

    /// Hears from now on what others change.
    pub(super) fn hear(&self) {
        let Some(There { node, .. }) = self.there.read().clone() else { return };
        let numbers = CONTROLS.iter().map(|(_, number, _)| *number);
        match ControlEvents::hear(&node, numbers, Arc::clone(&self.changes)) {
            Ok(events) => *self.events.lock() = Some(events),
            Err(error) => log::warn!(error:%; "changes of the camera's controls are not heard"),
        }
    }

    /// It is closed.
    pub(super) fn went(&self) {
        // Its thread holds the device open.
        *self.events.lock() = None;
        *self.there.write() = None;
    }

    /// Tells that it came or went: not when it is only opened anew.
    pub(super) fn tell(&self) {
        self.changes.notify();
    }

    pub(super) fn error(&self, fault: Fault) -> CameraError {
        let name = self.name.read().clone();
        match fault {
            Fault::Gone => CameraError::Gone { name },
            Fault::Busy => CameraError::Busy { name },
            Fault::Other(_) => CameraError::Failed { name, message: fault.to_string() },
        }
    }

    /// The open device, while it is there.
    pub(super) fn node(&self) -> Option<Arc<Node>> {
        self.there.read().as_ref().map(|there| Arc::clone(&there.node))
    }

    fn there(&self) -> Result<There, CameraError> {
        self.there.read().clone().ok_or_else(|| self.error(Fault::Gone))
    }
}

/// One control as the driver describes it.
struct Described {
    control: CameraControl,
    id: u32,
    scale: Scale,
    query: v4l2_queryctrl,
}

/// Between V4L2's values and ours.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Same,
    ExposureMode,
    /// Theirs at full speed.
    Speed(i64),
    /// Ours = 100 x (1 + (theirs - minimum) x per_step).
    Zoom {
        minimum: f64,
        per_step: f64,
    },
}

impl Scale {
    fn of(meaning: Meaning, query: &v4l2_queryctrl, zoom_max: f64) -> Self {
        match meaning {
            Meaning::Same => Self::Same,
            Meaning::ExposureMode => Self::ExposureMode,
            Meaning::Speed => {
                let full = i64::from(query.maximum).max(-i64::from(query.minimum));
                Self::Speed(full.max(1))
            }
            Meaning::Zoom => {
                let (minimum, maximum) = (f64::from(query.minimum), f64::from(query.maximum));
                // UVC counts focal lengths (CT_ZOOM_ABSOLUTE, 4.2.2.1.11): magnification is their quotient. Where the
                // count starts at 0 it is a position of the lens, and the profile says how far that goes.
                let per_step = if minimum > 0.0 {
                    1.0 / minimum
                } else {
                    (zoom_max - 1.0) / (maximum - minimum).max(1.0)
                };
                Self::Zoom { minimum, per_step }
            }
        }
    }

    fn ours(self, value: i32) -> i64 {
        match self {
            Self::Same => i64::from(value),
            Self::ExposureMode => i64::from(!matches!(value, exposure::MANUAL | exposure::SHUTTER_PRIORITY)),
            Self::Speed(full) => i64::from(value) * 100 / full,
            // `as` saturates.
            Self::Zoom { minimum, per_step } => {
                (100.0 * (1.0 + (f64::from(value) - minimum) * per_step)).round() as i64
            }
        }
    }

    /// For all but the exposure mode, whose item is chosen by what the camera has.
    fn theirs(self, value: i64) -> i64 {
        match self {
            Self::Same | Self::ExposureMode => value,
            // The slowest speed is no standstill.
            Self::Speed(full) => {
                let percent = value.clamp(-100, 100);
                percent.signum() * (percent.abs() * full / 100).max(percent.abs().min(1))
            }
            Self::Zoom { minimum, per_step } => {
                (minimum + (value as f64 / 100.0 - 1.0) / per_step).round() as i64
            }
        }
    }
}

/// The allowed value nearest to `value`: within the range, and a whole number of steps from its start.
fn nearest(value: i64, minimum: i64, maximum: i64, step: i64) -> i64 {
    let (step, value) = (step.max(1), value.clamp(minimum, maximum.max(minimum)));
    let steps = (value - minimum + step / 2) / step;
    let up = minimum + steps * step;
    if up > maximum { up - step } else { up }
}

/// Controls of whatever camera is there.
pub(super) struct V4l2Controls {
    pub(super) present: Arc<Present>,
}

impl V4l2Controls {
    fn described(&self, node: &Node) -> Result<Vec<Described>, CameraError> {
        let all = CONTROLS.into_iter().map(|row| self.describe(node, row));
        Ok(all.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// A row of the table, where the camera has it.
    fn describe(
        &self,
        node: &Node,
        (control, id, meaning): (CameraControl, u32, Meaning),
    ) -> Result<Option<Described>, CameraError> {
        let Ok(number) = CtrlId::new(id) else { return Ok(None) };
        match ioctl::queryctrl::<v4l2_queryctrl>(node, number, QueryCtrlFlags::empty()).or_fault() {
            Ok(query) if query.flags & bindings::V4L2_CTRL_FLAG_DISABLED == 0 => {
                let scale = Scale::of(meaning, &query, self.present.zoom_max);
                Ok(Some(Described { control, id, scale, query }))
            }
            // It has no such control.
            Ok(_) | Err(Fault::Other(Errno::INVAL | Errno::NOTTY)) => Ok(None),
            Err(fault) => Err(self.present.error(fault)),
        }
    }

    fn state(&self, node: &Node, described: &Described) -> Result<Option<ControlState>, CameraError> {
        let flags = described.query.flags;
        let value = if flags & bindings::V4L2_CTRL_FLAG_WRITE_ONLY != 0 {
            described.query.default_value
        } else {
            match ioctl::g_ctrl(node, described.id).or_fault() {
                Ok(value) => value,
                // The camera refuses to say it now, as it may while it chooses by itself.
                Err(Fault::Other(_)) => described.query.default_value,
                Err(fault) => return Err(self.present.error(fault)),
            }
        };
        let scale = described.scale;
        let query = &described.query;
        let (minimum, maximum, step) = match scale {
            Scale::ExposureMode => (0, 1, 1),
            Scale::Speed(_) => (-100, 100, 1),
            Scale::Zoom { per_step, .. } => {
                let step = (100.0 * per_step * f64::from(query.step.max(1))).round() as i64;
                (scale.ours(query.minimum), scale.ours(query.maximum), step.max(1))
            }
            Scale::Same => (i64::from(query.minimum), i64::from(query.maximum), i64::from(query.step.max(1))),
        };
        Ok(Some(ControlState {
            control: described.control,
            minimum,
            maximum,
            step,
            default: scale.ours(query.default_value),
            value: scale.ours(value),
            read_only: flags & bindings::V4L2_CTRL_FLAG_READ_ONLY != 0,
        }))
    }

    /// The item of the exposure menu for "the camera chooses" or "somebody else does", out of those that it has.
    fn exposure_item(node: &Node, automatic: bool) -> Option<i32> {
        let order = if automatic {
            [exposure::APERTURE_PRIORITY, exposure::AUTO]
        } else {
            [exposure::MANUAL, exposure::SHUTTER_PRIORITY]
        };
        let has = |item: &i32| {
            ioctl::querymenu::<v4l2_querymenu>(node, bindings::V4L2_CID_EXPOSURE_AUTO, item.unsigned_abs())
                .is_ok()
        };
        order.into_iter().find(has)
    }

    fn write(&self, node: &Node, described: &Described, value: i64) -> Result<i64, CameraError> {
        let refused = |message: &str| CameraError::Failed {
            name: self.present.name.read().clone(),
            message: format!("{} cannot be set: {message}", described.control),
        };
        let query = &described.query;
        let theirs = match described.scale {
            // Some drivers say that they only move one way, and move both.
            Scale::Speed(_) => described.scale.theirs(value),
            Scale::ExposureMode => i64::from(
                Self::exposure_item(node, value != 0)
                    .ok_or_else(|| refused("the camera has no such mode of exposure"))?,
            ),
            scale => {
                nearest(scale.theirs(value), query.minimum.into(), query.maximum.into(), query.step.into())
            }
        };
        let number = i32::try_from(theirs).map_err(|_| refused("the value is out of range"))?;
        match ioctl::s_ctrl(node, described.id, number).or_fault() {
            // Drivers round by themselves; what the camera has now is what counts.
            Ok(_) => {
                let now = ioctl::g_ctrl(node, described.id).unwrap_or(number);
                Ok(described.scale.ours(now))
            }
            Err(Fault::Other(Errno::ACCESS)) => Err(refused("the camera sets it by itself now")),
            Err(Fault::Other(errno)) => Err(refused(&Fault::Other(errno).to_string())),
            Err(fault) => Err(self.present.error(fault)),
        }
    }

    fn set_now(&self, control: CameraControl, value: i64) -> Result<i64, CameraError> {
        let There { node, extensions } = self.present.there()?;
        if let Some(extension) = extensions.iter().find(|extension| extension.control == control) {
            if extension.is_read_only() {
                return Err(CameraError::ReadOnly { control });
            }
            return extension.set(&node, value).map_err(|fault| self.refused(control, fault));
        }
        let described = self.described(&node)?;
        let find = |wanted| described.iter().find(|described| described.control == wanted);
        let Some(found) = find(control) else {
            let own = described.iter().map(|described| described.control);
            let present = own.chain(extensions.iter().map(|extension| extension.control)).collect();
            return Err(CameraError::NoControl { control, present });
        };
        if found.query.flags & bindings::V4L2_CTRL_FLAG_READ_ONLY != 0 {
            return Err(CameraError::ReadOnly { control });
        }
        let automatic = AUTOMATICS.iter().find(|(by_hand, _)| *by_hand == control).map(|(_, auto)| *auto);
        if let Some(automatic) = automatic.and_then(find) {
            let now = self.state(&node, automatic)?;
            if now.is_some_and(|state| state.value != 0 && !state.read_only) {
                self.write(&node, automatic, 0)?;
            }
        }
        self.write(&node, found, value)
    }

    /// Why it was not set.
    fn refused(&self, control: CameraControl, fault: Fault) -> CameraError {
        match fault {
            Fault::Other(errno) => CameraError::Failed {
                name: self.present.name.read().clone(),
                message: format!("{control} cannot be set: {}", Fault::Other(errno)),
            },
            fault => self.present.error(fault),
        }
    }
}

#[async_trait::async_trait]
impl CameraControls for V4l2Controls {
    fn list(&self) -> Result<Vec<ControlState>, CameraError> {
        let There { node, extensions } = self.present.there()?;
        let described = self.described(&node)?;
        let mut all = Vec::with_capacity(described.len() + extensions.len());
        for described in &described {
            all.extend(self.state(&node, described)?);
        }
        for extension in extensions.iter() {
            all.push(extension.state(&node).map_err(|fault| self.present.error(fault))?);
        }
        Ok(all)
    }

    fn get(&self, control: CameraControl) -> Result<Option<ControlState>, CameraError> {
        let There { node, extensions } = self.present.there()?;
        for row in CONTROLS.into_iter().filter(|(of, ..)| *of == control) {
            if let Some(described) = self.describe(&node, row)? {
                return self.state(&node, &described);
            }
        }
        let extension = extensions.iter().find(|extension| extension.control == control);
        extension
            .map(|extension| extension.state(&node))
            .transpose()
            .map_err(|fault| self.present.error(fault))
    }

    fn set(&self, control: CameraControl, value: i64) -> Result<i64, CameraError> {
        let set = self.set_now(control, value);
        if set.is_ok() {
            // The kernel tells all but who did it.
            self.present.changes.notify();
        }
        set
    }

    fn changes(&self) -> u64 {
        self.present.changes.count()
    }

    async fn changed(&self, seen: u64) -> u64 {
        self.present.changes.after(seen).await
    }
}

/// Keeps the frame rate in low light, where a camera has that choice: a dark picture is better than a slow one.
pub(super) fn keep_rate_in_low_light(node: &Node) {
    // Without the control there is nothing to keep.
    let _ = ioctl::s_ctrl(node, bindings::V4L2_CID_EXPOSURE_AUTO_PRIORITY, 0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zoom(minimum: i32, maximum: i32, zoom_max: f64) -> Scale {
        let query = v4l2_queryctrl { minimum, maximum, ..Default::default() };
        Scale::of(Meaning::Zoom, &query, zoom_max)
    }

    #[test]
    fn focal_lengths_are_magnification_by_their_quotient() {
        let scale = zoom(100, 1000, 4.0);
        assert_eq!([100, 250, 1000].map(|value| scale.ours(value)), [100, 250, 1000]);
        let scale = zoom(10, 120, 4.0);
        assert_eq!([10, 20, 120].map(|value| scale.ours(value)), [100, 200, 1200]);
        assert_eq!(scale.theirs(200), 20);
    }

    #[test]
    fn a_zoom_that_counts_from_zero_goes_as_far_as_the_profile_says() {
        let scale = zoom(0, 500, 5.0);
        assert_eq!([0, 250, 500].map(|value| scale.ours(value)), [100, 300, 500]);
        assert_eq!(scale.theirs(300), 250);
    }

    #[test]
    fn a_value_between_steps_or_out_of_range_becomes_the_nearest_allowed() {
        assert_eq!(nearest(5000, -612_000, 612_000, 3600), 3600);
        assert_eq!(nearest(5500, -612_000, 612_000, 3600), 7200);
        assert_eq!(nearest(99_999, 100, 1000, 1), 1000);
        assert_eq!(nearest(9, 0, 10, 4), 8, "the last step may end before the maximum");
    }

    proptest! {
        #[test]
        fn the_nearest_value_is_allowed(
            value in any::<i32>(), minimum in any::<i32>(), length in 0..i32::MAX, step in -5..10_000_i32,
        ) {
            let (minimum, step) = (i64::from(minimum), i64::from(step));
            let maximum = minimum + i64::from(length);
            let found = nearest(value.into(), minimum, maximum, step);
            prop_assert!((minimum..=maximum).contains(&found));
            prop_assert_eq!((found - minimum) % step.max(1), 0);
        }

        #[test]
        fn zoom_survives_the_way_there_and_back(minimum in 0..500_i32, length in 1..20_000_i32, at in 0.0..1.0_f64) {
            let maximum = minimum + length;
            let value = minimum + (f64::from(length) * at) as i32;
            let scale = zoom(minimum, maximum, 12.0);
            // Ours are hundredths: coarser than some cameras' steps, never off by more than one of them.
            let back = scale.theirs(scale.ours(value));
            let Scale::Zoom { per_step, .. } = scale else { unreachable!() };
            let hundredth = (0.005 / per_step).ceil() as i64 + 1;
            prop_assert!((back - i64::from(value)).abs() <= hundredth, "{} -> {}", value, back);
        }
    }
}
