//! Where a name for the terminal may come from.

use std::path::{Path, PathBuf};

use rostrum_hal::identity::Udid;
use serde::Serialize;
use toml::Table;

use super::{entries, keys::Keys, table::Row, text};

/// Where a name is put by hand, on machines that were made without one.
const BY_HAND: &str = "/var/lib/rostrum/udid";

/// What a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A property of the device tree, given by the boot loader.
    DeviceTree,
    /// Memory of the board that keeps its content.
    Eeprom,
}

/// One place.
#[derive(Clone, Debug, Serialize)]
pub struct IdentitySource {
    /// What it is.
    pub place: Place,
    /// Property or path.
    pub path: PathBuf,
    /// What a device tree has there.
    pub content: Option<String>,
}

/// All places below `root`.
pub(super) fn listing(root: &Path) -> Vec<IdentitySource> {
    let serial = text(&root.join("sys/firmware/devicetree/base/serial-number"));
    let serial = serial.map(|content| IdentitySource {
        place: Place::DeviceTree,
        path: "serial-number".into(),
        content: Some(content),
    });
    let eeprom = |path: PathBuf| IdentitySource { place: Place::Eeprom, path, content: None };
    let of = |folder: &'static str, file: &'static str| {
        let names = entries(&root.join(folder)).into_iter();
        let paths = names.map(move |name| Path::new("/").join(folder).join(name).join(file));
        paths
            .filter(|path| path.strip_prefix("/").is_ok_and(|path| root.join(path).exists()))
            .collect::<Vec<_>>()
    };
    let eeproms = of("sys/bus/i2c/devices", "eeprom").into_iter().map(eeprom);
    let memories = of("sys/bus/nvmem/devices", "nvmem").into_iter().map(eeprom);
    serial.into_iter().chain(eeproms).chain(memories).collect()
}

impl IdentitySource {
    /// A device tree's content that a terminal can be called.
    fn is_name(&self) -> bool {
        self.content.as_ref().is_some_and(|content| Udid::new(content.as_str()).is_ok())
    }

    pub(super) fn row(&self) -> Row {
        let path = toml::Value::from(self.path.to_string_lossy().into_owned());
        let (what, key) = match self.place {
            Place::DeviceTree => ("device tree", format!("device_tree = {path}")),
            Place::Eeprom => ("EEPROM", format!("eeprom = {{ path = {path}, offset = 0, length = 64 }}")),
        };
        let content = self.content.as_ref().map(|content| format!(": {content}")).unwrap_or_default();
        let unusable = self.content.is_some() && !self.is_name();
        Row {
            what: format!("{what}, {}{content}", self.path.display()),
            details: unusable
                .then(|| "no name for a terminal: A-Z a-z 0-9 _ - only".to_owned())
                .into_iter()
                .collect(),
            key: format!("[identity] driver = \"factory\", {key}"),
        }
    }
}

/// What the factory gave; else a file, as nothing is invented. An EEPROM is not guessed at: only the board's maker
/// knows where in it a name is.
pub(super) fn best(sources: &[IdentitySource]) -> Keys {
    let keys = Keys::of("factory");
    match sources.iter().find(|source| source.is_name()) {
        Some(source) => keys.with("device_tree", source.path.to_string_lossy().into_owned()),
        None => keys.with("file", BY_HAND),
    }
}

/// An EEPROM's keys, for a comment.
pub(super) fn eeprom_in_words(sources: &[IdentitySource]) -> Option<String> {
    let source = sources.iter().find(|source| source.place == Place::Eeprom)?;
    let mut table = Table::new();
    table.insert("path".into(), source.path.to_string_lossy().into_owned().into());
    table.insert("offset".into(), 0.into());
    table.insert("length".into(), 64.into());
    Some(format!("eeprom = {}", toml::Value::from(table)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_serial_number_of_the_device_tree_names_the_terminal_and_an_eeprom_is_not_guessed_at() {
        let root = tempfile::tempdir().unwrap();
        assert!(best(&listing(root.path())).one_line().ends_with("file = \"/var/lib/rostrum/udid\""));
        let put = |path: &str, content: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        put("sys/bus/i2c/devices/0-0050/eeprom", "secret");
        put("sys/bus/i2c/devices/0-0051/name", "rtc");
        let listed = listing(root.path());
        assert_eq!(listed.len(), 1);
        assert!(best(&listed).one_line().contains("file"));
        assert!(eeprom_in_words(&listed).unwrap().contains("/sys/bus/i2c/devices/0-0050/eeprom"));
        put("sys/firmware/devicetree/base/serial-number", "10000000abcdef01\0");
        assert!(best(&listing(root.path())).one_line().ends_with("device_tree = \"serial-number\""));
        put("sys/firmware/devicetree/base/serial-number", "To be filled in\0");
        assert!(best(&listing(root.path())).one_line().contains("file"));
    }
}
