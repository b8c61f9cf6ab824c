//! The self-test on the virtual board: a good one passes, and each thing that is wrong is found and named.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use rostrum_board::{Board, OpenOptions, Profile};
use rostrum_fleet::selftest::{
    self, Check, Circumstances, Clock, Outcome, Part, Parts, Person, Progress, Report,
};
use rostrum_hal::{
    Frame, FrameSize, PixelFormat, Timestamp,
    buttons::ButtonRole,
    camera::{CameraControl, StreamFormat},
    display::{Display, DisplayError},
    indicator::Signal,
    microphone::{ArrayFormat, MicrophoneArray, MicrophoneError},
    sim::{Fault, VirtualBoard, WatchdogState},
};

fn board() -> (Board, VirtualBoard) {
    let profile = Profile::named_or_path("virtual").unwrap();
    let board = rostrum_board::open(&profile, OpenOptions::default()).unwrap();
    let handle = board.virtual_board.clone().unwrap();
    (board, handle)
}

fn parts(board: &mut Board) -> Parts<'_> {
    Parts {
        camera: board.camera.as_deref_mut().map(|camera| camera as _),
        microphones: board.microphones.as_deref_mut().map(|microphones| microphones as _),
        speaker: board.speaker.as_deref_mut().map(|speaker| speaker as _),
        encoder: Some(Arc::clone(&board.encoder)),
        scaler: board.scaler.clone(),
        display: board.display.as_deref_mut().map(|display| display as _),
        content_display: board.content_display.as_deref_mut().map(|display| display as _),
        screen_power: board.screen_power.as_deref_mut().map(|power| power as _),
        indicators: &mut board.indicators,
        buttons: board.buttons.as_deref_mut().map(|buttons| buttons as _),
        mute_switch: board.mute_switch.as_deref_mut().map(|switch| switch as _),
        presence: board.presence.as_deref_mut().map(|presence| presence as _),
        watchdog: board.watchdog.take(),
        identity: Some(&mut *board.identity),
    }
}

fn test(parts: Parts<'_>, person: Option<Person>, tell: &mut (dyn FnMut(Progress<'_>) + Send)) -> Report {
    test_only(&Part::ALL, parts, person, tell)
}

fn test_only(
    wanted: &[Part],
    parts: Parts<'_>,
    person: Option<Person>,
    tell: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Report {
    let size = FrameSize::new(320, 180);
    let circumstances = Circumstances {
        wanted: wanted.iter().copied().collect(),
        picture: StreamFormat { pixel_format: PixelFormat::Yuv420, size, frame_rate_hz: 15.0 },
        service: None,
        clock: Clock { now: SystemTime::now(), is_synchronised: Some(true) },
        person,
        decode: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(selftest::run(parts, circumstances, tell))
}

fn of<'a>(report: &'a Report, name: &str) -> &'a Check {
    report.checks.iter().find(|check| check.name == name).unwrap()
}

