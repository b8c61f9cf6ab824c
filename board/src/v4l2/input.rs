//! The OUTPUT queue of a memory-to-memory device, by which pictures get in: copied into buffers of the device's, or
//! imported as they lie in another device's buffers, padding and all.

use std::{os::fd::AsRawFd, sync::Arc};

use parking_lot::Mutex;
use rostrum_hal::{DmaBuf, Frame, FrameData, FrameSize, PixelFormat, planes::Placed};
use rustix::io::Errno;
use v4l2r::{
    Format, PlaneLayout, QueueType,
    bindings::{timeval, v4l2_rect},
    ioctl::{
        self, FormatIterator, MemoryConsistency, PlaneMapping, SelectionFlags, SelectionTarget,
        SelectionType, V4l2Buffer, V4l2PlanesWithBackingMut,
    },
    memory::MemoryType,
};

use super::{
    m2m::{give, mapped, take},
    node::{Fault, Node, OrFault, Settable},
    offer::fourcc,
};

/// Pictures inside at once: one being worked on, one waiting.
const PICTURES: u32 = 2;
const INVALID: Fault = Fault::Other(Errno::INVAL);

/// How pictures get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// As they lie in the frames.
    pub(super) source: Placed,
    /// Imported, not copied.
    pub(super) imported: bool,
}

impl Way {
    /// Of this frame; `None` when its bytes are fewer than its format says.
    pub(super) fn of(frame: &Frame, can_import: bool) -> Option<Self> {
        let tight = Placed::tight(frame.format, frame.size);
        match &frame.data {
            FrameData::DmaBuf(shared) => {
                let source = Placed { stride: shared.stride, rows: shared.rows, ..tight };
                let whole = shared.stride >= tight.stride
                    && shared.rows >= tight.rows
                    && shared.length >= source.length();
                whole.then_some(Self { source, imported: can_import })
            }
            FrameData::Bytes(bytes) => {
                (bytes.len() == tight.length()).then_some(Self { source: tight, imported: false })
            }
            _ => None,
        }
    }
}

/// The queue, with its buffers.
pub(super) struct Input {
    node: Arc<Node>,
    queue: QueueType,
    way: Way,
    /// As they lie in the device's own buffers.
    placed: Placed,
    /// Of the device's own pictures; none when they are imported.
    pictures: Vec<Mutex<PlaneMapping>>,
    free: Mutex<Vec<usize>>,
    /// What the device reads from, by buffer, until it has done so.
    lent: Mutex<Vec<Option<Arc<DmaBuf>>>>,
}

impl Input {
    /// Makes the device's pictures lie as they come that way, or says that they cannot.
    pub(super) fn negotiate(node: &Node, queue: QueueType, way: Way) -> Result<Placed, Fault> {
        if !offers(node, queue, way.source.format) {
            return Err(INVALID);
        }
        if way.imported { place_import(node, queue, way.source) } else { place_own(node, queue, way.source) }
    }

