//! The task around a stay: sockets, clocks, and joining again.

mod sockets;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use livekit_protocol::signal_response::Message as Response;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::{mpsc, oneshot};
use url::Url;

use self::sockets::Sockets;
use crate::{
    Event, LeaveReason, Media, RtcError, TerminalOptions,
    backoff::{Backoff, Failure},
    clock::Clock,
    peer::Certificate,
    signal::{self, Door, DoorError, Reader, Writer},
    stay::{Link, Outcome, Stay, StayOptions},
    terminal::{Control, Outgoing},
};

/// A stay of this length means that all is well: the next failure starts with the shortest delay.
const SETTLED: Duration = Duration::from_secs(5);
/// Time for the service's first message.
const FIRST_MESSAGE: Duration = Duration::from_secs(5);
/// Time for the service to say why it closed the media connection.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// How long a stay is tried to be gone on with after its socket was lost (the service keeps it for less than
/// 5 s), the pause between tries, and how long a socket must live to be worth another one.
const RESUME: Duration = Duration::from_secs(4);
const RESUME_PAUSE: Duration = Duration::from_millis(250);
const WORTH_RESUMING: Duration = Duration::from_secs(1);
/// Messages to the service that may wait for the socket.
const REQUESTS: usize = 512;
/// Events that may wait for the owner beside the channel's own room.
const BACKLOG: usize = 4096;
/// What is handled at once before anything else gets its turn.
const BURST: usize = 64;

/// The receiving ends of the handle, and the sending ends of its streams.
pub(crate) struct Ends {
    pub(crate) control: mpsc::UnboundedReceiver<Control>,
    pub(crate) media: mpsc::Receiver<Outgoing>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) received: mpsc::Sender<Media>,
}

/// The terminal's task.
pub(crate) struct Runner {
    options: TerminalOptions,
    ends: Ends,
    clock: Clock,
    random: StdRng,
    backoff: Backoff,
    certificate: Option<Arc<Certificate>>,
    door: Door,
    muted: [bool; 2],
    refreshed_token: Option<String>,
    backlog: VecDeque<Event>,
    dropped: u64,
    left: Option<oneshot::Sender<()>>,
}

/// The socket of a stay: a task writes, so that a slow connection does not hold up media.
struct Line {
    requests: mpsc::Sender<signal::Request>,
    writing: tokio::task::JoinHandle<()>,
    reader: Reader,
    since: Instant,
}

impl Line {
    fn new(writer: Writer, reader: Reader) -> Self {
        let (requests, receiver) = mpsc::channel(REQUESTS);
        Self { requests, writing: tokio::spawn(write(writer, receiver)), reader, since: Instant::now() }
    }
}

/// Where the service is, for another socket of the same stay.
struct Way {
    door: Door,
    addresses: Vec<SocketAddr>,
    token: String,
}

/// The search for another socket.
type Resuming = Pin<Box<dyn Future<Output = Option<(Writer, Reader)>> + Send>>;

/// Why there is no stay.
enum Fault {
    Door(DoorError),
    Rtc(RtcError),
    Text(String),
    /// The owner leaves.
    Leave,
}

impl From<RtcError> for Fault {
    fn from(error: RtcError) -> Self {
        Self::Rtc(error)
    }
}

impl Runner {
    pub(crate) fn new(options: TerminalOptions, ends: Ends) -> Self {
        Self {
            options,
            ends,
            clock: Clock::new(),
            random: StdRng::from_os_rng(),
            backoff: Backoff::default(),
            certificate: None,
            door: Door::One,
            muted: [false; 2],
            refreshed_token: None,
            backlog: VecDeque::new(),
            dropped: 0,
            left: None,
        }
    }

