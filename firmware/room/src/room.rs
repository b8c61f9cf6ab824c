//! The state machine.

use crate::lights::signals;
use crate::mute::Mute;
use crate::note::microseconds;
use crate::reset::{CountDown, ResetButtons, Turn};
use crate::screen::Screen;
use crate::{Command, Commands, Event, MuteReason, Note, Part, Phase, Request, Severity, Status, Update};
use rostrum_hal::Timestamp;
use rostrum_hal::buttons::ButtonRole;
use rostrum_hal::indicator::{IndicatorRole, Signal};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long [`Phase::Leaving`] waits for [`Event::Left`] before the room counts as out.
pub const LEAVE_PATIENCE: Duration = Duration::from_secs(5);
/// After how long in [`Phase::Joining`] people are told that it takes long.
pub const JOIN_SLOW: Duration = Duration::from_secs(10);

const VOLUME_STEP: u8 = 10;

/// Settings of a room, and what they were when it was switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoomConfig {
    /// Join meetings muted. Otherwise pressing Join opens the microphones (a mute switch in hardware
    /// wins over that). Outside of meetings they are always closed.
    pub join_muted: bool,
    /// Volume of the speaker, 0..=100 percent.
    pub volume: u8,
    /// The screen goes to standby when the room was not used for so long; `None` is never. Not kept, as the
    /// configuration says it anew.
    #[serde(skip)]
    pub screen_standby_after: Option<Duration>,
    /// Which buttons reset the terminal to factory; `None` where it cannot be reset. Not kept either.
    #[serde(skip)]
    pub factory_reset: Option<ResetButtons>,
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self {
            join_muted: false,
            volume: 70,
            screen_standby_after: Some(Duration::from_secs(600)),
            factory_reset: None,
        }
    }
}

/// What the shell was last told to show and do; `None` when it must be told again.
#[derive(Default)]
struct Told {
    microphones: Option<bool>,
    service_muted: Option<bool>,
    mute_light: Option<Signal>,
    status_light: Option<Signal>,
    meeting_light: Option<Signal>,
    screen_on: Option<bool>,
    picture_hidden: Option<bool>,
    volume: Option<u8>,
}

/// What the room is doing. One value a terminal, owned by one task.
pub struct Room {
    config: RoomConfig,
    phase: Phase,
    phase_since: Timestamp,
    mute: Mute,
    screen: Screen,
    faults: BTreeMap<Part, Note>,
    /// While the camera's cover is closed.
    covered: Option<Note>,
    /// The trouble with the service that lasts, or why the last meeting ended.
    service_note: Option<Note>,
    reset: CountDown,
    /// While a new version comes.
    update: Option<(Update, Note)>,
    /// Why the last reset did not happen.
    reset_note: Option<Note>,
    /// The volume before the buttons were held that reset.
    volume_before: u8,
    reset_commanded: bool,
    join_after_leaving: bool,
    stopping: bool,
    exited: bool,
    told: Told,
}

impl Room {
    /// A room that was just switched on: in no meeting, muted. The first [`Room::handle`], with whatever
    /// event, commands all outputs.
    pub fn new(config: RoomConfig, now: Timestamp) -> Self {
        Self {
            config: RoomConfig { volume: config.volume.min(100), ..config },
            phase: Phase::Idle,
            phase_since: now,
            mute: Mute::new(),
            screen: Screen::new(now),
            faults: BTreeMap::new(),
            covered: None,
            service_note: None,
            reset: CountDown::new(config.factory_reset.unwrap_or_default()),
            update: None,
            reset_note: None,
            volume_before: config.volume.min(100),
            reset_commanded: false,
            join_after_leaving: false,
            stopping: false,
            exited: false,
            told: Told::default(),
        }
    }

