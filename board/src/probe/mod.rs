//! What this machine has, as a table for people, as data, and as a profile that uses the best of it.
//!
//! Each driver lists its own devices (`listing` in its file); here is what is said of them, a file a kind. Nothing is
//! started, and no watchdog is opened.
//!
//! | file | what |
//! | --- | --- |
//! | `cameras.rs` ... `networks.rs` | one kind each: what is known of a device, and the keys of a profile that name it |
//! | `table.rs` | the table |
//! | `keys.rs`, `writer.rs` | keys of a section; the profile |

pub mod cameras;
pub mod cec_adapters;
pub mod encoders;
pub mod identities;
pub mod inputs;
mod keys;
pub mod lights;
pub mod lines;
pub mod networks;
pub mod screens;
pub mod sounds;
pub mod speakerphones;
mod table;
pub mod watchdogs;
mod writer;

use std::{fs, path::Path};

use serde::Serialize;

use self::{
    cameras::Camera,
    cec_adapters::CecAdapter,
    encoders::{Converter, Encoder, EncoderElement},
    identities::IdentitySource,
    inputs::InputDevice,
    lights::Light,
    lines::GpioChip,
    networks::Network,
    screens::Screen,
    sounds::Sound,
    speakerphones::Speakerphone,
    watchdogs::Watchdog,
};
use crate::{alsa, cec, evdev_device, gpio_lines, gst_encoder, hid, led_class, v4l2, watchdog};

/// Everything of a machine that a profile could name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// What it is, by its device tree or its firmware; empty when neither says.
    pub model: String,
    /// Capture devices of V4L2.
    pub cameras: Vec<Camera>,
    /// H.264 encoders of V4L2.
    pub encoders: Vec<Encoder>,
    /// Encoder elements of GStreamer that are known, installed or not.
    pub encoder_elements: Vec<EncoderElement>,
    /// Scalers and converters of V4L2.
    pub converters: Vec<Converter>,
    /// PCM devices of ALSA, once for each direction.
    pub sounds: Vec<Sound>,
    /// Chips with GPIO lines.
    pub gpio_chips: Vec<GpioChip>,
    /// Lights of the LED class.
    pub lights: Vec<Light>,
    /// Input devices with keys or switches.
    pub inputs: Vec<InputDevice>,
    /// Speakerphones and headsets with telephony buttons or lights.
    pub speakerphones: Vec<Speakerphone>,
    /// Watchdogs.
    pub watchdogs: Vec<Watchdog>,
    /// Connectors for screens.
    pub screens: Vec<Screen>,
    /// Adapters of HDMI-CEC.
    pub cec_adapters: Vec<CecAdapter>,
    /// Where a name for the terminal may come from.
    pub identities: Vec<IdentitySource>,
    /// Network interfaces.
    pub networks: Vec<Network>,
}

/// Looks at everything. Takes about a second, most of it for GStreamer; what needs rights that this program lacks is
/// listed with the reason where it can be seen at all.
pub fn look() -> Machine {
    let root = Path::new("/");
    Machine {
        model: model(root),
        cameras: v4l2::listing::cameras(),
        encoders: v4l2::listing::encoders(),
        encoder_elements: gst_encoder::listing(),
        converters: v4l2::listing::converters(),
        sounds: alsa::listing::sounds(),
        gpio_chips: gpio_lines::listing(),
        lights: led_class::listing(),
        inputs: evdev_device::listing().into_iter().filter(InputDevice::is_of_use).collect(),
        speakerphones: hid::find::listing(),
        watchdogs: watchdog::listing(),
        screens: screens::listing(&root.join("sys/class/drm")),
        cec_adapters: cec::listing(),
        identities: identities::listing(root),
        networks: networks::listing(&root.join("sys/class/net")),
    }
}

impl Machine {
    /// A table for people: by kind, what each device is, and the keys of a profile that name it.
    pub fn table(&self) -> String {
        table::table(self)
    }

    /// A commented profile, in TOML, that uses the best of each kind by names that survive a restart.
    pub fn profile(&self) -> String {
        writer::profile(self)
    }

    /// Whether there is anything that a terminal could see, hear or be seen and heard with.
    pub fn has_anything(&self) -> bool {
        !(self.cameras.is_empty() && self.sounds.is_empty() && self.screens.is_empty())
    }
}

fn model(root: &Path) -> String {
    let first = |paths: &[&str]| paths.iter().find_map(|path| text(&root.join(path)));
    first(&["sys/firmware/devicetree/base/model"])
        .or_else(|| {
            let vendor = first(&["sys/class/dmi/id/sys_vendor"]).unwrap_or_default();
            let product = first(&["sys/class/dmi/id/product_name"])?;
            Some(format!("{vendor} {product}").trim().to_owned())
        })
        .unwrap_or_default()
}

/// The text of a file of sysfs or of the device tree, when it has one.
fn text(file: &Path) -> Option<String> {
    let bytes = fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_end_matches('\0').trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Names of what is in a folder, in order; none when there is no such folder.
fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_board_is_called_what_its_device_tree_or_its_firmware_says() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(model(root.path()), "");
        let put = |path: &str, content: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        put("sys/class/dmi/id/sys_vendor", "Intel(R) Client Systems\n");
        put("sys/class/dmi/id/product_name", "NUC11\n");
        assert_eq!(model(root.path()), "Intel(R) Client Systems NUC11");
        put("sys/firmware/devicetree/base/model", "Raspberry Pi 5 Model B Rev 1.0\0");
        assert_eq!(model(root.path()), "Raspberry Pi 5 Model B Rev 1.0");
    }
}
