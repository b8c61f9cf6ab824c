//! Video encoders that are GStreamer elements: any element that takes raw frames and gives H.264.
//!
//! A frame goes `appsrc ! BEFORE ! ELEMENT ! appsink` without a queue: appsrc's thread encodes it and hands the
//! result to the sink. While it does, further frames are refused. Elements of hardware have queues of their own.
//! `recipe.rs` says what an element needs, `controls.rs` how it is controlled while it runs.

mod controls;
mod recipe;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use gstreamer::{self as gst, prelude::*};
use gstreamer_app::{AppSink, AppSinkCallbacks, AppSrc, AppSrcCallbacks};
use gstreamer_video as gst_video;
use parking_lot::Mutex;
use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat, Timestamp,
    encoder::{EncodedFrame, EncodedSink, EncoderError, EncoderSettings, VideoEncoder, VideoEncoderFactory},
};

use crate::{BoardError, drivers::Device, elements, h264_headers::Headers};
use controls::{Bitrate, KeyFrame};
use recipe::{Input, Recipe};
pub(crate) use recipe::{Options, listing};

/// Frames whose capture time is remembered while they are encoded.
const MAX_IN_FLIGHT: usize = 16;

pub(crate) fn open(device: &Device<'_>) -> Result<Arc<dyn VideoEncoderFactory>, BoardError> {
    let options: Options = device.options()?;
    elements::require(&options.element)?;
    elements::require("appsrc")?;
    let recipe = Recipe::of(options).map_err(|message| device.wrong(message))?;
    // A wrong property is found now and not in the first meeting.
    let trial = elements::make_for(device, &recipe.element, &recipe.properties)?;
    recipe.bitrate.check(&trial).map_err(|message| device.wrong(message))?;
    recipe.key_frame.check(&trial).map_err(|message| device.wrong(message))?;
    if let Some(before) = &recipe.before {
        gst::parse::bin_from_description(before, true)
            .map_err(|error| device.wrong(format!("before: {error}")))?;
    }
    Ok(Arc::new(GstEncoderFactory { recipe }))
}

struct GstEncoderFactory {
    recipe: Recipe,
}

impl VideoEncoderFactory for GstEncoderFactory {
    fn name(&self) -> String {
        self.recipe.element.clone()
    }

    fn open(
        &self,
        settings: EncoderSettings,
        sink: EncodedSink,
    ) -> Result<Box<dyn VideoEncoder>, EncoderError> {
        GstEncoder::open(&self.recipe, settings, sink)
            .map(|encoder| Box::new(encoder) as Box<dyn VideoEncoder>)
    }
}

/// What the caller's thread and the encoder's thread share.
struct Shared {
    /// `None` when the encoder was dropped.
    sink: Mutex<Option<EncodedSink>>,
    /// The element has taken all frames so far and waits.
    ready: AtomicBool,
    failed: AtomicBool,
    /// Stream time and capture time of the frames inside, oldest first.
    inside: Mutex<VecDeque<(gst::ClockTime, Timestamp)>>,
}

impl Shared {
    fn give(&self, frame: Result<EncodedFrame, EncoderError>) {
        if let Some(sink) = self.sink.lock().as_mut() {
            sink(frame);
        }
    }

    /// Tells the sink of a failure, once.
    fn fail(&self, name: &str, message: String) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            self.give(Err(EncoderError::Failed { name: name.to_owned(), message }));
        }
    }

    /// Capture time of the frame that left at stream time `time`.
    fn leave(&self, time: gst::ClockTime) -> Timestamp {
        let mut inside = self.inside.lock();
        while let Some((entered, capture_time)) = inside.pop_front() {
            if entered >= time {
                return capture_time;
            }
        }
        Timestamp::from_clock(Duration::from_nanos(time.nseconds()))
    }
}

/// A running element.
struct GstEncoder {
    name: String,
    settings: EncoderSettings,
    bitrate: Bitrate,
    key_frame: KeyFrame,
    pixel_format: PixelFormat,
    pipeline: gst::Pipeline,
    source: AppSrc,
    element: gst::Element,
    shared: Arc<Shared>,
    /// Frames a second that the element believes in, and those that come.
    told_rate_hz: f64,
    rate_hz: f64,
    last_time: Option<gst::ClockTime>,
}

