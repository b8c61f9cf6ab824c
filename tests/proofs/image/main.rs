//! `cargo xtask prove image`: an installed image in a machine of its own, from its first boot to its reset to factory.
#![allow(clippy::print_stdout)]

mod updates;

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rand::Rng;
use rostrum_tests::{
    boot_disk,
    image::{BOOT, Machine, PATIENCE, SEALED_KEY, Site, UDID},
    lab::CHANNEL,
    until,
    updates::Ddi,
};
use serde_json::json;
use updates::Bundles;
use xtask::{
    image::{self, Image},
    room::Panel,
};

const CUTS: u32 = 20;
/// The version that is flashed.
const FLASHED: &str = "0.1.0-dev.1";

/// Everything of the proof.
struct Proof {
    machine: Machine,
    panel: Panel,
    site: Site,
    bundles: Bundles,
    updates: Ddi,
    boot_loader: std::path::PathBuf,
    machine_id: String,
    _dir: tempfile::TempDir,
}

type Step = (&'static str, fn(&mut Proof) -> anyhow::Result<()>);

const STEPS: &[Step] = &[
    ("a kernel that hangs is ended by the boot loader's watchdog", hangs),
    ("boots to a joined room, seen by a subscriber outside the machine", joins),
    ("is what the factory says, with a system that nobody can write to", is_provisioned),
    ("its data partition has grown to the end of the disk", has_grown),
    ("the watchdog of the machine is systemd's", is_watched),
    ("nmap finds the panel and nothing else", is_closed),
    ("survives 20 power cuts", survives_power_cuts),
    ("takes an update over HTTP, fetching what changed", updates::is_taken),
    ("an update pauses in a meeting, and is taken up again after a power cut", updates::is_taken_up_again),
    ("rolls a version back that does not start", updates::does_not_start),
    ("rolls a version back whose terminal ends again and again", updates::loops),
    ("rolls a version back whose camera fails its self-test", updates::is_blind),
    ("rolls a version back whose updater does not come up", updates::is_alone),
    ("is reset to factory by its buttons", is_reset),
];

fn main() -> anyhow::Result<()> {
    let mut proof = Proof::prepare()?;
    let only: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let (mut passed, mut failed) = (0, 0);
    for (name, step) in STEPS {
        if !only.is_empty() && !only.iter().any(|only| name.contains(only.as_str())) {
            continue;
        }
        let start = Instant::now();
        println!("proof: {name} ...");
        match step(&mut proof) {
            Ok(()) => {
                passed += 1;
                println!("proof: {name}: passed in {} s", start.elapsed().as_secs());
            }
            Err(error) => {
                failed += 1;
                println!("proof: {name}: FAILED after {} s: {error:#}", start.elapsed().as_secs());
                let console = proof.machine.console();
                println!("{}", console[console.len().saturating_sub(15)..].join("\n"));
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    ensure!(failed == 0, "the image does not do all that it should");
    Ok(())
}

impl Proof {
    fn prepare() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("rostrum-image-").tempdir_in("/var/tmp")?;
        let site = Site::new(dir.path())?;
        let updates = Ddi::at(&site.cable.here)?;
        let image = image::make(&site.plan(dir.path().join("flashed"), FLASHED, &updates.url, &[]))?;
        // The card is larger than the image.
        fs::File::options().write(true).open(&image.disk)?.set_len(3 << 30)?;
        let bundles = Bundles::new(dir.path(), &site, &updates.url);
        let boot_loader = image.boot_loader.clone();
        let machine = Machine::new(image, &site.cable.device, dir.path().join("shell.socket"));
        Ok(Self {
            machine,
            panel: site.panel(),
            site,
            bundles,
            updates,
            boot_loader,
            machine_id: String::new(),
            _dir: dir,
        })
    }

    /// The room comes up and is in its channel, and somebody outside sees its camera's pictures go on.
    fn in_channel(&mut self) -> anyhow::Result<()> {
        self.panel = self.site.in_channel()?;
        Ok(())
    }

    fn version(&mut self) -> anyhow::Result<String> {
        let text = self.machine.shell("cat /etc/os-release")?;
        let line = text.lines().find_map(|line| line.strip_prefix("VERSION_ID="));
        Ok(line.context("no VERSION_ID")?.to_owned())
    }

    /// The updater finds what runs good, and tells the boot loader.
    fn is_found_good(&mut self) -> anyhow::Result<()> {
        until("what runs is found good", PATIENCE, || {
            self.machine.shell("test -e /run/rostrum-updater/good").map(Some)
        })
        .map_err(|error| {
            let said = self
                .machine
                .shell("systemctl status --no-pager -l -n 30 rostrum-updater rauc")
                .unwrap_or_default();
            error.context(said)
        })?;
        until("boot-complete.target", PATIENCE, || {
            self.machine.shell("systemctl is-active boot-complete.target").map(Some)
        })?;
        Ok(())
    }

    fn wait_for_another_boot(&mut self, boot: &str, patience: Duration) -> anyhow::Result<()> {
        until("another boot", patience, || {
            let now =
                self.machine.shell_for("cat /proc/sys/kernel/random/boot_id", Duration::from_secs(20))?;
            Ok((now != boot).then_some(()))
        })?;
        self.machine.wait_until_up()
    }
}

/// A kernel for arm64 that does nothing for ever (Linux, Documentation/arch/arm64/booting.rst: the header of an Image).
fn kernel_that_hangs() -> Vec<u8> {
    const BRANCH_TO_ITSELF: u32 = 0x1400_0000;
    const SIZE: u64 = 0x1_0000;
    const LITTLE_ENDIAN_4K_ANYWHERE: u64 = 0xa;
    let mut image = BRANCH_TO_ITSELF.to_le_bytes().to_vec();
    image.extend([0; 12]);
    image.extend(SIZE.to_le_bytes());
    image.extend(LITTLE_ENDIAN_4K_ANYWHERE.to_le_bytes());
    image.extend([0; 24]);
    image.extend(b"ARM\x64");
    image.resize(SIZE as usize, 0);
    image
}

fn hangs(proof: &mut Proof) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let image = Image {
        disk: dir.path().join("disk.img"),
        boot_loader: proof.boot_loader.clone(),
        environment: dir.path().join("environment.img"),
        bundle: std::path::PathBuf::new(),
    };
    boot_disk::make(dir.path(), &image.disk, Some(&kernel_that_hangs()))?;
    fs::File::create(&image.environment)?.set_len(4 << 20)?;
    let mut machine = Machine::new(image, &proof.site.cable.device, dir.path().join("shell.socket"));
    machine.power_on()?;
    // Two minutes of the watchdog, and two starts of the boot loader.
    until("the next try", Duration::from_secs(240), || Ok((machine.slots() == "AA").then_some(())))
}

fn joins(proof: &mut Proof) -> anyhow::Result<()> {
    let start = Instant::now();
    proof.machine.power_on()?;
    proof.machine.wait_until_up()?;
    println!("proof:   the system was up after {} s", start.elapsed().as_secs());
    proof.machine_id = proof.machine.shell("cat /etc/machine-id")?;
    proof.site.register(&mut proof.machine)?;
    proof.in_channel()?;
    println!("proof:   joined and seen {} s after power on", start.elapsed().as_secs());
    proof.is_found_good()
}

fn is_provisioned(proof: &mut Proof) -> anyhow::Result<()> {
    let channel = proof.site.lab.service.api("GET", &format!("/api/v1/channels/{CHANNEL}"), None)?;
    ensure!(channel.to_string().contains(UDID), "the service does not know {UDID}: {channel}");
    for place in ["/usr/share/x", "/etc/x", "/factory/x", "/x"] {
        ensure!(proof.machine.shell(&format!("touch {place}")).is_err(), "{place} can be written");
    }
    for place in ["/var/lib/x", "/data/x"] {
        proof.machine.shell(&format!("touch {place} && rm {place}"))?;
    }
    let options = proof.machine.shell("cat /proc/mounts")?;
    for place in ["/data", "/var", "/factory"] {
        let line = options.lines().find(|line| line.split(' ').nth(1) == Some(place));
        let line = line.with_context(|| format!("{place} is not mounted: {options}"))?;
        ensure!(["nosuid", "nodev", "noexec"].iter().all(|word| line.contains(word)), "{line}");
    }
    // Its key is opened by this machine, lies nowhere as it is, and root alone has it.
    let opened = format!("systemd-creds decrypt --name=device-key {SEALED_KEY} -");
    ensure!(proof.machine.shell(&opened)?.contains("PRIVATE KEY"), "the sealed key is none");
    let clear = "grep -rls 'PRIVATE KEY' /data /var /factory /etc/rostrum";
    ensure!(proof.machine.shell(clear).is_err(), "the key lies somewhere as it is");
    let mode = proof.machine.shell(&format!("stat -c '%a %U' {SEALED_KEY}"))?;
    ensure!(mode.trim() == "600 root" || mode.trim() == "400 root", "the key is {mode}");
    let failed = proof.machine.shell("systemctl --failed --no-legend --plain")?;
    ensure!(failed.trim().is_empty(), "failed units: {failed}");
    Ok(())
}

fn has_grown(proof: &mut Proof) -> anyhow::Result<()> {
    let text = proof.machine.shell("df --output=size -B 1M /data | tail -1")?;
    let size_mib: u64 = text.trim().parse()?;
    ensure!(size_mib > 1200, "/data has {size_mib} MiB of a disk of 3 GiB");
    Ok(())
}

fn is_watched(proof: &mut Proof) -> anyhow::Result<()> {
    let text = proof
        .machine
        .shell("cat /sys/class/watchdog/watchdog0/identity /sys/class/watchdog/watchdog0/state")?;
    ensure!(text.contains("i6300ESB") && text.lines().any(|line| line == "active"), "{text}");
    let timeout = proof.machine.shell("systemctl show -p RuntimeWatchdogUSec --value")?;
    ensure!(timeout.trim() == "30s", "{timeout}");
    Ok(())
}

fn is_closed(proof: &mut Proof) -> anyhow::Result<()> {
    let scan = |arguments: &[&str]| -> anyhow::Result<String> {
        let mut nmap = Command::new("nmap");
        nmap.args(["-n", "-Pn", "-oG", "-"]).args(arguments).arg(&proof.site.cable.there);
        let output = nmap.output().context("cannot start nmap (apt-get install nmap)")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let open = |text: &str| -> Vec<String> {
        let ports =
            text.split("Ports: ").nth(1).unwrap_or_default().split(['\t', '\n']).next().unwrap_or_default();
        ports
            .split(", ")
            .filter(|port| port.contains("/open/"))
            .filter_map(|port| port.split('/').next())
            .map(str::to_owned)
            .collect()
    };
    // All of TCP, faster than the firewall lets the panel be asked.
    let tcp = scan(&["-sS", "-p-", "--min-rate", "2000", "--max-retries", "2"])?;
    ensure!(open(&tcp) == ["8090"], "TCP: {tcp}");
    let udp = scan(&["-sU", "--top-ports", "100", "--max-retries", "1", "--min-rate", "200"])?;
    ensure!(open(&udp).is_empty(), "UDP: {udp}");
    // And what it listens for at all is known, behind the firewall too.
    let sockets = proof.machine.shell("cat /proc/net/tcp /proc/net/tcp6")?;
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    // "sl local_address remote_address state", of which 0A listens (proc(5)).
    let listens = sockets.lines().map(words).filter(|words| words.get(3).is_some_and(|state| state == "0A"));
    for local in listens.map(|words| words[1].clone()) {
        let (address, port) = local.split_once(':').context("a socket has a port")?;
        let port = u16::from_str_radix(port, 16)?;
        // The panel, and systemd-resolved for programs of the machine itself (127.0.0.53 and .54).
        let is_known = port == 8090 || (port == 53 && address.ends_with("7F"));
        ensure!(is_known, "something listens at {local} (hexadecimal)");
    }
    Ok(())
}

fn survives_power_cuts(proof: &mut Proof) -> anyhow::Result<()> {
    let mut random = rand::rng();
    proof.machine.clear_console();
    for number in 1..=CUTS {
        proof.machine.power_on()?;
        // From the boot loader to a room in its channel.
        let after = Duration::from_millis(random.random_range(1_000..60_000));
        std::thread::sleep(after);
        // Somebody writes all the time.
        let _ = proof
            .machine
            .shell_for("dd if=/dev/urandom of=/data/x bs=64k count=64 conv=fsync", Duration::from_secs(2));
        proof.machine.cut_power()?;
        println!(
            "proof:   power cut {number} of {CUTS}, after {:.1} s; slots so far {}",
            after.as_secs_f32(),
            proof.machine.slots()
        );
    }
    proof.machine.clear_console();
    proof.machine.power_on()?;
    proof.machine.wait_until_up()?;
    proof.in_channel()?;
    ensure!(proof.version()? == FLASHED, "another version runs");
    let id = proof.machine.shell("cat /etc/machine-id")?;
    ensure!(id == proof.machine_id, "the machine's id was {} and is {id}", proof.machine_id);
    proof.is_found_good()
}

fn is_reset(proof: &mut Proof) -> anyhow::Result<()> {
    let version = proof.version()?;
    let boot = proof.machine.shell("cat /proc/sys/kernel/random/boot_id")?;
    proof.machine.shell("touch /data/of-the-room /var/lib/of-the-room && sync")?;
    for button in ["volume_up", "volume_down"] {
        let pressed = json!({"pressed": true});
        proof.panel.api("POST", &format!("/board/buttons/{button}"), Some(&pressed))?;
    }
    proof.wait_for_another_boot(&boot, BOOT)?;
    let left = proof.machine.shell("ls /data /var/lib")?;
    ensure!(!left.contains("of-the-room"), "something of the room is left: {left}");
    ensure!(proof.version()? == version, "another version runs");
    ensure!(proof.machine.shell("cat /factory/udid")?.trim() == UDID, "the Udid is gone");
    has_grown(proof)?;
    // Its key is another one: whoever installs the terminal registers it anew.
    proof.site.register(&mut proof.machine)?;
    proof.in_channel()
}
