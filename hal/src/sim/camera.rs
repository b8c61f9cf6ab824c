//! The camera of the virtual board.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use super::{
    Fault, SimCameraControls, VirtualBoard,
    bar::{self, Bar},
    clip::{ClipFrame, ClipVideo},
    controls::Optics,
    draw::Canvas,
    scene::{Scene, blur_radius},
    view::{self, Picture, Window},
};
use crate::{
    Frame, FrameData, FrameSize, PixelFormat, Timestamp,
    camera::{Camera, CameraControls, CameraError, CameraFormat, StreamFormat},
    latest::Latest,
};

/// Name of every virtual camera.
pub(super) const CAMERA_NAME: &str = "virtual camera";
/// Sizes it offers, best first.
const SIZES: [FrameSize; 4] = [
    FrameSize::new(1280, 720),
    FrameSize::new(1920, 1080),
    FrameSize::new(640, 360),
    FrameSize::new(320, 180),
];
/// Frame rates it offers, in Hz.
const RATES_HZ: [f64; 3] = [30.0, 25.0, 15.0];
/// How late frames are with [`Fault::FramesLate`].
const LATENESS: Duration = Duration::from_millis(150);
/// Time without a frame after which the camera counts as stalled.
const STALL: Duration = Duration::from_secs(1);
/// Buffers that are used again when nobody holds their frame any more.
const POOL: usize = 6;

/// The camera of a virtual board: a thread draws what it sees and burns in the bar at the moment that
/// stands in it. Only the newest frame waits for [`Camera::next_frame`].
pub struct SimCamera {
    board: VirtualBoard,
    stream: Option<Stream>,
}

struct Stream {
    slot: Arc<Slot>,
    thread: Option<JoinHandle<()>>,
}

/// Where the newest frame waits.
#[derive(Default)]
struct Slot {
    newest: Latest<Result<Frame, CameraError>>,
    stop: AtomicBool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.slot.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in the thread was printed there; nothing is left to be done about it.
            let _ = thread.join();
        }
    }
}

impl SimCamera {
    pub(super) fn new(board: VirtualBoard) -> Self {
        Self { board, stream: None }
    }

