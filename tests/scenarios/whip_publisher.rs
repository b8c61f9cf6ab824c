//! WHIP and WHEP with aiortc, whip-whep and plain pages: what they publish is seen and heard, and a room is watched
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    time::{Duration, Instant},
};

use rostrum_hal::FrameSize;
use rostrum_tests::{
    Browser, Lab, Python,
    browser::FakeDevices,
    lab::{CHANNEL, PATIENCE, in_channel, join},
    picture, sound, until,
};
use serde_json::{Value, json};
use xtask::room::camera_id;

/// Shorter than the default, so that a connection that is held by nothing shows soon.
const SILENT: Duration = Duration::from_secs(6);
const CAMERA: u8 = 79;
const OTHER_CAMERA: u8 = 80;

fn lab() -> Lab {
    Lab::with(&format!("[timeouts]\nsilent_ms = {}", SILENT.as_millis()), "debug").unwrap()
}

/// aiortc at a door; `more` are its arguments.
fn aiortc(lab: &Lab, door: &str, user: &str, more: &[&str]) -> Python {
    let dir = lab.dir().join(format!("aiortc-{}", more.concat().len() + user.len()));
    fs::create_dir_all(&dir).unwrap();
    let url = format!("{}/{door}", lab.service.url);
    let token = lab.service.token(CHANNEL, user, None).unwrap();
    Python::start(&dir, "whip.py", &[&["--url", &url, "--token", &token], more].concat()).unwrap()
}

fn opened(peer: &mut Python) -> Value {
    let opened = peer.event("opened", PATIENCE).unwrap();
    assert_eq!(opened["status"], 201, "{opened}");
    opened
}

fn connected(peer: &mut Python) {
    peer.next(PATIENCE, |line| (line["state"] == "connected").then_some(())).unwrap();
}

fn closed(peer: &mut Python) {
    peer.next(PATIENCE, |line| (line["state"] == "closed" || line["state"] == "failed").then_some(()))
        .unwrap();
}

/// Gives a command and waits for its status.
fn answered(peer: &mut Python, what: &str) -> Value {
    peer.program().tell(&json!({"do": what}).to_string()).unwrap();
    peer.next(PATIENCE, |line| (line["do"] == what).then(|| line.clone())).unwrap()
}

/// The next picture of a camera that was captured after `since_us`.
fn picture_of(peer: &mut Python, camera: u8, since_us: u64) -> anyhow::Result<u64> {
    peer.next(PATIENCE, |line| {
        let bar =
            (line["event"] == "frame" && line["camera"] == json!(camera)).then(|| line["bar_us"].as_u64());
        bar.flatten().filter(|bar| *bar > since_us)
    })
}

/// Waits until what the peer hears is alike `original`.
fn hears(peer: &mut Python, user: &str, mut original: impl FnMut() -> anyhow::Result<Vec<f32>>) {
    until("the voice", PATIENCE, || {
        peer.program().tell(&json!({"do": "sound", "user": user, "seconds": 2.5}).to_string())?;
        let answer: Value = peer.event("sound", Duration::from_secs(10))?;
        let heard = sound::from_le_bytes(&fs::read(answer["file"].as_str().unwrap_or_default())?);
        let (_, likeness) = sound::find(&original()?, &heard);
        if likeness < 0.4 {
            anyhow::bail!("likeness {likeness}, level {}", sound::level(&heard))
        }
        Ok(Some(()))
    })
    .unwrap();
}

