//! `rostrum-updater`: it is told whether a meeting runs and what people at the panel want, and it tells how updates stand.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use rostrum_fleet::update::{
    link::{self, FromTerminal, FromUpdater},
    status,
    terminal::TestResult,
};
use rostrum_panel::{Update, UpdateEnd, UpdatePhase};
use rostrum_room as room;
use tokio::{
    io::BufReader,
    net::{UnixListener, UnixStream},
    sync::{broadcast, mpsc, oneshot, watch},
};

use crate::input::{Input, Inputs};

/// What the room does is said again after this time.
const AGAIN: Duration = Duration::from_secs(3);

/// The way to whoever looks after updates.
#[derive(Clone)]
pub(crate) struct UpdaterLink {
    meeting: watch::Sender<bool>,
    wishes: broadcast::Sender<FromTerminal>,
}

impl UpdaterLink {
    /// Listens at `socket`. Only this program's group may come.
    pub(crate) fn listen(socket: &Path, inputs: &Inputs) -> anyhow::Result<Self> {
        let what = || format!("updates.socket {} cannot be used", socket.display());
        match fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(what),
            _ => {}
        }
        let listener = UnixListener::bind(socket).with_context(what)?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o660)).with_context(what)?;
        // Until the room says otherwise: it may go back into a meeting.
        let (meeting, told) = watch::channel(true);
        let (wishes, _) = broadcast::channel(16);
        let (inputs, heard) = (inputs.clone(), wishes.clone());
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let result = talk(stream, &inputs, told.clone(), heard.subscribe()).await;
                        if let Err(error) = result {
                            log::warn!(error:%; "rostrum-updater is gone");
                        }
                        // The receiver ends only with the program.
                        let _ = inputs.send(Input::Update(None));
                    }
                    Err(error) => {
                        log::warn!(error:%; "rostrum-updater cannot come in");
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
        });
        Ok(Self { meeting, wishes })
    }

    /// Whether a meeting runs.
    pub(crate) fn meeting(&self, meeting: bool) {
        self.meeting.send_if_modified(|now| std::mem::replace(now, meeting) != meeting);
    }

    /// A person asks the update server now.
    pub(crate) fn check(&self) -> bool {
        self.wishes.send(FromTerminal::Check).is_ok()
    }

    /// A person says yes or no.
    pub(crate) fn confirm(&self, yes: bool) -> bool {
        self.wishes.send(FromTerminal::Confirm { yes }).is_ok()
    }

    /// A person brought a bundle.
    pub(crate) fn install(&self, path: PathBuf) -> bool {
        self.wishes.send(FromTerminal::Install { path }).is_ok()
    }
}

async fn talk(
    stream: UnixStream,
    inputs: &Inputs,
    mut meeting: watch::Receiver<bool>,
    mut wishes: broadcast::Receiver<FromTerminal>,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    // What came in part must not be lost to another branch, so it is read by a task of its own.
    let (heard, mut hears) = mpsc::channel(8);
    let reader = tokio::spawn(async move {
        loop {
            let message = link::read::<FromUpdater>(&mut read).await.transpose();
            let is_last = !matches!(message, Some(Ok(_)));
            if heard.send(message).await.is_err() || is_last {
                return;
            }
        }
    });
    let _reader = tokio_util::task::AbortOnDropHandle::new(reader);
    let mut again = tokio::time::interval(AGAIN);
    let mut tested: Option<oneshot::Receiver<TestResult>> = None;
    loop {
        let said = tokio::select! {
            _ = again.tick() => FromTerminal::Room { meeting: *meeting.borrow() },
            changed = meeting.changed() => match changed {
                Ok(()) => FromTerminal::Room { meeting: *meeting.borrow_and_update() },
                Err(_) => return Ok(()),
            },
            Ok(wish) = wishes.recv() => wish,
            result = answer(&mut tested) => {
                tested = None;
                // A test that nobody ended proves nothing.
                let TestResult { tested, failed } = result.unwrap_or_default();
                FromTerminal::Tested { tested, failed }
            }
            message = hears.recv() => match message.flatten() {
                Some(Ok(FromUpdater::Status(status))) => {
                    let _ = inputs.send(Input::Update(Some(status)));
                    continue;
                }
                Some(Ok(FromUpdater::Test { parts })) => {
                    let (answer, result) = oneshot::channel();
                    tested = Some(result);
                    let _ = inputs.send(Input::TestWanted { parts, answer });
                    continue;
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
        };
        link::write(&mut write, &said).await?;
    }
}

/// What a test found, once there is one.
async fn answer(
    tested: &mut Option<oneshot::Receiver<TestResult>>,
) -> Result<TestResult, oneshot::error::RecvError> {
    match tested {
        Some(tested) => tested.await,
        None => std::future::pending().await,
    }
}

/// As the panel shows it.
pub(crate) fn shown(status: &status::Status) -> Update {
    use status::Phase;
    Update {
        phase: match status.phase {
            Phase::Idle => UpdatePhase::Idle,
            Phase::Waiting => UpdatePhase::Waiting,
            Phase::Fetching => UpdatePhase::Fetching,
            Phase::Installing => UpdatePhase::Installing,
            Phase::Restarting => UpdatePhase::Restarting,
            Phase::Checking => UpdatePhase::Checking,
        },
        running: status.running.clone(),
        version: status.version.clone(),
        percent: status.percent,
        asks: status.asks,
        reason: status.reason.clone(),
        last: status.last.as_ref().map(|last| UpdateEnd {
            ok: last.end == rostrum_fleet::update::record::End::Success,
            version: last.version.clone(),
            text: last.text.clone(),
        }),
    }
}

/// As the room's lights show it.
pub(crate) fn in_the_room(status: &status::Status) -> Option<room::Update> {
    use status::Phase;
    match status.phase {
        Phase::Idle | Phase::Waiting | Phase::Fetching => None,
        Phase::Installing => Some(room::Update::Installing),
        Phase::Restarting => Some(room::Update::Restarting),
        Phase::Checking => Some(room::Update::Checking),
    }
}
