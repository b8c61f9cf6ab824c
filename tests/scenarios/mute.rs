//! Mute has one truth: lights, panel, service and guest agree within 200 ms, and the guest receives silence
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rostrum_tests::{
    Browser, Lab,
    lab::{CHANNEL, PATIENCE},
    sound, until,
};
use serde_json::{Value, json};
use xtask::room::Terminal;

/// Time for everybody to agree.
const AGREED: Duration = Duration::from_millis(200);

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn lit(state: &Value) -> bool {
    state["indicators"]["mute"]["rgb"].as_array().is_some_and(|rgb| rgb.iter().any(|part| part != 0))
}

/// Does `act` and checks that panel, light and guest agree on `muted` in time.
fn agree(room: &Terminal, browser: &mut Browser, muted: bool, act: impl FnOnce()) {
    browser.call("guest", "watchMute", json!({})).unwrap();
    let before = now_ms();
    act();
    let acted = now_ms();
    let state = until("the panel", AGREED, || {
        let state = room.state()?;
        Ok((state["room"]["muted"] == muted && lit(&state) == muted).then_some(state))
    })
    .unwrap();
    assert_eq!(
        state["board"]["indicators"]["mute"], state["indicators"]["mute"],
        "the board's light differs"
    );
    let change = until("the guest", PATIENCE, || {
        let changes = browser.call("guest", "muteChanges", json!({}))?;
        let change = changes.as_array().and_then(|all| all.last()).cloned();
        Ok(change.filter(|change| change["muted"] == muted && change["user"] == "room"))
    })
    .unwrap();
    let at = change["at_ms"].as_u64().unwrap();
    assert!(
        at >= before && at <= acted + AGREED.as_millis() as u64,
        "the guest knew {} ms after",
        at - before
    );
}

#[test]
fn panel_button_switch_and_service_agree_and_muted_is_silent() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("panel", &room.panel.url).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();
    until("the room's voice", PATIENCE, || {
        Ok((sound::level(&browser.sound("guest", "room", 1.5)?) > 0.003).then_some(()))
    })
    .unwrap();

    agree(&room, &mut browser, true, || {
        drop(room.api("PUT", "/mute", Some(&json!({"muted": true}))).unwrap())
    });
    // What was on its way is over after half a second; then there is nothing at all.
    sleep(Duration::from_millis(500)); // the time is what is tested
    let level = sound::level(&browser.sound("guest", "room", 2.0).unwrap());
    assert!(level < 1e-4, "the guest hears a muted room at {level}");
    let text = browser.page_text("panel").unwrap();
    assert!(text.to_lowercase().contains("muted"), "the panel's page says: {text}");

    agree(&room, &mut browser, false, || {
        drop(room.api("POST", "/board/buttons/mute", Some(&json!({}))).unwrap())
    });
    agree(&room, &mut browser, true, || {
        drop(room.api("POST", "/board/buttons/mute", Some(&json!({}))).unwrap())
    });
    agree(&room, &mut browser, false, || {
        drop(room.api("POST", "/board/buttons/mute", Some(&json!({}))).unwrap())
    });
    until("the room's voice again", PATIENCE, || {
        Ok((sound::level(&browser.sound("guest", "room", 1.5)?) > 0.003).then_some(()))
    })
    .unwrap();

    // The service mutes.
    let path = format!("/api/v1/channels/{CHANNEL}/participants/room/mute");
    agree(&room, &mut browser, true, || {
        drop(lab.service.api("POST", &path, Some(&json!({"kind": "audio", "muted": true}))).unwrap());
    });

    // The hardware switch wins over everything.
    agree(&room, &mut browser, false, || {
        drop(room.api("PUT", "/mute", Some(&json!({"muted": false}))).unwrap())
    });
    agree(&room, &mut browser, true, || {
        drop(room.api("PUT", "/board/mute_switch", Some(&json!({"cut": true}))).unwrap())
    });
    let refused = room.api("PUT", "/mute", Some(&json!({"muted": false})));
    assert!(refused.is_err(), "a cut switch was overruled: {refused:?}");
    assert!(lit(&room.state().unwrap()));
}
