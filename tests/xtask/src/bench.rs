//! `cargo xtask bench NAME`: figures, with the peer's from the same run.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, bail};

use crate::{
    go, paths,
    process::{cargo, run as run_step},
    rig, setup,
};

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub struct Options {
    /// `forward`: CPU, memory, join time, loss and delay of the service under load, beside LiveKit's server. `join`:
    /// button to first frame, and connect to first frame. `latency`: camera to picture, voice to ear, memory and CPU.
    /// `capture`: camera to encoded picture on virtual hardware, beside GStreamer's `v4l2src ! v4l2h264enc`. `update`: what
    /// an update takes of the network, of memory and of a meeting. `boot`: from power to a joined room in the image for
    /// QEMU, beside the image without our programs. `voice`: echo, double talk, beam, gain, CPU and delay of the voice
    /// chain in generated rooms, beside other cancellers.
    name: String,
    /// Seconds (forward: for each load; latency; update), rounds (join), boots (boot), pictures (capture) or rooms
    /// (voice) to measure.
    #[arg(long)]
    length: Option<u32>,
    /// Of `voice`: a folder of recordings to run through the chain instead of generated rooms.
    #[arg(long)]
    case: Option<PathBuf>,
    /// Options of the bench itself, after `--`: `cargo xtask bench forward -- --help` lists them.
    #[arg(last = true)]
    more: Vec<String>,
}

const BENCHES: &[&str] = &["forward", "join", "latency", "capture", "update", "boot", "voice"];

/// What benches of the image need beside what makes it.
const IN_THE_IMAGE: &[(&str, &str)] = &[("dnsmasq-base", "addresses for the machine")];

/// Builds in release, measures, and ends with one line of JSON.
///
/// # Errors
/// When the bench is unknown or what it starts fails.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if !BENCHES.contains(&options.name.as_str()) {
        bail!("there is no bench named {}; there are: {}", options.name, BENCHES.join(", "));
    }
    if options.name == "voice" {
        return voice(options);
    }
    setup::to_test()?;
    if options.name == "capture" {
        return rig::bench_capture(options.length.unwrap_or(100));
    }
    setup::pages()?;
    if options.name == "forward" {
        go::livekit_server()?;
        setup::simulcast_clip()?;
    }
    if ["update", "boot"].contains(&options.name.as_str()) {
        setup::apt(IN_THE_IMAGE)?;
        // The site's service.
        setup::build("debug")?;
    }
    setup::build("release")?;
    run_step(
        "cargo: building the bench",
        cargo()
            .args(["build", "--release", "-p", "rostrum-tests", "--bin", "bench"])
            .current_dir(paths::root()),
    )?;
    let mut bench = Command::new(paths::program("release", "bench"));
    bench.arg(&options.name);
    if let Some(length) = options.length {
        bench.args(["--length", &length.to_string()]);
    }
    bench.args(&options.more);
    let status = bench.status().context("cannot start the bench")?;
    anyhow::ensure!(status.success(), "the bench ended with {status}");
    Ok(())
}

/// In a crate of its own, which needs few of the others' packages.
fn voice(options: &Options) -> anyhow::Result<()> {
    setup::to_build()?;
    setup::speech()?;
    setup::speexdsp()?;
    setup::listeners()?;
    setup::apt(&[("valgrind", "counts instructions, for what a slower processor would need")])?;
    let mut build = cargo();
    build.args(["build", "--release", "-p", "rostrum-acoustics"]).current_dir(paths::root());
    run_step("cargo: building the bench", &mut build)?;
    let mut bench = Command::new(paths::program("release", "bench-voice"));
    if let Some(rooms) = options.length {
        bench.args(["--rooms", &rooms.to_string()]);
    }
    if let Some(folder) = &options.case {
        bench.arg("--case").arg(folder);
    }
    let status = bench.args(&options.more).status().context("cannot start the bench")?;
    anyhow::ensure!(status.success(), "the bench ended with {status}");
    Ok(())
}
