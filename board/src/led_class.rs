//! Lights of the kernel's LED class (`Documentation/leds/leds-class.rst`, sysfs ABI `sysfs-class-led`), of
//! one colour, of several (`Documentation/leds/leds-class-multicolor.rst`), or up to three of them as one
//! light.
//!
//! Blinking is the kernel's timer trigger (`Documentation/ABI/testing/sysfs-class-led-trigger-timer`); a
//! kernel without it shows such a signal steadily.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use rostrum_hal::indicator::{Indicator, IndicatorError, Signal};
use serde::Deserialize;

use crate::{
    BoardError,
    colour::{brightness_of_lamps, lamps_that_are_on},
    drivers::Device,
    error::Failure,
    probe,
};

const ROOT: &str = "/sys/class/leds";

/// Keys of a section of `[indicators]` with the driver `led_class`: one of the two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Name of a light under `/sys/class/leds`.
    light: Option<String>,
    /// Names of one-colour lights there that are one light together.
    lights: Option<Lights>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lights {
    red: Option<String>,
    green: Option<String>,
    blue: Option<String>,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Indicator>, BoardError> {
    let names = match device.options()? {
        Options { light: Some(light), lights: None } => Names::One(light),
        Options { light: None, lights: Some(Lights { red, green, blue }) }
            if red.is_some() || green.is_some() || blue.is_some() =>
        {
            Names::Lamps([red, green, blue])
        }
        _ => return Err(device.wrong("give either light, or lights with some of red, green and blue")),
    };
    let light = device.now_or_later(Light::open(Path::new(ROOT), &names))?;
    Ok(Box::new(NamedLight { place: device.place.into(), names, light }))
}

/// How the profile names a light.
enum Names {
    One(String),
    /// Red, green, blue.
    Lamps([Option<String>; 3]),
}

/// A light that may come later.
struct NamedLight {
    place: String,
    names: Names,
    /// `None` until it is there.
    light: Option<Light>,
}

impl Indicator for NamedLight {
    fn show(&mut self, signal: Signal) -> Result<(), IndicatorError> {
        let light = match &mut self.light {
            Some(light) => light,
            none => none.insert(Light::open(Path::new(ROOT), &self.names).map_err(|failure| {
                IndicatorError::Gone { name: self.place.clone(), source: io::Error::other(failure) }
            })?),
        };
        light.show(signal)
    }
}

/// What shows a signal.
#[derive(Debug)]
enum Light {
    OneColour(Led),
    /// Channel of red, green and blue among those of the light.
    Multicolour(Led, Vec<Option<usize>>),
    /// Red, green, blue.
    Lamps([Option<Led>; 3]),
}

impl Light {
    fn open(root: &Path, names: &Names) -> Result<Self, Failure> {
        match names {
            Names::One(name) => Self::open_one(root, name),
            Names::Lamps(names) => Self::open_lamps(root, names.clone()),
        }
    }

    /// Opens the light `name` under `root`.
    fn open_one(root: &Path, name: &str) -> Result<Self, Failure> {
        let led = Led::open(root, name)?;
        let Ok(index) = fs::read(led.folder.join("multi_index")) else { return Ok(Self::OneColour(led)) };
        let colours = ["red", "green", "blue"];
        let colour_of = |channel| colours.iter().position(|colour| *colour == channel);
        let channels: Vec<_> = String::from_utf8_lossy(&index).split_whitespace().map(colour_of).collect();
        let one_colour = channels.iter().all(Option::is_none);
        Ok(if one_colour { Self::OneColour(led) } else { Self::Multicolour(led, channels) })
    }

    /// Opens lights of one colour each under `root`.
    fn open_lamps(root: &Path, names: [Option<String>; 3]) -> Result<Self, Failure> {
        let [red, green, blue] = names.map(|name| name.map(|name| Led::open(root, &name)).transpose());
        Ok(Self::Lamps([red?, green?, blue?]))
    }
}

impl Indicator for Light {
    fn show(&mut self, signal: Signal) -> Result<(), IndicatorError> {
        match self {
            Self::OneColour(led) => {
                let [brightness, ..] = brightness_of_lamps(signal, [true, false, false]);
                led.show(led.level(brightness), signal.blink)
            }
            Self::Multicolour(led, channels) => {
                let present = std::array::from_fn(|colour| channels.contains(&Some(colour)));
                let brightness = brightness_of_lamps(signal, present);
                let intensities = channels.iter().map(|channel| {
                    // Channels such as white or amber stay dark.
                    channel.map_or(0, |colour| led.level(brightness[colour])).to_string()
                });
                led.write("multi_intensity", intensities.collect::<Vec<_>>().join(" "))?;
                let lit = brightness != [0; 3];
                led.show(if lit { led.max_brightness } else { 0 }, signal.blink)
            }
            Self::Lamps(leds) => {
                let brightness = brightness_of_lamps(signal, leds.each_ref().map(Option::is_some));
                let on = lamps_that_are_on(brightness);
                for ((led, brightness), on) in leds.iter().zip(brightness).zip(on) {
                    let Some(led) = led else { continue };
                    let shines = on || led.max_brightness > 1;
                    led.show(if shines { led.level(brightness) } else { 0 }, signal.blink)?;
                }
                Ok(())
            }
        }
    }
}

/// One light under `/sys/class/leds`.
#[derive(Debug)]
struct Led {
    name: String,
    folder: PathBuf,
    max_brightness: u32,
}

impl Led {
    fn open(root: &Path, name: &str) -> Result<Self, Failure> {
        let folder = root.join(name);
        let max_brightness = fs::read_to_string(folder.join("max_brightness")).ok();
        match max_brightness.and_then(|text| text.trim().parse().ok()) {
            Some(max_brightness) => Ok(Self { name: name.to_owned(), folder, max_brightness }),
            None => Err(absent(root, name)),
        }
    }

    /// The light's own level for a brightness of 0..=255: what is not dark is not made dark.
    fn level(&self, brightness: u8) -> u32 {
        let level = (u64::from(brightness) * u64::from(self.max_brightness)).div_ceil(255);
        u32::try_from(level).unwrap_or(self.max_brightness)
    }

    fn show(&self, level: u32, blink: Option<Duration>) -> Result<(), IndicatorError> {
        // Kernels can be built without triggers.
        if self.folder.join("trigger").exists() {
            self.write("trigger", "none")?;
        }
        // The timer blinks between dark and what is set before it.
        self.write("brightness", level)?;
        let Some(half_period) = blink.filter(|_| level > 0) else { return Ok(()) };
        if let Err(error) = self.try_write("trigger", "timer") {
            log::debug!(light = self.name.as_str(), error:%; "the kernel does not blink");
            return Ok(());
        }
        // The trigger creates these.
        self.write("delay_on", half_period.as_millis())?;
        self.write("delay_off", half_period.as_millis())
    }

    fn write(&self, attribute: &str, value: impl ToString) -> Result<(), IndicatorError> {
        self.try_write(attribute, value)
            .map_err(|source| IndicatorError::Gone { name: self.name.clone(), source })
    }

    /// Creates no file: what is not there is an error that says so.
    fn try_write(&self, attribute: &str, value: impl ToString) -> io::Result<()> {
        let path = self.folder.join(attribute);
        OpenOptions::new().write(true).truncate(true).open(path)?.write_all(value.to_string().as_bytes())
    }
}

/// Names of all lights.
fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Every light, for `probe`.
pub(crate) fn listing() -> Vec<probe::lights::Light> {
    listing_under(Path::new(ROOT))
}

fn listing_under(root: &Path) -> Vec<probe::lights::Light> {
    let found = names(root).into_iter().filter_map(|name| Led::open(root, &name).ok());
    let listed = found.map(|led| {
        let colours = fs::read(led.folder.join("multi_index")).unwrap_or_default();
        let colours = String::from_utf8_lossy(&colours).split_whitespace().map(str::to_owned).collect();
        probe::lights::Light { name: led.name, max_brightness: led.max_brightness, colours }
    });
    listed.collect()
}

fn absent(root: &Path, name: &str) -> Failure {
    let names = names(root);
    let hint = if names.is_empty() {
        format!("there is no light under {}; remove it from the profile", root.display())
    } else {
        format!("under {} there are {}", root.display(), names.join(", "))
    };
    Failure::Absent { name: format!("the light {name}"), hint }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const ORANGE: Signal = Signal { rgb: [255, 128, 0], blink: None };

    /// A folder like `/sys/class/leds`.
    struct Sysfs(tempfile::TempDir);

    impl Sysfs {
        fn with(leds: &[(&str, u32)]) -> Self {
            let sysfs = Self(tempfile::tempdir().unwrap());
            for (led, max_brightness) in leds {
                fs::create_dir(sysfs.0.path().join(led)).unwrap();
                sysfs.put(led, "max_brightness", format!("{max_brightness}\n"));
                for file in ["brightness", "trigger", "delay_on", "delay_off"] {
                    sysfs.put(led, file, "");
                }
            }
            sysfs
        }

        fn put(&self, led: &str, file: &str, content: impl AsRef<[u8]>) {
            fs::write(self.0.path().join(led).join(file), content).unwrap();
        }

        fn text(&self, led: &str, file: &str) -> String {
            fs::read_to_string(self.0.path().join(led).join(file)).unwrap()
        }

        fn light(&self, name: &str) -> Result<Light, Failure> {
            Light::open_one(self.0.path(), name)
        }
    }

    #[test]
    fn a_colour_lights_a_one_colour_led_by_its_brightest_part() {
        let sysfs = Sysfs::with(&[("mute", 15)]);
        sysfs.light("mute").unwrap().show(Signal::RED).unwrap();
        assert_eq!(sysfs.text("mute", "brightness"), "15");
    }

    #[test]
    fn a_dim_signal_is_not_dark_on_a_led_that_is_on_or_off() {
        let sysfs = Sysfs::with(&[("mute", 1)]);
        sysfs.light("mute").unwrap().show(Signal { rgb: [3, 0, 0], blink: None }).unwrap();
        assert_eq!(sysfs.text("mute", "brightness"), "1");
    }

    #[test]
    fn blinking_uses_the_timer_trigger() {
        let sysfs = Sysfs::with(&[("mute", 1)]);
        sysfs.light("mute").unwrap().show(Signal::GREEN.blinking(Duration::from_millis(250))).unwrap();
        assert_eq!(
            (sysfs.text("mute", "trigger"), sysfs.text("mute", "delay_on")),
            ("timer".into(), "250".into())
        );
        sysfs.light("mute").unwrap().show(Signal::OFF).unwrap();
        assert_eq!(
            (sysfs.text("mute", "trigger"), sysfs.text("mute", "brightness")),
            ("none".into(), "0".into())
        );
    }

    #[test]
    fn a_kernel_without_triggers_shows_a_blinking_signal_steadily() {
        let sysfs = Sysfs::with(&[("mute", 1)]);
        fs::remove_file(sysfs.0.path().join("mute/trigger")).unwrap();
        sysfs.light("mute").unwrap().show(Signal::RED.blinking(Duration::from_millis(250))).unwrap();
        assert_eq!(sysfs.text("mute", "brightness"), "1");
    }

    #[test]
    fn a_multicolour_led_gets_its_channels_in_the_order_of_its_index() {
        let sysfs = Sysfs::with(&[("ring", 31)]);
        sysfs.put("ring", "multi_index", "green white blue red\n");
        sysfs.put("ring", "multi_intensity", "0 0 0 0\n");
        let mut light = sysfs.light("ring").unwrap();
        light.show(ORANGE).unwrap();
        assert_eq!(
            (sysfs.text("ring", "multi_intensity"), sysfs.text("ring", "brightness")),
            ("16 0 0 31".into(), "31".into())
        );
        light.show(Signal::OFF).unwrap();
        assert_eq!(
            (sysfs.text("ring", "multi_intensity"), sysfs.text("ring", "brightness")),
            ("0 0 0 0".into(), "0".into())
        );
    }

    #[test]
    fn lights_of_one_colour_make_one_light() {
        let sysfs = Sysfs::with(&[("r", 1), ("g", 255), ("b", 1)]);
        let names = ["r", "g", "b"].map(|name| Some(name.to_owned()));
        let mut light = Light::open_lamps(sysfs.0.path(), names).unwrap();
        light.show(ORANGE.blinking(Duration::from_millis(100))).unwrap();
        assert_eq!(["r", "g", "b"].map(|led| sysfs.text(led, "brightness")), ["1", "128", "0"]);
        assert_eq!(["r", "g", "b"].map(|led| sysfs.text(led, "trigger")), ["timer", "timer", "none"]);
    }

    #[test]
    fn an_unplugged_light_is_gone() {
        let sysfs = Sysfs::with(&[("mute", 1)]);
        let mut light = sysfs.light("mute").unwrap();
        fs::remove_dir_all(sysfs.0.path().join("mute")).unwrap();
        let IndicatorError::Gone { source, .. } = light.show(Signal::RED).unwrap_err() else { panic!() };
        assert_eq!(source.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_absent_light_gives_those_that_are_there() {
        let error = Sysfs::with(&[("status", 1)]).light("mute").unwrap_err().to_string();
        assert!(
            error.contains("the light mute is not there") && error.ends_with("there are status"),
            "{error}"
        );
    }

    #[test]
    fn lights_are_listed_with_their_colours() {
        let sysfs = Sysfs::with(&[("ring", 31), ("mute", 1)]);
        sysfs.put("ring", "multi_index", "green red\n");
        let light = |name: &str, max_brightness, colours: &[&str]| probe::lights::Light {
            name: name.into(),
            max_brightness,
            colours: colours.iter().map(|colour| (*colour).to_owned()).collect(),
        };
        let listed = listing_under(sysfs.0.path());
        assert_eq!(listed, [light("mute", 1, &[]), light("ring", 31, &["green", "red"])]);
    }

    proptest! {
        #[test]
        fn no_content_of_sysfs_panics(
            max_brightness: Vec<u8>, any_maximum: u32, index: Vec<u8>, words in "[a-z \n]{0,30}",
            rgb: [u8; 3],
        ) {
            let sysfs = Sysfs::with(&[("a", any_maximum), ("b", any_maximum), ("c", 1)]);
            sysfs.put("a", "multi_index", &index);
            sysfs.put("b", "multi_index", format!("red green blue {words}"));
            sysfs.put("c", "max_brightness", &max_brightness);
            for name in ["a", "b", "c"] {
                sysfs.put(name, "multi_intensity", "");
                if let Ok(mut light) = sysfs.light(name) {
                    light.show(Signal { rgb, blink: None }).unwrap();
                }
            }
        }
    }
}
