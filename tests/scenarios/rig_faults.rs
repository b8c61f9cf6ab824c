//! Faults of real drivers in a meeting on virtual hardware: each is told, none ends the meeting, and what can heal heals
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use rostrum_tests::{
    Python, RigRoom,
    rig::{self, PATIENCE, line},
    until,
};
use serde_json::{Value, json};
use xtask::rig::Architecture::Amd64;

/// Sound that comes in no slower than this never stopped.
const SOUND_GAP: Duration = Duration::from_millis(1500);

fn told(state: &Value, code: &str) -> bool {
    state["errors"].as_array().is_some_and(|all| all.iter().any(|one| one["code"] == code))
}

fn wait_for_fault(room: &RigRoom, code: &str, there: bool) {
    room.wait_for(&format!("{code} told: {there}"), |state| told(state, code) == there).unwrap();
}

/// What the terminal logged has a line with all of `words`.
fn logged(room: &RigRoom, words: &[&str]) {
    until(&format!("a line of the log with {words:?}"), PATIENCE, || {
        let log = room.log();
        Ok(log.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", room.log()));
}

/// Whether the peer is told of sound without a gap for as long as `work` takes.
fn while_sound_goes_on(peer: &mut Python, mut work: impl FnMut(&mut Python) -> bool) {
    peer.program().pending_lines();
    let mut last = Instant::now();
    loop {
        let loud = peer
            .next(SOUND_GAP, |line| (line["event"] == "level" && line["rms"].as_f64()? > 1e-4).then_some(()));
        assert!(loud.is_ok(), "the sound stopped for {:?}", last.elapsed());
        last = Instant::now();
        if work(peer) {
            return;
        }
    }
}

#[test]
fn a_camera_that_is_unplugged_hangs_or_loses_frames_never_ends_the_meeting() {
    let (mut room, mut peer) = RigRoom::in_meeting(Amd64, &[]).unwrap();
    rig::bar(&mut peer, PATIENCE).unwrap();
    rig::hears(&mut peer, &room.voice).unwrap();

    // Unplugged: the sound goes on, and the picture is back within 3 s of the plug.
    room.camera("unplug").unwrap();
    wait_for_fault(&room, "camera_fault", true);
    logged(&room, &["Camera", "is not there"]);
    let begin = Instant::now();
    while_sound_goes_on(&mut peer, |_| begin.elapsed() > Duration::from_secs(3));
    room.camera("plug").unwrap();
    let plugged = Instant::now();
    peer.program().pending_lines();
    rig::bar(&mut peer, PATIENCE).unwrap();
    let took = plugged.elapsed();
    assert!(took < Duration::from_secs(3), "the picture was back after {took:?}");
    wait_for_fault(&room, "camera_fault", false);

    // It hangs.
    room.camera("freeze on").unwrap();
    wait_for_fault(&room, "camera_fault", true);
    logged(&room, &["Camera", "sent no frame"]);
    room.camera("freeze off").unwrap();
    wait_for_fault(&room, "camera_fault", false);
    peer.program().pending_lines();
    rig::bar(&mut peer, PATIENCE).unwrap();

    // It loses every third frame: the picture goes on, and they are counted.
    let count =
        |room: &RigRoom, name: &str| room.panel.state().unwrap()["statistics"][name].as_u64().unwrap();
    let (came, lost) = (count(&room, "camera_frames"), count(&room, "camera_frames_lost"));
    room.camera("drop-every 3").unwrap();
    until("60 frames", PATIENCE, || Ok((count(&room, "camera_frames") >= came + 60).then_some(()))).unwrap();
    let (came, lost) = (count(&room, "camera_frames") - came, count(&room, "camera_frames_lost") - lost);
    room.camera("drop-every 0").unwrap();
    assert!((lost as f64 / came as f64 - 0.5).abs() < 0.15, "{lost} lost frames beside {came}");
    logged(&room, &["the camera or its bus lost frames"]);
    peer.program().pending_lines();
    rig::bar(&mut peer, PATIENCE).unwrap();
    assert_eq!(room.panel.state().unwrap()["room"]["phase"], "in_channel");
}

#[test]
fn a_camera_in_use_by_another_program_is_told_and_had_when_it_is_free() {
    let mut room = RigRoom::boot(Amd64).unwrap();
    let name = "/run/busybox grep -l 'Rig PTZ' /sys/class/video4linux/*/name | /run/busybox head -n 1";
    let device = room.machine.shell(&format!("{name} | /run/busybox cut -d / -f 5")).unwrap();
    let watch = format!("ffmpeg -v error -f v4l2 -video_size 160x90 -i /dev/{} -f null -", device.trim());
    room.machine.shell(&format!("{watch} & echo $! > /tmp/other.id")).unwrap();
    until("the other program's pictures", PATIENCE, || {
        let stats = room.camera("stats")?;
        Ok(stats.contains("streaming=true").then_some(()))
    })
    .unwrap();
    room.start().unwrap();
    let mut peer = room.lab.libwebrtc("peer", &[]).unwrap();
    room.join().unwrap();
    wait_for_fault(&room, "camera_fault", true);
    logged(&room, &["Camera", "is used by another program; stop it"]);
    rig::hears(&mut peer, &room.voice).unwrap();
    room.machine.shell("read -r id < /tmp/other.id; kill $id").unwrap();
    wait_for_fault(&room, "camera_fault", false);
    rig::bar(&mut peer, PATIENCE).unwrap();
}

#[test]
fn an_encoder_that_fails_is_started_again_and_a_button_that_bounces_is_one_press() {
    let (mut room, mut peer) = RigRoom::in_meeting(Amd64, &[]).unwrap();
    rig::bar(&mut peer, PATIENCE).unwrap();

    // One frame comes back as an error.
    room.machine.shell("echo 1 > /sys/module/rig_h264/parameters/fail_frame").unwrap();
    logged(&room, &["Encoder", "rig-h264"]);
    wait_for_fault(&room, "encoder_fault", false);
    peer.program().pending_lines();
    rig::bar(&mut peer, PATIENCE).unwrap();

    // It cannot be opened again for a while.
    room.machine
        .shell("cd /sys/module/rig_h264/parameters; echo 1 > fail_open; echo 1 > fail_frame")
        .unwrap();
    wait_for_fault(&room, "encoder_fault", true);
    assert_eq!(room.panel.state().unwrap()["room"]["phase"], "in_channel");
    rig::hears(&mut peer, &room.voice).unwrap();
    room.machine.shell("echo 0 > /sys/module/rig_h264/parameters/fail_open").unwrap();
    wait_for_fault(&room, "encoder_fault", false);
    peer.program().pending_lines();
    rig::bar(&mut peer, PATIENCE).unwrap();

    // A press whose contact bounces on the way down and on the way up mutes once.
    let bounce = |level: &str, other: &str| {
        format!(
            "set -- /sys/devices/platform/gpio-sim.0/gpiochip*/sim_gpio{}/pull; \
             for level in {level} {other} {level} {other} {level}; do echo $level > $1; done",
            line::MUTE_BUTTON
        )
    };
    peer.program().pending_lines();
    room.machine.shell(&bounce("pull-down", "pull-up")).unwrap();
    peer.event("muted", PATIENCE).unwrap();
    room.machine.shell(&bounce("pull-up", "pull-down")).unwrap();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        assert_eq!(room.panel.state().unwrap()["room"]["muted"], true, "a bounce was a press");
    }
}

#[test]
fn a_sound_card_that_goes_mutes_the_room_and_is_had_when_it_is_back() {
    let (mut room, mut peer) = RigRoom::in_meeting(Amd64, &[]).unwrap();
    rig::hears(&mut peer, &room.voice).unwrap();
    let driver = "/sys/bus/platform/drivers/snd_aloop";
    room.machine.shell(&format!("echo snd_aloop.0 > {driver}/unbind")).unwrap();
    wait_for_fault(&room, "microphones_fault", true);
    wait_for_fault(&room, "speaker_fault", true);
    peer.event("muted", PATIENCE).unwrap();
    room.wait_for_light(line::MUTE, true).unwrap();
    logged(&room, &["Microphones", "are not there; plug them in"]);
    // The picture goes on.
    peer.program().pending_lines();
    rig::bar(&mut peer, PATIENCE).unwrap();

    room.machine.shell(&format!("echo snd_aloop.0 > {driver}/bind")).unwrap();
    wait_for_fault(&room, "microphones_fault", false);
    wait_for_fault(&room, "speaker_fault", false);
    // Only people unmute.
    assert_eq!(room.panel.state().unwrap()["room"]["muted"], true);
    room.press(line::MUTE_BUTTON).unwrap();
    peer.event("unmuted", PATIENCE).unwrap();
    rig::hears(&mut peer, &room.voice).unwrap();
}

#[test]
fn a_terminal_that_hangs_is_reset_by_its_watchdog_and_says_so() {
    let (mut room, mut peer) = RigRoom::in_meeting(Amd64, &[]).unwrap();
    rig::bar(&mut peer, PATIENCE).unwrap();
    logged(&room, &["why the board started"]);
    // Every thread of it, as a dead lock does.
    room.machine.shell("for id in $(/run/busybox pidof rostrumd); do kill -STOP $id; done").unwrap();
    room.machine.wait_until_up().unwrap();
    room.prepare().unwrap();
    room.start().unwrap();
    logged(&room, &["the board was reset by its watchdog"]);
    room.join().unwrap();
    peer.program().pending_lines();
    rig::bar(&mut peer, PATIENCE).unwrap();
}

#[test]
fn a_terminal_starts_without_what_is_not_there_yet_and_takes_it_when_it_comes() {
    let mut room = RigRoom::boot(Amd64).unwrap();
    room.camera("unplug").unwrap();
    room.machine.shell("echo snd_aloop.0 > /sys/bus/platform/drivers/snd_aloop/unbind").unwrap();
    // As with a chip on a bus that does not answer.
    room.set_profile(&rig::PROFILE.replace("\"rigchip\"", "\"expander\"")).unwrap();
    room.start().unwrap();
    for code in ["camera_fault", "microphones_fault", "speaker_fault", "buttons_fault", "mute_switch_fault"] {
        wait_for_fault(&room, code, true);
    }
    logged(&room, &["buttons", "expander is not there; there are", "rigchip"]);
    logged(&room, &["camera", "serial number RIG0001 is not there"]);
    logged(&room, &["microphones", "hw:CARD=Loopback,DEV=1,SUBDEV=0 is not there"]);

    // Without the switch that the profile promises nobody can be sure: the room stays muted.
    let mut peer = room.lab.libwebrtc("peer", &[]).unwrap();
    room.panel.api("POST", "/join", None).unwrap();
    room.wait_for("the room in its channel", |state| state["room"]["phase"] == "in_channel").unwrap();
    let unmute = room.panel.api("PUT", "/mute", Some(&json!({"muted": false})));
    assert!(unmute.is_err(), "unmuted without the mute switch");

    room.camera("plug").unwrap();
    rig::bar(&mut peer, PATIENCE).unwrap();
    wait_for_fault(&room, "camera_fault", false);
    room.machine.shell("echo snd_aloop.0 > /sys/bus/platform/drivers/snd_aloop/bind").unwrap();
    wait_for_fault(&room, "microphones_fault", false);
    wait_for_fault(&room, "speaker_fault", false);
    assert_eq!(room.panel.state().unwrap()["room"]["muted"], true);
    // The bus answers; nobody presses a button to say so. With the switch, people may unmute.
    let chip = "/sys/kernel/config/gpio-sim/late";
    room.machine
        .shell(&format!(
            "/run/busybox mkdir -p {chip}/bank0; echo 16 > {chip}/bank0/num_lines; echo expander > {chip}/bank0/label; \
             echo 1 > {chip}/live"
        ))
        .unwrap();
    for code in ["buttons_fault", "mute_switch_fault"] {
        wait_for_fault(&room, code, false);
    }
    room.panel.api("PUT", "/mute", Some(&json!({"muted": false}))).unwrap();
}
