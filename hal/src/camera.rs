//! Cameras: formats, frames, and what can be turned and set.

mod control;

pub use control::{CameraControl, UnknownControl, VendorControl};

use crate::{Frame, FrameSize, PixelFormat};

/// One combination that a camera offers.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraFormat {
    /// Layout of its frames.
    pub pixel_format: PixelFormat,
    /// Size of its frames.
    pub size: FrameSize,
    /// Frame rates in Hz at that size, highest first.
    pub frame_rates_hz: Vec<f64>,
}

/// What a stream runs at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamFormat {
    /// Layout of its frames.
    pub pixel_format: PixelFormat,
    /// Size of its frames.
    pub size: FrameSize,
    /// Frames a second.
    pub frame_rate_hz: f64,
}

/// Range and present value of one control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ControlState {
    /// Which one.
    pub control: CameraControl,
    /// Smallest value.
    pub minimum: i64,
    /// Largest value.
    pub maximum: i64,
    /// Distance between values.
    pub step: i64,
    /// Value at start.
    pub default: i64,
    /// Value now.
    pub value: i64,
    /// It can be read but not set.
    pub read_only: bool,
}

/// The frames of a camera, owned by one task.
#[async_trait::async_trait]
pub trait Camera: Send {
    /// The name to show to people.
    fn name(&self) -> String;

    /// What it offers, best first.
    ///
    /// # Errors
    /// [`CameraError::Gone`] when it was unplugged.
    fn formats(&mut self) -> Result<Vec<CameraFormat>, CameraError>;

    /// Starts, or starts again, with the offered format nearest to `wanted`, and says which.
    ///
    /// # Errors
    /// [`CameraError::Gone`], [`CameraError::Busy`], [`CameraError::NoFormat`].
    async fn start(&mut self, wanted: StreamFormat) -> Result<StreamFormat, CameraError>;

    /// Waits for the next frame. Old frames are dropped, never queued: a caller that was late gets the
    /// newest. Cancel-safe.
    ///
    /// # Errors
    /// [`CameraError::Gone`] when it was unplugged: call [`Camera::start`] until it is back.
    /// [`CameraError::Stalled`] when no frame came for a second; the next call waits again.
    async fn next_frame(&mut self) -> Result<Frame, CameraError>;

    /// A handle for its controls, usable while frames flow.
    fn controls(&self) -> Box<dyn CameraControls>;
}

/// The controls of a camera; all handles of one camera see the same values.
#[async_trait::async_trait]
pub trait CameraControls: Send + Sync {
    /// All controls the camera has, with ranges and present values.
    ///
    /// # Errors
    /// [`CameraError::Gone`].
    fn list(&self) -> Result<Vec<ControlState>, CameraError>;

    /// One control, or nothing when the camera has none such.
    ///
    /// # Errors
    /// As [`CameraControls::list`].
    fn get(&self, control: CameraControl) -> Result<Option<ControlState>, CameraError> {
        Ok(self.list()?.into_iter().find(|state| state.control == control))
    }

    /// Sets a control; a value outside the range or between steps becomes the nearest allowed one, which
    /// is returned. A focus or exposure set by hand ends its automatic.
    ///
    /// # Errors
    /// [`CameraError::NoControl`], [`CameraError::ReadOnly`], [`CameraError::Gone`].
    fn set(&self, control: CameraControl, value: i64) -> Result<i64, CameraError>;

    /// How often something is known to have changed: a control, by whomever, or whether the camera is there. It counts
    /// what the camera and its driver tell of; a cheap camera may be covered or turned and say nothing.
    fn changes(&self) -> u64 {
        0
    }

    /// Waits until [`CameraControls::changes`] is no longer `seen`, and gives it; for ever where nothing is told of.
    /// Cancel-safe.
    async fn changed(&self, seen: u64) -> u64 {
        let _ = seen;
        std::future::pending().await
    }
}

/// What can go wrong with a camera.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CameraError {
    /// It is not there (any more).
    #[error("the camera {name} is not there; plug it in")]
    Gone {
        /// Name or path of the camera.
        name: String,
    },
    /// Another program has it.
    #[error("the camera {name} is used by another program; stop it or choose another in board.camera")]
    Busy {
        /// Name or path of the camera.
        name: String,
    },
    /// Nothing it offers can be used.
    #[error("the camera {name} offers no usable format; it has {present}")]
    NoFormat {
        /// Name or path of the camera.
        name: String,
        /// Formats it offers.
        present: String,
    },
    /// It is there but sends nothing.
    #[error("the camera {name} sent no frame for a second")]
    Stalled {
        /// Name or path of the camera.
        name: String,
    },
    /// It lacks that control.
    #[error("the camera has no control {control}; it has {}", names(present))]
    NoControl {
        /// The control asked for.
        control: CameraControl,
        /// The controls that are there.
        present: Vec<CameraControl>,
    },
    /// The control can only be read.
    #[error("the control {control} can only be read")]
    ReadOnly {
        /// The control asked for.
        control: CameraControl,
    },
    /// The driver failed in another way.
    #[error("the camera {name} failed: {message}")]
    Failed {
        /// Name or path of the camera.
        name: String,
        /// What the driver said.
        message: String,
    },
}

fn names(controls: &[CameraControl]) -> String {
    if controls.is_empty() {
        return "none".into();
    }
    controls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
