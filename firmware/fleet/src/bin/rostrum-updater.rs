//! `rostrum-updater`: brings new versions onto a terminal, and takes bad ones off again. It talks to RAUC.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};
use rostrum_fleet::update::{
    config::{Config, EXAMPLE},
    run,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Installs what the update server, a USB stick or a person at the panel offers: never in a meeting, and never without
/// a way back.
#[derive(Parser)]
#[command(name = "rostrum-updater", version)]
struct Cli {
    /// The configuration file.
    #[arg(long, default_value = "/etc/rostrum/rostrum-updater.toml", global = true)]
    config: PathBuf,
    /// What to log: error, warn, info, debug or trace.
    #[arg(long, default_value = "info", global = true)]
    log_level: log::LevelFilter,
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Looks after updates (the default).
    Run,
    /// Ends when what runs was found good; for units that wait for it.
    WaitGood,
    /// Says what is wrong in the configuration, and ends.
    CheckConfig,
    /// Prints a configuration with every key.
    ConfigExample,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Task::Run) {
        Task::Run => {
            start_log(cli.log_level)?;
            let config = load(&cli.config)?;

            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(work(config))
        }
        Task::WaitGood => {
            let good = load(&cli.config)?.good_file;
            while !good.exists() {
                std::thread::sleep(std::time::Duration::from_millis(500));
            }
            Ok(())
        }
        Task::CheckConfig => {
            load(&cli.config)?;
            print(&format!("{} is fine", cli.config.display()))
        }
        Task::ConfigExample => print(EXAMPLE.trim_end()),
    }
}

fn load(file: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the configuration {}", file.display()))?;
    let config: Config = toml::from_str(&text).with_context(|| format!("{} is not right", file.display()))?;
    Ok(config.at_its_site()?)
}

async fn work(config: Config) -> anyhow::Result<()> {
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = stop.send(true);
        // Kept until the end.
        std::future::pending::<()>().await;
    });
    let mut is_ready = false;
    // Without systemd there is nobody to tell.
    let alive = move || {
        if !std::mem::replace(&mut is_ready, true) {
            let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
        }
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Watchdog]);
    };
    Ok(run::run(config, stopped, alive).await?)
}

/// To the journal under systemd, to standard error elsewhere.
fn start_log(level: log::LevelFilter) -> anyhow::Result<()> {
    log::set_max_level(level);
    if systemd_journal_logger::connected_to_journal() {
        systemd_journal_logger::JournalLog::new()?.install()?;
    } else {
        env_logger::Builder::new().filter_level(level).format_timestamp_micros().try_init()?;
    }
    Ok(())
}

fn print(line: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    Ok(writeln!(out, "{line}").and_then(|()| out.flush())?)
}
