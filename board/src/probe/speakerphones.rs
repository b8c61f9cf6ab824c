//! Speakerphones and headsets whose buttons and lights are those of HID telephony.

use serde::Serialize;
use toml::Value;

use super::{keys::Keys, table::Row};

/// One device, plugged in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Speakerphone {
    /// Its name.
    pub name: String,
    /// `vendor:product`, as `lsusb` writes it.
    pub id: String,
    /// Its serial number; empty when it has none.
    pub serial: String,
    /// Its buttons, as profiles name them.
    pub buttons: Vec<String>,
    /// Its lights, as profiles name them.
    pub lights: Vec<String>,
}

impl Speakerphone {
    /// What a profile calls it: another one of the same make may take its place, unless there are two.
    fn device<'a>(&'a self, all: &[Self]) -> &'a str {
        let is_only = all.iter().filter(|other| other.id == self.id).count() == 1;
        match (self.id.as_str(), self.serial.as_str()) {
            ("", "") => &self.name,
            (id, serial) if serial.is_empty() || (is_only && !id.is_empty()) => id,
            (_, serial) => serial,
        }
    }

    pub(super) fn buttons_keys(&self, all: &[Self]) -> Keys {
        Keys::of("hid_telephony").with("device", self.device(all))
    }

    /// Keys of a light, where it has that.
    pub(super) fn light_keys(&self, all: &[Self], light: &str) -> Option<Keys> {
        let has = self.lights.iter().any(|own| own == light);
        has.then(|| self.buttons_keys(all).with("light", light))
    }

    pub(super) fn row(&self, all: &[Self]) -> Row {
        let list = |names: &[String]| if names.is_empty() { "none".into() } else { names.join(", ") };
        let serial = if self.serial.is_empty() { String::new() } else { format!(", serial {}", self.serial) };
        let mut key = Vec::new();
        if !self.buttons.is_empty() {
            key.push(format!("[buttons] {}", self.buttons_keys(all).one_line()));
        }
        if !self.lights.is_empty() {
            let device = Value::from(self.device(all));
            key.push(format!("[indicators] driver = \"hid_telephony\", device = {device}, light = ..."));
        }
        Row {
            what: format!("{} ({}{serial})", self.name, self.id),
            details: vec![
                format!("buttons: {}", list(&self.buttons)),
                format!("lights: {}", list(&self.lights)),
            ],
            key: key.join("; "),
        }
    }
}

/// The one for a room: that has a mute button, and most besides.
pub(super) fn best(speakerphones: &[Speakerphone]) -> Option<&Speakerphone> {
    let can_mute = speakerphones.iter().rev().filter(|phone| phone.buttons.iter().any(|name| name == "mute"));
    can_mute.max_by_key(|phone| phone.buttons.len() + phone.lights.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn phone(id: &str, serial: &str, buttons: &[&str], lights: &[&str]) -> Speakerphone {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (id, serial) = (id.into(), serial.into());
        Speakerphone { name: "Phone".into(), id, serial, buttons: owned(buttons), lights: owned(lights) }
    }

    #[test]
    fn a_speakerphone_is_called_what_tells_it_from_the_others() {
        let one = phone("0b0e:0410", "A1", &["mute"], &["mute"]);
        let keys = |phone: &Speakerphone, all: &[Speakerphone]| phone.buttons_keys(all).one_line();
        let device = |name: &str| format!("driver = \"hid_telephony\", device = \"{name}\"");
        assert_eq!(keys(&one, std::slice::from_ref(&one)), device("0b0e:0410"));
        let two = [one.clone(), phone("0b0e:0410", "A2", &[], &[])];
        assert_eq!(keys(&two[1], &two), device("A2"));
        let nameless = phone("", "", &[], &[]);
        assert_eq!(keys(&nameless, std::slice::from_ref(&nameless)), device("Phone"));
        assert_eq!(one.light_keys(&two, "mute").unwrap().one_line(), device("A1") + ", light = \"mute\"");
        assert_eq!(one.light_keys(&two, "off_hook"), None);
    }

    #[test]
    fn the_one_with_most_is_taken_and_none_that_cannot_mute() {
        let all = [
            phone("1:1", "", &["volume_up", "volume_down", "join"], &[]),
            phone("1:2", "", &["mute"], &[]),
            phone("1:3", "", &["join", "mute"], &["mute", "off_hook"]),
        ];
        assert_eq!(best(&all), Some(&all[2]));
        assert_eq!(best(&all[..1]), None);
    }
}
