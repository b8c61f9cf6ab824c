//! Faults of the virtual board in a meeting: each is told in plain words, and heals by itself
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use rostrum_hal::Timestamp;
use rostrum_tests::{Browser, Lab, lab::PATIENCE, sound, until};
use serde_json::{Value, json};
use xtask::room::Terminal;

fn fault(room: &Terminal, name: &str, active: bool) {
    room.api("PUT", &format!("/board/faults/{name}"), Some(&json!({"active": active}))).unwrap();
}

fn told(state: &Value, code: &str) -> bool {
    state["errors"].as_array().is_some_and(|all| {
        all.iter().any(|one| one["code"] == code && one["hint"].as_str().is_some_and(|hint| hint.len() > 5))
    })
}

fn comes_and_goes(room: &Terminal, name: &str, code: &str) {
    fault(room, name, true);
    room.wait_for(&format!("{code} told"), PATIENCE, |state| told(state, code)).unwrap();
    fault(room, name, false);
    room.wait_for(&format!("{code} gone"), PATIENCE, |state| !told(state, code)).unwrap();
    assert_eq!(room.state().unwrap()["room"]["phase"], "in_channel", "the meeting did not go on");
}

#[test]
fn a_camera_unplugged_in_a_meeting_comes_back_and_the_sound_never_stops() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();
    until("the room's picture", PATIENCE, || Ok(browser.picture("guest", "room")?.bar())).unwrap();
    fault(&room, "camera_unplugged", true);
    room.wait_for("the fault told", PATIENCE, |state| told(state, "camera_fault")).unwrap();
    until("the room's voice meanwhile", PATIENCE, || {
        Ok((sound::level(&browser.sound("guest", "room", 1.5)?) > 0.003).then_some(()))
    })
    .unwrap();
    fault(&room, "camera_unplugged", false);
    let back = Timestamp::now();
    until("the picture again", Duration::from_secs(3), || {
        Ok(browser.picture("guest", "room")?.bar().filter(|bar| bar.capture_time > back))
    })
    .unwrap();
    room.wait_for("the fault gone", PATIENCE, |state| !told(state, "camera_fault")).unwrap();
}

#[test]
fn encoder_and_speaker_faults_are_told_and_heal() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    comes_and_goes(&room, "encoder_error", "encoder_fault");
    comes_and_goes(&room, "speaker_gone", "speaker_fault");
}

#[test]
fn silent_microphones_and_a_lost_switch_mute_the_room_and_only_people_unmute_it() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let unmute = || room.api("PUT", "/mute", Some(&json!({"muted": false})));
    unmute().unwrap();
    for (name, code) in
        [("microphone_silent", "microphones_fault"), ("mute_switch_gone", "mute_switch_fault")]
    {
        fault(&room, name, true);
        let state = room.wait_for("the fault told", PATIENCE, |state| told(state, code)).unwrap();
        assert_eq!(state["room"]["muted"], true, "{name}");
        assert!(unmute().is_err(), "{name}: unmuted on a broken path");
        fault(&room, name, false);
        room.wait_for("the fault gone", PATIENCE, |state| !told(state, code)).unwrap();
        until("people unmute", PATIENCE, || Ok(unmute().ok().map(|_| ()))).unwrap();
    }
}

#[test]
fn an_unknown_fault_is_refused_and_those_that_are_can_be_listed() {
    let lab = Lab::new().unwrap();
    let room = lab.room("room").unwrap();
    let error = room.api("PUT", "/board/faults/earthquake", Some(&json!({"active": true}))).unwrap_err();
    assert!(error.to_string().contains("/api/v1/board lists them"), "{error:#}");
    let board = room.api("GET", "/board", None).unwrap();
    assert_eq!(board["faults"]["camera_unplugged"], false, "{board}");
}
