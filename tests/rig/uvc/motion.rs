//! Motors: relative pan, tilt and zoom (UVC 1.1 §4.2.2.1.11 and §4.2.2.1.15) move the absolute positions
//! until they are stopped or come to an end. A pure state machine: time is an argument.
//!
//! Speed 1 is one degree a second, and for zoom 20 percent of the shortest focal length a second.

use rostrum_hal::Timestamp;

use crate::{
    control_table::{Control, entity, name},
    controls::Controls,
};

struct Axis {
    position: &'static str,
    direction: &'static str,
    speed: &'static str,
    /// Units of the position in a second, at speed 1.
    rate: i64,
    /// The position moves in such steps.
    step: i64,
    absolute_selector: u8,
    relative_selector: u8,
}

const AXES: [Axis; 3] = [
    Axis {
        position: name::PAN,
        direction: name::PAN_DIRECTION,
        speed: name::PAN_SPEED,
        rate: 3600,
        step: 3600,
        absolute_selector: 0x0d,
        relative_selector: 0x0e,
    },
    Axis {
        position: name::TILT,
        direction: name::TILT_DIRECTION,
        speed: name::TILT_SPEED,
        rate: 3600,
        step: 3600,
        absolute_selector: 0x0d,
        relative_selector: 0x0e,
    },
    Axis {
        position: name::ZOOM,
        direction: name::ZOOM_DIRECTION,
        speed: name::ZOOM_SPEED,
        rate: 20,
        step: 1,
        absolute_selector: 0x0b,
        relative_selector: 0x0c,
    },
];

#[derive(Clone, Copy, Debug)]
struct Drive {
    begun: Timestamp,
    from: i64,
    /// Units of the position in a second.
    velocity: i64,
}

/// The motors that run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Motion {
    drives: [Option<Drive>; AXES.len()],
}

impl Motion {
    /// Brings the positions to where they are at `now`.
    pub(crate) fn advance(&self, controls: &mut Controls, now: Timestamp) {
        for (axis, drive) in AXES.iter().zip(&self.drives) {
            let Some(drive) = drive else { continue };
            let elapsed = now.saturating_since(drive.begun).as_millis();
            // An hour is longer than any way, and keeps the product small.
            let elapsed_ms = i64::try_from(elapsed.min(3_600_000)).unwrap_or_default();
            let way = drive.velocity * elapsed_ms / 1000;
            controls.put(axis.position, drive.from + way / axis.step * axis.step);
        }
    }

    /// Takes note that `control` was set at `now`, after [`Motion::advance`]. Gives the selector of the
    /// camera terminal's control whose position came to rest, when it did.
    pub(crate) fn was_set(
        &mut self,
        controls: &mut Controls,
        control: &Control,
        now: Timestamp,
    ) -> Option<u8> {
        if control.entity != entity::CAMERA {
            return None;
        }
        let mut stopped = None;
        for (axis, drive) in AXES.iter().zip(&mut self.drives) {
            if control.selector == axis.absolute_selector {
                *drive = None;
                controls.put(axis.direction, 0);
            } else if control.selector == axis.relative_selector {
                let velocity = controls.value(axis.direction) * controls.value(axis.speed) * axis.rate;
                let from = controls.value(axis.position);
                let before = drive.take();
                if velocity != 0 {
                    *drive = Some(Drive { begun: now, from, velocity });
                } else if before.is_some() {
                    stopped = Some(axis.absolute_selector);
                }
            }
        }
        stopped
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::controls::find;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_clock(Duration::from_secs_f64(seconds))
    }

    fn set(motion: &mut Motion, controls: &mut Controls, selector: u8, data: &[u8], time: f64) -> Option<u8> {
        motion.advance(controls, at(time));
        let control = find(entity::CAMERA, selector).unwrap();
        controls.set(control, data).unwrap();
        motion.was_set(controls, control, at(time))
    }

    #[test]
    fn a_relative_pan_moves_until_it_is_stopped() {
        let (mut motion, mut controls) = (Motion::default(), Controls::new());
        assert_eq!(set(&mut motion, &mut controls, 0x0e, &[0xff, 5, 0, 1], 1.0), None);
        motion.advance(&mut controls, at(3.0));
        assert_eq!((controls.value(name::PAN), controls.value(name::TILT)), (-10 * 3600, 0));
        assert_eq!(set(&mut motion, &mut controls, 0x0e, &[0, 5, 0, 1], 4.0), Some(0x0d));
        motion.advance(&mut controls, at(9.0));
        assert_eq!(controls.value(name::PAN), -15 * 3600);
    }

    #[test]
    fn positions_keep_to_their_steps() {
        let (mut motion, mut controls) = (Motion::default(), Controls::new());
        set(&mut motion, &mut controls, 0x0e, &[1, 1, 0xff, 1], 0.0);
        motion.advance(&mut controls, at(1.7));
        assert_eq!((controls.value(name::PAN), controls.value(name::TILT)), (3600, -3600));
    }

    #[test]
    fn a_relative_zoom_ends_at_the_end_of_the_range() {
        let (mut motion, mut controls) = (Motion::default(), Controls::new());
        set(&mut motion, &mut controls, 0x0c, &[1, 0, 7], 0.0);
        motion.advance(&mut controls, at(1.0));
        assert_eq!(controls.value(name::ZOOM), 240);
        motion.advance(&mut controls, at(1e9));
        assert_eq!(controls.value(name::ZOOM), 1000);
    }

    #[test]
    fn an_absolute_position_ends_a_relative_motion() {
        let (mut motion, mut controls) = (Motion::default(), Controls::new());
        set(&mut motion, &mut controls, 0x0c, &[1, 0, 7], 0.0);
        set(&mut motion, &mut controls, 0x0b, &[200, 0], 1.0);
        motion.advance(&mut controls, at(5.0));
        assert_eq!((controls.value(name::ZOOM), controls.value(name::ZOOM_DIRECTION)), (200, 0));
    }
}
