//! Keys and switches.

use serde::Serialize;
use toml::{Table, Value};

use super::{keys::Keys, table::Row};

/// What each button may be called, the likeliest first. The kernel makes the first ones of a speakerphone's.
const ROLES: [(&str, &[&str]); 4] = [
    ("join", &["KEY_PHONE", "KEY_PICKUP_PHONE", "KEY_VIDEOPHONE"]),
    ("mute", &["KEY_MICMUTE", "KEY_MUTE"]),
    ("volume_up", &["KEY_VOLUMEUP"]),
    ("volume_down", &["KEY_VOLUMEDOWN"]),
];
/// The switch of the kernel that cuts microphones.
const MUTE_SWITCH: &str = "SW_MUTE_DEVICE";
/// A device with more keys is something to write with.
const KEYBOARD_KEYS: usize = 60;

/// One input device.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct InputDevice {
    /// Its name.
    pub name: String,
    /// Its keys, by the kernel's names.
    pub keys: Vec<String>,
    /// Its switches.
    pub switches: Vec<String>,
    /// Why it cannot be asked.
    pub problem: Option<String>,
}

impl InputDevice {
    /// It has something to press, or nobody knows.
    pub(super) fn is_of_use(&self) -> bool {
        !self.keys.is_empty() || !self.switches.is_empty() || self.problem.is_some()
    }

    fn is_keyboard(&self) -> bool {
        self.keys.len() >= KEYBOARD_KEYS
    }

    /// Its keys for buttons of ours.
    fn buttons(&self) -> Table {
        let of = |names: &'static [&'static str]| {
            names.iter().find(|name| self.keys.iter().any(|key| key == *name)).copied()
        };
        let found =
            ROLES.iter().filter_map(|(role, names)| Some(((*role).to_owned(), Value::from(of(names)?))));
        found.collect()
    }

    pub(super) fn buttons_keys(&self) -> Keys {
        Keys::of("evdev").with("device", self.name.as_str()).with("keys", self.buttons())
    }

    pub(super) fn switch_keys(&self) -> Keys {
        Keys::of("evdev").with("device", self.name.as_str())
    }

    pub(super) fn row(&self) -> Row {
        let mut details = Vec::new();
        if self.is_keyboard() {
            details.push(format!("{} keys: something to write with", self.keys.len()));
        } else if !self.keys.is_empty() {
            details.push(format!("keys: {}", self.keys.join(", ")));
        }
        if !self.switches.is_empty() {
            details.push(format!("switches: {}", self.switches.join(", ")));
        }
        details.extend(self.problem.clone());
        let mut key = Vec::new();
        if !self.buttons().is_empty() {
            key.push(format!("[buttons] {}", self.buttons_keys().one_line()));
        }
        if self.has_mute_switch() {
            key.push(format!("[mute_switch] {}", self.switch_keys().one_line()));
        }
        if key.is_empty() {
            key.push(format!(
                "[buttons] driver = \"evdev\", device = {}, keys = ...",
                Value::from(self.name.as_str())
            ));
        }
        Row { what: self.name.clone(), details, key: key.join("; ") }
    }

    fn has_mute_switch(&self) -> bool {
        self.switches.iter().any(|switch| switch == MUTE_SWITCH)
    }
}

/// The buttons for a room: the device with most of them that is nothing to write with.
pub(super) fn best_buttons(inputs: &[InputDevice]) -> Option<&InputDevice> {
    let usable = inputs.iter().rev().filter(|input| !input.is_keyboard() && !input.buttons().is_empty());
    usable.max_by_key(|input| input.buttons().len())
}

/// The switch that cuts the microphones.
pub(super) fn best_mute_switch(inputs: &[InputDevice]) -> Option<&InputDevice> {
    inputs.iter().find(|input| input.has_mute_switch())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn input(name: &str, keys: &[&str], switches: &[&str]) -> InputDevice {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        InputDevice { name: name.into(), keys: owned(keys), switches: owned(switches), problem: None }
    }

    #[test]
    fn the_likeliest_key_is_taken_whatever_its_number() {
        let headset = input("Headset", &["KEY_MUTE", "KEY_MICMUTE"], &[]);
        assert!(headset.buttons_keys().one_line().contains("mute = \"KEY_MICMUTE\""));
    }

    #[test]
    fn the_device_with_most_buttons_is_taken_and_no_keyboard() {
        let mut keyboard =
            input("Keyboard", &["KEY_PHONE", "KEY_MUTE", "KEY_VOLUMEUP", "KEY_VOLUMEDOWN"], &[]);
        keyboard.keys.extend((0..80).map(|number| format!("KEY_{number}")));
        let all = [
            keyboard,
            input("Power Button", &["KEY_POWER"], &[]),
            input("Headset", &["KEY_MICMUTE"], &[]),
            input("gpio-keys", &["KEY_MUTE", "KEY_PHONE"], &["SW_MUTE_DEVICE"]),
        ];
        let chosen = best_buttons(&all).unwrap();
        assert_eq!(
            chosen.buttons_keys().one_line(),
            "driver = \"evdev\", device = \"gpio-keys\", keys = { join = \"KEY_PHONE\", mute = \"KEY_MUTE\" }"
        );
        assert_eq!(best_mute_switch(&all), Some(chosen));
        assert!(best_buttons(&all[..2]).is_none() && best_mute_switch(&all[..3]).is_none());
    }
}
