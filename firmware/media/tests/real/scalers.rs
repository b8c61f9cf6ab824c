//! A scaler as a board has one, with faults: it takes every nth pixel.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat,
    scaler::{ScalerError, ScalerSettings, VideoScaler, VideoScalerFactory},
};

/// A board's scaler.
#[derive(Default)]
pub(crate) struct Device {
    pub(crate) opened: AtomicU32,
    /// Scalers neither open nor work.
    pub(crate) fails: AtomicBool,
    /// Scalers hang, which tests do not wait for.
    pub(crate) hangs: AtomicBool,
    /// Frames that scalers were given.
    pub(crate) tried: AtomicU32,
    /// All of its buffers are lent out.
    pub(crate) busy: AtomicBool,
}

impl Device {
    fn works(&self) -> Result<(), ScalerError> {
        if self.fails.load(SeqCst) {
            return Err(ScalerError::Failed { name: "every nth".into(), message: "injected".into() });
        }
        Ok(())
    }
}

/// The device as a board opens it.
pub(crate) struct Scalers(pub(crate) Arc<Device>);

impl VideoScalerFactory for Scalers {
    fn name(&self) -> String {
        "every nth".into()
    }

    fn takes(&self, format: PixelFormat) -> bool {
        format == PixelFormat::Yuv420
    }

    fn gives(&self, format: PixelFormat) -> bool {
        format == PixelFormat::Yuv420
    }

    fn open(&self, settings: ScalerSettings) -> Result<Box<dyn VideoScaler>, ScalerError> {
        self.0.works()?;
        self.0.opened.fetch_add(1, SeqCst);
        Ok(Box::new(Scaler { device: self.0.clone(), settings }))
    }
}

struct Scaler {
    device: Arc<Device>,
    settings: ScalerSettings,
}

impl VideoScaler for Scaler {
    fn scale(&mut self, frame: &Frame) -> Result<Option<Frame>, ScalerError> {
        self.device.tried.fetch_add(1, SeqCst);
        self.device.works()?;
        if self.device.hangs.load(SeqCst) {
            return Err(ScalerError::Hung { name: "every nth".into(), limit: Duration::from_millis(100) });
        }
        if self.device.busy.load(SeqCst) {
            return Ok(None);
        }
        let size = self.settings.size;
        let bytes = frame.bytes().unwrap();
        let mut out = Vec::new();
        let pixels = (frame.size.width * frame.size.height) as usize;
        for (start, part) in [(0, 1), (pixels, 2), (pixels * 5 / 4, 2)] {
            let (from, to) = (halved(frame.size, part), halved(size, part));
            for y in 0..to.height {
                let row = start + (y * from.height / to.height * from.width) as usize;
                out.extend((0..to.width).map(|x| bytes[row + (x * from.width / to.width) as usize]));
            }
        }
        Ok(Some(Frame { size, data: FrameData::Bytes(out.into()), ..frame.clone() }))
    }
}

fn halved(size: FrameSize, part: u32) -> FrameSize {
    FrameSize::new(size.width / part, size.height / part)
}
