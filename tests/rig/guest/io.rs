//! The drivers of lines, lights, keys, watchdogs and names on the rig's devices, through the HAL.
//!
//! The chip `rigchip` of `gpio-sim` has lights on its lines 0 to 3, keys on 8 to 10 and a switch on 12; each test
//! has lines of its own among the others.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    future::Future,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use evdev::{AttributeSet, EventType, InputEvent, KeyCode, SwitchCode, uinput::VirtualDevice};
use rostrum_board::{Board, OpenOptions, Profile};
use rostrum_hal::{
    buttons::{ButtonEvent, ButtonRole, Buttons},
    indicator::{IndicatorError, Signal},
    watchdog::ResetReason,
};

/// Emulated processors are slow.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any contact of these tests bounces.
const QUIET: Duration = Duration::from_millis(400);

/// Opens a board that has the given sections.
fn board(sections: &str) -> Result<Board, String> {
    board_with(sections, OpenOptions::default())
}

/// As the daemon does it: what is not there comes later.
fn board_later(sections: &str) -> Board {
    board_with(sections, OpenOptions { later: true, ..OpenOptions::default() }).unwrap()
}

fn board_with(sections: &str, options: OpenOptions) -> Result<Board, String> {
    let identity = if sections.contains("[identity]") { "" } else { "[identity]\ndriver = \"virtual\"\n" };
    let text = format!(
        "name = \"rig\"\n[encoder]\ndriver = \"gstreamer\"\nelement = \"x264enc\"\n{identity}{sections}"
    );
    let profile = Profile::parse(&text, "rig.toml").map_err(|e| e.to_string())?;
    rostrum_board::open(&profile, options).map_err(|e| e.to_string())
}

fn error_of(sections: &str) -> String {
    board(sections).err().unwrap()
}

/// Runs a test that waits, as the daemon does.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 2, test).await.expect("it never ends") })
}

/// Waits for what comes soon.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it never comes")
}

/// Whether nothing comes, as it should be.
async fn nothing<T>(future: impl Future<Output = T>) -> bool {
    tokio::time::timeout(QUIET, future).await.is_err()
}

/// Waits until something is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what} never happens");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A file of a line of `rigchip`: `pull` moves an input, `value` is its level.
fn line_file(line: u32, file: &str) -> PathBuf {
    let mut entries = fs::read_dir("/sys/devices/platform/gpio-sim.0").unwrap().flatten();
    let chip = entries.find(|entry| entry.file_name().to_string_lossy().starts_with("gpiochip")).unwrap();
    chip.path().join(format!("sim_gpio{line}")).join(file)
}

fn pull(line: u32, up: bool) {
    fs::write(line_file(line, "pull"), if up { "pull-up" } else { "pull-down" }).unwrap();
}

/// Moves a line as a bad contact does, and leaves it where it is wanted.
fn bounce(line: u32, up: bool) {
    for _ in 0..3 {
        pull(line, up);
        pull(line, !up);
    }
    pull(line, up);
}

fn is_high(line: u32) -> bool {
    fs::read_to_string(line_file(line, "value")).unwrap().trim() == "1"
}

fn event(button: ButtonRole, pressed: bool) -> ButtonEvent {
    ButtonEvent { button, pressed }
}

async fn next(buttons: &mut Box<dyn Buttons>) -> ButtonEvent {
    soon(buttons.next()).await.unwrap()
}

/// A keyboard of ours.
fn plug_in(name: &str, keys: &[KeyCode], switches: &[SwitchCode]) -> VirtualDevice {
    let device = VirtualDevice::builder().unwrap().name(name);
    let device = device.with_keys(&AttributeSet::from_iter(keys.iter().copied())).unwrap();
    let device =
        device.with_switches(&AttributeSet::from_iter(switches.iter().copied())).unwrap().build().unwrap();
    until("its node", || evdev::enumerate().any(|(_, device)| device.name() == Some(name)));
    device
}

