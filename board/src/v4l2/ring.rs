//! Buffers between the kernel and us.
//!
//! They are mapped once and, where the driver can, exported once; a frame is a buffer that is lent out. It goes back to
//! the kernel when the last holder drops it, from whatever thread.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use rostrum_hal::{DmaBuf, Frame, FrameData, FrameSize, PixelFormat, Timestamp, planes::Placed};
use v4l2r::{
    QueueType,
    bindings::timeval,
    ioctl::{
        self, BufferFlags, DqBufIoctlError, ExpbufFlags, IoctlConvertError, MemoryConsistency, PlaneMapping,
        QueryBuffer, V4l2Buffer,
    },
    memory::MemoryType,
};

use super::node::{Fault, Node, OrFault};

/// The kernel fills one while others are encoded.
const BUFFERS: u32 = 6;

/// The layout of every picture of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) format: PixelFormat,
    pub(super) size: FrameSize,
    /// Bytes from row to row of the first plane.
    pub(super) stride: usize,
    /// Rows of the first plane; what the length of a picture gives when the driver does not say.
    pub(super) rows: Option<usize>,
}

impl Layout {
    /// Rows of the first plane of a picture of `length` bytes.
    fn rows_of(&self, length: usize) -> usize {
        self.rows.unwrap_or_else(|| rows(self.format, self.stride, length))
    }
}

/// What a stream counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Pictures whose bytes were copied, as too few buffers were left.
    pub(super) copied: u64,
    /// Pictures that the driver marked as broken.
    pub(super) broken: u64,
}

/// The buffers of one stream. Dropping it stops the stream.
pub(super) struct Ring {
    shared: Arc<Shared>,
    buffers: Vec<Arc<Buffer>>,
    layout: Layout,
    /// With fewer than so many at the kernel, frames are copied instead of lent.
    keep: usize,
    /// Sequence numbers have 32 bits.
    last_sequence: Option<u64>,
    counts: Counts,
}

struct Shared {
    node: Arc<Node>,
    queue: QueueType,
    /// Buffers that the kernel has.
    queued: Mutex<usize>,
}

struct Buffer {
    mapping: PlaneMapping,
    exported: Option<Arc<OwnedFd>>,
}

impl Ring {
    /// Takes buffers from the kernel, maps them, gives them back and starts the stream.
    ///
    /// With fewer than `keep` buffers at the kernel, frames are copied instead of lent, so that a camera never starves.
    pub(super) fn start(
        node: Arc<Node>,
        queue: QueueType,
        layout: Layout,
        keep: usize,
    ) -> Result<Self, Fault> {
        let (memory, coherent) = (MemoryType::Mmap, MemoryConsistency::empty());
        let count: usize = ioctl::reqbufs(&*node, queue, memory, BUFFERS, coherent).or_fault()?;
        let mut buffers = Vec::with_capacity(count);
        for index in 0..count {
            let described: QueryBuffer = ioctl::querybuf(&*node, queue, index).or_fault()?;
            // Formats of several memory planes were never chosen.
            let [plane] = &described.planes[..] else { return Err(Fault::Other(rustix::io::Errno::INVAL)) };
            let mapping = ioctl::mmap(&*node, plane.mem_offset, plane.length).or_fault()?;
            let flags = ExpbufFlags::CLOEXEC | ExpbufFlags::RDWR;
            let exported = ioctl::expbuf::<OwnedFd>(&*node, queue, index, 0, flags).ok().map(Arc::new);
            buffers.push(Arc::new(Buffer { mapping, exported }));
        }
        let shared = Arc::new(Shared { node, queue, queued: Mutex::new(0) });
        for index in 0..count {
            shared.give(index)?;
        }
        ioctl::streamon(&*shared.node, queue).or_fault()?;
        Ok(Self { shared, buffers, layout, keep, last_sequence: None, counts: Counts::default() })
    }

    /// Buffers that the kernel has to fill.
    pub(super) fn queued(&self) -> usize {
        *self.shared.queued.lock()
    }

    /// What was counted since the start.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether its frames can be given to other devices without a copy.
    pub(super) fn is_shareable(&self) -> bool {
        self.buffers.iter().all(|buffer| buffer.exported.is_some())
    }

    /// The newest picture that is there, if any; older ones go back unseen.
    pub(super) fn newest(&mut self) -> Result<Option<Frame>, Fault> {
        let mut newest = None;
        while let Some(taken) = self.take()? {
            if taken.has_error() || used(&taken) == 0 {
                self.counts.broken += 1;
                self.shared.give(index(&taken))?;
                continue;
            }
            if let Some(older) = newest.replace(taken) {
                self.note_sequence(&older);
                self.shared.give(index(&older))?;
            }
        }
        newest.map(|buffer| self.frame(&buffer)).transpose()
    }

