//! `cargo xtask demo`: a service, a room on the virtual board, its panel and a guest's link.

use std::{
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::bail;
use serde_json::json;

use crate::{
    paths,
    process::say,
    room::{Service, ServiceOptions, Terminal, TerminalOptions},
    setup,
};

/// What `cargo xtask demo` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Print one line of JSON with all addresses once everything is ready.
    #[arg(long)]
    json: bool,
    /// A recording that the virtual camera and microphones play in a loop.
    #[arg(long, value_name = "FILE")]
    clip: Option<PathBuf>,
    /// Channel that the room joins.
    #[arg(long, default_value = "demo")]
    channel: String,
    /// Rooms in the channel, each with a panel of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    rooms: u16,
    /// Port of the service; 0 takes a free one.
    #[arg(long, default_value_t = 7880)]
    service_port: u16,
    /// Port of the first room's panel; 0 takes a free one.
    #[arg(long, default_value_t = 8090)]
    panel_port: u16,
    /// Build with all optimisation (slower to build, faster to run).
    #[arg(long)]
    release: bool,
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// When something is missing or a program does not start or ends by itself.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let clip = options.clip.as_ref().map(|clip| {
        let found = clip.canonicalize();
        found.map_err(|error| anyhow::anyhow!("cannot open the recording {}: {error}", clip.display()))
    });
    let clip = clip.transpose()?;
    let stop = stop_flag()?;
    setup::to_build()?;
    setup::pages()?;
    let profile = if options.release { "release" } else { "debug" };
    setup::build(profile)?;
    if stop.load(Ordering::Relaxed) {
        return Ok(());
    }

    let dir = paths::target().join("demo");
    let media_port = if options.service_port == 0 { 0 } else { options.service_port.saturating_add(2) };
    let mut service = Service::start(&ServiceOptions {
        profile,
        dir: &dir.join("service"),
        ports: (options.service_port, media_port),
        address: None,
        extra: "",
    })?;
    let mut terminals = Vec::new();
    for number in 0..options.rooms {
        let user = if number == 0 { "room".to_owned() } else { format!("room-{}", number + 1) };
        let port = if options.panel_port == 0 { 0 } else { options.panel_port.saturating_add(number) };
        terminals.push(Terminal::start(
            &service,
            &TerminalOptions {
                profile,
                dir: &dir.join(&user),
                port,
                user: &user,
                channel: &options.channel,
                board: None,
                clip: clip.as_deref(),
                extra: "",
            },
        )?);
    }
    let panels: Vec<_> = terminals.iter().map(|terminal| terminal.panel.url.clone()).collect();
    let guest = service.guest_link(&options.channel)?;
    if options.json {
        let line = json!({
            "panel": panels[0], "panels": panels, "guest": guest, "service": service.url,
            "app_id": service.app_id, "app_key": service.app_key, "channel": options.channel,
        });
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()?;
    } else {
        say("ready. Open these in a browser on this machine:");
        for panel in &panels {
            say(&format!("  the room's panel   {panel}   (press Join)"));
        }
        say(&format!("  a guest's page     {guest}"));
        say(&format!("logs are in {}; stop with Ctrl-C", dir.display()));
    }
    while !stop.load(Ordering::Relaxed) {
        if let Some(status) = service.program.ended() {
            bail!("channeld ended by itself with {status}; its log is {}", service.program.log().display());
        }
        for terminal in &mut terminals {
            if let Some(status) = terminal.program.ended() {
                bail!(
                    "rostrumd ended by itself with {status}; its log is {}",
                    terminal.program.log().display()
                );
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    say("stopping");
    drop(terminals); // the rooms leave while the service still stands
    drop(service);
    Ok(())
}

fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second signal ends us at once.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
