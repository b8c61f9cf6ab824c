//! Stateful H.264 encoders of the kernel, driver `v4l2` of `[encoder]`.
//!
//! Each encoder has its own opening of the device, so that a layer that fails takes no other with it. Frames of a camera
//! that shares its buffers are imported; others are copied. Queues are made for the first frame, and again when frames
//! of another layout come (the source changed).

use std::{
    collections::VecDeque,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::Mutex;
use rostrum_hal::{
    Frame, PixelFormat, Timestamp,
    encoder::{EncodedFrame, EncodedSink, EncoderError, EncoderSettings, VideoEncoder, VideoEncoderFactory},
};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    fd::OwnedFd,
};
use serde::Deserialize;
use v4l2r::{
    bindings::{self, v4l2_outputparm, v4l2_streamparm, v4l2_streamparm__bindgen_ty_1},
    ioctl,
};

use super::{
    coded::Session,
    find::paths,
    input::Way,
    level::level,
    m2m::Queues,
    node::{Fault, Node, OrFault},
    offer::interval,
};
use crate::{BoardError, drivers::Device, h264_headers::Headers};

/// A drain that takes longer is given up.
const DRAIN: Duration = Duration::from_millis(500);
/// Frames whose times are remembered while they are inside.
const MAX_INSIDE: usize = 16;

/// Keys of `[encoder]` with the driver `v4l2`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Its path under `/dev`; the first H.264 encoder when left out.
    device: Option<PathBuf>,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Arc<dyn VideoEncoderFactory>, BoardError> {
    let Options { device: wanted } = device.options()?;
    let all = encoders();
    let found = match &wanted {
        None => all.first(),
        Some(path) => {
            let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            all.iter().find(|encoder| encoder.path == real)
        }
    };
    match found {
        Some(found) => Ok(Arc::new(found.clone())),
        None => {
            let name =
                wanted.map_or("an H.264 encoder".into(), |path| format!("the encoder {}", path.display()));
            let present: Vec<_> =
                all.iter().map(|found| format!("{} ({})", found.path.display(), found.title)).collect();
            let hint = if present.is_empty() {
                "this machine's kernel has no H.264 encoder; name one in software, such as x264enc, with the driver gstreamer".into()
            } else {
                format!("there are {}", present.join(", "))
            };
            Err(device.absent(name, hint))
        }
    }
}

/// An H.264 encoder of this machine.
#[derive(Clone, Debug)]
pub(super) struct Factory {
    pub(super) path: PathBuf,
    pub(super) title: String,
    /// Of frames that it takes.
    pub(super) formats: Vec<PixelFormat>,
}

/// Every H.264 encoder of this machine, in the order of its number.
pub(super) fn encoders() -> Vec<Factory> {
    paths()
        .into_iter()
        .filter_map(|path| {
            let (node, capability) = Node::open(&path).ok()?;
            let queues = Queues::of(&capability)?;
            if !queues.encodes_h264(&node) {
                return None;
            }
            let all = [PixelFormat::Yuv420, PixelFormat::Nv12, PixelFormat::Yuyv];
            let formats = all.into_iter().filter(|format| queues.takes(&node, *format)).collect();
            Some(Factory { path, title: capability.card, formats })
        })
        .collect()
}

impl VideoEncoderFactory for Factory {
    fn name(&self) -> String {
        self.title.clone()
    }

    fn takes_shared(&self, format: PixelFormat) -> bool {
        self.formats.contains(&format)
    }

    fn open(
        &self,
        settings: EncoderSettings,
        sink: EncodedSink,
    ) -> Result<Box<dyn VideoEncoder>, EncoderError> {
        let name = self.name();
        let failed = |fault: Fault| EncoderError::Failed { name: name.clone(), message: fault.to_string() };
        let (node, capability) = Node::open(&self.path).map_err(failed)?;
        let queues = Queues::of(&capability).ok_or_else(|| failed(Fault::Gone))?;
        let shared = Arc::new(Shared {
            name: self.name(),
            sink: Mutex::new(Some(sink)),
            inside: Mutex::default(),
            failed: AtomicBool::new(false),
        });
        Ok(Box::new(V4l2Encoder {
            node: Arc::new(node),
            queues,
            settings,
            rate_hz: settings.frame_rate_hz,
            shared,
            running: None,
            cannot_import: false,
            key_frame_wanted: false,
            number: 0,
        }))
    }
}

