//! The emulated USB camera and the kernel's own test picture through the driver `v4l2`
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat, Timestamp,
    camera::{Camera, CameraControl, CameraControls, CameraError, ControlState, StreamFormat},
    sim::bar,
};
use rostrum_rig::{PATIENCE, UsbCamera, open_board};
use tokio::{runtime::Runtime, time::Instant};

const SMALL: FrameSize = FrameSize::new(320, 180);

fn usb() -> UsbCamera {
    UsbCamera::at_port(0)
}

fn camera(keys: &str) -> Box<dyn Camera> {
    open_board(&format!("[camera]\ndriver = \"v4l2\"\n{keys}")).unwrap().camera.unwrap()
}

fn usb_camera() -> Box<dyn Camera> {
    camera("serial = \"RIG0001\"")
}

fn wanted(size: FrameSize, frame_rate_hz: f64) -> StreamFormat {
    StreamFormat { pixel_format: PixelFormat::Yuv420, size, frame_rate_hz }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn frame(camera: &mut dyn Camera) -> Frame {
    let start = Instant::now();
    loop {
        match camera.next_frame().await {
            Ok(frame) => return frame,
            Err(CameraError::Stalled { .. }) if start.elapsed() < PATIENCE => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Starts when it is there; a USB device takes a moment to be known.
async fn started(camera: &mut dyn Camera, format: StreamFormat) -> StreamFormat {
    let start = Instant::now();
    loop {
        match camera.start(format).await {
            Ok(format) => return format,
            Err(error) if start.elapsed() > PATIENCE => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The brightness of a packed YUYV picture as planes, which the bar is read from.
fn planar(frame: &Frame) -> Vec<u8> {
    assert_eq!(frame.format, PixelFormat::Yuyv);
    let mut luma: Vec<u8> = frame.bytes().unwrap().iter().step_by(2).copied().collect();
    let pixels = (frame.size.width * frame.size.height) as usize;
    luma.resize(pixels * 3 / 2, 128);
    luma
}

fn state(controls: &dyn CameraControls, control: CameraControl) -> ControlState {
    controls.list().unwrap().into_iter().find(|state| state.control == control).unwrap()
}

#[test]
fn formats_sizes_and_rates_are_what_the_camera_offers() {
    let mut camera = usb_camera();
    let formats = camera.formats().unwrap();
    for format in [PixelFormat::Yuyv, PixelFormat::Mjpeg] {
        let offer = formats.iter().find(|o| o.pixel_format == format && o.size == SMALL).unwrap();
        let rates: Vec<i64> = offer.frame_rates_hz.iter().map(|rate| rate.round() as i64).collect();
        assert_eq!(rates, [30, 15, 10]);
    }
    assert_eq!(formats[0].size, FrameSize::new(1280, 720), "largest first");
    assert_eq!(camera.name(), "Rig PTZ Camera");
}

#[test]
fn frames_carry_the_picture_its_time_and_its_number() {
    runtime().block_on(async {
        let mut camera = usb_camera();
        let format = started(&mut *camera, wanted(SMALL, 10.0)).await;
        assert_eq!((format.pixel_format, format.size), (PixelFormat::Yuyv, SMALL));
        assert!((format.frame_rate_hz - 10.0).abs() < 0.1, "{format:?}");
        let mut last: Option<(Frame, bar::Bar)> = None;
        for _ in 0..10 {
            let frame = frame(&mut *camera).await;
            assert!(matches!(frame.data, FrameData::DmaBuf(_)), "a frame that was copied");
            let bar = bar::read(&planar(&frame), SMALL).expect("no bar in the picture");
            assert_eq!(bar.camera_id, 9);
            // Burnt in when the picture was made, stamped when it had arrived.
            let way = frame.capture_time.saturating_since(bar.capture_time);
            assert!(frame.capture_time <= Timestamp::now() && way < Duration::from_secs(2), "{way:?}");
            if let Some((before, bar_before)) = last {
                assert!(frame.sequence > before.sequence && frame.capture_time > before.capture_time);
                assert!(bar.frame_number != bar_before.frame_number);
            }
            last = Some((frame, bar));
        }
    });
}

#[test]
fn a_picture_that_is_only_fast_as_mjpeg_is_a_whole_jpeg() {
    runtime().block_on(async {
        let mut camera = usb_camera();
        let large =
            camera.formats().unwrap().into_iter().find(|offer| {
                offer.pixel_format == PixelFormat::Mjpeg && offer.size == FrameSize::new(640, 360)
            });
        assert!(large.is_some());
        let asked =
            StreamFormat { pixel_format: PixelFormat::Mjpeg, ..wanted(FrameSize::new(640, 360), 10.0) };
        started(&mut *camera, asked).await;
        let frame = frame(&mut *camera).await;
        assert_eq!(frame.format, PixelFormat::Mjpeg);
        let bytes = frame.bytes().unwrap();
        assert!(bytes.starts_with(&[0xff, 0xd8]) && bytes.ends_with(&[0xff, 0xd9]), "{} bytes", bytes.len());
    });
}

#[test]
fn held_frames_never_starve_the_camera() {
    runtime().block_on(async {
        let mut camera = usb_camera();
        started(&mut *camera, wanted(FrameSize::new(160, 90), 30.0)).await;
        let mut held = Vec::new();
        for _ in 0..12 {
            held.push(frame(&mut *camera).await);
        }
        let copied = held.iter().filter(|frame| matches!(frame.data, FrameData::Bytes(_))).count();
        assert!(copied >= 6, "{copied} of 12 frames were copied");
        // What is held does not change under its holder, and outlives the stream.
        let first = held[0].bytes().unwrap().to_vec();
        drop(camera);
        assert_eq!(held[0].bytes().unwrap(), first);
    });
}

#[test]
fn pan_tilt_and_zoom_reach_the_camera_and_are_seen_in_its_picture() {
    runtime().block_on(async {
        let mut camera = usb_camera();
        started(&mut *camera, wanted(SMALL, 10.0)).await;
        let controls = camera.controls();
        let before = frame(&mut *camera).await.bytes().unwrap().to_vec();
        assert_eq!(controls.set(CameraControl::Pan, 36_000).unwrap(), 36_000);
        assert_eq!(controls.set(CameraControl::Tilt, -7_200).unwrap(), -7_200);
        assert_eq!(controls.set(CameraControl::Zoom, 250).unwrap(), 250);
        let usb = usb();
        let values = ["pan_abs", "tilt_abs", "zoom_abs"].map(|name| usb.value(name).unwrap());
        assert_eq!(values, [36_000, -7_200, 250]);
        assert_eq!(controls.set(CameraControl::Pan, 5_000).unwrap(), 3_600, "between steps");
        assert_eq!(controls.set(CameraControl::Zoom, 99_999).unwrap(), 1_000, "out of range");
        let start = Instant::now();
        // The last row is below the bar.
        let row = SMALL.width as usize * 2;
        loop {
            let now = frame(&mut *camera).await;
            let bytes = now.bytes().unwrap();
            if bytes[bytes.len() - row..] != before[before.len() - row..] {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "the picture did not move");
        }
        for (control, value) in
            [(CameraControl::Pan, 0), (CameraControl::Tilt, 0), (CameraControl::Zoom, 100)]
        {
            controls.set(control, value).unwrap();
        }
    });
}

#[test]
fn a_speed_turns_the_camera_until_it_is_zero() {
    let camera = usb_camera();
    let (controls, usb) = (camera.controls(), usb());
    let range = state(&*controls, CameraControl::PanSpeed);
    assert_eq!((range.minimum, range.maximum), (-100, 100));
    for (percent, direction) in [(50, 1), (-50, -1)] {
        let before = usb.value("pan_abs").unwrap();
        controls.set(CameraControl::PanSpeed, percent).unwrap();
        let turned = || (usb.value("pan_abs").unwrap() - before).signum() == direction;
        rostrum_rig::until("movement", || turned().then_some(())).unwrap();
    }
    controls.set(CameraControl::PanSpeed, 0).unwrap();
    let stopped = usb.value("pan_abs").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(usb.value("pan_abs").unwrap(), stopped);
    controls.set(CameraControl::Pan, 0).unwrap();
}

#[test]
fn a_focus_or_exposure_set_by_hand_ends_its_automatic() {
    let camera = usb_camera();
    let (controls, usb) = (camera.controls(), usb());
    controls.set(CameraControl::FocusAuto, 1).unwrap();
    assert_eq!(controls.set(CameraControl::Focus, 100).unwrap(), 100);
    assert_eq!((usb.value("focus_auto").unwrap(), usb.value("focus_abs").unwrap()), (0, 100));
    controls.set(CameraControl::ExposureAuto, 1).unwrap();
    assert_eq!(state(&*controls, CameraControl::ExposureAuto).value, 1);
    assert_eq!(controls.set(CameraControl::Exposure, 500).unwrap(), 500);
    assert_eq!((usb.value("ae_mode").unwrap(), usb.value("exposure_abs").unwrap()), (1, 500));
    assert_eq!(state(&*controls, CameraControl::ExposureAuto).value, 0);
    controls.set(CameraControl::FocusAuto, 1).unwrap();
    controls.set(CameraControl::ExposureAuto, 1).unwrap();
}

#[test]
fn what_changes_on_the_camera_is_seen() {
    let camera = usb_camera();
    let (controls, usb) = (camera.controls(), usb());
    for (control, name, value) in [
        (CameraControl::Zoom, "zoom_abs", 777),
        (CameraControl::Pan, "pan_abs", 7_200),
        (CameraControl::Privacy, "privacy", 1),
    ] {
        assert_ne!(state(&*controls, control).value, value);
        usb.ask(&format!("set {name} {value}")).unwrap();
        rostrum_rig::until("change", || (state(&*controls, control).value == value).then_some(())).unwrap();
    }
    for (name, value) in [("zoom_abs", 100), ("pan_abs", 0), ("privacy", 0)] {
        usb.ask(&format!("set {name} {value}")).unwrap();
    }
}

/// Waits until a change after `seen` is told, and gives the count.
async fn told(controls: &dyn CameraControls, seen: u64) -> u64 {
    tokio::time::timeout(PATIENCE, controls.changed(seen)).await.expect("no change was told")
}

/// Counts that went on until now are not of what comes.
async fn quiet(controls: &dyn CameraControls) -> u64 {
    let mut seen = controls.changes();
    while let Ok(now) = tokio::time::timeout(Duration::from_millis(500), controls.changed(seen)).await {
        seen = now;
    }
    seen
}

#[test]
fn what_changes_on_the_camera_is_told() {
    runtime().block_on(async {
        let mut camera = usb_camera();
        let (controls, usb) = (camera.controls(), usb());
        for is_streaming in [false, true] {
            if is_streaming {
                started(&mut *camera, wanted(SMALL, 10.0)).await;
            }
            for (control, name, value) in
                [(CameraControl::Privacy, "privacy", 1), (CameraControl::Zoom, "zoom_abs", 777)]
            {
                let seen = quiet(&*controls).await;
                usb.ask(&format!("set {name} {value}")).unwrap();
                told(&*controls, seen).await;
                assert_eq!(state(&*controls, control).value, value);
            }
            for (name, value) in [("privacy", 0), ("zoom_abs", 100)] {
                usb.ask(&format!("set {name} {value}")).unwrap();
            }
        }
    });
}

#[test]
fn what_another_program_sets_is_told() {
    runtime().block_on(async {
        for (keys, control, value) in [
            ("serial = \"RIG0001\"", CameraControl::Brightness, 30),
            ("title = \"vivid\"", CameraControl::Brightness, 31),
        ] {
            let (camera, other) = (camera(keys), camera(keys));
            let (controls, others) = (camera.controls(), other.controls());
            let before = state(&*controls, control).value;
            let seen = quiet(&*controls).await;
            assert_eq!(others.set(control, value).unwrap(), value);
            let seen = told(&*controls, seen).await;
            assert_eq!(state(&*controls, control).value, value);
            // Another handle of ours is told too.
            camera.controls().set(control, before).unwrap();
            told(&*controls, seen).await;
        }
    });
}

#[test]
fn that_the_camera_is_gone_and_back_is_told() {
    runtime().block_on(async {
        let mut camera = usb_camera();
        let controls = camera.controls();
        let seen = quiet(&*controls).await;
        usb().ask("unplug").unwrap();
        told(&*controls, seen).await;
        assert!(matches!(controls.list(), Err(CameraError::Gone { .. })));
        let seen = quiet(&*controls).await;
        usb().ask("plug").unwrap();
        started(&mut *camera, wanted(SMALL, 10.0)).await;
        told(&*controls, seen).await;
        // What is told of the new device is heard.
        let seen = quiet(&*controls).await;
        usb().ask("set zoom_abs 140").unwrap();
        told(&*controls, seen).await;
        usb().ask("set zoom_abs 100").unwrap();
    });
}

const UNIT: &str = "{4d4f4f52-5452-5553-4d00-000000000001}";

fn extension(name: &str, unit: &str, keys: &str) -> String {
    format!("[[camera.extension_controls]]\nname = \"{name}\"\nunit = \"{unit}\"\n{keys}\n")
}

#[test]
fn a_vendors_controls_are_those_of_its_extension_unit() {
    let led: CameraControl = "vendor_led_brightness".parse().unwrap();
    let (third, whole) = ("vendor_third".parse().unwrap(), "vendor_whole".parse().unwrap());
    let keys = [
        "serial = \"RIG0001\"\n".to_owned(),
        extension("led_brightness", UNIT, "selector = 1"),
        extension("third", UNIT, "selector = 2\noffset = 2\nsize = 1"),
        extension("whole", UNIT, "selector = 2\nsigned = true"),
    ];
    let mut camera = camera(&keys.concat());
    let controls = camera.controls();
    let found = state(&*controls, led);
    let expected = ControlState {
        control: led,
        minimum: 0,
        maximum: 255,
        step: 1,
        default: 128,
        value: usb().value("led_brightness").unwrap(),
        read_only: false,
    };
    assert_eq!(found, expected);
    assert_eq!(controls.set(led, 1_000).unwrap(), 255, "out of range");
    assert_eq!(usb().value("led_brightness").unwrap(), 255);
    usb().ask("set led_brightness 77").unwrap();
    assert_eq!(controls.get(led).unwrap().unwrap().value, 77);
    // A number of one byte among others, which stay as they are.
    assert_eq!(controls.set(whole, -2).unwrap(), -2);
    assert_eq!(controls.set(third, 0x12).unwrap(), 0x12);
    assert_eq!(usb().value("opaque").unwrap(), -2 & !0xff_0000 | 0x12_0000);
    assert_eq!(state(&*controls, third).value, 0x12);
    let none = controls.set("vendor_none".parse().unwrap(), 1).unwrap_err();
    assert!(
        none.to_string().contains("no control vendor_none") && none.to_string().contains("vendor_whole"),
        "{none}"
    );
    // They are there after it was unplugged.
    runtime().block_on(async {
        usb().ask("unplug").unwrap();
        usb().ask("plug").unwrap();
        started(&mut *camera, wanted(SMALL, 10.0)).await;
    });
    assert_eq!(controls.set(led, 128).unwrap(), 128);
}

#[test]
fn a_vendors_control_that_is_not_there_is_told_with_those_that_are() {
    for (unit, selector, said) in [
        (UNIT, 3, "has no selector 3; it has 1, 2"),
        ("{a29e7641-de04-47e3-8b2b-f4341aff003b}", 1, "there is {4d4f4f52-5452-5553-4d00-000000000001} with"),
    ] {
        let keys = extension("led", unit, &format!("selector = {selector}"));
        let section = format!("[camera]\ndriver = \"v4l2\"\nserial = \"RIG0001\"\n{keys}");
        let error = open_board(&section).err().unwrap().to_string();
        assert!(error.contains(said) && error.contains("Rig PTZ Camera"), "{error}");
    }
}

#[test]
fn the_picture_settings_are_there_with_ranges() {
    let controls = usb_camera().controls();
    let white = state(&*controls, CameraControl::WhiteBalance);
    assert_eq!((white.minimum, white.maximum, white.default), (2_800, 6_500, 4_600));
    assert_eq!(state(&*controls, CameraControl::PowerLine).maximum, 2);
    let (control, present) = (CameraControl::Brightness, controls.list().unwrap().len());
    assert_eq!(controls.set(control, 20).unwrap(), 20);
    assert_eq!(usb().value("brightness").unwrap(), 20);
    controls.set(control, 0).unwrap();
    assert!(present >= 15, "{present} controls");
}

#[test]
fn a_rate_is_kept_in_low_light() {
    runtime().block_on(async {
        usb().ask("set ae_priority 1").unwrap();
        let mut camera = usb_camera();
        started(&mut *camera, wanted(SMALL, 10.0)).await;
        assert_eq!(usb().value("ae_priority").unwrap(), 0);
    });
}

#[test]
fn a_camera_that_hangs_stalls_and_goes_on() {
    runtime().block_on(async {
        let mut camera = usb_camera();
        started(&mut *camera, wanted(SMALL, 10.0)).await;
        frame(&mut *camera).await;
        usb().ask("freeze on").unwrap();
        let start = Instant::now();
        let error = loop {
            match camera.next_frame().await {
                Ok(_) => assert!(start.elapsed() < PATIENCE, "it never hung"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, CameraError::Stalled { .. }), "{error}");
        usb().ask("freeze off").unwrap();
        frame(&mut *camera).await;
    });
}

#[test]
fn a_camera_that_loses_every_third_frame_goes_on() {
    runtime().block_on(async {
        let mut camera = usb_camera();
        started(&mut *camera, wanted(FrameSize::new(160, 90), 15.0)).await;
        usb().ask("drop-every 3").unwrap();
        let mut numbers = Vec::new();
        for _ in 0..12 {
            let frame = frame(&mut *camera).await;
            numbers.push(frame.sequence);
        }
        usb().ask("drop-every 0").unwrap();
        assert!(numbers.is_sorted(), "{numbers:?}");
    });
}

#[test]
fn a_camera_in_use_says_so() {
    runtime().block_on(async {
        let (mut first, mut second) = (usb_camera(), usb_camera());
        started(&mut *first, wanted(SMALL, 10.0)).await;
        let error = second.start(wanted(SMALL, 10.0)).await.unwrap_err();
        assert!(matches!(error, CameraError::Busy { .. }), "{error}");
        assert!(error.to_string().contains("another program"), "{error}");
        drop(first);
        started(&mut *second, wanted(SMALL, 10.0)).await;
        frame(&mut *second).await;
    });
}

#[test]
fn an_unplugged_camera_is_gone_and_heals_by_its_serial_number() {
    runtime().block_on(async {
        let mut camera = usb_camera();
        let controls = camera.controls();
        started(&mut *camera, wanted(SMALL, 10.0)).await;
        frame(&mut *camera).await;
        usb().ask("unplug").unwrap();
        let start = Instant::now();
        let error = loop {
            match camera.next_frame().await {
                Ok(_) | Err(CameraError::Stalled { .. }) => {
                    assert!(start.elapsed() < PATIENCE, "it never went")
                }
                Err(error) => break error,
            }
        };
        assert!(matches!(error, CameraError::Gone { .. }), "{error}");
        let error = controls.list().unwrap_err();
        assert!(matches!(error, CameraError::Gone { .. }), "{error}");
        let error = camera.start(wanted(SMALL, 10.0)).await.unwrap_err();
        assert!(matches!(error, CameraError::Gone { .. }), "{error}");
        usb().ask("plug").unwrap();
        started(&mut *camera, wanted(SMALL, 10.0)).await;
        frame(&mut *camera).await;
        // The old handle works on the new device.
        assert_eq!(controls.set(CameraControl::Zoom, 120).unwrap(), 120);
        assert_eq!(usb().value("zoom_abs").unwrap(), 120);
        controls.set(CameraControl::Zoom, 100).unwrap();
    });
}

#[test]
fn the_kernels_test_camera_streams_planar_pictures() {
    runtime().block_on(async {
        let mut camera = camera("title = \"vivid\"");
        let size = FrameSize::new(640, 360);
        let format = started(&mut *camera, wanted(size, 10.0)).await;
        assert_eq!((format.pixel_format, format.size), (PixelFormat::Yuv420, size));
        let first = frame(&mut *camera).await;
        assert_eq!(first.bytes().unwrap().len(), 640 * 360 * 3 / 2);
        let moved = frame(&mut *camera).await;
        assert!(first.bytes() != moved.bytes(), "the picture stands still");
    });
}

#[test]
fn an_absent_camera_is_told_with_those_that_are_there() {
    let error = open_board("[camera]\ndriver = \"v4l2\"\nserial = \"NONE\"").err().unwrap().to_string();
    assert!(error.contains("NONE") && error.contains("serial number RIG0001"), "{error}");
}
