//! The table of drivers by name. A new driver is a file and a line here.

use std::{collections::BTreeMap, sync::Arc};

use rostrum_hal::{
    DeviceKind,
    buttons::Buttons,
    camera::{Camera, CameraControls},
    display::Display,
    encoder::VideoEncoderFactory,
    identity::Identity,
    indicator::Indicator,
    microphone::MicrophoneArray,
    mute_switch::MuteSwitch,
    presence::Presence,
    scaler::VideoScalerFactory,
    screen_power::ScreenPower,
    sim::VirtualBoard,
    speaker::Speaker,
    watchdog::Watchdog,
};
use serde::de::DeserializeOwned;

use crate::{
    Board, BoardError, Devices, OpenOptions, Profile, Section, alsa, cec, error::Failure, evdev_buttons,
    evdev_mute_switch, factory_identity, gpio_buttons, gpio_level, gpio_light, gst_camera, gst_display,
    gst_encoder, gst_microphones, gst_speaker, hid, identity, kms_display, led_class, rppal_buttons,
    rppal_light, rppal_mute_switch, v4l2, virtual_board, visca, watchdog, wayland_display,
};

type Table<T> = &'static [(&'static str, Driver<T>)];

/// How a driver is checked and opened.
struct Driver<T> {
    /// Whether its section says only what it understands.
    check: fn(&Device<'_>) -> Result<(), BoardError>,
    open: fn(&Device<'_>) -> Result<T, BoardError>,
}

macro_rules! driver {
    ($open:path, $options:ty) => {
        Driver { check: |device| device.options::<$options>().map(drop), open: $open }
    };
}

const CAMERAS: Table<Box<dyn Camera>> = &[
    ("virtual", driver!(virtual_board::camera, virtual_board::NoOptions)),
    ("gstreamer", driver!(gst_camera::open, gst_camera::Options)),
    ("v4l2", driver!(v4l2::camera::open, v4l2::camera::Options)),
];
const CAMERA_CONTROLS: Table<Box<dyn CameraControls>> = &[("visca", driver!(visca::open, visca::Options))];
const MICROPHONES: Table<Box<dyn MicrophoneArray>> = &[
    ("virtual", driver!(virtual_board::microphones, virtual_board::MicrophonesOptions)),
    ("gstreamer", driver!(gst_microphones::open, gst_microphones::Options)),
    ("alsa", driver!(alsa::microphones::open, alsa::microphones::Options)),
];
const SPEAKERS: Table<Box<dyn Speaker>> = &[
    ("virtual", driver!(virtual_board::speaker, virtual_board::SpeakerOptions)),
    ("gstreamer", driver!(gst_speaker::open, gst_speaker::Options)),
    ("alsa", driver!(alsa::speaker::open, alsa::speaker::Options)),
];
const ENCODERS: Table<Arc<dyn VideoEncoderFactory>> = &[
    ("gstreamer", driver!(gst_encoder::open, gst_encoder::Options)),
    ("v4l2", driver!(v4l2::encoder::open, v4l2::encoder::Options)),
];
const SCALERS: Table<Arc<dyn VideoScalerFactory>> =
    &[("v4l2", driver!(v4l2::scaler::open, v4l2::scaler::Options))];
const DISPLAYS: Table<Box<dyn Display>> = &[
    ("virtual", driver!(virtual_board::display, virtual_board::DisplayOptions)),
    ("gstreamer", driver!(gst_display::open, gst_display::Options)),
    ("kms", driver!(kms_display::open, kms_display::Options)),
    ("wayland", driver!(wayland_display::open, wayland_display::Options)),
];
const INDICATORS: Table<Box<dyn Indicator>> = &[
    ("virtual", driver!(virtual_board::indicator, virtual_board::NoOptions)),
    ("led_class", driver!(led_class::open, led_class::Options)),
    ("gpio", driver!(gpio_light::open, gpio_light::Options)),
    ("rppal", driver!(rppal_light::open, rppal_light::Options)),
    ("hid_telephony", driver!(hid::light::open, hid::light::Options)),
];
const BUTTONS: Table<Box<dyn Buttons>> = &[
    ("virtual", driver!(virtual_board::buttons, virtual_board::ButtonsOptions)),
    ("gpio", driver!(gpio_buttons::open, gpio_buttons::Options)),
    ("evdev", driver!(evdev_buttons::open, evdev_buttons::Options)),
    ("rppal", driver!(rppal_buttons::open, rppal_buttons::Options)),
    ("hid_telephony", driver!(hid::buttons::open, hid::buttons::Options)),
];
const MUTE_SWITCHES: Table<Box<dyn MuteSwitch>> = &[
    ("virtual", driver!(virtual_board::mute_switch, virtual_board::NoOptions)),
    ("gpio", driver!(gpio_level::mute_switch, gpio_level::Options)),
    ("evdev", driver!(evdev_mute_switch::open, evdev_mute_switch::Options)),
    ("rppal", driver!(rppal_mute_switch::open, rppal_mute_switch::Options)),
];
const PRESENCES: Table<Box<dyn Presence>> = &[
    ("virtual", driver!(virtual_board::presence, virtual_board::NoOptions)),
    ("gpio", driver!(gpio_level::presence, gpio_level::Options)),
];
const SCREEN_POWERS: Table<Box<dyn ScreenPower>> = &[
    ("virtual", driver!(virtual_board::screen_power, virtual_board::NoOptions)),
    ("cec", driver!(cec::open, cec::Options)),
];
const WATCHDOGS: Table<Box<dyn Watchdog>> = &[
    ("virtual", driver!(virtual_board::watchdog, virtual_board::WatchdogOptions)),
    ("watchdog", driver!(watchdog::open, watchdog::Options)),
];
const IDENTITIES: Table<Box<dyn Identity>> = &[
    ("virtual", driver!(virtual_board::identity, virtual_board::IdentityOptions)),
    ("file", driver!(identity::open, identity::Options)),
    ("factory", driver!(factory_identity::open, factory_identity::Options)),
];

/// One section of a profile, with all that a driver may need to open it.
pub(crate) struct Device<'a> {
    /// The whole profile.
    pub(crate) profile: &'a Profile,
    /// Name of the section, such as `camera` or `indicators.mute`.
    pub(crate) place: &'a str,
    /// The section.
    pub(crate) section: &'a Section,
    /// The virtual board, when the profile has a virtual device and is being opened.
    pub(crate) virtual_board: Option<&'a VirtualBoard>,
    /// What is not there is looked for later, by drivers that can.
    pub(crate) later: bool,
}

impl Device<'_> {
    /// The section's keys as the driver's own type.
    pub(crate) fn options<T: DeserializeOwned>(&self) -> Result<T, BoardError> {
        self.section.options.clone().try_into().map_err(|e: toml::de::Error| self.wrong(e.message()))
    }

