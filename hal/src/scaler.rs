//! Scalers: hardware that gives a picture in another size and layout.

use std::time::Duration;

use crate::{Frame, FrameSize, PixelFormat};

/// What comes out of a scaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalerSettings {
    /// Layout of its pictures, one that [`VideoScalerFactory::gives`].
    pub format: PixelFormat,
    /// Size of its pictures. Aspect ratio is the caller's business.
    pub size: FrameSize,
}

/// Opens scalers; a board has one at most, and one scaler is opened for each size.
pub trait VideoScalerFactory: Send + Sync {
    /// The name to show to people.
    fn name(&self) -> String;

    /// Whether it takes frames of that layout, in memory and in buffers that devices share.
    fn takes(&self, format: PixelFormat) -> bool;

    /// Whether its pictures can have that layout.
    fn gives(&self, format: PixelFormat) -> bool;

    /// Starts a scaler.
    ///
    /// # Errors
    /// [`ScalerError`].
    fn open(&self, settings: ScalerSettings) -> Result<Box<dyn VideoScaler>, ScalerError>;
}

/// One running scaler. What it gave stays valid when it is dropped.
pub trait VideoScaler: Send {
    /// Gives `frame` in the settings' size, with its time and number, in a buffer of the scaler's
    /// ([`crate::FrameData::DmaBuf`]) where that can be shared. Frames may change their size and layout, which takes a
    /// moment. Waits for the hardware, some milliseconds and a tenth of a second at most. `Ok(None)` while all of the
    /// scaler's buffers are lent out: drop the frame.
    ///
    /// # Errors
    /// [`ScalerError`]: open another, later when the device hangs.
    fn scale(&mut self, frame: &Frame) -> Result<Option<Frame>, ScalerError>;
}

/// A scaler does not open, or stopped working.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScalerError {
    /// It does not open, or gave an error.
    #[error("the scaler {name} failed: {message}")]
    Failed {
        /// Name of the scaler.
        name: String,
        /// What it said.
        message: String,
    },
    /// It took a frame and gives nothing back: each further try costs as long.
    #[error("the scaler {name} hangs: it gave no picture within {} ms", limit.as_millis())]
    Hung {
        /// Name of the scaler.
        name: String,
        /// How long it was waited for.
        limit: Duration,
    },
}
