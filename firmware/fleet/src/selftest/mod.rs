//! The self-test: exercises each part of an open board while no meeting runs.

mod camera;
mod echo;
mod encoder;
mod front;
mod health;
mod network;
mod picture;
mod report;
mod sound;

use std::{sync::Arc, time::Duration};

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
    speaker::Speaker,
    watchdog::Watchdog,
};
use url::Url;

pub use health::Clock;
pub use report::{Check, Figure, Outcome, Report};

/// The devices of a board; what is `None` is not there and is skipped.
pub struct Parts {
    /// The camera.
    pub camera: Option<Box<dyn Camera>>,
    /// The microphones.
    pub microphones: Option<Box<dyn MicrophoneArray>>,
    /// The speaker.
    pub speaker: Option<Box<dyn Speaker>>,
    /// Opens encoders.
    pub encoder: Arc<dyn VideoEncoderFactory>,
    /// The screen.
    pub display: Option<Box<dyn Display>>,
    /// The lights.
    pub indicators: Vec<(IndicatorRole, Box<dyn Indicator>)>,
    /// The buttons.
    pub buttons: Option<Box<dyn Buttons>>,
    /// The switch that cuts the microphones.
    pub mute_switch: Option<Box<dyn MuteSwitch>>,
    /// The watchdog. It is stopped, so that the board does not reset while a person thinks.
    pub watchdog: Option<Box<dyn Watchdog>>,
    /// The terminal's name.
    pub identity: Box<dyn Identity>,
}

/// Asks a person a question that is answered with yes or no.
pub type Person = Box<dyn FnMut(String) -> BoxFuture<'static, bool> + Send>;

/// Turns a camera's compressed frame into one that can be looked at.
pub type Decode = Box<dyn FnMut(&Frame) -> Option<Frame> + Send>;

/// What the parts are measured against.
pub struct Circumstances {
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
    /// A check begins.
    Begins(&'a str),
    /// Somebody is to do something.
    Please(&'a str),
    /// A check is over.
    Over(&'a Check),
}

/// Time for a person to press or to move something.
const PERSON: Duration = Duration::from_secs(20);

/// Runs all checks, one after the other, and tells how it goes. Needs a tokio runtime with I/O and time. Takes some
/// 10 s, and as long as the person needs.
pub async fn run(
    mut parts: Parts,
    mut circumstances: Circumstances,
    tell: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Report {
    let mut test = Test { person: circumstances.person.take(), tell, report: Report::default() };
    // First, as it runs already.
    let fed = health::watchdog(&mut test, parts.watchdog.take()).await;
    health::identity(&mut test, &*parts.identity);
    health::clock(&mut test, &circumstances.clock);
    network::check(&mut test, circumstances.service.take()).await;
    camera::check(&mut test, parts.camera.take(), circumstances.picture, circumstances.decode.take()).await;
    encoder::check(&mut test, Arc::clone(&parts.encoder)).await;
    let is_cut = front::mute_switch(&mut test, parts.mute_switch.take()).await;
    sound::check(&mut test, parts.microphones.take(), parts.speaker.take(), is_cut).await;
    front::display(&mut test, parts.display.take()).await;
    front::lights(&mut test, std::mem::take(&mut parts.indicators)).await;
    front::buttons(&mut test, parts.buttons.take()).await;
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
