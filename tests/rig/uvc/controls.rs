//! Values of the controls, and the requests that read and set them (UVC 1.1 §4.2.1).

use std::collections::BTreeMap;

use crate::control_table::{Automatic, CONTROLS, Control, Field, name};

/// `SET_CUR`.
pub(crate) const SET_CUR: u8 = 0x01;
/// `GET_CUR`.
pub(crate) const GET_CUR: u8 = 0x81;
/// `GET_MIN`.
pub(crate) const GET_MIN: u8 = 0x82;
/// `GET_MAX`.
pub(crate) const GET_MAX: u8 = 0x83;
/// `GET_RES`.
pub(crate) const GET_RES: u8 = 0x84;
/// `GET_LEN`.
pub(crate) const GET_LEN: u8 = 0x85;
/// `GET_INFO`.
pub(crate) const GET_INFO: u8 = 0x86;
/// `GET_DEF`.
pub(crate) const GET_DEF: u8 = 0x87;

/// Bits of the answer to `GET_INFO` (UVC 1.1 table 4-3).
mod info {
    pub(super) const GET: u8 = 1 << 0;
    pub(super) const SET: u8 = 1 << 1;
    pub(super) const DISABLED: u8 = 1 << 2;
    pub(super) const AUTO_UPDATE: u8 = 1 << 3;
}

/// Why a request was stalled, as the Request Error Code control tells it (UVC 1.5 §4.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ErrorCode {
    /// It was not.
    NoError = 0x00,
    /// There is no such unit.
    InvalidUnit = 0x05,
    /// The unit has no such control.
    InvalidControl = 0x06,
    /// The control has no such request, or it came with too few bytes.
    InvalidRequest = 0x07,
    /// The camera does not say; `uvcvideo` makes EPIPE of it.
    Unknown = 0xff,
}

/// The control of an entity.
///
/// # Errors
/// When there is none.
pub(crate) fn find(entity: u8, selector: u8) -> Result<&'static Control, ErrorCode> {
    let mut of_entity = CONTROLS.iter().filter(|control| control.entity == entity).peekable();
    if of_entity.peek().is_none() {
        return Err(ErrorCode::InvalidUnit);
    }
    of_entity.find(|control| control.selector == selector).ok_or(ErrorCode::InvalidControl)
}

/// Every field, in the order of the table, with its control.
pub(crate) fn fields() -> impl Iterator<Item = (&'static Control, &'static Field)> {
    CONTROLS.iter().flat_map(|control| control.fields.iter().map(move |field| (control, field)))
}

/// `bmControls` of an entity's descriptor.
pub(crate) fn bitmap(entity: u8) -> u32 {
    CONTROLS
        .iter()
        .filter(|control| control.entity == entity)
        .fold(0, |bits, control| bits | 1 << control.bit)
}

/// The value of every field.
#[derive(Clone, Debug)]
pub(crate) struct Controls {
    values: BTreeMap<&'static str, i64>,
}

impl Controls {
    /// The values after power on.
    pub(crate) fn new() -> Self {
        Self { values: fields().map(|(_, field)| (field.name, field.default)).collect() }
    }

    /// Value of a field of [`name`]; 0 for others.
    pub(crate) fn value(&self, name: &str) -> i64 {
        self.values.get(name).copied().unwrap_or_default()
    }

    /// Sets a field, at most to the ends of its range; nothing happens when there is no such field.
    pub(crate) fn put(&mut self, name: &str, value: i64) {
        if let Some((_, field)) = fields().find(|(_, field)| field.name == name) {
            self.values.insert(field.name, value.clamp(field.min, field.max));
        }
    }

