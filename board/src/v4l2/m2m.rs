//! Memory-to-memory devices: pictures go in at OUTPUT, what was made of them comes out at CAPTURE.

use rostrum_hal::PixelFormat;
use rustix::io::Errno;
use v4l2r::{
    QueueType,
    ioctl::{
        self, Capabilities, Capability, DqBufIoctlError, FormatIterator, IoctlConvertError, PlaneMapping,
        QueryBuffer, V4l2Buffer,
    },
};

use super::{
    input::offers,
    node::{Fault, Node, OrFault, can},
};

/// The types of a device's queues.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queues {
    pub(super) output: QueueType,
    pub(super) capture: QueueType,
}

impl Queues {
    /// Those of a memory-to-memory device.
    pub(super) fn of(capability: &Capability) -> Option<Self> {
        if can(capability, Capabilities::VIDEO_M2M_MPLANE) {
            Some(Self { output: QueueType::VideoOutputMplane, capture: QueueType::VideoCaptureMplane })
        } else if can(capability, Capabilities::VIDEO_M2M) {
            Some(Self { output: QueueType::VideoOutput, capture: QueueType::VideoCapture })
        } else {
            None
        }
    }

    /// Whether H.264 comes out.
    pub(super) fn encodes_h264(&self, node: &Node) -> bool {
        FormatIterator::new(node, self.capture).any(|format| format.pixelformat == b"H264".into())
    }

    /// Whether it takes pictures of that format.
    pub(super) fn takes(&self, node: &Node, format: PixelFormat) -> bool {
        offers(node, self.output, format)
    }

    /// Whether it gives pictures of that format.
    pub(super) fn gives(&self, node: &Node, format: PixelFormat) -> bool {
        offers(node, self.capture, format)
    }
}

/// Gives a buffer to the device.
pub(super) fn give(node: &Node, buffer: V4l2Buffer) -> Result<(), Fault> {
    match ioctl::qbuf::<_, V4l2Buffer>(node, buffer) {
        // It was taken; what the driver says about it does not matter.
        Ok(_) | Err(IoctlConvertError::ConversionError(_)) => Ok(()),
        Err(IoctlConvertError::IoctlError(error)) => Err(error).or_fault(),
    }
}

/// Takes a buffer that the device is done with, if there is one.
pub(super) fn take(node: &Node, queue: QueueType) -> Result<Option<V4l2Buffer>, Fault> {
    match ioctl::dqbuf::<V4l2Buffer>(node, queue) {
        Ok(buffer) => Ok(Some(buffer)),
        // EPIPE: the last one was taken already.
        Err(IoctlConvertError::IoctlError(DqBufIoctlError::NotReady | DqBufIoctlError::Eos)) => Ok(None),
        Err(IoctlConvertError::IoctlError(error)) => Err(error).or_fault(),
        Err(IoctlConvertError::ConversionError(_)) => Err(Fault::Other(Errno::PROTO)),
    }
}

/// Maps a queue's buffers into memory.
pub(super) fn mapped(node: &Node, queue: QueueType, count: usize) -> Result<Vec<PlaneMapping>, Fault> {
    (0..count)
        .map(|index| {
            let described: QueryBuffer = ioctl::querybuf(node, queue, index).or_fault()?;
            let [plane] = &described.planes[..] else { return Err(Fault::Other(Errno::INVAL)) };
            ioctl::mmap(node, plane.mem_offset, plane.length).or_fault()
        })
        .collect()
}
