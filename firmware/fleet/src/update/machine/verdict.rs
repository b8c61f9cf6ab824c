//! Whether what runs is good, and what follows from it.

use rostrum_hal::Timestamp;

use super::{BOOTS, CHECK_AGAIN, Command, Commands, Doing, Machine};
use crate::update::record::{End, Stage};

impl Machine {
    pub(super) fn checked(&mut self, now: Timestamp, result: Result<(), String>, commands: &mut Commands) {
        let trying = match self.stage() {
            Some(Stage::Trying { target, boots, .. }) => Some((target.clone(), *boots)),
            _ => None,
        };
        match (result, trying) {
            (Ok(()), Some((target, _))) => {
                self.set_stage(Stage::Committing { target });
                self.keep(commands);
                self.mark_good(commands);
            }
            (Ok(()), None) => self.mark_good(commands),
            (Err(why), Some((_, boots))) => {
                log::error!(reason = why.as_str(), boots; "the new version is not good");
                if let Some(Stage::Trying { reason, .. }) = self.stage_mut() {
                    *reason = Some(why);
                }
                self.keep(commands);
                if boots >= BOOTS {
                    self.doing = Doing::GoingBack;
                    commands.push(Command::GoBack);
                } else {
                    self.restart(now, commands);
                }
            }
            (Err(why), None) => {
                log::error!(reason = why.as_str(); "this version is not well; looking again");
                self.check_after = Some(now + CHECK_AGAIN);
            }
        }
    }

    pub(super) fn mark_good(&mut self, commands: &mut Commands) {
        self.doing = Doing::Marking;
        commands.push(Command::MarkGood);
    }

    pub(super) fn marked(&mut self, now: Timestamp, result: Result<(), String>, commands: &mut Commands) {
        let was = std::mem::replace(&mut self.doing, Doing::Nothing);
        if let Err(why) = result {
            log::error!(reason = why.as_str(); "the boot loader cannot be told; trying again");
            match self.stage() {
                Some(Stage::Committing { .. }) => self.not_before = Some(now + CHECK_AGAIN),
                _ => self.check_after = Some(now + CHECK_AGAIN),
            }
            if was == Doing::GoingBack {
                // It counts by itself.
                self.restart(now, commands);
            }
            return;
        }
        match was {
            Doing::Marking => {
                self.is_good = true;
                if let Some(Stage::Committing { .. }) = self.stage() {
                    let version = self.version_of_attempt();
                    self.record.rejected.retain(|rejected| Some(&rejected.version) != version.as_ref());
                    let text = format!("version {} runs and is good", version.unwrap_or_default());
                    self.end(End::Success, text, commands);
                }
            }
            Doing::GoingBack => self.restart(now, commands),
            Doing::Settling => {}
            Doing::Staying => self.end(End::Cancelled, "cancelled before the restart".into(), commands),
            other => self.doing = other,
        }
    }
}
