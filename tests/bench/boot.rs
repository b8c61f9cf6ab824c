//! From power to a joined room, in the image for QEMU; the peer is the same image without anything of ours.

use std::{fs, time::Instant};

use anyhow::{Context, ensure};
use rostrum_tests::{
    image::{BOOT, Machine, PATIENCE, Site, USER, bar},
    lab::CHANNEL,
    until,
};
use xtask::image::{self, Image};

use crate::figures::{Figures, percentile};

/// An empty unit is a masked one (systemd.unit(5)).
const WITHOUT_OURS: &[(&str, &str, &str)] = &[
    ("/etc/systemd/system/rostrumd.service", "", "644"),
    ("/etc/systemd/system/rostrum-updater.service", "", "644"),
];
const NOWHERE: &str = "http://localhost:9";

/// What one boot took, in seconds.
#[derive(Debug)]
struct Boot {
    /// From power to systemd's end of it, as somebody outside sees it.
    up: f64,
    kernel: f64,
    user_space: f64,
}

pub(crate) fn run(rounds: u32) -> anyhow::Result<Figures> {
    let dir = tempfile::Builder::new().prefix("rostrum-boot-").tempdir_in("/var/tmp")?;
    let site = Site::new(dir.path())?;
    let make = |name: &str, more: &[(&str, &str, &str)]| -> anyhow::Result<Image> {
        let image = image::make(&site.plan(dir.path().join(name), "0.1.0-dev.1", NOWHERE, more))?;
        fs::remove_file(&image.bundle)?;
        fs::File::options().write(true).open(&image.disk)?.set_len(3 << 30)?;
        Ok(image)
    };
    let ours = make("ours", &[])?;
    let bare = make("bare", WITHOUT_OURS)?;
    let socket = dir.path().join("shell.socket");

    // The first boot makes file systems and keys, which no other one does.
    let mut machine = Machine::new(bare, &site.cable.device, socket.clone());
    boot(&mut machine, "bare system, first boot")?;
    let mut peers = Vec::new();
    for round in 1..=rounds {
        peers.push(boot(&mut machine, &format!("bare system, boot {round} of {rounds}"))?);
    }
    machine.cut_power()?;

    let mut machine = Machine::new(ours, &site.cable.device, socket);
    boot(&mut machine, "first boot")?;
    site.register(&mut machine)?;
    drop(site.in_channel()?);
    let (mut boots, mut joined, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    let (mut chain, mut blame) = (String::new(), String::new());
    for round in 1..=rounds {
        let start = switch_off_and_on(&mut machine, &site)?;
        until("the room in its channel", BOOT + PATIENCE, || Ok(is_in_channel(&site)?.then_some(())))?;
        joined.push(start.elapsed().as_secs_f64());
        let mut peer = site.lab.libwebrtc("peer", &[])?;
        bar(&mut peer)?;
        seen.push(start.elapsed().as_secs_f64());
        peer.program().tell(r#"{"do": "quit"}"#)?;
        boots.push(measured(&mut machine, start)?);
        eprintln!("bench: boot {round} of {rounds}: joined after {:.1} s", joined[joined.len() - 1]);
        chain = machine.shell("systemd-analyze critical-chain --no-pager rostrumd.service")?;
        blame = machine.shell("systemd-analyze blame --no-pager | head -n 12")?;
    }

    let middle = |values: &mut dyn Iterator<Item = f64>| {
        let mut values: Vec<f64> = values.collect();
        percentile(&mut values, 50.0)
    };
    let peer_up = middle(&mut peers.iter().map(|boot| boot.up));
    let mut figures = Figures::default();
    let mut add =
        |name: &str, unit: &str, ours: f64, peer: f64| figures.add(name, unit, ours, Some(peer), None);
    let joined = middle(&mut joined.into_iter());
    add("power_to_joined", "boots of the bare system", joined / peer_up, 1.0);
    add("power_to_joined_s", "s, emulated", joined, peer_up);
    add("power_to_picture_s", "s, emulated", middle(&mut seen.into_iter()), peer_up);
    let mut both = |name: &str, of: fn(&Boot) -> f64| {
        add(name, "s, emulated", middle(&mut boots.iter().map(of)), middle(&mut peers.iter().map(of)));
    };
    both("kernel_s", |boot| boot.kernel);
    both("user_space_s", |boot| boot.user_space);
    figures.note("critical_chain", chain.trim());
    figures.note("blame", blame.trim());
    Ok(figures)
}

/// Whether the service has the room in its channel.
fn is_in_channel(site: &Site) -> anyhow::Result<bool> {
    let channel = site.lab.service.api("GET", &format!("/api/v1/channels/{CHANNEL}"), None);
    Ok(channel.is_ok_and(|channel| channel.to_string().contains(&format!("\"{USER}\""))))
}

/// Takes the power away, and gives it back when the service has noticed.
fn switch_off_and_on(machine: &mut Machine, site: &Site) -> anyhow::Result<Instant> {
    machine.shell("sync")?;
    machine.cut_power()?;
    until("the service misses the room", PATIENCE, || Ok((!is_in_channel(site)?).then_some(())))?;
    let start = Instant::now();
    machine.power_on()?;
    Ok(start)
}

/// Boots the machine as far as systemd goes.
fn boot(machine: &mut Machine, what: &str) -> anyhow::Result<Boot> {
    let start = Instant::now();
    machine.power_on()?;
    let boot = measured(machine, start)?;
    eprintln!("bench: {what}: {boot:?}");
    Ok(boot)
}

fn measured(machine: &mut Machine, start: Instant) -> anyhow::Result<Boot> {
    machine.wait_until_up()?;
    let up = start.elapsed().as_secs_f64();
    let text = until("the end of the boot", BOOT, || machine.shell("systemd-analyze time").map(Some))?;
    let boot = Boot { up, kernel: part(&text, "(kernel)")?, user_space: part(&text, "(userspace)")? };
    ensure!(boot.kernel > 0.0 && boot.user_space > 0.0, "{boot:?}: {text}");
    Ok(boot)
}

/// Seconds of one part of what `systemd-analyze time` says: "... in 2.046s (kernel) + 1min 3.2s (userspace) = ...".
fn part(text: &str, name: &str) -> anyhow::Result<f64> {
    let (before, _) = text.split_once(name).with_context(|| format!("no {name} in: {text}"))?;
    let words = before.rsplit('+').next().unwrap_or_default().rsplit(" in ").next().unwrap_or_default();
    words
        .split_whitespace()
        .map(|word| {
            let units = [("min", 60.0), ("ms", 0.001), ("us", 1e-6), ("s", 1.0)];
            let unit = units.iter().find_map(|(unit, seconds)| Some((word.strip_suffix(unit)?, seconds)));
            let (number, seconds) = unit.with_context(|| format!("no time: {word}"))?;
            Ok(number.parse::<f64>()? * seconds)
        })
        .sum()
}