fn problem(report: &Report, name: &str) -> String {
    match &of(report, name).outcome {
        Outcome::Failed { problem, .. } => problem.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

/// Names of the parts that failed when this was wrong with a board.
fn failed_with(wrong: impl FnOnce(&VirtualBoard)) -> (Vec<String>, Report) {
    let (mut board, handle) = board();
    wrong(&handle);
    let report = test(parts(&mut board), None, &mut |_| {});
    let failed = report.checks.iter().filter(|check| matches!(check.outcome, Outcome::Failed { .. }));
    (failed.map(|check| check.name.clone()).collect(), report)
}

#[test]
fn a_good_board_passes_and_is_measured() {
    let (mut board, handle) = board();
    let mut told = 0;
    let report = test(parts(&mut board), None, &mut |progress| {
        told += usize::from(matches!(progress, Progress::Over(_)))
    });
    assert!(report.passed(), "{}", report.table());
    assert_eq!(told, report.checks.len(), "each is told as it goes");
    let value = |part: &str, name: &str| {
        let figures = &of(&report, part).figures;
        figures.iter().find(|figure| figure.name == name).unwrap_or_else(|| panic!("{figures:?}")).value
    };
    // The virtual room carries sound for 10 ms.
    for number in 1..=4 {
        let delay_ms = value("sound", &format!("microphone {number} delay"));
        assert!((9.0..12.0).contains(&delay_ms), "{delay_ms}");
    }
    assert!((13.0..16.0).contains(&value("camera", "rate")), "{}", report.table());
    assert!(value("encoder", "frames") >= 85.0);
    for name in ["network", "buttons"] {
        assert!(matches!(of(&report, name).outcome, Outcome::Skipped { .. }), "{}", report.table());
    }
    let state = handle.state();
    assert_eq!(state.watchdog, WatchdogState::Off, "nobody feeds it any more");
    assert!(state.indicators.values().all(|signal| *signal == Signal::OFF), "{state:?}");
}

#[test]
fn a_camera_that_is_unplugged_frozen_or_covered_is_found() {
    let (failed, report) = failed_with(|board| board.set_fault(Fault::CameraUnplugged, true));
    assert_eq!(failed, ["camera"]);
    assert!(problem(&report, "camera").contains("is not there"), "{}", report.table());
    let (failed, report) = failed_with(|board| board.set_fault(Fault::CameraFrozen, true));
    assert_eq!(
        (failed, problem(&report, "camera").as_str()),
        (vec!["camera".into()], "its picture is frozen")
    );
    let (failed, report) = failed_with(|board| {
        let controls = board.camera_controls();
        rostrum_hal::camera::CameraControls::set(&controls, CameraControl::Privacy, 1).unwrap();
    });
    assert_eq!(
        (failed, problem(&report, "camera").as_str()),
        (vec!["camera".into()], "its picture is black")
    );
}

#[test]
fn sound_that_does_not_come_through_is_found() {
    let (failed, report) = failed_with(|board| board.set_fault(Fault::MicrophoneSilent, true));
    assert_eq!(failed, ["sound"]);
    assert!(problem(&report, "sound").contains("all microphones"), "{}", report.table());
    let (failed, report) = failed_with(|board| board.set_fault(Fault::SpeakerGone, true));
    assert_eq!(failed, ["sound"]);
    assert!(problem(&report, "sound").contains("speaker"), "{}", report.table());
    let (failed, report) = failed_with(|board| board.set_mute_switch(true));
    assert!(failed.is_empty(), "{}", report.table());
    assert!(matches!(of(&report, "sound").outcome, Outcome::Skipped { .. }), "muted is no fault");
}

/// Microphones of which one is dead.
struct OneDead(Box<dyn MicrophoneArray>);

impl MicrophoneArray for OneDead {
    fn name(&self) -> String {
        self.0.name()
    }

    fn format(&self) -> ArrayFormat {
        self.0.format()
    }

    fn read(&mut self, samples: &mut [f32]) -> Result<Timestamp, MicrophoneError> {
        let time = self.0.read(samples)?;
        samples.iter_mut().skip(2).step_by(4).for_each(|sample| *sample = 0.0);
        Ok(time)
    }
}

#[test]
fn one_dead_microphone_of_four_is_named() {
    let (mut board, _) = board();
    board.microphones = board.microphones.map(|array| Box::new(OneDead(array)) as Box<dyn MicrophoneArray>);
    let report = test(parts(&mut board), None, &mut |_| {});
    assert_eq!(problem(&report, "sound"), "microphone 3 gives nothing but zeros");
}

/// A screen that takes pictures, and finds out late that it shows none, as that of a graphics card does.
struct Dark {
    screen: Box<dyn Display>,
    checks: u32,
}

impl Display for Dark {
    fn name(&self) -> String {
        self.screen.name()
    }

    fn size(&self) -> FrameSize {
        self.screen.size()
    }

    fn show(&mut self, frame: Frame) -> Result<(), DisplayError> {
        self.screen.show(frame)
    }

    fn check(&mut self) -> Result<(), DisplayError> {
        self.checks += 1;
        let message = "its plane takes no pictures".to_owned();
        if self.checks < 5 { Ok(()) } else { Err(DisplayError::Failed { name: self.name(), message }) }
    }
}

#[test]
fn a_screen_that_takes_pictures_and_shows_none_is_found() {
    let (mut board, _handle) = board();
    board.display = board.display.map(|screen| Box::new(Dark { screen, checks: 0 }) as Box<dyn Display>);
    let report = test(parts(&mut board), None, &mut |_| {});
    let problem = problem(&report, "display");
    assert!(problem.contains("its plane takes no pictures"), "{problem}");
}

#[test]
fn an_encoder_and_a_switch_that_fail_are_found() {
    let (failed, report) = failed_with(|board| {
        board.set_fault(Fault::EncoderError, true);
        board.set_fault(Fault::MuteSwitchGone, true);
    });
    assert_eq!(failed, ["encoder", "mute switch"], "{}", report.table());
}

#[test]
fn a_person_presses_moves_and_sees() {
    let (mut board, handle) = board();
    let answers = handle.clone();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let questions = Arc::clone(&asked);
    // Sees all but the light of the mute, which is never green.
    let person: Person = Box::new(move |question| {
        questions.lock().unwrap().push(question.clone());
        let lit = answers.state().indicators.values().any(|signal| *signal != Signal::OFF);
        let sees = !(question.contains("light mute") && question.contains("green"));
        assert!(lit || question.contains("dark") || question.contains("screen"), "{question}");
        Box::pin(async move { sees })
    });
    let hand = handle.clone();
    let report = test(parts(&mut board), Some(person), &mut move |progress| {
        let Progress::Please(what) = progress else { return };
        match what {
            "Move the mute switch." => hand.set_mute_switch(true),
            "Move it back." => hand.set_mute_switch(false),
            "Press the button join." => drop(hand.push(ButtonRole::Join)),
            "Press the button mute." => drop(hand.push(ButtonRole::Mute)),
            "Press the button louder." => drop(hand.push(ButtonRole::VolumeUp)),
            "Press the button quieter." => drop(hand.push(ButtonRole::VolumeDown)),
            other => panic!("{other}"),
        }
    });
    assert_eq!(problem(&report, "light mute"), "it is not green");
    let failed = report.checks.iter().filter(|check| matches!(check.outcome, Outcome::Failed { .. })).count();
    assert_eq!(failed, 1, "{}", report.table());
    assert!(asked.lock().unwrap().iter().any(|question| question.contains("eight upright bars")));
}
