//! Microphones and speakers.

use serde::Serialize;

use super::{keys::Keys, table::Row};
use crate::{Choice, alsa::listing::card};

/// Devices that take any number of channels have no microphones to count.
const MOST_MICROPHONES: u32 = 8;

/// Which way sound goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goes {
    /// Into the machine: microphones.
    #[default]
    In,
    /// Out of it: a speaker.
    Out,
}

/// One PCM device of ALSA in one direction.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sound {
    /// Its name by the id of its card.
    pub device: String,
    /// Its name for people.
    pub title: String,
    /// Which way.
    pub goes: Goes,
    /// Driver of its card.
    pub driver: String,
    /// Fewest and most channels.
    pub channels: (u32, u32),
    /// Rates in Hz that it has, lowest first.
    pub rates_hz: Vec<u32>,
    /// Sample formats that can be used.
    pub formats: Vec<String>,
    /// Controls of its card's mixer that have a volume in this direction.
    pub volumes: Vec<String>,
    /// Why it cannot be asked.
    pub problem: Option<String>,
}

impl Sound {
    fn card(&self) -> &str {
        card(&self.device)
    }

    fn is_usable(&self) -> bool {
        !self.formats.is_empty() && !self.rates_hz.is_empty()
    }

    fn is_usb(&self) -> bool {
        self.driver == "USB-Audio"
    }

    /// Of the kernel's own, without any hardware.
    fn is_made_up(&self) -> bool {
        ["Loopback", "Dummy"].contains(&self.driver.as_str())
    }

    fn is_screen(&self) -> bool {
        [&self.driver, &self.title].iter().any(|text| text.to_lowercase().contains("hdmi"))
    }

    /// The keys that name it.
    pub(super) fn keys(&self) -> Keys {
        let keys = Keys::of("alsa").with("device", self.device.as_str());
        let channels = match self.goes {
            Goes::In => self.channels.1.min(MOST_MICROPHONES).max(self.channels.0.min(16)),
            Goes::Out => self.channels.1.min(2),
        };
        if channels > 1 { keys.with("channels", i64::from(channels)) } else { keys }
    }

    pub(super) fn row(&self) -> Row {
        let (least, most) = self.channels;
        let channels = if least == most { format!("{most}") } else { format!("{least} to {most}") };
        let mut details = Vec::new();
        if self.is_usable() {
            let rates: Vec<_> = self.rates_hz.iter().map(ToString::to_string).collect();
            details.push(format!(
                "{channels} channels, {} Hz, {}",
                rates.join(", "),
                self.formats.join(", ")
            ));
        }
        if !self.volumes.is_empty() {
            details.push(format!("mixer controls with a volume: {}", self.volumes.join(", ")));
        }
        details.extend(self.problem.clone());
        let section = match self.goes {
            Goes::In => "microphones",
            Goes::Out => "speaker",
        };
        let key = format!("[{section}] {}", self.keys().one_line());
        Row { what: format!("{} ({})", self.title, self.driver), details, key }
    }
}

/// All that go this way.
pub(crate) fn choices(sounds: &[Sound], goes: Goes) -> Vec<Choice> {
    let choice = |sound: &Sound| Choice {
        title: sound.title.clone(),
        section: Some(sound.keys().section()),
        problem: sound
            .problem
            .clone()
            .or_else(|| (!sound.is_usable()).then(|| "it has no format that can be used".into())),
    };
    sounds.iter().filter(|sound| sound.goes == goes).map(choice).collect()
}

/// The microphones for a room: real ones, on USB (an array or a speakerphone), with many channels.
pub(super) fn best_microphones(sounds: &[Sound]) -> Option<&Sound> {
    let usable = sounds.iter().rev().filter(|sound| sound.goes == Goes::In && sound.is_usable());
    usable.max_by_key(|sound| (!sound.is_made_up(), sound.is_usb(), sound.channels.1))
}

/// The speaker that goes with them: on the same card, as then both have one clock; else a real one, and one of its own
/// before a screen's.
pub(super) fn best_speaker<'a>(sounds: &'a [Sound], microphones: Option<&Sound>) -> Option<&'a Sound> {
    let usable = sounds.iter().rev().filter(|sound| sound.goes == Goes::Out && sound.is_usable());
    let with_microphones = |sound: &&Sound| microphones.is_some_and(|other| other.card() == sound.card());
    usable.max_by_key(|sound| {
        (!sound.is_made_up(), with_microphones(sound), !sound.is_screen(), sound.is_usb())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sound(device: &str, driver: &str, goes: Goes, channels: u32) -> Sound {
        Sound {
            device: device.into(),
            driver: driver.into(),
            goes,
            channels: (1, channels),
            rates_hz: vec![48_000],
            formats: vec!["S16_LE".into()],
            ..Sound::default()
        }
    }

    #[test]
    fn a_speakerphone_is_both_microphones_and_speaker() {
        let all = [
            sound("hw:CARD=Loopback,DEV=0", "Loopback", Goes::In, 32),
            sound("hw:CARD=PCH,DEV=0", "HDA-Intel", Goes::In, 2),
            sound("hw:CARD=USB,DEV=0", "USB-Audio", Goes::In, 1),
            sound("hw:CARD=Loopback,DEV=0", "Loopback", Goes::Out, 32),
            sound("hw:CARD=vc4hdmi0,DEV=0", "vc4-hdmi", Goes::Out, 8),
            sound("hw:CARD=PCH,DEV=0", "HDA-Intel", Goes::Out, 2),
            sound("hw:CARD=USB,DEV=0", "USB-Audio", Goes::Out, 2),
        ];
        let microphones = best_microphones(&all).unwrap();
        assert_eq!(microphones.keys().one_line(), "driver = \"alsa\", device = \"hw:CARD=USB,DEV=0\"");
        assert_eq!(best_speaker(&all, Some(microphones)).unwrap().card(), "USB");
        assert_eq!(best_speaker(&all[..6], Some(&all[2])).unwrap().card(), "PCH");
        assert_eq!(best_speaker(&all[..5], None).unwrap().card(), "vc4hdmi0", "a screen before nothing");
        assert_eq!(best_microphones(&all[..1]).unwrap().card(), "Loopback", "made up before nothing");
        assert!(best_microphones(&all[3..]).is_none());
    }

    #[test]
    fn as_many_microphones_as_the_device_has_are_named() {
        let array = sound("hw:CARD=Array,DEV=0", "USB-Audio", Goes::In, 6);
        assert!(array.keys().one_line().ends_with("channels = 6"));
        let any = sound("hw:CARD=Loopback,DEV=0", "Loopback", Goes::In, 32);
        assert!(any.keys().one_line().ends_with("channels = 8"));
        let surround = sound("hw:CARD=HDMI,DEV=3", "HDA-Intel", Goes::Out, 8);
        assert!(surround.keys().one_line().ends_with("channels = 2"));
    }
}
