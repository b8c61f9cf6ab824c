//! The picture on the room's screen: who is here, or what somebody shares, or what to do.
//!
//! Pictures come in from the decoders' threads through [`ScreenInput`], of each source only the newest is
//! kept, and [`Screen::render`] redraws only what changed.

mod canvas;
mod draw;
mod text;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rostrum_hal::{Frame, FrameData, FrameSize, PixelFormat, Timestamp};

use crate::{
    MediaError, Rect,
    layout::{Cell, Layout, floor_even, layout, letterbox},
    picture::{Scaler, Target, checked_bytes},
};
use canvas::Canvas;

/// One participant on the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seat {
    /// Names the participant's camera in [`ScreenInput::push`]; no two are the same.
    pub id: String,
    /// To be written under the picture.
    pub name: String,
    /// The camera is on; without it, and until its first picture, the initials are shown.
    pub video: bool,
    /// Speaks now.
    pub speaking: bool,
    /// The microphone is off.
    pub muted: bool,
}

/// What somebody shares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Names the shared picture in [`ScreenInput::push`]; not the id of a seat.
    pub id: String,
    /// Who shares.
    pub name: String,
}

/// A room that is in no channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Idle {
    /// Large: the room's name.
    pub title: String,
    /// Under it: what to do, or what is wrong.
    pub hint: String,
}

/// A room that is in a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meeting {
    /// The others, in the order of their places.
    pub seats: Vec<Seat>,
    /// What is shared; the seats are then small beside it.
    pub share: Option<Share>,
    /// Show the room's own picture, small: in the corner, or after the others beside what is shared.
    pub self_view: bool,
    /// What to write while nobody else is here.
    pub empty: String,
}

impl Meeting {
    /// What a screen for content alone shows: what is shared, else who speaks, each alone and as large as can be.
    pub fn content(share: Option<Share>, speaker: Option<Seat>) -> Self {
        let seats = if share.is_some() { Vec::new() } else { speaker.into_iter().collect() };
        Self { seats, share, ..Self::default() }
    }
}

/// What the screen shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scene {
    /// In no channel.
    Idle(Idle),
    /// In a channel.
    Meeting(Meeting),
}

/// Where pictures enter; cheap to clone, for any thread.
#[derive(Clone)]
pub struct ScreenInput(Arc<Mutex<Inputs>>);

/// What came in since the last time that the screen was drawn.
#[derive(Default)]
struct Inputs {
    /// Sources that have a place.
    known: HashSet<String>,
    frames: HashMap<String, Frame>,
    self_frame: Option<Frame>,
    wants_self: bool,
    waker: Option<Box<dyn Fn() + Send + Sync>>,
}

impl ScreenInput {
    /// Shows `frame` as the newest picture of `id`, in place of one that waits. Pictures of sources without
    /// a place are dropped.
    pub fn push(&self, id: &str, frame: Frame) {
        let mut inputs = self.0.lock();
        if inputs.known.contains(id) {
            inputs.frames.insert(id.to_owned(), frame);
            inputs.wake();
        }
    }

    /// The same for the room's own picture.
    pub fn push_self(&self, frame: Frame) {
        let mut inputs = self.0.lock();
        if inputs.wants_self {
            inputs.self_frame = Some(frame);
            inputs.wake();
        }
    }
}

impl Inputs {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker();
        }
    }

    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.self_frame.is_none()
    }
}

/// The picture on the room's screen.
pub struct Screen {
    size: FrameSize,
    frame_rate_hz: f64,
    scene: Scene,
    layout: Layout,
    /// The room's own place beside a share.
    self_cell: Option<Cell>,
    canvas: Canvas,
    inputs: ScreenInput,
    tiles: HashMap<String, Tile>,
    self_tile: Tile,
    /// Everything must be drawn again.
    stale: bool,
    last: Option<Frame>,
    sequence: u64,
}