impl GstEncoder {
    fn open(recipe: &Recipe, settings: EncoderSettings, sink: EncodedSink) -> Result<Self, EncoderError> {
        let name = recipe.element.clone();
        let failed = |message: String| EncoderError::Failed { name: name.clone(), message };
        let make = |element: &str| {
            elements::make(element).map_err(|_| EncoderError::Unavailable {
                name: element.to_owned(),
                hint: elements::hint(element),
            })
        };
        let FrameSize { width, height } = settings.size;
        if width < 16 || height < 16 || width % 2 != 0 || height % 2 != 0 || settings.frame_rate_hz <= 0.0 {
            let message = format!("it cannot encode {} at {} Hz", settings.size, settings.frame_rate_hz);
            return Err(failed(message));
        }
        let element = make(&recipe.element)?;
        elements::set_properties(&element, &recipe.properties).map_err(failed)?;
        let source: AppSrc =
            make("appsrc")?.downcast().map_err(|_| failed("appsrc is another element".into()))?;
        let drain: AppSink =
            make("appsink")?.downcast().map_err(|_| failed("appsink is another element".into()))?;
        let (format, pixel_format) = match recipe.input {
            Input::I420 => (gst_video::VideoFormat::I420, PixelFormat::Yuv420),
            Input::Nv12 => (gst_video::VideoFormat::Nv12, PixelFormat::Nv12),
        };
        source.set_caps(Some(&raw_caps(format, settings)));
        source.set_format(gst::Format::Time);
        source.set_is_live(true);
        source.set_block(false);
        drain.set_caps(Some(&encoded_caps(&recipe.caps)));
        drain.set_sync(false);
        drain.set_async(false);
        let shared = Arc::new(Shared {
            sink: Mutex::new(Some(sink)),
            ready: AtomicBool::new(true),
            failed: AtomicBool::new(false),
            inside: Mutex::default(),
        });
        connect(&source, &drain, &shared, settings.size, &name);
        let pipeline = gst::Pipeline::new();
        let before: Option<gst::Element> = match &recipe.before {
            Some(before) => {
                let bin = gst::parse::bin_from_description(before, true);
                Some(bin.map_err(|e| failed(e.to_string()))?.upcast())
            }
            None => None,
        };
        let mut parts = vec![source.upcast_ref()];
        parts.extend(&before);
        parts.extend([&element, drain.upcast_ref()]);
        pipeline
            .add_many(&parts)
            .and_then(|()| gst::Element::link_many(&parts))
            .map_err(|e| failed(e.to_string()))?;
        let bus = pipeline.bus().ok_or_else(|| failed("its pipeline has no bus".into()))?;
        bus.set_sync_handler({
            let (shared, name) = (shared.clone(), name.clone());
            move |_, message| {
                if let gst::MessageView::Error(error) = message.view() {
                    log::warn!(encoder = name.as_str(); "encoder failed: {}", error.error());
                    shared.fail(&name, error.error().to_string());
                }
                gst::BusSyncReply::Drop
            }
        });
        let mut encoder = Self {
            bitrate: recipe.bitrate.clone(),
            key_frame: recipe.key_frame.clone(),
            settings,
            pixel_format,
            pipeline,
            source,
            element,
            shared,
            told_rate_hz: settings.frame_rate_hz,
            rate_hz: settings.frame_rate_hz,
            last_time: None,
            name: name.clone(),
        };
        encoder.set_bitrate(settings.bitrate_bps)?;
        encoder.pipeline.set_state(gst::State::Playing).map_err(|e| failed(e.to_string()))?;
        Ok(encoder)
    }

    fn works(&self) -> Result<(), EncoderError> {
        if self.shared.failed.load(Ordering::Acquire) {
            Err(self.failure("it stopped before"))
        } else {
            Ok(())
        }
    }

    fn failure(&self, message: &str) -> EncoderError {
        EncoderError::Failed { name: self.name.clone(), message: message.into() }
    }

    /// Elements aim at bits a frame by the rate that they were started with, so the number given is that
    /// which gives the wanted bits a second at the rate that frames come.
    fn apply_bitrate(&self) {
        let bps = f64::from(self.settings.bitrate_bps) * self.told_rate_hz / self.rate_hz;
        let units = (bps / f64::from(self.bitrate.unit_bps.get())).round().max(1.0);
        // `as` saturates, which no bitrate comes near.
        self.bitrate.set(&self.element, units as u32);
    }

