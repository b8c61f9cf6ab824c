//! The devices on the panel: listed, tested with a person's help, given back to the meeting, and tested by a command
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use rostrum_tests::{Browser, Lab, lab::PATIENCE, sound, until};
use serde_json::{Value, json};
use xtask::{paths, room::Terminal};

/// Longest time for a whole test.
const TEST: Duration = Duration::from_secs(90);

fn outcome(state: &Value, name: &str) -> Option<String> {
    let checks = state["selftest"]["checks"].as_array()?;
    let check = checks.iter().find(|check| check["name"] == name)?;
    check["outcome"].as_str().map(str::to_owned)
}

/// What a person does who is asked to.
fn help(room: &Terminal, please: &str) {
    let act = |path: &str, body: Value| room.api("PUT", path, Some(&body)).map(drop);
    let press = |role: &str| {
        let path = format!("/board/buttons/{role}");
        room.api("POST", &path, None).map(drop)
    };
    match please {
        "Move the mute switch." => act("/board/mute_switch", json!({"cut": true})),
        "Move it back." => act("/board/mute_switch", json!({"cut": false})),
        "Press the button join." => press("join"),
        "Press the button mute." => press("mute"),
        "Press the button louder." => press("volume_up"),
        "Press the button quieter." => press("volume_down"),
        other => panic!("{other}"),
    }
    .unwrap();
}

