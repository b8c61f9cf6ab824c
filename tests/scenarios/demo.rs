//! `cargo xtask demo --json` prints one line with all addresses, works, and ends at SIGINT
#![allow(clippy::unwrap_used, missing_docs)]

use std::{process::Command, time::Duration};

use rostrum_tests::{lab::PATIENCE, until};
use serde_json::{Value, json};
use xtask::{paths, process::Running, room::http};

#[test]
fn a_script_can_lean_on_the_demo() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["xtask", "demo", "--json", "--service-port", "0", "--panel-port", "0"])
        .current_dir(paths::root());
    let mut demo = Running::start("demo", dir.path().join("demo.log"), &mut command).unwrap();
    let line: Value = demo
        .line(Duration::from_secs(600), |line| Some(serde_json::from_str(line)))
        .unwrap()
        .expect("the first line is JSON");
    for key in ["panel", "guest", "service", "app_id", "app_key", "channel"] {
        assert!(line[key].as_str().is_some_and(|text| !text.is_empty()), "no {key} in {line}");
    }
    let panel = line["panel"].as_str().unwrap();
    http("POST", &format!("{panel}/api/v1/join"), None, Some(&json!({}))).unwrap();
    until("the room in its channel", PATIENCE, || {
        let state = http("GET", &format!("{panel}/api/v1/state"), None, None)?;
        Ok((state["room"]["phase"] == "in_channel").then_some(()))
    })
    .unwrap();
    let page = xtask::room::http_bytes(line["guest"].as_str().unwrap()).unwrap().1;
    assert!(String::from_utf8_lossy(&page).contains("<html"), "the guest's link shows no page");

    demo.signal("INT").unwrap();
    let status = demo.wait(Duration::from_secs(15)).unwrap();
    assert!(status.success(), "the demo ended with {status}");
    assert!(http("GET", &format!("{panel}/healthz"), None, None).is_err(), "the panel still answers");
}
