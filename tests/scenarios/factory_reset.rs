//! Reset to factory: buttons held for ten seconds count down on light, screen and panel, and then the system is asked
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use rostrum_tests::{Browser, Lab, lab, lab::PATIENCE, until};
use serde_json::{Value, json};
use xtask::room::Terminal;

/// A room that can be reset, and the file that asks for it.
fn room(lab: &Lab) -> (Terminal, PathBuf) {
    let request = lab.dir().join("factory-reset");
    let room =
        lab.room_with("room", None, &format!("[factory_reset]\nrequest = {request:?}\n"), "debug").unwrap();
    (room, request)
}

fn hold(room: &Terminal, button: &str, pressed: bool) {
    room.api("POST", &format!("/board/buttons/{button}"), Some(&json!({"pressed": pressed}))).unwrap();
}

/// What the board's status light really shows: half its period of blinking, and whether it is white.
fn light(state: &Value) -> (Option<u64>, bool) {
    let light = &state["board"]["indicators"]["status"];
    (light["blink_ms"].as_u64(), light["rgb"] == json!([255, 255, 255]))
}

#[test]
fn both_volume_buttons_held_for_ten_seconds_count_down_and_ask_the_system_once_the_meeting_is_left() {
    let lab = Lab::new().unwrap();
    let (room, request) = room(&lab);
    lab::join(&room).unwrap();
    let volume = room.state().unwrap()["volume"].clone();

    // Let go too early: nothing happened.
    hold(&room, "volume_up", true);
    hold(&room, "volume_down", true);
    let state =
        room.wait_for("the count-down", PATIENCE, |state| state["room"]["reset_in_s"].is_u64()).unwrap();
    assert!(light(&state).1, "{state}");
    hold(&room, "volume_down", false);
    let state =
        room.wait_for("no count-down", PATIENCE, |state| state["room"]["reset_in_s"].is_null()).unwrap();
    assert_eq!((&state["volume"], &state["room"]["phase"]), (&volume, &json!("in_channel")));
    assert!(!light(&state).1 && !request.exists());

    // To the end, with whatever else is pressed.
    hold(&room, "volume_down", true);
    let held = Instant::now();
    let mut seen: Vec<(u64, u64)> = Vec::new();
    until("the reset", PATIENCE, || {
        let state = room.state()?;
        if let Some(seconds) = state["room"]["reset_in_s"].as_u64().filter(|seconds| *seconds > 0) {
            assert!(
                state["errors"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|one| one["code"] == "factory_reset_counts_down")
            );
            if let (Some(blink_ms), true) = light(&state)
                && seen.last().is_none_or(|(last, _)| *last != seconds)
            {
                seen.push((seconds, blink_ms));
            }
        }
        Ok(request.exists().then_some(()))
    })
    .unwrap();
    let after = held.elapsed();
    assert!(after >= Duration::from_secs(10) && after < Duration::from_secs(12), "after {after:?}");
    // A busy machine may miss a second, and light and state are two looks.
    assert!(seen.len() >= 6, "{seen:?}");
    assert!(seen.is_sorted_by(|a, b| a.0 > b.0 && a.1 > b.1), "it blinks faster each second: {seen:?}");
    assert_eq!(seen.first().unwrap().0, 8, "{seen:?}");
    let state = room.state().unwrap();
    assert_eq!((&state["room"]["phase"], &state["room"]["reset_in_s"]), (&json!("idle"), &json!(0)));
    assert_eq!(light(&state), (None, true));
    assert!(lab.users().unwrap().is_empty(), "it did not leave first");
}

#[test]
fn the_panels_page_asks_twice_and_a_terminal_without_the_setting_refuses() {
    let lab = Lab::new().unwrap();
    let (reset, request) = room(&lab);
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("panel", &reset.panel.url).unwrap();
    until("the page", PATIENCE, || {
        Ok(browser.page_text("panel")?.contains("Reset to factory").then_some(()))
    })
    .unwrap();
    for button in ["open", "ask", "cancel", "ask"] {
        browser.click("panel", &format!("factory-reset-{button}")).unwrap();
    }
    assert!(reset.api("POST", "/factory_reset", Some(&json!({"confirm": false}))).is_err());
    assert!(!request.exists(), "nobody said yes");
    browser.click("panel", "factory-reset-confirm").unwrap();
    until("the request", PATIENCE, || Ok(request.exists().then_some(()))).unwrap();
    until("the page says it", PATIENCE, || {
        Ok(browser.page_text("panel")?.contains("is being reset to factory").then_some(()))
    })
    .unwrap();

    let other = lab.room("other").unwrap();
    let refused = other.api("POST", "/factory_reset", Some(&json!({"confirm": true}))).unwrap_err();
    assert!(refused.to_string().contains("no_factory_reset"), "{refused:#}");
    assert_eq!(other.state().unwrap()["can_reset"], false);
    hold(&other, "volume_up", true);
    hold(&other, "volume_down", true);
    // The time is what is tested.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(other.state().unwrap()["room"]["reset_in_s"], Value::Null);
}
