//! PyPI `livekit` (libwebrtc): peers in `tests/peers/python`, each a program that prints JSON lines.

use std::{path::Path, process::Command, time::Duration};

use anyhow::Context;
use serde_json::Value;

use crate::Network;
use xtask::{paths, process::Running};

/// One Python peer.
pub struct Python {
    program: Running,
}

impl Python {
    /// Starts `tests/peers/python/SCRIPT` with `arguments`; its log goes into `dir`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(dir: &Path, script: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_on(None, dir, script, arguments)
    }

    /// The same on a host of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_on(
        network: Option<&Network>,
        dir: &Path,
        script: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let python = paths::python();
        let mut command = network.map_or_else(|| Command::new(&python), |network| network.command(&python));
        command
            .arg("-u")
            .arg(paths::root().join("tests/peers/python").join(script))
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Ok(Self { program: Running::start(script, dir.join(format!("{script}.log")), &mut command)? })
    }

    /// The next line for which `wanted` gives something.
    ///
    /// # Errors
    /// When none comes within `timeout`.
    pub fn next<T>(
        &mut self,
        timeout: Duration,
        mut wanted: impl FnMut(&Value) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.program.line(timeout, |line| wanted(&serde_json::from_str(line).ok()?))
    }

    /// The next line whose `event` is `name`.
    ///
    /// # Errors
    /// When none comes within `timeout`.
    pub fn event(&mut self, name: &str, timeout: Duration) -> anyhow::Result<Value> {
        self.next(timeout, |line| (line["event"] == name).then(|| line.clone()))
            .with_context(|| format!("waiting for {name}"))
    }

    /// The program itself.
    pub fn program(&mut self) -> &mut Running {
        &mut self.program
    }
}
