//! Lights.

use rostrum_hal::indicator::IndicatorRole;
use serde::Serialize;

use super::{keys::Keys, table::Row};

/// One light of the LED class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Light {
    /// Its name, usually `device:colour:function`.
    pub name: String,
    /// Levels above dark.
    pub max_brightness: u32,
    /// Its colours, when it has several.
    pub colours: Vec<String>,
}

impl Light {
    pub(super) fn keys(&self) -> Keys {
        Keys::of("led_class").with("light", self.name.as_str())
    }

    pub(super) fn row(&self) -> Row {
        let colours =
            if self.colours.is_empty() { String::new() } else { format!(", {}", self.colours.join(" ")) };
        Row {
            what: format!("{} ({} levels{colours})", self.name, self.max_brightness),
            details: Vec::new(),
            key: format!("[indicators] {}", self.keys().one_line()),
        }
    }

    /// Its name says what it is for (`Documentation/leds/leds-class.rst`: the function comes last).
    fn is_for(&self, functions: &[&str]) -> bool {
        let function = self.name.rsplit(':').next().unwrap_or_default();
        // Of several with one name the kernel numbers all but the first.
        let function = function.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['-', '_']);
        functions.contains(&function)
    }
}

/// Lights whose names say that they are for this.
pub(super) fn best(lights: &[Light], role: IndicatorRole) -> Option<&Light> {
    let functions: &[&str] = match role {
        IndicatorRole::Mute => &["mute", "micmute"],
        IndicatorRole::Status => &["status", "front"],
        _ => &[],
    };
    // One that has all colours says more.
    lights.iter().rev().filter(|light| light.is_for(functions)).max_by_key(|light| light.colours.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_light_is_taken_for_what_its_name_says() {
        let light = |name: &str, colours: &[&str]| Light {
            name: name.into(),
            max_brightness: 1,
            colours: colours.iter().map(|colour| (*colour).into()).collect(),
        };
        let all = [
            light("ACT", &[]),
            light("platform::micmute", &[]),
            light("rig:red:status_1", &[]),
            light("rig:multicolor:front", &["red", "green"]),
        ];
        let chosen = |role| best(&all, role).map(|light| light.name.as_str());
        assert_eq!(chosen(IndicatorRole::Mute), Some("platform::micmute"));
        assert_eq!(chosen(IndicatorRole::Status), Some("rig:multicolor:front"));
        assert_eq!(best(&all[..1], IndicatorRole::Status), None, "the light of a disk is no sign for a room");
    }
}
