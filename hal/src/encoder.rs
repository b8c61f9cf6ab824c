//! Video encoders.

use std::sync::Arc;

use crate::{Frame, FrameSize, PixelFormat, Timestamp};

/// How an encoder starts. Bitrate and frame rate can change later.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncoderSettings {
    /// Size of the frames that will be submitted.
    pub size: FrameSize,
    /// Frames a second that will be submitted.
    pub frame_rate_hz: f64,
    /// Bits a second to aim at.
    pub bitrate_bps: u32,
}

/// One encoded picture: H.264 constrained baseline, Annex B, one access unit, no B frames; a key frame
/// carries its parameter sets.
#[derive(Clone, Debug)]
pub struct EncodedFrame {
    /// The access unit.
    pub data: Arc<[u8]>,
    /// Of the frame that it shows.
    pub capture_time: Timestamp,
    /// It can be decoded without others.
    pub key_frame: bool,
    /// Its size.
    pub size: FrameSize,
}

/// Takes encoded frames, on a thread of the encoder's. It must not block.
pub type EncodedSink = Box<dyn FnMut(Result<EncodedFrame, EncoderError>) + Send>;

/// Opens encoders; a board has one, and one encoder is opened for each layer.
pub trait VideoEncoderFactory: Send + Sync {
    /// The name to show to people.
    fn name(&self) -> String;

    /// Whether its encoders take a camera's shared buffers ([`crate::FrameData::DmaBuf`]) of that format as they are. All
    /// encoders take [`PixelFormat::Yuv420`] in memory.
    fn takes_shared(&self, format: PixelFormat) -> bool {
        let _ = format;
        false
    }

    /// Starts an encoder whose frames go to `sink`.
    ///
    /// # Errors
    /// [`EncoderError::Unavailable`], [`EncoderError::Failed`].
    fn open(
        &self,
        settings: EncoderSettings,
        sink: EncodedSink,
    ) -> Result<Box<dyn VideoEncoder>, EncoderError>;
}

/// One running encoder. Dropping it stops it; nothing reaches the sink after that.
pub trait VideoEncoder: Send {
    /// Takes one frame of the settings' size. Never blocks: `Ok(false)` when the encoder is still busy
    /// with earlier ones and this one was dropped.
    ///
    /// # Errors
    /// [`EncoderError::Failed`]: open another.
    fn submit(&mut self, frame: &Frame) -> Result<bool, EncoderError>;

    /// Aims at `bitrate_bps` from the next frame on.
    ///
    /// # Errors
    /// [`EncoderError::Failed`]: open another.
    fn set_bitrate(&mut self, bitrate_bps: u32) -> Result<(), EncoderError>;

    /// Frames will be submitted at `frame_rate_hz` from now on.
    ///
    /// # Errors
    /// [`EncoderError::Failed`]: open another.
    fn set_frame_rate(&mut self, frame_rate_hz: f64) -> Result<(), EncoderError>;

    /// Makes the next frame a key frame.
    ///
    /// # Errors
    /// [`EncoderError::Failed`]: open another.
    fn request_key_frame(&mut self) -> Result<(), EncoderError>;
}

/// What can go wrong with an encoder.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// It is not on this machine.
    #[error("the encoder {name} is not there; {hint}")]
    Unavailable {
        /// Name of the encoder.
        name: String,
        /// What to do, with the Debian package where that helps.
        hint: String,
    },
    /// It stopped working.
    #[error("the encoder {name} failed: {message}")]
    Failed {
        /// Name of the encoder.
        name: String,
        /// What it said.
        message: String,
    },
}
