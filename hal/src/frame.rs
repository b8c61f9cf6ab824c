//! Pictures, from a camera or for a screen.

use std::{os::fd::OwnedFd, sync::Arc};

use crate::{Timestamp, planes::Placed};

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
///
/// Dropping it gives the buffer back to the device that filled it, which has only a few: who keeps a frame for long
/// copies it.
pub struct DmaBuf {
    /// The buffer, for another device to import.
    pub fd: Arc<OwnedFd>,
    /// Bytes used, from the start of the buffer.
    pub length: usize,
    /// Bytes that the whole buffer has.
    pub capacity: usize,
    /// Bytes from one row of the first plane to the next; 0 for compressed formats. The chroma planes of planar formats
    /// follow the first without a gap, rows of `Yuv420`'s being half as long.
    pub stride: usize,
    /// Rows of the first plane, with those that the device padded it with; 0 for compressed formats.
    pub rows: usize,
    /// The same bytes for the processor, and what gives the buffer back when it is dropped.
    pub memory: Box<dyn AsRef<[u8]> + Send + Sync>,
}

impl std::fmt::Debug for DmaBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DmaBuf")
            .field("fd", &self.fd)
            .field("length", &self.length)
            .field("stride", &self.stride)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
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
    /// The bytes as the processor sees them, when they are laid out as [`PixelFormat`] says; `None` for a shared buffer
    /// whose rows or planes are padded.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.data {
            FrameData::Bytes(bytes) => Some(bytes),
            FrameData::DmaBuf(shared) => {
                let (width, height) = (self.size.width as usize, self.size.height as usize);
                let packed = match self.format {
                    PixelFormat::Yuv420 | PixelFormat::Nv12 => (width, height),
                    PixelFormat::Yuyv => (width * 2, height),
                    PixelFormat::Mjpeg | PixelFormat::H264 => (0, 0),
                };
                let all = (*shared.memory).as_ref();
                (packed == (shared.stride, shared.rows)).then(|| all.get(..shared.length)).flatten()
            }
        }
    }

    /// The same frame in memory of its own, without padding, so that it can be kept: itself when it is that already.
    pub fn in_memory(&self) -> Self {
        let FrameData::DmaBuf(shared) = &self.data else { return self.clone() };
        let all = (*shared.memory).as_ref();
        let bytes: Arc<[u8]> = match self.format {
            PixelFormat::Mjpeg | PixelFormat::H264 => all[..shared.length.min(all.len())].into(),
            format => {
                let tight = Placed::tight(format, self.size);
                let mut packed = vec![0; tight.length()];
                let there = Placed { stride: shared.stride, rows: shared.rows, ..tight };
                there.copy(all, &tight, &mut packed);
                packed.into()
            }
        };
        Self { data: FrameData::Bytes(bytes), ..self.clone() }
    }
}