fn emit(device: &mut VirtualDevice, kind: EventType, code: u16, value: i32) {
    device.emit(&[InputEvent::new(kind.0, code, value)]).unwrap();
}

// GPIO

#[test]
fn buttons_on_lines_are_pressed_and_let_go() {
    pull(7, true);
    pull(13, false);
    let sections = "[buttons]\ndriver = \"gpio\"\nchip = \"rigchip\"\n\
                    lines.join = { line = 7, active_low = true }\nlines.mute = { line = 13 }\n";
    let mut buttons = board(sections).unwrap().buttons.unwrap();
    assert_eq!(buttons.present(), [ButtonRole::Join, ButtonRole::Mute]);
    run(async {
        assert!(nothing(buttons.next()).await, "nothing was pressed");
        pull(7, false);
        assert_eq!(next(&mut buttons).await, event(ButtonRole::Join, true));
        pull(13, true);
        assert_eq!(next(&mut buttons).await, event(ButtonRole::Mute, true));
        pull(7, true);
        assert_eq!(next(&mut buttons).await, event(ButtonRole::Join, false));
        pull(13, false);
        assert_eq!(next(&mut buttons).await, event(ButtonRole::Mute, false));
    });
}

#[test]
fn presses_of_several_buttons_wait_for_who_does_not_look() {
    pull(4, false);
    pull(11, false);
    let sections = "[buttons]\ndriver = \"gpio\"\nchip = \"rigchip\"\ndebounce_ms = 0\n\
                    lines = { volume_up = { line = 4 }, volume_down = { line = 11 } }\n";
    let mut buttons = board(sections).unwrap().buttons.unwrap();
    for line in [4, 11] {
        for up in [true, false] {
            pull(line, up);
            // The kernel reads the level some time after the edge.
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    run(async {
        for button in [ButtonRole::VolumeUp, ButtonRole::VolumeDown] {
            for pressed in [true, false] {
                assert_eq!(next(&mut buttons).await, event(button, pressed));
            }
        }
    });
}

#[test]
fn a_mute_switch_that_bounces_moves_once() {
    pull(14, true);
    let sections = "[mute_switch]\ndriver = \"gpio\"\nchip = \"rigchip\"\nline = 14\nactive_low = true\n\
                    bias = \"pull_up\"\ndebounce_ms = 100\n";
    let mut switch = board(sections).unwrap().mute_switch.unwrap();
    assert!(!switch.cut().unwrap());
    run(async {
        assert!(nothing(switch.moved()).await);
        bounce(14, false);
        assert!(soon(switch.moved()).await.unwrap());
        assert!(switch.cut().unwrap() && nothing(switch.moved()).await);
        bounce(14, true);
        assert!(!soon(switch.moved()).await.unwrap());
        assert!(nothing(switch.moved()).await);
    });
}

#[test]
fn a_switch_whose_chip_is_unplugged_is_gone_until_it_is_back() {
    // A chip of its own, of two lines.
    let chip = PathBuf::from("/sys/kernel/config/gpio-sim/usb");
    fs::create_dir_all(chip.join("bank0")).unwrap();
    fs::write(chip.join("bank0/num_lines"), "2").unwrap();
    fs::write(chip.join("bank0/label"), "usbchip").unwrap();
    let plug_in = |live| fs::write(chip.join("live"), live).unwrap();
    plug_in("1");
    let section = |place, keys| format!("[{place}]\ndriver = \"gpio\"\nchip = \"usbchip\"\n{keys}\n");
    let mut switch = board(&section("mute_switch", "line = 0")).unwrap().mute_switch.unwrap();
    let mut buttons = board(&section("buttons", "lines.join = { line = 1 }")).unwrap().buttons.unwrap();
    assert!(!switch.cut().unwrap());
    run(async {
        assert!(nothing(switch.moved()).await && nothing(buttons.next()).await);
        plug_in("0");
        assert!(soon(switch.moved()).await.is_err() && soon(buttons.next()).await.is_err());
        assert!(switch.cut().is_err() && nothing(switch.moved()).await && nothing(buttons.next()).await);
        plug_in("1");
        assert!(!soon(switch.moved()).await.unwrap());
        assert!(!switch.cut().unwrap());
        plug_in("0");
    });
}

#[test]
fn a_presence_sensor_tells_who_comes_and_goes() {
    pull(15, false);
    let sections = "[presence]\ndriver = \"gpio\"\nchip = \"rigchip\"\nline = 15\n";
    let mut presence = board(sections).unwrap().presence.unwrap();
    assert!(!presence.present().unwrap());
    run(async {
        pull(15, true);
        assert!(soon(presence.changed()).await.unwrap() && presence.present().unwrap());
        pull(15, false);
        assert!(!soon(presence.changed()).await.unwrap());
    });
}

#[test]
fn a_light_on_lines_shows_the_nearest_colour() {
    let sections = "[indicators.status]\ndriver = \"gpio\"\nchip = \"rigchip\"\n\
                    red = { line = 6, active_low = true }\nblue = { line = \"RELAY\" }\n";
    let mut light = board(sections).unwrap().indicators.pop().unwrap().1;
    let lamps = || [!is_high(6), is_high(5)];
    assert_eq!(lamps(), [false, false]);
    for (rgb, expected) in [
        ([255, 0, 0], [true, false]),
        ([100, 200, 190], [true, true]),
        ([0, 0, 0], [false, false]),
        ([0, 9, 9], [false, true]),
        ([0, 9, 0], [true, true]),
    ] {
        light.show(Signal { rgb, blink: None }).unwrap();
        assert_eq!(lamps(), expected, "{rgb:?}");
    }
}

#[test]
fn lines_and_chips_that_cannot_be_had_say_why() {
    let switch = |chip: &str, line: &str| {
        error_of(&format!("[mute_switch]\ndriver = \"gpio\"\nchip = \"{chip}\"\nline = {line}\n"))
    };
    let error = switch("no-such", "1");
    assert!(error.contains("no-such is not there; there are") && error.contains("(rigchip)"), "{error}");
    let error = switch("rigchip", "99");
    assert!(error.contains("the line 99") && error.contains("it has 16 lines"), "{error}");
    let error = switch("rigchip", "\"CALL\"");
    assert!(error.contains("its lines with names: RELAY"), "{error}");
    let error = switch("rigchip", "9");
    assert!(error.contains("its line 9 is used by"), "{error}");
}

// Input devices

#[test]
fn keys_of_a_board_are_buttons() {
    let sections = "[buttons]\ndriver = \"evdev\"\ndevice = \"rig-buttons\"\n\
                    keys = { mute = \"KEY_MICMUTE\", join = \"KEY_VENDOR\" }\n";
    let mut buttons = board(sections).unwrap().buttons.unwrap();
    run(async {
        assert!(nothing(buttons.next()).await);
        for (line, button) in [(8, ButtonRole::Mute), (9, ButtonRole::Join)] {
            pull(line, false);
            assert_eq!(next(&mut buttons).await, event(button, true));
            pull(line, true);
            assert_eq!(next(&mut buttons).await, event(button, false));
        }
        // A key that no button has.
        pull(10, false);
        pull(10, true);
        assert!(nothing(buttons.next()).await);
    });
}

#[test]
fn a_speakerphone_that_is_unplugged_is_gone_once_and_used_again_when_it_is_back() {
    let keys = [KeyCode::KEY_PHONE, KeyCode::KEY_MICMUTE, KeyCode::KEY_VOLUMEUP, KeyCode::KEY_VOLUMEDOWN];
    let name = "Rig Speakerphone";
    let mut phone = plug_in(name, &keys, &[]);
    let sections = format!(
        "[buttons]\ndriver = \"evdev\"\ndevice = \"{name}\"\nkeys = {{ join = \"KEY_PHONE\", mute = \
         \"KEY_MICMUTE\", volume_up = \"KEY_VOLUMEUP\", volume_down = \"KEY_VOLUMEDOWN\" }}\n"
    );
    let mut buttons = board(&sections).unwrap().buttons.unwrap();
    run(async {
        emit(&mut phone, EventType::KEY, KeyCode::KEY_VOLUMEUP.0, 1);
        assert_eq!(next(&mut buttons).await, event(ButtonRole::VolumeUp, true));
        drop(phone);
        let error = soon(buttons.next()).await.unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert!(nothing(buttons.next()).await, "it is told once");
        let mut phone = plug_in(name, &keys, &[]);
        // Presses before it was found again are lost.
        let start = Instant::now();
        let pressed = loop {
            assert!(start.elapsed() < PATIENCE, "it is not found again");
            emit(&mut phone, EventType::KEY, KeyCode::KEY_PHONE.0, 1);
            emit(&mut phone, EventType::KEY, KeyCode::KEY_PHONE.0, 0);
            if let Ok(pressed) = tokio::time::timeout(QUIET, buttons.next()).await {
                break pressed.unwrap();
            }
        };
        assert_eq!(pressed, event(ButtonRole::Join, true));
    });
}

#[test]
fn a_switch_of_an_input_device_cuts_and_is_gone_while_it_is_unplugged() {
    let name = "Rig Switch";
    let on = |device: &mut VirtualDevice, on| {
        emit(device, EventType::SWITCH, SwitchCode::SW_MUTE_DEVICE.0, on);
    };
    let mut device = plug_in(name, &[], &[SwitchCode::SW_MUTE_DEVICE]);
    let sections = format!("[mute_switch]\ndriver = \"evdev\"\ndevice = \"{name}\"\n");
    let mut switch = board(&sections).unwrap().mute_switch.unwrap();
    assert!(!switch.cut().unwrap());
    run(async {
        on(&mut device, 1);
        assert!(soon(switch.moved()).await.unwrap() && switch.cut().unwrap());
        on(&mut device, 0);
        assert!(!soon(switch.moved()).await.unwrap());
        drop(device);
        assert!(soon(switch.moved()).await.is_err());
        assert!(switch.cut().is_err() && nothing(switch.moved()).await);
        let mut device = plug_in(name, &[], &[SwitchCode::SW_MUTE_DEVICE]);
        on(&mut device, 1);
        // It may have been found before it was on.
        let back = soon(switch.moved()).await.unwrap();
        assert!(back || soon(switch.moved()).await.unwrap());
    });
}

#[test]
fn input_devices_that_cannot_be_used_say_why() {
    let buttons = |device: &str, key: &str| {
        error_of(&format!("[buttons]\ndriver = \"evdev\"\ndevice = \"{device}\"\nkeys.mute = \"{key}\"\n"))
    };
    let error = buttons("no-such", "KEY_MICMUTE");
    assert!(error.contains("no-such is not there; there are") && error.contains("rig-buttons"), "{error}");
    let error = buttons("rig-buttons", "KEY_PHONE");
    assert!(error.contains("it has no KEY_PHONE"), "{error}");
    let error = buttons("rig-buttons", "KEY_MIKE");
    assert!(error.contains("no key or switch named KEY_MIKE"), "{error}");
}

// Lights of the LED class

#[test]
fn three_lights_are_one_that_shows_colours_and_blinks() {
    let sections = "[indicators.status]\ndriver = \"led_class\"\n\
                    lights = { red = \"rig:red:status\", green = \"rig:green:status\", blue = \"rig:blue:status\" }\n";
    let mut light = board(sections).unwrap().indicators.pop().unwrap().1;
    let lamps = || [is_high(0), is_high(1), is_high(2)];
    light.show(Signal { rgb: [255, 0, 255], blink: None }).unwrap();
    until("magenta", || lamps() == [true, false, true]);
    light.show(Signal::GREEN.blinking(Duration::from_millis(60))).unwrap();
    for _ in 0..3 {
        until("on", || lamps() == [false, true, false]);
        until("off", || lamps() == [false; 3]);
    }
    light.show(Signal::GREEN).unwrap();
    until("steady green", || lamps() == [false, true, false]);
    std::thread::sleep(QUIET);
    assert_eq!(lamps(), [false, true, false], "it blinks no more");
    light.show(Signal::OFF).unwrap();
    until("dark", || lamps() == [false; 3]);
}

#[test]
fn a_light_of_one_colour_shows_every_signal() {
    let sections = "[indicators.mute]\ndriver = \"led_class\"\nlight = \"rig:red:recording\"\n";
    let mut light = board(sections).unwrap().indicators.pop().unwrap().1;
    light.show(Signal { rgb: [0, 3, 0], blink: None }).unwrap();
    until("lit", || is_high(3));
    light.show(Signal::OFF).unwrap();
    until("dark", || !is_high(3));
}

/// A light of ours, of 255 levels; unplugged when it is dropped.
struct Uled(fs::File);

impl Uled {
    fn plug_in(name: &str) -> Self {
        // struct uleds_user_dev: a name of 64 bytes, and the largest brightness.
        let mut device = [0; 68];
        device[..name.len()].copy_from_slice(name.as_bytes());
        device[64..].copy_from_slice(&255_i32.to_ne_bytes());
        let nonblocking = 0o4000;
        let mut options = fs::OpenOptions::new();
        let mut uleds = options.read(true).write(true).custom_flags(nonblocking).open("/dev/uleds").unwrap();
        uleds.write_all(&device).unwrap();
        Self(uleds)
    }

    fn shows(&self, wanted: i32) {
        let brightness = std::cell::Cell::new(0);
        until("its brightness", || {
            let mut bytes = [0; 4];
            if (&self.0).read_exact(&mut bytes).is_ok() {
                brightness.set(i32::from_ne_bytes(bytes));
            }
            brightness.get() == wanted
        });
    }
}

#[test]
fn a_light_with_brightness_is_gone_when_it_is_unplugged() {
    let ring = Uled::plug_in("rig::ring");
    let sections = "[indicators.mute]\ndriver = \"led_class\"\nlight = \"rig::ring\"\n";
    let mut light = board(sections).unwrap().indicators.pop().unwrap().1;
    light.show(Signal { rgb: [0, 137, 20], blink: None }).unwrap();
    ring.shows(137);
    drop(ring);
    let error = light.show(Signal::RED).unwrap_err();
    assert!(matches!(error, IndicatorError::Gone { .. }), "{error}");
}

// What comes later

#[test]
fn a_light_that_is_not_there_at_start_shines_when_it_is() {
    for keys in ["light = \"rig::late\"", "lights = { red = \"rig::late\" }"] {
        let sections = format!("[indicators.mute]\ndriver = \"led_class\"\n{keys}\n");
        assert!(error_of(&sections).contains("rig::late is not there"));
        let mut light = board_later(&sections).indicators.pop().unwrap().1;
        let error = light.show(Signal::RED).unwrap_err();
        assert!(matches!(error, IndicatorError::Gone { .. }), "{error}");
        let late = Uled::plug_in("rig::late");
        light.show(Signal { rgb: [99, 0, 0], blink: None }).unwrap();
        late.shows(99);
    }
}

#[test]
fn buttons_that_are_not_there_at_start_are_told_once_and_pressed_when_they_are() {
    let sections = "[buttons]\ndriver = \"evdev\"\ndevice = \"Rig Late Keys\"\nkeys.join = \"KEY_PHONE\"\n";
    assert!(error_of(sections).contains("Rig Late Keys is not there"));
    let mut buttons = board_later(sections).buttons.unwrap();
    assert_eq!((buttons.present(), buttons.is_there()), (vec![ButtonRole::Join], false));
    run(async {
        let error = soon(buttons.next()).await.unwrap_err().to_string();
        assert!(error.contains("Rig Late Keys is not there"), "{error}");
        assert!(nothing(buttons.next()).await, "it is told once");
        let mut keys = plug_in("Rig Late Keys", &[KeyCode::KEY_PHONE], &[]);
        let start = Instant::now();
        let pressed = loop {
            assert!(start.elapsed() < PATIENCE, "it is not found");
            emit(&mut keys, EventType::KEY, KeyCode::KEY_PHONE.0, 1);
            emit(&mut keys, EventType::KEY, KeyCode::KEY_PHONE.0, 0);
            if let Ok(pressed) = tokio::time::timeout(QUIET, buttons.next()).await {
                break pressed.unwrap();
            }
        };
        assert_eq!(pressed, event(ButtonRole::Join, true));
    });
}

#[test]
fn a_switch_that_is_not_there_at_start_cannot_be_read_until_it_is() {
    let sections = "[mute_switch]\ndriver = \"evdev\"\ndevice = \"Rig Late Switch\"\n";
    assert!(error_of(sections).contains("Rig Late Switch is not there"));
    let mut switch = board_later(sections).mute_switch.unwrap();
    assert!(switch.cut().is_err());
    run(async {
        assert!(nothing(switch.moved()).await);
        let _device = plug_in("Rig Late Switch", &[], &[SwitchCode::SW_MUTE_DEVICE]);
        // Its node is there a moment before it can be opened.
        let start = Instant::now();
        let position = loop {
            match soon(switch.moved()).await {
                Ok(position) => break position,
                Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
            }
        };
        assert!(!position && !switch.cut().unwrap());
    });
}

#[test]
fn a_device_that_is_there_and_not_what_it_should_be_is_an_error_however_late() {
    let sections = "[buttons]\ndriver = \"evdev\"\ndevice = \"rig-buttons\"\nkeys.join = \"KEY_PHONE\"\n";
    let later = OpenOptions { later: true, ..OpenOptions::default() };
    let error = board_with(sections, later).err().unwrap();
    assert!(error.contains("it has no KEY_PHONE"), "{error}");
}

#[test]
fn pins_that_are_not_there_at_start_are_told_when_they_are_used() {
    let rppal = |section: &str, keys: &str| format!("[{section}]\ndriver = \"rppal\"\n{keys}\n");
    let hint = "use the driver gpio";
    let mut switch = board_later(&rppal("mute_switch", "pin = 17")).mute_switch.unwrap();
    let error = switch.cut().unwrap_err().to_string();
    assert!(error.contains(hint), "{error}");
    for keys in ["red.pin = 17", "red.pwm = 0"] {
        let mut light = board_later(&rppal("indicators.mute", keys)).indicators.pop().unwrap().1;
        let IndicatorError::Gone { source, .. } = light.show(Signal::RED).unwrap_err() else { panic!() };
        assert!(source.to_string().contains(hint), "{source}");
    }
    let mut buttons = board_later(&rppal("buttons", "pins.join = { pin = 17 }")).buttons.unwrap();
    assert!(!buttons.is_there());
    run(async {
        assert!(nothing(switch.moved()).await);
        let error = soon(buttons.next()).await.unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
        assert!(nothing(buttons.next()).await, "it is told once");
    });
}

// Watchdogs

fn watchdog_folder(watchdog: &str) -> PathBuf {
    let folders = fs::read_dir("/sys/class/watchdog").unwrap().flatten().map(|e| e.path());
    let text = |folder: &PathBuf, file| fs::read_to_string(folder.join(file)).unwrap().trim().to_owned();
    folders.into_iter().find(|folder| text(folder, "identity") == watchdog).unwrap()
}

fn state(watchdog: &str) -> String {
    fs::read_to_string(watchdog_folder(watchdog).join("state")).unwrap().trim().to_owned()
}

#[test]
fn a_watchdog_runs_until_it_is_disarmed() {
    let name = "Software Watchdog";
    let sections = format!("[watchdog]\ndriver = \"watchdog\"\ndevice = \"{name}\"\ntimeout_s = 57\n");
    let mut watchdog = board(&sections).unwrap().watchdog.unwrap();
    assert_eq!(watchdog.timeout(), Duration::from_secs(57));
    assert_eq!(watchdog.last_reset(), ResetReason::Unknown, "a fresh machine");
    watchdog.feed().unwrap();
    assert_eq!(state(name), "active");
    let error = error_of(&sections);
    assert!(error.contains("Software Watchdog") && error.contains("another program feeds it"), "{error}");
    watchdog.disarm().unwrap();
    assert_eq!(state(name), "inactive");
    assert!(watchdog.feed().is_err(), "it was disarmed");
    let mut again = board(&sections).unwrap().watchdog.unwrap();
    again.disarm().unwrap();
}

#[test]
fn a_watchdog_that_cannot_wait_so_long_or_cannot_be_stopped_says_so() {
    let name = "i6300ESB timer";
    let sections = format!("[watchdog]\ndriver = \"watchdog\"\ndevice = \"{name}\"\ntimeout_s = 60000\n");
    let error = error_of(&sections);
    assert!(error.contains("timeout_s = 60000") && error.contains("it takes 1 to 2046"), "{error}");
    assert_eq!(state(name), "inactive", "an error leaves none that runs");
    // From here on until the guest ends, which is long before this watchdog does something about it.
    fs::write(watchdog_folder(name).join("nowayout"), "1").unwrap();
    let mut watchdog = board(&sections.replace("60000", "2000")).unwrap().watchdog.unwrap();
    let error = watchdog.disarm().unwrap_err().to_string();
    assert!(error.contains("nowayout"), "{error}");
    watchdog.feed().unwrap();
}

#[test]
fn an_absent_watchdog_gives_those_that_are_there() {
    let error = error_of("[watchdog]\ndriver = \"watchdog\"\ndevice = \"/dev/watchdog77\"\n");
    assert!(error.contains("/dev/watchdog77 is not there; there are /dev/watchdog0"), "{error}");
}

// Names

#[test]
fn a_board_has_the_name_of_the_first_place_that_has_one() {
    let file = std::env::temp_dir().join("rig-udid");
    let sections =
        |places: &str| format!("[identity]\ndriver = \"factory\"\n{places}file = \"{}\"\n", file.display());
    let _ = fs::remove_file(&file);
    let nowhere =
        sections("device_tree = \"no-such\"\neeprom.path = \"/sys/bus/i2c/devices/0-0050/eeprom\"\n");
    let identity = board(&nowhere).unwrap().identity;
    let error = identity.udid().unwrap_err().to_string();
    assert!(error.contains("/no-such is not there") && error.contains("/rig-udid is not there"), "{error}");
    fs::write(&file, "rig-1\n").unwrap();
    assert_eq!(identity.udid().unwrap().as_str(), "rig-1");
    if PathBuf::from("/proc/device-tree/model").exists() {
        // "linux,dummy-virt" is no Udid, and not passed over.
        let error = board(&sections("device_tree = \"model\"\n")).unwrap().identity.udid().unwrap_err();
        assert!(error.to_string().contains("/model cannot be used"), "{error}");
    }
}

#[test]
fn a_machine_that_is_no_raspberry_pi_says_so() {
    let error = error_of("[mute_switch]\ndriver = \"rppal\"\npin = 17\n");
    assert!(error.contains("use the driver gpio"), "{error}");
}
