//! Decoded pictures to the room's screen, and from there to the panel, on a thread of its own.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use rostrum_hal::{Frame, Timestamp, display::Display};
use rostrum_media::{Idle, Meeting, Scene, Screen, ScreenInput, Seat, Share, jpeg};
use rostrum_panel::{CommandError, CommandErrorKind, Reply, Watchers};
use rostrum_room::{Part, Phase};
use tokio::sync::watch;

use crate::{
    counters::Counters,
    input::{Health, Input, Inputs},
};

/// Pictures a second on the screen at most.
const FRAME_RATE_HZ: f64 = 30.0;
/// Time between two pictures for the panel.
const PANEL_INTERVAL: Duration = Duration::from_millis(100);
/// After this time the panel gets even a picture that it has: browsers show the one before the last.
const PANEL_REPEAT: Duration = Duration::from_secs(1);
/// Width of the panel's picture in pixels, and its JPEG quality.
const PANEL_PICTURE: (u32, u8) = (960, 70);

/// What the screen is to show.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScreenView {
    pub(crate) phase: Phase,
    pub(crate) muted: bool,
    pub(crate) channel: String,
    pub(crate) seats: (Vec<Seat>, Option<Share>),
    pub(crate) self_view: bool,
}

impl ScreenView {
    fn scene(&self) -> Scene {
        let idle = |hint: &str| Scene::Idle(Idle { title: self.channel.clone(), hint: hint.to_owned() });
        match self.phase {
            Phase::Idle => idle("Press Join to begin"),
            Phase::Joining => idle("Joining ..."),
            Phase::Leaving => idle("Leaving ..."),
            Phase::Reconnecting => idle("The connection was lost. Trying again ..."),
            Phase::InChannel => Scene::Meeting(Meeting {
                seats: self.seats.0.clone(),
                share: self.seats.1.clone(),
                self_view: self.self_view,
                empty: if self.muted {
                    "Nobody else is here yet. You are muted."
                } else {
                    "Nobody else is here yet."
                }
                .into(),
            }),
        }
    }
}

/// Where pictures enter.
#[derive(Clone)]
pub(crate) struct ScreenFeed {
    input: ScreenInput,
}

impl ScreenFeed {
    /// The newest picture of a track.
    pub(crate) fn push(&self, track: &str, frame: Frame) {
        self.input.push(track, frame);
    }

    /// The newest picture of the room itself.
    pub(crate) fn push_self_view(&self, frame: Frame) {
        self.input.push_self(frame);
    }
}

/// What the thread is told.
enum Told {
    Show(ScreenView),
    Snapshot(u8, Reply<Arc<Vec<u8>>>),
    Wake,
}

/// The deciding task's end.
pub(crate) struct ScreenControl {
    told: mpsc::Sender<Told>,
    shown: Option<ScreenView>,
}

impl ScreenControl {
    /// Shows `view` from now on.
    pub(crate) fn show(&mut self, view: ScreenView) {
        if self.shown.as_ref() != Some(&view) {
            self.shown = Some(view.clone());
            // The thread ends only with the program.
            let _ = self.told.send(Told::Show(view));
        }
    }

    /// Makes one picture of the screen in its full size.
    pub(crate) fn snapshot(&self, quality: u8, reply: Reply<Arc<Vec<u8>>>) {
        let _ = self.told.send(Told::Snapshot(quality, reply));
    }
}

/// What the thread works with.
pub(crate) struct ScreenWiring {
    pub(crate) display: Option<Box<dyn Display>>,
    pub(crate) picture: watch::Sender<Option<Arc<Vec<u8>>>>,
    pub(crate) watchers: Watchers,
    pub(crate) counters: Arc<Counters>,
    pub(crate) inputs: Inputs,
}

