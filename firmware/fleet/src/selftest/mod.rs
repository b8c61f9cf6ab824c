//! The self-test: exercises each part of an open board while no meeting runs.

mod camera;
mod echo;
mod encoder;
mod front;
mod health;
mod network;
mod picture;
mod report;
mod scaler;
mod screen;
mod sound;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use rostrum_hal::{
    Frame,
    buttons::Buttons,
    camera::{Camera, StreamFormat},
    display::Display,
    encoder::VideoEncoderFactory,
    identity::Identity,
    indicator::{Indicator, IndicatorRole},
    microphone::MicrophoneArray,
    mute_switch::MuteSwitch,
    presence::Presence,
    scaler::VideoScalerFactory,
    screen_power::ScreenPower,
    speaker::Speaker,
    watchdog::Watchdog,
};
use url::Url;

pub use health::Clock;
pub use report::{Report, line};
pub use rostrum_hal::selftest::{Check, Figure, Outcome, Part};

/// The devices of a board; what is `None` is not there and is skipped.
#[derive(Default)]
pub struct Parts<'a> {
    /// The camera.
    pub camera: Option<&'a mut dyn Camera>,
    /// The microphones.
    pub microphones: Option<&'a mut dyn MicrophoneArray>,
    /// The speaker.
    pub speaker: Option<&'a mut dyn Speaker>,
    /// Opens encoders.
    pub encoder: Option<Arc<dyn VideoEncoderFactory>>,
    /// Opens scalers.
    pub scaler: Option<Arc<dyn VideoScalerFactory>>,
    /// The screen.
    pub display: Option<&'a mut dyn Display>,
    /// The second screen.
    pub content_display: Option<&'a mut dyn Display>,
    /// The power of the screen.
    pub screen_power: Option<&'a mut dyn ScreenPower>,
    /// The lights.
    pub indicators: &'a mut [(IndicatorRole, Box<dyn Indicator>)],
    /// The buttons.
    pub buttons: Option<&'a mut dyn Buttons>,
    /// The switch that cuts the microphones.
    pub mute_switch: Option<&'a mut dyn MuteSwitch>,
    /// The sensor that tells whether somebody is there.
    pub presence: Option<&'a mut dyn Presence>,
    /// The watchdog. It is stopped, so that the board does not reset while a person thinks.
    pub watchdog: Option<Box<dyn Watchdog>>,
    /// The terminal's name.
    pub identity: Option<&'a mut dyn Identity>,
}

/// Asks a person a question that is answered with yes or no.
pub type Person = Box<dyn FnMut(String) -> BoxFuture<'static, bool> + Send>;

/// Turns a camera's compressed frame into one that can be looked at.
pub type Decode = Box<dyn FnMut(&Frame) -> Option<Frame> + Send>;

/// What is tested, and what the parts are measured against.
pub struct Circumstances {
    /// What is tested; the others are not spoken of.
    pub wanted: BTreeSet<Part>,
    /// What the camera is asked for.
    pub picture: StreamFormat,
    /// The service that the terminal is for.
    pub service: Option<Url>,
    /// The machine's clock.
    pub clock: Clock,
    /// Who confirms what only a person can see; without, it only counts that nothing fails.
    pub person: Option<Person>,
    /// For cameras that give compressed frames.
    pub decode: Option<Decode>,
}