/// What is known of one picture on the screen.
struct Tile {
    frame: Option<Frame>,
    scaler: Option<Scaler>,
    /// Where it was drawn last; none when it must be drawn with what is around it.
    drawn: Option<Rect>,
    picture_stale: bool,
    name_stale: bool,
}

impl Default for Tile {
    fn default() -> Self {
        Self { frame: None, scaler: None, drawn: None, picture_stale: true, name_stale: true }
    }
}

impl Screen {
    /// A screen of `size` (at least 160x90; both sides are made even) that is drawn at most `frame_rate_hz`
    /// times a second.
    ///
    /// # Errors
    /// [`MediaError::Start`].
    pub fn new(size: FrameSize, frame_rate_hz: f64) -> Result<Self, MediaError> {
        crate::elements::start()?;
        let size =
            FrameSize::new(floor_even(size.width.clamp(160, 8192)), floor_even(size.height.clamp(90, 8192)));
        let frame_rate_hz = if frame_rate_hz.is_finite() { frame_rate_hz.clamp(1.0, 120.0) } else { 30.0 };
        Ok(Self {
            size,
            frame_rate_hz,
            scene: Scene::Idle(Idle::default()),
            layout: Layout::default(),
            self_cell: None,
            canvas: Canvas::new(size),
            inputs: ScreenInput(Arc::default()),
            tiles: HashMap::new(),
            self_tile: Tile::default(),
            stale: true,
            last: None,
            sequence: 0,
        })
    }

    /// Where pictures enter, to be given to the decoders.
    pub fn input(&self) -> ScreenInput {
        self.inputs.clone()
    }

    /// See [`ScreenInput::push`].
    pub fn push(&self, id: &str, frame: Frame) {
        self.inputs.push(id, frame);
    }

    /// Calls `waker`, on the pushing thread, whenever a picture came in: time to look at [`Screen::due`]. It
    /// must not block and not call the screen.
    pub fn set_waker(&mut self, waker: Box<dyn Fn() + Send + Sync>) {
        self.inputs.0.lock().waker = Some(waker);
    }

    /// Shows `scene` from the next drawing on. Sources that are still there keep their picture.
    pub fn set_scene(&mut self, scene: Scene) {
        if scene == self.scene {
            return;
        }
        self.self_cell = None;
        let (layout, stale) = match (&self.scene, &scene) {
            (_, Scene::Idle(_)) => (Layout::default(), true),
            (before, Scene::Meeting(meeting)) => {
                let sharing = meeting.share.is_some();
                let in_strip = sharing && meeting.self_view;
                let mut layout = layout(self.size, meeting.seats.len() + usize::from(in_strip), sharing);
                if in_strip {
                    self.self_cell = layout.seats.pop();
                }
                (layout, !before.same_places(meeting))
            }
        };
        self.layout = layout;
        self.stale |= stale;
        let ids: HashSet<String> = scene.ids().map(str::to_owned).collect();
        self.tiles.retain(|id, _| ids.contains(id));
        for id in &ids {
            self.tiles.entry(id.clone()).or_default();
        }
        if let Scene::Meeting(meeting) = &scene {
            for seat in &meeting.seats {
                let before = self.scene.seat(&seat.id);
                let Some(tile) = self.tiles.get_mut(&seat.id) else { continue };
                tile.name_stale |= before != Some(seat);
                if before.map(|before| (before.video, &before.name)) != Some((seat.video, &seat.name)) {
                    tile.picture_stale = true;
                }
                if !seat.video {
                    tile.frame = None;
                    tile.drawn = None;
                }
            }
        }
        let mut inputs = self.inputs.0.lock();
        inputs.wants_self = matches!(&scene, Scene::Meeting(meeting) if meeting.self_view);
        if !inputs.wants_self {
            inputs.self_frame = None;
            self.self_tile = Tile::default();
        }
        inputs.known = scene.ids_with_video().map(str::to_owned).collect();
        let Inputs { known, frames, .. } = &mut *inputs;
        frames.retain(|id, _| known.contains(id));
        drop(inputs);
        self.scene = scene;
        // What changed beside pictures is shown though no picture comes.
        self.last = None;
    }

