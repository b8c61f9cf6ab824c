//! `cargo xtask prove image`: an installed image in a machine of its own, from its first boot to its reset to factory.
#![allow(clippy::print_stdout)]

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rand::Rng;
use rostrum_tests::{
    boot_disk,
    image::{BOOT, Files, Machine, PATIENCE, Site, UDID},
    lab::CHANNEL,
    until,
    updates::{Ddi, Offered},
};
use xtask::{
    image::{self, Image, Plan},
    room::Panel,
};

const CUTS: u32 = 20;
const OLD: &str = "0.1.0-dev.1";
const NEW: &str = "0.1.0-dev.2";
const BAD: &str = "0.1.0-dev.3";

/// Everything of the proof.
struct Proof {
    machine: Machine,
    panel: Panel,
    site: Site,
    bundles: [std::path::PathBuf; 2],
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
    ("takes an update over HTTP, fetching what changed", takes_an_update),
    ("rolls a version back that does not start", rolls_back),
    ("is reset to factory", is_reset),
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
        let make = |name: &str, version: &str, only_bundle: bool, more: &[(&str, &str, &str)]| {
            let plan = site.plan(dir.path().join(name), version, &updates.url, more);
            image::make(&Plan { only_bundle, ..plan })
        };
        let image = make("old", OLD, false, &[])?;
        // The card is larger than the image.
        fs::File::options().write(true).open(&image.disk)?.set_len(3 << 30)?;
        let new = make("new", NEW, true, &[("/usr/share/rostrum/news", "A small change.\n", "755")])?;
        // Signed and complete, and its first program ends at once.
        let bad = make("bad", BAD, true, &[("/usr/sbin/init", "#!/bin/sh\nexit 1\n", "755")])?;
        let boot_loader = image.boot_loader.clone();
        let machine = Machine::new(image, &site.cable.device, dir.path().join("shell.socket"));
        Ok(Self {
            machine,
            panel: site.panel(),
            site,
            bundles: [new.bundle, bad.bundle],
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

    /// The update server offers a bundle; gives how much of it was fetched when the server hears of the end, and the end.
    fn update(&mut self, action: &str, version: &str, bundle: usize) -> anyhow::Result<(u64, bool, String)> {
        let files = Files::serve(&self.site.cable.here, &self.bundles[bundle])?;
        let mut offered = Offered::new(action, version, &self.bundles[bundle]);
        offered.elsewhere = Some(files.address().to_owned());
        self.updates.offer(Some(offered));
        if self.panel.state()?["room"]["phase"] == "in_channel" {
            self.panel.wait_for("it waits", PATIENCE, |state| {
                state["update"]["reason"].as_str().is_some_and(|reason| reason.contains("meeting"))
            })?;
            ensure!(files.given() < 1 << 20, "the bundle was fetched in a meeting");
            self.panel.api("POST", "/leave", None)?;
        }
        self.machine.clear_console();
        let (ok, text) =
            until("the end of the update", 4 * BOOT, || Ok(self.updates.ends(action).into_iter().next()))
                .map_err(|error| {
                    let journal = "journalctl --no-pager -n 40 -u rostrum-updater -u rauc -o cat";
                    error.context(self.machine.shell(journal).unwrap_or_default())
                })?;
        Ok((files.given(), ok, text))
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
    ensure!(proof.version()? == OLD, "another version runs");
    let id = proof.machine.shell("cat /etc/machine-id")?;
    ensure!(id == proof.machine_id, "the machine's id was {} and is {id}", proof.machine_id);
    proof.is_found_good()
}

fn takes_an_update(proof: &mut Proof) -> anyhow::Result<()> {
    let length = fs::metadata(&proof.bundles[0])?.len();
    let (given, ok, text) = proof.update("1", NEW, 0)?;
    println!(
        "proof:   fetched {given} bytes of a bundle of {length}: {:.1} %",
        given as f64 * 100.0 / length as f64
    );
    ensure!(ok, "{text}");
    ensure!(proof.version()? == NEW, "the new version does not run");
    ensure!(proof.machine.slots() == "B", "slots: {}", proof.machine.slots());
    proof.in_channel()?;
    proof.is_found_good()
}

fn rolls_back(proof: &mut Proof) -> anyhow::Result<()> {
    let before = proof.version()?;
    let slot = if proof.machine.shell("cat /proc/cmdline")?.contains("rauc.slot=A") { 'A' } else { 'B' };
    let (_, ok, text) = proof.update("2", BAD, 1)?;
    println!("proof:   the server was told: {text}");
    ensure!(!ok && text.contains("did not start"), "{text}");
    ensure!(proof.version()? == before, "the version before does not run");
    let other = if slot == 'A' { "BBBA" } else { "AAAB" };
    ensure!(proof.machine.slots() == other, "slots: {}, not {other}", proof.machine.slots());
    proof.in_channel()?;
    proof.is_found_good()
}

fn is_reset(proof: &mut Proof) -> anyhow::Result<()> {
    let version = proof.version()?;
    let boot = proof.machine.shell("cat /proc/sys/kernel/random/boot_id")?;
    proof.machine.shell("touch /data/of-the-room /var/lib/of-the-room && sync")?;
    // What the terminal does after its button was held.
    proof.machine.shell("touch /run/rostrum/factory-reset")?;
    proof.wait_for_another_boot(&boot, BOOT)?;
    let left = proof.machine.shell("ls /data /var/lib")?;
    ensure!(!left.contains("of-the-room"), "something of the room is left: {left}");
    ensure!(proof.version()? == version, "another version runs");
    ensure!(proof.machine.shell("cat /factory/udid")?.trim() == UDID, "the Udid is gone");
    has_grown(proof)?;
    proof.in_channel()
}
