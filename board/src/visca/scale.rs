//! Between the units of `rostrum-hal` and the numbers of one camera.

use rostrum_hal::camera::CameraControl;

/// The end of the optics in VISCA; behind it is digital zoom, which only spoils pictures.
const ZOOM_END: u16 = 0x4000;
const ARC_SECONDS: f64 = 3600.0;
/// Units of an exposure, 100 us, in a second.
const EXPOSURE: f64 = 10_000.0;
/// The slowest and the fastest that VISCA knows of magnifying.
const ZOOM_SPEEDS: i8 = 8;

/// Smallest and largest value of a control, distance between values, and value at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) minimum: i64,
    pub(super) maximum: i64,
    pub(super) step: i64,
    pub(super) default: i64,
}

/// What a camera's numbers mean.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// Pan and tilt, 0.1..=1000.0.
    pub(super) steps_per_degree: f64,
    /// Ends of pan in steps, left and right.
    pub(super) pan: (i16, i16),
    /// Ends of tilt in steps, down and up.
    pub(super) tilt: (i16, i16),
    /// Fastest of pan and tilt, 1..=24.
    pub(super) speeds: (u8, u8),
    /// Magnification at the end of the optics, in hundredths, above 100.
    pub(super) zoom_max: i64,
    /// Positions of focus at infinity and nearest.
    pub(super) focus: (u16, u16),
    /// Exposures a second by the row of the camera's table; not empty, none 0.
    pub(super) shutter_hz: Vec<u16>,
}

impl Scale {
    pub(super) fn range(&self, control: CameraControl) -> Option<Range> {
        use CameraControl as Control;
        let range = |minimum, maximum, step, default| Some(Range { minimum, maximum, step, default });
        let turn = |(low, high): (i16, i16)| {
            let (low, high) = (self.arc_seconds(low), self.arc_seconds(high));
            let step = (ARC_SECONDS / self.steps_per_degree).round().max(1.0);
            range(low, high, step as i64, 0_i64.clamp(low, high))
        };
        match control {
            Control::Pan => turn(self.pan),
            Control::Tilt => turn(self.tilt),
            Control::Zoom => range(100, self.zoom_max, 1, 100),
            Control::Focus => range(0, self.focus.0.abs_diff(self.focus.1).into(), 1, 0),
            Control::Exposure => {
                let rows = || (0..self.shutter_hz.len()).map(|row| self.exposure(row as u16));
                let (low, high) = (rows().min()?, rows().max()?);
                range(low, high, 1, self.exposure(self.shutter_row(EXPOSURE as i64 / 60).into()))
            }
            Control::FocusAuto | Control::ExposureAuto => range(0, 1, 1, 1),
            Control::PanSpeed | Control::TiltSpeed | Control::ZoomSpeed => range(-100, 100, 1, 0),
            _ => None,
        }
    }

    /// Arc seconds of a position in steps.
    pub(super) fn arc_seconds(&self, steps: i16) -> i64 {
        (f64::from(steps) / self.steps_per_degree * ARC_SECONDS).round() as i64
    }

    /// The nearest position of pan.
    pub(super) fn pan_steps(&self, arc_seconds: i64) -> i16 {
        self.steps(arc_seconds, self.pan)
    }

    /// The nearest position of tilt.
    pub(super) fn tilt_steps(&self, arc_seconds: i64) -> i16 {
        self.steps(arc_seconds, self.tilt)
    }

    fn steps(&self, arc_seconds: i64, (low, high): (i16, i16)) -> i16 {
        let steps = (arc_seconds as f64 / ARC_SECONDS * self.steps_per_degree).round();
        steps.clamp(low.into(), high.into()) as i16
    }

    /// Magnification in hundredths at a position of zoom. Between the ends it is taken to grow evenly: how it
    /// really grows is written in each camera's manual and differs by some tenths in the middle.
    pub(super) fn magnification(&self, position: u16) -> i64 {
        let part = f64::from(position.min(ZOOM_END)) / f64::from(ZOOM_END);
        100 + (part * (self.zoom_max - 100) as f64).round() as i64
    }

    /// The position of zoom with that magnification in hundredths.
    pub(super) fn zoom_position(&self, magnification: i64) -> u16 {
        let above = (magnification.clamp(100, self.zoom_max) - 100) as f64;
        (above / (self.zoom_max - 100) as f64 * f64::from(ZOOM_END)).round() as u16
    }

    /// Distance of a position of focus from infinity.
    pub(super) fn focus(&self, position: u16) -> i64 {
        let (far, near) = self.focus;
        position.clamp(far.min(near), far.max(near)).abs_diff(far).into()
    }

