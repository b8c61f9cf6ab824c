//! The cameras of this machine as sysfs shows them (`/sys/class/video4linux`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::uvc_descriptors::{self, ExtensionUnit};

/// Where the kernel lists video devices.
pub(super) const CLASS: &str = "/sys/class/video4linux";

/// One camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Such as `/dev/video0`; another one after it was unplugged.
    pub(super) path: PathBuf,
    /// The name to show to people.
    pub(super) title: String,
    /// Of a USB camera that has one: the same wherever it is plugged in.
    pub(super) serial: Option<String>,
}

/// How a profile names its camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The first there is.
    First,
    /// A path under `/dev`, or a link to one.
    Path(PathBuf),
    /// Its USB serial number.
    Serial(String),
    /// A part of its title.
    Title(String),
}

impl Wanted {
    fn is(&self, camera: &Found) -> bool {
        match self {
            Self::First => true,
            Self::Path(path) => {
                let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                real == camera.path
            }
            Self::Serial(serial) => camera.serial.as_ref() == Some(serial),
            Self::Title(part) => camera.title.contains(part.as_str()),
        }
    }
}

/// The camera that `wanted` means, or all that there are.
pub(super) fn find(class: &Path, wanted: &Wanted) -> Result<Found, Vec<Found>> {
    let cameras = cameras(class);
    cameras.iter().find(|camera| wanted.is(camera)).cloned().ok_or(cameras)
}

/// Every video device, in the order of its number.
pub(super) fn paths() -> Vec<PathBuf> {
    nodes(Path::new(CLASS)).into_iter().map(|(found, _)| found.path).collect()
}

/// Every device that may give pictures, in the order of its number. Encoders and screens may be among them.
pub(super) fn cameras(class: &Path) -> Vec<Found> {
    // The first of each device gives pictures, the others what is said about them.
    nodes(class).into_iter().filter(|(_, index)| *index == 0).map(|(found, _)| found).collect()
}

/// Every video device in the order of its number, with its index among those of one device: a codec of several roles
/// has one for each.
pub(super) fn nodes(class: &Path) -> Vec<(Found, u32)> {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    let mut found: Vec<(u32, (Found, u32))> = entries
        .filter_map(|entry| {
            let node = entry.file_name().to_string_lossy().into_owned();
            let number = node.strip_prefix("video")?.parse().ok()?;
            let folder = entry.path();
            let index = text(&folder.join("index"))?.parse().ok()?;
            let title = text(&folder.join("name")).unwrap_or_default();
            let path = Path::new("/dev").join(&node);
            Some((number, (Found { path, title, serial: serial(&folder) }, index)))
        })
        .collect();
    found.sort_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, found)| found).collect()
}

/// The serial number of the USB device that `folder` belongs to: its interface is `device`, the device itself above it.
fn serial(folder: &Path) -> Option<String> {
    let interface = fs::canonicalize(folder.join("device")).ok()?;
    text(&interface.parent()?.join("serial"))
}

/// The extension units of a USB camera; others have none. Its descriptors are those of the whole device, which may have
/// several cameras, a video control interface each.
pub(super) fn extension_units(class: &Path, camera: &Found) -> Vec<ExtensionUnit> {
    let units = || {
        let interface = fs::canonicalize(class.join(camera.path.file_name()?).join("device")).ok()?;
        let number = u8::from_str_radix(&text(&interface.join("bInterfaceNumber"))?, 16).ok()?;
        let descriptors = fs::read(interface.parent()?.join("descriptors")).ok()?;
        Some(uvc_descriptors::extension_units(&descriptors, number))
    };
    units().unwrap_or_default()
}

fn text(file: &Path) -> Option<String> {
    let bytes = fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    /// A class folder with a USB camera of two nodes at video`first`, and a camera of the board at video0.
    fn class(first: u32) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let usb = root.path().join("devices/usb1/1-1");
        fs::create_dir_all(usb.join("1-1:1.0")).unwrap();
        fs::write(usb.join("serial"), "RIG0001\n").unwrap();
        let class = root.path().join("class");
        for (number, index, name, device) in [
            (0, 0, "unicam", None),
            (first, 0, "Rig PTZ Camera", Some(usb.join("1-1:1.0"))),
            (first + 1, 1, "Rig PTZ Camera", Some(usb.join("1-1:1.0"))),
        ] {
            let folder = class.join(format!("video{number}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("index"), format!("{index}\n")).unwrap();
            fs::write(folder.join("name"), format!("{name}\n")).unwrap();
            if let Some(device) = device {
                symlink(device, folder.join("device")).unwrap();
            }
        }
        fs::create_dir_all(class.join("v4l-touch0")).unwrap();
        root
    }

    #[test]
    fn a_camera_is_found_by_serial_number_wherever_it_is() {
        for first in [2, 10] {
            let root = class(first);
            let found = find(&root.path().join("class"), &Wanted::Serial("RIG0001".into())).unwrap();
            assert_eq!(found.path, Path::new(&format!("/dev/video{first}")));
        }
    }

    #[test]
    fn a_camera_is_found_by_order_path_or_title() {
        let root = class(2);
        let found = |wanted| find(&root.path().join("class"), &wanted).map(|camera| camera.title);
        assert_eq!(found(Wanted::First).unwrap(), "unicam");
        assert_eq!(found(Wanted::Path("/dev/video2".into())).unwrap(), "Rig PTZ Camera");
        assert_eq!(found(Wanted::Title("PTZ".into())).unwrap(), "Rig PTZ Camera");
    }

    #[test]
    fn an_absent_camera_gives_those_that_are_there() {
        let root = class(2);
        let present = find(&root.path().join("class"), &Wanted::Serial("X".into())).unwrap_err();
        assert_eq!(present.len(), 2, "a device's second node is no camera: {present:?}");
        assert!(find(Path::new("/nonexistent"), &Wanted::First).unwrap_err().is_empty());
    }
}
