//! The camera's cover into inputs: a camera tells by its control Privacy that nobody can see through it (V4L2 spec,
//! Camera Control Reference).

use std::time::Duration;

use rostrum_hal::camera::{CameraControl, CameraControls, CameraError};

use tokio::runtime::Handle;

use crate::input::{Input, Inputs};

/// Time between two looks at the cover of a camera that may not tell of its moves.
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// Tells where the cover is, and of every move, on a thread of its own: a camera may take long to say it. It is looked
/// at when the camera tells of a change, and every `look`.
///
/// # Errors
/// When there are no threads left.
pub(crate) fn watch(
    controls: Box<dyn CameraControls>,
    inputs: &Inputs,
    look: Duration,
) -> std::io::Result<()> {
    let inputs = inputs.clone();
    let runtime = Handle::current();
    std::thread::Builder::new().name("cover".into()).spawn(move || {
        let mut told = None;
        loop {
            let seen = controls.changes();
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
            // Either way it is looked at.
            let _ = runtime.block_on(async { tokio::time::timeout(look, controls.changed(seen)).await });
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
    use rostrum_hal::{
        camera::ControlState,
        sim::{SimCameraControls, VirtualBoard, VirtualBoardOptions},
    };
    use tokio::sync::mpsc;

    use super::*;

    /// The next input within some seconds.
    async fn next(happened: &mut mpsc::UnboundedReceiver<Input>) -> Option<Input> {
        tokio::time::timeout(Duration::from_secs(20), happened.recv()).await.ok().flatten()
    }

    async fn is_told(controls: Box<dyn CameraControls>, board: &VirtualBoard, look: Duration) {
        let (inputs, mut happened) = mpsc::unbounded_channel();
        assert!(watch(controls, &inputs, look).is_ok());
        assert!(matches!(next(&mut happened).await, Some(Input::CameraCover { covered: false })));
        for covered in [true, false] {
            let set = board.camera_controls().set(CameraControl::Privacy, covered.into());
            assert_eq!(set.ok(), Some(covered.into()));
            let input = next(&mut happened).await;
            assert!(matches!(input, Some(Input::CameraCover { covered: told }) if told == covered));
        }
    }

    #[tokio::test]
    async fn a_cover_is_told_at_start_and_at_once_when_it_moves() {
        let board = VirtualBoard::new(VirtualBoardOptions::default());
        is_told(Box::new(board.camera_controls()), &board, Duration::from_secs(3600)).await;
    }

    /// A camera that says nothing by itself.
    struct Silent(SimCameraControls);

    impl CameraControls for Silent {
        fn list(&self) -> Result<Vec<ControlState>, CameraError> {
            self.0.list()
        }

        fn set(&self, control: CameraControl, value: i64) -> Result<i64, CameraError> {
            self.0.set(control, value)
        }
    }

    #[tokio::test]
    async fn a_cover_of_a_camera_that_says_nothing_is_looked_at() {
        let board = VirtualBoard::new(VirtualBoardOptions::default());
        is_told(Box::new(Silent(board.camera_controls())), &board, Duration::from_millis(20)).await;
    }
}
