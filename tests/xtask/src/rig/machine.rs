//! A virtual machine that goes on while a test talks to it.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{
    Architecture,
    boot::{Boot, Guest},
    cross,
    guest::{self, OutFolder},
};

/// From power on to the first command, on an emulated processor.
const BOOT: Duration = Duration::from_secs(120);
/// A command of the guest's shell that takes longer hangs.
const COMMAND: Duration = Duration::from_secs(60);
/// The guest's lines that are not what a command said.
const READY: &str = "@@ready";
const ENDED: &str = "@@ended ";

/// The program in `/out`.
pub(super) const TERMINAL: &str = "rostrumd";

/// How a machine is started.
pub struct MachineOptions<'a> {
    /// What it is.
    pub architecture: Architecture,
    /// A TAP device of this machine, and the guest's address on that network with its prefix.
    pub network: (&'a str, &'a str),
}

/// A virtual machine with all devices of the rig, the terminal as `/out/rostrumd`, and a shell. It is ended when this is dropped.
pub struct Machine {
    // Ended before its folder goes.
    _guest: Guest,
    shell: BufReader<UnixStream>,
    out: OutFolder,
}

impl Machine {
    /// Boots, and waits until its devices are there. A reset starts it again.
    ///
    /// # Errors
    /// When something cannot be built, or the guest does not come up.
    pub fn start(options: &MachineOptions<'_>) -> anyhow::Result<Self> {
        super::prepare(options.architecture)?;
        let out = guest::out_folder(options.architecture, "meeting")?;
        let programs = cross::build_programs(options.architecture, &[TERMINAL])?;
        take_stripped(options.architecture, &programs.join(TERMINAL), &out.path.join(TERMINAL))?;
        let (device, address) = options.network;
        guest::prepare(options.architecture, &out.path, &format!("network {address}\nserve\n"))?;
        let socket = out.path.join("shell.socket");
        let boot = Boot {
            architecture: options.architecture,
            out: &out.path,
            reboots: true,
            shell: Some(&socket),
            network: Some(device),
        };
        let guest = boot.start()?;
        let mut machine = Self { _guest: guest, shell: connect(&socket)?, out };
        machine.wait_until_up()?;
        Ok(machine)
    }

    /// The folder that the guest has as `/out`.
    pub fn out(&self) -> &Path {
        &self.out.path
    }

    /// Waits until the guest takes commands; after a reset it does so anew.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + BOOT;
        while self.line(deadline).context("the guest does not come up")? != READY {}
        Ok(())
    }

    /// Runs one line in the guest's shell; gives what it said.
    ///
    /// # Errors
    /// When it fails; the message holds what it said.
    pub fn shell(&mut self, command: &str) -> anyhow::Result<String> {
        ensure!(!command.contains('\n'), "a command is one line");
        writeln!(self.shell.get_mut(), "{command}").context("the guest is gone")?;
        let deadline = Instant::now() + COMMAND;
        let mut said = String::new();
        loop {
            let line = self.line(deadline).with_context(|| format!("{command}: {said}"))?;
            match line.strip_prefix(ENDED) {
                None if line == READY => {}
                Some("0") => return Ok(said),
                Some(code) => bail!("{command} ended with {code}: {}", said.trim()),
                None => said += &format!("{line}\n"),
            }
        }
    }

    fn line(&mut self, deadline: Instant) -> anyhow::Result<String> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            match self.shell.read_until(b'\n', &mut line) {
                Ok(0) => bail!("the guest is gone"),
                Ok(_) => {}
                // The socket's own limit is short, so that this loop comes round.
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    ensure!(Instant::now() < deadline, "it says nothing");
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

/// The guest reads programs over an emulated bus: what only a debugger needs stays here.
fn take_stripped(architecture: Architecture, program: &Path, to: &PathBuf) -> anyhow::Result<()> {
    let mut strip = Command::new(architecture.tool("strip"));
    let status = strip.arg("-o").arg(to).arg(program).status().context("cannot start strip")?;
    ensure!(status.success(), "{} cannot be stripped", program.display());
    Ok(())
}

fn connect(socket: &Path) -> anyhow::Result<BufReader<UnixStream>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                stream.set_read_timeout(Some(Duration::from_millis(200)))?;
                // Only QEMU needed its name.
                let _ = fs::remove_file(socket);
                return Ok(BufReader::new(stream));
            }
            Err(e) if Instant::now() > deadline => return Err(e).context("QEMU does not listen"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
