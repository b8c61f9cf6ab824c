//! The benches, started by `cargo xtask bench`. Each ends with one line of JSON.

mod boot;
mod cores;
mod figures;
mod forward;
mod join;
mod latency;
mod load;
mod meter;
mod update;

use clap::Parser;

/// Measures one thing beside a peer, and ends with one line of JSON.
#[derive(Parser)]
enum Bench {
    /// From power to a joined room, in the image for QEMU.
    Boot {
        /// Boots to measure.
        #[arg(long, default_value_t = 3)]
        length: u32,
    },
    /// The service under load, beside LiveKit's server.
    Forward(forward::Options),
    /// Button to first frame, and connect to first frame.
    Join {
        /// Rounds to measure.
        #[arg(long, default_value_t = 10)]
        length: u32,
    },
    /// Camera to picture, voice to ear, memory and CPU.
    Latency {
        /// Seconds to measure.
        #[arg(long, default_value_t = 30)]
        length: u32,
    },
    /// What an update takes of the network, of memory and of a meeting.
    Update(update::Options),
}

fn main() -> anyhow::Result<()> {
    let (name, figures) = match Bench::parse() {
        Bench::Boot { length } => ("boot", boot::run(length)?),
        Bench::Forward(options) => ("forward", forward::run(&options)?),
        Bench::Join { length } => ("join", join::run(length)?),
        Bench::Latency { length } => ("latency", latency::run(length)?),
        Bench::Update(options) => ("update", update::run(&options)?),
    };
    figures.print(name)
}
