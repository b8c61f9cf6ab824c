//! A participant is shown in a second channel: seen, heard, muted and gone there as in its own
#![allow(clippy::unwrap_used, missing_docs)]

use rostrum_tests::{Browser, Lab, Python, lab::PATIENCE, until};
use serde_json::{Value, json};

const OTHER: &str = "other-room";

fn of(event: &Value, name: &str, user: &str) -> Option<Value> {
    (event["event"] == name && event["user"] == user).then(|| event.clone())
}

#[test]
fn a_co_host_of_another_channel_is_seen_and_heard() {
    let lab = Lab::new().unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    let media = json!({"camera": true, "microphone": true, "width": 640, "height": 360});
    lab.chromium(&mut browser, "host", media).unwrap();
    lab.chromium(&mut browser, "home", json!({})).unwrap();
    let token = |user: &str| lab.service.token(OTHER, user, None).unwrap();
    browser.join("abroad", &lab.service.url, &token("abroad"), json!({})).unwrap();
    let arguments = ["--url", &lab.service.url, "--token", &token("peer")];
    let mut peer = Python::start(lab.dir(), "peer.py", &arguments).unwrap();
    peer.event("connected", PATIENCE).unwrap();
    browser.event("home", "the host's camera", PATIENCE, |event| of(event, "track", "host")).unwrap();

    let path = lab.path_of("host", "/forwards");
    let forward = |data: bool| {
        lab.service.api("POST", &path, Some(&json!({"channel": OTHER, "data": data}))).unwrap();
    };
    forward(false);
    let camera = |event: &Value| of(event, "track", "host").filter(|event| event["source"] == "camera");
    browser.event("abroad", "the host's camera", PATIENCE, camera).unwrap();
    let frame = peer.next(PATIENCE, |line| of(line, "frame", "host")).unwrap();
    assert_eq!(frame["width"], 640, "{frame}");
    let everybody = browser.call("abroad", "everybody", json!({})).unwrap();
    let host = everybody.as_array().unwrap().iter().find(|one| one["user"] == "host").unwrap().clone();
    assert_eq!(host["forwarded"], true, "{host}");
    until("its voice", PATIENCE, || {
        let heard = browser.sound("abroad", "host", 1.5)?;
        let loudest = heard.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
        Ok((loudest > 0.01).then_some(()))
    })
    .unwrap();

    // A layer for each: what one of the other channel asks for is not what those at home get.
    browser.call("abroad", "quality", json!({"user": "host", "quality": "low"})).unwrap();
    until("a small picture abroad", PATIENCE, || {
        let picture = browser.call("abroad", "picture", json!({"user": "host"}))?;
        Ok(picture["width"].as_u64().filter(|width| *width < 640))
    })
    .unwrap();
    until("a large one at home", PATIENCE, || {
        let picture = browser.call("home", "picture", json!({"user": "host"}))?;
        Ok((picture["width"] == 640).then_some(()))
    })
    .unwrap();

    browser.call("host", "enable", json!({"source": "camera", "on": false})).unwrap();
    browser.event("abroad", "the mute", PATIENCE, |event| of(event, "muted", "host")).unwrap();
    browser.call("host", "enable", json!({"source": "camera", "on": true})).unwrap();
    browser.event("abroad", "the unmute", PATIENCE, |event| of(event, "unmuted", "host")).unwrap();

    // Data stays at home unless asked for, and nothing comes back.
    browser.call("host", "sendData", json!({"text": "at home"})).unwrap();
    browser.event("home", "data", PATIENCE, |event| of(event, "data", "host")).unwrap();
    forward(true);
    browser.call("host", "sendData", json!({"text": "everywhere"})).unwrap();
    let first = browser.event("abroad", "data", PATIENCE, |event| of(event, "data", "host")).unwrap();
    assert_eq!(first["text"], "everywhere");
    let seen = browser.call("host", "participants", json!({})).unwrap();
    assert!(!seen.to_string().contains("abroad"), "the host sees its own channel only: {seen}");

    lab.service.api("DELETE", &format!("{path}/{OTHER}"), None).unwrap();
    browser.event("abroad", "the host gone", PATIENCE, |event| of(event, "went", "host")).unwrap();
    peer.next(PATIENCE, |line| of(line, "went", "host")).unwrap();
    forward(false);
    browser.event("abroad", "the host again", PATIENCE, camera).unwrap();
    browser.close("host").unwrap();
    browser.event("abroad", "the host gone", PATIENCE, |event| of(event, "went", "host")).unwrap();
    browser.event("home", "the host gone", PATIENCE, |event| of(event, "went", "host")).unwrap();
}

#[test]
fn a_namesake_is_not_forwarded() {
    let lab = Lab::new().unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    lab.chromium(&mut browser, "host", json!({})).unwrap();
    let token = lab.service.token(OTHER, "host", None).unwrap();
    browser.join("namesake", &lab.service.url, &token, json!({})).unwrap();
    let path = lab.path_of("host", "/forwards");
    let refused = lab.service.api("POST", &path, Some(&json!({"channel": OTHER}))).unwrap_err();
    assert!(refused.to_string().contains("UserId"), "{refused}");
}
