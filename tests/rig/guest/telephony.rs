//! Driver `hid_telephony` on a speakerphone of `uhid`, through the HAL.
#![allow(clippy::unwrap_used)]

use std::{
    fs::{File, OpenOptions},
    future::Future,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
};

use rostrum_board::Board;
use rostrum_hal::{
    buttons::{ButtonEvent, ButtonRole},
    indicator::{Indicator, IndicatorError, IndicatorRole, Signal},
};
use rostrum_rig::{PATIENCE, open_board, until};

/// From the HID Usage Tables: volume in report 1; hook (stays), mute (relative) and three lights in report 2.
const SPEAKERPHONE: &[u8] = &[
    0x05, 0x0C, 0x09, 0x01, 0xA1, 0x01, // Consumer Control
    0x85, 0x01, 0x15, 0x00, 0x25, 0x01, 0x09, 0xE9, 0x09, 0xEA, 0x75, 0x01, 0x95, 0x02, 0x81, 0x02, //
    0x95, 0x06, 0x81, 0x01, 0xC0, //
    0x05, 0x0B, 0x09, 0x05, 0xA1, 0x01, 0x85, 0x02, // Telephony, Headset
    0x09, 0x20, 0x95, 0x01, 0x81, 0x22, // Hook Switch
    0x09, 0x2F, 0x81, 0x06, // Phone Mute
    0x95, 0x06, 0x81, 0x01, //
    0x05, 0x08, 0x09, 0x17, 0x09, 0x09, 0x09, 0x18, 0x95, 0x03, 0x91, 0x22, // Off-Hook, Mute, Ring
    0x95, 0x05, 0x91, 0x01, 0xC0,
];
const NAME: &str = "Rig Speakerphone";
const OFF_HOOK: u8 = 1;
const MUTE: u8 = 2;

/// `struct uhid_event` of linux/uhid.h: a type, and the largest of its payloads.
const EVENT: usize = 4 + 4 + 128 + 64 + 64 + 2 + 2 + 4 * 4 + 4096;
const CREATE2: u32 = 11;
const INPUT2: u32 = 12;
const OUTPUT: u32 = 6;

/// A speakerphone of ours; unplugged when it is dropped.
struct Speakerphone(File);

impl Speakerphone {
    fn plug_in(serial: &str) -> Self {
        let nonblocking = 0o4000;
        let mut options = OpenOptions::new();
        let uhid = options.read(true).write(true).custom_flags(nonblocking).open("/dev/uhid").unwrap();
        // struct uhid_create2_req: name, phys, uniq, rd_size, bus, vendor, product, version, country, rd_data.
        let mut request = [0; 128 + 64 + 64 + 2 + 2 + 4 * 4];
        request[..NAME.len()].copy_from_slice(NAME.as_bytes());
        request[192..192 + serial.len()].copy_from_slice(serial.as_bytes());
        request[256..258].copy_from_slice(&u16::try_from(SPEAKERPHONE.len()).unwrap().to_ne_bytes());
        request[258..260].copy_from_slice(&3_u16.to_ne_bytes()); // BUS_USB
        request[260..264].copy_from_slice(&0x1209_u32.to_ne_bytes());
        request[264..268].copy_from_slice(&0xC0DE_u32.to_ne_bytes());
        let mut event = CREATE2.to_ne_bytes().to_vec();
        event.extend(request);
        event.extend(SPEAKERPHONE);
        let phone = Self(uhid);
        (&phone.0).write_all(&event).unwrap();
        until("its node", || node_of(serial)).unwrap();
        phone
    }

    /// Says a report: its number and its bits.
    fn report(&self, number: u8, bits: u8) {
        let mut event = INPUT2.to_ne_bytes().to_vec();
        event.extend(2_u16.to_ne_bytes());
        event.extend([number, bits]);
        (&self.0).write_all(&event).unwrap();
    }

    /// The lights that the host asks for next.
    fn lights(&self) -> u8 {
        until("a report of lights", || {
            let mut event = [0; EVENT];
            // One event a read; shorter ones are filled up with zeros.
            let length = (&self.0).read(&mut event).ok()?;
            assert!(length <= EVENT);
            let kind = u32::from_ne_bytes(event[..4].try_into().ok()?);
            // struct uhid_output_req: 4096 bytes of data, their number, the kind of report.
            let size = u16::from_ne_bytes(event[4100..4102].try_into().ok()?);
            (kind == OUTPUT && size == 2 && event[4] == 2).then_some(event[5])
        })
        .unwrap()
    }
}

