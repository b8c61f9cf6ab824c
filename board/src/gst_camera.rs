//! Cameras that are a GStreamer source, such as `v4l2src`. Frames arrive as [`PixelFormat::Yuv420`].

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use gstreamer::{self as gst, prelude::*};
use gstreamer_app::AppSink;
use gstreamer_video as gst_video;
use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat, Timestamp,
    camera::{Camera, CameraControl, CameraControls, CameraError, CameraFormat, ControlState, StreamFormat},
    latest::Latest,
};
use serde::Deserialize;

use crate::{BoardError, drivers::Device, elements};

const STALL: gst::ClockTime = gst::ClockTime::from_seconds(1);
const VIDEO_CLASS: &str = "/sys/class/video4linux";
/// Sizes to choose from when a camera does not list its own.
const USUAL_SIZES: [FrameSize; 4] = [
    FrameSize::new(1280, 720),
    FrameSize::new(1920, 1080),
    FrameSize::new(640, 480),
    FrameSize::new(640, 360),
];

/// Keys of `[camera]` with the driver `gstreamer`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Name of the source.
    element: String,
    /// For `v4l2src`: `auto` for the first camera, or its path under `/dev`.
    device: Option<String>,
    /// Properties of the source.
    #[serde(default)]
    properties: toml::Table,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Camera>, BoardError> {
    let Options { element, device: path, mut properties } = device.options()?;
    for needed in ["decodebin", "videoconvert", "appsink"] {
        elements::require(needed)?;
    }
    let mut name = element.clone();
    if let Some(path) = path {
        let (path, title) = find_camera(Path::new(VIDEO_CLASS), &path)
            .map_err(|hint| device.absent(format!("the camera {path}"), hint))?;
        name = format!("{title} ({path})");
        properties.insert("device".into(), path.into());
    }
    elements::make_for(device, &element, &properties)?;
    Ok(Box::new(GstCamera { name, element, properties, stream: None }))
}

/// Path and title of the camera `wanted` (`auto`: the first), or which there are.
fn find_camera(class: &Path, wanted: &str) -> Result<(String, String), String> {
    let mut cameras = cameras_in(class);
    cameras.sort();
    let found = cameras.iter().find(|(path, _)| wanted == "auto" || wanted == path);
    match found {
        Some(camera) => Ok(camera.clone()),
        // Links such as /dev/v4l/by-id/... are not in the class's list.
        None if wanted != "auto" && Path::new(wanted).exists() => Ok((wanted.into(), wanted.into())),
        None if cameras.is_empty() => {
            Err("there is no camera under /dev; plug one in, or remove [camera] from the profile".into())
        }
        None => {
            let names: Vec<_> = cameras.iter().map(|(path, title)| format!("{path} ({title})")).collect();
            Err(format!("there are {}", names.join(", ")))
        }
    }
}

/// Nodes that give pictures: the first of each device, as the others give its metadata.
fn cameras_in(class: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(class).into_iter().flatten().flatten();
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    entries
        .filter(|entry| read(entry.path().join("index")) == "0")
        .map(|entry| {
            let node = entry.file_name().to_string_lossy().into_owned();
            (format!("/dev/{node}"), read(entry.path().join("name")))
        })
        .collect()
}

struct GstCamera {
    name: String,
    element: String,
    properties: toml::Table,
    stream: Option<Stream>,
}

