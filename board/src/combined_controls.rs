//! Controls of one camera that stand in two places, such as a pan-tilt head with its own protocol and the
//! camera on it.

use std::{future::poll_fn, task::Poll};

use rostrum_hal::camera::{CameraControl, CameraControls, CameraError, ControlState};

/// Several controls as one: each control is that of the first who has it.
pub struct CombinedControls {
    parts: Vec<Box<dyn CameraControls>>,
}

impl CombinedControls {
    /// `parts` as one, the first before the others; `None` without any.
    pub fn of(
        parts: impl IntoIterator<Item = Option<Box<dyn CameraControls>>>,
    ) -> Option<Box<dyn CameraControls>> {
        let mut parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.len() > 1 { Some(Box::new(Self { parts })) } else { parts.pop() }
    }
}

#[async_trait::async_trait]
impl CameraControls for CombinedControls {
    /// When one part is gone so is the whole: half of a place is not one to keep.
    fn list(&self) -> Result<Vec<ControlState>, CameraError> {
        let mut all: Vec<ControlState> = Vec::new();
        for part in &self.parts {
            let new = part.list()?;
            let is_new = |state: &ControlState| !all.iter().any(|known| known.control == state.control);
            let new: Vec<_> = new.into_iter().filter(is_new).collect();
            all.extend(new);
        }
        Ok(all)
    }

    fn set(&self, control: CameraControl, value: i64) -> Result<i64, CameraError> {
        let mut all = Vec::new();
        for part in &self.parts {
            match part.set(control, value) {
                Err(CameraError::NoControl { present, .. }) => {
                    all.extend(present);
                }
                result => return result,
            }
        }
        all.sort();
        all.dedup();
        Err(CameraError::NoControl { control, present: all })
    }

    fn changes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.wrapping_add(part.changes()))
    }

    async fn changed(&self, seen: u64) -> u64 {
        loop {
            // What changes from here on ends a wait below.
            let counts: Vec<u64> = self.parts.iter().map(|part| part.changes()).collect();
            let now = counts.iter().fold(0_u64, |sum, count| sum.wrapping_add(*count));
            if now != seen {
                return now;
            }
            let mut waits: Vec<_> =
                self.parts.iter().zip(counts).map(|(part, count)| part.changed(count)).collect();
            poll_fn(|context| {
                let ready = waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready());
                if ready { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rostrum_hal::sim::{Fault, VirtualBoard, VirtualBoardOptions};

    use super::*;

    /// Only zoom, which is always 150.
    struct Lens;

    impl CameraControls for Lens {
        fn list(&self) -> Result<Vec<ControlState>, CameraError> {
            let control = CameraControl::Zoom;
            let (minimum, maximum, step, default) = (150, 150, 1, 150);
            Ok(vec![ControlState { control, minimum, maximum, step, default, value: 150, read_only: false }])
        }

        fn set(&self, control: CameraControl, _: i64) -> Result<i64, CameraError> {
            if control == CameraControl::Zoom {
                return Ok(150);
            }
            Err(CameraError::NoControl { control, present: vec![CameraControl::Zoom] })
        }
    }

    fn lens_before(board: &VirtualBoard) -> Box<dyn CameraControls> {
        CombinedControls::of([Some(Box::new(Lens) as _), Some(Box::new(board.camera_controls()) as _)])
            .unwrap()
    }

    #[test]
    fn the_first_that_has_a_control_answers_for_it_and_the_others_for_theirs() {
        let board = VirtualBoard::new(VirtualBoardOptions::default());
        let both = lens_before(&board);
        assert_eq!(both.set(CameraControl::Zoom, 300).unwrap(), 150);
        assert_eq!(both.set(CameraControl::Exposure, 300).unwrap(), 300);
        let listed = both.list().unwrap();
        let of =
            |control| listed.iter().filter(|s| s.control == control).map(|s| s.value).collect::<Vec<_>>();
        assert_eq!((of(CameraControl::Zoom), of(CameraControl::Exposure)), (vec![150], vec![300]));
        let alone = board.camera_controls().list().unwrap();
        assert_eq!(alone.iter().find(|s| s.control == CameraControl::Zoom).unwrap().value, 100);
        let error = both.set(CameraControl::PanSpeed, 1).unwrap_err();
        let CameraError::NoControl { present, .. } = error else { panic!("{error}") };
        assert_eq!(present.len(), listed.len());
    }

    #[test]
    fn a_change_of_any_part_is_told() {
        let board = VirtualBoard::new(VirtualBoardOptions::default());
        let both = lens_before(&board);
        let seen = both.changes();
        let other = board.camera_controls();
        let setting = std::thread::spawn(move || other.set(CameraControl::Pan, 3_600).unwrap());
        let now = pollster::block_on(both.changed(seen));
        assert_ne!(now, seen);
        setting.join().unwrap();
        assert_eq!(both.changes(), now);
    }

    #[test]
    fn a_part_that_is_gone_is_told() {
        let board = VirtualBoard::new(VirtualBoardOptions::default());
        let both = lens_before(&board);
        board.set_fault(Fault::CameraUnplugged, true);
        assert!(matches!(both.list(), Err(CameraError::Gone { .. })));
        assert_eq!(both.set(CameraControl::Zoom, 300).unwrap(), 150);
        assert!(CombinedControls::of([None, None]).is_none());
    }
}