    /// Sets a field as a person does who has the camera's remote control. Gives the control that changed.
    ///
    /// # Errors
    /// When there is no such field, or when it cannot have the value; the message is for a person.
    pub(crate) fn change(&mut self, name: &str, value: i64) -> Result<&'static Control, String> {
        let (control, field) = fields()
            .find(|(_, field)| field.name == name)
            .ok_or_else(|| format!("no control {name}; `get` lists them"))?;
        if !(field.min..=field.max).contains(&value) {
            return Err(format!("{name} is {}..={}", field.min, field.max));
        }
        self.values.insert(field.name, value);
        Ok(control)
    }

    /// Answers a request that reads.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn get(&self, control: &Control, request: u8) -> Result<Vec<u8>, ErrorCode> {
        let encode = |value: fn(&Field) -> i64| encode(control, value);
        match request {
            GET_CUR => Ok(self.current(control)),
            GET_MIN => Ok(encode(|field| field.min)),
            GET_MAX => Ok(encode(|field| field.max)),
            GET_RES => Ok(encode(|field| field.resolution)),
            GET_DEF => Ok(encode(|field| field.default)),
            // At most 8 bytes.
            GET_LEN => Ok(vec![u8::try_from(control.bytes()).unwrap_or(u8::MAX), 0]),
            GET_INFO => Ok(vec![self.info(control)]),
            _ => Err(ErrorCode::InvalidRequest),
        }
    }

    /// The current value on the wire.
    pub(crate) fn current(&self, control: &Control) -> Vec<u8> {
        encode(control, |field| self.value(field.name))
    }

    /// Does `SET_CUR`; values out of range end at the end of the range. Gives what was asked for.
    ///
    /// A control that is disabled by an automatic is set nevertheless, as common cameras do: within one
    /// `VIDIOC_S_EXT_CTRLS` that ends the automatic and sets the control, `uvcvideo` sends the control
    /// first. `uvcvideo` refuses to set it alone.
    ///
    /// # Errors
    /// When there are too few bytes.
    pub(crate) fn set(
        &mut self,
        control: &Control,
        data: &[u8],
    ) -> Result<Vec<(&'static str, i64)>, ErrorCode> {
        if data.len() < control.bytes() {
            return Err(ErrorCode::InvalidRequest);
        }
        let mut rest = data;
        let mut asked = Vec::with_capacity(control.fields.len());
        for field in control.fields {
            let (bytes, after) = rest.split_at(field.bytes);
            rest = after;
            let value = decode(bytes, field.min < 0);
            self.values.insert(field.name, value.clamp(field.min, field.max));
            asked.push((field.name, value));
        }
        Ok(asked)
    }

    /// `name=value` of every field, in the order of the table.
    pub(crate) fn list(&self) -> String {
        let all: Vec<String> =
            fields().map(|(_, field)| format!("{}={}", field.name, self.value(field.name))).collect();
        all.join(" ")
    }

    fn info(&self, control: &Control) -> u8 {
        let mut bits = info::GET | info::SET;
        if control.auto_update {
            bits |= info::AUTO_UPDATE;
        }
        if control.automatic.is_some_and(|automatic| self.is_on(automatic)) {
            bits |= info::DISABLED;
        }
        bits
    }

    fn is_on(&self, automatic: Automatic) -> bool {
        match automatic {
            Automatic::Focus => self.value(name::FOCUS_AUTO) != 0,
            Automatic::Exposure => !self.exposure_is_manual(),
            Automatic::WhiteBalance => self.value(name::WHITE_BALANCE_AUTO) != 0,
        }
    }

    /// Whether the host sets the exposure time: in manual mode and with shutter priority.
    pub(crate) fn exposure_is_manual(&self) -> bool {
        matches!(self.value(name::AE_MODE), 1 | 4)
    }
}

/// The packet that tells the host on the interrupt endpoint that a control has changed (UVC 1.1 §2.4.2.2).
pub(crate) fn status_packet(controls: &Controls, control: &Control) -> Vec<u8> {
    const VIDEO_CONTROL: u8 = 1;
    const CONTROL_CHANGE: u8 = 0;
    const VALUE: u8 = 0;
    let mut packet = vec![VIDEO_CONTROL, control.entity, CONTROL_CHANGE, control.selector, VALUE];
    packet.extend(controls.current(control));
    packet
}

fn encode(control: &Control, value: impl Fn(&Field) -> i64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(control.bytes());
    for field in control.fields {
        bytes.extend_from_slice(&value(field).to_le_bytes()[..field.bytes]);
    }
    bytes
}

