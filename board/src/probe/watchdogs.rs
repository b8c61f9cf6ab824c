//! Watchdogs.

use std::path::PathBuf;

use serde::Serialize;

use super::{keys::Keys, table::Row};

/// Longest time without food that a profile is written with; the shortest that any known board can wait.
const TIMEOUT_S: u32 = 15;

/// One watchdog.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Watchdog {
    /// Its node now.
    pub node: PathBuf,
    /// Its name by its driver; kernels can be built without it.
    pub identity: Option<String>,
    /// Longest time without food in seconds, when it says.
    pub max_timeout_s: Option<u32>,
    /// Somebody feeds it, such as systemd.
    pub is_running: bool,
    /// Once started it runs until the machine is reset.
    pub cannot_be_stopped: bool,
}

impl Watchdog {
    /// Made up by the kernel: it helps when a program hangs, not when the kernel does.
    fn is_software(&self) -> bool {
        self.identity.as_deref() == Some("Software Watchdog")
    }

    pub(super) fn keys(&self) -> Keys {
        let device = self.identity.clone().unwrap_or_else(|| self.node.display().to_string());
        let timeout_s = self.max_timeout_s.unwrap_or(TIMEOUT_S).min(TIMEOUT_S);
        Keys::of("watchdog").with("device", device).with("timeout_s", i64::from(timeout_s))
    }

    pub(super) fn row(&self) -> Row {
        let mut details = Vec::new();
        if self.is_running {
            details.push("runs: another program, such as systemd with RuntimeWatchdogSec, feeds it".into());
        }
        if self.cannot_be_stopped {
            details.push("cannot be stopped once it runs (nowayout)".into());
        }
        let identity = self.identity.as_deref().unwrap_or("a watchdog");
        let most = self.max_timeout_s.map(|most| format!(", at most {most} s")).unwrap_or_default();
        let what = format!("{identity} ({}{most})", self.node.display());
        Row { what, details, key: format!("[watchdog] {}", self.keys().one_line()) }
    }
}

/// The watchdog for a room: one of hardware that nobody has.
pub(super) fn best(watchdogs: &[Watchdog]) -> Option<&Watchdog> {
    watchdogs.iter().filter(|watchdog| !watchdog.is_running).min_by_key(|watchdog| watchdog.is_software())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hardware_goes_before_software_and_one_that_is_fed_is_left_alone() {
        let watchdog = |identity: &str, is_running| Watchdog {
            identity: Some(identity.into()),
            is_running,
            max_timeout_s: Some(8),
            ..Watchdog::default()
        };
        let all =
            [watchdog("Software Watchdog", false), watchdog("i6300ESB timer", false), watchdog("iTCO", true)];
        let keys = best(&all).unwrap().keys().one_line();
        assert_eq!(keys, "driver = \"watchdog\", device = \"i6300ESB timer\", timeout_s = 8");
        assert!(best(&all[2..]).is_none());
    }
}
