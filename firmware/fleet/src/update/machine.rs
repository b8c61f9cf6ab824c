//! What is done about updates, and in which order: a state machine without I/O.
//!
//! Time is an argument, what happened is an [`Event`], what is to be done comes back as [`Command`]s, to be done in
//! their order. [`Command::Keep`] comes before every step that could be the last; when the record cannot be kept, the
//! commands behind it must not be done, and [`Event::NotKept`] is to be told.

mod offers;
mod recover;
mod show;
#[cfg(test)]
mod tests;
mod verdict;
mod words;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use rostrum_hal::{Timestamp, selftest::Part};

pub use words::{Boot, Command, Event, News};

use super::{
    offer::{Bundle, BundleInfo, Trouble},
    policy::{LocalTime, Policy, RoomState, Wait},
    record::{Attempt, End, Outcome, Record, Rejected, Stage},
    status::Status,
};

/// What runs in the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    Fetching(u8),
    Inspecting,
    Installing(u8),
    Testing,
    Checking,
    Marking,
    GoingBack,
    /// The server took it back before the restart.
    Staying,
    /// After a rollback.
    Settling,
    Restarting,
}

/// The state machine.
pub struct Machine {
    policy: Policy,
    record: Record,
    boot: Option<Boot>,
    room: RoomState,
    local: Option<LocalTime>,
    /// Whether bundles are fetched before RAUC sees them.
    fetches: bool,
    doing: Doing,
    since: Timestamp,
    held: bool,
    fetched: Option<PathBuf>,
    inspected: Option<BundleInfo>,
    not_before: Option<Timestamp>,
    /// When what runs is looked at again; it does not keep a version from coming that may be better.
    check_after: Option<Timestamp>,
    /// What runs was marked good in this boot.
    is_good: bool,
    waits: Option<Wait>,
    /// What went wrong before the next try.
    trouble: Option<String>,
    told: Option<String>,
    shown: Option<Status>,
}

/// Tries of one update, power cuts among them.
const TRIES: u32 = 5;
/// Boots in which a new version may show that it is good; as many as the boot loader counts.
const BOOTS: u32 = 3;
/// A restart that does not come is asked for again.
const RESTART_AGAIN: Duration = Duration::from_secs(120);
/// Time before what runs is looked at again when it was not good in an ordinary boot.
const CHECK_AGAIN: Duration = Duration::from_secs(60);
/// Versions that are remembered as failed.
const REJECTED: usize = 16;
/// Outcomes that wait for a server; older ones are dropped.
const OUTCOMES: usize = 16;

type Commands = Vec<Command>;

impl Machine {
    /// Goes on from `record`. `fetches`: bundles are fetched before RAUC sees them, where it does not stream.
    pub fn new(policy: Policy, record: Record, fetches: bool, now: Timestamp) -> Self {
        Self {
            policy,
            record,
            boot: None,
            room: RoomState::Silent { since: now },
            local: None,
            fetches,
            doing: Doing::Nothing,
            since: now,
            held: false,
            fetched: None,
            inspected: None,
            not_before: None,
            check_after: None,
            is_good: false,
            waits: None,
            trouble: None,
            told: None,
            shown: None,
        }
    }

    /// Outcomes that the server is yet to be told.
    pub fn untold(&self) -> Option<&Outcome> {
        self.record.outcomes.front()
    }

    /// Whether what runs was found good, and nothing is in the way of `boot-complete.target`.
    pub fn is_good(&self) -> bool {
        self.is_good
    }

    /// No update is under way.
    pub fn is_idle(&self) -> bool {
        self.record.attempt.is_none()
    }

