//! `channeld`: the real-time audio-video service as a program.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use rostrum_channel::config::{Config, EXAMPLE};
use tokio::signal::unix::{SignalKind, signal};

mod logging;

/// The real-time audio-video service of Rostrum: LiveKit's protocol, for rooms, browsers and every LiveKit SDK.
///
/// Start with `channeld config-example > channeld.toml`, set id and key of an application in it, and run
/// `channeld --config channeld.toml`. Guests open http://ADDRESS:7880/guest with a link that
/// POST /api/v1/channels/CHANNEL/invites gives; the API is described at /api/openapi.json.
#[derive(Debug, Parser)]
#[command(name = "channeld", version)]
struct Arguments {
    /// The configuration (TOML).
    #[arg(long, short, global = true, value_name = "FILE", default_value = "/etc/rostrum/channeld.toml")]
    config: PathBuf,
    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info")]
    log_level: log::LevelFilter,
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run the service (the default).
    Run,
    /// Check the configuration and say what is wrong with it.
    CheckConfig,
    /// Print a configuration with every key, its default and what it does.
    ConfigExample,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Some(Task::ConfigExample) => print(EXAMPLE),
        Some(Task::CheckConfig) => {
            let file = arguments.config.display().to_string();
            Config::load(&arguments.config)
                .map_err(anyhow::Error::from)
                .and_then(|config| Ok(config.check_files()?))
                .and_then(|()| print(&format!("{file} is fine\n")))
        }
        Some(Task::Run) | None => run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is the last resort: nothing can be done if it is closed.
            let _ = writeln!(std::io::stderr(), "channeld: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Where it listens for HTTP, HTTPS or both.
fn doors(service: &rostrum_channel::RunningService) -> String {
    match (service.tls, service.plain_addr) {
        (false, _) => format!("http={}", service.http_addr),
        (true, None) => format!("https={}", service.http_addr),
        (true, Some(plain)) => format!("https={} http={plain}", service.http_addr),
    }
}

/// Tells systemd that everything turns, where it wants to know (`WatchdogSec=`); it starts the service again when a media
/// thread hangs.
async fn feed(service: &rostrum_channel::RunningService) {
    let mut usec = 0;
    if !sd_notify::watchdog_enabled(false, &mut usec) {
        return std::future::pending().await;
    }
    let mut interval = tokio::time::interval(Duration::from_micros(usec) / 3);
    loop {
        interval.tick().await;
        service.turns().await;
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Watchdog]);
    }
}

#[tokio::main]
async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config)?;
    logging::start(arguments.log_level)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let service = rostrum_channel::serve(config).await?;
    print(&format!("channeld listening {} media={}\n", doors(&service), service.media_addr))?;
    // Without a service manager there is nobody to tell.
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = feed(&service) => {}
    }
    log::info!("stopping");
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]);
    service.shutdown().await;
    Ok(())
}
