//! Screens that are GStreamer sinks: `kmssink`, `waylandsink`, or a window by `autovideosink`.

use gstreamer as gst;
use gstreamer::prelude::*;
use rostrum_hal::{
    Frame, FrameSize,
    display::{Display, DisplayError},
};
use serde::Deserialize;

use crate::{
    BoardError,
    drivers::Device,
    elements,
    screen::{
        Rotation, USABLE, is_usable,
        pipeline::{Pipeline, bytes_of},
    },
};

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
    if !is_usable(size, Rotation::None) {
        return Err(device.wrong(USABLE));
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
    pipeline: Pipeline,
}

impl GstDisplay {
    fn open(name: String, size: FrameSize, sink: gst::Element) -> Result<Self, String> {
        Ok(Self { name, size, pipeline: Pipeline::start(size, sink.into())? })
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
        if self.pipeline.error().is_some() {
            // A window that was closed or a cable that was pulled: the next frame finds a new one.
            let _ = self.pipeline.restart();
            let hint = "plug it in, switch it on or open its window; the next picture finds it".into();
            return Err(DisplayError::Gone { name, hint });
        }
        let bytes = match bytes_of(&frame, self.size) {
            Ok(bytes) => bytes,
            Err(message) => return Err(DisplayError::Failed { name, message }),
        };
        self.pipeline.push(bytes).map_err(|message| DisplayError::Failed { name, message })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gstreamer_app::AppSink;
    use rostrum_hal::{FrameData, PixelFormat, Timestamp};

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
