//! `cargo xtask`: one door to everything a developer, CI or a curious visitor runs.

use clap::{Parser, Subcommand};
use xtask::{bench, demo, image, prove, recipes, rig, screenshots, setup, test};

/// Installs what is needed (saying what and why), then runs the demo, the tests or the benches.
#[derive(Parser)]
#[command(name = "cargo xtask", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The main job on the virtual board: a service, a room, its panel and a guest's link.
    Demo(demo::Options),
    /// All tests, or those named. Ends with `N passed, N failed`.
    Test(test::Options),
    /// Measures one thing and prints JSON with the peer's figure from the same run.
    Bench(bench::Options),
    /// Proves what takes longer than a test may.
    Prove(prove::Options),
    /// Boots a virtual machine with virtual hardware and runs the drivers' tests in it.
    Rig(rig::Options),
    /// Builds rostrumd and channeld for this machine or for an arm64 board, and prints where they are.
    Build(rig::BuildOptions),
    /// Builds the panel's and the guest's pages, which images are made with.
    Pages,
    /// Makes the lists of crates of Yocto's recipes anew, after Cargo.lock changed.
    Recipes,
    /// Makes an image that can be flashed, its update bundle, and what lies beside them.
    Image(image::Options),
    /// Makes the README's screenshots again from a running demo.
    Screenshots,
    /// Installs everything the other commands need, and nothing else.
    Setup,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Prove(options) => prove::run(&options),
        Command::Rig(options) => rig::run(&options),
        Command::Build(options) => rig::build(&options),
        Command::Pages => setup::pages(),
        Command::Recipes => recipes::run(),
        Command::Image(options) => image::run(&options),
        Command::Screenshots => screenshots::run(),
        Command::Setup => setup::everything(),
    }
}
