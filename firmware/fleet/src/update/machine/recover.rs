//! After a start: what RAUC and the boot loader say, held against the record.

use rostrum_hal::Timestamp;

use super::{BOOTS, Boot, Command, Commands, Doing, Machine, TRIES};
use crate::update::record::{End, Stage};

impl Machine {
    /// Finds out what became of an update that was under way.
    pub(super) fn started(&mut self, now: Timestamp, boot: Boot, commands: &mut Commands) {
        self.boot = Some(boot.clone());
        self.doing = Doing::Nothing;
        let Some(stage) = self.stage().cloned() else { return };
        match stage {
            Stage::Accepted => {}
            Stage::Installing { target } if boot.slot == target => self.try_it(&boot, target, commands),
            Stage::Installing { target } => self.installing_was_cut(&boot, target, commands),
            Stage::Installed { target, .. } if boot.slot == target => self.try_it(&boot, target, commands),
            Stage::Installed { boot_id, restarting, .. } if boot_id == boot.id => {
                if restarting {
                    // This program was started again in between.
                    self.restart(now, commands);
                }
            }
            Stage::Installed { .. } => {
                self.rolled_back(format!("it did not start in {BOOTS} tries"), commands);
            }
            Stage::Trying { target, boot_id, failing, boots, reason } if boot.slot == target => {
                let boots = boots + u32::from(boot_id != boot.id);
                let boot_id = boot.id.clone();
                self.set_stage(Stage::Trying { target, boot_id, failing, boots, reason });
                self.keep(commands);
            }
            Stage::Trying { reason, .. } => {
                let why = reason.unwrap_or_else(|| format!("it did not get through {BOOTS} starts"));
                self.rolled_back(why, commands);
            }
            Stage::Committing { target } if boot.slot == target => {}
            Stage::Committing { .. } => {
                self.rolled_back("the boot loader was not told in time that it is good".into(), commands);
            }
        }
    }

    fn try_it(&mut self, boot: &Boot, target: String, commands: &mut Commands) {
        let failing = match self.stage() {
            Some(Stage::Installed { failing, .. }) => failing.clone(),
            _ => Default::default(),
        };
        let boot_id = boot.id.clone();
        self.set_stage(Stage::Trying { target, boot_id, failing, boots: 1, reason: None });
        self.keep(commands);
    }

    fn installing_was_cut(&mut self, boot: &Boot, target: String, commands: &mut Commands) {
        let Some(attempt) = &mut self.record.attempt else { return };
        let is_whole = boot.next.as_deref() == Some(target.as_str())
            && attempt.version.is_some()
            && attempt.version == boot.other_version;
        if is_whole {
            // RAUC was done, and this program did not come to know it.
            attempt.stage = Stage::Installed {
                target,
                boot_id: boot.id.clone(),
                failing: Default::default(),
                restarting: false,
            };
            self.keep(commands);
            return;
        }
        attempt.stage = Stage::Accepted;
        attempt.tries += 1;
        if attempt.tries >= TRIES {
            let text = format!("the installation was cut off {TRIES} times");
            self.end(End::Failure, text, commands);
        } else {
            self.keep(commands);
        }
    }

    fn rolled_back(&mut self, reason: String, commands: &mut Commands) {
        let version = self.version_of_attempt().unwrap_or_default();
        let text = format!("version {version} was given up, and the old one runs again: {reason}");
        self.reject(version, reason);
        self.end(End::Failure, text, commands);
        // Whatever the boot loader thinks of the other slot: this one is next.
        self.doing = Doing::Settling;
        commands.push(Command::Stay);
    }
}
