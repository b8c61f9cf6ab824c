//! What people see of it.

use super::{Doing, Machine};
use crate::update::{
    record::Stage,
    status::{Phase, Status},
};

impl Machine {
    /// What it waits for, as the end of a sentence.
    fn reason(&self) -> Option<String> {
        let trouble = self.trouble.as_ref().map(|trouble| format!("is tried again soon: {trouble}"));
        trouble.or_else(|| self.waits.map(|wait| wait.to_string()))
    }

    pub(super) fn status(&self) -> Status {
        let stage = self.stage();
        let (phase, percent) = match (self.doing, stage) {
            (Doing::Fetching(percent), _) => (Phase::Fetching, Some(percent)),
            (Doing::Installing(percent), _) => (Phase::Installing, Some(percent)),
            (Doing::Restarting, _) => (Phase::Restarting, None),
            (_, Some(Stage::Trying { .. } | Stage::Committing { .. })) => (Phase::Checking, None),
            (_, Some(_)) => (Phase::Waiting, None),
            (_, None) => (Phase::Idle, None),
        };
        let asks = self
            .record
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.stage == Stage::Accepted && !self.agreed(attempt));
        Status {
            phase,
            running: self.boot.as_ref().map(|boot| boot.version.clone()).unwrap_or_default(),
            version: self.version_of_attempt(),
            percent,
            asks,
            reason: if asks { None } else { self.reason() },
            last: self.record.last.clone(),
        }
    }
}
