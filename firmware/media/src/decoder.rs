//! Decoding of one remote video track.
//!
//! appsrc ! decoder ! appsink, without a clock: a picture leaves as soon as it is decoded. Each [`Decoder`]
//! has one thread. What cannot be decoded is dropped and a key frame asked for; an element that fails is
//! replaced. So nothing that arrives ends a track.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use gstreamer as gst;
use gstreamer_app as app;
use gstreamer_video as video;
use parking_lot::Mutex;
use rostrum_hal::{Frame, FrameData, FrameSize, PixelFormat, Timestamp};
use video::prelude::*;

use crate::{
    MediaError, elements,
    picture::{Scaler, Target, pack_i420},
};

/// How a track is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Codec {
    /// H.264, Annex B, one access unit at a time (RFC 6184 depacketized).
    H264,
    /// VP8, one frame at a time (RFC 7741 depacketized).
    Vp8,
    /// VP9, one super frame at a time (RFC 9628 depacketized).
    Vp9,
    /// AV1, one temporal unit of OBUs with size fields, without temporal delimiters or with.
    Av1,
}

impl Codec {
    fn element(self) -> &'static str {
        match self {
            Self::H264 => "avdec_h264",
            Self::Vp8 => "vp8dec",
            Self::Vp9 => "vp9dec",
            Self::Av1 => "av1dec",
        }
    }

    fn caps(self) -> gst::Caps {
        match self {
            Self::H264 => gst::Caps::builder("video/x-h264")
                .field("stream-format", "byte-stream")
                .field("alignment", "au")
                .build(),
            Self::Vp8 => gst::Caps::new_empty_simple("video/x-vp8"),
            Self::Vp9 => gst::Caps::builder("video/x-vp9").field("alignment", "super-frame").build(),
            Self::Av1 => gst::Caps::builder("video/x-av1")
                .field("stream-format", "obu-stream")
                .field("alignment", "tu")
                .build(),
        }
    }
}

/// Largest side that is decoded; larger is refused, as its memory is for the sender to choose.
const LARGEST_SIDE: i32 = 4096;
/// Largest encoded frame.
const LARGEST_FRAME: usize = 8 << 20;
/// A decoder is stuck, or far too slow, when so many frames and so much time passed without their pictures;
/// then another one and a key frame help. Fewer frames may be a sender that sends few, less time a burst.
const STUCK_FRAMES: u64 = 10;
const STUCK_TIME: Duration = Duration::from_millis(500);
/// Frames that are remembered for their time. More cannot wait, as a decoder is replaced before.
const MOST_INSIDE: usize = 256;
/// Bytes that may wait for a decoder.
const MOST_BYTES: u64 = 32 << 20;
/// Time between two requests for a key frame, and between two restarts.
const ASK_INTERVAL: Duration = Duration::from_millis(200);

/// Takes pictures, as [`PixelFormat::Yuv420`], on the decoder's thread. It must not block.
pub type PictureSink = Box<dyn FnMut(Frame) + Send>;

/// Counters of one decoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecoderStatistics {
    /// Encoded frames given to [`Decoder::push`].
    pub pushed: u64,
    /// Of those, dropped while a key frame was waited for, or as too large.
    pub dropped: u64,
    /// Pictures that came out.
    pub pictures: u64,
    /// Requests for a key frame.
    pub key_frame_requests: u64,
    /// Times that the decoder had to be replaced.
    pub restarts: u64,
}

/// Decodes one remote video track.
pub struct Decoder {
    codec: Codec,
    shared: Arc<Shared>,
    running: Option<Running>,
    waiting_for_key_frame: bool,
    last_restart: Option<Instant>,
    pushed: u64,
    dropped: u64,
    restarts: u64,
}

/// What the caller's and the decoder's threads share.
struct Shared {
    sink: Mutex<PictureSink>,
    ask: Mutex<Ask>,
    pictures: AtomicU64,
    requests: AtomicU64,
}

struct Ask {
    need_key_frame: Box<dyn FnMut() + Send>,
    last: Option<Instant>,
}

impl Shared {
    /// Asks for a key frame, unless it was asked for a moment ago.
    fn ask(&self) {
        let mut ask = self.ask.lock();
        if ask.last.is_none_or(|last| last.elapsed() >= ASK_INTERVAL) {
            ask.last = Some(Instant::now());
            self.requests.fetch_add(1, SeqCst);
            (ask.need_key_frame)();
        }
    }
}

struct Running {
    pipeline: gst::Pipeline,
    source: app::AppSrc,
    failed: Arc<AtomicBool>,
    inside: Arc<Mutex<Inside>>,
}

/// The frames that are in a decoder.
#[derive(Default)]
struct Inside {
    /// Number, time to stamp on its picture, and when it went in.
    frames: VecDeque<(u64, Timestamp, Instant)>,
    given: u64,
    /// All before this are out, or left no picture.
    first_inside: u64,
}

