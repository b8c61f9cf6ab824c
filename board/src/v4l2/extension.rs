//! Controls of a vendor's own, in the extension units of USB cameras (UVC 1.5 §4.2.2.5; `include/uapi/linux/uvcvideo.h`
//! and the kernel's "The Linux USB Video Class (UVC) driver"). The profile names them, the camera says their ranges.

use rostrum_hal::camera::{CameraControl, ControlState, VendorControl};
use rustix::io::Errno;
use serde::Deserialize;

use super::{
    node::{Fault, Node},
    uvc_descriptors::{ExtensionUnit, Guid},
};

/// A number of more bytes is none of ours.
const MAX_SIZE: u16 = 8;

/// One of `[[camera.extension_controls]]`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// What it is called, `vendor_` in front: 1 to 32 of a-z, 0-9 and _.
    name: String,
    /// GUID of its unit.
    unit: String,
    /// Its number in the unit.
    selector: u8,
    /// Where its number begins in the control's bytes.
    #[serde(default)]
    offset: u16,
    /// Bytes of its number, little endian, 1 to 8; without it those that there are.
    size: Option<u16>,
    /// Whether its number may be negative.
    #[serde(default)]
    signed: bool,
}

/// One that the profile wants.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    name: VendorControl,
    guid: Guid,
    selector: u8,
    offset: u16,
    size: Option<u16>,
    signed: bool,
}

impl Wanted {
    /// What the profile says, or what is wrong with it.
    pub(super) fn all(options: Vec<Options>) -> Result<Vec<Self>, String> {
        let mut all: Vec<Self> = Vec::new();
        for option in options {
            let name = VendorControl::new(&option.name).map_err(|_| {
                format!(
                    "{:?} is no name of a control: 1 to 32 of a-z, 0-9 and _, the first a letter",
                    option.name
                )
            })?;
            if all.iter().any(|other| other.name == name) {
                return Err(format!("two extension_controls are called {name}"));
            }
            if option.selector == 0 {
                return Err(format!("selectors begin at 1; {name} has 0"));
            }
            if option.size.is_some_and(|size| !(1..=MAX_SIZE).contains(&size)) {
                return Err(format!("the size of {name} is 1 to {MAX_SIZE} bytes"));
            }
            let Options { selector, offset, size, signed, .. } = option;
            all.push(Self { name, guid: option.unit.parse()?, selector, offset, size, signed });
        }
        Ok(all)
    }
}

/// One that the camera has.
#[derive(Clone, Debug)]
pub(super) struct Extension {
    pub(super) control: CameraControl,
    unit: u8,
    selector: u8,
    number: Number,
    /// Bytes of the whole control.
    length: u16,
    info: Info,
    minimum: i64,
    maximum: i64,
    step: i64,
    default: i64,
}

/// Where a number lies in the bytes of a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number {
    offset: usize,
    size: usize,
    signed: bool,
}

impl Number {
    /// Numbers above those of `i64` are its largest.
    fn read(self, bytes: &[u8]) -> i64 {
        let own = bytes.get(self.offset..self.offset + self.size).unwrap_or_default();
        let is_negative = self.signed && own.last().is_some_and(|top| top & 0x80 != 0);
        let mut whole = [if is_negative { 0xff } else { 0 }; 8];
        for (to, from) in whole.iter_mut().zip(own) {
            *to = *from;
        }
        if self.signed {
            i64::from_le_bytes(whole)
        } else {
            i64::try_from(u64::from_le_bytes(whole)).unwrap_or(i64::MAX)
        }
    }

    fn write(self, bytes: &mut [u8], value: i64) {
        let own = bytes.get_mut(self.offset..self.offset + self.size).unwrap_or_default();
        for (to, from) in own.iter_mut().zip(value.to_le_bytes()) {
            *to = from;
        }
    }

