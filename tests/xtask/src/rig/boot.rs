//! One start of the virtual machine.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{Architecture, kernel, root};
use crate::process::display;

/// How a guest is started.
pub(super) struct Boot<'a> {
    pub(super) architecture: Architecture,
    /// Shared with the guest as `/out`: it runs `/out/run` and leaves its exit code in `/out/exit-code`.
    pub(super) out: &'a Path,
    /// A reset starts it again, where it ends the machine otherwise.
    pub(super) reboots: bool,
    /// A socket where the guest listens for what to do (`guest/devices`), or none.
    pub(super) shell: Option<&'a Path>,
    /// A TAP device of this machine that is the other end of the guest's network card, or none.
    pub(super) network: Option<&'a str>,
}

/// A guest that runs. It is ended when this is dropped.
pub(super) struct Guest {
    qemu: Child,
    console: Option<JoinHandle<()>>,
}

/// Sockets of the graphics card.
const SCREENS: u32 = 2;
const MEMORY_MIB: &str = "1536";

impl Boot<'_> {
    /// Boots, shows what the guest says, and gives its exit code; the guest is ended after `limit`.
    pub(super) fn run(&self, limit: Duration) -> anyhow::Result<i32> {
        let code_file = self.out.join("exit-code");
        let _ = fs::remove_file(&code_file);
        self.start()?.wait(limit)?;
        let code = fs::read_to_string(&code_file).context("the guest ended before its work was done")?;
        code.trim().parse().with_context(|| format!("the guest's exit code is {code:?}"))
    }

    /// Boots, and shows what the guest says.
    pub(super) fn start(&self) -> anyhow::Result<Guest> {
        Guest::start(self.command()?, |_| {})
    }

    fn command(&self) -> anyhow::Result<Command> {
        let kernel = kernel::kernel(self.architecture)?;
        let root = root::root(self.architecture)?;
        let (program, console) = match self.architecture {
            Architecture::Amd64 => ("qemu-system-x86_64", "ttyS0"),
            Architecture::Arm64 => ("qemu-system-aarch64", "ttyAMA0"),
        };
        let mut qemu = Command::new(program);
        // Emulated in software, so that it is the same everywhere.
        let machine = match self.architecture {
            Architecture::Amd64 => ["-M", "q35", "-cpu", "max"],
            Architecture::Arm64 => ["-M", "virt", "-cpu", "cortex-a57"],
        };
        qemu.args(machine).args(["-accel", "tcg,thread=multi"]);
        let append = format!("console={console} quiet loglevel=3 panic=-1 rdinit=/init");
        qemu.args(["-nodefaults", "-display", "none", "-monitor", "none", "-serial", "stdio"])
            .args(["-m", MEMORY_MIB, "-smp", "2", "-append", &append])
            .arg("-kernel")
            .arg(kernel.image)
            .arg("-initrd")
            .arg(kernel.initial_files)
            .args(["-device", "i6300esb", "-device", "virtio-rng-pci"]);
        for (tag, path, more) in
            [("root", root.as_path(), ",readonly=on,multidevs=remap"), ("out", self.out, "")]
        {
            qemu.arg("-fsdev")
                .arg(format!("local,id={tag},path={},security_model=none{more}", path.display()))
                .arg("-device")
                .arg(format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"));
        }
        self.add_screens(&mut qemu);
        if !self.reboots {
            qemu.arg("-no-reboot");
        }
        if let Some(socket) = self.shell {
            qemu.arg("-chardev")
                .arg(format!("socket,id=shell,path={},server=on,wait=off", socket.display()))
                .args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=shell,name=shell"]);
        }
        if let Some(device) = self.network {
            qemu.arg("-netdev")
                .arg(format!("tap,id=network,ifname={device},script=no,downscript=no"))
                .args(["-device", "virtio-net-pci,netdev=network"]);
        }
        Ok(qemu)
    }

    /// A graphics card with two sockets for screens. What stands in front of each is VNC (RFB), which plugs a screen
    /// in, unplugs it and sees its picture; the guest itself speaks it, through a serial port a screen.
    fn add_screens(&self, qemu: &mut Command) {
        qemu.args(["-device", "virtio-gpu-pci,id=gpu,max_outputs=2,xres=640,yres=480"]);
        qemu.args(["-device", "virtio-serial-pci"]);
        for head in 0..SCREENS {
            let socket = self.out.join(format!("screen-{head}.vnc"));
            let socket = socket.display();
            qemu.arg("-vnc").arg(format!("unix:{socket},id=screen-{head},display=gpu,head={head}"));
            // QEMU begins with its serial ports, so the first try comes too early.
            qemu.arg("-chardev").arg(format!("socket,id=screen-{head},path={socket},reconnect=1"));
            qemu.arg("-device").arg(format!("virtserialport,chardev=screen-{head},name=screen-{head}"));
        }
    }
}

impl Guest {
    /// Starts QEMU, shows the guest's console and gives each line of it to `hear`.
    pub(super) fn start(mut command: Command, hear: impl Fn(&str) + Send + 'static) -> anyhow::Result<Self> {
        let mut qemu = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", display(&command)))?;
        let console = qemu.stdout.take().context("QEMU has no console")?;
        let console = std::thread::spawn(move || {
            // A console is bytes; what is no text is shown as well as can be.
            let mut lines = BufReader::new(console);
            let mut bytes = Vec::new();
            while lines.read_until(b'\n', &mut bytes).is_ok_and(|length| length > 0) {
                let line = String::from_utf8_lossy(&bytes);
                eprint_line(&line);
                hear(line.trim_end());
                bytes.clear();
            }
        });
        Ok(Self { qemu, console: Some(console) })
    }

    /// Waits until it is off; it is ended after `limit`.
    pub(super) fn wait(mut self, limit: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        while self.qemu.try_wait()?.is_none() {
            if start.elapsed() > limit {
                bail!("the guest was not done within {} s", limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It is off already, or to be.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        if let Some(console) = self.console.take() {
            let _ = console.join();
        }
    }
}

fn eprint_line(line: &str) {
    use std::io::Write;
    let mut out = std::io::stderr().lock();
    // Nobody listens when this fails.
    let _ = writeln!(out, "  | {}", line.trim_end());
}
