//! Input devices (`Documentation/input/input.rst`), found by their names.
//!
//! A name is that of the kernel, as `/proc/bus/input/devices` lists it; numbers under `/dev/input` change
//! when something is plugged in. Waiting needs a tokio runtime with I/O and time; opening does not.

use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use evdev::{Device, EventStream, InputEvent, KeyCode, SwitchCode};
use serde::Deserialize;

use crate::{error::Failure, probe::inputs::InputDevice};

/// Time between two looks for a device that is gone.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Where the kernel lists input devices, and where their nodes are.
const ROOTS: Roots<'static> = Roots { sysfs: "/sys/class/input", nodes: "/dev/input" };

struct Roots<'a> {
    sysfs: &'a str,
    nodes: &'a str,
}

/// A key or switch by its name in `include/uapi/linux/input-event-codes.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Code {
    Key(KeyCode),
    Switch(SwitchCode),
}

impl TryFrom<String> for Code {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let key = KeyCode::from_str(&name).map(Self::Key);
        key.or_else(|_| SwitchCode::from_str(&name).map(Self::Switch)).map_err(|_| {
            format!(
                "the kernel has no key or switch named {name}; names are those of \
                 linux/input-event-codes.h, such as KEY_MICMUTE, KEY_PHONE, KEY_VOLUMEUP or SW_MUTE_DEVICE"
            )
        })
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(key) => write!(f, "{key:?}"),
            Self::Switch(switch) => write!(f, "{switch:?}"),
        }
    }
}

impl Code {
    /// Whether an event says that this key is down or this switch is on; `None` when it is about another, or
    /// the kernel's repetition of a key that is held.
    pub(crate) fn is_on_by(self, event: InputEvent) -> Option<bool> {
        use evdev::EventSummary::{Key, Switch};
        match (self, event.destructure()) {
            (Self::Key(wanted), Key(_, key, value @ (0 | 1))) if key == wanted => Some(value == 1),
            (Self::Switch(wanted), Switch(_, switch, value)) if switch == wanted => Some(value != 0),
            _ => None,
        }
    }

    fn is_of(self, device: &Device) -> bool {
        match self {
            Self::Key(key) => device.supported_keys().is_some_and(|keys| keys.contains(key)),
            Self::Switch(switch) => {
                device.supported_switches().is_some_and(|switches| switches.contains(switch))
            }
        }
    }
}

/// An input device that is open.
pub(crate) struct Input {
    name: String,
    device: Opened,
}

enum Opened {
    /// Nobody has waited for it yet.
    Quiet(Device),
    Watched(EventStream),
    Lost,
}

impl Input {
    /// Opens the device of that name or path which has all of `codes`. Several devices may have one name,
    /// such as those of a USB speakerphone.
    pub(crate) fn open(name: &str, codes: &[Code]) -> Result<Self, Failure> {
        let failure_name = format!("the input device {name}");
        let unusable = |message| Failure::Unusable { name: failure_name.clone(), message };
        let mut failure = None;
        for path in find(&ROOTS, name)? {
            let device = match Device::open(&path) {
                Ok(device) => device,
                Err(error) => {
                    failure = Some(unusable(format!("{}: {error}", path.display())));
                    continue;
                }
            };
            let lacking: Vec<_> =
                codes.iter().filter(|code| !code.is_of(&device)).map(ToString::to_string).collect();
            if lacking.is_empty() {
                return Ok(Self { name: name.into(), device: Opened::Quiet(device) });
            }
            failure = Some(unusable(format!("it has no {}", lacking.join(", "))));
        }
        Err(failure.unwrap_or_else(|| unusable("it has no events".into())))
    }

    /// Waits for the next event. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<InputEvent, String> {
        if let Opened::Quiet(_) = &self.device
            && let Opened::Quiet(device) = std::mem::replace(&mut self.device, Opened::Lost)
        {
            self.device = Opened::Watched(device.into_event_stream().map_err(|e| self.gone(&e))?);
        }
        match &mut self.device {
            Opened::Watched(stream) => stream.next_event().await.map_err(|e| self.gone(&e)),
            Opened::Quiet(_) | Opened::Lost => Err(self.gone(&io::ErrorKind::NotConnected.into())),
        }
    }

    /// Whether a key is down or a switch is on now.
    pub(crate) fn is_on(&self, code: Code) -> Result<bool, String> {
        let device = match &self.device {
            Opened::Quiet(device) => device,
            Opened::Watched(stream) => stream.device(),
            Opened::Lost => return Err(self.gone(&io::ErrorKind::NotConnected.into())),
        };
        match code {
            Code::Key(key) => device.get_key_state().map(|keys| keys.contains(key)),
            Code::Switch(switch) => device.get_switch_state().map(|switches| switches.contains(switch)),
        }
        .map_err(|e| self.gone(&e))
    }

    fn gone(&self, error: &io::Error) -> String {
        format!("the input device {}: {error}", self.name)
    }
}