    /// All that it can be.
    fn range(self) -> (i64, i64) {
        let bits = 8 * u32::try_from(self.size).unwrap_or(8);
        match (self.signed, bits) {
            (true, 64..) => (i64::MIN, i64::MAX),
            (true, _) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            (false, 63..) => (0, i64::MAX),
            (false, _) => (0, (1 << bits) - 1),
        }
    }
}

/// The answer to `GET_INFO` (UVC 1.5 table 4-3).
#[derive(Clone, Copy, Debug)]
struct Info(u8);

impl Info {
    fn can_get(self) -> bool {
        self.0 & 1 != 0
    }

    fn can_set(self) -> bool {
        self.0 & 2 != 0
    }
}

/// Those of `wanted` that the camera has, and what is to be said of the others.
pub(super) fn resolve(
    node: &Node,
    units: &[ExtensionUnit],
    wanted: &[Wanted],
) -> (Vec<Extension>, Vec<(CameraControl, String)>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for one in wanted {
        match find(units, one).and_then(|unit| describe(node, unit, one)) {
            Ok(extension) => found.push(extension),
            Err(message) => missing.push((CameraControl::Vendor(one.name), message)),
        }
    }
    (found, missing)
}

fn find<'a>(units: &'a [ExtensionUnit], wanted: &Wanted) -> Result<&'a ExtensionUnit, String> {
    let Some(unit) = units.iter().find(|unit| unit.guid == wanted.guid) else {
        let present: Vec<_> = units
            .iter()
            .map(|unit| format!("{} with the selectors {}", unit.guid, list(&unit.selectors)))
            .collect();
        let present = if present.is_empty() { "none".into() } else { present.join(", ") };
        return Err(format!("there is no extension unit {}; there is {present}", wanted.guid));
    };
    if !unit.selectors.contains(&wanted.selector) {
        return Err(format!(
            "the extension unit {} has no selector {}; it has {}",
            wanted.guid,
            wanted.selector,
            list(&unit.selectors)
        ));
    }
    Ok(unit)
}

fn list(selectors: &[u8]) -> String {
    selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Asks the camera for all that does not change.
fn describe(node: &Node, unit: &ExtensionUnit, wanted: &Wanted) -> Result<Extension, String> {
    let (id, selector) = (unit.id, wanted.selector);
    let refused =
        |what: &str, errno: Errno| format!("the camera does not say its {what}: {}", Fault::of(errno));
    let mut length = [0; 2];
    uvc::query(node, id, selector, uvc::GET_LEN, &mut length).map_err(|errno| refused("length", errno))?;
    let length = u16::from_le_bytes(length);
    let mut info = [0];
    uvc::query(node, id, selector, uvc::GET_INFO, &mut info).map_err(|errno| refused("abilities", errno))?;
    let info = Info(info[0]);
    let size = wanted.size.unwrap_or(length.saturating_sub(wanted.offset));
    if size == 0 || size > MAX_SIZE || usize::from(wanted.offset) + usize::from(size) > usize::from(length) {
        return Err(format!(
            "it has {length} bytes; say by offset and size which of them are its number, at most {MAX_SIZE}"
        ));
    }
    let number = Number { offset: wanted.offset.into(), size: size.into(), signed: wanted.signed };
    // Many vendors do not say them.
    let said = |request| {
        let mut bytes = vec![0; length.into()];
        uvc::query(node, id, selector, request, &mut bytes).ok()?;
        Some(number.read(&bytes))
    };
    let (least, most) = number.range();
    let told = said(uvc::GET_MIN).zip(said(uvc::GET_MAX)).filter(|(minimum, maximum)| minimum < maximum);
    let (minimum, maximum) = told.unwrap_or((least, most));
    Ok(Extension {
        control: CameraControl::Vendor(wanted.name),
        unit: id,
        selector,
        number,
        length,
        info,
        minimum,
        maximum,
        step: said(uvc::GET_RES).unwrap_or(1).max(1),
        default: said(uvc::GET_DEF).unwrap_or(0).clamp(minimum, maximum),
    })
}

impl Extension {
    pub(super) fn is_read_only(&self) -> bool {
        !self.info.can_set()
    }

    fn bytes(&self, node: &Node) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; self.length.into()];
        uvc::query(node, self.unit, self.selector, uvc::GET_CUR, &mut bytes).map_err(Fault::of)?;
        Ok(bytes)
    }

    pub(super) fn state(&self, node: &Node) -> Result<ControlState, Fault> {
        let value = match self.info.can_get().then(|| self.bytes(node)).transpose() {
            Ok(bytes) => bytes.map_or(self.default, |bytes| self.number.read(&bytes)),
            Err(Fault::Gone) => return Err(Fault::Gone),
            // The camera refuses to say it now.
            Err(_) => self.default,
        };
        let Self { control, minimum, maximum, step, default, .. } = *self;
        let read_only = self.is_read_only();
        Ok(ControlState { control, minimum, maximum, step, default, value, read_only })
    }

    /// Sets it to an allowed value, and gives what the camera has then. Bytes beside the number stay as they are.
    pub(super) fn set(&self, node: &Node, value: i64) -> Result<i64, Fault> {
        let value = nearest(value, self.minimum, self.maximum, self.step);
        let mut bytes = match self.info.can_get() {
            true => self.bytes(node)?,
            false => vec![0; self.length.into()],
        };
        self.number.write(&mut bytes, value);
        uvc::query(node, self.unit, self.selector, uvc::SET_CUR, &mut bytes).map_err(Fault::of)?;
        let now = self.info.can_get().then(|| self.bytes(node)).and_then(Result::ok);
        Ok(now.map_or(value, |bytes| self.number.read(&bytes)))
    }
}

