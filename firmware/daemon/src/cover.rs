//! The camera's cover into inputs: a camera tells by its control Privacy that nobody can see through it (V4L2 spec,
//! Camera Control Reference).

use std::time::Duration;

use rostrum_hal::camera::{CameraControl, CameraControls, CameraError};

use crate::input::{Input, Inputs};

/// Time between two looks at the cover.
const LOOK: Duration = Duration::from_millis(500);

/// Tells where the cover is, and of every move, on a thread of its own: a camera may take long to say it.
///
/// # Errors
/// When there are no threads left.
pub(crate) fn watch(controls: Box<dyn CameraControls>, inputs: &Inputs) -> std::io::Result<()> {
    let inputs = inputs.clone();
    std::thread::Builder::new().name("cover".into()).spawn(move || {
        let mut told = None;
        loop {
            match is_covered(&*controls) {
                Ok(Some(covered)) if told != Some(covered) => {
                    told = Some(covered);
                    if inputs.send(Input::CameraCover { covered }).is_err() {
                        return;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    // It took the place of one that did.
                    if told.take() == Some(true)
                        && inputs.send(Input::CameraCover { covered: false }).is_err()
                    {
                        return;
                    }
                }
                // No picture comes out of a camera that is gone; it may be covered when it is back.
                Err(error) => log::trace!(error:%; "the camera's cover cannot be read"),
            }
            std::thread::sleep(LOOK);
        }
    })?;
    Ok(())
}

/// `None` for a camera that does not tell.
fn is_covered(controls: &dyn CameraControls) -> Result<Option<bool>, CameraError> {
    Ok(controls.get(CameraControl::Privacy)?.map(|state| state.value != 0))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rostrum_hal::sim::{VirtualBoard, VirtualBoardOptions};
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn a_cover_is_told_at_start_and_when_it_moves() {
        let board = VirtualBoard::new(VirtualBoardOptions::default());
        let (inputs, mut happened) = mpsc::unbounded_channel();
        assert!(watch(Box::new(board.camera_controls()), &inputs).is_ok());
        let mut next = || {
            let deadline = Instant::now() + Duration::from_secs(20);
            while Instant::now() < deadline {
                if let Ok(input) = happened.try_recv() {
                    return Some(input);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            None
        };
        assert!(matches!(next(), Some(Input::CameraCover { covered: false })));
        for covered in [true, false] {
            let set = board.camera_controls().set(CameraControl::Privacy, covered.into());
            assert_eq!(set.ok(), Some(covered.into()));
            assert!(matches!(next(), Some(Input::CameraCover { covered: told }) if told == covered));
        }
    }
}
