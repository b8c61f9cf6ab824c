//! A machine with an installed image, whose power can be cut.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use xtask::image::{self, BootOptions, Drives, Image};

/// A boot on an emulated processor that others use too.
pub const BOOT: Duration = Duration::from_secs(300);

/// One machine.
pub struct Machine {
    image: Image,
    device: String,
    socket: PathBuf,
    qemu: Option<Child>,
    console: Arc<Mutex<Vec<String>>>,
    asked: u32,
}

impl Machine {
    /// A machine that is off, with a network card at the TAP device `device`.
    pub fn new(image: Image, device: &str, socket: PathBuf) -> Self {
        Self { image, device: device.to_owned(), socket, qemu: None, console: Arc::default(), asked: 0 }
    }

    /// Switches it on.
    pub fn power_on(&mut self) -> anyhow::Result<()> {
        self.cut_power()?;
        let _ = std::fs::remove_file(&self.socket);
        let drives = Drives {
            boot_loader: &self.image.boot_loader,
            environment: &self.image.environment,
            disk: &self.image.disk,
        };
        let network = format!("tap,ifname={},script=no,downscript=no", self.device);
        let shell = Some(self.socket.clone());
        let mut command = image::qemu(&BootOptions { drives, network, shell, reboots: true });
        let mut qemu = command
            .args(["-serial", "stdio"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start QEMU")?;
        let output = BufReader::new(qemu.stdout.take().context("QEMU has no console")?);
        self.qemu = Some(qemu);
        let console = Arc::clone(&self.console);
        std::thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim().to_owned();
                console.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Ok(())
    }

    /// Takes the power away: QEMU ends between two of its instructions, and nothing is written after that.
    pub fn cut_power(&mut self) -> anyhow::Result<()> {
        if let Some(mut qemu) = self.qemu.take() {
            qemu.kill()?;
            qemu.wait()?;
        }
        Ok(())
    }

    /// Lines of the console so far.
    pub fn console(&self) -> Vec<String> {
        self.console.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the console.
    pub fn clear_console(&self) {
        self.console.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Which slots the boot loader chose since the console was cleared: `A`, `B`.
    pub fn slots(&self) -> String {
        let console = self.console();
        console
            .iter()
            .filter_map(|line| line.strip_prefix("rostrum: slot ")?.split_once(','))
            .map(|(slot, _)| slot)
            .collect()
    }

    /// Waits until the system takes commands.
    pub fn wait_until_up(&mut self) -> anyhow::Result<()> {
        self.shell_for("systemctl is-active multi-user.target || systemctl is-system-running --wait", BOOT)
            .map(drop)
            .or_else(|error| if self.shell("true").is_ok() { Ok(()) } else { Err(error) })
    }

    /// Runs a line in the machine; gives what it said.
    pub fn shell(&mut self, command: &str) -> anyhow::Result<String> {
        self.shell_for(command, Duration::from_secs(120))
    }

    /// The same with another patience, which a boot may need.
    pub fn shell_for(&mut self, command: &str, patience: Duration) -> anyhow::Result<String> {
        ensure!(!command.contains('\n'), "a command is one line");
        let deadline = Instant::now() + patience;
        self.asked += 1;
        let end = format!("@@answer {} ", self.asked);
        let mut stream = self.connect(deadline)?;
        // A command that came before the shell was there is lost: it is said again.
        let line = format!("{{ {command} ; }} 2>&1; echo \"{end}$?\"");
        let mut reader = BufReader::new(stream.try_clone()?);
        writeln!(stream, "{line}")?;
        let (mut said, mut bytes) = (String::new(), Vec::new());
        loop {
            match reader.read_until(b'\n', &mut bytes) {
                Ok(0) => bail!("{command}: the machine went off"),
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    ensure!(Instant::now() < deadline, "{command}: no answer; {said}");
                    continue;
                }
                Err(e) => return Err(e.into()),
            }
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            match text.strip_prefix(&end) {
                Some("0") => return Ok(said),
                Some(code) => bail!("{command} ended with {code}: {}", said.trim()),
                None if text.starts_with("@@") => {}
                None => said += &format!("{text}\n"),
            }
        }
    }

    fn connect(&self, deadline: Instant) -> anyhow::Result<UnixStream> {
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
                    return Ok(stream);
                }
                Err(e) if Instant::now() > deadline => return Err(e).context("QEMU does not listen"),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.cut_power();
    }
}
