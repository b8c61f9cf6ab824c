//! The way of a picture from the caller to a sink.

use std::sync::Arc;

use gstreamer::{self as gst, prelude::*};
use gstreamer_app::{AppLeakyType, AppSrc};
use rostrum_hal::{Frame, FrameData, FrameSize, PixelFormat};

use super::Rotation;
use crate::elements;

/// What stands between the room's picture and a sink, and the sink.
pub(crate) struct Outlet {
    pub(crate) sink: gst::Element,
    /// Done by the processor.
    pub(crate) rotation: Rotation,
    /// The processor scales to this size, with bars where the shape differs; the sink itself does otherwise.
    pub(crate) scale_to: Option<FrameSize>,
}

impl From<gst::Element> for Outlet {
    fn from(sink: gst::Element) -> Self {
        Self { sink, rotation: Rotation::None, scale_to: None }
    }
}

/// A running way. Dropping it stops the sink.
pub(crate) struct Pipeline {
    pipeline: gst::Pipeline,
    source: AppSrc,
}

impl Pipeline {
    /// Starts a way for frames of `size`, `Yuv420`. Takes as long as the sink needs to start.
    pub(crate) fn start(size: FrameSize, outlet: Outlet) -> Result<Self, String> {
        let make = |element: &str| elements::make(element).map_err(|e| e.to_string());
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
        let mut parts: Vec<gst::Element> = vec![source.clone().upcast()];
        if outlet.rotation != Rotation::None {
            let flip = make("videoflip")?;
            flip.set_property_from_str("video-direction", outlet.rotation.method());
            parts.push(flip);
        }
        parts.extend([make("videoconvert")?, make("videoscale")?]);
        if let Some(size) = outlet.scale_to {
            let filter = make("capsfilter")?;
            let caps = gst::Caps::builder("video/x-raw")
                .field("width", size.width as i32)
                .field("height", size.height as i32)
                .build();
            filter.set_property("caps", &caps);
            parts.push(filter);
        }
        parts.push(outlet.sink);
        let made = Self { pipeline: gst::Pipeline::new(), source };
        let linked = made.pipeline.add_many(&parts).and_then(|()| gst::Element::link_many(&parts));
        linked.map_err(|e| e.to_string())?;
        made.play()?;
        Ok(made)
    }

    fn play(&self) -> Result<(), String> {
        let started = self.pipeline.set_state(gst::State::Playing);
        started.map(drop).map_err(|e| self.error().unwrap_or_else(|| e.to_string()))
    }

    /// Stops the sink and starts it anew.
    pub(crate) fn restart(&self) -> Result<(), String> {
        let _ = self.pipeline.set_state(gst::State::Null);
        self.play()
    }

    /// What the sink complained of since the last call.
    pub(crate) fn error(&self) -> Option<String> {
        let bus = self.pipeline.bus()?;
        let message = bus.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(error.error().to_string()),
            _ => None,
        }
    }

    /// Shows a frame's bytes, which [`bytes_of`] checked. Never waits.
    pub(crate) fn push(&self, bytes: Arc<[u8]>) -> Result<(), String> {
        let pushed = self.source.push_buffer(gst::Buffer::from_slice(bytes));
        pushed.map(drop).map_err(|e| e.to_string())
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// The bytes of a frame that a screen of `size` can show.
pub(crate) fn bytes_of(frame: &Frame, size: FrameSize) -> Result<Arc<[u8]>, String> {
    let FrameData::Bytes(bytes) = &frame.data else {
        return Err("it takes frames in memory".into());
    };
    let length = size.width as usize * size.height as usize * 3 / 2;
    if frame.format != PixelFormat::Yuv420 || frame.size != size || bytes.len() != length {
        return Err(format!("it takes {size} Yuv420, not {} {:?}", frame.size, frame.format));
    }
    Ok(Arc::clone(bytes))
}
