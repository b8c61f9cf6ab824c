//! Recordings for the virtual board: any file that GStreamer decodes, in an endless loop.
//!
//! A thread for each of picture and sound decodes a little ahead into a small store, so that a whole film
//! never sits in memory and the next round follows the last without a gap.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use rostrum_hal::{
    FrameSize,
    sim::{ClipAudio, ClipFrame, ClipSource, ClipVideo},
};

use crate::{
    BoardError,
    clip_stream::{self, ClipStream, Taken, Wanted},
    elements,
};

/// Pictures that are decoded ahead.
const PICTURES_AHEAD: usize = 8;
/// Samples that are decoded ahead: half a second.
const SAMPLES_AHEAD: u64 = 24_000;
/// Sound whose time is off by less follows what came before: 5 ms.
const SAMPLE_TOLERANCE: u64 = 240;
/// How often a reader that waits for room looks whether it is still needed.
const GLANCE: Duration = Duration::from_millis(50);

/// A recording that can be played.
pub struct Clip {
    file: Arc<File>,
}

/// What is known of the file.
struct File {
    path: PathBuf,
    /// Length of a round.
    length: Duration,
    frame_rate_hz: f64,
    /// Time of the first picture.
    first: Duration,
    has_sound: bool,
}

impl Clip {
    /// Opens a recording and decodes its first picture.
    ///
    /// # Errors
    /// [`BoardError::Clip`], which says what is wrong with it; [`BoardError::MissingElement`].
    pub fn open(path: &Path) -> Result<Self, BoardError> {
        for element in ["decodebin", "appsink", "videoconvert", "videoscale", "audioconvert", "audioresample"]
        {
            elements::require(element)?;
        }
        let wrong = |message: String| BoardError::Clip { path: path.into(), message };
        // GStreamer says "resource not found" for a folder too.
        let metadata = std::fs::metadata(path).map_err(|e| wrong(e.to_string()))?;
        if !metadata.is_file() {
            return Err(wrong("it is not a file".into()));
        }
        std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
        let file = examine(path).map_err(wrong)?;
        Ok(Self { file: Arc::new(file) })
    }

    /// Length of a round.
    pub fn length(&self) -> Duration {
        self.file.length
    }

    /// Whether it has sound.
    pub fn has_sound(&self) -> bool {
        self.file.has_sound
    }
}

fn examine(path: &Path) -> Result<File, String> {
    let stream = ClipStream::open(path, Wanted::Picture)?;
    let (sample, first) = stream.first()?;
    let caps = sample.caps().ok_or("its pictures have no format")?;
    let info = gstreamer_video::VideoInfo::from_caps(caps).map_err(|e| e.to_string())?;
    let rate = info.fps();
    let frame_rate_hz =
        if rate.numer() > 0 { f64::from(rate.numer()) / f64::from(rate.denom()) } else { 30.0 };
    let has_sound = stream.has_sound();
    let length = match stream.duration() {
        Some(length) => length,
        None => played_through(&stream, first)? + Duration::from_secs_f64(1.0 / frame_rate_hz),
    };
    Ok(File {
        path: path.into(),
        length: length.max(Duration::from_millis(1)),
        frame_rate_hz,
        first,
        has_sound,
    })
}

/// Time from the first to the last picture of a file that does not say how long it is.
fn played_through(stream: &ClipStream, first: Duration) -> Result<Duration, String> {
    let mut last = first;
    loop {
        match stream.take() {
            Taken::Sample(_, time) => last = last.max(time),
            Taken::End => return Ok(last - first),
            Taken::Nothing => {
                if let Some(error) = stream.error() {
                    return Err(error);
                }
            }
        }
    }
}

