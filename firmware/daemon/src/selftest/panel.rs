//! The self-test from the panel, with the devices that are in use: each is borrowed, and goes back.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rostrum_fleet::{
    selftest::{self, Check, Circumstances, Outcome, Part, Parts, Person, Progress},
    update::{link::FailedPart, terminal::TestResult},
};
use rostrum_hal::{encoder::VideoEncoderFactory, identity::Identity, scaler::VideoScalerFactory};
use rostrum_panel::{CommandError, CommandErrorKind, Selftest};
use tokio::{
    sync::{Mutex, oneshot},
    task::JoinHandle,
};
use url::Url;

use crate::{
    config::Picture,
    devices::Borrowers,
    input::{Input, Inputs},
    loan::{Borrower, Loan},
};

/// What happens in a test.
#[derive(Debug)]
pub(crate) enum TestEvent {
    Turn(Part),
    Begins(String),
    Please(String),
    Question(String, oneshot::Sender<bool>),
    Over(Check),
    /// Nobody answered for long.
    Abandoned,
    End,
}

/// A question that nobody answers for so long has nobody in front of it; the room gets its devices back.
const ANSWERED: Duration = Duration::from_secs(120);

/// What a test takes that is not borrowed.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) borrowers: Borrowers,
    pub(crate) encoder: Arc<dyn VideoEncoderFactory>,
    pub(crate) scaler: Option<Arc<dyn VideoScalerFactory>>,
    pub(crate) identity: Arc<Mutex<Box<dyn Identity>>>,
    pub(crate) picture: Picture,
    pub(crate) service: Url,
    pub(crate) inputs: Inputs,
}

/// The test that runs, or the last one.
pub(crate) struct Tests {
    surroundings: Surroundings,
    /// Counts them, so that the last words of an earlier one are told apart.
    run: u64,
    task: Option<JoinHandle<()>>,
    wanted: BTreeSet<Part>,
    shown: Option<Selftest>,
    asker: Option<oneshot::Sender<bool>>,
    /// Who looks after updates and wants to know.
    answer: Option<oneshot::Sender<TestResult>>,
    found: TestResult,
    /// Whose turn it is.
    turn: Option<Part>,
}

impl Tests {
    pub(crate) fn new(surroundings: Surroundings) -> Self {
        Self {
            surroundings,
            run: 0,
            task: None,
            wanted: BTreeSet::new(),
            shown: None,
            asker: None,
            answer: None,
            found: TestResult::default(),
            turn: None,
        }
    }

    /// What the panel shows.
    pub(crate) fn shown(&self) -> Option<Selftest> {
        self.shown.clone()
    }

    /// Begins a test of `parts`, or of all when there is none, in the place of one that runs.
    pub(crate) fn start(&mut self, parts: BTreeSet<Part>, person: bool) {
        self.stop();
        self.run += 1;
        self.wanted = if parts.is_empty() { Part::ALL.into() } else { parts };
        // It is fed by those whose health it watches, and must not be stopped.
        self.wanted.remove(&Part::Watchdog);
        self.shown = Some(Selftest { running: true, remaining: self.wanted.len(), ..Selftest::default() });
        let teller = Teller { run: self.run, inputs: self.surroundings.inputs.clone() };
        let (surroundings, wanted) = (self.surroundings.clone(), self.wanted.clone());
        self.task = Some(tokio::spawn(async move {
            let answerer = person.then(|| teller.person(ANSWERED));
            test(surroundings, wanted, answerer, &teller).await;
            teller.tell(TestEvent::End);
        }));
    }

    /// One runs.
    pub(crate) fn is_running(&self) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.running)
    }

    /// Begins a test of `parts` without a person, and answers with what it found. When it is ended early, what was
    /// tested so far is the answer.
    pub(crate) fn start_for(&mut self, parts: BTreeSet<Part>, answer: oneshot::Sender<TestResult>) {
        self.start(parts, false);
        self.answer = Some(answer);
    }

    /// Ends it; its devices go back by themselves.
    pub(crate) fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.end();
    }

    fn end(&mut self) {
        self.asker = None;
        self.turn = None;
        let found = std::mem::take(&mut self.found);
        if let Some(answer) = self.answer.take() {
            // Who asked may be gone.
            let _ = answer.send(found);
        }
        if let Some(shown) = &mut self.shown {
            let checks = std::mem::take(&mut shown.checks);
            *shown = Selftest { checks, ..Selftest::default() };
        }
    }

    /// Somebody answers its question.
    pub(crate) fn answer(&mut self, yes: bool) -> Result<(), CommandError> {
        let is_told = self.asker.take().is_some_and(|asker| asker.send(yes).is_ok());
        if let Some(shown) = &mut self.shown {
            shown.question = None;
        }
        if is_told {
            return Ok(());
        }
        Err(CommandError {
            kind: CommandErrorKind::Refused,
            code: "no_question".into(),
            message: "The self-test asks nothing now.".into(),
            hint: "Wait for its next question.".into(),
        })
    }

    /// Follows it.
    pub(crate) fn happened(&mut self, run: u64, event: TestEvent) {
        let Some(shown) = self.shown.as_mut().filter(|shown| shown.running && run == self.run) else {
            return;
        };
        match event {
            TestEvent::Turn(part) => {
                // The one before came to its end.
                self.found.tested.extend(self.turn.replace(part));
                shown.part = Some(part.name().into());
                shown.remaining = self.wanted.iter().filter(|wanted| **wanted >= part).count();
            }
            TestEvent::Begins(name) => shown.part = Some(name),
            TestEvent::Please(what) => shown.please = Some(what),
            TestEvent::Question(question, asker) => {
                shown.question = Some(question);
                self.asker = Some(asker);
            }
            TestEvent::Over(check) => {
                if let (Some(part), Outcome::Failed { problem, .. }) = (self.turn, &check.outcome) {
                    self.found.failed.push(FailedPart { part, why: problem.clone() });
                }
                shown.checks.push(check);
                shown.please = None;
                shown.question = None;
            }
            TestEvent::Abandoned => {
                log::info!("nobody answered the self-test; it ended");
                self.stop();
            }
            TestEvent::End => {
                self.found.tested.extend(&self.wanted);
                self.end();
            }
        }
    }
}

