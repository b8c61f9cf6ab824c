//! A guest that may use relays only sees the room through Debian's coturn; with a wrong secret it does not
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    net::{TcpListener, UdpSocket},
    path::Path,
    process::Command,
    time::Duration,
};

use rostrum_tests::{Browser, Lab, browser::FakeDevices, lab::PATIENCE, until};
use serde_json::json;
use xtask::process::Running;

const SECRET: &str = "a-secret-for-tests-only";

/// A port that is free for UDP and TCP.
fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Debian's coturn on loopback, with passwords made from `SECRET`.
fn coturn(dir: &Path, port: u16) -> Running {
    let mut command = Command::new("turnserver");
    command
        .args([
            "-n",
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            "--realm=rostrum",
            "--allow-loopback-peers",
        ])
        .args(["--no-tls", "--no-dtls", "--no-cli", "--use-auth-secret", "--simple-log", "--verbose"])
        .arg(format!("--listening-port={port}"))
        .arg(format!("--static-auth-secret={SECRET}"))
        .arg(format!("--log-file={}", dir.join("turn.log").display()))
        .arg(format!("--pidfile={}", dir.join("coturn.pid").display()))
        .arg(format!("--userdb={}", dir.join("coturn.db").display()));
    let coturn = Running::start("coturn", dir.join("coturn.log"), &mut command).unwrap();
    until("coturn", PATIENCE, || Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())).unwrap();
    coturn
}

fn lab(port: u16, secret: &str) -> Lab {
    let extra = format!("[turn]\nurls = [\"turn:127.0.0.1:{port}?transport=udp\"]\nsecret = {secret:?}\n");
    Lab::with(&extra, "debug").unwrap()
}

fn relay_only() -> FakeDevices<'static> {
    FakeDevices { relay_only: true, ..FakeDevices::default() }
}

#[test]
fn a_guest_behind_a_relay_sees_the_room() {
    let files = tempfile::tempdir().unwrap();
    let port = free_port();
    let _coturn = coturn(files.path(), port);
    let lab = lab(port, SECRET);
    let _room = lab.joined_room("room").unwrap();
    let mut browser = Browser::with(lab.dir(), &relay_only()).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();
    until("the room's bar in the guest's picture", PATIENCE, || Ok(browser.picture("guest", "room")?.bar()))
        .unwrap();
    let way = browser.call("guest", "way", json!({"user": "room"})).unwrap();
    assert_eq!(way["type"], "relay", "{way}");
}

#[test]
fn a_wrong_secret_opens_no_relay() {
    let files = tempfile::tempdir().unwrap();
    let port = free_port();
    let _coturn = coturn(files.path(), port);
    let lab = lab(port, "another secret");
    let _room = lab.joined_room("room").unwrap();
    let mut browser = Browser::with(lab.dir(), &relay_only()).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();
    let log = || std::fs::read_to_string(files.path().join("turn.log"));
    // The first request has no name: its refusal says nothing.
    let named = |line: &str| line.contains("user <") && !line.contains("user <>");
    until("the refusal in coturn's log", PATIENCE, || {
        let log = log()?;
        Ok(log.lines().any(|line| named(line) && line.contains("401")).then_some(()))
    })
    .unwrap();
    let seen = until("no picture", Duration::from_secs(8), || Ok(browser.picture("guest", "room")?.bar()));
    assert!(seen.is_err(), "a picture came without a relay");
    assert!(
        !log().unwrap().contains("ALLOCATE processed, success"),
        "a relay was opened with a wrong secret"
    );
}