impl ClipSource for Clip {
    fn name(&self) -> String {
        let name = self.file.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn frame_rate_hz(&self) -> f64 {
        self.file.frame_rate_hz
    }

    fn video(&self, size: FrameSize, from: Duration) -> Box<dyn ClipVideo> {
        let store = Arc::new(Store::<Pictures>::default());
        let reader =
            Reader::spawn("clip-video", self.file.clone(), Wanted::PictureOf(size), from, store.clone());
        Box::new(Video { store, _reader: reader })
    }

    fn audio(&self, from: Duration) -> Option<Box<dyn ClipAudio>> {
        if !self.file.has_sound {
            return None;
        }
        let store = Arc::new(Store::new(Samples { next: samples_in(from), ..Samples::default() }));
        let reader = Reader::spawn("clip-audio", self.file.clone(), Wanted::Sound, from, store.clone());
        Some(Box::new(Audio { store, _reader: reader }))
    }
}

/// What was decoded and waits for its time.
#[derive(Default)]
struct Store<T> {
    content: Mutex<T>,
    changed: Condvar,
    stop: std::sync::atomic::AtomicBool,
}

impl<T> Store<T> {
    fn new(content: T) -> Self {
        Self { content: Mutex::new(content), changed: Condvar::new(), stop: false.into() }
    }

    fn stopped(&self) -> bool {
        self.stop.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// Something that a reader fills.
trait Fill: Send + 'static {
    /// Nothing more is needed for now.
    fn is_full(&self) -> bool;

    /// Takes a sample whose place in time, counted over all rounds, is `position`.
    fn fill(&mut self, sample: &gstreamer::Sample, position: Duration, file: &File);
}

/// Pictures in the order of their positions.
#[derive(Default)]
struct Pictures(VecDeque<(Duration, ClipFrame)>);

impl Fill for Pictures {
    fn is_full(&self) -> bool {
        self.0.len() >= PICTURES_AHEAD
    }

    fn fill(&mut self, sample: &gstreamer::Sample, position: Duration, file: &File) {
        let Some(bytes) = clip_stream::picture(sample) else { return };
        let in_round = position.as_nanos() % file.length.as_nanos();
        // Half a picture more, as times are cut to nanoseconds or to the container's milliseconds.
        let index = (in_round as f64 / 1e9 * file.frame_rate_hz + 0.5) as u32;
        self.0.push_back((position, ClipFrame { index, bytes }));
    }
}

/// Samples without gaps.
#[derive(Default)]
struct Samples {
    waiting: VecDeque<Piece>,
    /// Samples in all pieces.
    length: u64,
    /// Place of the sample after the last that waits.
    next: u64,
    /// Samples that were given as silence, as they were late.
    owed: u64,
}

enum Piece {
    /// So many samples; the end of a film may be silent for long.
    Silence(u64),
    Sound(VecDeque<f32>),
}

impl Samples {
    fn push(&mut self, piece: Piece) {
        let length = match &piece {
            Piece::Silence(length) => *length,
            Piece::Sound(samples) => samples.len() as u64,
        };
        self.next += length;
        self.length += length;
        self.waiting.push_back(piece);
        while self.owed > 0 && self.length > 0 {
            self.pop();
            self.owed -= 1;
        }
    }

    fn pop(&mut self) -> Option<f32> {
        loop {
            let sample = match self.waiting.front_mut()? {
                Piece::Silence(0) => None,
                Piece::Silence(left) => {
                    *left -= 1;
                    Some(0.0)
                }
                Piece::Sound(samples) => samples.pop_front(),
            };
            if sample.is_some() {
                self.length -= 1;
                return sample;
            }
            self.waiting.pop_front();
        }
    }
}

impl Fill for Samples {
    fn is_full(&self) -> bool {
        self.length >= SAMPLES_AHEAD
    }

