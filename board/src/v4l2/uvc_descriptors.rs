//! The extension units that a USB camera's descriptors tell of (USB 2.0 §9.6, UVC 1.5 §3.7.2.7). The bytes come from
//! the camera: anything may stand in them.

use std::{fmt, str::FromStr};

const INTERFACE: u8 = 0x04;
const CLASS_INTERFACE: u8 = 0x24;
const EXTENSION_UNIT: u8 = 0x06;
const VIDEO_CLASS: u8 = 0x0e;
const VIDEO_CONTROL: u8 = 1;

/// The name of a kind of extension unit, as it lies in a descriptor: its first three groups are little endian.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Guid([u8; 16]);

/// Where the byte of each pair of digits lies.
const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

impl FromStr for Guid {
    type Err = String;

    /// As `lsusb -v` and vendors write it, with or without braces.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no GUID such as {{a29e7641-de04-47e3-8b2b-f4341aff003b}}");
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
        let groups: Vec<&str> = inner.split('-').collect();
        let digits = groups.concat();
        let has_shape = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !has_shape {
            return Err(wrong());
        }
        let mut bytes = [0; 16];
        for (pair, at) in digits.as_bytes().chunks(2).zip(ORDER) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            bytes[at] = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, at) in ORDER.into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0[at])?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A unit with controls that its vendor alone knows the meaning of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExtensionUnit {
    /// Its number in this camera.
    pub(super) id: u8,
    /// What kind it is.
    pub(super) guid: Guid,
    /// Its controls, ascending.
    pub(super) selectors: Vec<u8>,
}

/// The units of the video control interface of that number, out of the descriptors of a whole device. What is cut
/// short or contradicts itself is left out.
pub(super) fn extension_units(mut bytes: &[u8], interface: u8) -> Vec<ExtensionUnit> {
    let mut units = Vec::new();
    let mut is_ours = false;
    while let Some(&length) = bytes.first() {
        let length = usize::from(length);
        // A length below 2 would never end.
        let Some((descriptor, rest)) = bytes.split_at_checked(length).filter(|_| length >= 2) else { break };
        bytes = rest;
        match descriptor {
            [_, INTERFACE, number, _, _, class, subclass, ..] => {
                is_ours = (*number, *class, *subclass) == (interface, VIDEO_CLASS, VIDEO_CONTROL);
            }
            [_, CLASS_INTERFACE, EXTENSION_UNIT, body @ ..] if is_ours => units.extend(unit(body)),
            _ => {}
        }
    }
    units
}