/// Tells the deciding task.
struct Teller {
    run: u64,
    inputs: Inputs,
}

impl Teller {
    fn tell(&self, event: TestEvent) {
        // The receiver ends only with the program.
        let _ = self.inputs.send(Input::Test { run: self.run, event });
    }

    /// Whoever looks at the panel.
    fn person(&self, patience: Duration) -> Person {
        let (run, inputs) = (self.run, self.inputs.clone());
        Box::new(move |question| {
            let teller = Self { run, inputs: inputs.clone() };
            Box::pin(async move {
                let (asker, answer) = oneshot::channel();
                teller.tell(TestEvent::Question(question, asker));
                match tokio::time::timeout(patience, answer).await {
                    Ok(Ok(yes)) => yes,
                    Ok(Err(_)) => false,
                    Err(_) => {
                        // Neither yes nor no: the test ends here.
                        teller.tell(TestEvent::Abandoned);
                        std::future::pending().await
                    }
                }
            })
        })
    }
}

async fn test(surroundings: Surroundings, wanted: BTreeSet<Part>, person: Option<Person>, teller: &Teller) {
    let Surroundings { borrowers, encoder, scaler, identity, picture, service, .. } = surroundings;
    let is = |part| wanted.contains(&part);
    let mut camera = lent(is(Part::Camera), &borrowers.camera).await;
    let mut microphones = lent(is(Part::Sound), &borrowers.microphones).await;
    let mut speaker = lent(is(Part::Sound), &borrowers.speaker).await;
    let mut display = lent(is(Part::Display), &borrowers.display).await;
    let mut content_display = lent(is(Part::ContentDisplay), &borrowers.content_display).await;
    let mut screen_power = lent(is(Part::ScreenPower), &borrowers.screen_power).await;
    let mut lights = lent(is(Part::Lights), &borrowers.lights).await;
    let mut buttons = lent(is(Part::Buttons), &borrowers.buttons).await;
    let mut mute_switch = lent(is(Part::MuteSwitch) || is(Part::Sound), &borrowers.mute_switch).await;
    let mut presence = lent(is(Part::Presence), &borrowers.presence).await;
    let mut identity = identity.lock().await;
    let parts = Parts {
        camera: device(&mut camera).map(|camera| &mut **camera as _),
        microphones: device(&mut microphones).map(|microphones| &mut **microphones as _),
        speaker: device(&mut speaker).map(|speaker| &mut **speaker as _),
        encoder: Some(encoder),
        scaler,
        display: device(&mut display).map(|display| &mut **display as _),
        content_display: device(&mut content_display).map(|display| &mut **display as _),
        screen_power: device(&mut screen_power).map(|power| &mut **power as _),
        indicators: device(&mut lights).map(Vec::as_mut_slice).unwrap_or_default(),
        buttons: device(&mut buttons).map(|buttons| &mut **buttons as _),
        mute_switch: device(&mut mute_switch).map(|switch| &mut **switch as _),
        presence: device(&mut presence).map(|presence| &mut **presence as _),
        watchdog: None,
        identity: Some(&mut **identity),
    };
    let circumstances = Circumstances {
        wanted,
        picture: super::stream_format(&picture),
        service: Some(service),
        clock: super::clock(),
        person,
        decode: Some(super::decode()),
    };
    let mut tell = |progress: Progress<'_>| match progress {
        Progress::Turn(part) => teller.tell(TestEvent::Turn(part)),
        Progress::Begins(name) => teller.tell(TestEvent::Begins(name.into())),
        Progress::Please(what) => teller.tell(TestEvent::Please(what.into())),
        Progress::Over(check) => teller.tell(TestEvent::Over(check.clone())),
        _ => {}
    };
    selftest::run(parts, circumstances, &mut tell).await;
}

async fn lent<T>(is_wanted: bool, borrower: &Borrower<T>) -> Option<Loan<T>> {
    if is_wanted { borrower.borrow().await } else { None }
}

fn device<T>(loan: &mut Option<Loan<T>>) -> Option<&mut T> {
    loan.as_mut().and_then(|loan| loan.as_mut())
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_question_is_answered_or_ends_the_test() {
        let (inputs, mut happened) = mpsc::unbounded_channel();
        let teller = Teller { run: 1, inputs };
        let mut asks = teller.person(Duration::from_secs(60));
        let answer = tokio::spawn(asks("Is it lit?".into()));
        let Some(Input::Test { event: TestEvent::Question(_, asker), .. }) = happened.recv().await else {
            panic!("no question");
        };
        assert_eq!(asker.send(true), Ok(()));
        assert!(answer.await.is_ok_and(|yes| yes));

        let mut asks = teller.person(Duration::from_millis(1));
        let answer = tokio::spawn(asks("Is it lit?".into()));
        // Kept, as by the deciding task that waits for somebody.
        let Some(Input::Test { event: TestEvent::Question(_, _asker), .. }) = happened.recv().await else {
            panic!("no question");
        };
        assert!(matches!(happened.recv().await, Some(Input::Test { event: TestEvent::Abandoned, run: 1 })));
        assert!(!answer.is_finished(), "neither yes nor no");
    }
}
