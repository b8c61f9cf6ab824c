//! One start of the virtual machine.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
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
    /// The guest is ended after this.
    pub(super) limit: Duration,
    /// A reset starts it again, where it ends the machine otherwise.
    pub(super) reboots: bool,
}

const MEMORY_MIB: &str = "1536";

impl Boot<'_> {
    /// Boots, shows what the guest says, and gives its exit code.
    pub(super) fn run(&self) -> anyhow::Result<i32> {
        let code_file = self.out.join("exit-code");
        let _ = fs::remove_file(&code_file);
        let mut command = self.command()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", display(&command)))?;
        self.watch(child)?;
        let code = fs::read_to_string(&code_file).context("the guest ended before its work was done")?;
        code.trim().parse().with_context(|| format!("the guest's exit code is {code:?}"))
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
        if !self.reboots {
            qemu.arg("-no-reboot");
        }
        Ok(qemu)
    }

    /// Shows the console until the machine is off.
    fn watch(&self, mut child: Child) -> anyhow::Result<()> {
        let console = child.stdout.take().context("QEMU has no console")?;
        let reader = std::thread::spawn(move || {
            // A console is bytes; what is no text is shown as well as can be.
            let mut lines = BufReader::new(console);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                eprint_line(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        let start = Instant::now();
        while child.try_wait()?.is_none() {
            if start.elapsed() > self.limit {
                child.kill()?;
                child.wait()?;
                let _ = reader.join();
                bail!("the guest was not done within {} s", self.limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = reader.join();
        Ok(())
    }
}

fn eprint_line(line: &str) {
    use std::io::Write;
    let mut out = std::io::stderr().lock();
    // Nobody listens when this fails.
    let _ = writeln!(out, "  | {}", line.trim_end());
}
