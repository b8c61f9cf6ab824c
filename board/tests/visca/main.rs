//! The driver `visca` against a camera written from the standard, over datagrams, TCP and a serial port.
#![allow(clippy::unwrap_used)]

mod camera;
mod doors;

use std::time::{Duration, Instant};

use doors::{Door, Way};
use rostrum_board::{BoardError, OpenOptions, Profile};
use rostrum_hal::camera::{CameraControl, CameraControls, CameraError};

const DEGREE: i64 = 3600;

fn open(keys: &str) -> Result<Box<dyn CameraControls>, BoardError> {
    let text = format!(
        "name = \"test\"\n[camera_controls]\ndriver = \"visca\"\n{keys}\n\
         [encoder]\ndriver = \"gstreamer\"\nelement = \"x264enc\"\n\
         [identity]\ndriver = \"file\"\npath = \"/nonexistent/udid\"\n"
    );
    let board = rostrum_board::open(&Profile::parse(&text, "test.toml")?, OpenOptions::default())?;
    Ok(board.camera_controls.unwrap())
}

fn controls(door: &Door) -> Box<dyn CameraControls> {
    open(&door.key).unwrap()
}

fn value(controls: &dyn CameraControls, wanted: CameraControl) -> i64 {
    controls.list().unwrap().into_iter().find(|state| state.control == wanted).unwrap().value
}

/// Waits until it is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_gone<T>(result: &Result<T, CameraError>) -> bool {
    matches!(result, Err(CameraError::Gone { .. }))
}

#[test]
fn a_pan_reaches_the_camera_as_its_steps() {
    let door = Door::datagrams();
    let controls = controls(&door);
    door.look().camera.tilt = 144;
    assert_eq!(controls.set(CameraControl::Pan, -45 * DEGREE).unwrap(), -45 * DEGREE);
    door.until("the pan", |inside| inside.camera.pan == -648);
    assert_eq!(door.look().camera.tilt, 144, "the tilt is that of the camera");
    assert_eq!(value(&*controls, CameraControl::Tilt), 10 * DEGREE);
}

#[test]
fn a_value_out_of_range_or_between_steps_becomes_the_nearest() {
    let door = Door::datagrams();
    let controls = controls(&door);
    for (control, value, nearest) in [
        (CameraControl::Pan, i64::MAX, 170 * DEGREE),
        (CameraControl::Pan, 374, 250),
        (CameraControl::Tilt, i64::MIN, -30 * DEGREE),
        (CameraControl::Zoom, 5000, 1200),
        (CameraControl::Focus, 1_000_000, 0xE000),
        (CameraControl::Exposure, 150, 167),
        (CameraControl::PanSpeed, 200, 100),
    ] {
        assert_eq!(controls.set(control, value).unwrap(), nearest, "{control:?}");
        assert_eq!(self::value(&*controls, control), nearest, "{control:?}");
    }
    let inside = door.look();
    let camera = &inside.camera;
    assert_eq!((camera.zoom, camera.focus, camera.shutter), (0x4000, 0xF000, 0x06));
}

#[test]
fn the_controls_are_read_from_the_camera() {
    let door = Door::datagrams();
    {
        let camera = &mut door.look().camera;
        (camera.pan, camera.tilt, camera.zoom) = (1296, -144, 0x2000);
        (camera.focus, camera.focus_mode) = (0x2000, 0x03);
        (camera.exposure_mode, camera.shutter) = (0x0A, 0x0F);
    }
    let controls = controls(&door);
    for (control, expected) in [
        (CameraControl::Pan, 90 * DEGREE),
        (CameraControl::Tilt, -10 * DEGREE),
        (CameraControl::Zoom, 650),
        (CameraControl::Focus, 0x1000),
        (CameraControl::FocusAuto, 0),
        (CameraControl::Exposure, 10),
        (CameraControl::ExposureAuto, 0),
        (CameraControl::ZoomSpeed, 0),
    ] {
        assert_eq!(value(&*controls, control), expected, "{control:?}");
    }
    // Somebody has a remote control.
    door.look().camera.pan = 0;
    until("the remote control's pan shows", || value(&*controls, CameraControl::Pan) == 0);
}