fn publish(codec: &str) {
    let film = xtask::setup::film().unwrap();
    let lab = lab();
    let token = lab.service.token(CHANNEL, "listener", None).unwrap();
    let arguments = ["--url", &lab.service.url, "--token", &token];
    let mut listener = Python::start(lab.dir(), "peer.py", &arguments).unwrap();
    listener.event("connected", PATIENCE).unwrap();
    let wav = lab.dir().join("voice.wav");
    let voice = picture::fake_microphone(&film, &wav).unwrap();

    let audio = wav.to_string_lossy();
    let door = format!("whip/{CHANNEL}");
    let mut publisher = aiortc(&lab, &door, "cam", &["--codec", codec, "--audio", &audio]);
    let first = opened(&mut publisher);
    connected(&mut publisher);
    let bar = picture_of(&mut listener, CAMERA, 0).unwrap();
    assert!(picture_of(&mut listener, CAMERA, bar).unwrap() > bar, "the picture stands still");
    hears(&mut listener, "cam", || Ok([&voice[..], &voice[..]].concat()));

    // The service's own word, and its power.
    let channel = lab.service.api("GET", &format!("/api/v1/channels/{CHANNEL}"), None).unwrap();
    let tracks = channel["participants"].as_array().unwrap().iter().find(|one| one["user"] == "cam").unwrap()
        ["tracks"]
        .clone();
    let codecs: Vec<_> = tracks.as_array().unwrap().iter().map(|track| track["codec"].clone()).collect();
    assert_eq!(codecs, [json!(if codec == "vp8" { "video/VP8" } else { "video/H264" }), json!("audio/opus")]);

    // Candidates trickle; ICE restarts, and media goes on when the old credentials are long gone.
    assert_eq!(answered(&mut publisher, "trickle")["status"], 204);
    let restart = answered(&mut publisher, "restart");
    assert_eq!(restart["status"], 200, "{restart}");
    assert_ne!(restart["etag"], first["etag"]);
    let restarted = listener.event("frame", PATIENCE).unwrap()["at_us"].as_u64().unwrap();
    let past_silence = restarted + (SILENT + Duration::from_secs(2)).as_micros() as u64;
    picture_of(&mut listener, CAMERA, past_silence).unwrap();
    assert_eq!(answered(&mut publisher, "trickle")["status"], 204, "under the new entity tag");

    // The same user comes again: the first is closed, the second is seen.
    let other = OTHER_CAMERA.to_string();
    let mut second = aiortc(&lab, &door, "cam", &["--codec", codec, "--camera", &other]);
    opened(&mut second);
    closed(&mut publisher);
    picture_of(&mut listener, OTHER_CAMERA, 0).unwrap();
    assert_eq!(answered(&mut publisher, "delete")["status"], 404);

    // DELETE ends it at once.
    listener.program().pending_lines();
    let before = Instant::now();
    second.program().tell(&json!({"do": "delete"}).to_string()).unwrap();
    let (mut status, mut ended) = (Value::Null, false);
    second
        .next(PATIENCE, |line| {
            if line["do"] == "delete" {
                status = line["status"].clone();
            }
            ended |= line["state"] == "closed";
            (ended && !status.is_null()).then_some(())
        })
        .unwrap();
    assert_eq!(status, 200);
    listener.next(PATIENCE, |line| (line["event"] == "went" && line["user"] == "cam").then_some(())).unwrap();
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    assert_eq!(lab.users().unwrap(), ["listener"]);
}

#[test]
fn a_publisher_of_vp8_is_seen_and_heard() {
    publish("vp8");
}

#[test]
fn a_publisher_of_h264_is_seen_and_heard() {
    publish("h264");
}

#[test]
fn the_service_mutes_and_removes_a_publisher_and_notices_one_that_vanishes() {
    let lab = lab();
    let token = lab.service.token(CHANNEL, "listener", None).unwrap();
    let mut listener =
        Python::start(lab.dir(), "peer.py", &["--url", &lab.service.url, "--token", &token]).unwrap();
    listener.event("connected", PATIENCE).unwrap();
    let mut publisher = aiortc(&lab, &format!("whip/{CHANNEL}"), "cam", &[]);
    opened(&mut publisher);
    picture_of(&mut listener, CAMERA, 0).unwrap();
    let participant = format!("/api/v1/channels/{CHANNEL}/participants/cam");
    lab.service
        .api("POST", &format!("{participant}/mute"), Some(&json!({"kind": "video", "muted": true})))
        .unwrap();
    listener.event("muted", PATIENCE).unwrap();
    until("no more pictures", PATIENCE, || {
        listener.program().pending_lines();
        let more = listener.next(Duration::from_secs(1), |line| (line["event"] == "frame").then_some(()));
        Ok(more.is_err().then_some(()))
    })
    .unwrap();
    let _ = lab.service.api("DELETE", &participant, None);
    closed(&mut publisher);
    until("the publisher gone", PATIENCE, || Ok((lab.users()? == ["listener"]).then_some(()))).unwrap();

    // One that is killed says nothing any more.
    let mut publisher = aiortc(&lab, &format!("whip/{CHANNEL}"), "vanishing", &[]);
    opened(&mut publisher);
    picture_of(&mut listener, CAMERA, 0).unwrap();
    publisher.program().signal("KILL").unwrap();
    listener
        .next(SILENT + Duration::from_secs(4), |line| {
            (line["event"] == "went" && line["user"] == "vanishing").then_some(())
        })
        .unwrap();
}

