//! The two queues of a memory-to-memory device: pictures go in at OUTPUT, what was made of them comes out at CAPTURE
//! ("Memory-to-Memory Stateful Video Encoder Interface").

use std::{os::fd::AsRawFd, sync::Arc};

use parking_lot::Mutex;
use rostrum_hal::{DmaBuf, FrameSize, PixelFormat, planes::Placed};
use rustix::io::Errno;
use v4l2r::{
    Format, PlaneLayout, QueueType,
    bindings::timeval,
    ioctl::{
        self, Capabilities, Capability, DqBufIoctlError, FormatIterator, IoctlConvertError,
        MemoryConsistency, PlaneMapping, QueryBuffer, SelectionFlags, SelectionTarget, SelectionType,
        V4l2Buffer, V4l2PlanesWithBackingMut,
    },
    memory::MemoryType,
};

use super::{
    node::{Fault, Node, OrFault, Settable, can},
    offer::fourcc,
};

/// Pictures inside at once: one being encoded, one waiting.
const PICTURES: u32 = 2;
/// Buffers for what comes out.
const CODED: u32 = 3;
const INVALID: Fault = Fault::Other(Errno::INVAL);

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
        let Some(letters) = fourcc(format) else { return false };
        FormatIterator::new(node, self.output).any(|offered| offered.pixelformat == letters.into())
    }
}

/// How pictures get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// As they lie in the frames.
    pub(super) source: Placed,
    /// Imported, not copied.
    pub(super) imported: bool,
}

/// Both queues, streaming.
pub(super) struct Session {
    node: Arc<Node>,
    queues: Queues,
    way: Way,
    /// As they lie in the device's own buffers.
    placed: Placed,
    /// Of the device's own pictures; none when they are imported.
    pictures: Vec<Mutex<PlaneMapping>>,
    coded: Vec<PlaneMapping>,
    free: Mutex<Vec<usize>>,
    /// What the device reads from, by buffer, until it has done so.
    lent: Mutex<Vec<Option<Arc<DmaBuf>>>>,
}

impl Session {
    /// Sets formats, takes buffers and starts both queues. What `settings` does comes between the two, as the
    /// specification wants it.
    pub(super) fn start(
        node: Arc<Node>,
        queues: Queues,
        way: Way,
        settings: impl FnOnce(&Node),
    ) -> Result<Self, Fault> {
        if !queues.takes(&node, way.source.format) {
            return Err(INVALID);
        }
        let size = way.source.size;
        set_format(&node, queues.capture, b"H264", size, 0)?;
        let placed = if way.imported {
            place_import(&node, queues, way.source)?
        } else {
            place_own(&node, queues, way.source)?
        };
        settings(&node);
        let memory = if way.imported { MemoryType::DmaBuf } else { MemoryType::Mmap };
        let count: usize =
            ioctl::reqbufs(&*node, queues.output, memory, PICTURES, MemoryConsistency::empty()).or_fault()?;
        let pictures = if way.imported {
            Vec::new()
        } else {
            mapped(&node, queues.output, count)?.into_iter().map(Mutex::new).collect()
        };
        let coded: usize =
            ioctl::reqbufs(&*node, queues.capture, MemoryType::Mmap, CODED, MemoryConsistency::empty())
                .or_fault()?;
        let coded = mapped(&node, queues.capture, coded)?;
        let lent = Mutex::new((0..count).map(|_| None).collect());
        let free = Mutex::new((0..count).collect());
        let session = Self { node, queues, way, placed, pictures, coded, free, lent };
        for index in 0..session.coded.len() {
            session.give_coded(index)?;
        }
        for queue in [queues.output, queues.capture] {
            ioctl::streamon(&*session.node, queue).or_fault()?;
        }
        Ok(session)
    }

    pub(super) fn way(&self) -> Way {
        self.way
    }

    /// Takes a buffer for the next picture; `None` while all are inside.
    pub(super) fn free(&self) -> Option<usize> {
        self.free.lock().pop()
    }

    /// Gives a buffer back that was not used after all.
    pub(super) fn unused(&self, slot: usize) {
        self.free.lock().push(slot);
    }

    /// Puts a picture in by copying it.
    pub(super) fn put_copy(&self, slot: usize, number: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mapping = self.pictures.get(slot).ok_or(INVALID)?;
        self.way.source.copy(bytes, &self.placed, &mut mapping.lock());
        self.put(slot, number, MemoryType::Mmap, self.placed.length(), |_| ())
    }