    /// Takes what happened at `now` and returns what to do, in this order.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Commands {
        let mut actions = Commands::new();
        if matches!(event, Event::Button(_) | Event::Request(_)) {
            self.screen.used(now);
        }
        match event {
            Event::Button(role) => self.button(now, role, &mut actions),
            Event::ButtonReleased(role) => self.reset.released(role),
            Event::ResetFailed { detail } => self.reset_failed(now, &detail, &mut actions),
            Event::Request(request) => self.request(now, request, &mut actions),
            Event::MuteSwitch { cut } => {
                self.mute.switch(cut);
                self.faults.remove(&Part::MuteSwitch);
            }
            Event::CameraCover { covered: false } => self.covered = None,
            Event::CameraCover { covered: true } if self.covered.is_none() => {
                let note = Note::covered(now);
                actions.push(Command::Notify(note.clone()));
                self.covered = Some(note);
            }
            Event::CameraCover { .. } => {}
            // Woken anew for whoever comes: it may have been switched off by hand.
            Event::Presence { occupied } if self.screen.occupied(now, occupied) => self.told.screen_on = None,
            Event::Presence { .. } => {}
            Event::FarEndMuted { muted: true } => self.mute.mute(MuteReason::FarEnd),
            // It cannot unmute us: it hears the truth again.
            Event::FarEndMuted { muted: false } => self.told.service_muted = None,
            Event::Faulty { part, detail } => self.faulty(now, part, &detail, &mut actions),
            Event::Healthy { part } => self.healthy(part),
            Event::Update(update) => self.update(now, update, &mut actions),
            Event::Shutdown => {
                self.stopping = true;
                self.leave(now, &mut actions);
            }
            Event::Tick => self.tick(now, &mut actions),
            Event::Joined
            | Event::Lost { .. }
            | Event::Rejoining
            | Event::LeftByService { .. }
            | Event::Left => self.service(now, event, &mut actions),
        }
        self.count_down(now, &mut actions);
        self.settle(now, actions)
    }

    /// Buttons are held that may reset the terminal: [`Event::Tick`] is wanted ten times a second.
    pub fn is_held(&self) -> bool {
        self.reset.is_held()
    }

    /// What the room is now.
    pub fn status(&self) -> Status {
        let muted = self.mute.muted();
        Status {
            phase: self.phase,
            phase_since_us: microseconds(self.phase_since),
            muted,
            mute_reason: self.mute.reason(),
            can_unmute: muted && self.mute.forced().is_none(),
            camera_covered: self.covered.is_some(),
            volume: self.config.volume,
            join_muted: self.config.join_muted,
            reset: self.reset.shown(),
            signals: signals(
                self.phase,
                !self.faults.is_empty(),
                muted,
                self.reset.shown(),
                self.update.as_ref().map(|(update, _)| *update),
            ),
            notes: self.notes(),
        }
    }

    /// What has to be kept for the next time the terminal is switched on.
    pub fn config(&self) -> RoomConfig {
        self.config
    }

    fn notes(&self) -> Vec<Note> {
        let mut notes: Vec<Note> =
            self.faults.values().chain(&self.covered).chain(&self.service_note).cloned().collect();
        notes.extend(self.reset_note.clone());
        notes.extend(self.update.as_ref().map(|(_, note)| note.clone()));
        notes.extend(
            self.reset.shown().zip(self.reset.since()).map(|(reset, since)| Note::reset(since, reset)),
        );
        notes.sort_by_key(|note| note.since_us);
        notes
    }

    fn button(&mut self, now: Timestamp, role: ButtonRole, actions: &mut Commands) {
        if self.reset.pressed(now, role) {
            self.volume_before = self.config.volume;
        }
        match role {
            ButtonRole::Join if self.phase.in_meeting() => self.leave(now, actions),
            ButtonRole::Join => self.join(now, actions),
            ButtonRole::Mute if self.mute.muted() => self.unmute(now, actions),
            ButtonRole::Mute => self.mute.mute(MuteReason::Button),
            ButtonRole::VolumeUp => {
                self.config.volume = self.config.volume.saturating_add(VOLUME_STEP).min(100);
            }
            ButtonRole::VolumeDown => self.config.volume = self.config.volume.saturating_sub(VOLUME_STEP),
            // A role that this room has no use for.
            _ => {}
        }
    }

    fn request(&mut self, now: Timestamp, request: Request, actions: &mut Commands) {
        match request {
            Request::Join => self.join(now, actions),
            Request::Leave => self.leave(now, actions),
            Request::SetMuted(true) => self.mute.mute(MuteReason::Page),
            Request::SetMuted(false) => self.unmute(now, actions),
            Request::ToggleMute if self.mute.muted() => self.unmute(now, actions),
            Request::ToggleMute => self.mute.mute(MuteReason::Page),
            Request::SetVolume(percent) => self.config.volume = percent.min(100),
            Request::SetJoinMuted(join_muted) => self.config.join_muted = join_muted,
            Request::FactoryReset if self.config.factory_reset.is_some() && !self.reset.is_decided() => {
                self.reset.decide(now);
                self.reset_begins(now, actions);
            }
            Request::FactoryReset => {}
        }
    }

    fn update(&mut self, now: Timestamp, update: Option<Update>, actions: &mut Commands) {
        if self.update.as_ref().map(|(update, _)| *update) == update {
            return;
        }
        self.update = update.map(|update| (update, Note::update(now, update)));
        if let Some((_, note)) = &self.update {
            actions.push(Command::Notify(note.clone()));
        }
    }

    fn unmute(&mut self, now: Timestamp, actions: &mut Commands) {
        let Err(reason) = self.mute.unmute() else { return };
        let (message, hint) = match reason {
            MuteReason::NotInMeeting => ("The room is in no meeting and stays muted.", "Press Join first."),
            MuteReason::Switch => ("The mute switch keeps the room muted.", "Move the switch to be heard."),
            MuteReason::SwitchFault => {
                ("The mute switch cannot be read; the room stays muted.", "Check the switch.")
            }
            _ => ("The microphones do not work; the room stays muted.", "Check their cable."),
        };
        actions.push(Command::Notify(Note::new(now, "stays_muted", Severity::Info, message, hint)));
    }

    fn faulty(&mut self, now: Timestamp, part: Part, detail: &str, actions: &mut Commands) {
        if self.faults.contains_key(&part) {
            return;
        }
        match part {
            Part::Microphones => self.mute.microphones_fault(true),
            Part::MuteSwitch => self.mute.switch_fault(),
            Part::MuteLight => self.mute.mute(MuteReason::LightFault),
            // Nobody knows any more what is held.
            Part::Buttons => self.reset.let_go(),
            _ => {}
        }
        let note = Note::fault(now, part, detail);
        actions.push(Command::Notify(note.clone()));
        self.faults.insert(part, note);
    }

    /// A part that came back knows nothing of what it was told before.
    fn healthy(&mut self, part: Part) {
        match part {
            Part::MuteSwitch => return,
            Part::Microphones => {
                self.mute.microphones_fault(false);
                self.told.microphones = None;
            }
            Part::Speaker => self.told.volume = None,
            Part::MuteLight => self.told.mute_light = None,
            Part::StatusLight => self.told.status_light = None,
            Part::MeetingLight => self.told.meeting_light = None,
            _ => {}
        }
        self.faults.remove(&part);
    }

    fn go(&mut self, now: Timestamp, phase: Phase) {
        if self.phase != phase {
            // So that a meeting's end is the begin of the time without use.
            self.screen.used(now);
            if phase == Phase::Joining {
                self.told.screen_on = None;
            }
            self.phase = phase;
            self.phase_since = now;
        }
        if !phase.in_meeting() {
            self.mute.meeting_ends();
            self.told.service_muted = None;
            self.told.picture_hidden = None;
        }
    }

    fn join(&mut self, now: Timestamp, actions: &mut Commands) {
        match self.phase {
            _ if self.reset.is_decided() => {}
            Phase::Idle if !self.stopping => {
                self.service_note = None;
                let light_fault = self.faults.contains_key(&Part::MuteLight);
                self.mute.meeting_begins(match (light_fault, self.config.join_muted) {
                    (true, _) => Some(MuteReason::LightFault),
                    (false, true) => Some(MuteReason::JoinedMuted),
                    (false, false) => None,
                });
                self.go(now, Phase::Joining);
                let muted = self.mute.muted();
                self.told.service_muted = Some(muted);
                self.told.picture_hidden = Some(false);
                actions.push(Command::Join { muted });
            }
            Phase::Leaving if !self.stopping => self.join_after_leaving = true,
            _ => {}
        }
    }

    fn leave(&mut self, now: Timestamp, actions: &mut Commands) {
        self.join_after_leaving = false;
        if self.phase.in_meeting() {
            self.service_note = None;
            self.go(now, Phase::Leaving);
            actions.push(Command::Leave);
        }
    }

    fn count_down(&mut self, now: Timestamp, actions: &mut Commands) {
        match self.reset.turn(now) {
            Turn::Nothing => {}
            Turn::Begins => {
                // It was no pressing of volume buttons.
                self.config.volume = self.volume_before;
                self.reset_note = None;
                self.screen.used(now);
                self.told.screen_on = None;
                actions.extend(self.reset.shown().map(|reset| Command::Notify(Note::reset(now, reset))));
            }
            Turn::Decided => self.reset_begins(now, actions),
            Turn::Overdue => {
                self.reset_failed(now, "it was asked to restart and still runs", actions);
            }
        }
    }

    /// Whoever is in a meeting leaves first.
    fn reset_begins(&mut self, now: Timestamp, actions: &mut Commands) {
        self.reset_note = None;
        self.screen.used(now);
        actions.extend(self.reset.shown().map(|reset| Command::Notify(Note::reset(now, reset))));
        self.leave(now, actions);
    }

    fn reset_failed(&mut self, now: Timestamp, detail: &str, actions: &mut Commands) {
        if self.reset.is_decided() {
            self.reset.fail();
            self.reset_commanded = false;
            let note = Note::reset_failed(now, detail);
            actions.push(Command::Notify(note.clone()));
            self.reset_note = Some(note);
        }
    }

    fn left(&mut self, now: Timestamp, actions: &mut Commands) {
        self.go(now, Phase::Idle);
        if std::mem::take(&mut self.join_after_leaving) {
            self.join(now, actions);
        }
    }

    fn service(&mut self, now: Timestamp, event: Event, actions: &mut Commands) {
        match (self.phase, event) {
            (Phase::Joining | Phase::InChannel | Phase::Reconnecting, Event::Joined) => {
                self.service_note = None;
                self.told.service_muted = None;
                self.go(now, Phase::InChannel);
            }
            // We had given up waiting for the answer to Leave, and are in after all.
            (Phase::Idle, Event::Joined) => {
                self.go(now, Phase::Leaving);
                actions.push(Command::Leave);
            }
            (Phase::InChannel | Phase::Reconnecting, Event::Rejoining) => self.go(now, Phase::Reconnecting),
            (phase, Event::Lost { reason } | Event::LeftByService { reason, last: false })
                if phase.in_meeting() =>
            {
                if phase != Phase::Joining {
                    self.go(now, Phase::Reconnecting);
                }
                self.trouble(now, "service_lost", "The connection to the meeting is lost", &reason, actions);
            }
            (phase, Event::LeftByService { reason, last: true }) if phase.in_meeting() => {
                self.go(now, Phase::Idle);
                let message = with_detail("The service ended the meeting for this room", &reason);
                let hint = "Press Join to try again; if it stays so, ask who runs the service.";
                let note = Note::new(now, "left_by_service", Severity::Error, message, hint);
                self.service_note = Some(note.clone());
                actions.push(Command::Notify(note));
            }
            (Phase::Leaving, Event::Left | Event::LeftByService { last: true, .. }) => {
                self.left(now, actions);
            }
            (phase, Event::Left) if phase.in_meeting() => self.left(now, actions),
            _ => {}
        }
    }

    /// Trouble that the shell works on by itself. People are told once.
    fn trouble(
        &mut self,
        now: Timestamp,
        code: &'static str,
        what: &str,
        detail: &str,
        actions: &mut Commands,
    ) {
        let message = with_detail(what, detail);
        if self.service_note.as_ref().is_some_and(|note| note.code == code && note.message == message) {
            return;
        }
        let hint = "The terminal keeps trying. If it stays so, check the network.";
        let note = Note::new(now, code, Severity::Warning, message, hint);
        self.service_note = Some(note.clone());
        actions.push(Command::Notify(note));
    }

    fn tick(&mut self, now: Timestamp, actions: &mut Commands) {
        let in_phase = now.saturating_since(self.phase_since);
        match self.phase {
            Phase::Leaving if in_phase >= LEAVE_PATIENCE => self.left(now, actions),
            Phase::Joining if in_phase >= JOIN_SLOW && self.service_note.is_none() => {
                self.trouble(now, "join_slow", "Joining the meeting takes long", "", actions);
            }
            _ => {}
        }
    }

    /// Brings what the shell does in line with what the room is. Microphones close before anything else is
    /// done and open after all the rest.
    fn settle(&mut self, now: Timestamp, actions: Commands) -> Commands {
        let status = self.status();
        let (muted, lights) = (status.muted, status.signals);
        let mut commands = Commands::new();
        let microphones = changed(&mut self.told.microphones, !muted);
        if muted && microphones {
            commands.push(Command::Microphones { open: false });
        }
        if changed(&mut self.told.mute_light, lights.mute) {
            commands.push(Command::ShowIndicator(IndicatorRole::Mute, lights.mute));
        }
        if changed(&mut self.told.status_light, lights.status) {
            commands.push(Command::ShowIndicator(IndicatorRole::Status, lights.status));
        }
        if changed(&mut self.told.meeting_light, lights.meeting) {
            commands.push(Command::ShowIndicator(IndicatorRole::Meeting, lights.meeting));
        }
        let screen_on = self.screen.is_on(now, self.phase == Phase::Idle, self.config.screen_standby_after);
        if changed(&mut self.told.screen_on, screen_on) {
            commands.push(Command::SwitchScreen { on: screen_on });
        }
        commands.extend(actions);
        if self.phase.in_meeting() && changed(&mut self.told.service_muted, muted) {
            commands.push(Command::TellService { muted });
        }
        let hidden = status.camera_covered;
        if self.phase.in_meeting() && changed(&mut self.told.picture_hidden, hidden) {
            commands.push(Command::HidePicture { hidden });
        }
        if !muted && microphones {
            commands.push(Command::Microphones { open: true });
        }
        if changed(&mut self.told.volume, self.config.volume) {
            commands.push(Command::SetVolume(self.config.volume));
        }
        if self.reset.is_decided()
            && self.phase == Phase::Idle
            && !std::mem::replace(&mut self.reset_commanded, true)
        {
            commands.push(Command::FactoryReset);
        }
        if self.stopping && self.phase == Phase::Idle && !std::mem::replace(&mut self.exited, true) {
            commands.push(Command::Exit);
        }
        commands
    }
}

/// Whether `wanted` is news to who was told `told`; from now on it is not.
fn changed<T: PartialEq>(told: &mut Option<T>, wanted: T) -> bool {
    let news = told.as_ref() != Some(&wanted);
    *told = Some(wanted);
    news
}

fn with_detail(what: &str, detail: &str) -> String {
    if detail.is_empty() { format!("{what}.") } else { format!("{what}: {detail}") }
}