/// The allowed value nearest to `value`: within the range, and a whole number of steps from its start. Any range of
/// `i64` may be the vendor's.
fn nearest(value: i64, minimum: i64, maximum: i64, step: i64) -> i64 {
    let (value, minimum, maximum) = (i128::from(value), i128::from(minimum), i128::from(maximum));
    let step = i128::from(step.max(1));
    let steps = (value.clamp(minimum, maximum) - minimum + step / 2) / step;
    let up = minimum + steps * step;
    let allowed = if up > maximum { up - step } else { up };
    i64::try_from(allowed).unwrap_or_default()
}

/// `include/uapi/linux/uvcvideo.h`.
mod uvc {
    #![allow(unsafe_code)]
    use std::ffi::c_void;

    use rustix::{
        io::Errno,
        ioctl::{Opcode, Updater, ioctl, opcode},
    };

    use super::Node;

    /// Requests of UVC 1.5 table A-8.
    pub(super) const SET_CUR: u8 = 0x01;
    pub(super) const GET_CUR: u8 = 0x81;
    pub(super) const GET_MIN: u8 = 0x82;
    pub(super) const GET_MAX: u8 = 0x83;
    pub(super) const GET_RES: u8 = 0x84;
    pub(super) const GET_LEN: u8 = 0x85;
    pub(super) const GET_INFO: u8 = 0x86;
    pub(super) const GET_DEF: u8 = 0x87;

    const CTRL_QUERY: Opcode = opcode::read_write::<Query>(b'u', 0x21);

    /// `struct uvc_xu_control_query`.
    #[repr(C)]
    struct Query {
        unit: u8,
        selector: u8,
        query: u8,
        size: u16,
        data: *mut c_void,
    }

