//! A meeting of a terminal on virtual hardware: USB camera, H.264 encoder, 8 microphones, GPIO lights and buttons
#![allow(clippy::unwrap_used, missing_docs)]

use rostrum_tests::{
    Python, RigRoom,
    rig::{self, PATIENCE, line},
    sound, until,
};
use serde_json::{Value, json};
use xtask::rig::Architecture;

/// Row of the picture that is compared: below the bar.
const ROW: usize = 60;
/// Luma of a step of the camera's ramp, which is 256 pixels long.
const STEP: f64 = 219.0 / 255.0;

/// Luma between a pixel and the next in the middle of the picture, and luma there.
fn slope_and_level(peer: &mut Python) -> anyhow::Result<(f64, f64)> {
    let row = rig::picture_of(peer)?.swap_remove(ROW);
    let around: Vec<f64> = row[64..96].iter().map(|luma| f64::from(*luma)).collect();
    let mut steps: Vec<f64> = around.windows(9).map(|pixels| (pixels[8] - pixels[0]) / 8.0).collect();
    steps.sort_by(f64::total_cmp);
    Ok((steps[steps.len() / 2], f64::from(row[80])))
}

fn set(room: &RigRoom, control: &str, value: i32) {
    let body = json!({"value": value});
    room.panel.api("PUT", &format!("/camera/controls/{control}"), Some(&body)).unwrap();
}

fn meet(architecture: Architecture) {
    let own_voice = tempfile::Builder::new().suffix(".wav").tempfile().unwrap();
    let film = xtask::setup::film().unwrap();
    let voice = rostrum_tests::picture::fake_microphone(&film, own_voice.path()).unwrap();
    let file = own_voice.path().to_string_lossy().into_owned();
    let (mut room, mut peer) = RigRoom::in_meeting(architecture, &["--audio", &file]).unwrap();

    // The camera's picture through the encoder, live.
    let first = rig::bar(&mut peer, PATIENCE).unwrap();
    assert!(rig::bar(&mut peer, PATIENCE).unwrap() > first, "the picture stands still");
    let encoder = |room: &mut RigRoom, count: &str| -> u32 {
        let value =
            room.machine.shell(&format!("read -r n < /sys/module/rig_h264/parameters/{count}; echo $n"));
        value.unwrap().trim().parse().unwrap()
    };
    assert!(encoder(&mut room, "imported") > 0, "no frame reached the encoder as it was");
    assert_eq!(encoder(&mut room, "copied"), 0, "frames were copied on their way");

    // The sound card's sound, and the other way round.
    rig::hears(&mut peer, &room.voice).unwrap();
    until("the peer's voice on the loudspeaker", PATIENCE, || {
        room.machine.shell("/out/other-side record plughw:Loopback,1,1 2 /out/heard.wav 3")?;
        let heard = sound::parse_wav(&std::fs::read(room.machine.out().join("heard.wav"))?)?;
        let (_, likeness) = sound::find(&[&voice[..], &voice[..]].concat(), &heard);
        anyhow::ensure!(likeness > 0.4, "likeness {likeness}, level {}", sound::level(&heard));
        Ok(Some(()))
    })
    .unwrap();

    // Pan moves the picture, zoom makes it larger.
    let (slope, level) = slope_and_level(&mut peer).unwrap();
    assert!((slope - STEP).abs() < 0.1, "{slope}");
    set(&room, "pan", 20 * 3600);
    until("the picture moved by 20 pixels", PATIENCE, || {
        let (_, now) = slope_and_level(&mut peer)?;
        let moved = (now - level).rem_euclid(219.0);
        anyhow::ensure!((moved - 20.0 * STEP).abs() < 4.0, "{now} after {level}");
        Ok(Some(()))
    })
    .unwrap();
    set(&room, "zoom", 200);
    until("the picture twice as large", PATIENCE, || {
        let (now, _) = slope_and_level(&mut peer)?;
        anyhow::ensure!((now - STEP / 2.0).abs() < 0.1, "{now} after {slope}");
        Ok(Some(()))
    })
    .unwrap();

    // Button, switch, lights, page and far end tell one truth.
    room.wait_for_light(line::STATUS_GREEN, true).unwrap();
    room.wait_for_light(line::STATUS_RED, false).unwrap();
    room.wait_for_light(line::MUTE, false).unwrap();
    let muted = |state: &Value| state["room"]["muted"] == true;
    room.press(line::MUTE_BUTTON).unwrap();
    peer.event("muted", PATIENCE).unwrap();
    room.wait_for("muted on the panel", muted).unwrap();
    room.wait_for_light(line::MUTE, true).unwrap();
    room.press(line::MUTE_BUTTON).unwrap();
    peer.event("unmuted", PATIENCE).unwrap();
    room.pull(line::MUTE_SWITCH, false).unwrap();
    peer.event("muted", PATIENCE).unwrap();
    room.wait_for("muted on the panel", muted).unwrap();
    room.wait_for_light(line::MUTE, true).unwrap();
    room.press(line::MUTE_BUTTON).unwrap();
    until("the refusal", PATIENCE, || Ok(room.log().contains("stays_muted").then_some(()))).unwrap();
    assert!(muted(&room.panel.state().unwrap()), "a button unmuted what the switch cut");

    // The button that joined leaves, too.
    room.press(line::JOIN_BUTTON).unwrap();
    peer.event("went", PATIENCE).unwrap();
    // Dim white.
    room.wait_for_light(line::STATUS_RED, true).unwrap();
}

#[test]
fn a_guest_sees_and_hears_a_room_on_a_pc() {
    meet(Architecture::Amd64);
}

#[test]
fn a_guest_sees_and_hears_a_room_on_an_arm_board() {
    meet(Architecture::Arm64);
}