/// What the encoder and its thread share.
struct Shared {
    name: String,
    sink: Mutex<Option<EncodedSink>>,
    /// Numbers and capture times of the frames inside.
    inside: Mutex<VecDeque<(u64, Timestamp)>>,
    failed: AtomicBool,
}

impl Shared {
    fn give(&self, frame: EncodedFrame) {
        if let Some(sink) = &mut *self.sink.lock() {
            sink(Ok(frame));
        }
    }

    /// Tells the failure once.
    fn fail(&self, message: String) {
        if !self.failed.swap(true, Ordering::AcqRel)
            && let Some(sink) = &mut *self.sink.lock()
        {
            sink(Err(EncoderError::Failed { name: self.name.clone(), message }));
        }
    }

    fn leave(&self, number: u64) -> Option<Timestamp> {
        let mut inside = self.inside.lock();
        let at = inside.iter().position(|(there, _)| *there == number)?;
        // What is older was never given: the device dropped it.
        inside.drain(..=at).next_back().map(|(_, time)| time)
    }
}

struct V4l2Encoder {
    node: Arc<Node>,
    queues: Queues,
    settings: EncoderSettings,
    rate_hz: f64,
    shared: Arc<Shared>,
    running: Option<Running>,
    /// The device refused a camera's buffer once; frames are copied from then on.
    cannot_import: bool,
    key_frame_wanted: bool,
    number: u64,
}

