//! Pictures, from a camera or for a screen.

use std::{os::fd::OwnedFd, sync::Arc};

use crate::Timestamp;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct FrameSize {
    /// Pixels from left to right, 1..=16384, even for the formats with subsampled chroma.
    pub width: u32,
    /// Pixels from top to bottom, likewise.
    pub height: u32,
}

impl FrameSize {
    /// `width` x `height`.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }
}

impl std::fmt::Display for FrameSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// How the bytes of a frame are laid out; names are V4L2's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum PixelFormat {
    /// Planar Y, U, V, chroma halved both ways, BT.709 limited range (`V4L2_PIX_FMT_YUV420`).
    /// Rows have no padding: Y is `width * height` bytes, U and V a quarter of that each.
    Yuv420,
    /// Y plane, then interleaved UV, chroma halved both ways (`V4L2_PIX_FMT_NV12`).
    Nv12,
    /// Packed Y0 U Y1 V (`V4L2_PIX_FMT_YUYV`).
    Yuyv,
    /// One JPEG image a frame (`V4L2_PIX_FMT_MJPEG`).
    Mjpeg,
    /// H.264 Annex B, one access unit a frame (`V4L2_PIX_FMT_H264`).
    H264,
}

/// Where a frame's bytes are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FrameData {
    /// In memory, laid out as [`PixelFormat`] says.
    Bytes(Arc<[u8]>),
    /// In a buffer that devices share.
    DmaBuf(Arc<DmaBuf>),
}

/// A buffer that devices share without a copy (`Documentation/driver-api/dma-buf.rst`).
#[derive(Debug)]
pub struct DmaBuf {
    /// The buffer; closing the last reference gives it back to its driver.
    pub fd: OwnedFd,
    /// Bytes used.
    pub length: usize,
    /// Of each plane: offset in bytes from the start, and bytes from one row to the next.
    pub planes: Vec<(usize, usize)>,
}

/// One picture.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When its exposure ended, or for a screen, when it is due.
    pub capture_time: Timestamp,
    /// Counted by the device; a gap is a lost frame.
    pub sequence: u64,
    /// Layout of the bytes.
    pub format: PixelFormat,
    /// Size of the visible picture.
    pub size: FrameSize,
    /// The bytes.
    pub data: FrameData,
}

impl Frame {
    /// The bytes, when they are in memory.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.data {
            FrameData::Bytes(bytes) => Some(bytes),
            FrameData::DmaBuf(_) => None,
        }
    }
}
