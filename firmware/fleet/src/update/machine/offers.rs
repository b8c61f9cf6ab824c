//! Offers: which are taken, refused, taken back or agreed to, and what a bundle says of itself.

use rostrum_hal::Timestamp;
use semver::Version;

use super::{Command, Commands, Doing, Machine};
use crate::update::{
    machine::News,
    offer::{BundleInfo, Offer, Source},
    record::{Attempt, End, Outcome, Stage},
};

impl Machine {
    pub(super) fn offered(&mut self, now: Timestamp, offer: Offer, commands: &mut Commands) {
        if let Some(attempt) = &mut self.record.attempt {
            if attempt.offer.source != offer.source {
                // The others' wait until this one ended; a person's come first, and the server offers its own again.
                if attempt.stage != Stage::Accepted || offer.source != Source::Panel {
                    return;
                }
                self.stop(commands);
                self.record.attempt = None;
            } else if attempt.stage == Stage::Accepted {
                // Its windows open and close, and its addresses change.
                let is_other = attempt.offer.bundle != offer.bundle && attempt.offer.version != offer.version;
                attempt.offer = offer;
                if is_other {
                    attempt.version = None;
                    self.stop(commands);
                }
                return;
            } else {
                return;
            }
        }
        let declined = offer.asks && offer.source.action() == self.record.declined.as_deref();
        if self.boot.is_none() || declined || self.is_done(&offer) {
            return;
        }
        if let Some(text) = self.refusal(&offer, offer.version.as_deref()) {
            self.begin(offer);
            self.end(End::Failure, text, commands);
            return;
        }
        self.not_before = None;
        self.since = now;
        self.begin(offer);
        self.keep(commands);
    }

    /// Whether its end was reached already, and only the source does not know it yet.
    pub(super) fn is_done(&self, offer: &Offer) -> bool {
        let same = |outcome: &Outcome| match offer.source.action() {
            Some(action) => outcome.action.as_deref() == Some(action),
            // A stick stays where it is.
            None => {
                offer.source == Source::Stick
                    && outcome.action.is_none()
                    && outcome.version.is_some()
                    && outcome.version == offer.version
            }
        };
        self.record.outcomes.iter().chain(&self.record.last).any(same)
    }

    /// Why a version is not tried here.
    pub(super) fn refusal(&self, offer: &Offer, version: Option<&str>) -> Option<String> {
        let rejected =
            self.record.rejected.iter().find(|rejected| Some(rejected.version.as_str()) == version)?;
        let insists = offer.source == Source::Panel;
        (!insists).then(|| format!("version {} failed here before: {}", rejected.version, rejected.reason))
    }

    pub(super) fn begin(&mut self, offer: Offer) {
        self.inspected = None;
        self.fetched = None;
        self.told = None;
        self.record.attempt =
            Some(Attempt { offer, version: None, confirmed: false, tries: 0, stage: Stage::Accepted });
    }

    pub(super) fn nothing_offered(&mut self, commands: &mut Commands) {
        let is_servers = self.record.attempt.as_ref().is_some_and(|attempt| {
            attempt.stage == Stage::Accepted && attempt.offer.source.action().is_some()
        });
        if is_servers {
            self.stop(commands);
            self.record.attempt = None;
            self.keep(commands);
        }
    }

    pub(super) fn withdrawn(&mut self, action: String, commands: &mut Commands) {
        let attempt = self.record.attempt.as_ref();
        let Some(attempt) = attempt.filter(|attempt| attempt.offer.source.action() == Some(&action)) else {
            // Nothing of it is here, so it is cancelled.
            let known = self.record.outcomes.iter().any(|outcome| outcome.action.as_deref() == Some(&action));
            if !known {
                let text = "nothing was installed".to_owned();
                self.note(Some(action), None, End::Cancelled, text);
                self.keep(commands);
            }
            return;
        };
        match (&attempt.stage, self.doing) {
            (Stage::Accepted, _) => {
                self.stop(commands);
                self.end(End::Cancelled, "cancelled before it was installed".into(), commands);
            }
            (Stage::Installed { restarting: false, .. }, Doing::Nothing) => {
                self.doing = Doing::Staying;
                commands.push(Command::Stay);
            }
            // The server asks again.
            (Stage::Installed { restarting: false, .. }, _) => {}
            _ => self.tell(News::TooLate, commands),
        }
    }

    pub(super) fn confirmed(&mut self, yes: bool, commands: &mut Commands) {
        let Some(attempt) = self.record.attempt.as_mut().filter(|attempt| attempt.stage == Stage::Accepted)
        else {
            return;
        };
        if yes {
            attempt.confirmed = true;
            self.keep(commands);
            return;
        }
        let (asks, action) = (attempt.offer.asks, attempt.offer.source.action().map(str::to_owned));
        self.stop(commands);
        if asks {
            // The server keeps it waiting, and goes on offering it.
            self.tell(News::Answer { yes: false }, commands);
            self.record.declined = action;
            self.record.attempt = None;
            self.keep(commands);
        } else {
            self.end(End::Failure, "a person at the panel said no".into(), commands);
        }
    }

    pub(super) fn inspected(&mut self, info: BundleInfo, commands: &mut Commands) {
        let (Some(boot), Some(attempt)) = (&self.boot, &mut self.record.attempt) else { return };
        attempt.version = Some(info.version.clone());
        let offer = attempt.offer.clone();
        if info.compatible != boot.compatible {
            let text = format!("the bundle is for {}, and this is {}", info.compatible, boot.compatible);
            return self.end(End::Failure, text, commands);
        }
        if info.version == boot.version {
            let text = format!("version {} runs already", boot.version);
            return self.end(End::Success, text, commands);
        }
        if is_older(&info.version, &boot.version) {
            let text = format!(
                "version {} is older than {}, which runs; it is not installed",
                info.version, boot.version
            );
            return self.end(End::Failure, text, commands);
        }
        if let Some(text) = self.refusal(&offer, Some(&info.version)) {
            return self.end(End::Failure, text, commands);
        }
        self.inspected = Some(info);
        self.keep(commands);
    }
}

/// By semantic versioning; what is no such version is never older.
fn is_older(version: &str, than: &str) -> bool {
    match (Version::parse(version), Version::parse(than)) {
        (Ok(version), Ok(than)) => version < than,
        _ => false,
    }
}
