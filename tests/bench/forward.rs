//! The service under load beside the real LiveKit server: the same clients, the same machine, taking
//! turns. The server has one core to itself and what loads it another.

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

/// What is measured, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds of each load, in each round.
    #[arg(long, default_value_t = 10)]
    length: u32,
    /// Pictures and sound packets a second, as a share of 30 and 50.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// How often the two servers take turns: figures are medians of the rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only this load: 4x12, 16x16 or 1x15.
    #[arg(long)]
    load: Option<String>,
    /// Without the other server, for a profiler.
    #[arg(long)]
    alone: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Figures> {
    let length = Duration::from_secs(options.length.into());
    let [server_core, generator_core] = cores::two()?;
    let measure = |name: &str, load: &Load, target: &Target<'_>| -> anyhow::Result<Outcome> {
        eprintln!("bench: {} s of {} on {name}", options.length, load.name);
        let mut outcome = cores::on(generator_core, || load::run(target, load, length, options.scale))?;
        report(name, &mut outcome)?;
        Ok(outcome)
    };
    let wanted = |load: &&Load| options.load.as_deref().is_none_or(|name| name == load.name);
    let loads: Vec<&Load> = LOADS.iter().filter(wanted).collect();
    anyhow::ensure!(
        !loads.is_empty(),
        "there is no such load; there are {}",
        LOADS.map(|l| l.name).join(", ")
    );
    let mut figures = Figures::default();
    for load in loads {
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            ours.push({
                let lab = cores::on(server_core, || Lab::with(LIMITS, "release"))?;
                let service = &lab.service;
                let (url, id, key) = (&service.url, &service.app_id, &service.app_key);
                measure("channeld", load, &Target { url, id, key, pid: service.program.id() })?
            });
            if options.alone {
                continue;
            }
            peers.push({
                let dir = tempfile::Builder::new().prefix("rostrum-").tempdir()?;
                let server = cores::on(server_core, || LiveKit::start(dir.path()))?;
                let (url, id, key) = (&server.url, &server.api_key, &server.api_secret);
                measure("livekit-server", load, &Target { url, id, key, pid: server.program.id() })?
            });
        }
        add(&mut figures, load.name, &mut ours, &mut peers);
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

/// Adds what the rounds of one load gave.
fn add(figures: &mut Figures, load: &str, ours: &mut [Outcome], peers: &mut [Outcome]) {
    type Figure = fn(&mut Outcome) -> f64;
    // The goal, where there is one, is this share of the peer's figure.
    let kinds: [(&str, &str, Option<f64>, Figure); 6] = [
        ("server_cpu_us_per_packet", "us", Some(0.5), |o| o.server_cpu_us_per_packet),
        ("server_rss_mb", "MB", Some(1.0), |o| o.server_rss_mb),
        ("join_ms_p50", "ms", None, |o| percentile(&mut o.join_ms, 50.0)),
        ("join_ms_p95", "ms", Some(1.0), |o| percentile(&mut o.join_ms, 95.0)),
        ("loss_percent", "%", None, |o| o.loss_percent),
        ("server_delay_ms_p95", "ms", Some(1.0), |o| percentile(&mut o.delay_ms, 95.0)),
    ];
    for (name, unit, share, figure) in kinds {
        let median = |outcomes: &mut [Outcome]| {
            let mut values: Vec<f64> = outcomes.iter_mut().map(figure).collect();
            percentile(&mut values, 50.0)
        };
        let peer = (!peers.is_empty()).then(|| median(peers));
        let goal = peer.zip(share).map(|(peer, share)| peer * share);
        figures.add(&format!("{name}_{load}"), unit, median(ours), peer, goal);
    }
}