#[test]
fn a_lost_command_is_sent_again_with_its_number() {
    let door = Door::datagrams();
    let controls = controls(&door);
    controls.list().unwrap();
    door.look().way = Way::LosesRequests;
    // The first of each is lost.
    door.look().counted = 1;
    for zoom in [300, 500] {
        controls.set(CameraControl::Zoom, zoom).unwrap();
    }
    let inside = door.look();
    let told = |packet: &[u8]| packet.starts_with(&[0x81, 0x01, 0x04, 0x47]);
    let sent: Vec<_> = inside.sent.iter().filter(|(_, _, packet)| told(packet)).collect();
    let [first, .., last] = sent[..] else { panic!("{sent:x?}") };
    assert!(first.1 < last.1, "{sent:x?}");
    for one in [first, last] {
        assert!(sent.iter().filter(|sent| **sent == one).count() > 1, "{sent:x?}");
    }
    assert!(sent.iter().all(|sent| [first, last].contains(sent)), "{sent:x?}");
    assert_eq!(inside.camera.heard.iter().filter(|packet| told(packet)).count(), 2);
    assert_eq!(inside.camera.zoom, 5958);
}

#[test]
fn a_command_whose_acceptance_is_lost_is_executed_once() {
    let door = Door::datagrams();
    let controls = controls(&door);
    controls.list().unwrap();
    {
        let mut inside = door.look();
        (inside.camera.is_fast, inside.way, inside.counted) = (false, Way::LosesReplies, 1);
    }
    assert_eq!(controls.set(CameraControl::Zoom, 300).unwrap(), 300);
    door.arrive();
    let inside = door.look();
    let told = |packet: &&Vec<u8>| packet.starts_with(&[0x81, 0x01, 0x04, 0x47]);
    assert_eq!(inside.camera.heard.iter().filter(told).count(), 1);
    assert!(inside.sent.iter().filter(|(_, _, packet)| told(&packet)).count() > 1);
}

#[test]
fn everything_comes_through_when_every_second_reply_is_lost() {
    let door = Door::datagrams();
    let controls = controls(&door);
    door.look().way = Way::LosesReplies;
    for degrees in 1..5 {
        assert_eq!(controls.set(CameraControl::Pan, degrees * 10 * DEGREE).unwrap(), degrees * 10 * DEGREE);
        door.until("the pan", |inside| i64::from(inside.camera.pan) == degrees * 144);
    }
    until("everything is read", || controls.list().is_ok_and(|listed| listed.len() == 10));
}

#[test]
fn a_camera_that_counts_from_another_number_is_reset() {
    let door = Door::datagrams();
    let controls = controls(&door);
    controls.list().unwrap();
    // Another controller came and went.
    door.look().number = 5000;
    let resets = |door: &Door| door.look().sent.iter().filter(|(payload, ..)| *payload == 0x0200).count();
    let before = resets(&door);
    controls.set(CameraControl::Zoom, 300).unwrap();
    assert_eq!(resets(&door), before + 1);
    assert!(door.look().number < 5000);
}

#[test]
fn replies_that_come_late_twice_or_in_another_order_are_not_taken_for_others() {
    let door = Door::datagrams();
    door.look().way = Way::Reorders;
    let controls = controls(&door);
    for step in 1..20 {
        let (pan, zoom) = (step * 5 * DEGREE, 100 + step);
        controls.set(CameraControl::Pan, pan).unwrap();
        controls.set(CameraControl::Zoom, zoom).unwrap();
        controls.set(CameraControl::PanSpeed, 0).unwrap();
        controls.set(CameraControl::ZoomSpeed, 0).unwrap();
        // By then nothing is on its way, so this is read.
        until("the camera's values", || {
            value(&*controls, CameraControl::Pan) == pan && value(&*controls, CameraControl::Zoom) == zoom
        });
    }
}

