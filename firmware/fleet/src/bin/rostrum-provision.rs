//! `rostrum-provision`: the bench, see [`rostrum_fleet::provision`].

use std::{io::Write, time::SystemTime};

use clap::Parser;
use rostrum_fleet::provision::cli::{Cli, run};

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    env_logger::Builder::new().filter_level(log::LevelFilter::Warn).format_timestamp(None).try_init()?;
    let told = run(cli, SystemTime::now())?;
    let mut out = std::io::stdout().lock();
    Ok(writeln!(out, "{}", told.trim_end()).and_then(|()| out.flush())?)
}