    /// What it shows.
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Where each source's picture goes, in pixels, to ask the service for pictures of a fitting size. A source
    /// without a place is left out.
    pub fn seats(&self) -> Vec<(String, Rect)> {
        self.places().map(|(id, cell)| (id.to_owned(), cell.picture)).collect()
    }

    /// Something changed since the last drawing, and that was long enough ago for the frame rate.
    pub fn due(&self, now: Timestamp) -> bool {
        let Some(last) = &self.last else { return true };
        // A tenth earlier is in time for callers whose timers are late now and then.
        let interval = Duration::from_secs_f64(0.9 / self.frame_rate_hz);
        now.saturating_since(last.capture_time) >= interval && !self.inputs.0.lock().is_empty()
    }

    /// Draws what changed, and gives the whole as [`PixelFormat::Yuv420`], due `now`.
    pub fn render(&mut self, now: Timestamp) -> Frame {
        self.take_inputs();
        // What was under the room's own picture must come back when that changes its shape.
        self.stale |= self.self_tile.drawn.is_some() && self.self_tile.drawn != self.self_place();
        if self.stale {
            self.canvas.fill(Rect::new(0, 0, self.size.width, self.size.height), draw::BACKGROUND);
            for tile in self.tiles.values_mut().chain([&mut self.self_tile]) {
                *tile = Tile { frame: tile.frame.take(), ..Tile::default() };
            }
            match &self.scene {
                Scene::Idle(idle) => draw::notice(&mut self.canvas, &idle.title, &idle.hint),
                Scene::Meeting(meeting) if meeting.seats.is_empty() && meeting.share.is_none() => {
                    draw::notice(&mut self.canvas, "", &meeting.empty);
                }
                Scene::Meeting(_) => {}
            }
            self.stale = false;
        }
        self.draw_seats();
        self.draw_self();
        self.sequence += 1;
        let frame = Frame {
            capture_time: now,
            sequence: self.sequence,
            format: PixelFormat::Yuv420,
            size: self.size,
            data: FrameData::Bytes(self.canvas.bytes().into()),
        };
        self.last = Some(frame.clone());
        frame
    }

    fn take_inputs(&mut self) {
        let mut inputs = self.inputs.0.lock();
        for (id, frame) in inputs.frames.drain() {
            if let Some(tile) = self.tiles.get_mut(&id) {
                tile.frame = Some(frame);
                tile.picture_stale = true;
            }
        }
        if let Some(frame) = inputs.self_frame.take() {
            self.self_tile.frame = Some(frame);
            self.self_tile.picture_stale = true;
        }
    }

    /// Sources and their cells, the share first.
    fn places(&self) -> impl Iterator<Item = (&str, Cell)> {
        let (share, seats) = match &self.scene {
            Scene::Idle(_) => (None, [].as_slice()),
            Scene::Meeting(meeting) => (meeting.share.as_ref(), meeting.seats.as_slice()),
        };
        let share = share.zip(self.layout.share).map(|(share, cell)| (share.id.as_str(), cell));
        share
            .into_iter()
            .chain(seats.iter().zip(&self.layout.seats).map(|(seat, cell)| (seat.id.as_str(), *cell)))
    }

