//! A board whose camera streams.

use std::time::Instant;

use anyhow::{Context, bail, ensure};
use rostrum_board::Board;
use rostrum_hal::{
    Frame, FrameSize, PixelFormat,
    camera::{Camera, StreamFormat},
};
use tokio::runtime::Runtime;

use crate::{PATIENCE, open_board};

/// A board whose camera streams.
pub struct Streaming {
    /// All of the board but its camera.
    pub board: Board,
    camera: Box<dyn Camera>,
    runtime: Runtime,
}

impl Streaming {
    /// Opens a board with a camera (the keys of its section) and further sections, and lets the camera stream `size`.
    ///
    /// # Errors
    /// As [`open_board`], and when the camera does not give that size.
    pub fn start(camera: &str, sections: &str, size: FrameSize) -> anyhow::Result<Self> {
        let mut board = open_board(&format!("[camera]\n{camera}\n{sections}"))?;
        let mut camera = board.camera.take().context("the board has no camera")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let wanted = StreamFormat { pixel_format: PixelFormat::Yuv420, size, frame_rate_hz: 10.0 };
        let format = runtime.block_on(camera.start(wanted))?;
        ensure!(format.size == size, "the camera gives {}", format.size);
        Ok(Self { board, camera, runtime })
    }

    /// The next frame.
    ///
    /// # Errors
    /// When the camera gives none within `PATIENCE`.
    pub fn frame(&mut self) -> anyhow::Result<Frame> {
        let start = Instant::now();
        loop {
            match self.runtime.block_on(self.camera.next_frame()) {
                Ok(frame) => return Ok(frame),
                Err(error) if start.elapsed() > PATIENCE => bail!(error),
                Err(_) => {}
            }
        }
    }
}
