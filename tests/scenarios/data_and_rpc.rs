//! Data, calls and streams between livekit-client and PyPI `livekit`; attributes, levels and qualities are told
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use rostrum_tests::{
    Browser, Lab, Python,
    lab::{CHANNEL, PATIENCE},
    until,
};
use serde_json::{Value, json};

fn named(event: &Value, name: &str) -> Option<Value> {
    (event["event"] == name).then(|| event.clone())
}

fn of(event: &Value, name: &str, user: &str) -> Option<Value> {
    named(event, name).filter(|event| event["user"] == user)
}

fn tell(peer: &mut Python, command: &Value) {
    peer.program().tell(&command.to_string()).unwrap();
}

/// A page with camera and microphone, another one, and PyPI `livekit`, with one connection or two.
fn meeting(lab: &Lab, two_connections: bool) -> (Browser, Python) {
    let mut browser = Browser::start(lab.dir()).unwrap();
    let ann = json!({"microphone": true, "two_connections": two_connections});
    lab.chromium(&mut browser, "ann", ann).unwrap();
    lab.chromium(&mut browser, "bob", json!({})).unwrap();
    let more: &[&str] = if two_connections { &["--two-connections"] } else { &[] };
    let peer = lab.libwebrtc("peer", more).unwrap();
    for page in ["ann", "bob"] {
        browser.event(page, "the peer", PATIENCE, |event| of(event, "came", "peer")).unwrap();
    }
    (browser, peer)
}

#[test]
fn data_is_for_everybody_or_for_some() {
    for two_connections in [false, true] {
        let lab = Lab::new().unwrap();
        let (mut browser, mut peer) = meeting(&lab, two_connections);
        browser.call("ann", "sendData", json!({"text": "all"})).unwrap();
        let got = peer.event("data", PATIENCE).unwrap();
        assert_eq!(
            (&got["text"], &got["user"], &got["lossy"]),
            (&json!("all"), &json!("ann"), &json!(false))
        );
        browser.event("bob", "data for all", PATIENCE, |event| of(event, "data", "ann")).unwrap();
        browser.call("ann", "sendData", json!({"text": "bob only", "users": ["bob"]})).unwrap();
        browser.event("bob", "data for bob", PATIENCE, |event| of(event, "data", "ann")).unwrap();
        browser.call("ann", "sendData", json!({"text": "may be lost", "reliable": false})).unwrap();
        let got = peer.event("data", PATIENCE).unwrap();
        assert_eq!((&got["text"], &got["lossy"]), (&json!("may be lost"), &json!(true)), "not bob's");
        tell(&mut peer, &json!({"do": "send", "text": "from libwebrtc", "users": ["ann"]}));
        let got = browser.event("ann", "data", PATIENCE, |event| of(event, "data", "peer")).unwrap();
        assert_eq!((&got["text"], &got["lossy"]), (&json!("from libwebrtc"), &json!(false)));

        let path = format!("/api/v1/channels/{CHANNEL}/data");
        let body = json!({"text": "from the application", "topic": "news", "users": ["peer"]});
        lab.service.api("POST", &path, Some(&body)).unwrap();
        let got = peer.event("data", PATIENCE).unwrap();
        assert_eq!((&got["text"], &got["topic"]), (&body["text"], &body["topic"]));
        assert_eq!(got["user"], Value::Null, "the service's own");
    }
}

#[test]
fn methods_are_called_both_ways_with_their_errors() {
    let lab = Lab::new().unwrap();
    let (mut browser, mut peer) = meeting(&lab, false);
    let long = "x".repeat(15_000);
    let cases = [
        ("echo", "hello", json!("hello"), Value::Null),
        ("length", &long, json!("15000"), Value::Null),
        ("fail", "", Value::Null, json!(1234)),
        ("nothing", "", Value::Null, json!(1400)),
    ];
    for (method, payload, value, code) in &cases {
        let call = json!({"user": "peer", "method": method, "payload": payload});
        let answer = browser.call("ann", "rpc", call).unwrap();
        assert_eq!((&answer["value"], &answer["code"]), (value, code), "{method}: {answer}");
        tell(&mut peer, &json!({"do": "rpc", "user": "ann", "method": method, "payload": payload}));
        let answer = peer.event("rpc", PATIENCE).unwrap();
        assert_eq!((&answer["value"], &answer["code"]), (value, code), "{method}: {answer}");
    }
}

