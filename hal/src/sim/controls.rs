//! The controls of the virtual camera.

use super::{Fault, VirtualBoard, camera::CAMERA_NAME};
use crate::camera::{CameraControl, CameraControls, CameraError, ControlState};

/// Arc seconds in a degree, the unit of pan and tilt.
const DEGREE: i64 = 3600;
/// The focus at which the scene is sharp.
const SHARP_FOCUS: i64 = 60;
/// The exposure at which the scene looks as it should: 16 ms.
const GOOD_EXPOSURE: i64 = 160;

/// Control, minimum, maximum, step, default.
const TABLE: [(CameraControl, i64, i64, i64, i64); 8] = [
    (CameraControl::Pan, -170 * DEGREE, 170 * DEGREE, DEGREE, 0),
    (CameraControl::Tilt, -30 * DEGREE, 30 * DEGREE, DEGREE, 0),
    (CameraControl::Zoom, 100, 1000, 1, 100),
    (CameraControl::Focus, 0, 255, 1, SHARP_FOCUS),
    (CameraControl::FocusAuto, 0, 1, 1, 1),
    (CameraControl::Exposure, 1, 1000, 1, GOOD_EXPOSURE),
    (CameraControl::ExposureAuto, 0, 1, 1, 1),
    (CameraControl::Privacy, 0, 1, 1, 0),
];

/// Present values, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ControlValues([i64; TABLE.len()]);

impl Default for ControlValues {
    fn default() -> Self {
        Self(TABLE.map(|(_, _, _, _, default)| default))
    }
}

impl ControlValues {
    fn get(&self, control: CameraControl) -> i64 {
        place(control).map_or(0, |at| self.0[at])
    }

    fn set(&mut self, control: CameraControl, value: i64) -> Option<i64> {
        let at = place(control)?;
        let (_, minimum, maximum, step, _) = TABLE[at];
        let steps = (value.clamp(minimum, maximum) - minimum + step / 2) / step;
        self.0[at] = (minimum + steps * step).min(maximum);
        match control {
            // As every driver does it: a value set by hand ends the automatic.
            CameraControl::Focus => self.set(CameraControl::FocusAuto, 0),
            CameraControl::Exposure => self.set(CameraControl::ExposureAuto, 0),
            _ => None,
        };
        Some(self.0[at])
    }

    /// What the optics make of the controls.
    pub(super) fn optics(&self) -> Optics {
        let auto = |control| self.get(control) == 1;
        let defocus = (self.get(CameraControl::Focus) - SHARP_FOCUS).abs();
        let exposure = self.get(CameraControl::Exposure) as f32 / GOOD_EXPOSURE as f32;
        Optics {
            pan: self.get(CameraControl::Pan) as f32 / (170 * DEGREE) as f32,
            tilt: self.get(CameraControl::Tilt) as f32 / (30 * DEGREE) as f32,
            zoom: self.get(CameraControl::Zoom) as f32 / 100.0,
            blur: if auto(CameraControl::FocusAuto) { 0.0 } else { defocus as f32 / 195.0 },
            gain: if auto(CameraControl::ExposureAuto) { 1.0 } else { exposure },
            covered: self.get(CameraControl::Privacy) == 1,
        }
    }
}

fn place(control: CameraControl) -> Option<usize> {
    TABLE.iter().position(|(c, ..)| *c == control)
}

/// How the camera looks at its scene.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Optics {
    /// -1.0 left end to 1.0 right end.
    pub(super) pan: f32,
    /// -1.0 lowest to 1.0 highest.
    pub(super) tilt: f32,
    /// Magnification, 1.0..=10.0.
    pub(super) zoom: f32,
    /// 0.0 sharp to 1.0 as unsharp as can be.
    pub(super) blur: f32,
    /// Factor of brightness.
    pub(super) gain: f32,
    /// A cover is in front of the lens.
    pub(super) covered: bool,
}

/// A handle for the controls of a virtual board's camera.
pub struct SimCameraControls {
    board: VirtualBoard,
}

impl SimCameraControls {
    pub(super) fn new(board: VirtualBoard) -> Self {
        Self { board }
    }

    fn there(&self) -> Result<(), CameraError> {
        if self.board.has_fault(Fault::CameraUnplugged) {
            return Err(CameraError::Gone { name: CAMERA_NAME.into() });
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl CameraControls for SimCameraControls {
    fn list(&self) -> Result<Vec<ControlState>, CameraError> {
        self.there()?;
        let values = *self.board.shared.controls.lock();
        let state = |(control, minimum, maximum, step, default)| {
            let value = values.get(control);
            ControlState { control, minimum, maximum, step, default, value, read_only: false }
        };
        Ok(TABLE.into_iter().map(state).collect())
    }

    fn set(&self, control: CameraControl, value: i64) -> Result<i64, CameraError> {
        self.there()?;
        let set = self.board.shared.controls.lock().set(control, value);
        let present = || TABLE.into_iter().map(|(control, ..)| control).collect();
        let value = set.ok_or_else(|| CameraError::NoControl { control, present: present() })?;
        self.board.shared.changes.notify();
        Ok(value)
    }

    /// Everything that changes on the board.
    fn changes(&self) -> u64 {
        self.board.shared.changes.count()
    }

    async fn changed(&self, seen: u64) -> u64 {
        self.board.shared.changes.after(seen).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::sim::VirtualBoardOptions;

    fn controls() -> SimCameraControls {
        VirtualBoard::new(VirtualBoardOptions::default()).camera_controls()
    }

    proptest! {
        #[test]
        fn a_value_outside_the_range_or_between_steps_becomes_the_nearest_allowed(value: i64, which in 0..TABLE.len()) {
            let (control, minimum, maximum, step, _) = TABLE[which];
            let controls = controls();
            let set = controls.set(control, value).unwrap();
            prop_assert!((minimum..=maximum).contains(&set) && (set - minimum) % step == 0);
            prop_assert!(set.abs_diff(value.clamp(minimum, maximum)) <= step.unsigned_abs() / 2);
            let listed = controls.list().unwrap();
            prop_assert_eq!(listed.iter().find(|c| c.control == control).unwrap().value, set);
        }
    }

    #[test]
    fn focus_and_exposure_by_hand_end_the_automatic() {
        let controls = controls();
        controls.set(CameraControl::Focus, 10).unwrap();
        controls.set(CameraControl::Exposure, 20).unwrap();
        let value = |wanted| controls.list().unwrap().iter().find(|c| c.control == wanted).unwrap().value;
        assert_eq!((value(CameraControl::FocusAuto), value(CameraControl::ExposureAuto)), (0, 0));
    }

    #[test]
    fn a_change_by_another_handle_is_told() {
        let board = VirtualBoard::new(VirtualBoardOptions::default());
        let controls = board.camera_controls();
        let seen = controls.changes();
        let other = board.camera_controls();
        let setting = std::thread::spawn(move || other.set(CameraControl::Zoom, 250).unwrap());
        assert_ne!(pollster::block_on(controls.changed(seen)), seen);
        setting.join().unwrap();
    }

    #[test]
    fn all_handles_of_a_camera_see_the_same_values() {
        let board = VirtualBoard::new(VirtualBoardOptions::default());
        board.camera_controls().set(CameraControl::Zoom, 250).unwrap();
        let listed = board.camera_controls().list().unwrap();
        assert!(listed.iter().any(|c| c.control == CameraControl::Zoom && c.value == 250));
    }
}