    /// Takes what happened and says what is to be done.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Commands {
        let mut commands = Vec::new();
        self.take(now, event, &mut commands);
        self.advance(now, &mut commands);
        let status = self.status();
        if self.shown.as_ref() != Some(&status) {
            self.shown = Some(status.clone());
            commands.push(Command::Show(status));
        }
        commands
    }

    fn take(&mut self, now: Timestamp, event: Event, commands: &mut Commands) {
        match event {
            Event::Started(boot) => self.started(now, boot, commands),
            Event::Room(room) => self.room = room,
            Event::Clock(local) => self.local = local,
            Event::Offered(offer) => self.offered(now, offer, commands),
            Event::NothingOffered => self.nothing_offered(commands),
            Event::Unusable { action, text } => {
                let ends = self.record.outcomes.iter().chain(&self.record.last);
                if !ends.into_iter().any(|end| end.action.as_deref() == Some(&action)) {
                    self.note(Some(action), None, End::Failure, text);
                    self.keep(commands);
                }
            }
            Event::Withdrawn { action } => self.withdrawn(action, commands),
            Event::Confirmed { yes } => self.confirmed(yes, commands),
            Event::Fetching(percent) => {
                if matches!(self.doing, Doing::Fetching(_)) {
                    self.doing = Doing::Fetching(percent);
                }
            }
            Event::Installing(percent) => {
                if matches!(self.doing, Doing::Installing(_)) {
                    self.doing = Doing::Installing(percent);
                }
            }
            Event::Fetched(result) if matches!(self.doing, Doing::Fetching(_)) => {
                self.doing = Doing::Nothing;
                match result {
                    Ok(path) => {
                        self.fetched = Some(path);
                        self.tell(News::Downloaded, commands);
                    }
                    Err(trouble) => self.trouble(now, &trouble, commands),
                }
            }
            Event::Inspected(result) if self.doing == Doing::Inspecting => {
                self.doing = Doing::Nothing;
                match result {
                    Ok(info) => self.inspected(info, commands),
                    Err(trouble) => self.trouble(now, &trouble, commands),
                }
            }
            Event::Installed(result) if matches!(self.doing, Doing::Installing(_)) => {
                self.doing = Doing::Nothing;
                match result {
                    Ok(()) => self.installed(commands),
                    Err(trouble) => {
                        self.set_stage(Stage::Accepted);
                        self.trouble(now, &trouble, commands);
                        self.keep(commands);
                    }
                }
            }
            Event::Tested(parts) if self.doing == Doing::Testing => {
                self.doing = Doing::Nothing;
                if let Some(Stage::Installed { failing, restarting, .. }) = self.stage_mut() {
                    *failing = parts;
                    *restarting = true;
                    self.keep(commands);
                    self.restart(now, commands);
                }
            }
            Event::Checked(result) if self.doing == Doing::Checking => {
                self.doing = Doing::Nothing;
                self.checked(now, result, commands);
            }
            Event::Marked(result) => self.marked(now, result, commands),
            Event::Told(number) => {
                if self.record.outcomes.front().is_some_and(|outcome| outcome.number == number) {
                    self.record.outcomes.pop_front();
                    self.keep(commands);
                }
            }
            Event::NotKept(why) => self.not_kept(now, &why),
            // Late words of something that was stopped.
            Event::Fetched(_)
            | Event::Inspected(_)
            | Event::Installed(_)
            | Event::Tested(_)
            | Event::Checked(_) => {}
            Event::Tick => {}
        }
    }

    fn installed(&mut self, commands: &mut Commands) {
        let Some(boot) = &self.boot else { return };
        let stage = Stage::Installed {
            target: boot.other.clone(),
            boot_id: boot.id.clone(),
            failing: BTreeSet::new(),
            restarting: false,
        };
        self.set_stage(stage);
        self.keep(commands);
        self.tell(News::Proceeding("installed; a restart makes it run".into()), commands);
    }

    /// A failure on the way: another try later, or the end.
    fn trouble(&mut self, now: Timestamp, trouble: &Trouble, commands: &mut Commands) {
        let Some(attempt) = &mut self.record.attempt else { return };
        attempt.tries += 1;
        let tries = attempt.tries;
        if trouble.may_pass && tries < TRIES {
            log::warn!(tries, reason = trouble.text.as_str(); "an update did not go on; trying again later");
            self.trouble = Some(trouble.text.clone());
            self.not_before = Some(now + self.policy.retry * (1 << tries.min(8)));
            // What was fetched may be what is wrong.
            self.inspected = None;
            self.keep(commands);
            return;
        }
        self.end(End::Failure, trouble.text.clone(), commands);
    }

    /// Without a record on the disk nothing goes on; what runs is left as it is.
    fn not_kept(&mut self, now: Timestamp, why: &str) {
        log::error!(reason = why; "the record of updates cannot be kept; free some space");
        self.doing = Doing::Nothing;
        self.not_before = Some(now + self.policy.retry);
        let Some(attempt) = &mut self.record.attempt else { return };
        match attempt.stage {
            // It was not begun.
            Stage::Installing { .. } => attempt.stage = Stage::Accepted,
            Stage::Committing { .. } => {
                // The commands behind it were not done; the new version is looked at again.
                if let Some(boot) = &self.boot {
                    attempt.stage = Stage::Trying {
                        target: boot.slot.clone(),
                        boot_id: boot.id.clone(),
                        failing: BTreeSet::new(),
                        boots: 1,
                        reason: None,
                    };
                }
            }
            _ => {}
        }
        let Some(attempt) = &mut self.record.attempt else { return };
        attempt.tries += 1;
        if attempt.tries >= TRIES && attempt.stage == Stage::Accepted {
            let text = format!("the record of updates cannot be kept: {why}");
            let mut unkept = Vec::new();
            self.end(End::Failure, text, &mut unkept);
        }
    }

    /// Does what is due.
    fn advance(&mut self, now: Timestamp, commands: &mut Commands) {
        let Some(other) = self.boot.as_ref().map(|boot| boot.other.clone()) else { return };
        self.hold(commands);
        if self.doing == Doing::Restarting {
            if now.saturating_since(self.since) >= RESTART_AGAIN {
                self.restart(now, commands);
            }
            return;
        }
        if self.doing != Doing::Nothing || self.not_before.is_some_and(|until| now < until) {
            return;
        }
        self.not_before = None;
        self.trouble = None;
        match self.stage() {
            Some(Stage::Trying { failing, .. }) => {
                let failing = failing.clone();
                self.check(Some(failing), commands);
            }
            Some(Stage::Committing { .. }) => self.mark_good(commands),
            _ if !self.is_good && self.check_after.is_none_or(|after| now >= after) => {
                self.check(None, commands)
            }
            Some(Stage::Accepted) => self.go_on(now, other, commands),
            Some(Stage::Installed { restarting, .. }) => {
                let restarting = *restarting;
                if self.may_install(now) {
                    if restarting {
                        self.restart(now, commands);
                    } else {
                        self.doing = Doing::Testing;
                        commands.push(Command::Test);
                    }
                }
            }
            // Only between its beginning and its end, where something else is being done.
            Some(Stage::Installing { .. }) | None => {}
        }
    }

    /// The way of an update from the offer to the slot.
    fn go_on(&mut self, now: Timestamp, target: String, commands: &mut Commands) {
        let Some(attempt) = &self.record.attempt else { return };
        let offer = attempt.offer.clone();
        if !self.agreed(attempt) {
            return;
        }
        if offer.asks {
            // It comes again as one to be installed.
            return self.tell(News::Answer { yes: true }, commands);
        }
        let bundle = match (&offer.bundle, &self.fetched) {
            (Bundle::File { .. }, _) => offer.bundle.clone(),
            (Bundle::Remote { .. }, Some(path)) => Bundle::File { path: path.clone() },
            (Bundle::Remote { .. }, None) if !self.fetches => offer.bundle.clone(),
            (Bundle::Remote { .. }, None) => {
                if self.allowed(self.policy.may_fetch(&offer, self.room, now), commands) {
                    self.doing = Doing::Fetching(0);
                    self.tell(News::Proceeding("fetching the bundle".into()), commands);
                    commands.push(Command::Fetch(offer));
                }
                return;
            }
        };
        if self.inspected.is_none() {
            if self.allowed(self.policy.may_fetch(&offer, self.room, now), commands) {
                self.doing = Doing::Inspecting;
                commands.push(Command::Inspect(bundle));
            }
            return;
        }
        if !self.may_install(now) {
            if let Some(wait) = self.waits {
                self.tell(News::Proceeding(wait.to_string()), commands);
            }
            return;
        }
        self.set_stage(Stage::Installing { target });
        self.keep(commands);
        self.doing = Doing::Installing(0);
        self.tell(News::Proceeding("installing".into()), commands);
        commands.push(Command::Install(bundle));
    }

    /// Whether whoever has to agree did so.
    fn agreed(&self, attempt: &Attempt) -> bool {
        !self.policy.person_confirms || attempt.confirmed || attempt.offer.source.action().is_none()
    }

    fn may_install(&mut self, now: Timestamp) -> bool {
        let Some(attempt) = &self.record.attempt else { return false };
        let allowed = self.policy.may_install(&attempt.offer, self.room, now, self.local);
        self.waits = allowed.err();
        allowed.is_ok()
    }

    fn allowed(&mut self, allowed: Result<(), Wait>, commands: &mut Commands) -> bool {
        self.waits = allowed.err();
        if let Some(wait) = self.waits {
            self.tell(News::Proceeding(wait.to_string()), commands);
        }
        allowed.is_ok()
    }

    /// A meeting that begins pauses what is under way.
    fn hold(&mut self, commands: &mut Commands) {
        let busy = matches!(self.doing, Doing::Fetching(_) | Doing::Installing(_) | Doing::Inspecting);
        let hold = busy && self.room == RoomState::Meeting;
        if hold != self.held {
            self.held = hold;
            self.waits = hold.then_some(Wait::Meeting);
            commands.push(Command::Hold(hold));
        }
    }

    fn check(&mut self, failing: Option<BTreeSet<Part>>, commands: &mut Commands) {
        self.doing = Doing::Checking;
        commands.push(Command::Check { failing });
    }

    fn restart(&mut self, now: Timestamp, commands: &mut Commands) {
        self.doing = Doing::Restarting;
        self.since = now;
        commands.push(Command::Restart);
    }

    /// Stops what is done for an update that was not begun to be installed.
    fn stop(&mut self, commands: &mut Commands) {
        if matches!(self.doing, Doing::Fetching(_) | Doing::Inspecting) {
            self.doing = Doing::Nothing;
        }
        if self.held {
            self.held = false;
            commands.push(Command::Hold(false));
        }
        commands.push(Command::Discard);
        self.fetched = None;
        self.inspected = None;
    }

    /// The end of an update, which its source is told, also after a power cut.
    fn end(&mut self, end: End, text: String, commands: &mut Commands) {
        let Some(attempt) = self.record.attempt.take() else { return };
        match end {
            End::Failure => log::error!(reason = text.as_str(); "an update failed"),
            End::Success | End::Cancelled => log::info!(reason = text.as_str(); "an update ended"),
        }
        let version = attempt.version.or(attempt.offer.version);
        self.note(attempt.offer.source.action().map(str::to_owned), version, end, text);
        self.fetched = None;
        self.inspected = None;
        self.waits = None;
        self.trouble = None;
        self.keep(commands);
        commands.push(Command::Discard);
    }

    fn note(&mut self, action: Option<String>, version: Option<String>, end: End, text: String) {
        let number = self.record.next_outcome;
        self.record.next_outcome += 1;
        let outcome = Outcome { number, action, version, end, text };
        if outcome.action.is_some() {
            self.record.outcomes.push_back(outcome.clone());
            while self.record.outcomes.len() > OUTCOMES {
                self.record.outcomes.pop_front();
            }
        }
        self.record.last = Some(outcome);
    }

    /// The version is not tried again until another one came.
    fn reject(&mut self, version: String, reason: String) {
        self.record.rejected.retain(|rejected| rejected.version != version);
        self.record.rejected.push_back(Rejected { version, reason });
        while self.record.rejected.len() > REJECTED {
            self.record.rejected.pop_front();
        }
    }

    fn keep(&self, commands: &mut Commands) {
        commands.push(Command::Keep(Box::new(self.record.clone())));
    }

    fn tell(&mut self, news: News, commands: &mut Commands) {
        let Some(action) = self.record.attempt.as_ref().and_then(|attempt| attempt.offer.source.action())
        else {
            return;
        };
        let text = format!("{news:?}");
        // Each thing once: a server is not flooded.
        if self.told.as_ref() != Some(&text) {
            self.told = Some(text);
            commands.push(Command::Tell { action: action.to_owned(), news });
        }
    }

    fn stage(&self) -> Option<&Stage> {
        self.record.attempt.as_ref().map(|attempt| &attempt.stage)
    }

    fn stage_mut(&mut self) -> Option<&mut Stage> {
        self.record.attempt.as_mut().map(|attempt| &mut attempt.stage)
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(attempt) = &mut self.record.attempt {
            attempt.stage = stage;
        }
    }

    fn version_of_attempt(&self) -> Option<String> {
        let attempt = self.record.attempt.as_ref()?;
        attempt.version.clone().or_else(|| attempt.offer.version.clone())
    }
}