/// A running pipeline and the thread that takes its frames.
struct Stream {
    newest: Arc<Latest<Result<Frame, CameraError>>>,
    stop: Arc<AtomicBool>,
    pipeline: gst::Pipeline,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Ends the wait of the thread as well.
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl GstCamera {
    fn failed(&self, message: impl ToString) -> CameraError {
        CameraError::Failed { name: self.name.clone(), message: message.to_string() }
    }

    fn source(&self) -> Result<gst::Element, CameraError> {
        let source = elements::make(&self.element).map_err(|e| self.failed(e))?;
        elements::set_properties(&source, &self.properties).map_err(|e| self.failed(e))?;
        Ok(source)
    }

    /// What the source offers once its device is open.
    fn offered(&self) -> Result<gst::Caps, CameraError> {
        let source = self.source()?;
        let opened = source.set_state(gst::State::Ready);
        let caps = source.static_pad("src").map(|pad| pad.query_caps(None));
        let _ = source.set_state(gst::State::Null);
        match (opened, caps) {
            (Ok(_), Some(caps)) => Ok(caps),
            _ => Err(self.gone_or_busy()),
        }
    }

    /// A device that exists and cannot be opened is in use.
    fn gone_or_busy(&self) -> CameraError {
        let name = self.name.clone();
        let path = self.properties.get("device").and_then(|d| d.as_str());
        if path.is_some_and(|path| Path::new(path).exists()) {
            CameraError::Busy { name }
        } else {
            CameraError::Gone { name }
        }
    }

    fn pipeline(&self, format: &StreamFormat) -> Result<(gst::Pipeline, AppSink), CameraError> {
        let make = |element: &str| elements::make(element).map_err(|e| self.failed(e));
        let source = self.source()?;
        let (filter, decode) = (make("capsfilter")?, make("decodebin")?);
        let (scale, convert) = (make("videoscale")?, make("videoconvert")?);
        let drain: AppSink =
            make("appsink")?.downcast().map_err(|_| self.failed("appsink is another element"))?;
        let rate = gst::Fraction::approximate_f64(format.frame_rate_hz).unwrap_or(gst::Fraction::new(30, 1));
        let mut either = gst::Caps::new_empty();
        for media in ["video/x-raw", "image/jpeg"] {
            let caps = gst::Caps::builder(media)
                .field("width", format.size.width as i32)
                .field("height", format.size.height as i32)
                .field("framerate", rate)
                .build();
            either.merge(caps);
        }
        filter.set_property("caps", either);
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", format.size.width as i32)
            .field("height", format.size.height as i32)
            .build();
        drain.set_caps(Some(&caps));
        drain.set_sync(false);
        drain.set_max_buffers(1);
        drain.set_drop(true);
        let pipeline = gst::Pipeline::new();
        let last: &gst::Element = drain.upcast_ref();
        let built = pipeline
            .add_many([&source, &filter, &decode, &scale, &convert, last])
            .and_then(|()| gst::Element::link_many([&source, &filter, &decode]))
            .and_then(|()| gst::Element::link_many([&scale, &convert, last]));
        built.map_err(|e| self.failed(e))?;
        decode.connect_pad_added(move |_, pad| {
            if let Some(sink) = scale.static_pad("sink").filter(|sink| !sink.is_linked()) {
                // A failure shows as a stall, which the caller learns.
                let _ = pad.link(&sink);
            }
        });
        // Frames carry the time of CLOCK_MONOTONIC.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        Ok((pipeline, drain))
    }
}

#[async_trait::async_trait]
impl Camera for GstCamera {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn formats(&mut self) -> Result<Vec<CameraFormat>, CameraError> {
        // A camera that runs cannot be opened twice; it offers what it did.
        let caps = if self.stream.is_some() { gst::Caps::new_any() } else { self.offered()? };
        let mut formats: Vec<CameraFormat> = Vec::new();
        for structure in caps.iter() {
            let known = matches!(structure.name().as_str(), "video/x-raw" | "image/jpeg");
            let width = structure.get::<i32>("width").ok().and_then(|w| u32::try_from(w).ok());
            let height = structure.get::<i32>("height").ok().and_then(|h| u32::try_from(h).ok());
            let (true, Some(width), Some(height)) = (known, width, height) else { continue };
            let size = FrameSize::new(width & !1, height & !1);
            let rates = rates_in(structure);
            match formats.iter_mut().find(|f| f.size == size) {
                Some(format) => format.frame_rates_hz.extend(rates),
                None => {
                    formats.push(CameraFormat {
                        pixel_format: PixelFormat::Yuv420,
                        size,
                        frame_rates_hz: rates,
                    });
                }
            }
        }
        for format in &mut formats {
            format.frame_rates_hz.sort_by(|a, b| b.total_cmp(a));
            format.frame_rates_hz.dedup();
        }
        if formats.is_empty() {
            let usual = |size| CameraFormat {
                pixel_format: PixelFormat::Yuv420,
                size,
                frame_rates_hz: vec![30.0, 15.0],
            };
            formats = USUAL_SIZES.map(usual).to_vec();
        }
        Ok(formats)
    }

