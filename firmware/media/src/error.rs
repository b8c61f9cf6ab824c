//! What can go wrong with pictures.

use rostrum_hal::{FrameSize, PixelFormat};

/// What can go wrong with pictures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// GStreamer did not start.
    #[error(
        "GStreamer does not start: {0}; install the Debian package libgstreamer1.0-0 and look at GST_DEBUG=3"
    )]
    Start(#[source] gstreamer::glib::Error),
    /// An element is not installed.
    #[error("the GStreamer element {element} is not installed; {hint}")]
    MissingElement {
        /// Name of the element.
        element: String,
        /// What to do, with the Debian package where it is known.
        hint: String,
    },
    /// A pipeline could not be built, started or fed.
    #[error("the {what} pipeline failed: {message}; look at GST_DEBUG=3")]
    Pipeline {
        /// What it is for.
        what: &'static str,
        /// What GStreamer said.
        message: String,
    },
    /// A frame's bytes are not what its format and size say.
    #[error(
        "a frame of {format:?} {size} has {actual} bytes and not {expected}; the camera's driver is wrong"
    )]
    BadFrame {
        /// Layout it claims.
        format: PixelFormat,
        /// Size it claims.
        size: FrameSize,
        /// Bytes it should have, or 0 when the size is not possible.
        expected: usize,
        /// Bytes it has.
        actual: usize,
    },
    /// A frame is not in memory, or of a layout that software cannot read here.
    #[error("a frame of {format:?} {storage} cannot be used here; choose another format in board.camera")]
    Unsupported {
        /// Layout of the frame.
        format: PixelFormat,
        /// Where its bytes are.
        storage: &'static str,
    },
    /// A picture could not be compressed or read as JPEG.
    #[error("JPEG failed: {0}")]
    Jpeg(String),
}
