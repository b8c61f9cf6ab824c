//! Pictures to test with, and waiting for what must happen.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat, Timestamp,
    sim::bar::{self, Bar},
};

/// When frame `number` of a camera at 30 Hz was taken.
pub(crate) fn time(number: u32) -> Timestamp {
    Timestamp::from_clock(Duration::from_micros(1_000_000_000 + u64::from(number) * 33_300))
}

pub(crate) fn frame(format: PixelFormat, size: FrameSize, number: u32, bytes: Vec<u8>) -> Frame {
    let data = FrameData::Bytes(bytes.into());
    Frame { capture_time: time(number), sequence: number.into(), format, size, data }
}

/// A picture with a bar that says `number`, and below it a slope from dark at the left to light at the right.
pub(crate) fn with_bar(size: FrameSize, number: u32) -> Frame {
    let (w, h) = (size.width, size.height);
    let mut bytes: Vec<u8> = Vec::with_capacity((w * h * 3 / 2) as usize);
    for y in 0..h {
        bytes.extend((0..w).map(|x| 40 + (x * 150 / w) as u8 + ((x / 16 + y / 16 + number) % 2 * 8) as u8));
    }
    bytes.resize((w * h * 3 / 2) as usize, 128);
    bar::burn(&mut bytes, size, Bar { capture_time: time(number), frame_number: number, camera_id: 7 });
    frame(PixelFormat::Yuv420, size, number, bytes)
}

/// What the bar of a picture says.
pub(crate) fn number_of(frame: &Frame) -> Option<u32> {
    bar::read(frame.bytes().unwrap(), frame.size).map(|bar| bar.frame_number)
}

/// A part of a Yuv420 picture. All four numbers are even.
pub(crate) fn cut(frame: &Frame, x: u32, y: u32, size: FrameSize) -> Frame {
    let bytes = frame.bytes().unwrap();
    let (w, h) = (frame.size.width as usize, frame.size.height as usize);
    let mut out = Vec::new();
    for (start, part) in [(0, 1), (w * h, 2), (w * h * 5 / 4, 2)] {
        let (stride, left, width) = (w / part, x as usize / part, size.width as usize / part);
        for row in y as usize / part..(y + size.height) as usize / part {
            out.extend_from_slice(&bytes[start + row * stride + left..][..width]);
        }
    }
    Frame { size, data: FrameData::Bytes(out.into()), ..frame.clone() }
}

/// Mean luma of a rectangle.
pub(crate) fn luma(frame: &Frame, x: u32, y: u32, size: FrameSize) -> f64 {
    let part = cut(frame, x, y, size);
    let pixels = (size.width * size.height) as usize;
    part.bytes().unwrap()[..pixels].iter().map(|v| f64::from(*v)).sum::<f64>() / pixels as f64
}

/// What other threads bring, to be waited for.
pub(crate) struct Inbox<T>(Arc<(Mutex<Vec<T>>, Condvar)>);

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn put(&self, item: T) {
        self.0.0.lock().unwrap().push(item);
        self.0.1.notify_all();
    }

    pub(crate) fn count(&self) -> usize {
        self.0.0.lock().unwrap().len()
    }

    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.0.lock().unwrap())
    }

    /// Waits until `count` items are there, and says whether they are.
    pub(crate) fn wait_for(&self, count: usize, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut items = self.0.0.lock().unwrap();
        while items.len() < count {
            let Some(left) = end.checked_duration_since(Instant::now()) else { return false };
            items = self.0.1.wait_timeout(items, left).unwrap().0;
        }
        true
    }
}

/// Long enough for a loaded machine; nothing waits for it that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
