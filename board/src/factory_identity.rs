//! The name that the factory gave a board: in its factory partition, in its device tree, in an EEPROM, or in a file.
//!
//! Properties of the device tree are files under `/sys/firmware/devicetree/base` (Devicetree Specification
//! §2.2.4, `<string>`; `Documentation/ABI/testing/sysfs-firmware-ofw`), EEPROMs those of the drivers `at24`
//! and `nvmem` (`Documentation/misc-devices/eeprom.rst`, `Documentation/driver-api/nvmem.rst`).

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use rostrum_hal::identity::{Identity, IdentityError, Udid};
use serde::Deserialize;

use crate::{BoardError, drivers::Device};

const DEVICE_TREE: &str = "/sys/firmware/devicetree/base";
/// Bytes read of a property or a file: more than any name has.
const MOST: u64 = 4096;

/// Keys of `[identity]` with the driver `factory`: the places to look at, in this order.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// A text file with the name and nothing else, in a partition that is read-only in use: `/factory/udid`. Before all
    /// others, as a bench that names terminals means it.
    partition: Option<PathBuf>,
    /// A property of the device tree, such as `serial-number` or `chosen/udid`.
    device_tree: Option<PathBuf>,
    /// Bytes of an EEPROM.
    eeprom: Option<Eeprom>,
    /// A text file with the name and nothing else.
    file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Eeprom {
    /// Such as `/sys/bus/i2c/devices/0-0050/eeprom`.
    path: PathBuf,
    /// Where the name begins.
    #[serde(default)]
    offset: u32,
    /// Bytes that it may have; a shorter one ends with NUL or with what was never written (0xff).
    #[serde(default = "longest_udid")]
    length: u16,
}

