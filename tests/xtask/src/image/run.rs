//! The machine that an image runs on: QEMU's `virt`, with a disk, a card for the boot loader's environment, a watchdog and
//! a network.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;

use super::Image;
use crate::process::{display, print};

/// Size of the card that holds the environment.
pub(super) const ENVIRONMENT_MIB: u64 = 4;
/// Where the panel listens on the machine.
const PANEL_PORT: u16 = 8090;

/// The files that a machine boots from.
pub struct Drives<'a> {
    /// The boot loader.
    pub boot_loader: &'a Path,
    /// The boot loader's environment.
    pub environment: &'a Path,
    /// The system's disk.
    pub disk: &'a Path,
}

/// How the machine is started.
pub struct BootOptions<'a> {
    /// What it boots from.
    pub drives: Drives<'a>,
    /// QEMU's words for its network: `user,...` or `tap,...`, without the id.
    pub network: String,
    /// The socket of the shell that an image for development has, or none.
    pub shell: Option<PathBuf>,
    /// A reset starts it again, where it ends QEMU otherwise.
    pub reboots: bool,
}

/// QEMU with a machine that a person or a test starts. Its console is QEMU's standard input and output.
pub fn qemu(options: &BootOptions<'_>) -> Command {
    let mut qemu = Command::new("qemu-system-aarch64");
    // Emulated in software, so that it is the same everywhere.
    qemu.args(["-M", "virt", "-cpu", "cortex-a57", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "1536"])
        .args(["-nodefaults", "-display", "none"])
        .arg("-bios")
        .arg(options.drives.boot_loader);
    // Nothing that the machine has written to its disk is still on the way when this process is killed.
    let drive = |id: &str, file: &Path| {
        format!("id={id},if=none,format=raw,cache=writethrough,discard=unmap,file={}", file.display())
    };
    qemu.args(["-device", "virtio-blk-pci,drive=system", "-drive", &drive("system", options.drives.disk)])
        .args(["-device", "sdhci-pci", "-device", "sd-card,drive=environment"])
        .args(["-drive", &drive("environment", options.drives.environment)])
        // qemu-arm64.cfg knows it by its address.
        .args(["-device", "i6300esb,addr=0x5", "-watchdog-action", "reset"])
        .args(["-device", "virtio-rng-pci", "-device", "qemu-xhci"])
        .args(["-netdev", &format!("{},id=network", options.network)])
        .args(["-device", "virtio-net-pci,netdev=network,romfile="]);
    if let Some(socket) = &options.shell {
        let socket = format!("socket,id=shell,path={},server=on,wait=off", socket.display());
        qemu.args(["-chardev", &socket, "-device", "virtio-serial-pci"])
            .args(["-device", "virtserialport,chardev=shell,name=rostrum-dev"]);
    }
    if !options.reboots {
        qemu.arg("-no-reboot");
    }
    qemu
}

/// Boots an image for a person.
pub(super) fn on_terminal(image: &Image, port: u16) -> anyhow::Result<()> {
    let drives =
        Drives { boot_loader: &image.boot_loader, environment: &image.environment, disk: &image.disk };
    let network = format!("user,hostfwd=tcp:127.0.0.1:{port}-:{PANEL_PORT}");
    let mut qemu = qemu(&BootOptions { drives, network, shell: None, reboots: true });
    qemu.args(["-serial", "mon:stdio"]);
    print(&format!("the panel will be at http://127.0.0.1:{port}; Ctrl-A and then X ends the machine"));
    let status = qemu.status()?;
    ensure!(status.success(), "{} ended with {status}", display(&qemu));
    Ok(())
}