#[test]
fn a_command_returns_when_it_is_accepted_and_its_value_stands_while_the_camera_moves() {
    let door = Door::datagrams();
    let controls = controls(&door);
    door.look().camera.is_fast = false;
    assert_eq!(controls.set(CameraControl::Pan, 90 * DEGREE).unwrap(), 90 * DEGREE);
    assert_eq!(door.look().camera.pan, 0);
    assert_eq!(value(&*controls, CameraControl::Pan), 90 * DEGREE);
    // One command turns both: the tilt must not stop the pan.
    controls.set(CameraControl::Tilt, 10 * DEGREE).unwrap();
    door.arrive();
    assert_eq!(door.look().camera.place(), (1296, 144));
    assert_eq!(controls.set(CameraControl::Zoom, 100).unwrap(), 100, "the late completions do not confuse");
}

#[test]
fn a_camera_that_is_busy_is_told_when_it_has_room() {
    let door = Door::datagrams();
    let controls = controls(&door);
    door.look().camera.is_fast = false;
    controls.set(CameraControl::Pan, 90 * DEGREE).unwrap();
    controls.set(CameraControl::Zoom, 300).unwrap();
    std::thread::scope(|scope| {
        let third = scope.spawn(|| controls.set(CameraControl::FocusAuto, 0));
        door.until("the camera refuses once", |inside| {
            let told = |packet: &&Vec<u8>| packet.starts_with(&[0x81, 0x01, 0x04, 0x38]);
            inside.camera.heard.iter().filter(told).count() > 1
        });
        door.arrive();
        assert_eq!(third.join().unwrap().unwrap(), 0);
    });
    assert_eq!(door.look().camera.focus_mode, 0x03);
}

#[test]
fn what_the_camera_refuses_is_told_and_the_camera_is_not_gone() {
    for (error, words) in [
        (0x41, "cannot do that in its present state"),
        (0x02, "does not understand"),
        (0x04, "was cancelled"),
        (0x05, "nothing to cancel"),
        (0x03, "busy with two other commands"),
    ] {
        let door = Door::datagrams();
        let controls = controls(&door);
        controls.list().unwrap();
        door.look().camera.refuses = Some((vec![0x01, 0x04, 0x47], error, usize::MAX));
        let told = controls.set(CameraControl::Zoom, 300).unwrap_err();
        assert!(matches!(told, CameraError::Failed { .. }), "{told}");
        assert!(told.to_string().contains(words), "{told}");
        controls.set(CameraControl::Pan, DEGREE).unwrap();
        assert_eq!(value(&*controls, CameraControl::Zoom), 100);
    }
}

#[test]
fn a_control_that_the_camera_does_not_know_is_not_listed() {
    let door = Door::datagrams();
    door.look().camera.refuses = Some((vec![0x09, 0x04, 0x4A], 0x02, usize::MAX));
    let controls = controls(&door);
    let listed: Vec<_> = controls.list().unwrap().iter().map(|state| state.control).collect();
    assert_eq!(listed.len(), 9);
    for lacking in [CameraControl::Exposure, CameraControl::Privacy] {
        assert!(!listed.contains(&lacking));
        let Err(CameraError::NoControl { present, .. }) = controls.set(lacking, 1) else {
            panic!("{lacking:?} was set")
        };
        assert_eq!(present, listed);
    }
    assert_eq!(controls.set(CameraControl::ExposureAuto, 0).unwrap(), 0);
}

#[test]
fn speeds_of_pan_and_tilt_go_together_until_they_stop_or_a_place_is_set() {
    let door = Door::datagrams();
    let controls = controls(&door);
    controls.set(CameraControl::PanSpeed, -100).unwrap();
    assert_eq!(door.look().camera.drive, [0x18, 0x01, 0x01, 0x03]);
    controls.set(CameraControl::TiltSpeed, 50).unwrap();
    assert_eq!(door.look().camera.drive, [0x18, 0x0A, 0x01, 0x01]);
    assert_eq!(value(&*controls, CameraControl::PanSpeed), -100);
    controls.set(CameraControl::PanSpeed, 0).unwrap();
    assert_eq!(door.look().camera.drive, [0x01, 0x0A, 0x03, 0x01]);
    controls.set(CameraControl::Pan, 0).unwrap();
    assert_eq!(value(&*controls, CameraControl::TiltSpeed), 0);

    controls.set(CameraControl::ZoomSpeed, 100).unwrap();
    assert_eq!(door.look().camera.zoom_drive, 0x27);
    controls.set(CameraControl::ZoomSpeed, -1).unwrap();
    assert_eq!(door.look().camera.zoom_drive, 0x30);
    controls.set(CameraControl::ZoomSpeed, 0).unwrap();
    assert_eq!(door.look().camera.zoom_drive, 0x00);
}