impl Inside {
    fn add(&mut self, time: Timestamp) -> u64 {
        let number = self.given;
        self.given += 1;
        if self.frames.len() == MOST_INSIDE {
            self.frames.pop_front();
        }
        self.frames.push_back((number, time, Instant::now()));
        number
    }

    /// The picture of frame `number` came out.
    fn out(&mut self, number: u64) -> Option<Timestamp> {
        let time = self.frames.iter().find(|(other, ..)| *other == number).map(|(_, time, _)| *time);
        self.first_inside = self.first_inside.max(number + 1);
        // A picture may come out before one that went in earlier: some of the past are kept.
        while self.frames.front().is_some_and(|(other, ..)| other + 32 < self.first_inside) {
            self.frames.pop_front();
        }
        time
    }

    fn stuck(&self) -> bool {
        self.given - self.first_inside >= STUCK_FRAMES
            && self
                .frames
                .iter()
                .find(|(number, ..)| *number >= self.first_inside)
                .is_some_and(|(.., since)| since.elapsed() >= STUCK_TIME)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Stopping does not fail for these elements, and nothing is left to do if it did.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn failed(message: impl ToString) -> MediaError {
    MediaError::Pipeline { what: "decoding", message: message.to_string() }
}

impl Decoder {
    /// Starts a decoder whose pictures go to `sink`, and which calls `need_key_frame`, on any thread and at
    /// most five times a second, when only a key frame helps.
    ///
    /// # Errors
    /// [`MediaError::MissingElement`], [`MediaError::Start`], [`MediaError::Pipeline`].
    pub fn new(
        codec: Codec,
        sink: PictureSink,
        need_key_frame: Box<dyn FnMut() + Send>,
    ) -> Result<Self, MediaError> {
        let shared = Arc::new(Shared {
            sink: Mutex::new(sink),
            ask: Mutex::new(Ask { need_key_frame, last: None }),
            pictures: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        });
        let running = Running::start(codec, &shared)?;
        Ok(Self {
            codec,
            shared,
            running: Some(running),
            waiting_for_key_frame: true,
            last_restart: None,
            pushed: 0,
            dropped: 0,
            restarts: 0,
        })
    }

    /// Decodes one encoded frame. `time` is stamped on its picture. Never blocks; what cannot be decoded is
    /// dropped.
    pub fn push(&mut self, data: &[u8], time: Timestamp, key_frame: bool) {
        self.pushed += 1;
        if self.running.as_ref().is_none_or(Running::is_lost) {
            self.restart();
        }
        if key_frame {
            self.waiting_for_key_frame = false;
        }
        let usable = !self.waiting_for_key_frame && !data.is_empty() && data.len() <= LARGEST_FRAME;
        let Some(running) = self.running.as_mut().filter(|_| usable) else {
            self.dropped += 1;
            if self.waiting_for_key_frame || self.running.is_none() {
                self.shared.ask();
            }
            return;
        };
        let mut buffer = gst::Buffer::from_slice(data.to_vec());
        if let Some(buffer) = buffer.get_mut() {
            // A number, by which its picture is known again.
            buffer.set_pts(gst::ClockTime::from_mseconds(running.inside.lock().add(time)));
            if !key_frame {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        if running.source.push_buffer(buffer).is_err() {
            running.failed.store(true, SeqCst);
        }
    }

    /// Says that a frame before the next one is missing for good: pictures stop until a key frame comes, which
    /// is asked for.
    pub fn frame_lost(&mut self) {
        self.waiting_for_key_frame = true;
        self.shared.ask();
    }

    /// Counters since the start.
    pub fn statistics(&self) -> DecoderStatistics {
        DecoderStatistics {
            pushed: self.pushed,
            dropped: self.dropped,
            pictures: self.shared.pictures.load(SeqCst),
            key_frame_requests: self.shared.requests.load(SeqCst),
            restarts: self.restarts,
        }
    }

    fn restart(&mut self) {
        self.running = None;
        self.waiting_for_key_frame = true;
        self.shared.ask();
        // Somebody who sends nothing but garbage must not keep the machine busy.
        if self.last_restart.is_some_and(|last| last.elapsed() < ASK_INTERVAL) {
            return;
        }
        self.last_restart = Some(Instant::now());
        self.restarts += 1;
        match Running::start(self.codec, &self.shared) {
            Ok(running) => self.running = Some(running),
            Err(error) => log::warn!(codec:? = self.codec, error:%; "a decoder does not start; trying again"),
        }
    }
}

impl Running {
    /// Only another one helps.
    fn is_lost(&self) -> bool {
        self.failed.load(SeqCst)
            || self.source.current_level_bytes() > MOST_BYTES
            || self.inside.lock().stuck()
    }

    fn start(codec: Codec, shared: &Arc<Shared>) -> Result<Self, MediaError> {
        elements::require_elements(&["appsrc", codec.element(), "appsink"])?;
        let source =
            app::AppSrc::builder().caps(&codec.caps()).is_live(true).format(gst::Format::Time).build();
        source.set_max_bytes(0);
        let decoder = elements::make(codec.element())?;
        configure(codec, &decoder);
        let limits = gst::Caps::builder("video/x-raw")
            .field("width", gst::IntRange::new(2, LARGEST_SIDE))
            .field("height", gst::IntRange::new(2, LARGEST_SIDE))
            .build();
        let inside = Arc::<Mutex<Inside>>::default();
        let sink = app::AppSink::builder()
            .caps(&limits)
            .sync(false)
            .async_(false)
            .qos(false)
            .max_buffers(1)
            .drop(true)
            .callbacks(pictures(shared.clone(), inside.clone()))
            .build();
        sink.set_property("enable-last-sample", false);

        let pipeline = gst::Pipeline::new();
        pipeline.add_many([source.upcast_ref(), &decoder, sink.upcast_ref()]).map_err(failed)?;
        gst::Element::link_many([source.upcast_ref(), &decoder, sink.upcast_ref()]).map_err(failed)?;

        let pad = source.static_pad("src").ok_or_else(|| failed("appsrc has no pad"))?;
        let asked = shared.clone();
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            if info.event().is_some_and(|event| video::UpstreamForceKeyUnitEvent::parse(event).is_ok()) {
                asked.ask();
            }
            gst::PadProbeReturn::Ok
        });

        let has_failed = Arc::new(AtomicBool::new(false));
        let bus = pipeline.bus().ok_or_else(|| failed("the pipeline has no bus"))?;
        let report = has_failed.clone();
        bus.set_sync_handler(move |_, message| {
            if let gst::MessageView::Error(error) = message.view() {
                log::debug!(error:% = error.error(); "a decoder failed");
                report.store(true, SeqCst);
            }
            gst::BusSyncReply::Drop
        });
        let running = Self { pipeline, source, failed: has_failed, inside };
        running.pipeline.set_state(gst::State::Playing).map_err(failed)?;
        Ok(running)
    }
}

/// Sets what makes a decoder give each picture at once.
fn configure(codec: Codec, decoder: &gst::Element) {
    decoder.set_property("automatic-request-sync-points", true);
    decoder.set_property("min-force-key-unit-interval", ASK_INTERVAL.as_nanos() as u64);
    match codec {
        Codec::H264 => {
            // Frame threads hold back a picture each; strict compliance holds back for reordering.
            decoder.set_property("max-threads", 1);
            decoder.set_property_from_str("thread-type", "slice");
            decoder.set_property_from_str("std-compliance", "normal");
            decoder.set_property("output-corrupt", false);
        }
        Codec::Vp8 | Codec::Vp9 => decoder.set_property("threads", 1_u32),
        Codec::Av1 => {}
    }
}

/// What the decoder's thread does with its pictures.
fn pictures(shared: Arc<Shared>, inside: Arc<Mutex<Inside>>) -> app::AppSinkCallbacks {
    let mut converter = None;
    let mut sequence = 0;
    app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let pts = sample.buffer().and_then(|buffer| buffer.pts());
            let Some(time) = pts.and_then(|pts| inside.lock().out(pts.mseconds())) else {
                // Nothing that went in.
                return Ok(gst::FlowSuccess::Ok);
            };
            match picture(&sample, &mut converter, time, sequence) {
                Ok(frame) => {
                    sequence += 1;
                    shared.pictures.fetch_add(1, SeqCst);
                    (shared.sink.lock())(frame);
                }
                Err(error) => log::debug!(error:%; "a decoded picture cannot be used"),
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .build()
}

fn picture(
    sample: &gst::Sample,
    converter: &mut Option<Scaler>,
    time: Timestamp,
    sequence: u64,
) -> Result<Frame, MediaError> {
    let caps = sample.caps().ok_or_else(|| failed("no caps"))?;
    let info = video::VideoInfo::from_caps(caps).map_err(failed)?;
    let buffer = sample.buffer().ok_or_else(|| failed("no buffer"))?;
    let size = FrameSize::new(info.width() & !1, info.height() & !1);
    let limited = info.colorimetry().range() != video::VideoColorRange::Range0_255;
    let bytes = if info.format() == video::VideoFormat::I420 && limited {
        pack_i420(buffer, &info, size)?
    } else {
        if converter.as_ref().is_none_or(|scaler| scaler.size() != size) {
            *converter = None;
        }
        let scaler = converter.get_or_insert_with(|| Scaler::new(Target::Yuv420(size)));
        (*scaler.scale_buffer(buffer, &info)?).into()
    };
    Ok(Frame {
        capture_time: time,
        sequence,
        format: PixelFormat::Yuv420,
        size,
        data: FrameData::Bytes(bytes),
    })
}
