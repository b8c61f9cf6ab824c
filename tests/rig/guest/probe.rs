//! `probe` finds the rig's devices, and the profile that it writes opens them.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use rostrum_board::{
    OpenOptions, Profile,
    probe::{self, Machine, sounds::Goes},
};
use rostrum_hal::{
    FrameSize, PixelFormat,
    buttons::ButtonRole,
    camera::{CameraControl, CameraError, StreamFormat},
    indicator::{IndicatorRole, Signal},
    microphone::MicrophoneError,
};
use rostrum_rig::{PATIENCE, until};

/// What it finds once the USB camera, which comes last, is there.
fn machine() -> Machine {
    until("USB camera", || {
        let machine = probe::look();
        let is_known = |camera: &probe::cameras::Camera| camera.serial.as_deref() == Some("RIG0001");
        machine.cameras.iter().any(is_known).then_some(machine)
    })
    .unwrap()
}

#[test]
fn every_device_of_the_rig_is_found() {
    let machine = machine();
    let table = machine.table();
    println!("{table}");
    let usb = machine.cameras.iter().find(|camera| camera.serial.as_deref() == Some("RIG0001")).unwrap();
    assert_eq!((usb.title.as_str(), usb.driver.as_str()), ("Rig PTZ Camera", "uvcvideo"));
    assert!(usb.bus.starts_with("usb-"), "{usb:?}");
    assert!(usb.controls.iter().any(|state| state.control == CameraControl::Pan), "{usb:?}");
    let mjpeg = |offer: &probe::cameras::Offer| offer.pixel_format == PixelFormat::Mjpeg;
    assert!(usb.offers.iter().any(mjpeg), "{usb:?}");
    assert!(machine.cameras.iter().any(|camera| camera.driver == "vivid"), "{table}");
    let is_other =
        |camera: &&probe::cameras::Camera| !["uvcvideo", "vivid"].contains(&camera.driver.as_str());
    assert_eq!(
        machine.cameras.iter().find(is_other).map(|camera| &camera.title),
        None,
        "no encoder is a camera"
    );

    assert_eq!(machine.encoders.len(), 1, "{table}");
    assert!(machine.encoders[0].takes.contains(&PixelFormat::Nv12), "{table}");
    let scalers = machine.converters.iter().filter(|converter| converter.scales);
    assert!(scalers.clone().any(|scaler| scaler.title.contains("scaler")), "{table}");
    assert!(table.contains("[scaler] driver = \"v4l2\""), "{table}");
    let adapters: Vec<_> =
        machine.cec_adapters.iter().map(|adapter| adapter.node.to_str().unwrap()).collect();
    assert_eq!(adapters, ["/dev/cec0", "/dev/cec1", "/dev/cec2", "/dev/cec3", "/dev/cec4"], "{table}");
    assert!(machine.cec_adapters.iter().all(|adapter| adapter.driver == "vivid"), "{table}");
    assert!(table.contains("[screen_power] driver = \"cec\", device = \"/dev/cec1\""), "{table}");
    assert!(machine.encoder_elements.iter().any(|e| e.element == "x264enc" && e.is_installed), "{table}");

    let loopback = |goes| {
        let is_it = move |sound: &&probe::sounds::Sound| sound.driver == "Loopback" && sound.goes == goes;
        machine.sounds.iter().find(is_it).unwrap()
    };
    for goes in [Goes::In, Goes::Out] {
        let sound = loopback(goes);
        assert!(sound.device.starts_with("hw:CARD=Loopback"), "{sound:?}");
        assert!(sound.rates_hz.contains(&48_000) && sound.channels.1 >= 8, "{sound:?}");
    }
    let dummy = machine.sounds.iter().find(|sound| sound.driver == "Dummy").unwrap();
    assert!(dummy.volumes.iter().any(|name| name == "Master"), "{dummy:?}");

    let chip = machine.gpio_chips.iter().find(|chip| chip.label == "rigchip").unwrap();
    assert_eq!(chip.count, 16);
    assert!(chip.lines.iter().any(|line| (line.number, line.name.as_str()) == (5, "RELAY")), "{chip:?}");
    assert!(chip.lines.iter().any(|line| line.used_by.is_some()), "its lights use some: {chip:?}");

    let light = machine.lights.iter().find(|light| light.name == "rig:multicolor:front").unwrap();
    assert!(light.colours.iter().any(|colour| colour == "red"), "{light:?}");
    let keys = machine.inputs.iter().find(|input| input.name == "rig-buttons").unwrap();
    assert!(!keys.keys.is_empty(), "{keys:?}");
    let identities: Vec<_> = machine.watchdogs.iter().filter_map(|w| w.identity.as_deref()).collect();
    assert!(identities.contains(&"Software Watchdog"), "{identities:?}");
    assert!(identities.contains(&"i6300ESB timer"), "{identities:?}");
    assert!(machine.networks.iter().all(|network| network.name != "lo"));
}

#[test]
fn the_written_profile_opens_and_its_devices_work() {
    let text = machine().profile();
    println!("{text}");
    assert!(text.contains("serial = \"RIG0001\"") && !text.contains("/dev/video"), "{text}");
    let profile = Profile::parse(&text, "probe.toml").unwrap();
    let mut board = rostrum_board::open(&profile, OpenOptions::default()).unwrap();
    // It runs from the moment when it was opened.
    board.watchdog.take().unwrap().disarm().unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut camera = board.camera.take().unwrap();
    let frame = runtime.block_on(async {
        let size = FrameSize::new(320, 180);
        let wanted = StreamFormat { pixel_format: PixelFormat::Yuv420, size, frame_rate_hz: 10.0 };
        let format = camera.start(wanted).await.unwrap();
        let first = async {
            loop {
                match camera.next_frame().await {
                    Ok(frame) => return (format, frame),
                    Err(CameraError::Stalled { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, first).await.expect("it gives no frame")
    });
    assert_eq!((frame.1.size, frame.1.format), (frame.0.size, frame.0.pixel_format));
    assert!(!board.encoder.name().is_empty() && board.encoder.takes_shared(PixelFormat::Yuyv));

    let mut microphones = board.microphones.take().unwrap();
    let format = microphones.format();
    let mut samples = vec![0.0; format.period_frames * format.channels()];
    // They have run since the board was opened.
    until("sound", || match microphones.read(&mut samples) {
        Err(MicrophoneError::Overrun { .. }) => None,
        read => Some(read.unwrap()),
    })
    .unwrap();
    let mut speaker = board.speaker.take().unwrap();
    let format = speaker.format();
    speaker.write(&vec![0.0; format.period_frames * format.channels]).unwrap();

    let (role, light) = board.indicators.first_mut().unwrap();
    assert_eq!(*role, IndicatorRole::Status);
    light.show(Signal::GREEN).unwrap();
    light.show(Signal::OFF).unwrap();
    assert!(board.buttons.as_ref().unwrap().present().contains(&ButtonRole::Mute));
}
