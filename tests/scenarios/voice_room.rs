//! The room's voice: its mode is chosen on the page and heard, its meters move, and it is recorded for a fault report
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use rostrum_tests::{
    Browser, Lab, Python,
    lab::{self, PATIENCE},
    sound, until,
};
use serde_json::{Value, json};
use xtask::{paths, room::Terminal};

/// Side signal of a room that sends two channels; one channel has none.
const STEREO: f64 = 1e-4;

/// Waits until libwebrtc hears the room, and that in two channels or in one.
fn hears(peer: &mut Python, stereo: bool) {
    until(if stereo { "two channels" } else { "one channel" }, PATIENCE, || {
        let level = peer.event("level", PATIENCE)?;
        let (rms, side) = (level["rms"].as_f64().unwrap(), level["side"].as_f64().unwrap());
        Ok((level["user"] == "room" && rms > 0.003 && (side > STEREO) == stereo).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_mode_that_is_chosen_on_the_page_is_heard() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let mut peer = lab.libwebrtc("peer", &["--stereo"]).unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("panel", &room.panel.url).unwrap();
    hears(&mut peer, false);
    for (mode, stereo) in [("music", true), ("voice-wide", false), ("voice", false)] {
        browser.click("panel", &format!("voice-mode-{mode}")).unwrap();
        room.wait_for(mode, PATIENCE, |state| state["settings"]["voice_mode"] == mode).unwrap();
        hears(&mut peer, stereo);
    }
}

#[test]
fn the_far_end_changes_the_mode_where_it_may() {
    let lab = Lab::new().unwrap();
    let open = lab.room_with("open", None, "[voice]\nfar_end_may_change_mode = true\n", "debug").unwrap();
    let closed = lab.room("closed").unwrap();
    for room in [&open, &closed] {
        lab::join(room).unwrap();
    }
    let mut peer = lab.libwebrtc("peer", &[]).unwrap();
    for user in ["open", "closed"] {
        peer.next(PATIENCE, |event| (event["event"] == "track" && event["user"] == user).then_some(()))
            .unwrap();
    }
    let mode = |room: &Terminal| room.state().unwrap()["settings"]["voice_mode"].clone();
    for text in ["louder", "music"] {
        let command = json!({"do": "send", "text": text, "topic": "rostrum.voice-mode"});
        peer.program().tell(&command.to_string()).unwrap();
    }
    open.wait_for("music", PATIENCE, |state| state["settings"]["voice_mode"] == "music").unwrap();
    assert_eq!(mode(&closed), "voice");
}

/// Loudness of the first microphone in dB; `None` while muted.
fn loudness(room: &Terminal) -> anyhow::Result<Option<f64>> {
    let meters = room.api("GET", "/voice/meters", None)?;
    Ok(meters["microphones"][0]["level_dbfs"].as_f64())
}

#[test]
fn the_meters_follow_the_room_and_tell_nothing_of_a_muted_one() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("panel", &room.panel.url).unwrap();
    until("somebody speaks", PATIENCE, || Ok(loudness(&room)?.filter(|db| *db > -50.0))).unwrap();
    room.api("PUT", "/mute", Some(&json!({"muted": true}))).unwrap();
    until("nothing is told", PATIENCE, || Ok(loudness(&room)?.is_none().then_some(()))).unwrap();
    let text =
        until("the page says so", PATIENCE, || browser.text("panel", "voice-muted").map(Some)).unwrap();
    assert!(text.contains("muted"), "{text}");
}

fn record(room: &Terminal, seconds: u16, out: &Path) -> Output {
    Command::new(paths::program("debug", "rostrumd"))
        .args(["record-audio", "--panel", &room.panel.url, "--seconds", &seconds.to_string(), "--out"])
        .arg(out)
        .arg("--config")
        .arg(&room.config)
        .output()
        .unwrap()
}

fn phase(state: &Value) -> &str {
    state["recording"]["phase"].as_str().unwrap_or_default()
}

#[test]
fn a_recording_is_announced_has_all_signals_and_obeys_mute() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let out = lab.dir().join("voice.wav");

    room.api("PUT", "/mute", Some(&json!({"muted": true}))).unwrap();
    let refused = record(&room, 1, &out);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && words.contains("muted") && !out.exists(), "{words}");

    room.api("PUT", "/mute", Some(&json!({"muted": false}))).unwrap();
    let before = sound::level(&sound::of_board(&room, "speaker", 1).unwrap().samples);
    let done = record(&room, 2, &out);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let description: Value = serde_json::from_slice(&fs::read(out.with_extension("json")).unwrap()).unwrap();
    assert_eq!(description["frames"], 200);
    let geometry = description["geometry"].as_array().unwrap();
    assert!(!geometry.is_empty() && geometry.iter().all(|place| place["x"].is_number()), "{description}");
    assert_eq!(description["options"]["echo"], "long");
    let names: Vec<&str> =
        description["channels"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for name in ["microphone_1", "reference_1", "echo_removed_1", "beam", "noise_removed", "output"] {
        assert!(names.contains(&name), "no {name} in {names:?}");
    }
    let wav = hound::WavReader::open(&out).unwrap();
    assert_eq!((usize::from(wav.spec().channels), wav.duration()), (names.len(), 96_000));
    assert!(sound::level(&sound::parse_wav(&fs::read(&out).unwrap()).unwrap()) > 0.003);
    // The room heard that it is recorded: nobody else is there to be heard.
    let speaker = sound::of_board(&room, "speaker", 20).unwrap().samples;
    let loudest = speaker.chunks(4800).map(sound::level).fold(0.0, f32::max);
    assert!(before < 0.001 && loudest > 0.01, "the speaker gave {before} before and {loudest} then");
    assert!(room.state().unwrap()["recording"].is_null(), "nothing stays on the terminal");

    room.api("POST", "/voice/recording", Some(&json!({"seconds": 60}))).unwrap();
    room.wait_for("it records", Duration::from_secs(30), |state| phase(state) == "recording").unwrap();
    room.api("PUT", "/mute", Some(&json!({"muted": true}))).unwrap();
    let paused = room.wait_for("it pauses", PATIENCE, |state| phase(state) == "paused").unwrap();
    let held = &paused["recording"]["seconds"];
    std::thread::sleep(Duration::from_secs(1));
    let later = room.state().unwrap();
    assert!(
        later["recording"]["seconds"].as_f64().unwrap() - held.as_f64().unwrap() < 0.3,
        "recorded while muted: {held} and then {later}"
    );
    room.api("DELETE", "/voice/recording", None).unwrap();
    assert!(room.state().unwrap()["recording"].is_null());
}

/// The first note that the speaker gave in the last seconds, Hz; `None` while it was silent.
fn first_note_hz(room: &Terminal) -> anyhow::Result<Option<f64>> {
    const NOTE: usize = 4_800;
    let samples = sound::of_board(room, "speaker", 3)?.samples;
    let Some(start) = samples.iter().position(|sample| sample.abs() > 0.01) else { return Ok(None) };
    let Some(note) = samples.get(start..start + NOTE) else { return Ok(None) };
    let waves = note.windows(2).filter(|two| two[0] < 0.0 && two[1] >= 0.0).count();
    Ok(Some(waves as f64 * 48_000.0 / NOTE as f64))
}

#[test]
fn the_room_hears_that_somebody_comes_and_that_somebody_leaves() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let silent = || until("silence", PATIENCE, || Ok(first_note_hz(&room)?.is_none().then_some(())));
    silent().unwrap();
    let mut peer = lab.libwebrtc("peer", &[]).unwrap();
    let came = until("a chime for who came", PATIENCE, || first_note_hz(&room)).unwrap();
    silent().unwrap();
    peer.program().tell(r#"{"do": "quit"}"#).unwrap();
    let left = until("a chime for who left", PATIENCE, || first_note_hz(&room)).unwrap();
    assert!((came - 587.0).abs() < 30.0 && (left - 784.0).abs() < 30.0, "{came} and {left} Hz");
}
