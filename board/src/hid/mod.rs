//! Driver `hid_telephony`: the buttons of USB speakerphones and headsets, and the lights that a host drives
//! (USB HID Usage Tables 1.5, Telephony Device Page 0x0B and LED Page 0x08), by `hidraw`.
//!
//! `evdev` knows such buttons too, but neither the lights nor what a speakerphone thinks of its call: many
//! close their microphone, or do not send the mute button, before the host has lit Off-Hook. Button and light
//! belong together, so that everything that names one device shares one [`headset::Headset`].

pub(crate) mod buttons;
mod descriptor;
pub(crate) mod find;
mod headset;
pub(crate) mod light;
mod telephony;