    /// The frame's bytes, if they are what the element takes.
    fn bytes<'a>(&self, frame: &'a Frame) -> Result<&'a Arc<[u8]>, EncoderError> {
        let FrameData::Bytes(bytes) = &frame.data else {
            return Err(self.failure("it takes frames in memory, not in a shared buffer"));
        };
        if (frame.format != self.pixel_format && !self.interleaves(frame))
            || frame.size != self.settings.size
            || bytes.len() < self.luma() * 3 / 2
        {
            let message = format!(
                "it takes {} {:?}, not {} {:?}",
                self.settings.size, self.pixel_format, frame.size, frame.format
            );
            return Err(self.failure(&message));
        }
        Ok(bytes)
    }

    /// Whether its chroma is to be interleaved.
    fn interleaves(&self, frame: &Frame) -> bool {
        self.pixel_format == PixelFormat::Nv12 && frame.format == PixelFormat::Yuv420
    }

    /// Bytes of luma in a frame.
    fn luma(&self) -> usize {
        self.settings.size.width as usize * self.settings.size.height as usize
    }

    /// The frame as a buffer that shares its bytes, where these lie as the element wants them.
    fn buffer(
        &self,
        frame: &Frame,
        bytes: &Arc<[u8]>,
        time: gst::ClockTime,
    ) -> Result<gst::Buffer, EncoderError> {
        let luma = self.luma();
        let mut buffer = match self.interleaves(frame) {
            true => gst::Buffer::from_slice(nv12(bytes, luma)),
            false => gst::Buffer::from_slice(bytes.clone()),
        };
        let Some(writable) = buffer.get_mut() else { return Err(self.failure("a new buffer is shared")) };
        writable.set_pts(time);
        // Our rows have no padding, where GStreamer's default would round them up to four bytes.
        let offsets = [0, luma, luma + luma / 4];
        // Small enough, as the size was checked.
        let stride = i32::try_from(frame.size.width).unwrap_or(i32::MAX);
        let (format, planes, strides) = match self.pixel_format {
            PixelFormat::Nv12 => (gst_video::VideoFormat::Nv12, 2, [stride, stride, 0]),
            _ => (gst_video::VideoFormat::I420, 3, [stride, stride / 2, stride / 2]),
        };
        let flags = gst_video::VideoFrameFlags::empty();
        let (w, h) = (frame.size.width, frame.size.height);
        gst_video::VideoMeta::add_full(writable, flags, format, w, h, &offsets[..planes], &strides[..planes])
            .map_err(|e| self.failure(&e.to_string()))?;
        Ok(buffer)
    }
}

/// A Yuv420 picture with `luma` pixels as Nv12.
fn nv12(planar: &[u8], luma: usize) -> Vec<u8> {
    let (y, chroma) = planar.split_at(luma);
    let (u, v) = chroma.split_at(luma / 4);
    let mut bytes = vec![0; luma * 3 / 2];
    let (to_y, to_chroma) = bytes.split_at_mut(luma);
    to_y.copy_from_slice(y);
    // Pairs of a known size, of which the compiler makes whole words.
    for ((to, u), v) in to_chroma.as_chunks_mut::<2>().0.iter_mut().zip(u).zip(v) {
        *to = [*u, *v];
    }
    bytes
}