#[test]
fn where_a_speed_brought_the_camera_is_read() {
    let door = Door::datagrams();
    let controls = controls(&door);
    controls.set(CameraControl::Pan, 90 * DEGREE).unwrap();
    controls.set(CameraControl::PanSpeed, 100).unwrap();
    door.look().camera.pan = 2000;
    controls.set(CameraControl::PanSpeed, 0).unwrap();
    let stopped = Instant::now();
    until("the place where it stopped", || value(&*controls, CameraControl::Pan) == 500_000);
    assert!(stopped.elapsed() < Duration::from_secs(9), "the place that was set before stood too long");
    controls.set(CameraControl::Tilt, DEGREE).unwrap();
    assert_eq!(door.look().camera.pan, 2000);
}

#[test]
fn focus_and_exposure_by_hand_end_the_automatic_also_when_the_camera_needs_a_moment() {
    let door = Door::datagrams();
    let controls = controls(&door);
    door.look().camera.refuses = Some((vec![0x01, 0x04, 0x48], 0x41, 2));
    assert_eq!(controls.set(CameraControl::Focus, 0x800).unwrap(), 0x800);
    door.until("the focus", |i| (i.camera.focus_mode, i.camera.focus) == (0x03, 0x1800));
    assert_eq!(controls.set(CameraControl::Exposure, 10).unwrap(), 10);
    door.until("the exposure", |i| (i.camera.exposure_mode, i.camera.shutter) == (0x0A, 0x0F));
    for control in [CameraControl::FocusAuto, CameraControl::ExposureAuto] {
        assert_eq!(value(&*controls, control), 0);
        controls.set(control, 1).unwrap();
        assert_eq!(value(&*controls, control), 1);
    }
    door.until("both", |i| (i.camera.focus_mode, i.camera.exposure_mode) == (0x02, 0x00));
}

#[test]
fn a_silent_camera_is_gone_and_heals() {
    let door = Door::datagrams();
    let controls = controls(&door);
    controls.set(CameraControl::Pan, 90 * DEGREE).unwrap();
    door.look().way = Way::Cut;
    let begun = Instant::now();
    let error = controls.set(CameraControl::Zoom, 300).unwrap_err();
    let took = begun.elapsed();
    assert!((Duration::from_millis(1000)..Duration::from_secs(10)).contains(&took), "{took:?}");
    let address = door.key.split('"').nth(1).unwrap();
    assert_eq!(error.to_string(), format!("the camera {address} is not there; plug it in"));
    assert!(is_gone(&controls.list()) && is_gone(&controls.set(CameraControl::Pan, 0)));
    {
        // It had no power.
        let mut inside = door.look();
        (inside.camera.pan, inside.number, inside.way) = (0, 0, Way::Good);
    }
    until("the camera is back", || controls.list().is_ok());
    assert_eq!(value(&*controls, CameraControl::Pan), 0, "nothing of before is taken for the present");
    assert_eq!(controls.set(CameraControl::Zoom, 300).unwrap(), 300);
}

#[test]
fn a_camera_that_is_not_there_at_first_is_gone_until_it_comes() {
    let door = Door::datagrams();
    door.look().way = Way::Cut;
    let controls = controls(&door);
    assert!(is_gone(&controls.list()));
    door.look().way = Way::Good;
    until("the camera is there", || controls.list().is_ok());
    assert_eq!(controls.list().unwrap().len(), 10);
}

#[test]
fn a_port_where_nobody_listens_is_gone() {
    let controls = open("address = \"127.0.0.1:1\"").unwrap();
    assert!(is_gone(&controls.list()));
    let controls = open("tcp = \"127.0.0.1:1\"").unwrap();
    assert!(is_gone(&controls.list()));
}

