//! HID devices by what they are called (sysfs ABI `sysfs-class-hidraw`, `uevent` of HID devices): numbers under
//! `/dev` change when something is plugged in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rostrum_hal::buttons::ButtonRole;

use super::{descriptor::Descriptor, telephony::Telephony};
use crate::probe::speakerphones::Speakerphone;

/// Where the kernel lists devices, and where their nodes are.
pub(super) const ROOTS: Roots<'static> = Roots { sysfs: "/sys/class/hidraw", nodes: "/dev" };

pub(super) struct Roots<'a> {
    pub(super) sysfs: &'a str,
    pub(super) nodes: &'a str,
}

/// A device that is plugged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) node: PathBuf,
    pub(super) descriptor: Descriptor,
    name: String,
    serial: String,
    /// `vendor:product`, as `lsusb` writes it.
    id: String,
}

impl Found {
    /// One that no sysfs tells of.
    #[cfg(test)]
    pub(super) fn of(name: &str, report_descriptor: &[u8]) -> Self {
        let descriptor = Descriptor::parse(report_descriptor);
        let (serial, id) = (String::new(), String::new());
        Self { node: PathBuf::new(), descriptor, name: name.into(), serial, id }
    }

    /// Whether a profile means this device.
    pub(super) fn is(&self, wanted: &str) -> bool {
        self.id.eq_ignore_ascii_case(wanted)
            || self.name == wanted
            || (!self.serial.is_empty() && self.serial == wanted)
    }

    /// How people find it in a list.
    pub(super) fn title(&self) -> String {
        match self.serial.as_str() {
            "" => format!("{} ({})", self.name, self.id),
            serial => format!("{} ({}, serial {serial})", self.name, self.id),
        }
    }
}

/// All devices, in the order of their nodes' names.
pub(super) fn devices(roots: &Roots<'_>) -> Vec<Found> {
    let entries = fs::read_dir(roots.sysfs).into_iter().flatten().flatten();
    let mut devices: Vec<_> = entries
        .filter_map(|entry| {
            let device = entry.path().join("device");
            let said = fs::read(device.join("uevent")).ok()?;
            let said = String::from_utf8_lossy(&said).into_owned();
            let value = |key| said.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim();
            Some(Found {
                node: Path::new(roots.nodes).join(entry.file_name()),
                descriptor: Descriptor::parse(&fs::read(device.join("report_descriptor")).ok()?),
                name: value("HID_NAME=").to_owned(),
                serial: value("HID_UNIQ=").to_owned(),
                id: usb_id(value("HID_ID=")).unwrap_or_default(),
            })
        })
        .collect();
    devices.sort_by(|a, b| a.node.cmp(&b.node));
    devices
}

/// Every device with telephony, for `probe`.
pub(crate) fn listing() -> Vec<Speakerphone> {
    let listed = devices(&ROOTS).into_iter().filter_map(|found| {
        let telephony = Telephony::new(&found.descriptor)?;
        let button = |role| match role {
            ButtonRole::Join => Some("join"),
            ButtonRole::Mute => Some("mute"),
            ButtonRole::VolumeUp => Some("volume_up"),
            ButtonRole::VolumeDown => Some("volume_down"),
            _ => None,
        };
        let buttons = telephony.buttons().into_iter().filter_map(button).map(str::to_owned).collect();
        let lights = telephony.lamps().into_iter().map(|lamp| lamp.name().to_owned()).collect();
        let Found { name, serial, id, .. } = found;
        Some(Speakerphone { name, id, serial, buttons, lights })
    });
    listed.collect()
}

/// `0b0e:0410` out of `0003:00000B0E:00000410`: bus, vendor and product.
fn usb_id(hid_id: &str) -> Option<String> {
    let mut parts = hid_id.split(':').skip(1).map(|part| u32::from_str_radix(part, 16).ok());
    Some(format!("{:04x}:{:04x}", parts.next()??, parts.next()??))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::{super::descriptor::tests::SPEAKERPHONE, *};

    /// A sysfs with a device of each of these `uevent`s and descriptors.
    fn sysfs_with(devices: &[(&str, &[u8], &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (node, said, descriptor) in devices {
            let folder = root.path().join(node).join("device");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("uevent"), said).unwrap();
            fs::write(folder.join("report_descriptor"), descriptor).unwrap();
        }
        root
    }

    fn devices_in(root: &tempfile::TempDir) -> Vec<Found> {
        devices(&Roots { sysfs: root.path().to_str().unwrap(), nodes: "/dev" })
    }

    #[test]
    fn a_device_is_found_by_its_numbers_its_serial_or_its_name() {
        let phone = "DRIVER=hid-generic\nHID_ID=0003:00000B0E:00000410\nHID_NAME=Rig Speakerphone\n\
                     HID_PHYS=usb-1/input3\nHID_UNIQ=A00237\nMODALIAS=hid:b0003\n";
        let mouse = "HID_ID=0003:0000046D:0000C077\nHID_NAME=Mouse\nHID_UNIQ=\n";
        let root =
            sysfs_with(&[("hidraw1", phone.as_bytes(), SPEAKERPHONE), ("hidraw0", mouse.as_bytes(), &[])]);
        let found = devices_in(&root);
        assert_eq!(found[1].node, Path::new("/dev/hidraw1"));
        for wanted in ["0b0e:0410", "0B0E:0410", "A00237", "Rig Speakerphone"] {
            assert_eq!([found[0].is(wanted), found[1].is(wanted)], [false, true], "{wanted}");
        }
        assert!(!found[0].is(""), "an absent serial is nobody's");
        let titles: Vec<_> = found.iter().map(Found::title).collect();
        assert_eq!(titles, ["Mouse (046d:c077)", "Rig Speakerphone (0b0e:0410, serial A00237)"]);
    }

    proptest! {
        #[test]
        fn nothing_that_a_device_says_of_itself_panics(
            said: Vec<u8>, words in "[A-Z_=:0-9\n]{0,60}", wanted in "\\PC{0,10}",
        ) {
            let root = sysfs_with(&[("hidraw0", &said, &[]), ("hidraw1", words.as_bytes(), &said)]);
            for found in devices_in(&root) {
                let _ = (found.is(&wanted), found.title());
            }
        }
    }
}
