//! Scalers of the kernel, driver `v4l2` of `[scaler]`: memory-to-memory devices that take raw pictures and give them in
//! another size.
//!
//! Frames in another device's buffers are imported, others are copied in. What comes out is lent as a camera's frames
//! are. Both queues are made for the first frame; when frames of another layout come, a new opening of the device has
//! new ones, so that the lent buffers of the old ones stay good.

use std::{
    fs,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rostrum_hal::{
    Frame, FrameSize, PixelFormat,
    scaler::{ScalerError, ScalerSettings, VideoScaler, VideoScalerFactory},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use serde::Deserialize;
use v4l2r::ioctl::{self, SelectionTarget, SelectionType};

use super::{
    find::paths,
    input::{Input, Way, select, set_format},
    m2m::Queues,
    node::{Fault, Node, OrFault},
    offer::fourcc,
    ring::{Layout, Ring},
};
use crate::{BoardError, drivers::Device};

/// A frame that takes longer is given up, and the scaler with it: three of a camera's frames are lost by then.
const LIMIT: Duration = Duration::from_millis(100);
const FORMATS: [PixelFormat; 3] = [PixelFormat::Yuv420, PixelFormat::Nv12, PixelFormat::Yuyv];
/// What a device is asked to make of what, to see whether it scales at all.
const TRIAL: (FrameSize, FrameSize) = (FrameSize::new(640, 480), FrameSize::new(320, 240));
const INVALID: Fault = Fault::Other(Errno::INVAL);

/// Keys of `[scaler]` with the driver `v4l2`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Its path under `/dev`; the first scaler when left out.
    device: Option<PathBuf>,
    /// Time that it may take for a picture, in milliseconds, before it counts as hung.
    limit_ms: Option<NonZeroU64>,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Arc<dyn VideoScalerFactory>, BoardError> {
    let Options { device: wanted, limit_ms } = device.options()?;
    let all: Vec<Factory> = paths().iter().filter_map(|path| Factory::of(path)).collect();
    let found = match &wanted {
        None => all.first(),
        Some(path) => {
            let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            all.iter().find(|scaler| scaler.path == real)
        }
    };
    if let Some(found) = found {
        let limit = limit_ms.map_or(LIMIT, |limit_ms| Duration::from_millis(limit_ms.get()));
        return Ok(Arc::new(Factory { limit, ..found.clone() }));
    }
    let name = wanted.map_or("a scaler".into(), |path| format!("the scaler {}", path.display()));
    let present: Vec<_> =
        all.iter().map(|found| format!("{} ({})", found.path.display(), found.title)).collect();
    let hint = if present.is_empty() {
        "this machine's kernel has no scaler; without [scaler] the processor scales".into()
    } else {
        format!("there are {}", present.join(", "))
    };
    Err(device.absent(name, hint))
}

/// Whether the device at `path` is one.
pub(super) fn is_scaler(path: &Path) -> bool {
    Factory::of(path).is_some()
}

#[derive(Clone, Debug)]
struct Factory {
    path: PathBuf,
    title: String,
    takes: Vec<PixelFormat>,
    gives: Vec<PixelFormat>,
    limit: Duration,
}

impl Factory {
    /// The scaler at `path`, if there is one.
    fn of(path: &Path) -> Option<Self> {
        let (node, capability) = Node::open(path).ok()?;
        let queues = Queues::of(&capability)?;
        let takes: Vec<_> = FORMATS.into_iter().filter(|format| queues.takes(&node, *format)).collect();
        let gives: Vec<_> = FORMATS.into_iter().filter(|format| queues.gives(&node, *format)).collect();
        let scales = scales(&node, queues, *takes.first()?, *gives.first()?);
        scales.then(|| Self { path: path.into(), title: capability.card, takes, gives, limit: LIMIT })
    }
}

/// Whether its two sizes are independent. Those of devices that only convert, turn or de-interlace are not.
fn scales(node: &Node, queues: Queues, takes: PixelFormat, gives: PixelFormat) -> bool {
    let set = |queue, format, size: FrameSize| {
        let given = set_format(node, queue, fourcc(format)?, size, 0).ok()?;
        Some(FrameSize::new(given.width, given.height))
    };
    let (large, small) = (set(queues.output, takes, TRIAL.0), set(queues.capture, gives, TRIAL.1));
    matches!((large, small), (Some(large), Some(small))
        if small.width < large.width && small.height < large.height && small.width >= TRIAL.1.width)
}

impl VideoScalerFactory for Factory {
    fn name(&self) -> String {
        self.title.clone()
    }

    fn takes(&self, format: PixelFormat) -> bool {
        self.takes.contains(&format)
    }

    fn gives(&self, format: PixelFormat) -> bool {
        self.gives.contains(&format)
    }

    fn open(&self, settings: ScalerSettings) -> Result<Box<dyn VideoScaler>, ScalerError> {
        let failed = |message: String| ScalerError::Failed { name: self.name(), message };
        if !self.gives(settings.format) {
            return Err(failed(format!("it gives {:?}, not {:?}", self.gives, settings.format)));
        }
        let (node, capability) = Node::open(&self.path).map_err(|fault| failed(fault.to_string()))?;
        let queues = Queues::of(&capability).ok_or_else(|| failed(Fault::Gone.to_string()))?;
        Ok(Box::new(V4l2Scaler {
            path: self.path.clone(),
            name: self.name(),
            queues,
            settings,
            limit: self.limit,
            fresh: Some(node),
            session: None,
            cannot_import: false,
            number: 0,
        }))
    }
}

struct V4l2Scaler {
    path: PathBuf,
    name: String,
    queues: Queues,
    settings: ScalerSettings,
    limit: Duration,
    /// Opened, and without queues yet.
    fresh: Option<Node>,
    session: Option<Session>,
    /// The device refused another's buffer once; frames are copied from then on.
    cannot_import: bool,
    number: u64,
}

impl V4l2Scaler {
    fn failure(&self, message: impl std::fmt::Display) -> ScalerError {
        ScalerError::Failed { name: self.name.clone(), message: message.to_string() }
    }

    /// Leaves the queues of a device that hangs. The kernel stops them when it gave the picture back that is inside, which
    /// may never be: nobody shall wait for that.
    fn abandon(&mut self) {
        let session = self.session.take();
        let _ = std::thread::Builder::new().name("v4l2-scaler".into()).spawn(move || drop(session));
    }

    /// Makes queues for frames that come that way, when there are none yet.
    fn adapt(&mut self, way: Way) -> Result<(), Fault> {
        if self.session.as_ref().is_some_and(|session| session.input.way() == way) {
            return Ok(());
        }
        self.session = None;
        let node = match self.fresh.take() {
            Some(node) => node,
            None => Node::open(&self.path)?.0,
        };
        self.session = Some(Session::start(Arc::new(node), self.queues, way, self.settings)?);
        Ok(())
    }

    fn try_scale(&mut self, way: Way, frame: &Frame) -> Result<Option<Frame>, Fault> {
        self.adapt(way)?;
        self.number += 1;
        let Some(session) = &mut self.session else { return Err(Fault::Gone) };
        session.scale(self.number, frame, self.limit)
    }
}

impl VideoScaler for V4l2Scaler {
    fn scale(&mut self, frame: &Frame) -> Result<Option<Frame>, ScalerError> {
        let Some(way) = Way::of(frame, !self.cannot_import) else {
            return Err(self.failure(format!("a frame that is no {:?} of {}", frame.format, frame.size)));
        };
        match self.try_scale(way, frame) {
            // Its rows cannot lie as the frame's do, or it cannot reach the buffer: drivers have many numbers for that.
            Err(Fault::Other(errno)) if way.imported && !is_broken(errno) => {
                log::info!(scaler = self.name.as_str(); "the scaler cannot take the camera's buffers; frames are copied");
                self.cannot_import = true;
                self.session = None;
                self.scale(frame)
            }
            Err(Fault::Other(Errno::TIMEDOUT)) => {
                self.abandon();
                Err(ScalerError::Hung { name: self.name.clone(), limit: self.limit })
            }
            scaled => scaled.map_err(|fault| self.failure(fault)),
        }
    }
}

/// Whether the device failed at its work, so that a copy would do no better.
fn is_broken(errno: Errno) -> bool {
    matches!(errno, Errno::IO | Errno::TIMEDOUT)
}

/// Both queues, streaming.
struct Session {
    // Dropped in this order.
    input: Input,
    ring: Ring,
    node: Arc<Node>,
}

impl Session {
    fn start(node: Arc<Node>, queues: Queues, way: Way, settings: ScalerSettings) -> Result<Self, Fault> {
        let placed = Input::negotiate(&node, queues.output, way)?;
        let layout = place_output(&node, queues, settings)?;
        let input = Input::start(Arc::clone(&node), queues.output, way, placed)?;
        // All of its buffers may be lent: it needs one only while a frame is inside.
        let ring = Ring::start(Arc::clone(&node), queues.capture, layout, 0)?;
        ioctl::streamon(&*node, queues.output).or_fault()?;
        Ok(Self { input, ring, node })
    }

    /// One frame in, one out, within `limit`.
    fn scale(&mut self, number: u64, frame: &Frame, limit: Duration) -> Result<Option<Frame>, Fault> {
        self.input.collect_read()?;
        if self.ring.queued() == 0 {
            return Ok(None);
        }
        let Some(slot) = self.input.free() else { return Ok(None) };
        let broken = self.ring.counts().broken;
        self.input.put(slot, number, frame).inspect_err(|_| self.input.unused(slot))?;
        let deadline = Instant::now() + limit;
        loop {
            if let Some(scaled) = self.ring.newest()? {
                self.input.collect_read()?;
                let Frame { capture_time, sequence, .. } = *frame;
                return Ok(Some(Frame { capture_time, sequence, ..scaled }));
            }
            if self.ring.counts().broken > broken {
                return Err(Fault::Other(Errno::IO));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Fault::Other(Errno::TIMEDOUT));
            }
            self.wait(left)?;
        }
    }

    fn wait(&self, limit: Duration) -> Result<(), Fault> {
        let limit = Timespec::try_from(limit).map_err(|_| INVALID)?;
        let mut waiting = [PollFd::new(&*self.node, PollFlags::IN)];
        match poll(&mut waiting, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Fault::of(errno)),
        }
    }
}

/// Sets what comes out. A device that pads pictures below or to the right leaves that part alone.
fn place_output(node: &Node, queues: Queues, settings: ScalerSettings) -> Result<Layout, Fault> {
    let ScalerSettings { format, size } = settings;
    let given = set_format(node, queues.capture, fourcc(format).ok_or(INVALID)?, size, 0)?;
    if given.width < size.width || given.height < size.height {
        return Err(INVALID);
    }
    if (given.width, given.height) != (size.width, size.height) {
        select(node, SelectionType::Capture, SelectionTarget::Compose, size)?;
    }
    let stride = given.plane_fmt.first().map_or(0, |plane| plane.bytesperline as usize);
    Ok(Layout { format, size, stride, rows: Some(given.height as usize) })
}
