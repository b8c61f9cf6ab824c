//! A guest whose network blocks UDP joins and sees the room's picture, over TCP
#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Command;

use anyhow::Context;
use rostrum_tests::{Browser, Lab, lab::PATIENCE, until};
use serde_json::json;

/// Where programs for administrators are too.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A rule of this machine's packet filter, gone when dropped.
struct Blocked {
    table: String,
}

fn nft(rules: &str) -> anyhow::Result<String> {
    let output = Command::new("nft")
        .env("PATH", PATH)
        .arg(rules)
        .output()
        .context("nft (Debian's nftables) is needed")?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    anyhow::ensure!(output.status.success(), "nft {rules}: {text}");
    Ok(text)
}

impl Blocked {
    /// Drops UDP from everybody but the ports of `rooms` to `port`.
    fn udp_to(port: u16, rooms: &[u16]) -> anyhow::Result<Self> {
        let table = format!("rostrum_{port}");
        let rooms = rooms.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        nft(&format!(
            "table inet {table} {{ chain out {{ type filter hook output priority 0; \
             udp dport {port} udp sport != {{ {rooms} }} counter drop; }}; }}"
        ))?;
        Ok(Self { table })
    }

    /// Whether anything was dropped.
    fn met_something(&self) -> anyhow::Result<bool> {
        let listed = nft(&format!("list table inet {}", self.table))?;
        Ok(listed.contains("counter packets") && !listed.contains("counter packets 0 "))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let _ = nft(&format!("delete table inet {}", self.table));
    }
}

/// The UDP ports of a process.
fn udp_ports(pid: u32) -> anyhow::Result<Vec<u16>> {
    let output = Command::new("ss").args(["-uHanp"]).output().context("ss (Debian's iproute2) is needed")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let owner = format!("pid={pid},");
    let of_process = text.lines().filter(|line| line.contains(&owner));
    Ok(of_process
        .filter_map(|line| line.split_whitespace().nth(3)?.rsplit(':').next()?.parse().ok())
        .collect())
}

#[test]
fn a_guest_without_udp_sees_the_room() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let ports = until("the room's ports", PATIENCE, || {
        Ok(Some(udp_ports(room.program.id())?).filter(|ports| !ports.is_empty()))
    })
    .unwrap();
    let blocked = Blocked::udp_to(lab.service.media_port, &ports).unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();
    let first = until("the room's bar in the guest's picture", PATIENCE, || {
        Ok(browser.picture("guest", "room")?.bar())
    })
    .unwrap();
    until("a later picture", PATIENCE, || {
        let bar = browser.picture("guest", "room")?.bar();
        Ok(bar.filter(|later| later.frame_number > first.frame_number + 25))
    })
    .unwrap();
    let way = browser.call("guest", "way", json!({"user": "room"})).unwrap();
    assert_eq!(way["protocol"], "tcp", "{way}");
    assert!(blocked.met_something().unwrap(), "UDP was not tried");
    // And the room sees the guest.
    room.wait_for("the guest's camera", PATIENCE, |state| {
        state["participants"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["name"] == "Ada" && one["camera"] == json!(true)))
    })
    .unwrap();
}
