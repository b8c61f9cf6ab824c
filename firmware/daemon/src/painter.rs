//! Draws one of the room's screens on a thread of its own; the first also for the panel.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use rostrum_hal::{Frame, Timestamp, display::Display};
use rostrum_media::{Scene, Screen, jpeg};
use rostrum_panel::{CommandError, CommandErrorKind, Reply, Watchers};
use rostrum_room::Part;
use tokio::sync::watch;

use crate::{
    counters::Counters,
    input::{Health, Input, Inputs},
    loan::{Lender, Lent},
    screen::{Seats, Which},
};

/// Time between two looks whether the display is there, while nothing is drawn.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two turns while something moves or somebody looks, and while nothing does.
const MOVING: Duration = Duration::from_millis(33);
const RESTING: Duration = Duration::from_millis(200);
/// Time between two pictures for the panel.
const PANEL_INTERVAL: Duration = Duration::from_millis(100);
/// After this time the panel gets even a picture that it has: browsers show the one before the last.
const PANEL_REPEAT: Duration = Duration::from_secs(1);
/// Width of the panel's picture in pixels, and its JPEG quality.
const PANEL_PICTURE: (u32, u8) = (960, 70);

/// What a thread is told.
pub(crate) enum Told {
    Show(Scene),
    Snapshot(u8, Reply<Arc<Vec<u8>>>),
    Wake,
}

/// One screen and who draws it.
pub(crate) struct Painter {
    which: Which,
    screen: Screen,
    display: Option<Box<dyn Display>>,
    /// The display is away, to be tested.
    lent: Option<Lent<Box<dyn Display>>>,
    lender: Lender<Box<dyn Display>>,
    /// The panel's picture, of the first screen.
    panel: Option<PanelPicture>,
    health: Health,
    inputs: Inputs,
    last: Option<Frame>,
    told_seats: Seats,
    looked_at: Instant,
}

impl Painter {
    pub(crate) fn new(
        which: Which,
        screen: Screen,
        display: Option<Box<dyn Display>>,
        lender: Lender<Box<dyn Display>>,
        panel: Option<PanelPicture>,
        inputs: &Inputs,
    ) -> Self {
        let part = match which {
            Which::People => Part::Display,
            Which::Content => Part::ContentDisplay,
        };
        Self {
            which,
            screen,
            display,
            lent: None,
            lender,
            panel,
            health: Health::of(part, inputs),
            inputs: inputs.clone(),
            last: None,
            told_seats: Vec::new(),
            looked_at: Instant::now(),
        }
    }

    /// Starts the thread.
    pub(crate) fn start(mut self, name: &str) -> std::io::Result<mpsc::Sender<Told>> {
        let (told, orders) = mpsc::channel();
        let waker = told.clone();
        self.screen.set_waker(Box::new(move || drop(waker.send(Told::Wake))));
        std::thread::Builder::new().name(name.into()).spawn(move || self.run(&orders))?;
        Ok(told)
    }

    fn run(mut self, orders: &mpsc::Receiver<Told>) {
        loop {
            // The time limit is for what moves without a picture coming in, and for a panel that just began to look.
            let looks = self.panel.as_ref().is_some_and(|panel| panel.watchers.count() > 0);
            let moves = self.screen.due(Timestamp::now() + LOOK);
            let wait = if looks || moves { MOVING } else { RESTING };
            match orders.recv_timeout(wait) {
                Ok(order) => {
                    self.obey(order);
                    for order in orders.try_iter() {
                        self.obey(order);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            self.look_for_lent();
            let now = Timestamp::now();
            if self.screen.due(now) {
                self.draw(now);
            }
            if self.looked_at.elapsed() >= LOOK {
                self.look();
            }
            if let Some(panel) = &mut self.panel {
                panel.show(self.last.as_ref());
            }
        }
    }

    fn obey(&mut self, order: Told) {
        match order {
            Told::Show(scene) => {
                self.screen.set_scene(scene);
                let seats = self.screen.seats().into_iter();
                let seats: Seats = seats.map(|(id, place)| (id, (place.width, place.height))).collect();
                if seats != self.told_seats {
                    self.told_seats = seats.clone();
                    let _ = self.inputs.send(Input::Seats { screen: self.which, seats });
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

    /// Lends the display to who asks; one that is back shows what it missed.
    fn look_for_lent(&mut self) {
        // Without a display there is nothing to lend, which who asks is told by that.
        if let Some(ask) = self.lender.asked()
            && let Some(display) = self.display.take()
        {
            self.lent = Some(ask.lend(display));
        }
        if let Some(display) = self.lent.as_mut().and_then(Lent::returned) {
            self.lent = None;
            self.display = Some(display);
            self.draw(Timestamp::now());
        }
    }

    fn draw(&mut self, now: Timestamp) {
        let frame = self.screen.render(now);
        if let Some(display) = &mut self.display {
            match display.show(frame.clone()) {
                Ok(()) => self.health.healthy(),
                Err(error) => self.health.faulty(error),
            }
            self.looked_at = Instant::now();
        }
        if let Some(panel) = &mut self.panel {
            panel.stale = true;
            panel.counters.frame_shown();
        }
        self.last = Some(frame);
    }

    fn look(&mut self) {
        self.looked_at = Instant::now();
        if let Some(display) = &mut self.display {
            // One that failed proves itself with a picture, as not every screen can say how it is.
            let state = match &self.last {
                Some(last) if self.health.is_faulty() => display.show(last.clone()),
                _ => display.check(),
            };
            match state {
                Ok(()) => self.health.healthy(),
                Err(error) => self.health.faulty(error),
            }
        }
    }
}

/// The panel's picture of a screen.
pub(crate) struct PanelPicture {
    picture: watch::Sender<Option<Arc<Vec<u8>>>>,
    watchers: Watchers,
    counters: Arc<Counters>,
    shown_at: Instant,
    /// The panel has not seen the last drawing.
    stale: bool,
}

impl PanelPicture {
    pub(crate) fn new(
        picture: watch::Sender<Option<Arc<Vec<u8>>>>,
        watchers: Watchers,
        counters: Arc<Counters>,
    ) -> Self {
        Self { picture, watchers, counters, shown_at: Instant::now(), stale: true }
    }

    fn show(&mut self, last: Option<&Frame>) {
        if self.watchers.count() == 0 {
            self.stale = true; // the next to look gets a picture at once
            return;
        }
        let interval = if self.stale { PANEL_INTERVAL } else { PANEL_REPEAT };
        if self.shown_at.elapsed() < interval {
            return;
        }
        if let Some(frame) = last {
            let (width, quality) = PANEL_PICTURE;
            match jpeg(frame, width, quality) {
                Ok(picture) => drop(self.picture.send_replace(Some(Arc::new(picture)))),
                Err(error) => log::warn!(error:%; "no picture for the panel"),
            }
            self.shown_at = Instant::now();
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
