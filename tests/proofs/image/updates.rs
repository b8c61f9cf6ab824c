//! Updates of the installed image: good ones are installed whatever comes between, bad ones go away by themselves.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::ensure;
use rand::{Rng, distr::Alphanumeric};
use rostrum_tests::{
    image::{BOOT, Files, PATIENCE, Site, updater},
    until,
    updates::Offered,
};
use xtask::{
    image::{self, Plan},
    paths,
};

use crate::Proof;

/// What a version is, beside its number.
type Change = (String, String, &'static str);

/// Bytes of the bundle that is interrupted, beyond those of the system before it.
const LARGE: usize = 24 << 20;
/// Of these, so many are fetched before a meeting begins, and before the power is cut.
const BEFORE_MEETING: u64 = 4 << 20;
const BEFORE_CUT: u64 = 4 << 20;
/// How long nothing may be fetched in a meeting: the time is what is proven.
const MEETING: Duration = Duration::from_secs(15);

/// Makes bundles of the image with changes.
pub(crate) struct Bundles {
    dir: PathBuf,
    server: String,
    configuration: String,
    made: u32,
}

impl Bundles {
    pub(crate) fn new(dir: &Path, site: &Site, server: &str) -> Self {
        Self { dir: dir.to_owned(), server: server.to_owned(), configuration: site.configuration(), made: 0 }
    }
}

/// An update that is offered.
struct Update {
    action: String,
    version: String,
    bundle: PathBuf,
    files: Files,
}

/// Offers a new version with `changes` to the terminal in its meeting, and ends the meeting when it says that it waits.
fn offer(proof: &mut Proof, changes: &[Change]) -> anyhow::Result<Update> {
    proof.bundles.made += 1;
    let (action, version) = (proof.bundles.made.to_string(), format!("0.1.0-dev.{}", proof.bundles.made + 1));
    let changes: Vec<(&str, &str, &str)> =
        changes.iter().map(|(target, text, mode)| (target.as_str(), text.as_str(), *mode)).collect();
    let folder = proof.bundles.dir.join(&version);
    let plan = proof.site.plan(folder, &version, &proof.bundles.server, &changes);
    let bundle = image::make(&Plan { only_bundle: true, ..plan })?.bundle;
    let files = Files::serve(&proof.site.cable.here, &bundle)?;
    let mut offered = Offered::new(&action, &version, &bundle);
    offered.elsewhere = Some(files.address().to_owned());
    proof.updates.offer(Some(offered));
    proof.panel.wait_for("it waits", PATIENCE, |state| {
        state["update"]["reason"].as_str().is_some_and(|reason| reason.contains("meeting"))
    })?;
    ensure!(files.given() < 1 << 20, "the bundle was fetched in a meeting");
    proof.machine.clear_console();
    proof.panel.api("POST", "/leave", None)?;
    Ok(Update { action, version, bundle, files })
}

/// What the server is told at the end of an update, and that it is told once.
fn end(proof: &mut Proof, update: &Update) -> anyhow::Result<(bool, String)> {
    let told = until("the end of the update", 4 * BOOT, || {
        Ok(proof.updates.ends(&update.action).into_iter().next())
    })
    .map_err(|error| {
        let journal = "journalctl --no-pager -n 40 -u rostrum-updater -u rauc -o cat";
        error.context(proof.machine.shell(journal).unwrap_or_default())
    })?;
    println!("proof:   the server was told: {}", told.1);
    let times = proof.updates.ends(&update.action).len();
    ensure!(times == 1, "the server was told {times} times");
    Ok(told)
}

/// Ends with the new version in a meeting.
fn is_installed(proof: &mut Proof, update: &Update) -> anyhow::Result<()> {
    let (ok, text) = end(proof, update)?;
    ensure!(ok, "{text}");
    ensure!(proof.version()? == update.version, "the new version does not run");
    proof.in_channel()?;
    proof.is_found_good()?;
    Ok(fs::remove_file(&update.bundle)?)
}

pub(crate) fn is_taken(proof: &mut Proof) -> anyhow::Result<()> {
    let news = ("/usr/share/rostrum/news".to_owned(), "A small change.\n".to_owned(), "644");
    let update = offer(proof, &[news])?;
    let length = fs::metadata(&update.bundle)?.len();
    is_installed(proof, &update)?;
    let given = update.files.given();
    println!(
        "proof:   fetched {given} bytes of a bundle of {length}: {:.1} %",
        given as f64 * 100.0 / length as f64
    );
    ensure!(given < length / 4, "most of the bundle was fetched");
    ensure!(proof.machine.slots() == "B", "slots: {}", proof.machine.slots());
    Ok(())
}

pub(crate) fn is_taken_up_again(proof: &mut Proof) -> anyhow::Result<()> {
    let before = proof.version()?;
    let text: String = rand::rng().sample_iter(Alphanumeric).take(LARGE).map(char::from).collect();
    let update = offer(proof, &[("/usr/share/rostrum/large".to_owned(), text, "644")])?;
    let fetched = |least: u64| {
        until("a part of the bundle", 2 * BOOT, || Ok((update.files.given() >= least).then_some(())))
    };
    fetched(BEFORE_MEETING)?;

    proof.panel.api("POST", "/join", None)?;
    let state = "systemctl show --property=FreezerState --value rauc.service";
    until("RAUC is paused", PATIENCE, || {
        let state = proof.machine.shell(state)?;
        Ok((state.trim() == "frozen").then_some(()))
    })?;
    proof
        .panel
        .wait_for("the room in its channel", PATIENCE, |state| state["room"]["phase"] == "in_channel")?;
    let (paused, begin) = (update.files.given(), Instant::now());
    while begin.elapsed() < MEETING {
        ensure!(update.files.given() == paused, "the bundle was fetched in a meeting");
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(proof.updates.ends(&update.action).is_empty(), "the update ended in a meeting");
    println!("proof:   paused after {paused} bytes");
    proof.panel.api("POST", "/leave", None)?;

    fetched(paused + BEFORE_CUT)?;
    proof.machine.clear_console();
    proof.machine.power_on()?;
    proof.machine.wait_until_up()?;
    println!("proof:   the power was cut after {} bytes", update.files.given());
    ensure!(proof.version()? == before, "the half of another version runs");
    is_installed(proof, &update)
}

/// Installs a version that is bad, and sees the one before run again after three tries, in a meeting, with the server told
/// `why`.
fn goes_away(proof: &mut Proof, changes: &[Change], why: &str) -> anyhow::Result<()> {
    let before = proof.version()?;
    let runs_a = proof.machine.shell("cat /proc/cmdline")?.contains("rauc.slot=A");
    let update = offer(proof, changes)?;
    let (ok, text) = end(proof, &update)?;
    ensure!(!ok && text.contains(why), "{text}");
    ensure!(proof.version()? == before, "the version before does not run");
    let (slots, expected) = (proof.machine.slots(), if runs_a { "BBBA" } else { "AAAB" });
    ensure!(slots == expected, "slots: {slots}, not {expected}");
    proof.in_channel()?;
    proof.is_found_good()?;
    Ok(fs::remove_file(&update.bundle)?)
}

pub(crate) fn does_not_start(proof: &mut Proof) -> anyhow::Result<()> {
    // Signed and complete, and its first program ends at once.
    let init = ("/usr/sbin/init".to_owned(), "#!/bin/sh\nexit 1\n".to_owned(), "755");
    goes_away(proof, &[init], "did not start")
}

pub(crate) fn loops(proof: &mut Proof) -> anyhow::Result<()> {
    let terminal = ("/usr/bin/rostrumd".to_owned(), "#!/bin/sh\nsleep 1\nexit 1\n".to_owned(), "755");
    let impatient = updater(&proof.bundles.server).replace("[gate]\n", "[gate]\npatience_s = 90\n");
    let configuration = ("/etc/rostrum/rostrum-updater.toml".to_owned(), impatient, "644");
    goes_away(proof, &[terminal, configuration], "rostrumd.service is not up")
}

pub(crate) fn is_blind(proof: &mut Proof) -> anyhow::Result<()> {
    // A camera that gives one picture, and no other.
    let profile = fs::read_to_string(paths::root().join(format!("board/profiles/{}.toml", image::MACHINE)))?;
    let camera = "driver = \"gstreamer\"\nelement = \"videotestsrc\"\nproperties = { num-buffers = 1 }";
    let blind = profile.replacen("[camera]\ndriver = \"virtual\"", &format!("[camera]\n{camera}"), 1);
    ensure!(blind != profile, "the profile has no virtual camera");
    let profile = ("/etc/rostrum/blind.toml".to_owned(), blind, "644");
    let name = format!("profile = \"{}\"", image::MACHINE);
    let other = proof.bundles.configuration.replace(&name, "profile = \"/etc/rostrum/blind.toml\"");
    let configuration = ("/etc/rostrum/rostrumd.toml".to_owned(), other, "644");
    goes_away(proof, &[profile, configuration], "self-test of camera failed")
}

pub(crate) fn is_alone(proof: &mut Proof) -> anyhow::Result<()> {
    let updater = ("/usr/bin/rostrum-updater".to_owned(), "#!/bin/sh\nexit 1\n".to_owned(), "755");
    // Ten minutes each time would be an hour here.
    let soon = "[Timer]\nOnBootSec=\nOnBootSec=1min\nOnUnitActiveSec=30s\nAccuracySec=1s\n";
    let timer = ("/etc/systemd/system/rostrum-trial.timer.d/50-soon.conf".to_owned(), soon.to_owned(), "644");
    goes_away(proof, &[updater, timer], "did not start")
}
