//! A client whose socket is cut goes on with its stay: nobody notices; after a longer cut media is back in 2 s
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::Duration,
};

use rostrum_hal::Timestamp;
use rostrum_tests::{
    Browser, Lab, Proxy, Python, lab,
    lab::{CHANNEL, PATIENCE},
    picture,
};
use serde_json::{Value, json};

/// How long media may stop when a socket is lost.
const GAP_MS: f64 = 300.0;

/// Pictures and a voice for PyPI `livekit`.
fn recordings(dir: &Path) -> (PathBuf, PathBuf) {
    let film = xtask::setup::film().unwrap();
    let (video, audio) = (dir.join("peer.i420"), dir.join("peer.wav"));
    picture::fake_microphone(&film, &audio).unwrap();
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&film)
        .args(["-vf", "scale=320:180,format=yuv420p", "-frames:v", "50", "-f", "rawvideo"])
        .arg(&video)
        .status()
        .unwrap();
    assert!(status.success());
    (video, audio)
}

fn python(lab: &Lab, url: &str, user: &str, more: &[&str]) -> Python {
    let token = lab.service.token(CHANNEL, user, None).unwrap();
    let mut peer =
        Python::start(lab.dir(), "peer.py", &[&["--url", url, "--token", &token], more].concat()).unwrap();
    peer.event("connected", PATIENCE).unwrap();
    peer
}

fn join(browser: &mut Browser, lab: &Lab, url: &str, user: &str, options: Value) -> String {
    let token = lab.service.token(CHANNEL, user, None).unwrap();
    browser.join(user, url, &token, options).unwrap()
}

fn sids(lab: &Lab) -> Vec<(String, String)> {
    let channel = lab.service.api("GET", &format!("/api/v1/channels/{CHANNEL}"), None).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let participants = channel["participants"].as_array().unwrap();
    participants.iter().map(|one| (text(&one["user"]), text(&one["sid"]))).collect()
}

/// Waits until a page hears and sees `user`.
fn receives(browser: &mut Browser, page: &str, user: &str, source: &str) {
    rostrum_tests::until(&format!("{page} gets {source} of {user}"), PATIENCE, || {
        let stats = browser.call(page, "stats", json!({"user": user, "source": source}))?;
        Ok(stats["packetsReceived"].as_u64().filter(|count| *count > 50))
    })
    .unwrap();
}

fn is(event: &Value, name: &str) -> Option<()> {
    (event["event"] == name).then_some(())
}

#[test]
fn a_socket_that_is_cut_costs_nobody_anything() {
    let lab = Lab::new().unwrap();
    let (_, audio) = recordings(lab.dir());
    let proxy = Proxy::start(&lab.service.url).unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    let media = json!({"camera": true, "microphone": true, "width": 320, "height": 180});
    let mut two = media.clone();
    two["two_connections"] = json!(true);
    join(&mut browser, &lab, &proxy.url, "one", media);
    join(&mut browser, &lab, &proxy.url, "two", two);
    let audio = audio.to_string_lossy();
    let mut peer = python(&lab, &proxy.url, "peer", &["--audio", &audio, "--quiet-frames"]);
    join(&mut browser, &lab, &lab.service.url, "watcher", json!({}));
    for user in ["one", "two", "peer"] {
        receives(&mut browser, "watcher", user, "microphone");
    }
    receives(&mut browser, "watcher", "one", "camera");
    receives(&mut browser, "one", "peer", "microphone");
    receives(&mut browser, "two", "one", "camera");
    let before = sids(&lab);

    for user in ["one", "two"] {
        browser.events(user).unwrap();
    }
    browser.events("watcher").unwrap();
    browser.call("watcher", "watchPackets", json!({"user": "one", "source": "microphone"})).unwrap();
    browser.call("one", "watchPackets", json!({"user": "peer", "source": "microphone"})).unwrap();
    browser.call("two", "watchPackets", json!({"user": "one", "source": "microphone"})).unwrap();
    sleep(Duration::from_secs(1));
    proxy.cut();
    for user in ["one", "two"] {
        browser.event(user, "resumed", PATIENCE, |event| is(event, "resumed")).unwrap();
    }
    peer.event("reconnected", PATIENCE).unwrap();
    sleep(Duration::from_secs(1));
    for page in ["watcher", "one", "two"] {
        let gap = browser.call(page, "packetGap", json!({})).unwrap();
        println!("media at {page} over the cut: {gap}");
        assert!(gap["gap_ms"].as_f64().unwrap() < GAP_MS, "{page}: {gap}");
    }
    assert_eq!(sids(&lab), before, "the same stays");
    let seen = browser.events("watcher").unwrap();
    let noticed =
        |event: &&Value| ["came", "went", "track", "track_gone"].iter().any(|name| event["event"] == *name);
    assert!(!seen.iter().any(|event| noticed(&event)), "the others noticed: {seen:?}");

    // The way on: what is published and muted afterwards reaches everybody.
    browser.call("one", "enable", json!({"source": "microphone", "on": false})).unwrap();
    browser
        .event("watcher", "the mute", PATIENCE, |event| {
            is(event, "muted").filter(|()| event["user"] == "one")
        })
        .unwrap();

    // Once more, with a service that does not notice that its end is dead.
    browser.call("watcher", "watchPackets", json!({"user": "two", "source": "microphone"})).unwrap();
    proxy.cut_clients();
    for user in ["one", "two"] {
        browser.event(user, "resumed", PATIENCE, |event| is(event, "resumed")).unwrap();
    }
    peer.event("reconnected", PATIENCE).unwrap();
    sleep(Duration::from_secs(6));
    let gap = browser.call("watcher", "packetGap", json!({})).unwrap();
    assert!(gap["gap_ms"].as_f64().unwrap() < GAP_MS, "{gap}");
    assert_eq!(sids(&lab), before, "the same stays");
}

