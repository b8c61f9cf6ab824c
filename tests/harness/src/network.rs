//! A host of its own at the end of a link whose rate can be changed: a network namespace and a pair of virtual
//! Ethernet devices, made with root's rights (sudo where needed), gone with the value.

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context;

/// A network whose other end is the card of a virtual machine.
pub struct Cable {
    /// Name of its device.
    pub device: String,
    /// Our end of it: where the virtual machine reaches services of ours.
    pub here: String,
    /// The virtual machine's end.
    pub there: String,
}

impl Cable {
    /// Makes one.
    ///
    /// # Errors
    /// When it cannot be made, for want of rights for example.
    pub fn new() -> anyhow::Result<Self> {
        let (tag, subnet) = place();
        let cable =
            Self { device: format!("ro{tag}"), here: format!("{subnet}.1"), there: format!("{subnet}.2") };
        let user = Command::new("id").arg("-u").output()?.stdout;
        let user = String::from_utf8_lossy(&user).trim().to_owned();
        ip(&["tuntap", "add", &cable.device, "mode", "tap", "user", &user])?;
        ip(&["addr", "add", &format!("{}/24", cable.here), "dev", &cable.device])?;
        ip(&["link", "set", &cable.device, "up"])?;
        Ok(cable)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.device]);
    }
}

/// A name and the first three bytes of addresses that nobody else has.
///
/// Two bytes of the process's number and one that counts make collisions unlikely; a name that is taken fails.
fn place() -> (String, String) {
    let (process, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let tag = format!("{}n{number}", process % 100_000);
    (tag, format!("10.{}.{}", 128 + process / 256 % 100, (process + 97 * number) % 256))
}

/// Counts the networks of this process, so that their names and addresses differ.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A namespace and the link to it.
pub struct Network {
    namespace: String,
    device: String,
    /// Our end of the link: where the host reaches services of ours.
    pub here: String,
    /// The host's end.
    pub there: String,
}

impl Network {
    /// Makes a host at the end of an unlimited link.
    ///
    /// # Errors
    /// When it cannot be made, for want of rights for example.
    pub fn new() -> anyhow::Result<Self> {
        let (tag, subnet) = place();
        let network = Self {
            namespace: format!("rostrum-{tag}"),
            device: format!("ro{tag}"),
            here: format!("{subnet}.1"),
            there: format!("{subnet}.2"),
        };
        let Self { namespace, device, here, there } = &network;
        let peer = format!("{device}p");
        ip(&["netns", "add", namespace])?;
        ip(&["link", "add", device, "type", "veth", "peer", "name", &peer, "netns", namespace])?;
        ip(&["addr", "add", &format!("{here}/24"), "dev", device])?;
        ip(&["link", "set", device, "up"])?;
        ip(&["-n", namespace, "addr", "add", &format!("{there}/24"), "dev", &peer])?;
        ip(&["-n", namespace, "link", "set", &peer, "up"])?;
        ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        ip(&["-n", namespace, "route", "add", "default", "via", here])?;
        Ok(network)
    }

    /// From now on the link to the host carries `kbit_per_s`, through a queue of `queue_ms`.
    ///
    /// # Errors
    /// When `tc` cannot do it.
    pub fn limit(&self, kbit_per_s: u32, queue_ms: u32) -> anyhow::Result<()> {
        let (rate, latency) = (format!("{kbit_per_s}kbit"), format!("{queue_ms}ms"));
        let shape = ["root", "tbf", "rate", &rate, "burst", "6kb", "latency", &latency];
        run("tc", &[&["qdisc", "replace", "dev", &self.device][..], &shape].concat())
    }

    /// A command that starts `program` on that host.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = root("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The device goes with its peer; what fails here is gone already.
        let _ = ip(&["link", "del", &self.device]);
        let _ = ip(&["netns", "del", &self.namespace]);
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = root(program).args(arguments).output().with_context(|| format!("cannot start {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

/// A command with root's rights.
fn root(program: &str) -> Command {
    if xtask::setup::is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}
