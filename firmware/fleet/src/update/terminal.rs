//! The way to the terminal (`rostrumd`): what the room does, what people at the panel want, and self-tests.

use std::{collections::BTreeSet, io, path::PathBuf, time::Duration};

use rostrum_hal::{Timestamp, selftest::Part};
use tokio::{
    io::BufReader,
    net::UnixStream,
    sync::{mpsc, oneshot, watch},
};

use super::{
    ddi,
    link::{self, FailedPart, FromTerminal, FromUpdater},
    machine::Event,
    offer::Source,
    policy::RoomState,
    status::Status,
    stick,
};

/// Time between two tries to reach the terminal.
const RETRY: Duration = Duration::from_secs(1);
/// The terminal says what its room does far more often than this.
const SILENCE: Duration = Duration::from_secs(15);

/// What a self-test found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestResult {
    /// Parts that were tested to the end.
    pub tested: BTreeSet<Part>,
    /// Parts that failed.
    pub failed: Vec<FailedPart>,
}

/// A self-test that is wanted.
struct Wish {
    parts: BTreeSet<Part>,
    answer: oneshot::Sender<TestResult>,
}

/// The terminal, as the updater sees it.
#[derive(Clone)]
pub struct Terminal {
    wishes: mpsc::UnboundedSender<Wish>,
    room: watch::Receiver<RoomState>,
}

/// Who hears of it.
pub struct Ears {
    /// The machine.
    pub events: mpsc::UnboundedSender<Event>,
    /// The agent of the server, which is told to ask now.
    pub server: Option<mpsc::UnboundedSender<ddi::Request>>,
    /// What the terminal shows.
    pub status: watch::Receiver<Status>,
}

impl Terminal {
    /// Reaches it at `socket`, again and again.
    pub fn connect(socket: PathBuf, ears: Ears) -> Self {
        let (wishes, wanted) = mpsc::unbounded_channel();
        let (room, seen) = watch::channel(RoomState::Silent { since: Timestamp::now() });
        tokio::spawn(async move {
            let mut line = Line { socket, ears, wanted, room, waiting: None };
            loop {
                if let Err(error) = line.talk().await {
                    log::debug!(error:%; "the terminal cannot be reached");
                }
                line.silent();
                tokio::time::sleep(RETRY).await;
            }
        });
        Self { wishes, room: seen }
    }

    /// Waits while a meeting runs.
    pub async fn is_out_of_meetings(&mut self) {
        // It never ends before the program.
        let _ = self.room.wait_for(|room| *room != RoomState::Meeting).await;
    }

    /// Has `parts` tested; `None` when the terminal did not do so within `patience`.
    pub async fn test(&self, parts: BTreeSet<Part>, patience: Duration) -> Option<TestResult> {
        let (answer, result) = oneshot::channel();
        self.wishes.send(Wish { parts, answer }).ok()?;
        tokio::time::timeout(patience, result).await.ok()?.ok()
    }
}

/// The connection, and who waits for what comes over it.
struct Line {
    socket: PathBuf,
    ears: Ears,
    wanted: mpsc::UnboundedReceiver<Wish>,
    room: watch::Sender<RoomState>,
    waiting: Option<Wish>,
}

impl Line {
    async fn talk(&mut self) -> io::Result<()> {
        let (read, mut write) = UnixStream::connect(&self.socket).await?.into_split();
        let mut read = BufReader::new(read);
        let status = self.ears.status.borrow_and_update().clone();
        link::write(&mut write, &FromUpdater::Status(status)).await?;
        if let Some(wish) = &self.waiting {
            link::write(&mut write, &FromUpdater::Test { parts: wish.parts.clone() }).await?;
        }
        // A message that came in part must not be lost to another branch, so it is read by a task of its own.
        let (heard, mut hears) = mpsc::channel(8);
        let reader = tokio::spawn(async move {
            loop {
                let message = link::read::<FromTerminal>(&mut read).await.transpose();
                let is_last = !matches!(message, Some(Ok(_)));
                if heard.send(message).await.is_err() || is_last {
                    return;
                }
            }
        });
        let result = loop {
            tokio::select! {
                message = tokio::time::timeout(SILENCE, hears.recv()) => match message {
                    Ok(Some(Some(Ok(message)))) => self.heard(message),
                    Ok(Some(Some(Err(error)))) => break Err(error),
                    Ok(Some(None) | None) => break Ok(()),
                    Err(_) => break Err(io::Error::new(io::ErrorKind::TimedOut, "it says nothing")),
                },
                changed = self.ears.status.changed() => {
                    if changed.is_err() {
                        break Ok(());
                    }
                    let status = self.ears.status.borrow_and_update().clone();
                    if let Err(error) = link::write(&mut write, &FromUpdater::Status(status)).await {
                        break Err(error);
                    }
                }
                Some(wish) = self.wanted.recv() => {
                    let message = FromUpdater::Test { parts: wish.parts.clone() };
                    self.waiting = Some(wish);
                    if let Err(error) = link::write(&mut write, &message).await {
                        break Err(error);
                    }
                }
            }
        };
        reader.abort();
        result
    }

    fn heard(&mut self, message: FromTerminal) {
        match message {
            FromTerminal::Room { meeting } => {
                let before = *self.room.borrow();
                self.room_is(match (meeting, before) {
                    (true, _) => RoomState::Meeting,
                    (false, RoomState::Idle { since }) => RoomState::Idle { since },
                    (false, _) => RoomState::Idle { since: Timestamp::now() },
                });
            }
            FromTerminal::Check => {
                if let Some(server) = &self.ears.server {
                    let _ = server.send(ddi::Request::Poll);
                }
            }
            FromTerminal::Confirm { yes } => self.event(Event::Confirmed { yes }),
            FromTerminal::Install { path } => self.event(Event::Offered(stick::offer(path, Source::Panel))),
            FromTerminal::Tested { tested, failed } => {
                if let Some(wish) = self.waiting.take() {
                    // Who asked may have lost patience.
                    let _ = wish.answer.send(TestResult { tested, failed });
                }
            }
        }
    }

    fn silent(&mut self) {
        let now = *self.room.borrow();
        if !matches!(now, RoomState::Silent { .. }) {
            self.room_is(RoomState::Silent { since: Timestamp::now() });
        }
    }

    fn room_is(&mut self, room: RoomState) {
        if *self.room.borrow() != room {
            self.room.send_replace(room);
            self.event(Event::Room(room));
        }
    }

    fn event(&self, event: Event) {
        // The program ends when nobody listens.
        let _ = self.ears.events.send(event);
    }
}