    fn fill(&mut self, sample: &gstreamer::Sample, position: Duration, _: &File) {
        let Some(map) = sample.buffer().and_then(|b| b.map_readable().ok()) else { return };
        let place = samples_in(position);
        // A gap in the file, or the silence between the end of its sound and the next round.
        let gap = place.saturating_sub(self.next);
        if gap > SAMPLE_TOLERANCE {
            self.push(Piece::Silence(gap));
        }
        // A decoder's overlap, or the way to a seek's target.
        let overlap = self.next.saturating_sub(place);
        let overlap =
            if overlap > SAMPLE_TOLERANCE { usize::try_from(overlap).unwrap_or(usize::MAX) } else { 0 };
        let values = map.chunks_exact(4).skip(overlap).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        self.push(Piece::Sound(values.collect()));
    }
}

/// The 48 kHz sample at `position`.
fn samples_in(position: Duration) -> u64 {
    u64::try_from((position.as_nanos() * 3 + 31_250) / 62_500).unwrap_or(u64::MAX)
}

/// The thread that decodes.
struct Reader {
    thread: Option<JoinHandle<()>>,
    stop: Box<dyn Fn() + Send>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        (self.stop)();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Reader {
    fn spawn<T: Fill>(
        name: &str,
        file: Arc<File>,
        wanted: Wanted,
        from: Duration,
        store: Arc<Store<T>>,
    ) -> Self {
        let stop = {
            let store = store.clone();
            Box::new(move || {
                store.stop.store(true, std::sync::atomic::Ordering::Release);
                store.changed.notify_all();
            })
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            if let Err(message) = play(&file, wanted, from, &store) {
                log::warn!(clip = file.path.display().to_string().as_str(); "recording stopped: {message}");
            }
        });
        if let Err(error) = &thread {
            log::warn!("recording does not play: {error}");
        }
        Self { thread: thread.ok(), stop }
    }
}

/// Decodes round after round from the position `from`.
fn play<T: Fill>(file: &File, wanted: Wanted, from: Duration, store: &Store<T>) -> Result<(), String> {
    let mut round = u32::try_from(from.as_nanos() / file.length.as_nanos()).map_err(|e| e.to_string())?;
    let mut stream = ClipStream::open(&file.path, wanted)?;
    let begin = from.saturating_sub(file.length * round);
    if begin > Duration::from_millis(200) {
        // A file that cannot seek plays from its start, and what is too early is passed over.
        stream.first()?;
        stream.seek(file.first + begin);
    }
    let mut taken_in_round = false;
    while !store.stopped() {
        match stream.take() {
            Taken::Sample(sample, time) => {
                taken_in_round = true;
                let in_round = time.saturating_sub(file.first);
                if in_round >= file.length {
                    continue;
                }
                let mut content = store.content.lock();
                while content.is_full() && !store.stopped() {
                    store.changed.wait_for(&mut content, GLANCE);
                }
                content.fill(&sample, file.length * round + in_round, file);
            }
            Taken::End if !taken_in_round => return Err("a whole round gave nothing".into()),
            Taken::End => {
                round += 1;
                taken_in_round = false;
                if !stream.seek(Duration::ZERO) {
                    stream = ClipStream::open(&file.path, wanted)?;
                }
            }
            Taken::Nothing => {
                if let Some(error) = stream.error() {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

struct Video {
    store: Arc<Store<Pictures>>,
    _reader: Reader,
}

impl ClipVideo for Video {
    fn frame_at(&mut self, position: Duration) -> Option<ClipFrame> {
        let mut pictures = self.store.content.lock();
        let due = pictures.0.partition_point(|(at, _)| *at <= position);
        let newest = pictures.0.drain(..due).next_back();
        drop(pictures);
        self.store.changed.notify_all();
        newest.map(|(_, frame)| frame)
    }
}

struct Audio {
    store: Arc<Store<Samples>>,
    _reader: Reader,
}

impl ClipAudio for Audio {
    fn read(&mut self, samples: &mut [f32]) {
        let mut content = self.store.content.lock();
        for sample in samples {
            *sample = match content.pop() {
                Some(value) => value,
                None => {
                    content.owed += 1;
                    0.0
                }
            };
        }
        drop(content);
        self.store.changed.notify_all();
    }
}
