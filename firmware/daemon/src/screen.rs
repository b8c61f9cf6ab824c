//! What the room's screens show, and where pictures enter. One thread a screen draws ([`crate::painter`]).

use std::sync::{Arc, mpsc};

use rostrum_hal::{Frame, FrameSize, display::Display};
use rostrum_media::{Idle, Meeting, Scene, Screen, ScreenInput, Seat, Share};
use rostrum_panel::{Reply, Watchers};
use rostrum_room::{Phase, Reset};
use tokio::sync::watch;

use crate::{
    counters::Counters,
    input::Inputs,
    loan::Lender,
    painter::{Painter, PanelPicture, Told},
};

/// Pictures a second on a screen at most.
const FRAME_RATE_HZ: f64 = 30.0;
/// What is drawn for the panel of a board without a screen.
const WITHOUT_A_SCREEN: FrameSize = FrameSize::new(1280, 720);

/// Which of the room's screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The first, or the only one.
    People,
    /// The second, for what is shared.
    Content,
}

/// Places on a screen: name of the track, and pixels of its picture.
pub(crate) type Seats = Vec<(String, (u32, u32))>;

/// What the screens are to show.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScreenView {
    pub(crate) phase: Phase,
    pub(crate) muted: bool,
    /// A reset to factory, which hides all the rest.
    pub(crate) reset: Option<Reset>,
    pub(crate) channel: String,
    pub(crate) seats: (Vec<Seat>, Option<Share>),
    pub(crate) self_view: bool,
    /// Who is large on the second screen while nothing is shared.
    pub(crate) spotlight: Option<Seat>,
    /// There is a second screen and it works; without it the first shows what is shared as well.
    pub(crate) two_screens: bool,
}