/// Nodes of the devices that have `wanted` as their name, or the node of that path.
fn find(roots: &Roots<'_>, wanted: &str) -> Result<Vec<PathBuf>, Failure> {
    let path = Path::new(wanted);
    if path.is_absolute() && path.exists() {
        return Ok(vec![path.into()]);
    }
    let devices = devices(roots);
    let found: Vec<_> =
        devices.iter().filter(|(name, _)| name == wanted).map(|(_, node)| node.clone()).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let mut names: Vec<_> = devices.into_iter().map(|(name, _)| name).collect();
    names.dedup();
    let hint = if names.is_empty() {
        format!("there is no input device under {}", roots.sysfs)
    } else {
        format!("there are {}", names.join(", "))
    };
    Err(Failure::Absent { name: format!("the input device {wanted}"), hint })
}

/// Names and nodes of all devices that have events.
fn devices(roots: &Roots<'_>) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(roots.sysfs).into_iter().flatten().flatten();
    let mut devices: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("event"))
        .filter_map(|entry| {
            let name = fs::read(entry.path().join("device/name")).ok()?;
            let name = String::from_utf8_lossy(&name).trim().to_owned();
            Some((name, Path::new(roots.nodes).join(entry.file_name())))
        })
        .collect();
    devices.sort();
    devices
}

/// Every device with its keys and switches, for `probe`.
pub(crate) fn listing() -> Vec<InputDevice> {
    let listed = devices(&ROOTS).into_iter().map(|(name, node)| {
        let device = match Device::open(&node) {
            Ok(device) => device,
            Err(error) => {
                return InputDevice { name, problem: Some(error.to_string()), ..InputDevice::default() };
            }
        };
        let keys = device.supported_keys().into_iter().flat_map(|keys| keys.iter());
        let switches = device.supported_switches().into_iter().flat_map(|switches| switches.iter());
        InputDevice {
            name,
            keys: keys.map(|key| format!("{key:?}")).collect(),
            switches: switches.map(|switch| format!("{switch:?}")).collect(),
            problem: None,
        }
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use evdev::EventType;
    use proptest::prelude::*;

    use super::*;

    fn sysfs_with(devices: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (event, name) in devices {
            let folder = root.path().join(event).join("device");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("name"), name).unwrap();
        }
        root
    }

    fn find_in(root: &tempfile::TempDir, wanted: &str) -> Result<Vec<PathBuf>, Failure> {
        find(&Roots { sysfs: root.path().to_str().unwrap(), nodes: "/dev/input" }, wanted)
    }

    #[test]
    fn devices_are_found_by_their_name() {
        let root = sysfs_with(&[
            ("event3", b"Speakerphone\n"),
            ("event4", b"Speakerphone\n"),
            ("event5", b"Power Button\n"),
            ("mouse0", b"Speakerphone\n"),
        ]);
        let nodes = ["/dev/input/event3", "/dev/input/event4"].map(PathBuf::from);
        assert_eq!(find_in(&root, "Speakerphone").unwrap(), nodes);
    }

    #[test]
    fn an_absent_device_gives_those_that_are_there() {
        let root = sysfs_with(&[("event0", b"Power Button\n"), ("event1", b"gpio-keys\n")]);
        let error = find_in(&root, "rig-buttons").unwrap_err().to_string();
        assert_eq!(error, "the input device rig-buttons is not there; there are Power Button, gpio-keys");
        let error = find_in(&sysfs_with(&[]), "/dev/input/by-id/none").unwrap_err().to_string();
        assert!(error.contains("/dev/input/by-id/none is not there; there is no input device"), "{error}");
    }

    #[test]
    fn keys_and_switches_have_the_names_of_the_kernel() {
        let code = |name: &str| Code::try_from(name.to_owned());
        assert_eq!(code("KEY_MICMUTE"), Ok(Code::Key(KeyCode::KEY_MICMUTE)));
        assert_eq!(code("SW_MUTE_DEVICE"), Ok(Code::Switch(SwitchCode::SW_MUTE_DEVICE)));
        assert!(code("MICMUTE").unwrap_err().contains("no key or switch named MICMUTE"));
    }

    #[test]
    fn a_key_that_repeats_itself_says_nothing_new() {
        let event = |kind: EventType, code, value| InputEvent::new(kind.0, code, value);
        let key = Code::Key(KeyCode::KEY_PHONE);
        let phone = |value| event(EventType::KEY, KeyCode::KEY_PHONE.0, value);
        let said: Vec<_> = [1, 2, 2, 0].map(|value| key.is_on_by(phone(value))).into();
        assert_eq!(said, [Some(true), None, None, Some(false)]);
        assert_eq!(key.is_on_by(event(EventType::KEY, KeyCode::KEY_MICMUTE.0, 1)), None);
        let switch = Code::Switch(SwitchCode::SW_MUTE_DEVICE);
        assert_eq!(switch.is_on_by(event(EventType::SWITCH, SwitchCode::SW_MUTE_DEVICE.0, 1)), Some(true));
        assert_eq!(switch.is_on_by(event(EventType::KEY, SwitchCode::SW_MUTE_DEVICE.0, 1)), None);
    }

    proptest! {
        #[test]
        fn no_name_of_a_device_panics(name: Vec<u8>, wanted in "\\PC{0,20}") {
            let _ = find_in(&sysfs_with(&[("event0", &name)]), &wanted);
        }

        #[test]
        fn no_event_panics(kind: u16, number: u16, value: i32) {
            let event = InputEvent::new(kind, number, value);
            let _ = Code::Key(KeyCode::KEY_PHONE).is_on_by(event);
            let _ = Code::Switch(SwitchCode::SW_MUTE_DEVICE).is_on_by(event);
        }
    }
}