/// What follows the subtype: id, GUID, number of controls, inputs, and a bit for each control.
fn unit(body: &[u8]) -> Option<ExtensionUnit> {
    let (&id, rest) = body.split_first()?;
    let (guid, rest) = rest.split_first_chunk::<16>()?;
    let (_number_of_controls, rest) = rest.split_first()?;
    let (&inputs, rest) = rest.split_first()?;
    let rest = rest.get(usize::from(inputs)..)?;
    let (&size, rest) = rest.split_first()?;
    let bitmap = rest.get(..usize::from(size))?;
    // Bit 0 is selector 1; no selector is above 255.
    let is_set = |selector: &u8| {
        let bit = usize::from(*selector) - 1;
        bitmap.get(bit / 8).is_some_and(|byte| byte & 1 << (bit % 8) != 0)
    };
    Some(ExtensionUnit { id, guid: Guid(*guid), selectors: (1..=255).filter(is_set).collect() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "{4d4f4f52-5452-5553-4d00-000000000001}";

    fn guid_bytes() -> [u8; 16] {
        [0x52, 0x4f, 0x4f, 0x4d, 0x52, 0x54, 0x53, 0x55, 0x4d, 0x00, 0, 0, 0, 0, 0, 1]
    }

    fn interface(number: u8, subclass: u8) -> Vec<u8> {
        vec![9, INTERFACE, number, 0, 1, VIDEO_CLASS, subclass, 0, 0]
    }

    fn extension(id: u8, inputs: &[u8], bitmap: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, CLASS_INTERFACE, EXTENSION_UNIT, id];
        bytes.extend(guid_bytes());
        bytes.push(2);
        bytes.push(inputs.len() as u8);
        bytes.extend(inputs);
        bytes.push(bitmap.len() as u8);
        bytes.extend(bitmap);
        bytes.push(0);
        bytes[0] = bytes.len() as u8;
        bytes
    }

    #[test]
    fn a_guid_is_read_as_people_write_it() {
        for text in [TEXT, "4D4F4F52-5452-5553-4D00-000000000001"] {
            assert_eq!(text.parse(), Ok(Guid(guid_bytes())));
        }
        assert_eq!(Guid(guid_bytes()).to_string(), TEXT);
        for text in
            ["", "{4d4f4f52}", "{4d4f4f52-5452-5553-4d00-00000000000g}", "4d4f4f525452-5553-4d00-0000"]
        {
            assert!(text.parse::<Guid>().is_err(), "{text}");
        }
    }

    #[test]
    fn units_of_the_wanted_interface_are_found_with_their_controls() {
        let mut bytes = vec![18, 1];
        bytes.resize(18, 0);
        for part in [
            interface(0, VIDEO_CONTROL),
            extension(4, &[2], &[0b11]),
            extension(6, &[2, 4], &[0x80, 0x01]),
            interface(1, 2),
            // The same bytes are something else in a streaming interface.
            extension(9, &[1], &[1]),
            interface(2, VIDEO_CONTROL),
            extension(5, &[], &[0b100]),
        ] {
            bytes.extend(part);
        }
        let of = |number| {
            let units = extension_units(&bytes, number);
            units.into_iter().map(|unit| (unit.id, unit.selectors)).collect::<Vec<_>>()
        };
        assert_eq!(of(0), [(4, vec![1, 2]), (6, vec![8, 9])]);
        assert_eq!(of(2), [(5, vec![3])]);
        assert_eq!(of(1), []);
        assert_eq!(extension_units(&bytes, 0)[0].guid, TEXT.parse().unwrap());
    }

    #[test]
    fn what_is_cut_short_is_left_out() {
        let mut bytes = interface(0, VIDEO_CONTROL);
        let good = bytes.len();
        bytes.extend(extension(4, &[2], &[0b11]));
        for end in good..bytes.len() {
            assert_eq!(extension_units(&bytes[..end], 0), [], "{end}");
        }
        assert_eq!(extension_units(&bytes, 0).len(), 1);
        // More inputs than there are bytes.
        bytes[good + 21] = 200;
        assert_eq!(extension_units(&bytes, 0), []);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), number: u8) {
            extension_units(&bytes, number);
        }

        #[test]
        fn any_units_are_found_among_other_descriptors(
            units in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..8),
                prop::collection::vec(any::<u8>(), 0..33)), 0..6),
            other in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut bytes = interface(0, VIDEO_CONTROL);
            for (id, inputs, bitmap) in &units {
                bytes.extend([other.len() as u8 + 2, 0x25]);
                bytes.extend(&other);
                bytes.extend(extension(*id, inputs, bitmap));
            }
            let found = extension_units(&bytes, 0);
            prop_assert_eq!(found.len(), units.len());
            for (unit, (id, _, bitmap)) in found.iter().zip(&units) {
                prop_assert_eq!(unit.id, *id);
                let bits: u32 = bitmap.iter().map(|byte| byte.count_ones()).sum();
                let beyond = bitmap.get(31).map_or(0, |byte| u32::from(byte >> 7))
                    + bitmap.get(32).map_or(0, |byte| byte.count_ones());
                prop_assert_eq!(unit.selectors.len() as u32, bits - beyond);
            }
        }

        #[test]
        fn a_guid_survives_its_text(bytes: [u8; 16]) {
            prop_assert_eq!(Guid(bytes).to_string().parse(), Ok(Guid(bytes)));
        }
    }
}