    /// Puts a picture in that stays where it is.
    pub(super) fn put_import(&self, slot: usize, number: u64, picture: &Arc<DmaBuf>) -> Result<(), Fault> {
        // Kept before the device may read it, and let go of when it has.
        *self.lent.lock().get_mut(slot).ok_or(INVALID)? = Some(Arc::clone(picture));
        let capacity = u32::try_from(picture.capacity).map_err(|_| INVALID)?;
        let put = self.put(slot, number, MemoryType::DmaBuf, picture.length, |buffer| {
            if let V4l2PlanesWithBackingMut::DmaBuf(mut planes) = buffer.planes_with_backing_iter_mut()
                && let Some(mut plane) = planes.next()
            {
                plane.set_fd(picture.fd.as_raw_fd());
                *plane.length = capacity;
            }
        });
        if put.is_err() {
            self.let_go(slot);
        }
        put
    }

    fn put(
        &self,
        slot: usize,
        number: u64,
        memory: MemoryType,
        used: usize,
        more: impl FnOnce(&mut V4l2Buffer),
    ) -> Result<(), Fault> {
        let index = u32::try_from(slot).map_err(|_| INVALID)?;
        let mut buffer = V4l2Buffer::new(self.queues.output, index, memory);
        // The device copies it to what it makes of the picture: the time is only a number to it.
        let (seconds, micros) = (number / 1_000_000, number % 1_000_000);
        buffer.set_timestamp(timeval {
            tv_sec: i64::try_from(seconds).unwrap_or_default(),
            tv_usec: i64::try_from(micros).unwrap_or_default(),
        });
        *buffer.get_first_plane_mut().bytesused = u32::try_from(used).map_err(|_| INVALID)?;
        more(&mut buffer);
        match ioctl::qbuf::<_, V4l2Buffer>(&*self.node, buffer) {
            Ok(_) | Err(IoctlConvertError::ConversionError(_)) => Ok(()),
            Err(IoctlConvertError::IoctlError(error)) => Err(error).or_fault(),
        }
    }

    fn let_go(&self, slot: usize) {
        let held = self.lent.lock().get_mut(slot).and_then(Option::take);
        // Outside of the lock, as it goes back to its camera.
        drop(held);
    }

    /// Frees the buffers whose pictures were read.
    pub(super) fn collect_read(&self) -> Result<(), Fault> {
        while let Some(buffer) = self.take(self.queues.output)? {
            let slot = buffer.index() as usize;
            self.let_go(slot);
            self.free.lock().push(slot);
        }
        Ok(())
    }

    /// The next coded picture: its number, its bytes, and whether the device failed at it. Its buffer goes back.
    pub(super) fn coded(&self) -> Result<Option<Coded>, Fault> {
        let Some(buffer) = self.take(self.queues.capture)? else { return Ok(None) };
        let index = buffer.index() as usize;
        let mapping = self.coded.get(index).ok_or(INVALID)?;
        let timeval { tv_sec, tv_usec } = buffer.timestamp();
        let length = (*buffer.get_first_plane().bytesused as usize).min(mapping.len());
        let coded = Coded {
            number: tv_sec.unsigned_abs() * 1_000_000 + tv_usec.unsigned_abs(),
            bytes: mapping[..length].to_vec(),
            failed: buffer.has_error(),
            last: buffer.is_last(),
        };
        if !coded.last {
            self.give_coded(index)?;
        }
        Ok(Some(coded))
    }

    fn take(&self, queue: QueueType) -> Result<Option<V4l2Buffer>, Fault> {
        match ioctl::dqbuf::<V4l2Buffer>(&*self.node, queue) {
            Ok(buffer) => Ok(Some(buffer)),
            // EPIPE: the last one was taken already.
            Err(IoctlConvertError::IoctlError(DqBufIoctlError::NotReady | DqBufIoctlError::Eos)) => Ok(None),
            Err(IoctlConvertError::IoctlError(error)) => Err(error).or_fault(),
            Err(IoctlConvertError::ConversionError(_)) => Err(Fault::Other(Errno::PROTO)),
        }
    }