    fn there(&self) -> Result<(), CameraError> {
        if self.board.has_fault(Fault::CameraUnplugged) {
            return Err(CameraError::Gone { name: self.name() });
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Camera for SimCamera {
    fn name(&self) -> String {
        let clip = self.board.options().clip.as_ref();
        clip.map_or(CAMERA_NAME.into(), |clip| format!("{CAMERA_NAME} showing {}", clip.name()))
    }

    fn formats(&mut self) -> Result<Vec<CameraFormat>, CameraError> {
        self.there()?;
        let format = |size| CameraFormat {
            pixel_format: PixelFormat::Yuv420,
            size,
            frame_rates_hz: RATES_HZ.to_vec(),
        };
        Ok(SIZES.into_iter().map(format).collect())
    }

    async fn start(&mut self, wanted: StreamFormat) -> Result<StreamFormat, CameraError> {
        self.there()?;
        self.stream = None;
        let pixels = |size: FrameSize| u64::from(size.width) * u64::from(size.height);
        let size =
            SIZES.into_iter().min_by_key(|s| pixels(*s).abs_diff(pixels(wanted.size))).unwrap_or(SIZES[0]);
        let off = |rate: f64| (rate - wanted.frame_rate_hz).abs();
        let frame_rate_hz =
            RATES_HZ.into_iter().min_by(|a, b| off(*a).total_cmp(&off(*b))).unwrap_or(RATES_HZ[0]);
        let slot = Arc::new(Slot::default());
        let lens = Lens { board: self.board.clone(), slot: slot.clone(), size, frame_rate_hz };
        let thread = std::thread::Builder::new()
            .name("sim-camera".into())
            .spawn(move || lens.run())
            .map_err(|e| CameraError::Failed { name: self.name(), message: e.to_string() })?;
        self.stream = Some(Stream { slot, thread: Some(thread) });
        Ok(StreamFormat { pixel_format: PixelFormat::Yuv420, size, frame_rate_hz })
    }

    async fn next_frame(&mut self) -> Result<Frame, CameraError> {
        let Some(stream) = &self.stream else {
            let message = "it was not started".into();
            return Err(CameraError::Failed { name: self.name(), message });
        };
        let newest = stream.slot.newest.take().await;
        if matches!(newest, Err(CameraError::Gone { .. })) {
            self.stream = None;
        }
        newest
    }

    fn controls(&self) -> Box<dyn CameraControls> {
        Box::new(SimCameraControls::new(self.board.clone()))
    }
}

/// The thread of a running camera.
struct Lens {
    board: VirtualBoard,
    slot: Arc<Slot>,
    size: FrameSize,
    frame_rate_hz: f64,
}

impl Lens {
    fn run(self) {
        // Sizes are those of the table.
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let mut sight = self.open_sight(width, height);
        let mut pool = Pool::new(Canvas::bytes(width, height));
        let begin = Timestamp::now();
        let mut last_frame = begin;
        let mut frozen: Option<Arc<[u8]>> = None;
        for tick in 0_u64.. {
            let due = begin + Duration::from_secs_f64(tick as f64 / self.frame_rate_hz);
            if due.saturating_since(Timestamp::now()).is_zero() && self.next_is_due(due) {
                continue;
            }
            // Drawn ahead, so that only the bar is left to do when the frame is due.
            let optics = self.board.shared.controls.lock().optics();
            let position = due.saturating_since(self.board.shared.epoch);
            let mut buffer = pool.take();
            let Some(bytes) = Arc::get_mut(&mut buffer) else { continue };
            let number = sight.draw(&optics, position, bytes);
            if !self.rest_until(due) {
                return;
            }
            if self.board.has_fault(Fault::CameraUnplugged) {
                self.slot.newest.put(Err(CameraError::Gone { name: CAMERA_NAME.into() }));
                return;
            }
            let capture_time = Timestamp::now();
            let Some(number) = number else {
                if capture_time.saturating_since(last_frame) > STALL {
                    last_frame = capture_time;
                    self.slot.newest.put(Err(CameraError::Stalled { name: CAMERA_NAME.into() }));
                }
                continue;
            };
            let frame_number = number.unwrap_or(u32::try_from(tick % (1 << 24)).unwrap_or_default());
            let camera_id = self.board.options().camera_id;
            bar::burn(bytes, self.size, Bar { capture_time, frame_number, camera_id });
            if self.board.has_fault(Fault::FramesLate) && !self.rest_until(capture_time + LATENESS) {
                return;
            }
            last_frame = capture_time;
            pool.keep(&buffer);
            let buffer = if self.board.has_fault(Fault::CameraFrozen) {
                frozen.get_or_insert(buffer).clone()
            } else {
                frozen = None;
                buffer
            };
            self.slot.newest.put(Ok(Frame {
                capture_time,
                sequence: tick,
                format: PixelFormat::Yuv420,
                size: self.size,
                data: FrameData::Bytes(buffer),
            }));
        }
    }

    fn open_sight(&self, width: usize, height: usize) -> Sight {
        let options = self.board.options();
        match &options.clip {
            None => Sight::Scene(Box::new(Scene::new(width, height, options.seed))),
            Some(clip) => {
                let from = Timestamp::now().saturating_since(self.board.shared.epoch);
                let video = clip.video(self.size, from);
                Sight::Clip { video, shown: None, width, height, scratch: Vec::new() }
            }
        }
    }

    /// Whether the frame after the one due at `due` is due already, so that this one is lost.
    fn next_is_due(&self, due: Timestamp) -> bool {
        Timestamp::now().saturating_since(due).as_secs_f64() * self.frame_rate_hz >= 1.0
    }

    /// Sleeps; `false` when the camera was stopped meanwhile.
    fn rest_until(&self, time: Timestamp) -> bool {
        loop {
            if self.slot.stop.load(Ordering::Acquire) {
                return false;
            }
            let left = time.saturating_since(Timestamp::now());
            if left.is_zero() {
                return true;
            }
            std::thread::park_timeout(left);
        }
    }
}

/// What is in front of the lens.
enum Sight {
    Scene(Box<Scene>),
    Clip {
        video: Box<dyn ClipVideo>,
        shown: Option<ClipFrame>,
        width: usize,
        height: usize,
        scratch: Vec<u8>,
    },
}

impl Sight {
    /// Draws what is seen at `position` of the board's time. `None` when there is no picture yet;
    /// `Some(Some(index))` for a picture of a recording.
    fn draw(&mut self, optics: &Optics, position: Duration, out: &mut [u8]) -> Option<Option<u32>> {
        let number = match self {
            Self::Scene(scene) => {
                scene.draw(optics, position, out);
                None
            }
            Self::Clip { video, shown, width, height, scratch } => {
                if let Some(frame) = video.frame_at(position).filter(|f| f.bytes.len() == out.len()) {
                    *shown = Some(frame);
                }
                let frame = shown.as_ref()?;
                let picture = Picture { yuv: &frame.bytes, width: *width, height: *height };
                view::look(picture, clip_window(optics, *width, *height), out, *width, *height);
                view::blur(out, *width, *height, blur_radius(optics, *width), scratch);
                view::brighten(&mut out[..*width * *height], optics.gain);
                Some(frame.index)
            }
        };
        if optics.covered {
            let luma = out.len() / 3 * 2;
            out[..luma].fill(16);
            out[luma..].fill(128);
        }
        Some(number)
    }
}

/// A recording is as large as the view: pan and tilt move within it when zoomed in.
fn clip_window(optics: &Optics, width: usize, height: usize) -> Window {
    let spare = 1.0 - 1.0 / optics.zoom;
    Window {
        x: width as f32 * spare * (1.0 + optics.pan) / 2.0,
        y: height as f32 * spare * (1.0 - optics.tilt) / 2.0,
        scale: optics.zoom,
    }
}

/// Buffers of frames that nobody holds any more are used again: fresh memory costs a page fault each 4 kB.
struct Pool {
    length: usize,
    buffers: Vec<Arc<[u8]>>,
}

impl Pool {
    fn new(length: usize) -> Self {
        Self { length, buffers: Vec::new() }
    }

    /// A buffer that nobody else holds, with any content.
    fn take(&mut self) -> Arc<[u8]> {
        match self.buffers.iter_mut().position(|b| Arc::get_mut(b).is_some()) {
            Some(free) => self.buffers.swap_remove(free),
            None => vec![0; self.length].into(),
        }
    }

    /// Remembers a buffer that is given away.
    fn keep(&mut self, buffer: &Arc<[u8]>) {
        if self.buffers.len() < POOL {
            self.buffers.push(buffer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use pollster::block_on;

    use super::*;
    use crate::{camera::CameraControl, sim::VirtualBoardOptions};

    const WANTED: StreamFormat = StreamFormat {
        pixel_format: PixelFormat::Yuv420,
        size: FrameSize::new(320, 180),
        frame_rate_hz: 30.0,
    };

    fn running(options: VirtualBoardOptions) -> (VirtualBoard, SimCamera) {
        let board = VirtualBoard::new(options);
        let mut camera = board.camera();
        assert_eq!(block_on(camera.start(WANTED)).unwrap(), WANTED);
        (board, camera)
    }

    fn next(camera: &mut SimCamera) -> (Frame, Bar) {
        let frame = block_on(camera.next_frame()).unwrap();
        let bar = bar::read(frame.bytes().unwrap(), frame.size).unwrap();
        (frame, bar)
    }

    /// A recording whose picture of index n is grey of level 40 + n % 100, at 10 pictures a second.
    struct GreyClip;

    impl crate::sim::ClipSource for GreyClip {
        fn name(&self) -> String {
            "grey".into()
        }
        fn frame_rate_hz(&self) -> f64 {
            10.0
        }
        fn video(&self, size: FrameSize, _: Duration) -> Box<dyn ClipVideo> {
            Box::new(GreyVideo(size))
        }
        fn audio(&self, _: Duration) -> Option<Box<dyn crate::sim::ClipAudio>> {
            None
        }
    }

    struct GreyVideo(FrameSize);

    impl ClipVideo for GreyVideo {
        fn frame_at(&mut self, position: Duration) -> Option<ClipFrame> {
            let index = u32::try_from(position.as_millis() / 100).unwrap();
            let level = 40 + u8::try_from(index % 100).unwrap();
            let bytes = Canvas::bytes(self.0.width as usize, self.0.height as usize);
            Some(ClipFrame { index, bytes: vec![level; bytes].into() })
        }
    }

    #[test]
    fn it_offers_720p_first_and_starts_with_the_nearest_format() {
        let mut camera = VirtualBoard::new(VirtualBoardOptions::default()).camera();
        assert_eq!(camera.formats().unwrap()[0].size, FrameSize::new(1280, 720));
        let odd = StreamFormat { size: FrameSize::new(700, 400), frame_rate_hz: 24.0, ..WANTED };
        let started = block_on(camera.start(odd)).unwrap();
        assert_eq!((started.size, started.frame_rate_hz), (FrameSize::new(640, 360), 25.0));
        assert_eq!(block_on(camera.next_frame()).unwrap().size, started.size);
    }

    #[test]
    fn frames_come_at_the_pace_of_the_clock_with_their_capture_time_burnt_in() {
        let options = VirtualBoardOptions { camera_id: 9, ..VirtualBoardOptions::default() };
        let (_board, mut camera) = running(options);
        let (first, _) = next(&mut camera);
        let mut last = first.clone();
        for _ in 0..20 {
            let (frame, bar) = next(&mut camera);
            assert!(frame.sequence > last.sequence);
            assert_eq!(bar.frame_number, u32::try_from(frame.sequence).unwrap());
            assert_eq!(bar.camera_id, 9);
            assert!(frame.capture_time.saturating_since(bar.capture_time) < Duration::from_micros(100));
            last = frame;
        }
        let seconds = last.capture_time.saturating_since(first.capture_time).as_secs_f64();
        let rate = (last.sequence - first.sequence) as f64 / seconds;
        assert!((24.0..36.0).contains(&rate), "{rate} Hz");
    }

    #[test]
    fn a_late_caller_gets_the_newest_frame() {
        let (_board, mut camera) = running(VirtualBoardOptions::default());
        let (first, _) = next(&mut camera);
        // The lateness itself.
        std::thread::sleep(Duration::from_millis(250));
        let (frame, _) = next(&mut camera);
        assert!(frame.sequence >= first.sequence + 4, "{} after {}", frame.sequence, first.sequence);
    }

    #[test]
    fn turning_the_camera_changes_its_picture() {
        let (board, mut camera) = running(VirtualBoardOptions::default());
        let below_bar = |frame: &Frame| frame.bytes().unwrap()[40 * 320..180 * 320].to_vec();
        let before = below_bar(&next(&mut camera).0);
        camera.controls().set(CameraControl::Pan, 90 * 3600).unwrap();
        let deadline = Timestamp::now() + Duration::from_secs(5);
        loop {
            let now = below_bar(&next(&mut camera).0);
            let changed = before.iter().zip(&now).filter(|(a, b)| a.abs_diff(**b) > 8).count();
            if changed > before.len() / 3 {
                break;
            }
            assert!(Timestamp::now() < deadline, "the picture did not turn");
        }
        board.camera_controls().set(CameraControl::Privacy, 1).unwrap();
        while below_bar(&next(&mut camera).0).iter().any(|&v| v != 16) {
            assert!(Timestamp::now() < deadline, "the cover did not blind it");
        }
    }

    #[test]
    fn a_frozen_camera_gives_one_picture_with_new_times_until_it_thaws() {
        let (board, mut camera) = running(VirtualBoardOptions::default());
        let mut next = || block_on(camera.next_frame()).unwrap();
        board.set_fault(Fault::CameraFrozen, true);
        // One frame may have been on its way.
        next();
        let (first, second) = (next(), next());
        assert_eq!(first.bytes(), second.bytes());
        assert!(second.capture_time > first.capture_time && second.sequence > first.sequence);
        board.set_fault(Fault::CameraFrozen, false);
        next();
        assert_ne!(next().bytes(), second.bytes());
    }

    #[test]
    fn an_unplugged_camera_is_gone_until_it_is_back_and_started() {
        let (board, mut camera) = running(VirtualBoardOptions::default());
        next(&mut camera);
        board.set_fault(Fault::CameraUnplugged, true);
        let gone = loop {
            if let Err(error) = block_on(camera.next_frame()) {
                break error;
            }
        };
        assert!(matches!(gone, CameraError::Gone { .. }), "{gone}");
        assert!(matches!(block_on(camera.start(WANTED)), Err(CameraError::Gone { .. })));
        assert!(matches!(camera.controls().list(), Err(CameraError::Gone { .. })));
        board.set_fault(Fault::CameraUnplugged, false);
        block_on(camera.start(WANTED)).unwrap();
        next(&mut camera);
    }

    #[test]
    fn late_frames_keep_their_capture_time() {
        let (board, mut camera) = running(VirtualBoardOptions::default());
        board.set_fault(Fault::FramesLate, true);
        let deadline = Timestamp::now() + Duration::from_secs(5);
        loop {
            let (_, bar) = next(&mut camera);
            if Timestamp::now().saturating_since(bar.capture_time) >= Duration::from_millis(150) {
                break;
            }
            assert!(Timestamp::now() < deadline, "frames are not late");
        }
    }

    #[test]
    fn a_recording_is_shown_and_the_bar_names_its_picture() {
        let clip: Arc<dyn crate::sim::ClipSource> = Arc::new(GreyClip);
        let (_board, mut camera) =
            running(VirtualBoardOptions { clip: Some(clip), ..VirtualBoardOptions::default() });
        assert_eq!(camera.name(), "virtual camera showing grey");
        for _ in 0..10 {
            let (frame, bar) = next(&mut camera);
            let level = 40 + u8::try_from(bar.frame_number % 100).unwrap();
            assert!(frame.bytes().unwrap()[40 * 320..180 * 320].iter().all(|&v| v == level));
        }
        camera.controls().set(CameraControl::Exposure, 640).unwrap();
        let deadline = Timestamp::now() + Duration::from_secs(5);
        loop {
            let (frame, bar) = next(&mut camera);
            let level = 40 + u8::try_from(bar.frame_number % 100).unwrap();
            if frame.bytes().unwrap()[100 * 320] == 16 + 2 * (level - 16) {
                break;
            }
            assert!(Timestamp::now() < deadline, "exposure does not act on the recording");
        }
    }
}
