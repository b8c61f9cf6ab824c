//! The devices of a board that can be exchanged while it runs: what else this machine has, and opening one of them.

use rostrum_hal::{
    DeviceKind, camera::Camera, microphone::MicrophoneArray, sim::VirtualBoard, speaker::Speaker,
};

use crate::{
    BoardError, Profile, Section, alsa, drivers,
    probe::{cameras, sounds},
    v4l2,
};

/// One device that could be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its name for people.
    pub title: String,
    /// What names it in a profile, for life; `None` for the one of the board's own profile.
    pub section: Option<Section>,
    /// Why it cannot be used now.
    pub problem: Option<String>,
}

impl Choice {
    /// Tells it from the others, also after a restart.
    pub fn id(&self) -> String {
        self.section.as_ref().map_or_else(|| PROFILE.into(), Section::one_line)
    }
}

/// The choice that takes the board's own profile at its word.
const PROFILE: &str = "profile";

/// Opens the devices of one board one by one.
pub struct Devices {
    profile: Profile,
    virtual_board: Option<VirtualBoard>,
}

impl Devices {
    pub(crate) fn new(profile: &Profile, virtual_board: Option<&VirtualBoard>) -> Self {
        Self { profile: profile.clone(), virtual_board: virtual_board.cloned() }
    }

    /// What could be used, that of the profile first; nothing for a kind that the board does without. Asks each device,
    /// which takes some 100 ms.
    pub fn choices(&self, kind: DeviceKind) -> Vec<Choice> {
        let Some(own) = self.profile.device(kind) else { return Vec::new() };
        let found = match kind {
            DeviceKind::Camera => cameras::choices(&v4l2::listing::cameras()),
            DeviceKind::Microphones => sounds::choices(&alsa::listing::sounds(), sounds::Goes::In),
            DeviceKind::Speaker => sounds::choices(&alsa::listing::sounds(), sounds::Goes::Out),
        };
        choices(own, found)
    }

    /// Opens a camera; that of the profile when `section` is `None`.
    ///
    /// # Errors
    /// [`BoardError`], which says what to do. What is not there is an error, but for that of the profile, which is
    /// looked for later.
    pub fn open_camera(&self, section: Option<&Section>) -> Result<Box<dyn Camera>, BoardError> {
        let profile = self.with(DeviceKind::Camera, section);
        drivers::open_camera(&profile, self.virtual_board.as_ref(), section.is_none())
    }

    /// The same for microphones.
    ///
    /// # Errors
    /// As for the camera.
    pub fn open_microphones(
        &self,
        section: Option<&Section>,
    ) -> Result<Box<dyn MicrophoneArray>, BoardError> {
        let profile = self.with(DeviceKind::Microphones, section);
        drivers::open_microphones(&profile, self.virtual_board.as_ref(), section.is_none())
    }

    /// The same for a speaker.
    ///
    /// # Errors
    /// As for the camera.
    pub fn open_speaker(&self, section: Option<&Section>) -> Result<Box<dyn Speaker>, BoardError> {
        let profile = self.with(DeviceKind::Speaker, section);
        drivers::open_speaker(&profile, self.virtual_board.as_ref(), section.is_none())
    }

    fn with(&self, kind: DeviceKind, section: Option<&Section>) -> Profile {
        let mut profile = self.profile.clone();
        if let Some(section) = section {
            let place = match kind {
                DeviceKind::Camera => &mut profile.camera,
                DeviceKind::Microphones => &mut profile.microphones,
                DeviceKind::Speaker => &mut profile.speaker,
            };
            *place = Some(section.clone());
        }
        profile
    }
}

impl Profile {
    /// Its section for the device of a kind.
    pub(crate) fn device(&self, kind: DeviceKind) -> Option<&Section> {
        match kind {
            DeviceKind::Camera => self.camera.as_ref(),
            DeviceKind::Microphones => self.microphones.as_ref(),
            DeviceKind::Speaker => self.speaker.as_ref(),
        }
    }
}

/// Keys that name a device.
const NAMES: [&str; 3] = ["serial", "title", "device"];

/// That of the profile, and what was found beside it.
fn choices(own: &Section, found: Vec<Choice>) -> Vec<Choice> {
    let (same, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|choice| choice.section.as_ref().is_some_and(|other| names_same(own, other)));
    let title = same.into_iter().next().map_or_else(|| own.one_line(), |found| found.title);
    // What another program says of the profile's does not count: it is this one that uses it.
    let own = Choice { title, section: None, problem: None };
    std::iter::once(own).chain(others).collect()
}

/// Both name one device, by the same key.
fn names_same(one: &Section, other: &Section) -> bool {
    let names = NAMES.iter().filter_map(|key| Some((one.options.get(*key)?, other.options.get(*key)?)));
    one.driver == other.driver && names.clone().count() > 0 && { names }.all(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::OpenOptions;

    fn section(text: &str) -> Section {
        toml::from_str(text).unwrap()
    }

    fn choice(title: &str, text: &str) -> Choice {
        Choice { title: title.into(), section: Some(section(text)), problem: None }
    }

    #[test]
    fn the_profiles_own_device_comes_first_and_once() {
        let own = section("driver = \"v4l2\"\nserial = \"A\"\nformat = \"mjpeg\"");
        let found = vec![
            choice("Other", "driver = \"v4l2\"\nserial = \"B\""),
            choice("Ours", "driver = \"v4l2\"\nserial = \"A\""),
        ];
        let all = choices(&own, found);
        let listed: Vec<_> = all.iter().map(|choice| (choice.title.as_str(), choice.id())).collect();
        let other = "driver = \"v4l2\", serial = \"B\"".to_owned();
        assert_eq!(listed, [("Ours", "profile".to_owned()), ("Other", other)]);
        let unnamed = choices(&section("driver = \"virtual\""), Vec::new());
        assert_eq!(unnamed[0].title, "driver = \"virtual\"");
    }

    #[test]
    fn a_device_is_opened_in_the_place_of_the_profiles_and_that_one_again() {
        let profile = Profile::named_or_path("virtual").unwrap();
        let board = crate::open(&profile, OpenOptions::default()).unwrap();
        let two = section("driver = \"virtual\"\nlength_m = 0.1\ncount = 2");
        // A virtual array is the board's own, whatever is asked for.
        assert_eq!(board.devices.open_microphones(Some(&two)).unwrap().format().channels(), 4);
        assert!(board.devices.open_camera(None).is_ok());
        let absent = section("driver = \"v4l2\"\nserial = \"nobody has this\"");
        let error = board.devices.open_camera(Some(&absent)).err().unwrap().to_string();
        assert!(error.contains("[camera]") && error.contains("nobody has this"), "{error}");
    }

    #[test]
    fn a_chosen_device_that_cannot_be_used_is_no_reason_to_have_none() {
        let profile = Profile::named_or_path("virtual").unwrap();
        let wrong = section("driver = \"v4l2\"\nserail = \"A\"");
        let chosen = [(DeviceKind::Camera, wrong)].into();
        let board = crate::open(&profile, OpenOptions { chosen, ..OpenOptions::default() }).unwrap();
        assert!(board.camera.is_some());
    }
}