/// A guest sees the room's bar and hears the room.
fn is_seen_and_heard(lab: &Lab) {
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();
    until("the room's picture", PATIENCE, || Ok(browser.picture("guest", "room")?.bar())).unwrap();
    until("the room's voice", PATIENCE, || {
        Ok((sound::level(&browser.sound("guest", "room", 1.5)?) > 0.003).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_person_tests_everything_on_the_page_and_the_meeting_gets_it_back() {
    let lab = Lab::new().unwrap();
    let room = lab.room("room").unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("panel", &room.panel.url).unwrap();
    browser.click("panel", "devices-open").unwrap();
    let listed = browser.text("panel", "device-camera").unwrap();
    assert!(listed.contains("Camera"), "{listed}");
    browser.click("panel", "selftest-all").unwrap();

    let mut helped = Vec::new();
    let mut questions = Vec::new();
    until("the end of the test", TEST, || {
        let test = room.state()?["selftest"].clone();
        if let Some(please) =
            test["please"].as_str().filter(|please| helped.last().is_none_or(|last| last != please))
        {
            help(&room, please);
            helped.push(please.to_owned());
        }
        if let Some(question) = test["question"].as_str() {
            questions.push(question.to_owned());
            browser.click("panel", "selftest-yes")?;
        }
        Ok((test["running"] == false).then_some(()))
    })
    .unwrap();
    assert_eq!(helped.len(), 6, "{helped:?}");
    let asked = |text: &str| questions.iter().any(|question| question.contains(text));
    assert!(asked("light mute red") && asked("eight upright bars") && asked("dark"), "{questions:?}");
    let state = room.state().unwrap();
    for name in [
        "identity",
        "network",
        "camera",
        "encoder",
        "mute switch",
        "sound",
        "display",
        "screen power",
        "light status",
        "light mute",
        "buttons",
        "presence",
    ] {
        assert_eq!(outcome(&state, name).as_deref(), Some("passed"), "{name}: {}", state["selftest"]);
    }
    let shown = until("the checks on the page", PATIENCE, || {
        let text = browser.text("panel", "selftest-checks")?;
        Ok(text.contains("Presence").then_some(text))
    })
    .unwrap();
    assert!(shown.contains("microphone 1 delay"), "{shown}");
    // What was pressed belonged to the test.
    assert_eq!(state["room"]["phase"], "idle", "{state}");
    assert_eq!(outcome(&state, "watchdog"), None, "it is the room's own");

    room.api("POST", "/join", Some(&json!({}))).unwrap();
    room.wait_for("the room in its channel", PATIENCE, |state| state["room"]["phase"] == "in_channel")
        .unwrap();
    is_seen_and_heard(&lab);
    // A button acts again, and a meeting needs its devices.
    room.api("POST", "/board/buttons/mute", None).unwrap();
    room.wait_for("the button's mute", PATIENCE, |state| state["room"]["mute_reason"] == "button").unwrap();
    let refused = room.api("POST", "/selftest", Some(&json!({}))).unwrap_err().to_string();
    assert!(refused.contains("409") && refused.contains("Leave the meeting"), "{refused}");
}

#[test]
fn a_fault_is_found_with_its_remedy_and_joining_ends_a_test_in_the_middle() {
    let lab = Lab::new().unwrap();
    let room = lab.room("room").unwrap();
    room.api("PUT", "/board/faults/camera_frozen", Some(&json!({"active": true}))).unwrap();
    room.api("POST", "/selftest", Some(&json!({"parts": ["camera"]}))).unwrap();
    let state = room.wait_for("the end", TEST, |state| state["selftest"]["running"] == false).unwrap();
    let checks = state["selftest"]["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 1, "only what was asked for: {checks:?}");
    assert_eq!(checks[0]["problem"], "its picture is frozen");
    assert!(checks[0]["remedy"].as_str().unwrap().len() > 10);
    room.api("PUT", "/board/faults/camera_frozen", Some(&json!({"active": false}))).unwrap();

    // Everything is lent when somebody joins.
    let refused = room.api("POST", "/selftest/answer", Some(&json!({"yes": true}))).unwrap_err().to_string();
    assert!(refused.contains("409"), "{refused}");
    room.api("POST", "/selftest", Some(&json!({"person": true}))).unwrap();
    room.wait_for("a request to the person", TEST, |state| state["selftest"]["please"].is_string()).unwrap();
    room.api("POST", "/join", Some(&json!({}))).unwrap();
    room.wait_for("the end of the test", PATIENCE, |state| state["selftest"]["running"] == false).unwrap();
    is_seen_and_heard(&lab);
}

#[test]
fn the_devices_of_a_board_are_listed_and_what_is_not_there_is_refused() {
    let lab = Lab::new().unwrap();
    let room = lab.room("room").unwrap();
    let choices = room.api("GET", "/devices", None).unwrap();
    for kind in ["camera", "microphones", "speaker"] {
        let own = &choices[kind][0];
        assert_eq!((&own["id"], &own["chosen"]), (&json!("profile"), &json!(true)), "{choices}");
        let same = room.api("PUT", &format!("/devices/{kind}"), Some(&json!({"id": "profile"})));
        assert!(same.is_ok(), "{same:?}");
        let refused = room.api("PUT", &format!("/devices/{kind}"), Some(&json!({"id": "driver = \"v4l2\""})));
        assert!(refused.unwrap_err().to_string().contains("404"));
    }
    assert!(room.api("PUT", "/devices/encoder", Some(&json!({"id": "profile"}))).is_err());
}

fn selftest(arguments: &[&str]) -> Output {
    Command::new(paths::program("debug", "rostrumd")).arg("selftest").args(arguments).output().unwrap()
}

fn profile_with(dir: &Path, old: &str, new: &str) -> String {
    let text = std::fs::read_to_string(paths::root().join("board/profiles/virtual.toml")).unwrap();
    assert!(text.contains(old));
    let file = dir.join("board.toml");
    std::fs::write(&file, text.replace(old, new)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn the_command_tests_a_board_and_its_exit_code_says_how_it_went() {
    // Nothing sets the clock of a test machine for sure.
    let parts = "identity,camera,encoder,mute_switch,sound,display,screen_power,lights,presence";
    let good = selftest(&["--profile", "virtual", "--json", "--only", parts]);
    let said = String::from_utf8_lossy(&good.stderr);
    assert!(good.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&good.stdout).unwrap();
    let names: Vec<_> = report["checks"].as_array().unwrap().iter().map(|check| &check["name"]).collect();
    assert!(names.contains(&&json!("light mute")) && !names.contains(&&json!("clock")), "{report}");

    let dir = tempfile::tempdir().unwrap();
    let absent = profile_with(
        dir.path(),
        "[camera]\ndriver = \"virtual\"",
        "[camera]\ndriver = \"v4l2\"\nserial = \"nobody has this\"",
    );
    let bad = selftest(&["--profile", &absent, "--only", "camera,identity"]);
    assert_eq!(bad.status.code(), Some(1));
    let table = String::from_utf8_lossy(&bad.stdout);
    assert!(table.contains("camera") && table.contains("FAILED") && table.contains("plug it in"), "{table}");
    let unknown = selftest(&["--profile", "virtual", "--only", "camra"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("mute_switch"), "{said}");
}