/// Starts the thread. It runs as long as the program; without a display it draws for the panel alone.
///
/// # Errors
/// When the media library cannot be started.
pub(crate) fn start(wiring: ScreenWiring) -> anyhow::Result<(ScreenFeed, ScreenControl)> {
    let size =
        wiring.display.as_ref().map_or(rostrum_hal::FrameSize::new(1280, 720), |display| display.size());
    let mut screen = Screen::new(size, FRAME_RATE_HZ)?;
    let (told, orders) = mpsc::channel();
    let feed = ScreenFeed { input: screen.input() };
    let waker = told.clone();
    screen.set_waker(Box::new(move || drop(waker.send(Told::Wake))));
    let health = Health::of(Part::Display, &wiring.inputs);
    let painter = Painter {
        screen,
        wiring,
        health,
        last: None,
        told_seats: Vec::new(),
        panel_at: Instant::now(),
        stale: true,
    };
    std::thread::Builder::new().name("screen".into()).spawn(move || painter.run(&orders))?;
    Ok((feed, ScreenControl { told, shown: None }))
}

struct Painter {
    screen: Screen,
    wiring: ScreenWiring,
    health: Health,
    last: Option<Frame>,
    told_seats: Vec<(String, (u32, u32))>,
    panel_at: Instant,
    /// The panel has not seen the last drawing.
    stale: bool,
}

impl Painter {
    fn run(mut self, orders: &mpsc::Receiver<Told>) {
        loop {
            // The time limit is for what moves without a picture coming in, and for a panel that just began to look.
            match orders.recv_timeout(Duration::from_millis(33)) {
                Ok(order) => {
                    self.obey(order);
                    for order in orders.try_iter() {
                        self.obey(order);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            let now = Timestamp::now();
            if self.screen.due(now) {
                self.draw(now);
            }
            self.show_panel();
        }
    }

    fn obey(&mut self, order: Told) {
        match order {
            Told::Show(view) => {
                self.screen.set_scene(view.scene());
                let seats = self.screen.seats().into_iter();
                let seats: Vec<_> = seats.map(|(id, place)| (id, (place.width, place.height))).collect();
                if seats != self.told_seats {
                    self.told_seats = seats.clone();
                    let _ = self.wiring.inputs.send(Input::Seats(seats));
                }
            }
            Told::Snapshot(quality, reply) => {
                let now = Timestamp::now();
                if self.last.is_none() {
                    self.draw(now);
                }
                let picture = self.last.as_ref().map(|frame| jpeg(frame, frame.size.width, quality));
                let _ = reply.send(match picture {
                    Some(Ok(bytes)) => Ok(Arc::new(bytes)),
                    Some(Err(error)) => Err(no_picture(error.to_string())),
                    None => Err(no_picture("nothing was drawn yet".into())),
                });
            }
            Told::Wake => {}
        }
    }

    fn draw(&mut self, now: Timestamp) {
        let frame = self.screen.render(now);
        if let Some(display) = &mut self.wiring.display {
            match display.show(frame.clone()) {
                Ok(()) => self.health.healthy(),
                Err(error) => self.health.faulty(error),
            }
        }
        self.wiring.counters.frame_shown();
        self.last = Some(frame);
        self.stale = true;
    }

    fn show_panel(&mut self) {
        if self.wiring.watchers.count() == 0 {
            self.stale = true; // the next to look gets a picture at once
            return;
        }
        let interval = if self.stale { PANEL_INTERVAL } else { PANEL_REPEAT };
        if self.panel_at.elapsed() < interval {
            return;
        }
        if let Some(frame) = &self.last {
            let (width, quality) = PANEL_PICTURE;
            match jpeg(frame, width, quality) {
                Ok(picture) => drop(self.wiring.picture.send_replace(Some(Arc::new(picture)))),
                Err(error) => log::warn!(error:%; "no picture for the panel"),
            }
            self.panel_at = Instant::now();
            self.stale = false;
        }
    }
}

fn no_picture(message: String) -> CommandError {
    CommandError {
        kind: CommandErrorKind::Unavailable,
        code: "no_picture".into(),
        message: format!("There is no picture of the screen: {message}."),
        hint: "Try again in a moment.".into(),
    }
}