fn node_of(serial: &str) -> Option<String> {
    let entries = std::fs::read_dir("/sys/class/hidraw").ok()?.flatten();
    let is_ours = |entry: &std::fs::DirEntry| {
        let said = std::fs::read_to_string(entry.path().join("device/uevent")).unwrap_or_default();
        said.lines().any(|line| line == format!("HID_UNIQ={serial}"))
    };
    let node = entries.into_iter().find(is_ours)?.file_name().into_string().ok()?;
    std::path::Path::new("/dev").join(&node).exists().then_some(node)
}

fn board(device: &str) -> Board {
    board_of([device; 3])
}

/// With the name of the device in the section of its buttons, of its off-hook light and of its mute light.
fn board_of([buttons, meeting, mute]: [&str; 3]) -> Board {
    let light = |role, device, lamp| {
        format!("{role} = {{ driver = \"hid_telephony\", device = \"{device}\", light = \"{lamp}\" }}\n")
    };
    open_board(&format!(
        "[buttons]\ndriver = \"hid_telephony\"\ndevice = \"{buttons}\"\n[indicators]\n{}{}",
        light("meeting", meeting, "off_hook"),
        light("mute", mute, "mute"),
    ))
    .unwrap()
}

fn light(board: &mut Board, role: IndicatorRole) -> Box<dyn Indicator> {
    let at = board.indicators.iter().position(|(present, _)| *present == role).unwrap();
    board.indicators.remove(at).1
}

/// Runs a test that waits, as the daemon does.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("it never ends") })
}

fn event(button: ButtonRole, pressed: bool) -> ButtonEvent {
    ButtonEvent { button, pressed }
}

#[test]
fn a_speakerphone_is_pressed_and_lit() {
    let phone = Speakerphone::plug_in("RIG-1");
    for device in ["RIG-1", "1209:c0de", NAME] {
        let mut board = board(device);
        let (mut meeting, mut mute) =
            (light(&mut board, IndicatorRole::Meeting), light(&mut board, IndicatorRole::Mute));
        let mut buttons = board.buttons.unwrap();
        use ButtonRole::{Join, Mute, VolumeDown, VolumeUp};
        assert_eq!(buttons.present(), [Join, Mute, VolumeUp, VolumeDown]);
        meeting.show(Signal::OFF).unwrap();
        mute.show(Signal::OFF).unwrap();
        assert_eq!([phone.lights(), phone.lights()], [0, 0]);
        run(async {
            // The hook goes up, the room joins, and its light follows.
            phone.report(2, 0b01);
            assert_eq!(buttons.next().await.unwrap(), event(Join, true));
            assert_eq!(buttons.next().await.unwrap(), event(Join, false));
            meeting.show(Signal::RED).unwrap();
            assert_eq!(phone.lights(), OFF_HOOK);
            phone.report(2, 0b11);
            assert_eq!(buttons.next().await.unwrap(), event(Mute, true));
            phone.report(2, 0b01);
            assert_eq!(buttons.next().await.unwrap(), event(Mute, false));
            mute.show(Signal::RED).unwrap();
            assert_eq!(phone.lights(), OFF_HOOK | MUTE);
            // The page leaves; the phone hangs up by itself, which is nobody's press. The next press is.
            meeting.show(Signal::OFF).unwrap();
            assert_eq!(phone.lights(), MUTE);
            phone.report(2, 0b00);
            phone.report(1, 0b01);
            assert_eq!(buttons.next().await.unwrap(), event(VolumeUp, true));
            phone.report(1, 0b00);
            assert_eq!(buttons.next().await.unwrap(), event(VolumeUp, false));
        });
    }
}

#[test]
fn buttons_and_lights_are_those_of_one_device_whichever_of_its_names_they_have() {
    let phone = Speakerphone::plug_in("RIG-4");
    for names in [["RIG-4", "1209:C0DE", NAME], [NAME, "RIG-4", "1209:c0de"]] {
        let mut board = board_of(names);
        let (mut meeting, mut mute) =
            (light(&mut board, IndicatorRole::Meeting), light(&mut board, IndicatorRole::Mute));
        let mut buttons = board.buttons.unwrap();
        mute.show(Signal::OFF).unwrap();
        meeting.show(Signal::RED).unwrap();
        assert_eq!([phone.lights(), phone.lights()], [0, OFF_HOOK]);
        run(async {
            // Its buttons know of its lights: what the phone does by itself when it is lit is nobody's press.
            phone.report(2, 0b01);
            phone.report(2, 0b11);
            assert_eq!(buttons.next().await.unwrap(), event(ButtonRole::Mute, true), "{names:?}");
            phone.report(2, 0b01);
            assert_eq!(buttons.next().await.unwrap(), event(ButtonRole::Mute, false));
        });
        mute.show(Signal::RED).unwrap();
        // The lights of one report keep each other.
        assert_eq!(phone.lights(), OFF_HOOK | MUTE, "{names:?}");
        meeting.show(Signal::OFF).unwrap();
        phone.report(2, 0b00);
        assert_eq!(phone.lights(), MUTE);
    }
}