#[test]
fn tcp_carries_the_same_and_is_opened_again_when_the_camera_hangs_up() {
    let door = Door::tcp();
    let controls = controls(&door);
    assert_eq!(controls.set(CameraControl::Pan, 90 * DEGREE).unwrap(), 90 * DEGREE);
    door.until("the pan", |inside| inside.camera.pan == 1296);
    door.look().camera.is_fast = false;
    controls.set(CameraControl::Zoom, 300).unwrap();
    door.arrive();
    // Its late completion is not the acceptance of the next, which is refused.
    door.look().camera.refuses = Some((vec![0x01, 0x06, 0x01], 0x41, usize::MAX));
    let error = controls.set(CameraControl::PanSpeed, 10).unwrap_err();
    assert!(matches!(error, CameraError::Failed { .. }), "{error}");
    door.look().hangs_up = true;
    door.until("it hung up", |inside| !inside.hangs_up);
    assert_eq!(controls.set(CameraControl::FocusAuto, 0).unwrap(), 0);
    assert_eq!(door.look().connections, 2);
}

#[test]
fn what_was_said_before_a_command_is_not_its_answer() {
    let door = Door::tcp();
    let controls = controls(&door);
    controls.list().unwrap();
    // Some cameras tell everybody what they tell one.
    door.look().to_say.push((0, vec![0x90, 0x41, 0xFF]));
    door.until("it is said", |inside| inside.to_say.is_empty());
    door.look().camera.refuses = Some((vec![0x01, 0x04, 0x47], 0x02, usize::MAX));
    let error = controls.set(CameraControl::Zoom, 300).unwrap_err();
    assert!(matches!(error, CameraError::Failed { .. }), "{error}");
}

#[test]
fn a_serial_camera_gets_an_address_and_does_what_it_is_told() {
    let door = Door::serial();
    let controls = open(&format!("{}\nbaud = 38400", door.key)).unwrap();
    assert_eq!(controls.set(CameraControl::Pan, -90 * DEGREE).unwrap(), -90 * DEGREE);
    door.until("the pan", |inside| inside.camera.pan == -1296);
    let inside = door.look();
    assert_eq!(inside.camera.heard[0], [0x88, 0x30, 0x01, 0xFF]);
    assert_eq!(inside.camera.heard[1], [0x81, 0x01, 0x00, 0x01, 0xFF]);
    assert_eq!(inside.camera.unit, 1);
}

#[test]
fn a_serial_camera_that_restarts_gets_an_address_again() {
    let door = Door::serial();
    let controls = controls(&door);
    controls.list().unwrap();
    {
        let mut inside = door.look();
        (inside.camera.unit, inside.camera.is_greeted) = (0, false);
        inside.to_say.push((0, vec![0x90, 0x38, 0xFF]));
    }
    door.until("it says that it restarted", |inside| inside.to_say.is_empty());
    assert_eq!(controls.set(CameraControl::Zoom, 300).unwrap(), 300);
    assert!(door.look().camera.is_greeted);
}

#[test]
fn a_silent_serial_camera_is_gone_and_heals_in_spite_of_noise() {
    let door = Door::serial();
    let controls = controls(&door);
    controls.list().unwrap();
    {
        let mut inside = door.look();
        inside.way = Way::Cut;
        inside.to_say.push((0, vec![0x00; 40]));
    }
    assert!(is_gone(&controls.set(CameraControl::Zoom, 300)));
    {
        let mut inside = door.look();
        inside.way = Way::Good;
        inside.to_say.push((0, b"\xFF\x90login: \xFF".to_vec()));
    }
    until("the camera is back", || controls.list().is_ok());
    assert_eq!(controls.set(CameraControl::Zoom, 300).unwrap(), 300);
}

#[test]
fn an_absent_serial_port_is_told() {
    let error = open("serial = \"/dev/ttyNone\"").err().unwrap().to_string();
    assert!(
        error.contains("[camera_controls]: the serial port /dev/ttyNone is not there; there "),
        "{error}"
    );
}