#[test]
fn a_room_is_watched_whenever_it_is_there() {
    let lab = lab();
    let room = lab.room("room").unwrap();
    // The viewer is there first.
    let door = format!("whep/{CHANNEL}?user=room&source=camera");
    let mut viewer = aiortc(&lab, &door, "viewer", &["--watch"]);
    opened(&mut viewer);
    connected(&mut viewer);
    join(&room).unwrap();
    let camera = camera_id("room");
    let bar = picture_of(&mut viewer, camera, 0).unwrap();
    assert!(picture_of(&mut viewer, camera, bar).unwrap() > bar, "the picture stands still");
    hears(&mut viewer, "room", || Ok(sound::of_board(&room, "scene", 10)?.samples));
    assert_eq!(answered(&mut viewer, "restart")["status"], 200);

    // The room goes and comes again: it is seen on the same sections, without a new negotiation.
    room.api("POST", "/leave", None).unwrap();
    until("the room gone", PATIENCE, || Ok((lab.users()? == ["viewer"]).then_some(()))).unwrap();
    viewer.program().pending_lines();
    room.api("POST", "/join", None).unwrap();
    in_channel(&room).unwrap();
    let bar = picture_of(&mut viewer, camera, bar).unwrap();
    picture_of(&mut viewer, camera, bar).unwrap();
    hears(&mut viewer, "room", || Ok(sound::of_board(&room, "scene", 10)?.samples));

    assert_eq!(answered(&mut viewer, "delete")["status"], 200);
    assert_eq!(lab.users().unwrap(), ["room"]);
}

/// A browser whose camera shows the bar.
fn browser(lab: &Lab, size: FrameSize) -> Browser {
    let film = xtask::setup::film().unwrap();
    let (video, audio) = (lab.dir().join("page.y4m"), lab.dir().join("page.wav"));
    picture::fake_camera(&film, &video, size, 50, CAMERA).unwrap();
    picture::fake_microphone(&film, &audio).unwrap();
    Browser::with(
        lab.dir(),
        &FakeDevices { video: Some(&video), audio: Some(&audio), ..FakeDevices::default() },
    )
    .unwrap()
}

/// A page of another origin than the service's own, as a studio's page would be.
fn elsewhere(lab: &Lab) -> String {
    format!("{}/healthz", lab.service.url.replace("127.0.0.1", "localhost"))
}

/// Waits until the audience sees another picture of the camera than frame `since`.
fn audience_sees(browser: &mut Browser, since: u64) -> u64 {
    until("the bar in the audience's picture", PATIENCE, || {
        let picture = browser.call("audience", "httpBar", json!({}))?;
        anyhow::ensure!(picture["bar"]["camera"] == json!(CAMERA), "{picture}");
        anyhow::ensure!(picture["streams"] == 2, "sound and picture are one stream: {picture}");
        Ok(picture["bar"]["frame"].as_u64().filter(|frame| *frame != since))
    })
    .unwrap()
}