/// What is said while it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// It is the turn of a part.
    Turn(Part),
    /// A check begins.
    Begins(&'a str),
    /// Somebody is to do something.
    Please(&'a str),
    /// A check is over.
    Over(&'a Check),
}

/// Time for a person to press or to move something.
const PERSON: Duration = Duration::from_secs(20);
/// How long a light or a picture is shown when nobody says that it was seen.
const SHOWN: Duration = Duration::from_millis(200);
const NOBODY: &str = "nobody is there to do it; use --ask";

/// Runs the checks, one after the other, and tells how it goes. Needs a tokio runtime of several threads, with I/O and
/// time. All of them take some 10 s, and as long as the person needs. It may be dropped at any time.
pub async fn run(
    parts: Parts<'_>,
    circumstances: Circumstances,
    tell: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Report {
    let Circumstances { wanted, picture, service, clock, person, decode } = circumstances;
    let mut test = Test { person, tell, report: Report::default() };
    let mut fed = None;
    let mut is_cut = false;
    // In the order of the parts; the watchdog is the first, as it runs already.
    if test.is_turn(&wanted, Part::Watchdog) {
        fed = health::watchdog(&mut test, parts.watchdog).await;
    }
    if test.is_turn(&wanted, Part::Identity) {
        health::identity(&mut test, parts.identity);
    }
    if test.is_turn(&wanted, Part::Clock) {
        health::clock(&mut test, &clock);
    }
    if test.is_turn(&wanted, Part::Network) {
        network::check(&mut test, service).await;
    }
    if test.is_turn(&wanted, Part::Camera) {
        camera::check(&mut test, parts.camera, picture, decode).await;
    }
    if test.is_turn(&wanted, Part::Encoder) {
        encoder::check(&mut test, parts.encoder).await;
    }
    if test.is_turn(&wanted, Part::Scaler) {
        scaler::check(&mut test, parts.scaler).await;
    }
    if test.is_turn(&wanted, Part::MuteSwitch) {
        is_cut = front::mute_switch(&mut test, parts.mute_switch).await;
    } else if let Some(switch) = parts.mute_switch {
        // Muted is no fault of the microphones.
        is_cut = switch.cut().unwrap_or(false);
    }
    if test.is_turn(&wanted, Part::Sound) {
        sound::check(&mut test, parts.microphones, parts.speaker, is_cut);
    }
    if test.is_turn(&wanted, Part::Display) {
        screen::display(&mut test, Part::Display, parts.display).await;
    }
    if test.is_turn(&wanted, Part::ContentDisplay) {
        screen::display(&mut test, Part::ContentDisplay, parts.content_display).await;
    }
    if test.is_turn(&wanted, Part::ScreenPower) {
        screen::power(&mut test, parts.screen_power).await;
    }
    if test.is_turn(&wanted, Part::Lights) {
        front::lights(&mut test, parts.indicators).await;
    }
    if test.is_turn(&wanted, Part::Buttons) {
        front::buttons(&mut test, parts.buttons).await;
    }
    if test.is_turn(&wanted, Part::Presence) {
        front::presence(&mut test, parts.presence).await;
    }
    if let Some(fed) = fed {
        test.please("The watchdog cannot be stopped: start rostrumd now, or it resets this board.");
        fed.abort();
    }
    test.report
}

/// A run of the test.
struct Test<'a> {
    person: Option<Person>,
    tell: &'a mut (dyn FnMut(Progress<'_>) + Send),
    report: Report,
}

impl Test<'_> {
    /// Whether a part is wanted, whose turn it is.
    fn is_turn(&mut self, wanted: &BTreeSet<Part>, part: Part) -> bool {
        let is_wanted = wanted.contains(&part);
        if is_wanted {
            (self.tell)(Progress::Turn(part));
        }
        is_wanted
    }

    fn begins(&mut self, name: &str) {
        (self.tell)(Progress::Begins(name));
    }

    fn please(&mut self, what: &str) {
        (self.tell)(Progress::Please(what));
    }

    fn over(&mut self, name: &str, outcome: Outcome, figures: Vec<Figure>) {
        let check = Check { name: name.into(), outcome, figures };
        (self.tell)(Progress::Over(&check));
        self.report.checks.push(check);
    }

    /// The person's answer; `None` without one.
    async fn ask(&mut self, question: &str) -> Option<bool> {
        match &mut self.person {
            Some(person) => Some(person(question.into()).await),
            None => None,
        }
    }
}

fn outcome_of(result: Result<(), Outcome>) -> Outcome {
    match result {
        Ok(()) => Outcome::Passed,
        Err(outcome) => outcome,
    }
}