    /// The position of focus that far from infinity.
    pub(super) fn focus_position(&self, focus: i64) -> u16 {
        let (far, near) = self.focus;
        let distance = focus.clamp(0, far.abs_diff(near).into()) as u16;
        if near > far { far + distance } else { far - distance }
    }

    /// Exposure of a row of the camera's table, in units of 100 us, at least 1.
    pub(super) fn exposure(&self, row: u16) -> i64 {
        let last = self.shutter_hz.len().saturating_sub(1);
        let hz = self.shutter_hz.get(usize::from(row).min(last)).copied().unwrap_or(1);
        ((EXPOSURE / f64::from(hz)).round() as i64).max(1)
    }

    /// The row of the camera's table whose exposure is nearest.
    pub(super) fn shutter_row(&self, exposure: i64) -> u8 {
        let exposure = exposure.clamp(0, i32::MAX.into()) as f64;
        let off = |hz: u16| (EXPOSURE / f64::from(hz) - exposure).abs();
        let rows = self.shutter_hz.iter().enumerate();
        rows.min_by(|(_, a), (_, b)| off(**a).total_cmp(&off(**b))).map_or(0, |(row, _)| row as u8)
    }

    /// Speed of pan for a percentage.
    pub(super) fn pan_speed(&self, percent: i64) -> i8 {
        speed(percent, self.speeds.0.min(0x18) as i8)
    }

    /// Speed of tilt for a percentage.
    pub(super) fn tilt_speed(&self, percent: i64) -> i8 {
        speed(percent, self.speeds.1.min(0x18) as i8)
    }

    /// Speed of zoom for a percentage.
    pub(super) fn zoom_speed(percent: i64) -> i8 {
        speed(percent, ZOOM_SPEEDS)
    }
}

/// What is not 0 moves.
fn speed(percent: i64, fastest: i8) -> i8 {
    let part = percent.unsigned_abs().min(100) * u64::from(fastest.unsigned_abs());
    let speed = part.div_ceil(100) as i8;
    if percent < 0 { -speed } else { speed }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scale() -> impl Strategy<Value = Scale> {
        let steps = (0.1_f64..150.0, -170_i16..0, 0_i16..170, -90_i16..0, 0_i16..90);
        let rows = proptest::collection::vec(1_u16..=10_000, 1..=0x16);
        (steps, 1_u8..=24, 101_i64..=4000, any::<(u16, u16)>(), rows).prop_map(
            |((steps_per_degree, left, right, down, up), fastest, zoom_max, focus, shutter_hz)| {
                let steps = |degrees: i16| (f64::from(degrees) * steps_per_degree) as i16;
                Scale {
                    steps_per_degree,
                    pan: (steps(left), steps(right)),
                    tilt: (steps(down), steps(up)),
                    speeds: (fastest, fastest),
                    zoom_max,
                    focus,
                    shutter_hz,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn any_value_becomes_the_nearest_that_the_camera_has(scale in scale(), value: i64) {
            for control in [CameraControl::Pan, CameraControl::Tilt, CameraControl::Zoom, CameraControl::Focus,
                CameraControl::Exposure]
            {
                let set = |value| match control {
                    CameraControl::Pan => scale.arc_seconds(scale.pan_steps(value)),
                    CameraControl::Tilt => scale.arc_seconds(scale.tilt_steps(value)),
                    CameraControl::Zoom => scale.magnification(scale.zoom_position(value)),
                    CameraControl::Focus => scale.focus(scale.focus_position(value)),
                    _ => scale.exposure(scale.shutter_row(value).into()),
                };
                let Some(Range { minimum, maximum, step, default }) = scale.range(control) else {
                    panic!("{control:?} has no range")
                };
                for value in [value, value % 1_000_000, minimum, maximum, default] {
                    let there = set(value);
                    prop_assert!((minimum..=maximum).contains(&there), "{control:?} {value} -> {there}");
                    prop_assert_eq!(set(there), there, "{:?}", control);
                    if control != CameraControl::Exposure {
                        let off = there.abs_diff(value.clamp(minimum, maximum));
                        prop_assert!(off <= step.unsigned_abs(), "{control:?} {value} -> {there}");
                    }
                }
            }
        }

        #[test]
        fn a_speed_has_its_sign_and_only_0_stops(scale in scale(), percent in -100_i64..=100) {
            for (speed, fastest) in [
                (scale.pan_speed(percent), scale.speeds.0),
                (scale.tilt_speed(percent), scale.speeds.1),
                (Scale::zoom_speed(percent), 8),
            ] {
                prop_assert_eq!(i64::from(speed.signum()), percent.signum());
                prop_assert!(speed.unsigned_abs() <= fastest);
                prop_assert!(percent.abs() != 100 || speed.unsigned_abs() == fastest);
            }
        }
    }
}
