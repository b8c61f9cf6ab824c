//! Screens that are GStreamer sinks: `kmssink`, `waylandsink`, or a window by `autovideosink`.

use gstreamer::{self as gst, prelude::*};
use gstreamer_app::{AppLeakyType, AppSrc};
use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat,
    display::{Display, DisplayError},
};
use serde::Deserialize;

use crate::{BoardError, drivers::Device, elements};

/// Keys of `[display]` with the driver `gstreamer`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Name of the sink.
    element: String,
    /// Size of the room's picture; the sink scales it to the screen.
    size: FrameSize,
    /// Properties of the sink.
    #[serde(default)]
    properties: toml::Table,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Display>, BoardError> {
    let Options { element, size, properties } = device.options()?;
    let usable = (64..=7680).contains(&size.width) && (40..=4320).contains(&size.height);
    if !usable || size.width % 4 != 0 || size.height % 2 != 0 {
        return Err(device.wrong("size is 64x40 to 7680x4320, the width a multiple of 4, the height even"));
    }
    let sink = elements::make_for(device, &element, &properties)?;
    let source = elements::make("appsrc")?;
    let convert = elements::make("videoconvert")?;
    let scale = elements::make("videoscale")?;
    let source: AppSrc = source.downcast().map_err(|_| device.wrong("appsrc is another element"))?;
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", size.width as i32)
        .field("height", size.height as i32)
        .field("framerate", gst::Fraction::new(0, 1))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .field("colorimetry", "bt709")
        .build();
    source.set_caps(Some(&caps));
    source.set_is_live(true);
    source.set_format(gst::Format::Time);
    // A frame that comes too early replaces the one that waits.
    source.set_max_buffers(1);
    source.set_max_bytes(0);
    source.set_leaky_type(AppLeakyType::Downstream);
    if sink.find_property("sync").is_some() && !properties.contains_key("sync") {
        sink.set_property("sync", false);
    }
    let pipeline = gst::Pipeline::new();
    let parts = [source.upcast_ref(), &convert, &scale, &sink];
    let linked = pipeline.add_many(parts).and_then(|()| gst::Element::link_many(parts));
    linked.map_err(|e| device.wrong(e.to_string()))?;
    let mut display = GstDisplay { name: element, size, pipeline, source };
    display.start().map_err(|message| device.absent(display.name.clone(), message))?;
    Ok(Box::new(display))
}

struct GstDisplay {
    name: String,
    size: FrameSize,
    pipeline: gst::Pipeline,
    source: AppSrc,
}

impl GstDisplay {
    fn start(&mut self) -> Result<(), String> {
        let started = self.pipeline.set_state(gst::State::Playing);
        started.map(drop).map_err(|e| self.error().unwrap_or_else(|| e.to_string()))
    }

    /// What the sink complained of since the last call.
    fn error(&self) -> Option<String> {
        let bus = self.pipeline.bus()?;
        let message = bus.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(error.error().to_string()),
            _ => None,
        }
    }
}

impl Display for GstDisplay {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> FrameSize {
        self.size
    }

    fn show(&mut self, frame: Frame) -> Result<(), DisplayError> {
        let name = self.name.clone();
        if self.error().is_some() {
            // A window that was closed or a cable that was pulled: the next frame finds a new one.
            let _ = self.pipeline.set_state(gst::State::Null);
            let _ = self.start();
            return Err(DisplayError::Gone { name });
        }
        let FrameData::Bytes(bytes) = frame.data else {
            return Err(DisplayError::Failed { name, message: "it takes frames in memory".into() });
        };
        let length = self.size.width as usize * self.size.height as usize * 3 / 2;
        if frame.format != PixelFormat::Yuv420 || frame.size != self.size || bytes.len() != length {
            let message = format!("it takes {} Yuv420, not {} {:?}", self.size, frame.size, frame.format);
            return Err(DisplayError::Failed { name, message });
        }
        let pushed = self.source.push_buffer(gst::Buffer::from_slice(bytes));
        pushed.map(drop).map_err(|e| DisplayError::Failed { name, message: e.to_string() })
    }
}

impl Drop for GstDisplay {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