    async fn start(&mut self, wanted: StreamFormat) -> Result<StreamFormat, CameraError> {
        self.stream = None;
        let formats = self.formats()?;
        let pixels = |size: FrameSize| u64::from(size.width) * u64::from(size.height);
        let slow = |f: &CameraFormat| !f.frame_rates_hz.iter().any(|r| *r >= wanted.frame_rate_hz * 0.9);
        let nearest = formats.iter().min_by_key(|f| (slow(f), pixels(f.size).abs_diff(pixels(wanted.size))));
        let Some(nearest) = nearest else {
            return Err(CameraError::NoFormat { name: self.name(), present: "none".into() });
        };
        let off = |rate: &f64| (rate - wanted.frame_rate_hz).abs();
        let frame_rate_hz =
            nearest.frame_rates_hz.iter().copied().min_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or(30.0);
        let format = StreamFormat { pixel_format: PixelFormat::Yuv420, size: nearest.size, frame_rate_hz };
        let (pipeline, drain) = self.pipeline(&format)?;
        if pipeline.set_state(gst::State::Playing).is_err() {
            let _ = pipeline.set_state(gst::State::Null);
            return Err(self.gone_or_busy());
        }
        let (newest, stop) = (Arc::new(Latest::default()), Arc::new(AtomicBool::new(false)));
        let taker = Taker {
            name: self.name.clone(),
            drain,
            pipeline: pipeline.clone(),
            newest: newest.clone(),
            stop: stop.clone(),
        };
        let spawned = std::thread::Builder::new().name("gst-camera".into()).spawn(move || taker.run());
        let thread = Some(spawned.map_err(|e| self.failed(e))?);
        self.stream = Some(Stream { newest, stop, pipeline, thread });
        Ok(format)
    }

    async fn next_frame(&mut self) -> Result<Frame, CameraError> {
        let Some(stream) = &self.stream else { return Err(self.failed("it was not started")) };
        let newest = stream.newest.take().await;
        if matches!(newest, Err(CameraError::Gone { .. })) {
            self.stream = None;
        }
        newest
    }

    fn controls(&self) -> Box<dyn CameraControls> {
        Box::new(NoControls)
    }
}

/// Frame rates of one offer, in Hz.
fn rates_in(offer: &gst::StructureRef) -> Vec<f64> {
    let hertz = |rate: gst::Fraction| f64::from(rate.numer()) / f64::from(rate.denom());
    if let Ok(rate) = offer.get::<gst::Fraction>("framerate") {
        return vec![hertz(rate)];
    }
    if let Ok(list) = offer.get::<gst::List>("framerate") {
        return list.iter().filter_map(|rate| rate.get::<gst::Fraction>().ok()).map(hertz).collect();
    }
    vec![30.0]
}

/// The thread that waits for frames.
struct Taker {
    name: String,
    drain: AppSink,
    pipeline: gst::Pipeline,
    newest: Arc<Latest<Result<Frame, CameraError>>>,
    stop: Arc<AtomicBool>,
}

impl Taker {
    fn run(self) {
        let mut sequence = 0;
        while !self.stop.load(Ordering::Acquire) {
            let Some(sample) = self.drain.try_pull_sample(STALL) else {
                let bus = self.pipeline.bus();
                let failed = bus.is_some_and(|bus| bus.pop_filtered(&[gst::MessageType::Error]).is_some());
                let name = self.name.clone();
                if failed || self.drain.is_eos() {
                    return self.newest.put(Err(CameraError::Gone { name }));
                }
                if !self.stop.load(Ordering::Acquire) {
                    self.newest.put(Err(CameraError::Stalled { name }));
                }
                continue;
            };
            if let Some(frame) = self.frame(&sample, sequence) {
                sequence += 1;
                self.newest.put(Ok(frame));
            }
        }
    }