fn connect(source: &AppSrc, drain: &AppSink, shared: &Arc<Shared>, size: FrameSize, name: &str) {
    let ready = shared.clone();
    source.set_callbacks(
        AppSrcCallbacks::builder().need_data(move |_, _| ready.ready.store(true, Ordering::Release)).build(),
    );
    let (shared, name) = (shared.clone(), name.to_owned());
    let mut headers = Headers::default();
    drain.set_callbacks(
        AppSinkCallbacks::builder()
            .new_sample(move |drain| {
                let sample = drain.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                match encoded_frame(&sample, &shared, size, &mut headers) {
                    Some(Some(frame)) => shared.give(Ok(frame)),
                    // Parameter sets alone.
                    Some(None) => {}
                    None => shared.fail(&name, "it gave a buffer without time or bytes".into()),
                }
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
}

/// The picture of a sample with its parameter sets; an inner `None` when there are only these.
fn encoded_frame(
    sample: &gst::Sample,
    shared: &Shared,
    size: FrameSize,
    headers: &mut Headers,
) -> Option<Option<EncodedFrame>> {
    let buffer = sample.buffer()?;
    let bytes = buffer.map_readable().ok()?;
    // Some elements give parameter sets with the first key frame only, and some say of other frames that they are key
    // frames: only the frame itself is believed.
    let Some((data, key_frame)) = headers.complete(&bytes) else { return Some(None) };
    // Some elements shift their times and their segment; the running time is what went in.
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let time = segment.to_running_time(buffer.pts()?)?;
    Some(Some(EncodedFrame { data: data.into(), capture_time: shared.leave(time), key_frame, size }))
}

fn raw_caps(format: gst_video::VideoFormat, settings: EncoderSettings) -> gst::Caps {
    // Rates are set in thousandths, as 29.97 is usual.
    let rate = gst::Fraction::approximate_f64(settings.frame_rate_hz).unwrap_or(gst::Fraction::new(30, 1));
    gst::Caps::builder("video/x-raw")
        .field("format", format.to_str())
        // Checked to be far below.
        .field("width", i32::try_from(settings.size.width).unwrap_or(i32::MAX))
        .field("height", i32::try_from(settings.size.height).unwrap_or(i32::MAX))
        .field("framerate", rate)
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .field("interlace-mode", "progressive")
        .field("colorimetry", "bt709")
        .build()
}

fn encoded_caps(further: &BTreeMap<String, String>) -> gst::Caps {
    let mut caps = gst::Caps::builder("video/x-h264")
        .field("stream-format", "byte-stream")
        .field("alignment", "au")
        .field("profile", gst::List::new(["constrained-baseline", "baseline"]));
    for (field, value) in further {
        caps = caps.field(field, value);
    }
    caps.build()
}

impl VideoEncoder for GstEncoder {
    fn submit(&mut self, frame: &Frame) -> Result<bool, EncoderError> {
        self.works()?;
        let captured = u64::try_from(frame.capture_time.since_start().as_nanos()).unwrap_or(u64::MAX);
        let earliest = self.last_time.map_or(0, |last| last.nseconds() + 1_000);
        let time = gst::ClockTime::from_nseconds(captured.max(earliest));
        let bytes = self.bytes(frame)?;
        // Ready again when appsrc's thread has come back for more.
        if !self.shared.ready.swap(false, Ordering::AcqRel) {
            return Ok(false);
        }
        // Only now: a frame that is dropped is not worth the work.
        let buffer = self
            .buffer(frame, bytes, time)
            .inspect_err(|_| self.shared.ready.store(true, Ordering::Release))?;
        self.last_time = Some(time);
        {
            let mut inside = self.shared.inside.lock();
            if inside.len() == MAX_IN_FLIGHT {
                inside.pop_front();
            }
            inside.push_back((time, frame.capture_time));
        }
        self.source.push_buffer(buffer).map_err(|e| self.failure(&e.to_string()))?;
        Ok(true)
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) -> Result<(), EncoderError> {
        self.works()?;
        self.settings.bitrate_bps = bitrate_bps;
        self.apply_bitrate();
        Ok(())
    }

    fn set_frame_rate(&mut self, frame_rate_hz: f64) -> Result<(), EncoderError> {
        self.works()?;
        if !(frame_rate_hz.is_finite() && frame_rate_hz > 0.0) {
            return Err(self.failure("a frame rate is above 0"));
        }
        self.rate_hz = frame_rate_hz;
        self.apply_bitrate();
        Ok(())
    }

    fn request_key_frame(&mut self) -> Result<(), EncoderError> {
        self.works()?;
        if self.key_frame.ask(&self.element) {
            Ok(())
        } else {
            Err(self.failure("it takes no request for a key frame"))
        }
    }
}

impl Drop for GstEncoder {
    fn drop(&mut self) {
        // Waits for a frame that is being given away; nothing follows it.
        *self.shared.sink.lock() = None;
        if let Err(error) = self.pipeline.set_state(gst::State::Null) {
            log::warn!(encoder = self.name.as_str(); "encoder did not stop: {error}");
        }
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chroma_is_interleaved() {
        // 4x2: luma 1..=8, then two samples each of U and V.
        assert_eq!(
            nv12(&[1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 20, 21], 8)[..],
            [1, 2, 3, 4, 5, 6, 7, 8, 10, 20, 11, 21]
        );
    }
}