#[test]
fn streams_arrive_whole() {
    const LENGTH: usize = 200_000;
    let lab = Lab::new().unwrap();
    let (mut browser, mut peer) = meeting(&lab, false);
    let sent = browser.call("ann", "sendBytes", json!({"length": LENGTH})).unwrap();
    let got = peer.event("stream", PATIENCE).unwrap();
    assert_eq!((&got["length"], &got["sha256"]), (&json!(LENGTH), &sent));
    let got = browser.event("bob", "the file", PATIENCE, |event| named(event, "stream")).unwrap();
    assert_eq!(got["sha256"], sent);
    for kind in ["bytes", "text"] {
        tell(&mut peer, &json!({"do": kind, "length": LENGTH, "users": ["ann"]}));
        let sent = peer.event("sent", PATIENCE).unwrap();
        let got = browser.event("ann", kind, PATIENCE, |event| named(event, "stream")).unwrap();
        assert_eq!(got["sha256"], sent["sha256"], "{kind}");
    }
    browser.call("bob", "sendText", json!({"text": "good morning", "users": ["peer"]})).unwrap();
    assert_eq!(peer.event("stream", PATIENCE).unwrap()["text"], "good morning");
}

#[test]
fn changes_of_names_metadata_and_attributes_are_told() {
    let lab = Lab::new().unwrap();
    let (mut browser, mut peer) = meeting(&lab, false);
    browser.call("ann", "setAttributes", json!({"attributes": {"hand": "up"}})).unwrap();
    let got = peer.next(PATIENCE, |line| of(line, "attributes", "ann")).unwrap();
    assert_eq!(got["changed"], json!({"hand": "up"}));
    browser.call("ann", "setName", json!({"name": "Ann_B"})).unwrap();
    assert_eq!(peer.next(PATIENCE, |line| of(line, "name", "ann")).unwrap()["name"], "Ann_B");
    let refused = browser.call("ann", "setName", json!({"name": "a b"})).unwrap();
    assert!(refused.to_string().contains("letters"), "{refused}");
    tell(&mut peer, &json!({"do": "set", "metadata": "m", "attributes": {"mood": "good"}}));
    browser.event("bob", "its metadata", PATIENCE, |event| of(event, "metadata", "peer")).unwrap();
    browser.event("bob", "its attributes", PATIENCE, |event| of(event, "attributes", "peer")).unwrap();

    let body = json!({"name": "Peer", "attributes": {"mood": ""}});
    lab.service.api("PATCH", &lab.path_of("peer", ""), Some(&body)).unwrap();
    browser.event("bob", "the application's change", PATIENCE, |event| of(event, "name", "peer")).unwrap();
    let path = format!("/api/v1/channels/{CHANNEL}");
    lab.service.api("PATCH", &path, Some(&json!({"metadata": "agenda"}))).unwrap();
    peer.event("room_metadata", PATIENCE).unwrap();
    browser.event("bob", "the channel's metadata", PATIENCE, |event| named(event, "room_metadata")).unwrap();

    // Who may not change itself is told so.
    let path = lab.path_of("ann", "/permissions");
    let body = json!({"grants": {"can_update_own_metadata": false}});
    lab.service.api("PUT", &path, Some(&body)).unwrap();
    let refused = browser.call("ann", "setMetadata", json!({"metadata": "no"})).unwrap();
    assert!(refused.to_string().contains("does not allow"), "{refused}");
}

#[test]
fn who_speaks_and_how_good_connections_are_is_told() {
    let lab = Lab::new().unwrap();
    let (mut browser, mut peer) = meeting(&lab, false);
    let ann_at = |browser: &mut Browser, page: &str| {
        let everybody = browser.call(page, "everybody", json!({}))?;
        let ann = everybody.as_array().and_then(|all| all.iter().find(|one| one["user"] == "ann")).cloned();
        ann.ok_or_else(|| anyhow::anyhow!("no ann at {page}"))
    };
    // Chromium's own microphone beeps once a second.
    let told = |ann: Value| {
        let level = ann["level"].as_f64().unwrap_or(0.0);
        (level > 0.0 && level <= 1.0 && ann["quality"] == "excellent").then_some(())
    };
    until("ann at bob's", PATIENCE, || Ok(told(ann_at(&mut browser, "bob")?))).unwrap();
    peer.next(PATIENCE, |line| of(line, "quality", "ann")).unwrap();
    // Somebody who comes later is told at once, although nothing changes any more.
    lab.chromium(&mut browser, "late", json!({})).unwrap();
    until("ann at a latecomer's", Duration::from_secs(1), || Ok(told(ann_at(&mut browser, "late")?)))
        .unwrap();
    browser.call("ann", "enable", json!({"source": "microphone", "on": false})).unwrap();
    browser
        .event("bob", "ann silent", PATIENCE, |event| {
            named(event, "speakers").filter(|event| event["users"] == json!([]))
        })
        .unwrap();
}