/// A little endian number of at most 8 bytes.
fn decode(bytes: &[u8], signed: bool) -> i64 {
    let negative = signed && bytes.last().is_some_and(|top| top & 0x80 != 0);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(whole)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::{control_table::entity, noise::Noise};

    #[test]
    fn names_selectors_and_bits_are_unique() {
        let names: BTreeSet<_> = fields().map(|(_, field)| field.name).collect();
        assert_eq!(names.len(), fields().count());
        let selectors: BTreeSet<_> = CONTROLS.iter().map(|c| (c.entity, c.selector)).collect();
        let bits: BTreeSet<_> = CONTROLS.iter().map(|c| (c.entity, c.bit)).collect();
        assert_eq!((selectors.len(), bits.len()), (CONTROLS.len(), CONTROLS.len()));
    }

    #[test]
    fn every_range_holds_its_default_and_survives_the_wire() {
        let controls = Controls::new();
        for control in &CONTROLS {
            for (request, value) in [
                (GET_MIN, (|f: &Field| f.min) as fn(&Field) -> i64),
                (GET_MAX, |f| f.max),
                (GET_DEF, |f| f.default),
                (GET_CUR, |f| f.default),
            ] {
                let bytes = controls.get(control, request).unwrap();
                assert_eq!(bytes.len(), control.bytes());
                let mut copy = Controls::new();
                copy.set(control, &bytes).unwrap();
                for field in control.fields {
                    assert!((field.min..=field.max).contains(&field.default));
                    assert_eq!(copy.value(field.name), value(field), "{}", field.name);
                }
            }
        }
    }

    #[test]
    fn values_out_of_range_end_at_its_end() {
        let mut controls = Controls::new();
        let zoom = find(entity::CAMERA, 0x0b).unwrap();
        assert_eq!(controls.set(zoom, &[0xff, 0xff]).unwrap(), [(name::ZOOM, 65_535)]);
        assert_eq!(controls.value(name::ZOOM), 1000);
        let pan_tilt = find(entity::CAMERA, 0x0d).unwrap();
        controls.set(pan_tilt, &[0, 0, 0, 0x80, 0xff, 0xff, 0xff, 0xff]).unwrap();
        assert_eq!((controls.value(name::PAN), controls.value(name::TILT)), (-612_000, -1));
    }

    #[test]
    fn manual_focus_is_disabled_while_the_camera_focuses() {
        let mut controls = Controls::new();
        let focus = find(entity::CAMERA, 0x06).unwrap();
        assert_eq!(controls.get(focus, GET_INFO).unwrap(), [0x0f]);
        controls.change(name::FOCUS_AUTO, 0).unwrap();
        assert_eq!(controls.get(focus, GET_INFO).unwrap(), [0x0b]);
    }

    #[test]
    fn what_changes_without_the_host_says_so() {
        let controls = Controls::new();
        for selector in [0x04, 0x06, 0x0b, 0x0d, 0x11] {
            let control = find(entity::CAMERA, selector).unwrap();
            assert_ne!(controls.get(control, GET_INFO).unwrap()[0] & 0x08, 0, "selector {selector:#x}");
        }
    }

    #[test]
    fn a_remote_control_cannot_leave_the_range() {
        let mut controls = Controls::new();
        assert!(controls.change(name::ZOOM, 1001).is_err());
        assert!(controls.change("volume", 1).is_err());
        assert_eq!(controls.change("backlight", 2).unwrap().selector, 1);
    }

    #[test]
    fn a_status_packet_fits_its_endpoint() {
        let mut controls = Controls::new();
        controls.change(name::ZOOM, 777).unwrap();
        let packet = status_packet(&controls, find(entity::CAMERA, 0x0b).unwrap());
        assert_eq!(packet, [1, 1, 0, 0x0b, 0, 0x09, 0x03]);
        assert!(CONTROLS.iter().all(|control| status_packet(&controls, control).len() <= 16));
    }

    #[test]
    fn no_bytes_bring_a_value_out_of_its_range() {
        let mut controls = Controls::new();
        let mut noise = Noise::new(3);
        for _ in 0..5_000 {
            let control = &CONTROLS[noise.below(CONTROLS.len())];
            let length = noise.below(12);
            let _ = controls.set(control, &noise.bytes(length));
            let _ = controls.get(control, noise.byte());
            for field in control.fields {
                assert!((field.min..=field.max).contains(&controls.value(field.name)));
            }
        }
    }
}