    /// Joins until there is a reason to stop.
    pub(crate) async fn run(mut self) {
        let reason = loop {
            self.tell(Event::Joining { attempt: self.backoff.failures() + 1 });
            let began = Instant::now();
            let (text, failure) = match self.attempt().await {
                Ok(Outcome::Left(reason)) => break reason,
                Ok(Outcome::Lost { reason, service }) => {
                    if began.elapsed() > SETTLED {
                        self.backoff.reset();
                    }
                    (reason, if service { Failure::NobodyThere } else { Failure::Other })
                }
                Err(Fault::Leave) => break LeaveReason::Asked,
                Err(Fault::Door(DoorError::Refused { status, reason })) => {
                    if self.refreshed_token.take().is_some() {
                        ("the service did not take its own token again".to_owned(), Failure::NobodyThere)
                    } else {
                        break LeaveReason::Refused { status, reason };
                    }
                }
                Err(Fault::Door(DoorError::NobodyThere(text))) => (text, Failure::NobodyThere),
                Err(Fault::Door(DoorError::NotFound)) => {
                    ("nothing of LiveKit's protocol is at the service's address".to_owned(), Failure::Other)
                }
                Err(Fault::Door(DoorError::Other(text)) | Fault::Text(text)) => (text, Failure::Other),
                Err(Fault::Rtc(error)) => (error.to_string(), Failure::Other),
            };
            let retry_in = self.backoff.next(failure, &mut self.random);
            log::info!(reason = text.as_str(), retry_ms = retry_in.as_millis() as u64; "not in the channel");
            self.tell(Event::Lost { reason: text, retry_in });
            if self.wait(retry_in).await {
                break LeaveReason::Asked;
            }
        };
        self.tell(Event::Left { reason });
        self.finish().await;
    }

    /// Hands out the last events, then tells the one who asked to leave.
    async fn finish(mut self) {
        let deadline = tokio::time::Instant::now() + Duration::from_millis(500);
        while let Some(event) = self.backlog.pop_front() {
            let sent = tokio::time::timeout_at(deadline, self.ends.events.send(event)).await;
            if !matches!(sent, Ok(Ok(()))) {
                break;
            }
        }
        if let Some(left) = self.left {
            let _ = left.send(());
        }
    }

    /// Waits before the next attempt; `true` when the owner leaves meanwhile.
    async fn wait(&mut self, time: Duration) -> bool {
        let until = tokio::time::Instant::now() + time;
        loop {
            self.flush_events();
            tokio::select! {
                control = self.ends.control.recv() => {
                    if self.control_outside(control) {
                        return true;
                    }
                }
                Some(_) = self.ends.media.recv() => {}
                () = tokio::time::sleep_until(until) => return false,
            }
        }
    }

    /// What the owner asks for while there is no stay. `true` when it leaves.
    fn control_outside(&mut self, control: Option<Control>) -> bool {
        match control {
            None => return true,
            Some(Control::Leave(done)) => {
                self.left = Some(done);
                return true;
            }
            Some(Control::SetMuted { kind, muted }) => {
                self.muted[usize::from(kind == crate::TrackKind::Video)] = muted;
            }
            Some(Control::SetVideoPlan(plan)) => self.options.video = plan,
            Some(Control::SetName(name)) => self.options.display_name = name,
            // About tracks and people of a stay that is over.
            Some(_) => {}
        }
        false
    }