/// Queues and the thread that empties them.
struct Running {
    session: Arc<Session>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The number has no meaning; an eventfd that is full wakes as well.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl V4l2Encoder {
    fn failure(&self, message: impl std::fmt::Display) -> EncoderError {
        EncoderError::Failed { name: self.shared.name.clone(), message: message.to_string() }
    }

    fn works(&self) -> Result<(), EncoderError> {
        if self.shared.failed.load(Ordering::Acquire) {
            Err(self.failure("it failed before"))
        } else {
            Ok(())
        }
    }

    /// How this frame gets in.
    fn way(&self, frame: &Frame) -> Result<Way, EncoderError> {
        if frame.size != self.settings.size {
            return Err(self.failure(format!("a frame of {}; it encodes {}", frame.size, self.settings.size)));
        }
        Way::of(frame, !self.cannot_import)
            .ok_or_else(|| self.failure(format!("a frame that is no {:?} of {}", frame.format, frame.size)))
    }

    /// Queues for frames that come that way: those that are there, or new ones.
    fn session(&mut self, way: Way) -> Result<Arc<Session>, Fault> {
        if let Some(running) = &self.running
            && running.session.input.way() == way
        {
            return Ok(Arc::clone(&running.session));
        }
        self.drain();
        self.running = None;
        self.shared.inside.lock().clear();
        let (settings, rate_hz) = (self.settings, self.rate_hz);
        let session = Session::start(Arc::clone(&self.node), self.queues, way, |node| {
            apply_once(node, settings);
            apply_rate(node, self.queues, rate_hz);
        })?;
        let session = Arc::new(session);
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(Fault::of)?;
        let stop = Arc::new(stop);
        let worker = Worker {
            node: Arc::clone(&self.node),
            session: Arc::clone(&session),
            shared: Arc::clone(&self.shared),
            stop: Arc::clone(&stop),
            size: settings.size,
        };
        let thread = std::thread::Builder::new().name("v4l2-encoder".into()).spawn(move || worker.run());
        let thread = thread.map_err(|_| Fault::Other(rustix::io::Errno::AGAIN))?;
        self.running = Some(Running { session: Arc::clone(&session), stop, thread: Some(thread) });
        Ok(session)
    }

    /// Lets what is inside come out before the queues are made anew.
    fn drain(&mut self) {
        let Some(running) = &mut self.running else { return };
        let stop = bindings::v4l2_encoder_cmd { cmd: bindings::V4L2_ENC_CMD_STOP, ..Default::default() };
        if ioctl::encoder_cmd::<_, ()>(&*self.node, stop).is_err() {
            return;
        }
        let deadline = std::time::Instant::now() + DRAIN;
        while running.thread.as_ref().is_some_and(|thread| !thread.is_finished())
            && std::time::Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl VideoEncoder for V4l2Encoder {
    fn submit(&mut self, frame: &Frame) -> Result<bool, EncoderError> {
        self.works()?;
        let way = self.way(frame)?;
        let session = match self.session(way) {
            // Its rows cannot lie as the camera's do.
            Err(Fault::Other(_)) if way.imported => {
                self.cannot_import = true;
                log::info!(encoder = self.shared.name.as_str(); "the encoder cannot take the camera's buffers; frames are copied");
                return self.submit(frame);
            }
            session => session.map_err(|fault| self.failure(fault))?,
        };
        let Some(slot) = session.input.free() else { return Ok(false) };
        if std::mem::take(&mut self.key_frame_wanted) {
            let forced =
                ioctl::s_ctrl(&*self.node, bindings::V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME, 1).or_fault();
            if let Err(fault) = forced {
                session.input.unused(slot);
                return Err(self.failure(format!("it takes no request for a key frame: {fault}")));
            }
        }
        self.number += 1;
        let number = self.number;
        {
            let mut inside = self.shared.inside.lock();
            if inside.len() == MAX_INSIDE {
                inside.pop_front();
            }
            inside.push_back((number, frame.capture_time));
        }
        match session.input.put(slot, number, frame) {
            Ok(()) => Ok(true),
            Err(Fault::Other(_)) if way.imported => {
                // It looked as if it could, and it refused the buffer itself.
                self.cannot_import = true;
                log::info!(encoder = self.shared.name.as_str(); "the encoder refused the camera's buffer; frames are copied");
                // While it lives the device has its buffers, and takes no other format.
                drop(session);
                self.submit(frame)
            }
            Err(fault) => {
                session.input.unused(slot);
                self.shared.failed.store(true, Ordering::Release);
                Err(self.failure(fault))
            }
        }
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) -> Result<(), EncoderError> {
        self.works()?;
        self.settings.bitrate_bps = bitrate_bps;
        if self.running.is_some() {
            apply_bitrate(&self.node, bitrate_bps).map_err(|fault| self.failure(fault))?;
        }
        Ok(())
    }

    fn set_frame_rate(&mut self, frame_rate_hz: f64) -> Result<(), EncoderError> {
        self.works()?;
        if !(frame_rate_hz.is_finite() && frame_rate_hz > 0.0) {
            return Err(self.failure("a frame rate is above 0"));
        }
        self.rate_hz = frame_rate_hz;
        if self.running.is_some() {
            apply_rate(&self.node, self.queues, frame_rate_hz);
        }
        Ok(())
    }

    fn request_key_frame(&mut self) -> Result<(), EncoderError> {
        self.works()?;
        self.key_frame_wanted = true;
        Ok(())
    }
}

impl Drop for V4l2Encoder {
    fn drop(&mut self) {
        // Waits for a frame that is being given away; nothing follows it.
        *self.shared.sink.lock() = None;
    }
}

/// Sets what stays. An encoder may lack any of it, and does without.
fn apply_once(node: &Node, settings: EncoderSettings) {
    use bindings as v4l2;
    let baseline = v4l2::v4l2_mpeg_video_h264_profile_V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE;
    let constant = v4l2::v4l2_mpeg_video_bitrate_mode_V4L2_MPEG_VIDEO_BITRATE_MODE_CBR;
    let joined = v4l2::v4l2_mpeg_video_header_mode_V4L2_MPEG_VIDEO_HEADER_MODE_JOINED_WITH_1ST_FRAME;
    // Key frames come on demand: no other group of pictures is as long as the longest one.
    let longest = longest_group(node);
    for (control, value) in [
        (v4l2::V4L2_CID_MPEG_VIDEO_H264_PROFILE, baseline),
        (v4l2::V4L2_CID_MPEG_VIDEO_H264_LEVEL, level(settings.size, settings.frame_rate_hz)),
        (v4l2::V4L2_CID_MPEG_VIDEO_FRAME_RC_ENABLE, 1),
        (v4l2::V4L2_CID_MPEG_VIDEO_BITRATE_MODE, constant),
        (v4l2::V4L2_CID_MPEG_VIDEO_HEADER_MODE, joined),
        (v4l2::V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER, 1),
        (v4l2::V4L2_CID_MPEG_VIDEO_PREPEND_SPSPPS_TO_IDR, 1),
        (v4l2::V4L2_CID_MPEG_VIDEO_B_FRAMES, 0),
        (v4l2::V4L2_CID_MPEG_VIDEO_GOP_SIZE, longest),
        (v4l2::V4L2_CID_MPEG_VIDEO_H264_I_PERIOD, longest),
    ] {
        let _ = ioctl::s_ctrl(node, control, i32::try_from(value).unwrap_or(i32::MAX));
    }
    if let Err(fault) = apply_bitrate(node, settings.bitrate_bps) {
        log::warn!("the encoder takes no bitrate: {fault}");
    }
}

fn longest_group(node: &Node) -> u32 {
    let control = ioctl::CtrlId::new(bindings::V4L2_CID_MPEG_VIDEO_GOP_SIZE).ok();
    let query = control.and_then(|control| {
        ioctl::queryctrl::<bindings::v4l2_queryctrl>(node, control, ioctl::QueryCtrlFlags::empty()).ok()
    });
    // 0 is "only the first" where it is allowed.
    query.map_or(0, |query| if query.minimum == 0 { 0 } else { query.maximum.unsigned_abs() })
}

fn apply_bitrate(node: &Node, bitrate_bps: u32) -> Result<(), Fault> {
    let control = bindings::V4L2_CID_MPEG_VIDEO_BITRATE;
    let value = i32::try_from(bitrate_bps).unwrap_or(i32::MAX);
    ioctl::s_ctrl(node, control, value).or_fault().map(drop)
}

fn apply_rate(node: &Node, queues: Queues, rate_hz: f64) {
    let output = v4l2_outputparm { timeperframe: interval(rate_hz), ..Default::default() };
    let parameters =
        v4l2_streamparm { type_: queues.output as u32, parm: v4l2_streamparm__bindgen_ty_1 { output } };
    // An encoder without it divides its bits by the times of the frames.
    let _ = ioctl::s_parm::<_, v4l2_streamparm>(node, parameters);
}

/// The thread that empties both queues.
struct Worker {
    node: Arc<Node>,
    session: Arc<Session>,
    shared: Arc<Shared>,
    stop: Arc<OwnedFd>,
    size: rostrum_hal::FrameSize,
}

impl Worker {
    fn run(self) {
        let mut headers = Headers::default();
        loop {
            let both = PollFlags::IN | PollFlags::OUT;
            let mut waiting = [PollFd::new(&*self.node, both), PollFd::new(&*self.stop, PollFlags::IN)];
            match poll(&mut waiting, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return self.shared.fail(Fault::of(errno).to_string()),
            }
            if !waiting[1].revents().is_empty() {
                return;
            }
            let lost = waiting[0].revents().intersects(PollFlags::ERR | PollFlags::HUP);
            match self.empty(&mut headers) {
                Ok(true) => return,
                Ok(false) if lost => return self.shared.fail("the device stopped".into()),
                Ok(false) => {}
                Err(fault) => return self.shared.fail(fault.to_string()),
            }
        }
    }

    /// Takes all that is ready; `true` when nothing follows.
    fn empty(&self, headers: &mut Headers) -> Result<bool, Fault> {
        self.session.input.collect_read()?;
        while let Some(coded) = self.session.coded()? {
            if coded.failed {
                self.shared.fail("it could not encode a frame".into());
                return Ok(true);
            }
            if let Some(capture_time) = self.shared.leave(coded.number)
                && let Some((data, key_frame)) = headers.complete(&coded.bytes)
            {
                let frame = EncodedFrame { data: data.into(), capture_time, key_frame, size: self.size };
                self.shared.give(frame);
            } else if !coded.bytes.is_empty() {
                // Parameter sets alone, or nothing that was asked for.
                let _ = headers.complete(&coded.bytes);
            }
            if coded.last {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
