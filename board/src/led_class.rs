//! Lights of the kernel's LED class (`Documentation/leds/leds-class.rst`, sysfs ABI `sysfs-class-led`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use rostrum_hal::indicator::{Indicator, IndicatorError, Signal};
use serde::Deserialize;

use crate::{BoardError, drivers::Device};

const ROOT: &str = "/sys/class/leds";

/// Keys of a section of `[indicators]` with the driver `led_class`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Name of the light under `/sys/class/leds`.
    light: String,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Indicator>, BoardError> {
    let Options { light } = device.options()?;
    match LedClass::open(Path::new(ROOT), &light) {
        Ok(led) => Ok(Box::new(led)),
        Err(present) if present.is_empty() => Err(device.absent(
            format!("the light {light}"),
            format!("there is no light under {ROOT}; remove [{}] from the profile", device.place),
        )),
        Err(present) => Err(device
            .absent(format!("the light {light}"), format!("under {ROOT} there are {}", present.join(", ")))),
    }
}

/// One light under `/sys/class/leds`.
#[derive(Debug)]
struct LedClass {
    name: String,
    folder: PathBuf,
    max_brightness: u32,
}

impl LedClass {
    /// Opens the light `name` under `root`, or gives the names that are there.
    fn open(root: &Path, name: &str) -> Result<Self, Vec<String>> {
        let folder = root.join(name);
        let max_brightness = fs::read_to_string(folder.join("max_brightness")).ok();
        match max_brightness.and_then(|text| text.trim().parse().ok()) {
            Some(max_brightness) => Ok(Self { name: name.to_owned(), folder, max_brightness }),
            None => Err(names_in(root)),
        }
    }

    fn write(&self, attribute: &str, value: impl ToString) -> Result<(), IndicatorError> {
        fs::write(self.folder.join(attribute), value.to_string())
            .map_err(|source| IndicatorError::Gone { name: self.name.clone(), source })
    }
}

impl Indicator for LedClass {
    fn show(&mut self, signal: Signal) -> Result<(), IndicatorError> {
        let brightest = signal.rgb.into_iter().max().unwrap_or_default();
        let level = u64::from(brightest) * u64::from(self.max_brightness) / 255;
        match signal.blink {
            // The trigger creates its delay files, so it is set before them.
            Some(half_period) if level > 0 => {
                self.write("trigger", "timer")?;
                self.write("delay_on", half_period.as_millis())?;
                self.write("delay_off", half_period.as_millis())
            }
            _ => {
                self.write("trigger", "none")?;
                self.write("brightness", level)
            }
        }
    }
}

fn names_in(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn sysfs_with(led: &str, max_brightness: u32) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(led)).unwrap();
        fs::write(root.path().join(led).join("max_brightness"), format!("{max_brightness}\n")).unwrap();
        root
    }

    #[test]
    fn a_colour_lights_a_one_colour_led_by_its_brightest_part() {
        let root = sysfs_with("mute", 15);
        LedClass::open(root.path(), "mute").unwrap().show(Signal::RED).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("mute/brightness")).unwrap(), "15");
    }

    #[test]
    fn blinking_uses_the_timer_trigger() {
        let root = sysfs_with("mute", 1);
        let signal = Signal::GREEN.blinking(Duration::from_millis(250));
        LedClass::open(root.path(), "mute").unwrap().show(signal).unwrap();
        let text = |file| fs::read_to_string(root.path().join("mute").join(file)).unwrap();
        assert_eq!((text("trigger"), text("delay_on")), ("timer".into(), "250".into()));
    }

    #[test]
    fn an_absent_light_gives_those_that_are_there() {
        let root = sysfs_with("status", 1);
        assert_eq!(LedClass::open(root.path(), "mute").unwrap_err(), ["status"]);
    }
}
