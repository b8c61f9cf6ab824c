//! What an update takes: of the network, of memory, and of a meeting that goes on. The host's part is the real RAUC with slots
//! in files; how little of a bundle is fetched shows in the image for QEMU, which has device mapper. The peers: RAUC's own
//! service (memory), the bundle as a whole (network), the same meeting without an update (processor, pictures).

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rostrum_tests::{
    Lab,
    image::{BOOT, Files, Machine, Site},
    lab::{self, PATIENCE},
    until,
    updates::{Bundles, Ddi, Image, OLD, Offered, Quality, UpdateTerminal},
};
use xtask::{
    image::{self, Plan},
    room::Terminal,
};

use crate::{
    figures::Figures,
    meter::{cpu_seconds, forget_peak, peak_rss_mb},
};

const NEW: &str = "1.1.0";
const UPDATE: Duration = Duration::from_secs(120);

/// What `bench update` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds of the meeting to measure.
    #[arg(long, default_value_t = 20)]
    length: u32,
    /// Without the image for QEMU, and so without `fetched_percent_of_bundle`.
    #[arg(long)]
    without_image: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    in_a_meeting(Duration::from_secs(options.length.into()), &mut figures)?;
    if options.without_image {
        figures.note("fetched_percent_of_bundle", "not measured: --without-image");
    } else {
        let (fetched, length) = fetched()?;
        let percent = fetched as f64 * 100.0 / length as f64;
        figures.add("fetched_percent_of_bundle", "%", percent, Some(100.0), None);
        figures.note("bundle_bytes", &length.to_string());
    }
    Ok(figures)
}

/// What a meeting sends, and what it takes of the processor.
struct Meeting {
    frames_per_s: f64,
    audio_packets_per_s: f64,
    cpu_percent: f64,
}

impl Meeting {
    /// Looks at it for `length`; gives the share of a core that `others` took meanwhile as well, in percent.
    fn measure(room: &Terminal, length: Duration, others: &[u32]) -> anyhow::Result<(Self, f64)> {
        let counters = || -> anyhow::Result<[f64; 2]> {
            let state = room.state()?;
            let counter = |name: &str| state["statistics"][name].as_f64().context("no statistics");
            Ok([counter("frames_sent")?, counter("audio_packets_sent")?])
        };
        let taken = || others.iter().map(|pid| cpu_seconds(*pid)).sum::<anyhow::Result<f64>>();
        let start = Instant::now();
        let before = (counters()?, cpu_seconds(room.program.id())?, taken()?);
        sleep(length);
        let after = (counters()?, cpu_seconds(room.program.id())?, taken()?);
        let seconds = start.elapsed().as_secs_f64();
        let rate = |index: usize| (after.0[index] - before.0[index]) / seconds;
        let percent = |before: f64, after: f64| (after - before) / seconds * 100.0;
        let meeting = Self {
            frames_per_s: rate(0),
            audio_packets_per_s: rate(1),
            cpu_percent: percent(before.1, after.1),
        };
        Ok((meeting, percent(before.2, after.2)))
    }
}

