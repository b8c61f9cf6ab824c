//! The self-test, by a command on a board that nobody uses, or from the panel with the devices that are in use.

pub(crate) mod command;
pub(crate) mod panel;

use std::time::SystemTime;

use rostrum_fleet::selftest::{Clock, Decode};
use rostrum_hal::{FrameSize, PixelFormat, camera::StreamFormat};
use rostrum_media::MjpegDecoder;

use crate::config::Picture;

/// What the camera is asked for.
fn stream_format(picture: &Picture) -> StreamFormat {
    StreamFormat {
        pixel_format: PixelFormat::Yuv420,
        size: FrameSize::new(picture.width, picture.height),
        frame_rate_hz: picture.frame_rate_hz,
    }
}

fn clock() -> Clock {
    Clock { now: SystemTime::now(), is_synchronised: rostrum_board::clock_is_synchronised() }
}

fn decode() -> Decode {
    let mut decoder = MjpegDecoder::new();
    Box::new(move |frame| {
        (frame.format == PixelFormat::Mjpeg).then(|| decoder.decode(&frame.in_memory()).ok()).flatten()
    })
}
