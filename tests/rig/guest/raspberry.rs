//! The driver `rppal` on QEMU's Raspberry Pi 3, a machine of its own
//!
//! What pins do is read back through the kernel's own driver (`/sys/kernel/debug/pinctrl`). The emulated chip keeps the
//! level that a pin had as an output when it becomes an input, and tells no edges.
#![allow(clippy::unwrap_used)]

use std::fs;

use gpiocdev::{Request, line::Value};
use rostrum_hal::indicator::Signal;
use rostrum_rig::open_board;

/// Whether a pin is an output and high, by the kernel.
fn state(pin: u32) -> (bool, bool) {
    let entries = fs::read_dir("/sys/kernel/debug/pinctrl").unwrap().flatten();
    let texts: Vec<_> =
        entries.filter_map(|entry| fs::read_to_string(entry.path().join("pins")).ok()).collect();
    let all = texts.concat();
    let line =
        all.lines().find(|line| line.contains(&format!("(gpio{pin}) "))).unwrap_or_else(|| panic!("{all}"));
    (line.contains("gpio_out"), line.contains(" hi"))
}

/// Leaves a level on a pin.
fn leave(pin: u32, high: bool) {
    let value = if high { Value::Active } else { Value::Inactive };
    let request =
        Request::builder().on_chip("/dev/gpiochip0").with_line(pin).as_output(value).request().unwrap();
    drop(request);
}

fn error_of(sections: &str) -> String {
    open_board(sections).err().unwrap().to_string()
}

#[test]
fn lamps_shine_and_go_dark() {
    let sections =
        "[indicators.status]\ndriver = \"rppal\"\nred = { pin = 5 }\ngreen = { pin = 6, active_low = true }";
    let mut board = open_board(sections).unwrap();
    let (_, light) = board.indicators.iter_mut().next().unwrap();
    for (signal, red, green) in
        [(Signal::RED, true, true), (Signal::GREEN, false, false), (Signal::OFF, false, true)]
    {
        light.show(signal).unwrap();
        assert_eq!((state(5), state(6)), ((true, red), (true, green)), "{signal:?}");
    }
    light.show(Signal::RED).unwrap();
    drop(board);
    assert_eq!(state(5), (true, true), "a program that ended looks like a dark lamp");
}

#[test]
fn a_switch_is_read_whichever_way_it_is_wired() {
    for high in [true, false] {
        leave(17, high);
        leave(27, high);
        let mut plain = open_board("[mute_switch]\ndriver = \"rppal\"\npin = 17").unwrap();
        assert_eq!(plain.mute_switch.as_mut().unwrap().cut().unwrap(), high);
        let mut turned =
            open_board("[mute_switch]\ndriver = \"rppal\"\npin = 27\nactive_low = true").unwrap();
        assert_eq!(turned.mute_switch.as_mut().unwrap().cut().unwrap(), !high);
        assert!(!state(17).0 && !state(27).0, "they are no inputs");
    }
}

#[test]
fn what_is_wrong_is_told() {
    let error = error_of("[mute_switch]\ndriver = \"rppal\"\npin = 60");
    assert!(error.contains("a Raspberry Pi has BCM pins 0 to 27 on its header"), "{error}");
    let twice = "[mute_switch]\ndriver = \"rppal\"\npin = 4\n[indicators.mute]\ndriver = \"rppal\"\nred = { pin = 4 }";
    let error = error_of(twice);
    assert!(error.contains("another section of the profile has it"), "{error}");
    // The emulated board has no PWM.
    let error = error_of("[indicators.mute]\ndriver = \"rppal\"\nred = { pwm = 0 }");
    assert!(error.contains("dtoverlay=pwm"), "{error}");
}