    fn take(&self) -> Result<Option<V4l2Buffer>, Fault> {
        match ioctl::dqbuf::<V4l2Buffer>(&*self.shared.node, self.shared.queue) {
            Ok(buffer) => {
                *self.shared.queued.lock() -= 1;
                Ok(Some(buffer))
            }
            Err(IoctlConvertError::IoctlError(DqBufIoctlError::NotReady)) => Ok(None),
            Err(IoctlConvertError::IoctlError(error)) => Err(error).or_fault(),
            Err(IoctlConvertError::ConversionError(_)) => Err(Fault::Other(rustix::io::Errno::PROTO)),
        }
    }

    /// Numbers of 32 bits that start again become numbers that never do.
    fn note_sequence(&mut self, buffer: &V4l2Buffer) -> u64 {
        let low = u64::from(buffer.sequence());
        let sequence = match self.last_sequence {
            None => low,
            Some(last) => {
                let step = (low as u32).wrapping_sub(last as u32);
                last + u64::from(step)
            }
        };
        self.last_sequence = Some(sequence);
        sequence
    }

    fn frame(&mut self, taken: &V4l2Buffer) -> Result<Frame, Fault> {
        let sequence = self.note_sequence(taken);
        let index = index(taken);
        let Some(buffer) = self.buffers.get(index).cloned() else {
            return Err(Fault::Other(rustix::io::Errno::PROTO));
        };
        let length = used(taken).min(buffer.mapping.len());
        let starving = self.queued() < self.keep;
        let data = match &buffer.exported {
            Some(fd) if !starving => {
                let (stride, rows) = match self.layout.format {
                    PixelFormat::Mjpeg | PixelFormat::H264 => (0, 0),
                    _ => (self.layout.stride, self.layout.rows_of(length)),
                };
                FrameData::DmaBuf(Arc::new(DmaBuf {
                    fd: Arc::clone(fd),
                    length,
                    capacity: buffer.mapping.len(),
                    stride,
                    rows,
                    memory: Box::new(Lease { ring: Arc::downgrade(&self.shared), index, buffer }),
                }))
            }
            _ => {
                let bytes = self.packed(&buffer.mapping[..length]);
                self.counts.copied += 1;
                self.shared.give(index)?;
                FrameData::Bytes(bytes)
            }
        };
        Ok(Frame {
            capture_time: captured(taken),
            sequence,
            format: self.layout.format,
            size: self.layout.size,
            data,
        })
    }

    /// A copy without the padding of rows and planes.
    fn packed(&self, bytes: &[u8]) -> Arc<[u8]> {
        let Layout { format, size, stride, .. } = self.layout;
        if matches!(format, PixelFormat::Mjpeg | PixelFormat::H264) {
            return bytes.into();
        }
        let tight = Placed::tight(format, size);
        let mut packed = vec![0; tight.length()];
        Placed { stride, rows: self.layout.rows_of(bytes.len()), ..tight }.copy(bytes, &tight, &mut packed);
        packed.into()
    }
}

/// Rows of the first plane of a picture of `length` bytes.
fn rows(format: PixelFormat, stride: usize, length: usize) -> usize {
    let all = length / stride.max(1);
    match format {
        // Chroma halved both ways is half as much again.
        PixelFormat::Yuv420 | PixelFormat::Nv12 => all * 2 / 3,
        _ => all,
    }
}

fn index(buffer: &V4l2Buffer) -> usize {
    buffer.index() as usize
}

fn used(buffer: &V4l2Buffer) -> usize {
    *buffer.get_first_plane().bytesused as usize
}

/// When the driver says so, or now when it uses another clock.
fn captured(buffer: &V4l2Buffer) -> Timestamp {
    let timeval { tv_sec, tv_usec } = buffer.timestamp();
    if buffer.flags().contains(BufferFlags::TIMESTAMP_MONOTONIC) {
        let (seconds, micros) = (tv_sec.unsigned_abs(), tv_usec.unsigned_abs());
        Timestamp::from_clock(Duration::from_secs(seconds) + Duration::from_micros(micros))
    } else {
        Timestamp::now()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The device may be gone; then nothing streams.
        let _ = ioctl::streamoff(&*self.shared.node, self.shared.queue);
    }
}

impl Shared {
    /// Gives a buffer to the kernel.
    fn give(&self, index: usize) -> Result<(), Fault> {
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let buffer = V4l2Buffer::new(self.queue, number, MemoryType::Mmap);
        // Counted before the kernel may give it back on another thread.
        *self.queued.lock() += 1;
        let given = ioctl::qbuf::<_, V4l2Buffer>(&*self.node, buffer);
        match given {
            Ok(_) => Ok(()),
            Err(IoctlConvertError::IoctlError(error)) => {
                *self.queued.lock() -= 1;
                Err(error).or_fault()
            }
            // It was taken; what the driver says about it does not matter.
            Err(IoctlConvertError::ConversionError(_)) => Ok(()),
        }
    }
}

/// A buffer that is lent out. The mapping stays valid when the stream has ended meanwhile.
struct Lease {
    ring: Weak<Shared>,
    index: usize,
    buffer: Arc<Buffer>,
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        &self.buffer.mapping
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(ring) = self.ring.upgrade() {
            // A camera that is gone takes nothing back; the stream finds out by itself.
            let _ = ring.give(self.index);
        }
    }
}
