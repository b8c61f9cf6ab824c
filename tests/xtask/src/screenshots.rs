//! `cargo xtask screenshots`: makes the README's pictures again.

use std::process::Command;

use anyhow::Context;

use crate::{
    paths,
    process::run as run_step,
    room::{Service, ServiceOptions, Terminal, TerminalOptions},
    setup,
};

/// Starts a room and a guest and takes a picture of both pages.
///
/// # Errors
/// When something is missing or a page does not show what it should.
pub fn run() -> anyhow::Result<()> {
    setup::to_test()?;
    setup::pages()?;
    setup::build("debug")?;
    let dir = paths::target().join("screenshots");
    let service = Service::start(&ServiceOptions {
        profile: "debug",
        dir: &dir.join("service"),
        ports: (0, 0),
        address: None,
        extra: "",
    })?;
    let terminal = Terminal::start(
        &service,
        &TerminalOptions {
            profile: "debug",
            dir: &dir.join("room"),
            port: 0,
            user: "room",
            channel: "demo",
            board: None,
            clip: None,
            extra: "",
        },
    )?;
    let link = service.guest_link("demo")?;
    let images = paths::root().join("tests/images");
    std::fs::create_dir_all(&images).with_context(|| format!("cannot make {}", images.display()))?;
    run_step(
        "chromium: taking pictures of the panel and the guest's page",
        Command::new("node")
            .arg("screenshots.mjs")
            .args([&terminal.panel.url, &link])
            .arg(&images)
            .current_dir(paths::chromium_peer()),
    )
}
