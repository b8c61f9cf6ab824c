//! How long people wait: from the button, and from a guest's connect, to the first frame.

use std::time::Duration;

use rostrum_hal::Timestamp;
use rostrum_tests::{Lab, Python, lab, lab::CHANNEL};
use serde_json::json;

use crate::{
    figures::{Figures, percentile},
    latency::peer_frames,
};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(rounds: u32) -> anyhow::Result<Figures> {
    let lab = Lab::with("", "release")?;
    let room = lab.room_with("room", None, "", "release")?;
    let subscriber_token = lab.service.token(CHANNEL, "subscriber", None)?;

    // Button to the first frame at a subscriber that waits.
    let mut waiting =
        Python::start(lab.dir(), "peer.py", &["--url", &lab.service.url, "--token", &subscriber_token])?;
    waiting.event("connected", PATIENCE)?;
    let mut button_ms = Vec::new();
    for round in 0..rounds {
        let pressed = Timestamp::now();
        room.api("POST", "/board/buttons/join", Some(&json!({})))?;
        let frame = frame_since(&mut waiting, pressed.since_start().as_secs_f64() * 1e6)?;
        button_ms.push(
            frame["at_us"].as_f64().unwrap_or(f64::NAN) / 1000.0 - pressed.since_start().as_secs_f64() * 1e3,
        );
        eprintln!("bench: button {}/{rounds}: {:.0} ms", round + 1, button_ms[button_ms.len() - 1]);
        lab::in_channel(&room)?;
        room.api("POST", "/leave", None)?;
        room.wait_for("idle", PATIENCE, |state| state["room"]["phase"] == "idle")?;
        waiting.event("went", PATIENCE)?;
        waiting.program().pending_lines();
    }

    // The same with the peer as the publisher: from its connect to the first frame.
    let frames = peer_frames(lab.dir())?;
    let mut peer_button_ms = Vec::new();
    for round in 0..rounds {
        let token = lab.service.token(CHANNEL, "peer", None)?;
        let mut peer = peer(&lab, &token, &frames)?;
        let connecting = peer.event("connecting", PATIENCE)?["at_us"].as_f64().unwrap_or(f64::NAN);
        let frame = frame_since(&mut waiting, connecting)?;
        peer_button_ms.push((frame["at_us"].as_f64().unwrap_or(f64::NAN) - connecting) / 1000.0);
        eprintln!("bench: peer {}/{rounds}: {:.0} ms", round + 1, peer_button_ms[peer_button_ms.len() - 1]);
        peer.program().tell(r#"{"do": "quit"}"#)?;
        waiting.event("went", PATIENCE)?;
        waiting.program().pending_lines();
    }
    drop(waiting);

    // A fresh subscriber of a room that is there, and of a peer that is there.
    lab::join(&room)?;
    let mut fresh_ms = fresh(&lab, rounds, "fresh")?;
    room.api("POST", "/leave", None)?;
    room.wait_for("idle", PATIENCE, |state| state["room"]["phase"] == "idle")?;
    let token = lab.service.token(CHANNEL, "peer", None)?;
    let mut publisher = peer(&lab, &token, &frames)?;
    publisher.event("published", PATIENCE)?;
    let mut peer_fresh_ms = fresh(&lab, rounds, "fresh")?;

    let mut figures = Figures::default();
    let mut add = |name: &str, ours: &mut [f64], peer: &mut [f64], goal| {
        figures.add(name, "ms", percentile(ours, 50.0), Some(percentile(peer, 50.0)), goal);
    };
    add("button_to_first_frame_ms", &mut button_ms, &mut peer_button_ms, Some(300.0));
    add("connect_to_first_frame_ms", &mut fresh_ms, &mut peer_fresh_ms, None);
    Ok(figures)
}

/// The first frame that was captured after `since_us`: one of an earlier stay may still be on its way.
fn frame_since(subscriber: &mut Python, since_us: f64) -> anyhow::Result<serde_json::Value> {
    subscriber.next(PATIENCE, |line| {
        let fresh = line["event"] == "frame" && line["bar_us"].as_f64().is_some_and(|bar| bar >= since_us);
        fresh.then(|| line.clone())
    })
}

fn peer(lab: &Lab, token: &str, frames: &std::path::Path) -> anyhow::Result<Python> {
    let video = frames.to_string_lossy();
    Python::start(
        lab.dir(),
        "peer.py",
        &[
            "--url",
            &lab.service.url,
            "--token",
            token,
            "--no-subscribe",
            "--video",
            &video,
            "--size",
            "1280x720",
        ],
    )
}

/// From connect to the first frame, of subscribers that come one after the other.
fn fresh(lab: &Lab, rounds: u32, user: &str) -> anyhow::Result<Vec<f64>> {
    let mut milliseconds = Vec::new();
    for _ in 0..rounds {
        let token = lab.service.token(CHANNEL, user, None)?;
        let mut peer = Python::start(lab.dir(), "peer.py", &["--url", &lab.service.url, "--token", &token])?;
        let connecting = peer.event("connecting", PATIENCE)?["at_us"].as_f64().unwrap_or(f64::NAN);
        let frame = peer.event("frame", PATIENCE)?;
        milliseconds.push((frame["at_us"].as_f64().unwrap_or(f64::NAN) - connecting) / 1000.0);
        peer.program().tell(r#"{"do": "quit"}"#)?;
        peer.program().wait(PATIENCE)?;
    }
    Ok(milliseconds)
}
