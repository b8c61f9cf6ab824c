//! Profiles: which devices a board has and which driver each of them needs.

use std::{collections::BTreeMap, path::Path};

use rostrum_hal::indicator::IndicatorRole;
use serde::{Deserialize, Serialize};

use crate::{BoardError, drivers::nearest};

/// The profiles that come with the program.
const EMBEDDED: [(&str, &str); 7] = [
    ("virtual", include_str!("../profiles/virtual.toml")),
    ("pc", include_str!("../profiles/pc.toml")),
    ("raspberry-pi-4", include_str!("../profiles/raspberry-pi-4.toml")),
    ("raspberry-pi-5", include_str!("../profiles/raspberry-pi-5.toml")),
    ("imx8mp-evk", include_str!("../profiles/imx8mp-evk.toml")),
    ("rk3588", include_str!("../profiles/rk3588.toml")),
    ("qemu-arm64", include_str!("../profiles/qemu-arm64.toml")),
];

/// What a board is made of. A device without a section is not there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name of the board.
    pub name: String,
    /// What it is, for people.
    #[serde(default)]
    pub description: String,
    /// The camera.
    pub camera: Option<Section>,
    /// The camera's controls, when they go another way than its pictures.
    pub camera_controls: Option<Section>,
    /// The microphone array.
    pub microphones: Option<Section>,
    /// A list of filters that take back what the board's microphones and case do to a voice. Whoever has a voice chain
    /// reads and checks it.
    pub equalizer: Option<toml::Value>,
    /// The speaker.
    pub speaker: Option<Section>,
    /// The video encoder.
    pub encoder: Section,
    /// Scales the camera's pictures; without one the processor does.
    pub scaler: Option<Section>,
    /// The screen; of two, the one for the people.
    pub display: Option<Section>,
    /// The second screen, for what is shared. There is none without a first.
    pub content_display: Option<Section>,
    /// The lights, by what they stand for.
    #[serde(default)]
    pub indicators: BTreeMap<IndicatorRole, Section>,
    /// The buttons.
    pub buttons: Option<Section>,
    /// The switch that cuts the microphones.
    pub mute_switch: Option<Section>,
    /// The sensor that tells whether somebody is there.
    pub presence: Option<Section>,
    /// What switches the screen on and to standby.
    pub screen_power: Option<Section>,
    /// The watchdog.
    pub watchdog: Option<Section>,
    /// Where the board's name is kept.
    pub identity: Section,
}

/// One device: its driver, and what that driver wants to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// Name of the driver in [`crate::drivers`].
    pub driver: String,
    /// All other keys; the driver refuses those that it does not know.
    #[serde(flatten)]
    pub options: toml::Table,
}

impl Section {
    /// All keys in one line, the driver first.
    pub(crate) fn one_line(&self) -> String {
        let driver = format!("driver = {}", toml::Value::from(self.driver.as_str()));
        let others = self.options.iter().map(|(key, value)| format!(", {key} = {value}"));
        std::iter::once(driver).chain(others).collect()
    }
}

impl Profile {
    /// Names of the profiles that come with the program.
    pub fn names() -> Vec<&'static str> {
        EMBEDDED.iter().map(|(name, _)| *name).collect()
    }

    /// The embedded profile of that name, or the profile in that file (a path has a `/` or ends in
    /// `.toml`).
    ///
    /// # Errors
    /// [`BoardError::UnknownProfile`] with the names that are there, [`BoardError::ReadProfile`],
    /// [`BoardError::ParseProfile`] with line and column.
    pub fn named_or_path(name: &str) -> Result<Self, BoardError> {
        if name.contains('/') || name.ends_with(".toml") {
            let path = Path::new(name);
            let text = std::fs::read_to_string(path)
                .map_err(|source| BoardError::ReadProfile { path: path.into(), source })?;
            return Self::parse(&text, name);
        }
        let Some((_, text)) = EMBEDDED.iter().find(|(n, _)| *n == name) else {
            return Err(BoardError::UnknownProfile {
                name: name.into(),
                present: nearest(name, &Self::names()),
            });
        };
        Self::parse(text, name)
    }

    /// Reads a profile; `file` stands in errors.
    ///
    /// # Errors
    /// [`BoardError::ParseProfile`] with line and column.
    pub fn parse(text: &str, file: &str) -> Result<Self, BoardError> {
        toml::from_str(text)
            .map_err(|source| BoardError::ParseProfile { file: file.into(), source: Box::new(source) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_embedded_profile_parses_and_is_named_like_its_file() {
        for name in Profile::names() {
            assert_eq!(Profile::named_or_path(name).unwrap().name, name);
        }
    }

    #[test]
    fn the_example_of_the_readme_parses() {
        let readme = include_str!("../README.md");
        let example = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let profile = Profile::parse(example, "README.md").unwrap();
        crate::drivers::check(&profile).unwrap();
    }

    #[test]
    fn an_unknown_profile_gives_the_names_that_are_there_the_nearest_first() {
        let error = Profile::named_or_path("virtaul").unwrap_err().to_string();
        assert!(
            error.contains("virtaul; there are virtual, ") && error.contains("raspberry-pi-5"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = include_str!("../profiles/virtual.toml").replace("[camera]", "[camra]");
        let line = text.lines().position(|l| l == "[camra]").unwrap() + 1;
        let error = Profile::parse(&text, "x.toml").unwrap_err().to_string();
        assert!(error.contains(&format!("line {line}")) && error.contains("camra"), "{error}");
        assert!(error.contains("`camera`"), "{error}");
    }

    #[test]
    fn a_profile_is_read_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, include_str!("../profiles/virtual.toml")).unwrap();
        assert_eq!(Profile::named_or_path(path.to_str().unwrap()).unwrap().name, "virtual");
        std::fs::remove_file(&path).unwrap();
        let error = Profile::named_or_path(path.to_str().unwrap()).unwrap_err();
        assert!(matches!(error, BoardError::ReadProfile { .. }), "{error}");
    }
}