#[test]
fn what_was_sent_reliably_while_the_socket_was_lost_arrives_once() {
    let lab = Lab::new().unwrap();
    let proxy = Proxy::start(&lab.service.url).unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    // The library's own pauses between two tries may be longer than a stay waits for its socket.
    join(&mut browser, &lab, &proxy.url, "one", json!({"reconnect_every_ms": 300}));
    let mut peer = python(&lab, &lab.service.url, "peer", &[]);
    let heard = |browser: &mut Browser, text: &str| {
        browser
            .event("one", text, PATIENCE, |event| is(event, "data").filter(|()| event["text"] == text))
            .unwrap();
    };
    browser.call("one", "sendData", json!({"text": "before"})).unwrap();
    peer.next(PATIENCE, |line| (line["text"] == "before").then_some(())).unwrap();
    peer.program().tell(r#"{"do": "send", "text": "early"}"#).unwrap();
    heard(&mut browser, "early");

    proxy.down();
    browser.event("one", "the loss", PATIENCE, |event| is(event, "signal_reconnecting")).unwrap();
    browser.call("one", "sendData", json!({"text": "meanwhile"})).unwrap();
    peer.program().tell(r#"{"do": "send", "text": "to you too"}"#).unwrap();
    // A change that the client is not told while it has no socket. Its maker may wait for an answer for longer
    // than a stay waits for its socket: it registers for it after it asked.
    peer.program().tell(r#"{"do": "set", "metadata": "changed"}"#).unwrap();
    sleep(Duration::from_millis(1500));
    proxy.up();
    let mut seen = Vec::new();
    browser
        .event("one", "resumed", PATIENCE, |event| {
            seen.push(event.clone());
            is(event, "resumed")
        })
        .unwrap();
    peer.next(PATIENCE, |line| (line["text"] == "meanwhile").then_some(())).unwrap();
    sleep(Duration::from_secs(1));
    seen.extend(browser.events("one").unwrap());
    let count = |text: &str| seen.iter().filter(|event| event["text"] == text).count();
    assert_eq!(count("to you too"), 1, "{seen:?}");
    let again = peer.program().pending_lines().iter().filter(|line| line.contains("meanwhile")).count();
    assert_eq!(again, 0, "it came twice");
    let everybody = browser.call("one", "everybody", json!({})).unwrap();
    assert!(everybody.to_string().contains("changed"), "{everybody}");
    assert!(!seen.iter().any(|event| event["event"] == "restarted"));
}

#[test]
fn after_a_longer_cut_media_is_back_within_two_seconds() {
    let lab = Lab::new().unwrap();
    let (video, _) = recordings(lab.dir());
    let proxy = Proxy::start(&lab.service.url).unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    // The library's own patience grows to 7 s between two tries; the guest's page has less.
    let media = json!({"camera": true, "width": 320, "height": 180, "reconnect_every_ms": 300});
    let video = video.to_string_lossy();
    let more = ["--video", &video, "--size", "320x180", "--fps", "15", "--codec", "vp8"];
    let mut peer = python(&lab, &lab.service.url, "peer", &more);
    // First, for the SDK may lose what it receives while it publishes (see guest_with_libwebrtc).
    peer.event("published", PATIENCE).unwrap();
    join(&mut browser, &lab, &proxy.url, "one", media);
    let frame = |peer: &mut Python| {
        peer.next(PATIENCE, |line| {
            (line["event"] == "frame" && line["user"] == "one").then(|| line["at_us"].as_u64())
        })
        .unwrap()
        .unwrap()
    };
    frame(&mut peer);
    let before = sids(&lab);
    proxy.down();
    peer.next(PATIENCE, |line| (line["event"] == "went" && line["user"] == "one").then_some(())).unwrap();
    let now_us = || u64::try_from(Timestamp::now().since_start().as_micros()).unwrap();
    let up_us = now_us();
    proxy.up();
    let back_us = loop {
        let at = frame(&mut peer);
        if at > up_us {
            break at;
        }
    };
    let took = Duration::from_micros(back_us - up_us);
    println!("the picture was back {took:?} after the service could be reached again");
    assert!(took < Duration::from_secs(2), "{took:?}");
    browser.event("one", "restarted", PATIENCE, |event| is(event, "restarted")).unwrap();
    // And in the other direction.
    rostrum_tests::until("the peer's picture", PATIENCE, || {
        let stats = browser.call("one", "stats", json!({"user": "peer", "source": "camera"}))?;
        Ok(stats["framesDecoded"].as_u64().filter(|count| *count > 0))
    })
    .unwrap();
    assert_ne!(sids(&lab), before, "another stay");
}

#[test]
fn a_room_whose_socket_is_cut_goes_on_with_its_stay() {
    let mut lab = Lab::new().unwrap();
    let proxy = Proxy::start(&lab.service.url).unwrap();
    // The room goes through the proxy, everybody else past it.
    let direct = std::mem::replace(&mut lab.service.url, proxy.url.clone());
    let room = lab.joined_room("room").unwrap();
    lab.service.url = direct;
    let mut browser = Browser::start(lab.dir()).unwrap();
    join(&mut browser, &lab, &lab.service.url, "watcher", json!({}));
    receives(&mut browser, "watcher", "room", "microphone");
    receives(&mut browser, "watcher", "room", "camera");
    let before = sids(&lab);
    browser.events("watcher").unwrap();

    browser.call("watcher", "watchPackets", json!({"user": "room", "source": "microphone"})).unwrap();
    sleep(Duration::from_secs(1));
    proxy.cut();
    sleep(Duration::from_secs(2));
    // Once more, so that it needs several tries, and with a service that does not notice that its end is dead.
    proxy.cut_clients();
    proxy.down();
    sleep(Duration::from_millis(1500));
    proxy.up();
    sleep(Duration::from_secs(2));
    let gap = browser.call("watcher", "packetGap", json!({})).unwrap();
    println!("media at the watcher over the cuts: {gap}");
    assert!(gap["gap_ms"].as_f64().unwrap() < GAP_MS, "{gap}");
    assert_eq!(sids(&lab), before, "the same stays");
    let seen = browser.events("watcher").unwrap();
    assert!(
        !seen.iter().any(|event| ["came", "went"].iter().any(|name| event["event"] == *name)),
        "the others noticed: {seen:?}"
    );

    // The new socket carries both ways.
    let path = lab.path_of("room", "/mute");
    lab.service.api("POST", &path, Some(&json!({"kind": "audio", "muted": true}))).unwrap();
    room.wait_for("the service's mute", PATIENCE, |state| state["room"]["muted"] == true).unwrap();
    room.api("PUT", "/mute", Some(&json!({"muted": false}))).unwrap();
    browser
        .event("watcher", "the room is heard again", PATIENCE, |event| {
            (event["event"] == "unmuted" && event["user"] == "room").then_some(())
        })
        .unwrap();

    // A cut that is longer than a stay lasts: the room joins anew.
    proxy.down();
    room.wait_for("the loss", PATIENCE, |state| state["room"]["phase"] == "reconnecting").unwrap();
    proxy.up();
    lab::in_channel(&room).unwrap();
    rostrum_tests::until("the room's new stay", PATIENCE, || Ok((sids(&lab) != before).then_some(())))
        .unwrap();
    receives(&mut browser, "watcher", "room", "camera");
}
