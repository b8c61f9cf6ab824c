//! Opening boards: what the embedded profiles give, and what a wrong one is told.
#![allow(clippy::unwrap_used)]

use pollster::block_on;
use proptest::prelude::*;
use rostrum_board::{BoardError, OpenOptions, Profile, drivers};
use rostrum_hal::{
    FrameSize, PixelFormat,
    buttons::ButtonRole,
    camera::StreamFormat,
    encoder::EncoderSettings,
    identity::Udid,
    indicator::{IndicatorRole, Signal},
    sim::bar,
};

const VIRTUAL: &str = include_str!("../profiles/virtual.toml");

fn open(text: &str) -> Result<rostrum_board::Board, BoardError> {
    rostrum_board::open(&Profile::parse(text, "test.toml")?, OpenOptions::default())
}

#[test]
fn the_virtual_profile_opens_a_whole_board() {
    let options = OpenOptions {
        camera_id: Some(7),
        udid: Some(Udid::new("test-1").unwrap()),
        seed: Some(3),
        ..OpenOptions::default()
    };
    let board = rostrum_board::open(&Profile::named_or_path("virtual").unwrap(), options).unwrap();
    assert_eq!((board.name.as_str(), board.encoder.name().as_str()), ("virtual", "x264enc"));
    assert_eq!(board.identity.udid().unwrap().as_str(), "test-1");
    assert_eq!(board.microphones.unwrap().format().channels(), 4);
    assert_eq!(board.speaker.unwrap().format().channels, 1);
    assert_eq!(board.display.unwrap().size(), FrameSize::new(1280, 720));
    assert!(board.watchdog.is_some() && board.mute_switch.is_some());
    let handle = board.virtual_board.unwrap();
    assert!(board.presence.unwrap().present().unwrap());
    let mut buttons = board.buttons.unwrap();
    handle.push(ButtonRole::Join);
    assert_eq!(block_on(buttons.next()).unwrap().button, ButtonRole::Join);
    for (role, mut indicator) in board.indicators {
        indicator.show(Signal::GREEN).unwrap();
        assert_eq!(handle.state().indicators[&role], Signal::GREEN);
    }
    assert_eq!(handle.state().indicators.len(), 2);
    let mut camera = board.camera.unwrap();
    let size = FrameSize::new(1280, 720);
    let wanted = StreamFormat { pixel_format: PixelFormat::Yuv420, size, frame_rate_hz: 30.0 };
    assert_eq!(block_on(camera.start(wanted)).unwrap(), wanted);
    let frame = block_on(camera.next_frame()).unwrap();
    assert_eq!(bar::read(frame.bytes().unwrap(), size).unwrap().camera_id, 7);
}

#[test]
fn another_known_encoder_needs_only_its_name() {
    let board = open(&VIRTUAL.replace("x264enc", "openh264enc")).unwrap();
    let size = FrameSize::new(320, 180);
    let (send, receive) = std::sync::mpsc::channel();
    let settings = EncoderSettings { size, frame_rate_hz: 30.0, bitrate_bps: 200_000 };
    let sink = Box::new(move |frame| drop(send.send(frame)));
    let mut encoder = board.encoder.open(settings, sink).unwrap();
    let mut camera = board.camera.unwrap();
    let wanted = StreamFormat { pixel_format: PixelFormat::Yuv420, size, frame_rate_hz: 30.0 };
    block_on(camera.start(wanted)).unwrap();
    let mut keys = Vec::new();
    for number in 0..10 {
        if number == 5 {
            encoder.request_key_frame().unwrap();
        }
        let frame = block_on(camera.next_frame()).unwrap();
        if encoder.submit(&frame).unwrap() {
            let encoded = receive.recv_timeout(std::time::Duration::from_secs(20)).unwrap().unwrap();
            assert_eq!(encoded.capture_time, frame.capture_time);
            keys.push((number, encoded.key_frame));
        }
    }
    assert!(keys.iter().all(|(number, key)| *key == (*number == keys[0].0 || *number == 5)), "{keys:?}");
}

#[test]
fn an_absent_light_is_told_with_those_that_are_there() {
    let text = VIRTUAL
        .replace("mute = { driver = \"virtual\" }", "mute = { driver = \"led_class\", light = \"no-such\" }");
    let error = open(&text).err().unwrap().to_string();
    assert!(error.contains("[indicators.mute]: the light no-such is not there; "), "{error}");
    assert!(error.contains("/sys/class/leds"), "{error}");
}

#[test]
fn an_absent_camera_is_told_with_those_that_are_there() {
    let text = VIRTUAL.replace(
        "[camera]\ndriver = \"virtual\"",
        "[camera]\ndriver = \"gstreamer\"\nelement = \"v4l2src\"\ndevice = \"/dev/video987\"",
    );
    let error = open(&text).err().unwrap().to_string();
    assert!(error.contains("[camera]: the camera /dev/video987 is not there; there "), "{error}");
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    for (old, new, rule) in [
        ("count = 4", "count = 0", "count is 1 to 16"),
        ("size = { width = 1280, height = 720 }", "size = { width = 1281, height = 720 }", "even numbers"),
        ("[watchdog]\n", "[watchdog]\ntimeout_s = 0\n", "timeout_s is 1 to 3600"),
        ("udid = \"virtual-1\"", "udid = \"not a name\"", "1 to 64 characters"),
    ] {
        assert!(VIRTUAL.contains(old));
        let error = open(&VIRTUAL.replace(old, new)).err().unwrap().to_string();
        assert!(error.contains(rule), "{error}");
    }
}

#[test]
fn a_board_of_which_a_part_is_virtual_has_a_handle_for_that_part() {
    let text = "name = \"mixed\"\n[encoder]\ndriver = \"gstreamer\"\nelement = \"x264enc\"\n\
                [indicators]\nmute = { driver = \"virtual\" }\n\
                [identity]\ndriver = \"file\"\npath = \"/nonexistent/udid\"\n";
    let board = open(text).unwrap();
    assert!(board.camera.is_none() && board.watchdog.is_none());
    assert!(board.identity.udid().is_err());
    let roles: Vec<_> = board.virtual_board.unwrap().state().indicators.into_keys().collect();
    assert_eq!(roles, [IndicatorRole::Mute]);
}

#[test]
fn a_virtual_watchdog_runs_from_the_moment_the_board_is_open() {
    let board = open(VIRTUAL).unwrap();
    let handle = board.virtual_board.unwrap();
    assert_eq!(handle.state().watchdog, rostrum_hal::sim::WatchdogState::Fed);
    board.watchdog.unwrap().disarm().unwrap();
    assert_eq!(handle.state().watchdog, rostrum_hal::sim::WatchdogState::Off);
}

proptest! {
    #[test]
    fn a_damaged_profile_is_an_error_or_a_profile_but_never_a_panic(
        at in 0..VIRTUAL.len(), length in 0_usize..40, noise in "[\\PC\n]{0,20}",
    ) {
        let end = (at + length).min(VIRTUAL.len());
        let text = format!("{}{noise}{}", &VIRTUAL[..at], &VIRTUAL[end..]);
        if let Ok(profile) = Profile::parse(&text, "damaged.toml") {
            // Either answer will do; it must be an answer.
            let _ = drivers::check(&profile);
        }
    }
}
