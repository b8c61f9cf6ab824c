//! Rights: a host becomes a listener and a host again, tracks are for some only, the service mutes, all is told
#![allow(clippy::unwrap_used, missing_docs)]

use rostrum_tests::{Browser, Lab, lab::PATIENCE, picture, until};
use serde_json::{Value, json};

fn about(event: &Value, name: &str, user: &str) -> Option<Value> {
    (event["event"] == name && event["user"] == user).then(|| event.clone())
}

fn camera() -> Value {
    json!({"camera": true, "microphone": true, "width": 320, "height": 180})
}

#[test]
fn a_host_becomes_a_listener_and_a_host_again() {
    let lab = Lab::new().unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    lab.chromium(&mut browser, "host", camera()).unwrap();
    lab.chromium(&mut browser, "other", json!({})).unwrap();
    let mut peer = lab.libwebrtc("peer", &[]).unwrap();
    let gets = |event: &Value| about(event, "track", "host").filter(|event| event["source"] == "camera");
    browser.event("other", "the host's camera", PATIENCE, gets).unwrap();

    let path = lab.path_of("host", "/permissions");
    lab.service.api("PUT", &path, Some(&json!({"role": "listener"}))).unwrap();
    browser
        .event("host", "its camera ended", PATIENCE, |event| (event["event"] == "unpublished").then_some(()))
        .unwrap();
    browser.event("other", "the camera gone", PATIENCE, |event| about(event, "track_gone", "host")).unwrap();
    let told = peer.next(PATIENCE, |line| about(line, "permissions", "host")).unwrap();
    assert_eq!(told["can_publish"], false);
    let refused = browser.call("host", "enable", json!({"source": "camera", "on": true})).unwrap();
    assert!(refused.to_string().contains("permission"), "{refused}");
    // A listener is still heard by data.
    browser.call("host", "sendData", json!({"text": "may I speak?"})).unwrap();
    browser.event("other", "its question", PATIENCE, |event| about(event, "data", "host")).unwrap();

    lab.service.api("PUT", &path, Some(&json!({"role": "host"}))).unwrap();
    until("the camera allowed again", PATIENCE, || {
        let enabled = browser.call("host", "enable", json!({"source": "camera", "on": true}))?;
        Ok((enabled == true).then_some(()))
    })
    .unwrap();
    browser.event("other", "the host's camera again", PATIENCE, gets).unwrap();
    until("its picture", PATIENCE, || {
        let stats = browser.call("other", "stats", json!({"user": "host"}))?;
        Ok(stats["framesDecoded"].as_u64().filter(|frames| *frames > 5))
    })
    .unwrap();

    // The other way of the same: nothing of the others is received any more, and then it is.
    let path = lab.path_of("other", "/permissions");
    lab.service.api("PUT", &path, Some(&json!({"grants": {"can_subscribe": false}}))).unwrap();
    browser.event("other", "nothing", PATIENCE, |event| about(event, "track_gone", "host")).unwrap();
    lab.service.api("PUT", &path, Some(&json!({"role": "host"}))).unwrap();
    browser.event("other", "everything again", PATIENCE, gets).unwrap();
}

#[test]
fn tracks_are_for_those_whom_their_publisher_lets_subscribe() {
    let lab = Lab::new().unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    lab.chromium(&mut browser, "host", camera()).unwrap();
    lab.chromium(&mut browser, "other", json!({})).unwrap();
    let mut peer = lab.libwebrtc("peer", &[]).unwrap();
    peer.event("frame", PATIENCE).unwrap();
    browser.event("other", "the host's camera", PATIENCE, |event| about(event, "track", "host")).unwrap();
    browser.call("host", "letSubscribe", json!({"all": false, "users": ["peer"]})).unwrap();
    let refused = browser
        .event("other", "the refusal", PATIENCE, |event| about(event, "subscription_permission", "host"))
        .unwrap();
    assert_eq!(refused["status"], "not_allowed");
    browser.event("other", "the camera gone", PATIENCE, |event| about(event, "track_gone", "host")).unwrap();
    peer.program().pending_lines();
    peer.event("frame", PATIENCE).unwrap();
    browser.call("host", "letSubscribe", json!({"all": true})).unwrap();
    browser.event("other", "the camera again", PATIENCE, |event| about(event, "track", "host")).unwrap();
}

#[test]
fn the_service_mutes_and_everybody_is_told() {
    let lab = Lab::new().unwrap();
    let film = xtask::setup::film().unwrap();
    let audio = lab.dir().join("peer.wav");
    picture::fake_microphone(&film, &audio).unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    lab.chromium(&mut browser, "page", camera()).unwrap();
    lab.chromium(&mut browser, "other", json!({})).unwrap();
    let mut peer = lab.libwebrtc("peer", &["--audio", &audio.to_string_lossy()]).unwrap();
    peer.event("published", PATIENCE).unwrap();
    for user in ["page", "peer"] {
        browser.event("other", "a voice", PATIENCE, |event| about(event, "track", user)).unwrap();
        let body = json!({"kind": "audio", "muted": true});
        lab.service.api("POST", &lab.path_of(user, "/mute"), Some(&body)).unwrap();
        browser.event("other", "the mute", PATIENCE, |event| about(event, "muted", user)).unwrap();
        peer.next(PATIENCE, |line| about(line, "muted", user)).unwrap();
    }
    browser.event("page", "its own mute", PATIENCE, |event| about(event, "muted", "page")).unwrap();
    // The participant may unmute itself.
    browser.call("page", "enable", json!({"source": "microphone", "on": true})).unwrap();
    browser.event("other", "the unmute", PATIENCE, |event| about(event, "unmuted", "page")).unwrap();
}

#[test]
fn who_is_hidden_is_seen_by_nobody() {
    let lab = Lab::new().unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    lab.chromium(&mut browser, "host", camera()).unwrap();
    let body = json!({"channel": rostrum_tests::lab::CHANNEL, "user": "ghost", "grants": {"hidden": true}});
    let minted = lab.service.api("POST", "/api/v1/tokens", Some(&body)).unwrap();
    let token = minted["token"].as_str().unwrap();
    browser.join("ghost", &lab.service.url, token, json!({})).unwrap();
    browser.event("ghost", "the host's camera", PATIENCE, |event| about(event, "track", "host")).unwrap();
    let refused = browser.call("ghost", "enable", json!({"source": "camera", "on": true})).unwrap();
    assert_ne!(refused, true, "a hidden participant publishes nothing");
    let seen = browser.events("host").unwrap();
    assert!(!seen.iter().any(|event| event["user"] == "ghost"), "{seen:?}");
}
