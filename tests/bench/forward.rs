//! The service under load beside the real LiveKit server: the same clients, the same machine, one after the other.
//! The server has one core to itself and what loads it another.

use std::time::Duration;

use rostrum_tests::Lab;
use xtask::livekit::LiveKit;

use crate::{
    cores,
    figures::{Figures, percentile},
    load::{self, LOADS, Load, Outcome, Target},
};

/// More than all loads need: what they measure is not the limits.
const LIMITS: &str = "[limits]\nterminals_per_channel = 64\n";
/// Above this the generator's own queue shows in the delays.
const SATURATED_PERCENT: f64 = 85.0;
/// Less than this and the two servers did not do the same work.
const FORWARDED_PERCENT: f64 = 97.0;

pub(crate) fn run(seconds: u32, scale: f64) -> anyhow::Result<Figures> {
    let length = Duration::from_secs(seconds.into());
    let [server_core, generator_core] = cores::two()?;
    let measure = |name: &str, load: &Load, target: &Target<'_>| -> anyhow::Result<Outcome> {
        eprintln!("bench: {seconds} s of {} on {name}", load.name);
        let mut outcome = cores::on(generator_core, || load::run(target, load, length, scale))?;
        report(name, &mut outcome)?;
        Ok(outcome)
    };
    let mut figures = Figures::default();
    for load in &LOADS {
        let ours = {
            let lab = cores::on(server_core, || Lab::with(LIMITS, "release"))?;
            let service = &lab.service;
            let (url, id, key) = (&service.url, &service.app_id, &service.app_key);
            measure("channeld", load, &Target { url, id, key, pid: service.program.id() })?
        };
        let peer = {
            let dir = tempfile::Builder::new().prefix("rostrum-").tempdir()?;
            let server = cores::on(server_core, || LiveKit::start(dir.path()))?;
            let (url, id, key) = (&server.url, &server.api_key, &server.api_secret);
            measure("livekit-server", load, &Target { url, id, key, pid: server.program.id() })?
        };
        add(&mut figures, load.name, ours, peer);
    }
    Ok(figures)
}

/// Says on standard error what helps to judge the figures.
fn report(name: &str, outcome: &mut Outcome) -> anyhow::Result<()> {
    let Outcome { delay_ms, join_ms, join_to_picture_ms, .. } = outcome;
    let delays = [50.0, 95.0, 99.0, 100.0].map(|percent| percentile(delay_ms, percent));
    let joins = [50.0, 95.0].map(|percent| percentile(join_ms, percent));
    let pictures = [50.0, 95.0].map(|percent| percentile(join_to_picture_ms, percent));
    eprintln!(
        "bench: {name}: {:.0} packets/s in, {:.0} out ({:.2} % of what was asked for, {:.3} % lost); server {:.1} % \
         busy, {:.1} us a packet, {:.1} MB; generator {:.1} % busy; delay p50 {:.2} p95 {:.2} p99 {:.2} max {:.1} ms; \
         join p50 {:.0} p95 {:.0} ms, to the first picture p50 {:.0} p95 {:.0} ms",
        outcome.packets_in_per_second,
        outcome.packets_per_second,
        outcome.forwarded_percent,
        outcome.loss_percent,
        outcome.server_busy_percent,
        outcome.server_cpu_us_per_packet,
        outcome.server_rss_mb,
        outcome.generator_busy_percent,
        delays[0],
        delays[1],
        delays[2],
        delays[3],
        joins[0],
        joins[1],
        pictures[0],
        pictures[1],
    );
    anyhow::ensure!(
        outcome.generator_busy_percent < SATURATED_PERCENT,
        "the generator is saturated, so that its figures say nothing; run it with a smaller --scale"
    );
    anyhow::ensure!(
        outcome.forwarded_percent > FORWARDED_PERCENT,
        "{name} did not forward what was asked for, so that its figures cannot be compared"
    );
    Ok(())
}

fn add(figures: &mut Figures, load: &str, mut ours: Outcome, mut peer: Outcome) {
    let mut add = |name: &str, unit: &str, ours: f64, peer: f64, goal: Option<f64>| {
        figures.add(&format!("{name}_{load}"), unit, ours, Some(peer), goal);
    };
    let cpu = (ours.server_cpu_us_per_packet, peer.server_cpu_us_per_packet);
    add("server_cpu_us_per_packet", "us", cpu.0, cpu.1, Some(cpu.1 / 2.0));
    let rss = (ours.server_rss_mb, peer.server_rss_mb);
    add("server_rss_mb", "MB", rss.0, rss.1, Some(rss.1));
    let join = (percentile(&mut ours.join_ms, 50.0), percentile(&mut peer.join_ms, 50.0));
    add("join_ms_p50", "ms", join.0, join.1, None);
    let join = (percentile(&mut ours.join_ms, 95.0), percentile(&mut peer.join_ms, 95.0));
    add("join_ms_p95", "ms", join.0, join.1, Some(join.1));
    add("loss_percent", "%", ours.loss_percent, peer.loss_percent, None);
    let delay = (percentile(&mut ours.delay_ms, 95.0), percentile(&mut peer.delay_ms, 95.0));
    add("server_delay_ms_p95", "ms", delay.0, delay.1, Some(delay.1));
}
