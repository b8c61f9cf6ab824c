//! Child programs: run to the end with progress, or kept running and stopped by their id.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// Says on standard error what happens now.
pub fn say(text: &str) {
    let mut out = std::io::stderr().lock();
    // Nobody listens when this fails.
    let _ = writeln!(out, "xtask: {text}");
}

/// Prints a result on standard output.
pub fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads it when this fails.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Runs `command` to its end with its output shown on standard error, after saying `what`.
///
/// # Errors
/// When it cannot be started or does not exit with 0.
pub fn run(what: &str, command: &mut Command) -> anyhow::Result<()> {
    let start = Instant::now();
    say(what);
    // Standard output is for what scripts read.
    let status = status(command.stdout(Stdio::from(std::io::stderr())))?;
    if !status.success() {
        bail!("{what}: {} ended with {status}", display(command));
    }
    say(&format!("{what}: done in {:.0} s", start.elapsed().as_secs_f32()));
    Ok(())
}

/// Runs `command` to its end with its output shown.
///
/// # Errors
/// When it cannot be started.
pub fn status(command: &mut Command) -> anyhow::Result<ExitStatus> {
    command.status().with_context(|| format!("cannot start {}", display(command)))
}

/// The cargo that runs us, or else the first of the path.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget_outer_cargo(&mut cargo);
    keep_nothing_for_next_time(&mut cargo);
    cargo
}

/// A cargo hands down what its configuration sets and which package it runs; the one below would take that for a change,
/// and build anew what looks at it (as ring's build script does) with all that needs it.
pub(crate) fn forget_outer_cargo(cargo: &mut Command) {
    cargo.env_remove("V4L2R_VIDEODEV2_H_PATH");
    let of_a_package = |name: &OsStr| {
        let name = name.to_string_lossy();
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_PACKAGE"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| of_a_package(name)) {
        cargo.env_remove(name);
    }
}

/// Nobody compiles a second time where tests run on a machine made for them (`CI` is set): what the compiler keeps for
/// that would only cost time and space.
pub(crate) fn keep_nothing_for_next_time(cargo: &mut Command) {
    if std::env::var_os("CI").is_some() {
        cargo.env("CARGO_INCREMENTAL", "0");
    }
}

/// The command as one would type it.
pub fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// A program that runs beside us. It is stopped when this is dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Running {
    /// Starts `command`. Its standard error goes to the file `log`; its standard output is read line by line
    /// with [`Running::line`], and copied to the log.
    ///
    /// # Errors
    /// When the log cannot be made or the program cannot be started.
    pub fn start(name: &str, log: PathBuf, command: &mut Command) -> anyhow::Result<Self> {
        if let Some(dir) = log.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut file = std::fs::File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file.try_clone()?);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", display(command)))?;
        let (tx, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let _ = writeln!(file, "{line}");
                    let _ = tx.send(line);
                }
            });
        }
        Ok(Self { name: name.to_owned(), child, lines, log })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its output is.
    pub fn log(&self) -> &std::path::Path {
        &self.log
    }

    /// The first line it prints for which `wanted` gives something, within `timeout`.
    ///
    /// # Errors
    /// When it ends or stays silent; the message holds the end of its log.
    pub fn line<T>(
        &mut self,
        timeout: Duration,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(found) = wanted(&line) {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not say what was awaited within {timeout:?}\n{}", self.name, self.tail())
                }
                Err(RecvTimeoutError::Disconnected) => bail!("{} ended\n{}", self.name, self.tail()),
            }
        }
    }

    /// Lines that it printed and nobody read yet.
    pub fn pending_lines(&mut self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Writes one line to its standard input.
    ///
    /// # Errors
    /// When it does not read any more.
    pub fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let stdin = self.child.stdin.as_mut().context("its standard input is closed")?;
        writeln!(stdin, "{line}")
            .and_then(|()| stdin.flush())
            .with_context(|| format!("{} is gone", self.name))
    }

    /// Its exit status when it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal by name (`INT`, `TERM`, `KILL`, `STOP`).
    ///
    /// # Errors
    /// When there is no such process any more.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status()?;
        anyhow::ensure!(status.success(), "cannot send SIG{name} to {}", self.name);
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} did not end within {timeout:?}\n{}", self.name, self.tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it at once, as a power cut does.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end, and makes it end when it does not within 5 s.
    pub fn stop(&mut self) {
        if self.ended().is_none() && self.signal("TERM").is_ok() && self.wait(Duration::from_secs(5)).is_err()
        {
            say(&format!("{} did not end by itself; killing it", self.name));
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }

    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        format!("--- end of {}\n{}", self.log.display(), lines[lines.len().saturating_sub(30)..].join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}
