//! The updater at work: what happens goes into the state machine, and its commands go out.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rostrum_hal::{
    Timestamp,
    identity::{IdentityError, Udid},
    selftest::Part,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};
use url::Url;
use zbus::Connection;

use super::{
    config::{Config, Server, Transfer},
    ddi::{self, schedule::Schedule},
    fetch::{self, Folder, Wanted},
    gate::Gate,
    http::{Http, HttpError},
    machine::{Boot, Command, Event, Machine},
    offer::{Bundle, Offer, Trouble},
    rauc::{Access, Rauc, RaucError},
    record::RecordFile,
    status::Status,
    stick::Sticks,
    system::System,
    terminal::{Ears, Terminal},
};

/// Why the updater cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A folder of its own cannot be made.
    #[error("cannot use {dir}: {source}; check state_dir")]
    Folder {
        /// Which.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The terminal has no name.
    #[error("cannot read the terminal's name from {file}: {source}; it is written by rostrum-provision")]
    Name {
        /// Its file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The terminal's name is none.
    #[error("{file} holds no Udid: {source}")]
    Udid {
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        source: IdentityError,
    },
    /// The time zone is not known.
    #[error("time_zone {name:?} is not known; write one like \"Europe/Berlin\"")]
    TimeZone {
        /// Its name.
        name: String,
    },
    /// The way to the server is not there.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server's address takes no path.
    #[error("server.url {0} is no address of a server")]
    Address(Url),
    /// The bus is not there.
    #[error("D-Bus does not answer: {0}; is dbus there?")]
    Bus(#[from] zbus::Error),
    /// RAUC is not there.
    #[error(transparent)]
    Rauc(#[from] RaucError),
}

/// Time between two looks at the clock, the sticks and what is due.
const TICK: Duration = Duration::from_secs(1);
/// Time between two tries to reach RAUC.
const RAUC_AGAIN: Duration = Duration::from_secs(1);
/// Time for a self-test without a person.
const TEST: Duration = Duration::from_secs(90);

/// Works until `stop` is true, telling `alive` once a second.
///
/// # Errors
/// [`RunError`] at the start; later, trouble is logged and tried again.
pub async fn run(
    config: Config,
    mut stop: watch::Receiver<bool>,
    mut alive: impl FnMut(),
) -> Result<(), RunError> {
    let zone = zone(config.time_zone.as_deref())?;
    let folder = |dir: &Path| {
        let failed = |source| RunError::Folder { dir: dir.into(), source };
        RecordFile::in_dir(dir)
            .map_err(failed)
            .and_then(|file| Folder::new(dir.join("bundle")).map(|folder| (file, folder)).map_err(failed))
    };
    let (file, folder) = folder(&config.state_dir)?;
    let bus = match &config.bus {
        Some(address) => zbus::connection::Builder::address(address.as_str())?.build().await?,
        None => Connection::system().await?,
    };
    let (rauc, system) = (Rauc::on(&bus).await?, System::on(&bus).await?);
    let (events, mut happened) = mpsc::unbounded_channel();
    let udid = udid(&config.udid_file)?;
    let version = config.places.version().unwrap_or_else(|error| {
        log::error!(error:%; "the version that runs is not known");
        "0.0.0".into()
    });
    let http =
        config.server.as_ref().map(|server| Http::new(&server.url, &server.credentials)).transpose()?;
    let agent = match config.server.as_ref().zip(http.clone()) {
        Some((server, http)) => Some(agent(server, http, &udid, &version, events.clone())?),
        None => None,
    };
    let (status, shown) = watch::channel(Status::default());
    let ears = Ears { events: events.clone(), server: agent.clone(), status: shown };
    let terminal = Terminal::connect(config.terminal.clone(), ears);
    let fetches = config.server.as_ref().is_some_and(|server| server.transfer == Transfer::Fetch);
    let machine = Machine::new(config.install.policy(), file.read(), fetches, Timestamp::now());
    let (hold, held) = watch::channel(false);
    let mut shell = Shell {
        machine,
        file,
        folder,
        rauc,
        system,
        http,
        agent,
        terminal,
        gate: config.gate.clone(),
        events: events.clone(),
        status,
        hold,
        held,
        job: None,
        access: config.server.as_ref().map(|server| server.credentials.clone()).unwrap_or_default(),
        restart_request: config.restart_request.clone(),
        hold_request: config.hold_request.clone(),
        good_file: config.good_file.clone(),
        told: None,
    };
    // Whoever paused RAUC before may have ended without letting it go on.
    shell.hold_rauc(false);
    let mut sticks = Sticks::below(config.sticks.clone());
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut facts = Some(ask_rauc(&shell, &config, &version));
    loop {
        tokio::select! {
            event = happened.recv() => {
                let Some(event) = event else { return Ok(()) };
                if matches!(event, Event::Started(_)) {
                    facts = None;
                }
                shell.happen(event).await;
            }
            _ = tick.tick() => {
                alive();
                shell.happen(Event::Clock(config.places.local_time(&zone))).await;
                if facts.is_none() && shell.machine.is_idle() && let Some(offer) = sticks.next_offer() {
                    shell.happen(Event::Offered(offer)).await;
                }
                shell.happen(Event::Tick).await;
            }
            stopped = stop.wait_for(|stop| *stop) => {
                let _ = stopped;
                shell.hold_rauc(false);
                return Ok(());
            }
        }
    }
}

fn zone(name: Option<&str>) -> Result<jiff::tz::TimeZone, RunError> {
    match name {
        Some(name) => jiff::tz::TimeZone::get(name).map_err(|_| RunError::TimeZone { name: name.to_owned() }),
        None => Ok(jiff::tz::TimeZone::system()),
    }
}

fn udid(file: &Path) -> Result<Udid, RunError> {
    let text = fs::read_to_string(file).map_err(|source| RunError::Name { file: file.into(), source })?;
    let line = text.lines().next().unwrap_or_default().trim();
    Udid::new(line).map_err(|source| RunError::Udid { file: file.into(), source })
}

fn agent(
    server: &Server,
    http: Http,
    udid: &Udid,
    version: &str,
    events: mpsc::UnboundedSender<Event>,
) -> Result<mpsc::UnboundedSender<ddi::Request>, RunError> {
    let mut base = server.url.clone();
    base.path_segments_mut().map_err(|()| RunError::Address(server.url.clone()))?.pop_if_empty().extend([
        server.tenant.as_str(),
        "controller",
        "v1",
        udid.as_str(),
    ]);
    let attributes = vec![
        ("udid", udid.to_string()),
        ("version", version.to_owned()),
        ("updater", env!("CARGO_PKG_VERSION").to_owned()),
        ("architecture", std::env::consts::ARCH.to_owned()),
    ];
    let schedule = Schedule::new(Duration::from_secs(server.poll_s));
    let (requests, asked) = mpsc::unbounded_channel();
    tokio::spawn(ddi::Agent { http, base, attributes, schedule, events }.run(asked));
    Ok(requests)
}

/// Asks RAUC what runs, until it answers.
fn ask_rauc(shell: &Shell, config: &Config, version: &str) -> JoinHandle<()> {
    let (rauc, events) = (shell.rauc.clone(), shell.events.clone());
    let (places, version) = (config.places.clone(), version.to_owned());
    tokio::spawn(async move {
        let mut is_told = false;
        loop {
            match boot(&rauc, places.boot_id(), &version).await {
                Ok(boot) => {
                    log::info!(slot = boot.slot.as_str(), version = boot.version.as_str(); "what runs is known");
                    let _ = events.send(Event::Started(boot));
                    return;
                }
                Err(error) if !std::mem::replace(&mut is_told, true) => {
                    log::error!(error:%; "updates are not possible; trying again");
                }
                Err(_) => {}
            }
            tokio::time::sleep(RAUC_AGAIN).await;
        }
    })
}

async fn boot(rauc: &Rauc, id: io::Result<String>, version: &str) -> Result<Boot, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let slots = rauc.slots().await.map_err(|error| text(&error))?;
    Ok(Boot {
        id: id.map_err(|error| text(&error))?,
        compatible: rauc.compatible().await.map_err(|error| text(&error))?,
        version: version.to_owned(),
        slot: slots.booted,
        other: slots.other,
        other_version: slots.other_version,
        next: slots.next,
    })
}

/// What the commands are done with.
struct Shell {
    machine: Machine,
    file: RecordFile,
    folder: Folder,
    rauc: Rauc,
    system: System,
    http: Option<Http>,
    agent: Option<mpsc::UnboundedSender<ddi::Request>>,
    terminal: Terminal,
    gate: Gate,
    events: mpsc::UnboundedSender<Event>,
    status: watch::Sender<Status>,
    hold: watch::Sender<bool>,
    held: watch::Receiver<bool>,
    /// What is fetched.
    job: Option<JoinHandle<()>>,
    access: super::http::Credentials,
    restart_request: PathBuf,
    hold_request: PathBuf,
    good_file: PathBuf,
    /// The outcome that the server is being told.
    told: Option<u64>,
}

impl Shell {
    async fn happen(&mut self, event: Event) {
        let mut commands = self.machine.handle(Timestamp::now(), event).into_iter();
        while let Some(command) = commands.next() {
            if let Command::Keep(record) = &command
                && let Err(error) = self.file.write(record)
            {
                // What was to come behind it must not be done.
                commands =
                    self.machine.handle(Timestamp::now(), Event::NotKept(error.to_string())).into_iter();
                continue;
            }
            self.obey(command).await;
        }
        if let (Some(agent), Some(outcome)) = (&self.agent, self.machine.untold())
            && self.told != Some(outcome.number)
        {
            self.told = Some(outcome.number);
            let _ = agent.send(ddi::Request::End(outcome.clone()));
        }
        if self.machine.is_good() && !self.good_file.exists() {
            self.say_good();
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Keep(_) => {}
            Command::Fetch(offer) => self.fetch(offer),
            Command::Hold(hold) => {
                self.hold.send_replace(hold);
                self.hold_rauc(hold);
            }
            Command::Discard => {
                if let Some(job) = self.job.take() {
                    job.abort();
                }
                self.folder.clear();
            }
            Command::Inspect(bundle) => {
                let (source, access) = self.way_to(&bundle);
                let rauc = self.rauc.clone();
                self.spawn(async move { Event::Inspected(rauc.inspect(&source, &access).await) });
            }
            Command::Install(bundle) => {
                let (source, access) = self.way_to(&bundle);
                let (rauc, events) = (self.rauc.clone(), self.events.clone());
                self.spawn(async move {
                    let tell = |percent| {
                        let _ = events.send(Event::Installing(percent));
                    };
                    Event::Installed(rauc.install(&source, &access, tell).await)
                });
            }
            Command::Test => {
                let (mut terminal, parts) = (self.terminal.clone(), self.gate.parts.clone());
                self.spawn(async move { Event::Tested(failing(&mut terminal, parts).await) });
            }
            Command::Check { failing } => {
                let (gate, system, terminal) =
                    (self.gate.clone(), self.system.clone(), self.terminal.clone());
                self.spawn(async move { Event::Checked(check(gate, system, terminal, failing).await) });
            }
            Command::MarkGood => {
                let rauc = self.rauc.clone();
                self.spawn(async move { marked(rauc.mark_good().await) });
            }
            Command::GoBack => {
                let rauc = self.rauc.clone();
                self.spawn(async move { marked(rauc.go_back().await) });
            }
            Command::Stay => {
                let rauc = self.rauc.clone();
                self.spawn(async move { marked(rauc.stay().await) });
            }
            Command::Restart => {
                log::info!("restarting into the other version");
                if let Err(error) = request(&self.restart_request, true) {
                    log::error!(error:%; "the machine does not restart; asking again");
                }
            }
            Command::Tell { action, news } => {
                if let Some(agent) = &self.agent {
                    let _ = agent.send(ddi::Request::Tell { action, news });
                }
            }
            Command::Show(status) => {
                self.status.send_replace(status);
            }
        }
    }

    fn spawn(&self, work: impl Future<Output = Event> + Send + 'static) {
        let events = self.events.clone();
        tokio::spawn(async move {
            // The program ends when nobody listens.
            let _ = events.send(work.await);
        });
    }

    fn fetch(&mut self, offer: Offer) {
        let (Some(http), Bundle::Remote { url, size, sha256 }) = (self.http.clone(), offer.bundle) else {
            return;
        };
        let (folder, held, events) = (self.folder.clone(), self.held.clone(), self.events.clone());
        self.job = Some(tokio::spawn(async move {
            let mut last = None;
            let tell = |percent: u8| {
                if last.replace(percent) != Some(percent) {
                    let _ = events.send(Event::Fetching(percent));
                }
            };
            let result = match Url::parse(&url) {
                Ok(url) => fetch::fetch(&http, &Wanted { url, size, sha256 }, &folder, held, tell).await,
                Err(_) => Err(Trouble::lasting("the server gives an address that is none")),
            };
            let _ = events.send(Event::Fetched(result));
        }));
    }

    /// What RAUC is told of a bundle.
    fn way_to(&self, bundle: &Bundle) -> (String, Access) {
        match bundle {
            Bundle::File { path } => (path.to_string_lossy().into_owned(), Access::default()),
            Bundle::Remote { url, .. } => {
                let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
                let parsed = Url::parse(url).ok();
                let token = self.http.as_ref().zip(parsed).and_then(|(http, url)| {
                    http.authorization(&url).and_then(|value| value.to_str().ok().map(str::to_owned))
                });
                let access = Access {
                    headers: token.map(|token| format!("Authorization: {token}")).into_iter().collect(),
                    certificate: text(&self.access.certificate),
                    key: text(&self.access.key),
                    authorities: text(&self.access.authorities),
                };
                (url.clone(), access)
            }
        }
    }

    /// Stops RAUC's time, or lets it go on.
    fn hold_rauc(&self, hold: bool) {
        if let Err(error) = request(&self.hold_request, hold) {
            log::warn!(error:%, hold; "RAUC cannot be paused or let go on");
        }
    }

    fn say_good(&self) {
        match request(&self.good_file, true) {
            Ok(()) => log::info!("what runs is good"),
            Err(error) => {
                log::error!(file:% = self.good_file.display(), error:%; "cannot say that what runs is good");
            }
        }
    }
}

/// Asks the system, which watches for a file, for what this program may not do itself.
fn request(file: &Path, wanted: bool) -> io::Result<()> {
    if wanted {
        file.parent().map_or(Ok(()), fs::create_dir_all)?;
        return fs::write(file, "");
    }
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn marked(result: Result<(), RaucError>) -> Event {
    Event::Marked(result.map_err(|error| error.to_string()))
}

/// Parts that fail now. One that is not tested in time proves nothing.
async fn failing(terminal: &mut Terminal, parts: BTreeSet<Part>) -> BTreeSet<Part> {
    if parts.is_empty() {
        return parts;
    }
    match terminal.test(parts, TEST).await {
        Some(result) => result.failed.into_iter().map(|failed| failed.part).collect(),
        None => BTreeSet::new(),
    }
}

/// Whether what runs is good.
async fn check(
    gate: Gate,
    system: System,
    mut terminal: Terminal,
    failing: Option<BTreeSet<Part>>,
) -> Result<(), String> {
    let mut until = Instant::now() + gate.patience();
    gate.units_are_up(&system, until).await?;
    gate.storage_can_be_written()?;
    let Some(failing) = failing.filter(|_| !gate.parts.is_empty()) else { return Ok(()) };
    loop {
        let before = Instant::now();
        terminal.is_out_of_meetings().await;
        // A meeting is no fault of the version.
        until += before.elapsed();
        let left = until.saturating_duration_since(Instant::now());
        let result = terminal.test(gate.parts.clone(), left.min(TEST)).await;
        match result {
            Some(result) => {
                gate.judge_test(&result.failed, &failing)?;
                if gate.parts.iter().all(|part| result.tested.contains(part)) {
                    return Ok(());
                }
                tokio::time::sleep(TICK).await;
            }
            None if Instant::now() >= until => {
                return Err(format!(
                    "the terminal did not come to the end of its self-test within {} s",
                    gate.patience_s
                ));
            }
            None => {}
        }
    }
}
