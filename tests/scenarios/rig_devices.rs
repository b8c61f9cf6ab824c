//! Devices of virtual hardware: tested by the command, exchanged in a meeting, and remembered after a restart
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;

use rostrum_tests::{
    Python, RigRoom,
    rig::{self, PATIENCE},
    until,
};
use serde_json::{Value, json};
use xtask::rig::Architecture::Amd64;

/// Number in the bar of the second camera.
const SECOND_CAMERA: u8 = 11;

/// The id of the choice whose title or id has this in it.
fn choice(room: &RigRoom, kind: &str, name: &str) -> String {
    let choices = room.panel.api("GET", "/devices", None).unwrap();
    let named = |one: &&Value| {
        ["title", "id"].iter().any(|key| one[key].as_str().is_some_and(|text| text.contains(name)))
    };
    let found = choices[kind].as_array().unwrap().iter().find(named);
    found.unwrap_or_else(|| panic!("no {name} in {choices}"))["id"].as_str().unwrap().to_owned()
}

fn choose(room: &RigRoom, kind: &str, id: &str) {
    let chosen = room.panel.api("PUT", &format!("/devices/{kind}"), Some(&json!({"id": id})));
    chosen.unwrap_or_else(|error| panic!("{error}\n{}", room.log()));
}

/// Waits for a picture with the bar of that camera.
fn shows(peer: &mut Python, camera: u8) {
    let shown = |line: &Value| {
        (line["event"] == "frame" && line["camera"] == camera).then(|| line["bar_us"].as_u64())?
    };
    peer.next(PATIENCE, shown).unwrap();
}

fn hears(room: &RigRoom, peer: &mut Python, voice: &[f32]) {
    rig::hears(peer, voice).unwrap_or_else(|error| panic!("{error}\n{}", room.log()));
}

/// A second camera, and somebody who says something else before the other end of the sound card.
fn plug_in_more(room: &mut RigRoom) -> Vec<f32> {
    room.machine
        .shell(&format!(
            "/out/uvc-camera --port 1 --serial RIG0002 --name 'Rig Second Camera' --camera-id {SECOND_CAMERA} \
             > /tmp/uvc-camera-1.log 2>&1 &"
        ))
        .unwrap();
    until("the second camera", PATIENCE, || {
        Ok(room
            .machine
            .shell("/run/busybox grep -q Second /sys/class/video4linux/*/name")
            .is_ok()
            .then_some(()))
    })
    .unwrap();
    let other: Vec<f32> = room.voice.iter().rev().copied().collect();
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(room.machine.out().join("other.wav"), spec).unwrap();
    other.iter().for_each(|sample| wav.write_sample((sample * 32_767.0) as i16).unwrap());
    wav.finalize().unwrap();
    room.machine.shell("/out/other-side play /out/other.wav hw:Loopback,1,0 8 &").unwrap();
    other
}

#[test]
fn a_room_changes_its_camera_and_microphones_in_a_meeting_and_keeps_them() {
    let (mut room, mut peer) = RigRoom::in_meeting(Amd64, &[]).unwrap();
    let other_voice = plug_in_more(&mut room);
    shows(&mut peer, rig::CAMERA_ID);
    hears(&room, &mut peer, &room.voice);

    let second = choice(&room, "camera", "Second");
    choose(&room, "camera", &second);
    shows(&mut peer, SECOND_CAMERA);
    let state = room.wait_for("the camera's name", |state| {
        state["camera"]["name"].as_str().is_some_and(|name| name.contains("Second"))
    });
    assert_eq!(state.unwrap()["devices"]["camera"]["ok"], true);
    // Its controls are those of the new one.
    room.panel.api("PUT", "/camera/controls/zoom", Some(&json!({"value": 150}))).unwrap();
    let zoomed = room.machine.shell("/out/other-side camera 1 get").unwrap();
    assert!(zoomed.contains("zoom_abs=150"), "{zoomed}");

    let others = choice(&room, "microphones", "CARD=Loopback,DEV=0");
    choose(&room, "microphones", &others);
    hears(&room, &mut peer, &other_voice);
    // What cannot be used leaves everything as it is.
    room.machine.shell("/out/other-side camera 0 unplug").unwrap();
    let refused = room.panel.api(
        "PUT",
        "/devices/camera",
        Some(&json!({"id": "driver = \"v4l2\", serial = \"RIG0009\""})),
    );
    assert!(refused.unwrap_err().to_string().contains("404"));
    shows(&mut peer, SECOND_CAMERA);

    // After a restart it is the same.
    room.machine.shell("for id in $(/run/busybox pidof rostrumd); do kill -TERM $id; done").unwrap();
    until("its end", PATIENCE, || Ok(room.machine.out().join("ended").exists().then_some(()))).unwrap();
    room.start().unwrap();
    room.join().unwrap();
    shows(&mut peer, SECOND_CAMERA);
    hears(&room, &mut peer, &other_voice);

    // And the board's own again.
    room.machine.shell("/out/other-side camera 0 plug").unwrap();
    choose(&room, "camera", "profile");
    choose(&room, "microphones", "profile");
    shows(&mut peer, rig::CAMERA_ID);
    hears(&room, &mut peer, &room.voice);
}

/// What the command finds of some parts while no terminal runs.
fn selftest(room: &mut RigRoom, parts: &str) -> Vec<Value> {
    let run = "/out/rostrumd --config /out/rostrumd.toml selftest --json --only";
    room.machine.shell(&format!("{run} {parts} > /out/selftest.json 2> /out/selftest.log || true")).unwrap();
    let read = |name: &str| fs::read_to_string(room.machine.out().join(name)).unwrap();
    let report: Value = serde_json::from_str(&read("selftest.json"))
        .unwrap_or_else(|error| panic!("{error}: {}", read("selftest.log")));
    report["checks"].as_array().unwrap().clone()
}

#[test]
fn the_self_test_passes_on_real_drivers_and_finds_a_camera_that_hangs() {
    let mut room = RigRoom::boot(Amd64).unwrap();
    let checks = selftest(&mut room, "watchdog,identity,network,camera,encoder,mute_switch,lights");
    assert_eq!(checks.len(), 8, "two lights: {checks:?}");
    for check in &checks {
        if check["name"] == "encoder" {
            // The rig's codes samples as they are, and so spends more than it is told; that is what is wrong with it.
            assert_eq!(check["figures"][0]["value"], 90.0, "{check}");
            assert!(check["problem"].as_str().unwrap().starts_with("its bitrate is"), "{check}");
        } else {
            assert_eq!(check["outcome"], "passed", "{check}");
        }
    }
    room.camera("freeze on").unwrap();
    let checks = selftest(&mut room, "camera");
    assert_eq!(checks[0]["outcome"], "failed", "{checks:?}");
    assert!(checks[0]["remedy"].as_str().unwrap().contains("plug it in again"), "{checks:?}");
}
