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
    let sync_is_set = properties.contains_key("sync");
    if !sync_is_set && sink.find_property("sync").is_some() {
        sink.set_property("sync", false);
    }
    let opened = GstDisplay::open(element.clone(), size, sink).map_err(|e| device.absent(element, e))?;
    Ok(Box::new(opened))
}

struct GstDisplay {
    name: String,
    size: FrameSize,
    pipeline: gst::Pipeline,
    source: AppSrc,
}

impl GstDisplay {
    fn open(name: String, size: FrameSize, sink: gst::Element) -> Result<Self, String> {
        let make = |element: &str| elements::make(element).map_err(|e| e.to_string());
        let (convert, scale) = (make("videoconvert")?, make("videoscale")?);
        let source: AppSrc =
            make("appsrc")?.downcast().map_err(|_| "appsrc is another element".to_owned())?;
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            // Checked to be small.
            .field("width", size.width as i32)
            .field("height", size.height as i32)
            .field("framerate", gst::Fraction::new(0, 1))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .field("colorimetry", "bt709")
            .build();
        source.set_caps(Some(&caps));
        source.set_is_live(true);
        source.set_format(gst::Format::Time);
        source.set_do_timestamp(true);
        // A frame that comes too early replaces the one that waits.
        source.set_max_buffers(1);
        source.set_max_bytes(0);
        source.set_leaky_type(AppLeakyType::Downstream);
        let pipeline = gst::Pipeline::new();
        let parts = [source.upcast_ref(), &convert, &scale, &sink];
        let linked = pipeline.add_many(parts).and_then(|()| gst::Element::link_many(parts));
        linked.map_err(|e| e.to_string())?;
        let display = Self { name, size, pipeline, source };
        display.start()?;
        Ok(display)
    }

    fn start(&self) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gstreamer_app::AppSink;
    use rostrum_hal::Timestamp;

    use super::*;
    use crate::{OpenOptions, Profile};

    fn board_with(display: &str) -> Result<crate::Board, BoardError> {
        let old = "[display]\ndriver = \"virtual\"\nsize = { width = 1280, height = 720 }";
        let text = include_str!("../profiles/virtual.toml");
        assert!(text.contains(old));
        let text = text.replace(old, &format!("[display]\ndriver = \"gstreamer\"\n{display}"));
        crate::open(&Profile::parse(&text, "test.toml")?, OpenOptions::default())
    }

    fn grey(size: FrameSize, level: u8) -> Frame {
        let bytes = vec![level; (size.width * size.height * 3 / 2) as usize];
        Frame {
            capture_time: Timestamp::now(),
            sequence: 0,
            format: PixelFormat::Yuv420,
            size,
            data: FrameData::Bytes(bytes.into()),
        }
    }

    #[test]
    fn a_frame_reaches_the_sink_and_a_wrong_one_is_refused() {
        elements::init().unwrap();
        let sink = elements::make("appsink").unwrap();
        let size = FrameSize::new(320, 180);
        let mut display = GstDisplay::open("appsink".into(), size, sink.clone()).unwrap();
        display.show(grey(size, 77)).unwrap();
        let shown =
            sink.downcast::<AppSink>().unwrap().try_pull_sample(gst::ClockTime::from_seconds(10)).unwrap();
        assert!(shown.buffer().unwrap().map_readable().unwrap().iter().all(|v| *v == 77));
        assert!(matches!(display.show(grey(FrameSize::new(64, 40), 1)), Err(DisplayError::Failed { .. })));
    }

    #[test]
    fn showing_never_waits_for_a_slow_screen() {
        let display = "element = \"fakesink\"\nsize = { width = 320, height = 180 }\n\
                       properties = { sync = true, ts-offset = 1000000000 }";
        let mut display = board_with(display).unwrap().display.unwrap();
        let begin = Timestamp::now();
        for level in 0..50 {
            display.show(grey(FrameSize::new(320, 180), level)).unwrap();
        }
        // The screen shows nothing within the first second.
        assert!(Timestamp::now().saturating_since(begin).as_millis() < 900);
    }

    #[test]
    fn a_screen_that_is_not_there_is_an_error_of_its_section() {
        let display = "element = \"fakesink\"\nsize = { width = 320, height = 180 }\n\
                       properties = { state-error = \"null-to-ready\" }";
        let error = board_with(display).err().unwrap().to_string();
        assert!(error.contains("[display]: fakesink is not there"), "{error}");
        let error = board_with("element = \"fakesink\"\nsize = { width = 321, height = 180 }").err().unwrap();
        assert!(error.to_string().contains("multiple of 4"), "{error}");
    }
}
