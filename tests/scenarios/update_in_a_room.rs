//! A real room is updated: never while it meets, with its own self-test as the gate, and its people see how it goes
#![allow(clippy::unwrap_used, missing_docs)]

use std::{thread::sleep, time::Duration};

use rostrum_tests::{
    Browser, Lab,
    lab::PATIENCE,
    updates::{Bundles, Ddi, Image, OLD, Offered, Quality, UpdateTerminal},
};
use serde_json::{Value, json};
use xtask::{image, room::Terminal};

const NEW: &str = "1.1.0";
const UPDATE: Duration = Duration::from_secs(120);
/// Time over which picture and sound are counted.
const COUNTED: Duration = Duration::from_secs(4);

/// Frames and packets of sound that the room sent, a second.
fn rates(room: &Terminal) -> [f64; 2] {
    let counters = || {
        let state = room.state().unwrap();
        ["frames_sent", "audio_packets_sent"].map(|name| state["statistics"][name].as_u64().unwrap())
    };
    let before = counters();
    sleep(COUNTED);
    let after = counters();
    [0, 1].map(|index| (after[index] - before[index]) as f64 / COUNTED.as_secs_f64())
}

/// Picture and sound are sent as `before`. A busy machine may stop for a moment; an update would be felt all the time.
fn goes_on_as(before: [f64; 2], room: &Terminal) {
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let now = rates(room);
        if before.iter().zip(now).all(|(before, now)| now >= before * 0.9) {
            return;
        }
        seen.push(now);
    }
    panic!("{before:?} became {seen:?} a second");
}

fn update(room: &Terminal) -> Value {
    room.state().unwrap()["update"].clone()
}

#[test]
fn a_meeting_goes_on_as_if_there_were_no_update_and_the_room_is_updated_after_it() {
    let lab = Lab::new().unwrap();
    let server = Ddi::start().unwrap();
    let rauc = image::rauc().unwrap();
    let bundles = Bundles::new(&lab.dir().join("bundles"), rauc.clone()).unwrap();
    let configuration = format!(
        "{}\n[install]\nidle_s = 1\nsilent_s = 60\nretry_s = 1\n[gate]\nsteady_s = 0\nfolders = []\n",
        server.configuration("")
    );
    let mut terminal = UpdateTerminal::new(rauc, &bundles.key_ring(), &configuration).unwrap();
    // The room's own program is the terminal from here on.
    let socket = format!("[updates]\nsocket = {:?}\n", terminal.socket());
    let room = lab.room_with("room", None, &socket, "debug").unwrap();
    terminal.boot().unwrap();
    let mut guest = lab.libwebrtc("guest", &["--quiet-frames"]).unwrap();
    room.wait_for("its updater", PATIENCE, |state| state["update"]["running"] == OLD).unwrap();

    // A meeting, and what it is like without an update.
    room.api("POST", "/join", None).unwrap();
    room.wait_for("the meeting", PATIENCE, |state| state["room"]["phase"] == "in_channel").unwrap();
    guest.event("frame", PATIENCE).unwrap();
    let before = rates(&room);
    assert!(before[0] > 5.0 && before[1] > 40.0, "{before:?}");

    // One arrives.
    let mut offered = Offered::new("1", NEW, &bundles.bundle(&Image::new(NEW, Quality::Good)).unwrap());
    // Ten seconds and more: a meeting begins on its way.
    offered.slow = Some(24 << 10);
    server.offer(Some(offered));
    let waiting = room
        .wait_for("it waits", PATIENCE, |state| {
            state["update"]["reason"].as_str().is_some_and(|reason| reason.contains("meeting"))
        })
        .unwrap();
    assert_eq!(waiting["update"]["version"], NEW);
    goes_on_as(before, &room);
    assert!(server.ranges().is_empty(), "it was fetched in a meeting");
    guest.event("frame", PATIENCE).unwrap();

    // After the meeting it comes, and a meeting that begins on the way stops it.
    room.api("POST", "/leave", None).unwrap();
    room.wait_for("it comes", PATIENCE, |state| state["update"]["percent"].as_u64() > Some(10)).unwrap();
    room.api("POST", "/join", None).unwrap();
    room.wait_for("the meeting", PATIENCE, |state| state["room"]["phase"] == "in_channel").unwrap();
    let percent = update(&room)["percent"].as_u64().unwrap();
    goes_on_as(before, &room);
    assert!(update(&room)["percent"].as_u64().unwrap() <= percent + 5, "it went on in a meeting");
    assert_eq!(terminal.runs().unwrap().version, OLD);
    room.api("POST", "/leave", None).unwrap();

    // People see it to its end; the room tests itself before and after the restart.
    terminal
        .until("the new version", UPDATE, |_| Ok(server.ends("1").into_iter().next()))
        .map(|(ok, text)| assert!(ok, "{text}"))
        .unwrap();
    assert_eq!(terminal.runs().unwrap().version, NEW);
    let shown = room.wait_for("its end", PATIENCE, |state| state["update"]["last"]["ok"] == true).unwrap();
    assert_eq!(shown["update"]["running"], NEW);
    let tested: Vec<_> =
        shown["selftest"]["checks"].as_array().unwrap().iter().map(|check| &check["name"]).collect();
    assert!(tested.contains(&&json!("camera")) && tested.contains(&&json!("encoder")), "{tested:?}");

    // And the page says so.
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("panel", &room.panel.url).unwrap();
    let words = rostrum_tests::until("the page", PATIENCE, || {
        let text = browser.text("panel", "updates")?;
        Ok(Some(text).filter(|text| text.contains(NEW)))
    })
    .unwrap();
    assert!(words.contains("went well"), "{words}");
}