    fn frame(&self, sample: &gst::Sample, sequence: u64) -> Option<Frame> {
        let buffer = sample.buffer()?;
        let info = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let time = self.pipeline.base_time()? + segment.to_running_time(buffer.pts()?)?;
        let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).ok()?;
        Some(Frame {
            capture_time: Timestamp::from_clock(Duration::from_nanos(time.nseconds())),
            sequence,
            format: PixelFormat::Yuv420,
            size: FrameSize::new(info.width(), info.height()),
            data: FrameData::Bytes(crate::clip_stream::packed(&mapped)?),
        })
    }
}

/// These sources show no controls of their camera.
struct NoControls;

impl CameraControls for NoControls {
    fn list(&self) -> Result<Vec<ControlState>, CameraError> {
        Ok(Vec::new())
    }

    fn set(&self, control: CameraControl, _: i64) -> Result<i64, CameraError> {
        Err(CameraError::NoControl { control, present: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use pollster::block_on;

    use super::*;

    fn test_picture(properties: &str) -> GstCamera {
        elements::init().unwrap();
        let properties = properties.parse().unwrap();
        GstCamera { name: "test".into(), element: "videotestsrc".into(), properties, stream: None }
    }

    fn wanted() -> StreamFormat {
        StreamFormat {
            pixel_format: PixelFormat::Yuv420,
            size: FrameSize::new(640, 360),
            frame_rate_hz: 30.0,
        }
    }

    #[test]
    fn frames_of_a_source_come_packed_with_the_time_of_the_monotonic_clock() {
        let mut camera = test_picture("is-live = true\npattern = 'white'");
        assert_eq!(block_on(camera.start(wanted())).unwrap().size, FrameSize::new(640, 360));
        let first = block_on(camera.next_frame()).unwrap();
        let second = block_on(camera.next_frame()).unwrap();
        assert!(second.capture_time > first.capture_time && second.sequence > first.sequence);
        let age = Timestamp::now().saturating_since(second.capture_time);
        assert!(age < Duration::from_secs(1), "captured {age:?} ago");
        let bytes = second.bytes().unwrap();
        assert_eq!(bytes.len(), 640 * 360 * 3 / 2);
        assert!(bytes[..640 * 360].iter().all(|&y| y.abs_diff(235) <= 1));
    }

    #[test]
    fn a_source_that_ends_is_gone_and_can_be_started_again() {
        let mut camera = test_picture("is-live = true\nnum-buffers = 3");
        block_on(camera.start(wanted())).unwrap();
        let error = loop {
            if let Err(error) = block_on(camera.next_frame()) {
                break error;
            }
        };
        assert!(matches!(error, CameraError::Gone { .. }), "{error}");
        block_on(camera.start(wanted())).unwrap();
        assert!(block_on(camera.next_frame()).is_ok());
    }

    #[test]
    fn an_absent_camera_gives_those_that_are_there() {
        let class = tempfile::tempdir().unwrap();
        let error = find_camera(class.path(), "auto").unwrap_err();
        assert!(error.contains("no camera under /dev"), "{error}");
        for (node, index) in [("video3", "0"), ("video4", "1")] {
            let folder = class.path().join(node);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("name"), "Desk Cam\n").unwrap();
            std::fs::write(folder.join("index"), index).unwrap();
        }
        let error = find_camera(class.path(), "/dev/video77").unwrap_err();
        assert_eq!(error, "there are /dev/video3 (Desk Cam)");
        assert_eq!(find_camera(class.path(), "auto").unwrap().0, "/dev/video3");
    }
}