fn in_a_meeting(length: Duration, figures: &mut Figures) -> anyhow::Result<()> {
    let lab = Lab::with("", "release")?;
    let server = Ddi::start()?;
    let rauc = image::rauc()?;
    let bundles = Bundles::new(&lab.dir().join("bundles"), rauc.clone())?;
    let configuration = format!(
        "{}\n[install]\nidle_s = 1\nsilent_s = 60\nretry_s = 1\n[gate]\nsteady_s = 0\nfolders = []\n",
        server.configuration("")
    );
    let mut terminal = UpdateTerminal::new(rauc, &bundles.key_ring(), &configuration)?.built("release");
    let socket = format!("[updates]\nsocket = {:?}\n", terminal.socket());
    let room = lab.room_with("room", None, &socket, "release")?;
    terminal.boot()?;
    let mut guest = lab.libwebrtc("guest", &["--quiet-frames"])?;
    room.wait_for("its updater", PATIENCE, |state| state["update"]["running"] == OLD)?;
    lab::join(&room)?;
    guest.event("frame", PATIENCE)?;
    sleep(Duration::from_secs(5));
    let programs = terminal.processes().context("the updater does not run")?;
    eprintln!("bench: {} s of a meeting without an update", length.as_secs());
    let (without, idle) = Meeting::measure(&room, length, &programs)?;

    // It begins after a meeting, and the next meeting begins while it is on its way.
    let mut offered = Offered::new("1", NEW, &bundles.bundle(&Image::new(NEW, Quality::Good))?);
    offered.slow = Some(100 << 10);
    server.offer(Some(offered));
    room.wait_for("it waits", PATIENCE, |state| {
        state["update"]["reason"].as_str().is_some_and(|reason| reason.contains("meeting"))
    })?;
    eprintln!("bench: {} s of a meeting for which an update waits", length.as_secs());
    let (waiting, waits) = Meeting::measure(&room, length, &programs)?;
    room.api("POST", "/leave", None)?;
    room.wait_for("it comes", PATIENCE, |state| state["update"]["percent"].as_u64() > Some(10))?;
    lab::join(&room)?;
    eprintln!("bench: {} s of a meeting that began in an update", length.as_secs());
    let (during, paused) = Meeting::measure(&room, length, &programs)?;
    room.api("POST", "/leave", None)?;

    for pid in programs {
        forget_peak(pid)?;
    }
    let mut peaks = [0.0_f64; 2];
    let (ok, text) = terminal.until("the new version", UPDATE, |terminal| {
        for (peak, pid) in peaks.iter_mut().zip(terminal.processes().unwrap_or_default()) {
            // It may have ended just now.
            *peak = peak.max(peak_rss_mb(pid).unwrap_or_default());
        }
        Ok(server.ends("1").into_iter().next())
    })?;
    ensure!(ok, "{text}");

    figures.add("agent_rss_mb", "MB, the most in an update", peaks[0], Some(peaks[1]), Some(20.0));
    let mut add =
        |name: &str, unit: &str, ours: f64, peer: f64| figures.add(name, unit, ours, Some(peer), None);
    add("meeting_cpu_taken_while_waiting", "% of a core", waits, idle);
    add("meeting_cpu_taken_when_begun", "% of a core", paused, idle);
    add("meeting_own_cpu_while_waiting", "% of a core", waiting.cpu_percent, without.cpu_percent);
    add("meeting_own_cpu_when_begun", "% of a core", during.cpu_percent, without.cpu_percent);
    // More is better in these.
    for (name, of) in [
        ("frames", (|meeting: &Meeting| meeting.frames_per_s) as fn(&Meeting) -> f64),
        ("audio_packets", |meeting: &Meeting| meeting.audio_packets_per_s),
    ] {
        figures.note(
            &format!("meeting_{name}_per_s"),
            &format!("{:.1} without, {:.1} waiting, {:.1} begun", of(&without), of(&waiting), of(&during)),
        );
    }
    Ok(())
}

/// A small change to the image, streamed: bytes that were fetched of the bundle, and its length.
fn fetched() -> anyhow::Result<(u64, u64)> {
    let dir = tempfile::Builder::new().prefix("rostrum-update-").tempdir_in("/var/tmp")?;
    let site = Site::new(dir.path())?;
    let updates = Ddi::at(&site.cable.here)?;
    let old = image::make(&site.plan(dir.path().join("old"), "0.1.0-dev.1", &updates.url, &[]))?;
    fs::File::options().write(true).open(&old.disk)?.set_len(3 << 30)?;
    let news = [("/usr/share/rostrum/news", "A small change.\n", "644")];
    let plan = site.plan(dir.path().join("new"), "0.1.0-dev.2", &updates.url, &news);
    let new = image::make(&Plan { only_bundle: true, ..plan })?;
    let mut machine = Machine::new(old, &site.cable.device, dir.path().join("shell.socket"));
    eprintln!("bench: the image updates itself");
    machine.power_on()?;
    machine.wait_until_up()?;
    let files = Files::serve(&site.cable.here, &new.bundle)?;
    let mut offered = Offered::new("1", "0.1.0-dev.2", &new.bundle);
    offered.elsewhere = Some(files.address().to_owned());
    updates.offer(Some(offered));
    let (ok, text) = until("the end of the update", 6 * BOOT, || Ok(updates.ends("1").into_iter().next()))?;
    ensure!(ok, "{text}");
    Ok((files.given(), fs::metadata(&new.bundle)?.len()))
}
