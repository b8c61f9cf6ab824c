//! The two queues of a stateful encoder ("Memory-to-Memory Stateful Video Encoder Interface").

use std::sync::Arc;

use rustix::io::Errno;
use v4l2r::{
    bindings::timeval,
    ioctl::{self, MemoryConsistency, PlaneMapping, V4l2Buffer},
    memory::MemoryType,
};

use super::{
    input::{Input, Way, set_format},
    m2m::{Queues, give, mapped, take},
    node::{Fault, Node, OrFault},
};

/// Buffers for what comes out.
const CODED: u32 = 3;
const INVALID: Fault = Fault::Other(Errno::INVAL);

/// Both queues, streaming.
pub(super) struct Session {
    /// Where pictures go in.
    pub(super) input: Input,
    node: Arc<Node>,
    queues: Queues,
    coded: Vec<PlaneMapping>,
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
        set_format(&node, queues.capture, b"H264", way.source.size, 0)?;
        let placed = Input::negotiate(&node, queues.output, way)?;
        settings(&node);
        let input = Input::start(Arc::clone(&node), queues.output, way, placed)?;
        let coded: usize =
            ioctl::reqbufs(&*node, queues.capture, MemoryType::Mmap, CODED, MemoryConsistency::empty())
                .or_fault()?;
        let coded = mapped(&node, queues.capture, coded)?;
        let session = Self { input, node, queues, coded };
        for index in 0..session.coded.len() {
            session.give_coded(index)?;
        }
        for queue in [queues.output, queues.capture] {
            ioctl::streamon(&*session.node, queue).or_fault()?;
        }
        Ok(session)
    }

    /// The next coded picture: its number, its bytes, and whether the device failed at it. Its buffer goes back.
    pub(super) fn coded(&self) -> Result<Option<Coded>, Fault> {
        let Some(buffer) = take(&self.node, self.queues.capture)? else { return Ok(None) };
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

    fn give_coded(&self, index: usize) -> Result<(), Fault> {
        let number = u32::try_from(index).map_err(|_| INVALID)?;
        give(&self.node, V4l2Buffer::new(self.queues.capture, number, MemoryType::Mmap))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A device that is gone has nothing to stop. The other queue stops by itself, after this one.
        let _ = ioctl::streamoff(&*self.node, self.queues.capture);
        self.coded.clear();
        let none = MemoryConsistency::empty();
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