    fn draw_seats(&mut self) {
        let Scene::Meeting(meeting) = &self.scene else { return };
        let canvas = &mut self.canvas;
        if let (Some(share), Some(cell)) = (&meeting.share, self.layout.share)
            && let Some(tile) = self.tiles.get_mut(&share.id)
        {
            tile.draw_picture(canvas, cell.picture, |canvas| canvas.fill(cell.picture, draw::LETTERBOX));
            if std::mem::take(&mut tile.name_stale) {
                draw::name(canvas, cell.name, &share.name, false);
            }
        }
        for (seat, cell) in meeting.seats.iter().zip(&self.layout.seats) {
            let Some(tile) = self.tiles.get_mut(&seat.id) else { continue };
            tile.draw_picture(canvas, cell.picture, |canvas| {
                draw::placeholder(canvas, cell.picture, &seat.id, &seat.name);
            });
            if std::mem::take(&mut tile.name_stale) {
                draw::name(canvas, cell.name, &seat.name, seat.muted);
                draw::speaking(canvas, *cell, self.layout.gap, seat.speaking);
            }
        }
    }

    /// Where the room's own picture goes: in its cell, or in the corner, over the others.
    fn self_place(&self) -> Option<Rect> {
        let frame = self.self_tile.frame.as_ref()?;
        if let Some(cell) = self.self_cell {
            return Some(letterbox(cell.picture, frame.size));
        }
        let (width, height) = (floor_even(self.size.width / 5), floor_even(self.size.height / 5));
        let place = letterbox(Rect::new(0, 0, width, height), frame.size);
        let margin = floor_even(self.size.height / 15);
        let (x, y) = (place.width + margin, place.height + margin);
        Some(Rect { x: floor_even(self.size.width - x), y: floor_even(self.size.height - y), ..place })
    }

    /// After the others each time, as it may lie over them.
    fn draw_self(&mut self) {
        let Some(place) = self.self_place() else { return };
        self.self_tile.picture_stale = true;
        self.self_tile.draw_picture(&mut self.canvas, place, |_| {});
    }
}

impl Scene {
    fn meeting(&self) -> Option<&Meeting> {
        match self {
            Self::Idle(_) => None,
            Self::Meeting(meeting) => Some(meeting),
        }
    }

    fn seat(&self, id: &str) -> Option<&Seat> {
        self.meeting()?.seats.iter().find(|seat| seat.id == id)
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        let share = self.meeting().and_then(|meeting| meeting.share.as_ref()).map(|share| share.id.as_str());
        let seats = self.meeting().map_or([].as_slice(), |meeting| meeting.seats.as_slice());
        share.into_iter().chain(seats.iter().map(|seat| seat.id.as_str()))
    }

    fn ids_with_video(&self) -> impl Iterator<Item = &str> {
        self.ids().filter(|id| self.seat(id).is_none_or(|seat| seat.video))
    }

    /// All stands where it stood, whatever is written and marked there.
    fn same_places(&self, after: &Meeting) -> bool {
        self.meeting().is_some_and(|before| {
            before.share == after.share
                && before.self_view == after.self_view
                && before.empty == after.empty
                && before.seats.iter().map(|seat| &seat.id).eq(after.seats.iter().map(|seat| &seat.id))
        })
    }
}

impl Tile {
    /// Draws the newest picture within `place`, or `nothing` without one.
    fn draw_picture(&mut self, canvas: &mut Canvas, place: Rect, nothing: impl FnOnce(&mut Canvas)) {
        if !std::mem::take(&mut self.picture_stale) {
            return;
        }
        let Some(frame) = &self.frame else {
            nothing(canvas);
            return;
        };
        let target = letterbox(place, frame.size);
        if self.drawn != Some(target) {
            canvas.fill(place, draw::LETTERBOX);
            self.drawn = Some(target);
        }
        if frame.format == PixelFormat::Yuv420
            && frame.size == target.size()
            && let Ok(bytes) = checked_bytes(frame)
        {
            canvas.blit(target, bytes);
            return;
        }
        if self.scaler.as_ref().is_none_or(|scaler| scaler.size() != target.size()) {
            self.scaler = None;
        }
        let scaler = self.scaler.get_or_insert_with(|| Scaler::new(Target::Yuv420(target.size())));
        match scaler.scale(frame) {
            Ok(bytes) => canvas.blit(target, &bytes),
            Err(error) => log::debug!(error:%; "a picture cannot be shown"),
        }
    }
}