impl ScreenView {
    /// What the first screen shows.
    fn scene(&self) -> Scene {
        let idle = |hint: &str| Scene::Idle(Idle { title: self.channel.clone(), hint: hint.to_owned() });
        match self.reset {
            Some(Reset::CountingDown { seconds_left }) => {
                let hint =
                    format!("Reset to factory in {seconds_left} s. Let the buttons go to keep everything.");
                return idle(&hint);
            }
            Some(Reset::Resetting) => return idle("Resetting to factory. Leave it on power ..."),
            None => {}
        }
        match self.phase {
            Phase::Idle => idle("Press Join to begin"),
            Phase::Joining => idle("Joining ..."),
            Phase::Leaving => idle("Leaving ..."),
            Phase::Reconnecting => idle("The connection was lost. Trying again ..."),
            Phase::InChannel => Scene::Meeting(Meeting {
                seats: self.seats.0.clone(),
                share: self.seats.1.clone().filter(|_| !self.two_screens),
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

    /// What the second shows: what is shared, else who speaks, else only the room's name.
    fn content_scene(&self) -> Scene {
        let (share, speaker) = (self.seats.1.clone(), self.spotlight.clone());
        // One that is unplugged asks for no picture.
        let meets = self.two_screens && self.phase == Phase::InChannel;
        if meets && (share.is_some() || speaker.is_some()) {
            Scene::Meeting(Meeting::content(share, speaker))
        } else {
            Scene::Idle(Idle { title: self.channel.clone(), hint: String::new() })
        }
    }
}

/// Where pictures enter.
#[derive(Clone)]
pub(crate) struct ScreenFeed {
    inputs: Vec<ScreenInput>,
}

impl ScreenFeed {
    /// The newest picture of a track.
    pub(crate) fn push(&self, track: &str, frame: Frame) {
        let Some((last, others)) = self.inputs.split_last() else { return };
        for input in others {
            input.push(track, frame.clone());
        }
        last.push(track, frame);
    }

    /// The newest picture of the room itself.
    pub(crate) fn push_self_view(&self, frame: Frame) {
        // Only the first screen has a place for it.
        if let Some(input) = self.inputs.first() {
            input.push_self(frame);
        }
    }
}

/// The deciding task's end.
pub(crate) struct ScreenControl {
    people: mpsc::Sender<Told>,
    content: Option<mpsc::Sender<Told>>,
    shown: Option<ScreenView>,
}

impl ScreenControl {
    /// There is a second screen, plugged in or not.
    pub(crate) fn has_second(&self) -> bool {
        self.content.is_some()
    }

    /// Shows `view` from now on.
    pub(crate) fn show(&mut self, view: ScreenView) {
        if self.shown.as_ref() != Some(&view) {
            // The threads end only with the program.
            let _ = self.people.send(Told::Show(view.scene()));
            if let Some(content) = &self.content {
                let _ = content.send(Told::Show(view.content_scene()));
            }
            self.shown = Some(view);
        }
    }

    /// Makes one picture of the first screen in its full size.
    pub(crate) fn snapshot(&self, quality: u8, reply: Reply<Arc<Vec<u8>>>) {
        let _ = self.people.send(Told::Snapshot(quality, reply));
    }
}

/// What the threads work with.
pub(crate) struct ScreenWiring {
    pub(crate) display: Option<Box<dyn Display>>,
    pub(crate) lend_display: Lender<Box<dyn Display>>,
    pub(crate) content_display: Option<Box<dyn Display>>,
    pub(crate) lend_content_display: Lender<Box<dyn Display>>,
    pub(crate) picture: watch::Sender<Option<Arc<Vec<u8>>>>,
    pub(crate) watchers: Watchers,
    pub(crate) counters: Arc<Counters>,
    pub(crate) inputs: Inputs,
}

/// Starts the threads. They run as long as the program; without a display the first draws for the panel alone.
///
/// # Errors
/// When the media library cannot be started.
pub(crate) fn start(wiring: ScreenWiring) -> anyhow::Result<(ScreenFeed, ScreenControl)> {
    let ScreenWiring { display, content_display, picture, watchers, counters, inputs, .. } = wiring;
    let size = display.as_ref().map_or(WITHOUT_A_SCREEN, |display| display.size());
    let screen = Screen::new(size, FRAME_RATE_HZ)?;
    let mut feed = ScreenFeed { inputs: vec![screen.input()] };
    let panel = PanelPicture::new(picture, watchers, counters);
    let people = Painter::new(Which::People, screen, display, wiring.lend_display, Some(panel), &inputs)
        .start("screen")?;
    let mut content = None;
    if let Some(display) = content_display {
        let screen = Screen::new(display.size(), FRAME_RATE_HZ)?;
        feed.inputs.push(screen.input());
        let painter =
            Painter::new(Which::Content, screen, Some(display), wiring.lend_content_display, None, &inputs);
        content = Some(painter.start("second-screen")?);
    }
    Ok((feed, ScreenControl { people, content, shown: None }))
}

/// Adds up what two screens want of each track: the larger picture.
pub(crate) fn largest(seats: &[Seats; 2], track: &str) -> Option<(u32, u32)> {
    let of_track = seats.iter().flatten().filter(|(seat, _)| seat == track).map(|(_, size)| *size);
    of_track.max_by_key(|(width, height)| u64::from(*width) * u64::from(*height))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use rostrum_hal::{
        FrameData, PixelFormat, Timestamp,
        sim::{Fault, VirtualBoard, VirtualBoardOptions},
    };
    use rostrum_room::Part;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::{input::Input, loan::desk};

    fn seat(id: &str) -> Seat {
        Seat { id: id.into(), name: id.into(), video: true, ..Seat::default() }
    }

    fn view(share: Option<&str>, two_screens: bool) -> ScreenView {
        let share = share.map(|id| Share { id: id.into(), name: "ada".into() });
        ScreenView {
            phase: Phase::InChannel,
            muted: false,
            reset: None,
            channel: "room".into(),
            seats: (vec![seat("ada"), seat("grace")], share),
            self_view: false,
            spotlight: Some(seat("grace")),
            two_screens,
        }
    }

    fn meeting(scene: Scene) -> Meeting {
        match scene {
            Scene::Meeting(meeting) => meeting,
            Scene::Idle(idle) => panic!("no meeting: {idle:?}"),
        }
    }

    #[test]
    fn with_two_screens_the_people_are_on_the_first_and_what_is_shared_on_the_second() {
        let sharing = view(Some("slides"), true);
        let (people, content) = (meeting(sharing.scene()), meeting(sharing.content_scene()));
        assert!(people.share.is_none() && people.seats.len() == 2);
        assert!(content.seats.is_empty() && content.share.is_some_and(|share| share.id == "slides"));
        let talking = view(None, true);
        assert_eq!(meeting(talking.content_scene()).seats, [seat("grace")]);
    }

    #[test]
    fn with_one_screen_that_works_it_shows_everything() {
        let people = meeting(view(Some("slides"), false).scene());
        assert!(people.share.is_some() && people.seats.len() == 2);
        assert!(matches!(view(Some("slides"), false).content_scene(), Scene::Idle(_)));
    }

    #[test]
    fn nothing_to_show_is_the_rooms_name() {
        let mut alone = view(None, true);
        alone.spotlight = None;
        assert!(matches!(alone.content_scene(), Scene::Idle(Idle { title, .. }) if title == "room"));
        let left = ScreenView { phase: Phase::Idle, ..view(Some("slides"), true) };
        assert!(matches!(left.content_scene(), Scene::Idle(_)));
    }

    #[test]
    fn a_reset_to_factory_is_said_over_everything_else() {
        let said = |reset| match (ScreenView { reset: Some(reset), ..view(Some("slides"), true) }).scene() {
            Scene::Idle(idle) => idle.hint,
            Scene::Meeting(_) => String::new(),
        };
        let counts_down = said(Reset::CountingDown { seconds_left: 7 });
        assert!(
            counts_down.contains("in 7 s") && counts_down.contains("Let the buttons go"),
            "{counts_down}"
        );
        assert!(said(Reset::Resetting).contains("Leave it on power"));
    }

    #[test]
    fn a_picture_on_both_screens_is_asked_for_in_the_larger_size() {
        let seats = [vec![("ada".into(), (320, 180))], vec![("ada".into(), (1280, 720))]];
        assert_eq!(largest(&seats, "ada"), Some((1280, 720)));
        assert_eq!(largest(&seats, "grace"), None);
    }

    /// Waits for something, as the painters are threads.
    fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let begin = Timestamp::now();
        while !is_so() {
            assert!(
                Timestamp::now().saturating_since(begin) < Duration::from_secs(20),
                "{what} never happens"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn grey(level: u8) -> Frame {
        let size = FrameSize::new(320, 180);
        let mut bytes = vec![level; 320 * 180];
        bytes.resize(320 * 180 * 3 / 2, 128);
        Frame {
            capture_time: Timestamp::now(),
            sequence: 0,
            format: PixelFormat::Yuv420,
            size,
            data: FrameData::Bytes(bytes.into()),
        }
    }

    fn middle(frame: Option<Frame>) -> Option<u8> {
        let frame = frame?;
        let at = frame.size.height / 2 * frame.size.width + frame.size.width / 2;
        frame.bytes()?.get(at as usize).copied()
    }

    #[test]
    fn each_screen_shows_its_own_picture_and_the_loss_of_the_second_is_told() {
        let board = VirtualBoard::new(VirtualBoardOptions::default());
        let (inputs, mut happened) = unbounded_channel();
        let (picture, _panel) = watch::channel(None);
        let (borrower, lend_content_display) = desk::<Box<dyn Display>>();
        let (feed, mut control) = start(ScreenWiring {
            display: Some(Box::new(board.display())),
            lend_display: desk().1,
            content_display: Some(Box::new(board.content_display())),
            lend_content_display,
            picture,
            watchers: Watchers::default(),
            counters: Arc::default(),
            inputs,
        })
        .unwrap();
        let mut sharing = view(Some("slides"), true);
        sharing.seats.0.truncate(1);
        control.show(sharing);
        until("picture of each screen", || {
            feed.push("ada", grey(60));
            feed.push("slides", grey(200));
            middle(board.screen()) == Some(60) && middle(board.content_screen()) == Some(200)
        });
        let mut heard = Vec::new();
        let mut hear = |wanted: &dyn Fn(&Input) -> bool| {
            until("word of the second screen", || {
                heard.extend(std::iter::from_fn(|| happened.try_recv().ok()));
                heard.iter().any(wanted)
            });
        };
        hear(
            &|input| matches!(input, Input::Seats { screen: Which::Content, seats } if seats[0].0 == "slides"),
        );
        // Nothing new comes to be shown.
        board.set_fault(Fault::ContentDisplayGone, true);
        hear(&|input| matches!(input, Input::Faulty { part: Part::ContentDisplay, .. }));
        board.set_fault(Fault::ContentDisplayGone, false);
        hear(&|input| matches!(input, Input::Healthy { part: Part::ContentDisplay }));

        // Lent, it shows what others want; back, what it is for.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut loan = runtime.block_on(borrower.borrow()).unwrap();
        loan.as_mut().unwrap().show(grey(20)).unwrap();
        feed.push("slides", grey(90));
        until("picture of the first screen", || {
            feed.push("ada", grey(30));
            middle(board.screen()) == Some(30)
        });
        assert_eq!(middle(board.content_screen()), Some(20));
        drop(loan);
        until("picture of before", || middle(board.content_screen()) == Some(90));
    }
}