fn longest_udid() -> u16 {
    64
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Identity>, BoardError> {
    let places = device.options::<Options>()?.places(Path::new(DEVICE_TREE));
    if places.is_empty() {
        return Err(device.wrong("give a place: partition, device_tree, eeprom or file"));
    }
    Ok(Box::new(FactoryIdentity { places }))
}

impl Options {
    fn places(self, device_tree: &Path) -> Vec<Place> {
        let partition = self.partition.map(|path| Place { path, offset: 0, length: MOST, ends: &[] });
        let property = self.device_tree.map(|property| Place {
            path: in_device_tree(device_tree, &property),
            offset: 0,
            length: MOST,
            ends: &[0],
        });
        let eeprom = self.eeprom.map(|eeprom| Place {
            path: eeprom.path,
            offset: eeprom.offset.into(),
            length: eeprom.length.into(),
            ends: &[0, 0xff],
        });
        let file = self.file.map(|path| Place { path, offset: 0, length: MOST, ends: &[] });
        [partition, property, eeprom, file].into_iter().flatten().collect()
    }
}

/// Path of a property, which may be given as one of the device tree or of the file system.
fn in_device_tree(root: &Path, property: &Path) -> PathBuf {
    let names = ["/proc/device-tree", DEVICE_TREE].iter().find_map(|root| property.strip_prefix(root).ok());
    let names = names.unwrap_or(property);
    root.join(names.strip_prefix("/").unwrap_or(names))
}

/// Read at each call, so that a board provisioned while it runs needs no restart.
struct FactoryIdentity {
    /// The first that has something decides.
    places: Vec<Place>,
}

struct Place {
    path: PathBuf,
    offset: u64,
    /// Bytes to look at.
    length: u64,
    /// Bytes that end the name before that.
    ends: &'static [u8],
}

impl Identity for FactoryIdentity {
    fn udid(&self) -> Result<Udid, IdentityError> {
        let mut looked_at = Vec::new();
        for place in &self.places {
            let unusable =
                |message| IdentityError::Unusable { place: place.path.display().to_string(), message };
            let (nothing, bytes) = match place.read() {
                Ok(bytes) => ("is empty", bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => ("is not there", Vec::new()),
                // Another place may have another name: that of a board whose file was copied.
                Err(error) => return Err(unusable(error.to_string())),
            };
            if bytes.is_empty() {
                looked_at.push(format!("{} {nothing}", place.path.display()));
                continue;
            }
            return Udid::new(String::from_utf8_lossy(&bytes)).map_err(|error| unusable(error.to_string()));
        }
        Err(IdentityError::Absent { looked_at: looked_at.join(", ") })
    }
}

impl Place {
    /// What is there, without what ends it and without white space around it.
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.take(self.length).read_to_end(&mut bytes)?;
        let end = bytes.iter().position(|byte| self.ends.contains(byte)).unwrap_or(bytes.len());
        Ok(bytes[..end].trim_ascii().to_vec())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// A machine with all three places, of which some have content.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn with(contents: &[(&str, &[u8])]) -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            for (name, content) in contents {
                fs::write(machine.0.path().join(name), content).unwrap();
            }
            machine
        }

        fn udid(&self) -> Result<Udid, IdentityError> {
            let options = Options {
                partition: Some(self.0.path().join("partition")),
                device_tree: Some("/proc/device-tree/serial-number".into()),
                eeprom: Some(Eeprom { path: self.0.path().join("eeprom"), offset: 4, length: 16 }),
                file: Some(self.0.path().join("udid")),
            };
            FactoryIdentity { places: options.places(self.0.path()) }.udid()
        }

        fn name(&self) -> String {
            self.udid().unwrap().into()
        }
    }

    #[test]
    fn the_first_place_that_has_something_decides() {
        let all: [(&str, &[u8]); 4] = [
            ("partition", b"bench-1\n"),
            ("serial-number", b"tree-1\0"),
            ("eeprom", b"\x01\x02\x03\x04rom-1\0junk"),
            ("udid", b"file-1\n"),
        ];
        let names = ["bench-1", "tree-1", "rom-1", "file-1"];
        assert_eq!([0, 1, 2, 3].map(|first| Machine::with(&all[first..]).name()), names);
    }

    #[test]
    fn a_blank_eeprom_and_an_empty_property_have_nothing() {
        let blank = [0xff; 256];
        let machine = Machine::with(&[("serial-number", b"\0"), ("eeprom", &blank), ("udid", b"file-1")]);
        assert_eq!(machine.name(), "file-1");
        assert_eq!(
            Machine::with(&[("eeprom", b"abc"), ("udid", b"file-1")]).name(),
            "file-1",
            "it is too short"
        );
    }

    #[test]
    fn a_name_may_fill_its_place_in_the_eeprom() {
        assert_eq!(Machine::with(&[("eeprom", b"....0123456789abcdefg")]).name(), "0123456789abcdef");
    }

    #[test]
    fn a_malformed_name_is_an_error_and_not_passed_over() {
        let machine = Machine::with(&[("eeprom", b"....no name\0"), ("udid", b"file-1")]);
        let error = machine.udid().unwrap_err();
        assert!(matches!(error, IdentityError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains("/eeprom cannot be used: a Udid has"), "{error}");
    }

    #[test]
    fn a_place_that_cannot_be_read_is_an_error_and_not_passed_over() {
        let machine = Machine::with(&[("udid", b"file-1")]);
        fs::create_dir(machine.0.path().join("eeprom")).unwrap();
        assert!(matches!(machine.udid(), Err(IdentityError::Unusable { .. })));
    }

    #[test]
    fn nothing_anywhere_names_all_places() {
        let error = Machine::with(&[("udid", b" \n")]).udid().unwrap_err();
        assert!(matches!(error, IdentityError::Absent { .. }), "{error}");
        let text = error.to_string();
        let told = ["/serial-number is not there", "/eeprom is not there", "/udid is empty"];
        assert!(told.iter().all(|place| text.contains(place)), "{text}");
    }

    #[test]
    fn a_property_is_named_as_in_the_tree_or_as_a_file() {
        let path = |property: &str| in_device_tree(Path::new("/base"), Path::new(property));
        for property in ["chosen/udid", "/chosen/udid", "/proc/device-tree/chosen/udid"] {
            assert_eq!(path(property), Path::new("/base/chosen/udid"), "{property}");
        }
        assert_eq!(path("/sys/firmware/devicetree/base/chosen/udid"), Path::new("/base/chosen/udid"));
    }

    proptest! {
        #[test]
        fn no_content_panics(
            contents: [Vec<u8>; 4], present: [bool; 4], offset: u32, length: u16,
        ) {
            let machine = Machine::with(&[]);
            let names = ["partition", "serial-number", "eeprom", "udid"];
            for ((name, content), present) in names.iter().zip(&contents).zip(present) {
                if present {
                    fs::write(machine.0.path().join(name), content).unwrap();
                }
            }
            let _ = machine.udid();
            let path = machine.0.path().join("eeprom");
            let (offset, length) = (offset.into(), length.into());
            let _ = Place { path, offset, length, ends: &[0, 0xff] }.read();
        }
    }
}
