//! Both programs tell systemd READY=1 when they really are ready, WATCHDOG=1 while they turn, and STOPPING=1 when they end
#![allow(clippy::unwrap_used, missing_docs)]

use std::{os::unix::net::UnixDatagram, path::Path, process::Command, time::Duration};

use rostrum_tests::lab::PATIENCE;
use xtask::{
    paths,
    process::Running,
    room::{Service, ServiceOptions, Terminal, TerminalOptions, http},
};

/// The next word on the socket that starts with `wanted`.
fn told(socket: &UnixDatagram, wanted: &str) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 4096];
    loop {
        let length = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("no {wanted}: {error}"));
        if String::from_utf8_lossy(&bytes[..length]).lines().any(|line| line.starts_with(wanted)) {
            return;
        }
    }
}

fn run(dir: &Path, program: &str, healthy: impl Fn(&str) -> String) {
    let socket = UnixDatagram::bind(dir.join(format!("{program}.notify"))).unwrap();
    let config = dir.join(program).join(format!("{program}.toml"));
    // As systemd with WatchdogSec=: the process that it started, and no other.
    let mut command = Command::new("sh");
    command
        .args(["-c", "WATCHDOG_PID=$$ exec \"$0\" --config \"$1\""])
        .arg(paths::program("debug", program))
        .arg(config)
        .env("WATCHDOG_USEC", "600000")
        .env("NOTIFY_SOCKET", dir.join(format!("{program}.notify")));
    let mut running = Running::start(program, dir.join(format!("{program}.log")), &mut command).unwrap();
    let said = running.line(PATIENCE, |line| Some(line.to_owned())).unwrap();
    told(&socket, "READY=1");
    http("GET", &healthy(&said), None, None).unwrap();
    for _ in 0..3 {
        told(&socket, "WATCHDOG=1");
    }
    running.signal("TERM").unwrap();
    told(&socket, "STOPPING=1");
    assert!(running.wait(Duration::from_secs(5)).unwrap().success());
}

#[test]
fn readiness_is_told_when_it_is_true() {
    let dir = tempfile::tempdir().unwrap();
    let (service_dir, room_dir) = (dir.path().join("channeld"), dir.path().join("rostrumd"));
    // The lab writes the configurations; these two processes end before ours begin.
    let options =
        ServiceOptions { profile: "debug", dir: &service_dir, ports: (0, 0), address: None, extra: "" };
    let service = Service::start(&options).unwrap();
    let options = TerminalOptions {
        profile: "debug",
        dir: &room_dir,
        port: 0,
        user: "room",
        channel: "boardroom",
        board: None,
        clip: None,
        extra: "",
    };
    drop(Terminal::start(&service, &options).unwrap());
    drop(service);
    let word = |line: &str, key: &str| {
        line.split_whitespace().find_map(|word| word.strip_prefix(key)).unwrap_or_default().to_owned()
    };
    run(dir.path(), "channeld", |said| format!("http://{}/healthz", word(said, "http=")));
    run(dir.path(), "rostrumd", |said| format!("{}/healthz", word(said, "panel=")));
}
