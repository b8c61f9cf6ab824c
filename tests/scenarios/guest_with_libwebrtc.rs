//! The same with PyPI `livekit` (libwebrtc) in the place of the browser, both directions, both connection modes
#![allow(clippy::unwrap_used, missing_docs)]

use std::{process::Command, time::Duration};

use rostrum_hal::FrameSize;
use rostrum_tests::{
    Lab, Python,
    lab::{CHANNEL, PATIENCE},
    picture, sound, until,
};
use serde_json::{Value, json};
use xtask::room::camera_id;

const CAMERA: FrameSize = FrameSize::new(640, 360);
const CAMERA_ID: u8 = 78;

fn see_and_hear_each_other(more: &[&str]) {
    let film = xtask::setup::film().unwrap();
    let lab = Lab::new().unwrap();
    let (video, audio) = (lab.dir().join("peer.i420"), lab.dir().join("peer.wav"));
    let voice = picture::fake_microphone(&film, &audio).unwrap();
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&film)
        .args(["-vf", "scale=640:360,format=yuv420p", "-frames:v", "50", "-f", "rawvideo"])
        .arg(&video)
        .status()
        .unwrap();
    assert!(status.success());
    let token = lab.service.token(CHANNEL, "peer", None).unwrap();
    let arguments = ["--url", &lab.service.url, "--token", &token, "--quiet-frames"];
    let (video, audio) = (video.to_string_lossy(), audio.to_string_lossy());
    let media = ["--video", &video, "--audio", &audio, "--fps", "25"];
    let mut peer = Python::start(lab.dir(), "peer.py", &[&arguments[..], &media, more].concat()).unwrap();
    peer.event("connected", PATIENCE).unwrap();
    // It publishes before the room joins. The SDK loses what it decodes in one of ten runs when it publishes while it
    // receives, with the real LiveKit server as well: libwebrtc's statistics count the pictures, its track gives none.
    for _ in ["video", "audio"] {
        peer.event("published", PATIENCE).unwrap();
    }
    let room = lab.joined_room("room").unwrap();

    // The peer sees this room, live, in at least two moments.
    let mut bar = || {
        peer.next(PATIENCE, |line| {
            (line["event"] == "frame" && line["camera"] == json!(camera_id("room")))
                .then(|| line["bar_us"].as_u64())
        })
        .unwrap()
        .unwrap()
    };
    let first = bar();
    assert!(bar() > first, "the picture stands still");

    // And hears it.
    until("the room's voice", PATIENCE, || {
        peer.program().tell(r#"{"do": "sound", "user": "room", "seconds": 2.5}"#)?;
        let answer: Value = peer.event("sound", Duration::from_secs(10))?;
        let heard = sound::from_le_bytes(&std::fs::read(answer["file"].as_str().unwrap_or_default())?);
        let scene = sound::of_board(&room, "scene", 10)?;
        let (_, likeness) = sound::find(&scene.samples, &heard);
        if likeness < 0.4 {
            anyhow::bail!("likeness {likeness}, level {}", sound::level(&heard))
        }
        Ok(Some(()))
    })
    .unwrap();

    // The room sees and hears the peer.
    until("the peer's bar on the room's screen", PATIENCE, || {
        let bars = picture::bars_on_screen(&room, 1, CAMERA)?;
        Ok(bars.into_iter().flatten().find(|bar| bar.camera_id == CAMERA_ID))
    })
    .unwrap();
    until("the peer's voice on the room's speaker", PATIENCE, || {
        let played = sound::of_board(&room, "speaker", 3)?;
        let (_, likeness) = sound::find(&[&voice[..], &voice[..]].concat(), &played.samples);
        if likeness < 0.4 {
            anyhow::bail!("likeness {likeness}, level {}", sound::level(&played.samples))
        }
        Ok(Some(()))
    })
    .unwrap();

    // A room that mutes is silent for libwebrtc too.
    room.api("PUT", "/mute", Some(&json!({"muted": true}))).unwrap();
    peer.event("muted", PATIENCE).unwrap();
    until("silence", PATIENCE, || {
        peer.program().pending_lines();
        let level = peer.next(PATIENCE, |line| (line["event"] == "level").then(|| line["rms"].as_f64()));
        Ok((level?.unwrap_or(1.0) < 1e-4).then_some(()))
    })
    .unwrap();
    peer.program().tell(r#"{"do": "quit"}"#).unwrap();
    until("the peer gone", PATIENCE, || Ok((lab.users()? == ["room"]).then_some(()))).unwrap();
}

#[test]
fn with_one_connection() {
    see_and_hear_each_other(&[]);
}

#[test]
fn with_two_connections_and_vp8() {
    see_and_hear_each_other(&["--two-connections", "--codec", "vp8"]);
}