    /// Does `work` unless the owner leaves first.
    async fn unless_leaving<T>(&mut self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return result,
                control = self.ends.control.recv() => {
                    if self.control_outside(control) {
                        return Err(Fault::Leave);
                    }
                }
                Some(_) = self.ends.media.recv() => {}
            }
        }
    }

    /// One attempt to join, and the stay that comes of it.
    async fn attempt(&mut self) -> Result<Outcome, Fault> {
        let source = self.options.token.clone();
        let refreshed = self.refreshed_token.clone();
        let token = self
            .unless_leaving(async move {
                match source.token().await {
                    Ok(token) => Ok(token),
                    // A service that renews tokens takes the one that it gave.
                    Err(error) => refreshed.ok_or(Fault::Text(error)),
                }
            })
            .await?;
        match self.attempt_door(&token).await {
            Err(Fault::Door(DoorError::NotFound)) if self.door == Door::One => {
                // A service that does not know the single connection: remembered until it fails.
                self.door = Door::Two;
                self.attempt_door(&token).await
            }
            Err(fault) => {
                self.door = Door::One;
                Err(fault)
            }
            outcome => outcome,
        }
    }

    async fn attempt_door(&mut self, token: &str) -> Result<Outcome, Fault> {
        let url = self.options.service_url.clone();
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        let addresses = self
            .unless_leaving(async move {
                let found = tokio::net::lookup_host((host.as_str(), port)).await;
                let found =
                    found.map_err(|e| Fault::Text(format!("the service's name is not known: {e}")))?;
                Ok(found.collect::<Vec<_>>())
            })
            .await?;
        let certificate = match &self.certificate {
            Some(certificate) => certificate.clone(),
            None => {
                let certificate = Arc::new(Certificate::generate()?);
                self.certificate.insert(certificate).clone()
            }
        };
        let mut sockets = Sockets::bind(&self.options.network, &addresses, self.door == Door::Two)
            .map_err(RtcError::from)?;
        let mut stay = Stay::new(
            Instant::now(),
            StayOptions {
                door: self.door,
                certificate,
                clock: self.clock,
                publisher_addresses: sockets.candidates(Link::Publisher),
                subscriber_addresses: sockets.candidates(Link::Subscriber),
                udid: self.options.udid.clone(),
                display_name: self.options.display_name.clone(),
                video: self.options.video.clone(),
                audio: self.options.audio,
                muted: self.muted,
                auto_subscribe: self.options.auto_subscribe,
                seed: self.random.random(),
            },
        )?;
        let address = signal::address(&url, self.door, &stay.hello())?;
        let (writer, mut reader) = self
            .unless_leaving(async { signal::connect(&address, &addresses, token).await.map_err(Fault::Door) })
            .await?;
        let first = self
            .unless_leaving(async {
                let first = tokio::time::timeout(FIRST_MESSAGE, reader.next()).await;
                let silent = || Fault::Text("the service let us in and then said nothing".to_owned());
                first.ok().flatten().ok_or_else(silent)
            })
            .await?;
        stay.handle_signal(Instant::now(), first);
        let way = Way { door: self.door, addresses, token: token.to_owned() };
        let outcome = self.stay(&mut stay, &mut sockets, Line::new(writer, reader), &way).await;
        let (muted, video, refreshed) = stay.keep();
        self.muted = muted;
        self.options.video = video;
        if refreshed.is_some() {
            self.refreshed_token = refreshed;
        }
        Ok(outcome)
    }

    /// Carries messages, datagrams and time until the stay is over.
    async fn stay(&mut self, stay: &mut Stay, sockets: &mut Sockets, mut line: Line, way: &Way) -> Outcome {
        let mut resuming: Option<Resuming> = None;
        let mut outcome = loop {
            self.flush(stay, sockets, resuming.is_none().then_some(&line.requests));
            if let Some(outcome) = stay.outcome() {
                break outcome.clone();
            }
            let now = Instant::now();
            let wake = stay.poll_timeout(now).max(now);
            tokio::select! {
                biased;
                control = self.ends.control.recv() => match control {
                    Some(Control::Leave(done)) => {
                        self.left = Some(done);
                        let (nobody, _) = oneshot::channel();
                        stay.handle_control(Instant::now(), Control::Leave(nobody));
                    }
                    Some(control) => stay.handle_control(Instant::now(), control),
                    None => {
                        let (nobody, _) = oneshot::channel();
                        stay.handle_control(Instant::now(), Control::Leave(nobody));
                    }
                },
                Some(media) = self.ends.media.recv() => {
                    stay.handle_media(Instant::now(), media);
                    for _ in 0..BURST {
                        let Ok(media) = self.ends.media.try_recv() else { break };
                        stay.handle_media(Instant::now(), media);
                    }
                }
                () = sockets.readable() => {
                    sockets.receive(BURST, |link, to, from, bytes| {
                        stay.handle_datagram(Instant::now(), link, to, from, bytes);
                    });
                }
                message = line.reader.next(), if resuming.is_none() => match message {
                    Some(message) => stay.handle_signal(Instant::now(), message),
                    None => {
                        resuming = self.resume(stay, &line, way);
                        if resuming.is_none() {
                            stay.signal_lost();
                        }
                    }
                },
                found = found(&mut resuming) => {
                    resuming = None;
                    match found {
                        Some((writer, reader)) => {
                            log::info!("went on with the stay on another socket");
                            line = Line::new(writer, reader);
                            stay.resumed(Instant::now());
                        }
                        None => stay.signal_lost(),
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            let now = Instant::now();
            if stay.poll_timeout(now) <= now {
                stay.handle_timeout(now);
            }
        };
        if matches!(outcome, Outcome::Lost { .. }) {
            outcome = last_words(stay, &mut line.reader).await.unwrap_or(outcome);
        }
        self.flush(stay, sockets, Some(&line.requests));
        drop(line.requests);
        let _ = tokio::time::timeout(Duration::from_millis(300), line.writing).await;
        outcome
    }

    /// Looks for another socket for a stay whose media may well go on.
    fn resume(&self, stay: &Stay, line: &Line, way: &Way) -> Option<Resuming> {
        if line.since.elapsed() < WORTH_RESUMING {
            return None;
        }
        let (hello, token) = stay.hello_again()?;
        let address = signal::address(&self.options.service_url, way.door, &hello).ok()?;
        let (addresses, token) = (way.addresses.clone(), token.unwrap_or_else(|| way.token.clone()));
        Some(Box::pin(go_on(address, addresses, token)))
    }

    /// Hands on what the stay produced.
    fn flush(
        &mut self,
        stay: &mut Stay,
        sockets: &mut Sockets,
        requests: Option<&mpsc::Sender<signal::Request>>,
    ) {
        while let Some((link, transmit)) = stay.poll_transmit() {
            sockets.send(link, &transmit);
        }
        while let Some(requests) = requests
            && let Some(request) = stay.poll_request()
        {
            match requests.try_send(request) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => stay.signal_lost(),
                // The reader will say that the socket is gone.
                Err(mpsc::error::TrySendError::Closed(request)) => {
                    stay.unsent(request);
                    break;
                }
            }
        }
        while let Some(media) = stay.poll_media() {
            if self.ends.received.try_send(media).is_err() {
                self.dropped += 1;
                stay.dropped(1);
            }
        }
        for event in stay.take_events() {
            self.tell(event);
        }
        self.flush_events();
    }

    /// Tells the owner, who may be slow: the terminal never waits for it.
    fn tell(&mut self, event: Event) {
        // Of the participants only the newest list is of interest.
        if matches!(event, Event::Participants(_)) {
            self.backlog.retain(|waiting| !matches!(waiting, Event::Participants(_)));
        }
        if self.backlog.len() < BACKLOG || matches!(event, Event::Left { .. }) {
            self.backlog.push_back(event);
        }
        self.flush_events();
    }

    fn flush_events(&mut self) {
        while !self.backlog.is_empty() {
            let Ok(room) = self.ends.events.try_reserve() else { return };
            if let Some(event) = self.backlog.pop_front() {
                room.send(event);
            }
        }
    }
}

/// Waits for another socket, if there is one to wait for.
async fn found(resuming: &mut Option<Resuming>) -> Option<(Writer, Reader)> {
    match resuming {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// Knocks until the service goes on with the stay. `None` when it has none to go on with, or time is over.
async fn go_on(address: Url, addresses: Vec<SocketAddr>, token: String) -> Option<(Writer, Reader)> {
    let until = tokio::time::Instant::now() + RESUME;
    loop {
        match tokio::time::timeout_at(until, signal::connect(&address, &addresses, &token)).await.ok()? {
            Ok((writer, mut reader)) => match tokio::time::timeout_at(until, reader.next()).await.ok()? {
                Some(Response::Reconnect(_)) => return Some((writer, reader)),
                Some(_) => return None,
                None => {}
            },
            // Whatever is between us and the service may refuse for a moment what the service would take.
            Err(DoorError::Other(_) | DoorError::NobodyThere(_)) => {}
            Err(_) => return None,
        }
        tokio::time::timeout_at(until, tokio::time::sleep(RESUME_PAUSE)).await.ok()?;
    }
}

/// A service that puts us out closes media and says why; the two arrive in any order.
async fn last_words(stay: &mut Stay, reader: &mut Reader) -> Option<Outcome> {
    let until = tokio::time::Instant::now() + LAST_WORDS;
    while let Ok(Some(message)) = tokio::time::timeout_at(until, reader.next()).await {
        if let Some(outcome) = stay.last_word(Instant::now(), message) {
            return Some(outcome);
        }
    }
    None
}

/// Writes messages, so that a slow connection does not hold up media.
async fn write(mut writer: Writer, mut requests: mpsc::Receiver<signal::Request>) {
    while let Some(request) = requests.recv().await {
        if writer.send(request).await.is_err() {
            return;
        }
    }
    writer.close().await;
}