    /// One request to a control of an extension unit, whose bytes are read or filled.
    pub(super) fn query(
        node: &Node,
        unit: u8,
        selector: u8,
        request: u8,
        bytes: &mut [u8],
    ) -> Result<(), Errno> {
        let size = u16::try_from(bytes.len()).map_err(|_| Errno::INVAL)?;
        let mut query = Query { unit, selector, query: request, size, data: bytes.as_mut_ptr().cast() };
        // SAFETY: UVCIOC_CTRL_QUERY reads a struct uvc_xu_control_query, and reads or writes at most `size` bytes at
        // its `data`. Both are ours alone and live until the call is over.
        let done = unsafe { ioctl(node, Updater::<CTRL_QUERY, Query>::new(&mut query)) };
        // The driver says ENOENT of a unit or selector that is not there, which is not that the camera is gone.
        done.map_err(|errno| if errno == Errno::NOENT { Errno::INVAL } else { errno })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_structure_is_as_long_as_the_kernels() {
            let pointer = size_of::<*mut c_void>();
            assert_eq!((size_of::<Query>(), std::mem::offset_of!(Query, data)), (2 * pointer, pointer));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn options(text: &str) -> Result<Vec<Wanted>, String> {
        #[derive(Deserialize)]
        struct Section {
            extension_controls: Vec<Options>,
        }
        let section: Section = toml::from_str(text).map_err(|error| error.to_string())?;
        Wanted::all(section.extension_controls)
    }

    fn with(keys: &str) -> String {
        format!(
            "[[extension_controls]]\nname = \"led\"\nunit = \"{{4d4f4f52-5452-5553-4d00-000000000001}}\"\nselector = 1\n{keys}"
        )
    }

    #[test]
    fn what_a_profile_says_wrong_is_told() {
        assert_eq!(options(&with("")).unwrap()[0].name.as_str(), "led");
        let twice = with("") + &with("");
        let no_guid = with("").replace("4d4f", "xyz");
        for (text, said) in [
            (twice.as_str(), "two extension_controls"),
            (no_guid.as_str(), "is no GUID"),
            (&with("size = 9"), "1 to 8 bytes"),
            (&with("minimum = 9"), "unknown field"),
            (&with("").replace("\"led\"", "\"LED 1\""), "is no name"),
            (&with("").replace("selector = 1", "selector = 0"), "begin at 1"),
        ] {
            let error = options(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_the_camera_lacks_is_told_with_what_it_has() {
        let units = [ExtensionUnit {
            id: 4,
            guid: "{4d4f4f52-5452-5553-4d00-000000000001}".parse().unwrap(),
            selectors: vec![1, 2],
        }];
        let find = |text: &str| find(&units, &options(text).unwrap()[0]).map(|unit| unit.id);
        assert_eq!(find(&with("")), Ok(4));
        let error = find(&with("").replace("selector = 1", "selector = 3")).unwrap_err();
        assert!(error.contains("no selector 3; it has 1, 2"), "{error}");
        let error = find(&with("").replace("000001", "000002")).unwrap_err();
        assert!(
            error.contains("there is {4d4f4f52-5452-5553-4d00-000000000001} with the selectors 1, 2"),
            "{error}"
        );
    }

    #[test]
    fn numbers_above_the_largest_are_the_largest() {
        let number = Number { offset: 0, size: 8, signed: false };
        assert_eq!((number.read(&[0xff; 8]), number.range()), (i64::MAX, (0, i64::MAX)));
        assert_eq!(Number { size: 2, signed: true, ..number }.range(), (-32_768, 32_767));
        assert_eq!(Number { size: 1, ..number }.range(), (0, 255));
    }

    proptest! {
        #[test]
        fn a_number_keeps_to_its_bytes(
            value: i64, offset in 0..4_usize, size in 1..=8_usize, signed: bool, before: [u8; 12],
        ) {
            let number = Number { offset, size, signed };
            let (minimum, maximum) = number.range();
            let value = value.clamp(minimum, maximum);
            let mut bytes = before;
            number.write(&mut bytes, value);
            prop_assert_eq!(number.read(&bytes), value);
            let beside = |bytes: &[u8]| [&bytes[..offset], &bytes[offset + size..]].concat();
            prop_assert_eq!(beside(&bytes), beside(&before));
        }

        #[test]
        fn the_nearest_value_is_allowed(value: i64, one: i64, other: i64, step: i64) {
            let (minimum, maximum) = (one.min(other), one.max(other));
            let found = nearest(value, minimum, maximum, step);
            prop_assert!((minimum..=maximum).contains(&found));
            prop_assert_eq!((i128::from(found) - i128::from(minimum)) % i128::from(step.max(1)), 0);
        }
    }
}