    fn give_coded(&self, index: usize) -> Result<(), Fault> {
        let number = u32::try_from(index).map_err(|_| INVALID)?;
        let buffer = V4l2Buffer::new(self.queues.capture, number, MemoryType::Mmap);
        match ioctl::qbuf::<_, V4l2Buffer>(&*self.node, buffer) {
            Ok(_) | Err(IoctlConvertError::ConversionError(_)) => Ok(()),
            Err(IoctlConvertError::IoctlError(error)) => Err(error).or_fault(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let none = MemoryConsistency::empty();
        for queue in [self.queues.output, self.queues.capture] {
            // A device that is gone has nothing to stop.
            let _ = ioctl::streamoff(&*self.node, queue);
        }
        self.pictures.clear();
        self.coded.clear();
        let memory = if self.way.imported { MemoryType::DmaBuf } else { MemoryType::Mmap };
        let _ = ioctl::reqbufs::<()>(&*self.node, self.queues.output, memory, 0, none);
        let _ = ioctl::reqbufs::<()>(&*self.node, self.queues.capture, MemoryType::Mmap, 0, none);
    }
}

/// What came out for one picture.
pub(super) struct Coded {
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) failed: bool,
    /// Nothing follows it.
    pub(super) last: bool,
}

fn set_format(
    node: &Node,
    queue: QueueType,
    letters: &[u8; 4],
    size: FrameSize,
    stride: usize,
) -> Result<Format, Fault> {
    let bytesperline = u32::try_from(stride).map_err(|_| INVALID)?;
    let wanted = Format {
        width: size.width,
        height: size.height,
        pixelformat: letters.into(),
        plane_fmt: vec![PlaneLayout { sizeimage: 0, bytesperline }],
    };
    let given: Format = ioctl::s_fmt(&mut Settable(node), (queue, &wanted)).or_fault()?;
    if given.pixelformat == letters.into() && given.plane_fmt.len() == 1 { Ok(given) } else { Err(INVALID) }
}

/// Makes the device's pictures lie as the camera's do, padding and all, or says that it cannot.
fn place_import(node: &Node, queues: Queues, source: Placed) -> Result<Placed, Fault> {
    let letters = fourcc(source.format).ok_or(INVALID)?;
    let rows = u32::try_from(source.rows).map_err(|_| INVALID)?;
    let padded = FrameSize::new(source.size.width, rows);
    let given = set_format(node, queues.output, letters, padded, source.stride)?;
    let stride = given.plane_fmt.first().map_or(0, |plane| plane.bytesperline as usize);
    if stride != source.stride || given.height != rows || given.width < source.size.width {
        return Err(INVALID);
    }
    if (given.width, given.height) != (source.size.width, source.size.height) {
        crop(node, source.size)?;
    }
    Ok(source)
}

/// Takes the device's own layout of pictures of that size.
fn place_own(node: &Node, queues: Queues, source: Placed) -> Result<Placed, Fault> {
    let letters = fourcc(source.format).ok_or(INVALID)?;
    let given = set_format(node, queues.output, letters, source.size, 0)?;
    if given.width < source.size.width || given.height < source.size.height {
        return Err(INVALID);
    }
    if (given.width, given.height) != (source.size.width, source.size.height) {
        crop(node, source.size)?;
    }
    let stride = given.plane_fmt.first().map_or(0, |plane| plane.bytesperline as usize);
    Ok(Placed { stride, rows: given.height as usize, ..source })
}

/// Only this much of the pictures is encoded.
fn crop(node: &Node, size: FrameSize) -> Result<(), Fault> {
    let rectangle = v4l2r::bindings::v4l2_rect { left: 0, top: 0, width: size.width, height: size.height };
    let given: v4l2r::bindings::v4l2_rect = ioctl::s_selection(
        node,
        SelectionType::Output,
        SelectionTarget::Crop,
        rectangle,
        SelectionFlags::empty(),
    )
    .or_fault()?;
    if (given.width, given.height) == (size.width, size.height) { Ok(()) } else { Err(INVALID) }
}

fn mapped(node: &Node, queue: QueueType, count: usize) -> Result<Vec<PlaneMapping>, Fault> {
    (0..count)
        .map(|index| {
            let described: QueryBuffer = ioctl::querybuf(node, queue, index).or_fault()?;
            let [plane] = &described.planes[..] else { return Err(INVALID) };
            ioctl::mmap(node, plane.mem_offset, plane.length).or_fault()
        })
        .collect()
}