#[test]
fn a_speakerphone_that_is_unplugged_is_gone_once_and_lit_again_when_it_is_back() {
    let phone = Speakerphone::plug_in("RIG-2");
    let mut board = board("RIG-2");
    let (mut meeting, mut mute) =
        (light(&mut board, IndicatorRole::Meeting), light(&mut board, IndicatorRole::Mute));
    let mut buttons = board.buttons.unwrap();
    meeting.show(Signal::RED).unwrap();
    assert_eq!(phone.lights(), OFF_HOOK);
    run(async {
        drop(phone);
        let error = buttons.next().await.unwrap_err().to_string();
        assert!(error.contains("RIG-2"), "{error}");
        // Muted by the page in the meantime.
        let error = mute.show(Signal::RED).unwrap_err();
        assert!(matches!(error, IndicatorError::Gone { .. }), "{error}");
        let phone = Speakerphone::plug_in("RIG-2");
        let first = phone.lights();
        let second = phone.lights();
        assert_eq!((first | second, second), (OFF_HOOK | MUTE, OFF_HOOK | MUTE), "both are lit again");
        phone.report(2, 0b10);
        assert_eq!(buttons.next().await.unwrap(), event(ButtonRole::Mute, true), "it was told once");
        mute.show(Signal::OFF).unwrap();
        assert_eq!(phone.lights(), OFF_HOOK);
    });
}

#[test]
fn probe_finds_it_and_writes_its_buttons_and_lights_into_the_profile() {
    let phone = Speakerphone::plug_in("RIG-5");
    let machine = rostrum_board::probe::look();
    let found = machine.speakerphones.iter().find(|found| found.serial == "RIG-5").unwrap();
    assert_eq!((found.name.as_str(), found.id.as_str()), (NAME, "1209:c0de"));
    assert_eq!(found.buttons, ["join", "mute", "volume_up", "volume_down"]);
    assert_eq!(found.lights, ["off_hook", "mute", "ring"]);
    // The sections of its own; the other devices are tried elsewhere.
    let text = machine.profile();
    let section = |name: &str| {
        let rest = text.split(&format!("[{name}]\n")).nth(1).unwrap_or_else(|| panic!("no {name} in {text}"));
        let keys = rest.lines().take_while(|line| line.contains(" = ") && !line.starts_with('#'));
        format!("[{name}]\n{}\n", keys.collect::<Vec<_>>().join("\n"))
    };
    let mut board = open_board(&(section("buttons") + &section("indicators"))).unwrap();
    light(&mut board, IndicatorRole::Meeting).show(Signal::RED).unwrap();
    light(&mut board, IndicatorRole::Mute).show(Signal::RED).unwrap();
    assert_eq!([phone.lights(), phone.lights()], [OFF_HOOK, OFF_HOOK | MUTE]);
    let mut buttons = board.buttons.unwrap();
    run(async {
        phone.report(2, 0b10);
        assert_eq!(buttons.next().await.unwrap(), event(ButtonRole::Mute, true), "{text}");
    });
}

#[test]
fn speakerphones_that_cannot_be_used_say_why() {
    let _phone = Speakerphone::plug_in("RIG-3");
    let error_of = |sections: &str| open_board(sections).err().unwrap().to_string();
    let error = error_of("[buttons]\ndriver = \"hid_telephony\"\ndevice = \"0b0e:0410\"\n");
    assert!(error.contains("0b0e:0410 is not there; there are") && error.contains("serial RIG-3"), "{error}");
    let error = error_of(
        "[indicators]\nmute = { driver = \"hid_telephony\", device = \"RIG-3\", light = \"hold\" }\n",
    );
    assert!(error.contains("`off_hook`, `mute`, `ring`"), "{error}");
}
