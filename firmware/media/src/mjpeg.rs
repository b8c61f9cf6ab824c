//! Cameras that give one JPEG a frame.

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as app;
use gstreamer_video as video;
use rostrum_hal::{Frame, FrameData, FrameSize};

use crate::{
    MediaError, elements,
    picture::{Scaler, Target, yuv420},
};

/// Longest that one picture may take; after a broken one nothing comes at all.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// Decodes one JPEG after the other, on the caller's thread as far as it can see.
#[derive(Default)]
pub struct MjpegDecoder {
    running: Option<Running>,
    scaler: Option<Scaler>,
}

struct Running {
    pipeline: gst::Pipeline,
    source: app::AppSrc,
    sink: app::AppSink,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Stopping does not fail for these elements, and nothing is left to do if it did.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn failed(message: impl ToString) -> MediaError {
    MediaError::Jpeg(message.to_string())
}

impl MjpegDecoder {
    /// Starts nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The picture as Yuv420 of the frame's size (JPEG's own size when that differs, which some cameras do).
    ///
    /// # Errors
    /// [`MediaError::Jpeg`] for a broken picture, [`MediaError::Unsupported`] for one that is in no memory of ours; the
    /// next may be decoded.
    pub fn decode(&mut self, frame: &Frame) -> Result<Frame, MediaError> {
        let FrameData::Bytes(bytes) = &frame.data else {
            return Err(MediaError::Unsupported { format: frame.format, storage: "in a DMA-BUF" });
        };
        let result = self.decode_bytes(frame, bytes.to_vec());
        if result.is_err() {
            // Whatever state the broken picture left behind goes away with the pipeline.
            self.running = None;
        }
        result
    }

    fn decode_bytes(&mut self, frame: &Frame, bytes: Vec<u8>) -> Result<Frame, MediaError> {
        let running = match &mut self.running {
            Some(running) => running,
            empty => empty.insert(Running::start()?),
        };
        running.source.push_buffer(gst::Buffer::from_mut_slice(bytes)).map_err(failed)?;
        let sample = running.sink.try_pull_sample(PATIENCE).ok_or_else(|| failed("the picture is broken"))?;
        let caps = sample.caps().ok_or_else(|| failed("no caps"))?;
        let info = video::VideoInfo::from_caps(caps).map_err(failed)?;
        let buffer = sample.buffer().ok_or_else(|| failed("no buffer"))?;
        let size = FrameSize::new(info.width() & !1, info.height() & !1);
        if self.scaler.as_ref().is_none_or(|scaler| scaler.size() != size) {
            self.scaler = Some(Scaler::new(Target::Yuv420(size)));
        }
        let Some(scaler) = &mut self.scaler else { return Err(failed("no scaler")) };
        let bytes = scaler.scale_buffer(buffer, &info)?;
        Ok(yuv420(frame, size, (*bytes).into()))
    }
}

impl Running {
    fn start() -> Result<Self, MediaError> {
        elements::require_elements(&["appsrc", "jpegdec", "appsink"])?;
        let source = app::AppSrc::builder()
            .caps(&gst::Caps::builder("image/jpeg").field("parsed", true).build())
            .is_live(true)
            .format(gst::Format::Time)
            .build();
        let decoder = elements::make("jpegdec")?;
        let limits = gst::Caps::builder("video/x-raw")
            .field("width", gst::IntRange::new(2, 4096))
            .field("height", gst::IntRange::new(2, 4096))
            .build();
        let sink = app::AppSink::builder().caps(&limits).sync(false).max_buffers(1).drop(true).build();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([source.upcast_ref(), &decoder, sink.upcast_ref()]).map_err(failed)?;
        gst::Element::link_many([source.upcast_ref(), &decoder, sink.upcast_ref()]).map_err(failed)?;
        let running = Self { pipeline, source, sink };
        running.pipeline.set_state(gst::State::Playing).map_err(failed)?;
        Ok(running)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rostrum_hal::{PixelFormat, Timestamp};

    fn frame(format: PixelFormat, bytes: Vec<u8>) -> Frame {
        Frame {
            capture_time: Timestamp::default(),
            sequence: 3,
            format,
            size: FrameSize::new(320, 180),
            data: FrameData::Bytes(bytes.into()),
        }
    }

    /// Left dark and bluish, right light and reddish.
    fn picture() -> Frame {
        let mut bytes: Vec<u8> = (0..320 * 180).map(|i| if i % 320 < 160 { 50 } else { 200 }).collect();
        bytes.extend((0..160 * 90).map(|i| if i % 160 < 80 { 150 } else { 110 }));
        bytes.extend((0..160 * 90).map(|i| if i % 160 < 80 { 120 } else { 140 }));
        frame(PixelFormat::Yuv420, bytes)
    }

    #[test]
    fn a_still_decodes_to_what_it_showed() {
        let original = picture();
        let still = crate::jpeg(&original, 320, 90).unwrap();
        let back = MjpegDecoder::new().decode(&frame(PixelFormat::Mjpeg, still)).unwrap();
        assert_eq!((back.size, back.sequence, back.format), (original.size, 3, PixelFormat::Yuv420));
        let (a, b) = (original.bytes().unwrap(), back.bytes().unwrap());
        assert_eq!(a.len(), b.len());
        let off =
            a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>() as f64 / a.len() as f64;
        assert!(off < 3.0, "mean difference {off}");
    }

    #[test]
    fn a_still_is_no_wider_than_asked() {
        let still = crate::jpeg(&picture(), 100, 60).unwrap();
        let back = MjpegDecoder::new().decode(&frame(PixelFormat::Mjpeg, still)).unwrap();
        assert_eq!(back.size, FrameSize::new(100, 56));
    }

    #[test]
    fn a_broken_picture_is_refused_and_the_next_one_decoded() {
        let mut decoder = MjpegDecoder::new();
        let still = crate::jpeg(&picture(), 320, 90).unwrap();
        for broken in [vec![], vec![0; 10], vec![0xff, 0xd8, 0xff, 0xd9], b"not a picture at all".to_vec()] {
            assert!(decoder.decode(&frame(PixelFormat::Mjpeg, broken)).is_err());
            assert!(decoder.decode(&frame(PixelFormat::Mjpeg, still.clone())).is_ok());
        }
    }
}
