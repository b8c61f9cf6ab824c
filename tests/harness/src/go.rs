//! LiveKit's Go SDK (pion): the peer in `tests/peers/go`, a program that prints JSON lines.

use std::{path::Path, process::Command, time::Duration};

use anyhow::Context;
use serde_json::Value;
use xtask::process::Running;

/// One participant made of the Go SDK.
pub struct Go {
    program: Running,
}

impl Go {
    /// Starts it with `arguments`, built first when that was not done yet; its log goes into `dir` under `name`.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn start(dir: &Path, name: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(xtask::go::sdk_peer()?);
        command.args(arguments);
        Ok(Self { program: Running::start(name, dir.join(format!("{name}.log")), &mut command)? })
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

    /// Gives it a command.
    ///
    /// # Errors
    /// When it is gone.
    pub fn tell(&mut self, command: &Value) -> anyhow::Result<()> {
        self.program.tell(&command.to_string())
    }

    /// The program itself.
    pub fn program(&mut self) -> &mut Running {
        &mut self.program
    }
}