    /// The section says something wrong.
    pub(crate) fn wrong(&self, message: impl Into<String>) -> BoardError {
        BoardError::Options {
            profile: self.profile.name.clone(),
            section: self.place.into(),
            driver: self.section.driver.clone(),
            message: message.into(),
        }
    }

    /// The section names something that this machine lacks.
    pub(crate) fn absent(&self, name: impl Into<String>, hint: impl Into<String>) -> BoardError {
        BoardError::Absent {
            profile: self.profile.name.clone(),
            section: self.place.into(),
            name: name.into(),
            hint: hint.into(),
        }
    }

    /// The section's device does not open.
    pub(crate) fn failed(&self, failure: Failure) -> BoardError {
        match failure {
            Failure::Absent { name, hint } => self.absent(name, hint),
            Failure::Unusable { name, message } => BoardError::Unusable {
                profile: self.profile.name.clone(),
                section: self.place.into(),
                name,
                message,
            },
        }
    }

    /// What was opened; nothing where it is not there and may come later, which is told.
    pub(crate) fn now_or_later<T>(&self, opened: Result<T, Failure>) -> Result<Option<T>, BoardError> {
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(Failure::Absent { name, hint }) if self.later => {
                log::warn!(section = self.place; "{name} is not there; {hint}");
                Ok(None)
            }
            Err(failure) => Err(self.failed(failure)),
        }
    }

    /// The handle of the virtual board.
    pub(crate) fn virtual_board(&self) -> Result<&VirtualBoard, BoardError> {
        self.virtual_board.ok_or_else(|| self.wrong("the board was not opened"))
    }

    fn find<T>(&self, table: Table<T>) -> Result<&'static Driver<T>, BoardError> {
        let name = &self.section.driver;
        table.iter().find(|(n, _)| n == name).map(|(_, driver)| driver).ok_or_else(|| {
            let names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
            BoardError::UnknownDriver {
                profile: self.profile.name.clone(),
                section: self.place.into(),
                name: name.clone(),
                present: nearest(name, &names),
            }
        })
    }
}