#[test]
fn the_clients_of_an_author_of_the_rfc_publish_and_watch() {
    let lab = lab();
    let mut browser = browser(&lab, FrameSize::new(640, 360));
    let token = |user| lab.service.token(CHANNEL, user, None).unwrap();
    browser.open("studio", &elsewhere(&lab)).unwrap();
    let url = format!("{}/whip/{CHANNEL}", lab.service.url);
    let parameters = json!({"url": url, "bearer": token("page"), "width": 640, "height": 360});
    browser.call("studio", "clientPublish", parameters).unwrap();
    browser.open("audience", &elsewhere(&lab)).unwrap();
    let url = format!("{}/whep/{CHANNEL}", lab.service.url);
    browser.call("audience", "clientWatch", json!({"url": url, "bearer": token("audience")})).unwrap();
    let frame = audience_sees(&mut browser, u64::MAX);
    audience_sees(&mut browser, frame);
    // Only the publisher's: the viewer's forgets the entity tag when it trickles, and is answered 428.
    let state = browser.call("studio", "httpState", json!({})).unwrap();
    let trickled = state["trickled"].as_array().unwrap();
    assert!(!trickled.is_empty() && trickled.iter().all(|status| *status == 204), "{state}");
    for page in ["studio", "audience"] {
        browser.call(page, "clientStop", json!({})).unwrap();
    }
    until("everybody gone", PATIENCE, || Ok(lab.users()?.is_empty().then_some(()))).unwrap();
}

#[test]
fn a_page_publishes_layers_and_another_watches() {
    let lab = lab();
    let mut browser = browser(&lab, FrameSize::new(960, 540));
    let token = |user| lab.service.token(CHANNEL, user, None).unwrap();
    let elsewhere = elsewhere(&lab);
    browser.open("studio", &elsewhere).unwrap();
    let url = format!("{}/whip/{CHANNEL}", lab.service.url);
    let parameters =
        json!({"url": url, "bearer": token("page"), "rids": ["h", "m", "l"], "width": 960, "height": 540});
    let opened = browser.call("studio", "httpPublish", parameters).unwrap();
    browser.open("audience", &elsewhere).unwrap();
    let url = format!("{}/whep/{CHANNEL}?user=page", lab.service.url);
    browser.call("audience", "httpWatch", json!({"url": url, "bearer": token("audience")})).unwrap();
    let frame = audience_sees(&mut browser, u64::MAX);
    audience_sees(&mut browser, frame);

    // All layers arrive, each in its place.
    until("three layers", PATIENCE, || {
        let channel = lab.service.api("GET", &format!("/api/v1/channels/{CHANNEL}"), None)?;
        let participants = channel["participants"].as_array().cloned().unwrap_or_default();
        let page = participants.iter().find(|one| one["user"] == "page").cloned().unwrap_or_default();
        let tracks = page["tracks"].as_array().cloned().unwrap_or_default();
        let camera = tracks.iter().find(|track| track["source"] == "camera").cloned().unwrap_or_default();
        anyhow::ensure!(camera["layers"] == json!(["low", "mid", "high"]), "{camera}");
        Ok(Some(()))
    })
    .unwrap();
    let state = browser.call("studio", "httpState", json!({})).unwrap();
    assert_eq!(state["connection"], "connected");
    assert!(state["trickled"].as_array().unwrap().iter().all(|status| *status == 204), "{state}");

    // The browser restarts ICE, and is seen when everything old is forgotten.
    let restarted = browser.call("studio", "httpRestart", json!({})).unwrap();
    assert_ne!(restarted["etag"], opened["etag"]);
    let until_then = Instant::now() + SILENT + Duration::from_secs(2);
    until("time after the restart", PATIENCE, || Ok((Instant::now() > until_then).then_some(()))).unwrap();
    let frame = audience_sees(&mut browser, u64::MAX);
    audience_sees(&mut browser, frame);

    assert_eq!(browser.call("studio", "httpEnd", json!({})).unwrap(), 200);
    assert_eq!(browser.call("audience", "httpEnd", json!({})).unwrap(), 200);
    until("everybody gone", PATIENCE, || Ok(lab.users()?.is_empty().then_some(()))).unwrap();
}