    /// Takes buffers for pictures that lie as [`Self::negotiate`] said.
    pub(super) fn start(node: Arc<Node>, queue: QueueType, way: Way, placed: Placed) -> Result<Self, Fault> {
        let memory = if way.imported { MemoryType::DmaBuf } else { MemoryType::Mmap };
        let count: usize =
            ioctl::reqbufs(&*node, queue, memory, PICTURES, MemoryConsistency::empty()).or_fault()?;
        let pictures = if way.imported {
            Vec::new()
        } else {
            mapped(&node, queue, count)?.into_iter().map(Mutex::new).collect()
        };
        let lent = Mutex::new((0..count).map(|_| None).collect());
        let free = Mutex::new((0..count).collect());
        Ok(Self { node, queue, way, placed, pictures, free, lent })
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

    /// Puts a picture in. The device gives `number` back with what it makes of it.
    pub(super) fn put(&self, slot: usize, number: u64, frame: &Frame) -> Result<(), Fault> {
        match &frame.data {
            FrameData::DmaBuf(shared) if self.way.imported => self.put_import(slot, number, shared),
            FrameData::DmaBuf(shared) => self.put_copy(slot, number, (*shared.memory).as_ref()),
            FrameData::Bytes(bytes) => self.put_copy(slot, number, bytes),
            _ => Err(Fault::Other(Errno::NOTSUP)),
        }
    }

    fn put_copy(&self, slot: usize, number: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mapping = self.pictures.get(slot).ok_or(INVALID)?;
        self.way.source.copy(bytes, &self.placed, &mut mapping.lock());
        self.queue(slot, number, MemoryType::Mmap, self.placed.length(), |_| ())
    }

    /// The picture stays where it is.
    fn put_import(&self, slot: usize, number: u64, picture: &Arc<DmaBuf>) -> Result<(), Fault> {
        // Kept before the device may read it, and let go of when it has.
        *self.lent.lock().get_mut(slot).ok_or(INVALID)? = Some(Arc::clone(picture));
        let capacity = u32::try_from(picture.capacity).map_err(|_| INVALID)?;
        let put = self.queue(slot, number, MemoryType::DmaBuf, picture.length, |buffer| {
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

    fn queue(
        &self,
        slot: usize,
        number: u64,
        memory: MemoryType,
        used: usize,
        more: impl FnOnce(&mut V4l2Buffer),
    ) -> Result<(), Fault> {
        let index = u32::try_from(slot).map_err(|_| INVALID)?;
        let mut buffer = V4l2Buffer::new(self.queue, index, memory);
        // The device copies it to what it makes of the picture: the time is only a number to it.
        let (seconds, micros) = (number / 1_000_000, number % 1_000_000);
        buffer.set_timestamp(timeval {
            tv_sec: i64::try_from(seconds).unwrap_or_default(),
            tv_usec: i64::try_from(micros).unwrap_or_default(),
        });
        *buffer.get_first_plane_mut().bytesused = u32::try_from(used).map_err(|_| INVALID)?;
        more(&mut buffer);
        give(&self.node, buffer)
    }

    fn let_go(&self, slot: usize) {
        let held = self.lent.lock().get_mut(slot).and_then(Option::take);
        // Outside of the lock, as it goes back to its camera.
        drop(held);
    }

    /// Frees the buffers whose pictures were read.
    pub(super) fn collect_read(&self) -> Result<(), Fault> {
        while let Some(buffer) = take(&self.node, self.queue)? {
            let slot = buffer.index() as usize;
            self.let_go(slot);
            self.free.lock().push(slot);
        }
        Ok(())
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // A device that is gone has nothing to stop.
        let _ = ioctl::streamoff(&*self.node, self.queue);
        self.pictures.clear();
        let memory = if self.way.imported { MemoryType::DmaBuf } else { MemoryType::Mmap };
        let _ = ioctl::reqbufs::<()>(&*self.node, self.queue, memory, 0, MemoryConsistency::empty());
    }
}

/// Whether a queue has pictures of that format.
pub(super) fn offers(node: &Node, queue: QueueType, format: PixelFormat) -> bool {
    let Some(letters) = fourcc(format) else { return false };
    FormatIterator::new(node, queue).any(|offered| offered.pixelformat == letters.into())
}

/// Sets the format of a queue: its four letters are kept, all else is as the device likes it.
pub(super) fn set_format(
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
fn place_import(node: &Node, queue: QueueType, source: Placed) -> Result<Placed, Fault> {
    let letters = fourcc(source.format).ok_or(INVALID)?;
    let rows = u32::try_from(source.rows).map_err(|_| INVALID)?;
    let padded = FrameSize::new(source.size.width, rows);
    let given = set_format(node, queue, letters, padded, source.stride)?;
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
fn place_own(node: &Node, queue: QueueType, source: Placed) -> Result<Placed, Fault> {
    let letters = fourcc(source.format).ok_or(INVALID)?;
    let given = set_format(node, queue, letters, source.size, 0)?;
    if given.width < source.size.width || given.height < source.size.height {
        return Err(INVALID);
    }
    if (given.width, given.height) != (source.size.width, source.size.height) {
        crop(node, source.size)?;
    }
    let stride = given.plane_fmt.first().map_or(0, |plane| plane.bytesperline as usize);
    Ok(Placed { stride, rows: given.height as usize, ..source })
}

/// Only this much of the pictures is read.
fn crop(node: &Node, size: FrameSize) -> Result<(), Fault> {
    select(node, SelectionType::Output, SelectionTarget::Crop, size)
}

/// Sets which part of a queue's pictures is seen: that of `size` at the top left.
pub(super) fn select(
    node: &Node,
    queue: SelectionType,
    target: SelectionTarget,
    size: FrameSize,
) -> Result<(), Fault> {
    let rectangle = v4l2_rect { left: 0, top: 0, width: size.width, height: size.height };
    let given: v4l2_rect =
        ioctl::s_selection(node, queue, target, rectangle, SelectionFlags::empty()).or_fault()?;
    if (given.width, given.height) == (size.width, size.height) { Ok(()) } else { Err(INVALID) }
}