/// Checks that every driver is there and understands its section, without touching a device.
///
/// # Errors
/// [`BoardError::UnknownDriver`], [`BoardError::Options`].
pub fn check(profile: &Profile) -> Result<(), BoardError> {
    let check_in = Checker { profile };
    check_in.section("camera", profile.camera.as_ref(), CAMERAS)?;
    check_in.section("camera_controls", profile.camera_controls.as_ref(), CAMERA_CONTROLS)?;
    check_in.section("microphones", profile.microphones.as_ref(), MICROPHONES)?;
    check_in.section("speaker", profile.speaker.as_ref(), SPEAKERS)?;
    check_in.section("encoder", Some(&profile.encoder), ENCODERS)?;
    check_in.section("scaler", profile.scaler.as_ref(), SCALERS)?;
    check_in.section("display", profile.display.as_ref(), DISPLAYS)?;
    check_in.section("content_display", profile.content_display.as_ref(), DISPLAYS)?;
    if let (None, Some(section)) = (&profile.display, &profile.content_display) {
        let second = Device { profile, place: "content_display", section, virtual_board: None, later: false };
        return Err(second.wrong("it is a second screen; describe the first in [display]"));
    }
    for (role, section) in &profile.indicators {
        check_in.section(&indicator_place(*role), Some(section), INDICATORS)?;
    }
    check_in.section("buttons", profile.buttons.as_ref(), BUTTONS)?;
    check_in.section("mute_switch", profile.mute_switch.as_ref(), MUTE_SWITCHES)?;
    check_in.section("presence", profile.presence.as_ref(), PRESENCES)?;
    check_in.section("screen_power", profile.screen_power.as_ref(), SCREEN_POWERS)?;
    check_in.section("watchdog", profile.watchdog.as_ref(), WATCHDOGS)?;
    check_in.section("identity", Some(&profile.identity), IDENTITIES)
}

struct Checker<'a> {
    profile: &'a Profile,
}

impl Checker<'_> {
    fn section<T>(&self, place: &str, section: Option<&Section>, table: Table<T>) -> Result<(), BoardError> {
        let Some(section) = section else { return Ok(()) };
        let device = Device { profile: self.profile, place, section, virtual_board: None, later: false };
        (device.find(table)?.check)(&device)
    }
}

pub(crate) fn open_board(profile: &Profile, options: &OpenOptions) -> Result<Board, BoardError> {
    check(profile)?;
    let virtual_board = virtual_board::build(profile, options)?;
    let opener = Opener { profile, virtual_board: virtual_board.as_ref(), later: options.later };
    let camera = opener.open_chosen(DeviceKind::Camera, &options.chosen, CAMERAS)?;
    let camera_controls =
        opener.open("camera_controls", profile.camera_controls.as_ref(), CAMERA_CONTROLS)?;
    let microphones = opener.open_chosen(DeviceKind::Microphones, &options.chosen, MICROPHONES)?;
    let speaker = opener.open_chosen(DeviceKind::Speaker, &options.chosen, SPEAKERS)?;
    let encoder = opener.open_one("encoder", &profile.encoder, ENCODERS)?;
    let encoder = match &virtual_board {
        Some(board) => virtual_board::breakable(encoder, board.clone()),
        None => encoder,
    };
    let scaler = opener.open("scaler", profile.scaler.as_ref(), SCALERS)?;
    let display = opener.open("display", profile.display.as_ref(), DISPLAYS)?;
    let content_display = opener.open("content_display", profile.content_display.as_ref(), DISPLAYS)?;
    let indicators = profile
        .indicators
        .iter()
        .map(|(role, section)| Ok((*role, opener.open_one(&indicator_place(*role), section, INDICATORS)?)))
        .collect::<Result<_, BoardError>>()?;
    let buttons = opener.open("buttons", profile.buttons.as_ref(), BUTTONS)?;
    let mute_switch = opener.open("mute_switch", profile.mute_switch.as_ref(), MUTE_SWITCHES)?;
    let presence = opener.open("presence", profile.presence.as_ref(), PRESENCES)?;
    let screen_power = opener.open("screen_power", profile.screen_power.as_ref(), SCREEN_POWERS)?;
    let identity = match &options.udid {
        Some(udid) => identity::fixed(udid.clone()),
        None => opener.open_one("identity", &profile.identity, IDENTITIES)?,
    };
    // Last, as it runs from here on.
    let watchdog = opener.open("watchdog", profile.watchdog.as_ref(), WATCHDOGS)?;
    let name = profile.name.clone();
    let devices = Devices::new(profile, virtual_board.as_ref());
    Ok(Board {
        name,
        camera,
        camera_controls,
        microphones,
        speaker,
        encoder,
        scaler,
        display,
        content_display,
        indicators,
        buttons,
        mute_switch,
        presence,
        screen_power,
        watchdog,
        identity,
        devices,
        virtual_board,
    })
}

/// Opens the device of one kind by itself.
pub(crate) fn open_camera(
    profile: &Profile,
    virtual_board: Option<&VirtualBoard>,
    later: bool,
) -> Result<Box<dyn Camera>, BoardError> {
    Opener { profile, virtual_board, later }.open_alone(DeviceKind::Camera, CAMERAS)
}

pub(crate) fn open_microphones(
    profile: &Profile,
    virtual_board: Option<&VirtualBoard>,
    later: bool,
) -> Result<Box<dyn MicrophoneArray>, BoardError> {
    Opener { profile, virtual_board, later }.open_alone(DeviceKind::Microphones, MICROPHONES)
}

pub(crate) fn open_speaker(
    profile: &Profile,
    virtual_board: Option<&VirtualBoard>,
    later: bool,
) -> Result<Box<dyn Speaker>, BoardError> {
    Opener { profile, virtual_board, later }.open_alone(DeviceKind::Speaker, SPEAKERS)
}

struct Opener<'a> {
    profile: &'a Profile,
    virtual_board: Option<&'a VirtualBoard>,
    later: bool,
}

impl Opener<'_> {
    fn open<T>(
        &self,
        place: &str,
        section: Option<&Section>,
        table: Table<T>,
    ) -> Result<Option<T>, BoardError> {
        section.map(|section| self.open_one(place, section, table)).transpose()
    }

    /// The device that was chosen in the place of the profile's; that one when the chosen cannot be used.
    fn open_chosen<T>(
        &self,
        kind: DeviceKind,
        chosen: &BTreeMap<DeviceKind, Section>,
        table: Table<T>,
    ) -> Result<Option<T>, BoardError> {
        let own = self.profile.device(kind);
        if let (Some(_), Some(section)) = (own, chosen.get(&kind)) {
            match self.open_one(kind.name(), section, table) {
                Ok(device) => return Ok(Some(device)),
                Err(error) => log::warn!(error:%; "the chosen device cannot be used; that of the profile is"),
            }
        }
        self.open(kind.name(), own, table)
    }

    fn open_alone<T>(&self, kind: DeviceKind, table: Table<T>) -> Result<T, BoardError> {
        match self.profile.device(kind) {
            Some(section) => self.open_one(kind.name(), section, table),
            None => Err(BoardError::Absent {
                profile: self.profile.name.clone(),
                section: kind.name().into(),
                name: "this section".into(),
                hint: "add it to the board's profile".into(),
            }),
        }
    }

    fn open_one<T>(&self, place: &str, section: &Section, table: Table<T>) -> Result<T, BoardError> {
        let (virtual_board, later) = (self.virtual_board, self.later);
        let device = Device { profile: self.profile, place, section, virtual_board, later };
        (device.find(table)?.open)(&device)
    }
}

/// Name of a light's section.
fn indicator_place(role: rostrum_hal::indicator::IndicatorRole) -> String {
    format!("indicators.{}", format!("{role:?}").to_lowercase())
}

/// The names that are there, the one most like `wanted` first.
pub(crate) fn nearest(wanted: &str, names: &[&str]) -> String {
    let mut names = names.to_vec();
    names.sort_by_key(|name| strsim::damerau_levenshtein(wanted, name));
    names.join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn virtual_with(old: &str, new: &str) -> Profile {
        let text = include_str!("../profiles/virtual.toml");
        assert!(text.contains(old));
        Profile::parse(&text.replace(old, new), "test.toml").unwrap()
    }

    #[test]
    fn every_embedded_profile_names_drivers_and_options_that_are_there() {
        for name in Profile::names() {
            check(&Profile::named_or_path(name).unwrap()).unwrap();
        }
    }

    #[test]
    fn an_unknown_driver_gives_the_drivers_that_are_there() {
        let profile = virtual_with("[speaker]\ndriver = \"virtual\"", "[speaker]\ndriver = \"gstraemer\"");
        let error = open_board(&profile, &OpenOptions::default()).err().unwrap().to_string();
        assert_eq!(
            error,
            "profile virtual, [speaker]: there is no driver named gstraemer for it; there are gstreamer, virtual, alsa"
        );
    }

    #[test]
    fn a_key_that_a_driver_does_not_know_is_refused_with_those_it_knows() {
        let profile = virtual_with("[speaker]\n", "[speaker]\nchanels = 2\n");
        let error = check(&profile).unwrap_err().to_string();
        assert!(error.contains("[speaker], driver virtual") && error.contains("`channels`"), "{error}");
    }
}
