//! HID report descriptors (Device Class Definition for HID 1.11, §5.3 and §6.2.2): where in which report a
//! control stands. Descriptors come from whatever is plugged in: nothing in them is believed.

use std::collections::BTreeMap;

/// The longest report that is looked at, in bits; Linux takes no longer ones (`HID_MAX_BUFFER_SIZE`).
const LONGEST_BITS: usize = 16_384 * 8;

/// A control's meaning: its usage page in the upper 16 bits and its number there in the lower.
pub(super) type Usage = u32;

/// Which way a report goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// From the device.
    Input,
    /// To the device.
    Output,
}

/// What a device says of its reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Descriptor {
    fields: Vec<Field>,
    /// Bits of each report, without its number.
    lengths: BTreeMap<(Way, u8), usize>,
    numbered: bool,
}

/// What one main item says: a row of values of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    way: Way,
    report: u8,
    first_bit: usize,
    value_bits: usize,
    count: usize,
    minimum: i32,
    flags: u32,
    usages: Vec<(Usage, Usage)>,
}

/// Where one control is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Control {
    /// Number of its report; 0 where reports have none.
    pub(super) report: u8,
    /// Whether its value is a change and no state.
    pub(super) is_relative: bool,
    /// Whether it goes back by itself when nobody touches it.
    pub(super) springs_back: bool,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A value of its own.
    Value { bit: usize, bits: usize },
    /// It is on while one of some values is this.
    OneOf { first_bit: usize, bits: usize, count: usize, value: u32 },
}

impl Descriptor {
    /// Reads what a device sent. What makes no sense is left out, as is everything after a cut end.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut parser = Parser::default();
        for item in Items(bytes) {
            parser.take(item);
        }
        parser.done
    }

    /// Whether the first byte of each report is its number.
    pub(super) fn is_numbered(&self) -> bool {
        self.numbered
    }

    /// Bytes of a report without its number.
    pub(super) fn report_bytes(&self, way: Way, report: u8) -> usize {
        self.lengths.get(&(way, report)).map_or(0, |bits| bits.div_ceil(8))
    }

    /// The first control of that usage.
    pub(super) fn find(&self, way: Way, usage: Usage) -> Option<Control> {
        self.fields.iter().filter(|field| field.way == way).find_map(|field| field.find(usage))
    }
}

impl Field {
    fn find(&self, usage: Usage) -> Option<Control> {
        const CONSTANT: u32 = 1;
        const VARIABLE: u32 = 1 << 1;
        const RELATIVE: u32 = 1 << 2;
        const NO_PREFERRED: u32 = 1 << 5;
        if self.flags & CONSTANT != 0 {
            return None;
        }
        let mut before = 0;
        let mut index = None;
        for (first, last) in &self.usages {
            if (*first..=*last).contains(&usage) {
                index = Some(before + (usage - first) as usize);
                break;
            }
            before = before.saturating_add((last - first) as usize + 1);
        }
        let index = index?;
        let (first_bit, bits) = (self.first_bit, self.value_bits);
        let place = if self.flags & VARIABLE != 0 {
            if index >= self.count {
                return None;
            }
            Place::Value { bit: first_bit + index * bits, bits }
        } else {
            let value = i64::from(self.minimum) + i64::try_from(index).ok()?;
            Place::OneOf { first_bit, bits, count: self.count, value: u32::try_from(value).ok()? }
        };
        Some(Control {
            report: self.report,
            is_relative: self.flags & RELATIVE != 0,
            springs_back: self.flags & NO_PREFERRED == 0,
            place,
        })
    }
}

impl Control {
    /// Whether it is on in a report (without its number); `None` when that is too short.
    pub(super) fn is_on(&self, report: &[u8]) -> Option<bool> {
        match self.place {
            Place::Value { bit, bits } => Some(value(report, bit, bits)? != 0),
            Place::OneOf { first_bit, bits, count, value: wanted } => {
                let mut values = (0..count).map(|n| value(report, first_bit + n * bits, bits));
                values.try_fold(false, |on, value| Some(on | (value? == wanted)))
            }
        }
    }

    /// Switches it in a report (without its number) that is long enough.
    pub(super) fn set(&self, report: &mut [u8], on: bool) {
        // Lights that are numbers out of a list have no place of their own; none of ours is.
        if let Place::Value { bit, .. } = self.place
            && let Some(byte) = report.get_mut(bit / 8)
        {
            let mask = 1 << (bit % 8);
            *byte = if on { *byte | mask } else { *byte & !mask };
        }
    }

    /// Whether [`Control::set`] can switch it.
    pub(super) fn can_be_set(&self) -> bool {
        matches!(self.place, Place::Value { .. })
    }
}

/// An unsigned value of at most 32 bits, the lowest first.
fn value(report: &[u8], bit: usize, bits: usize) -> Option<u32> {
    let mut value = 0;
    for n in 0..bits.min(32) {
        let at = bit + n;
        value |= u32::from(report.get(at / 8)? >> (at % 8) & 1) << n;
    }
    Some(value)
}

/// One short item.
struct Item {
    /// Type in the bits 2 and 3, tag above: the prefix without the size.
    kind: u8,
    bytes: usize,
    data: u32,
}

impl Item {
    fn signed(&self) -> i32 {
        let unused = 32 - 8 * self.bytes.max(1) as u32;
        ((self.data << unused) as i32) >> unused
    }
}

/// The items of a descriptor up to its end, or to one that is cut.
struct Items<'a>(&'a [u8]);

impl Iterator for Items<'_> {
    type Item = Item;
    fn next(&mut self) -> Option<Item> {
        const LONG: u8 = 0xFE;
        loop {
            let (prefix, rest) = self.0.split_first()?;
            if *prefix == LONG {
                let length = usize::from(*rest.first()?);
                self.0 = rest.get(2 + length..)?;
                continue;
            }
            let bytes = [0, 1, 2, 4][usize::from(prefix & 3)];
            let data = rest.get(..bytes)?.iter().rev().fold(0, |data, byte| data << 8 | u32::from(*byte));
            self.0 = &rest[bytes..];
            return Some(Item { kind: prefix & !3, bytes, data });
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Globals {
    page: u32,
    minimum: i32,
    value_bits: usize,
    count: usize,
    report: u8,
}

#[derive(Default)]
struct Parser {
    globals: Globals,
    pushed: Vec<Globals>,
    /// Usages since the last main item, each with whether it names its page itself.
    usages: Vec<(u32, u32, bool)>,
    range_begin: Option<u32>,
    done: Descriptor,
}

impl Parser {
    fn take(&mut self, item: Item) {
        match item.kind {
            0x80 => self.field(Way::Input, item.data),
            0x90 => self.field(Way::Output, item.data),
            // Feature, Collection, End Collection.
            0xB0 | 0xA0 | 0xC0 => self.forget_locals(),
            0x04 => self.globals.page = item.data & 0xFFFF,
            0x14 => self.globals.minimum = item.signed(),
            0x74 => self.globals.value_bits = item.data as usize,
            0x84 => {
                self.globals.report = item.data as u8;
                self.done.numbered = true;
            }
            0x94 => self.globals.count = item.data as usize,
            0xA4 if self.pushed.len() < 64 => self.pushed.push(self.globals),
            0xB4 => self.globals = self.pushed.pop().unwrap_or(self.globals),
            0x08 => self.usages.push((item.data, item.data, item.bytes == 4)),
            0x18 => self.range_begin = Some(item.data),
            0x28 => {
                if let Some(begin) = self.range_begin.take()
                    && begin <= item.data
                {
                    self.usages.push((begin, item.data, item.bytes == 4));
                }
            }
            _ => {}
        }
    }

    fn forget_locals(&mut self) {
        self.usages.clear();
        self.range_begin = None;
    }

    fn field(&mut self, way: Way, flags: u32) {
        let Globals { page, minimum, value_bits, count, report } = self.globals;
        let length = self.done.lengths.entry((way, report)).or_default();
        let bits = value_bits.saturating_mul(count);
        if bits > 0 && bits <= LONGEST_BITS - *length {
            let with_page = |usage, full| if full { usage } else { page << 16 | usage & 0xFFFF };
            let usages = self.usages.iter();
            let usages =
                usages.map(|(first, last, full)| (with_page(*first, *full), with_page(*last, *full)));
            self.done.fields.push(Field {
                way,
                report,
                first_bit: *length,
                value_bits,
                count,
                minimum,
                flags,
                usages: usages.filter(|(first, last)| first <= last).collect(),
            });
            *length += bits;
        }
        self.forget_locals();
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const HOOK: Usage = 0x000B_0020;
    const PHONE_MUTE: Usage = 0x000B_002F;
    const LED_MUTE: Usage = 0x0008_0009;
    const OFF_HOOK: Usage = 0x0008_0017;

    /// As speakerphones have it: volume in report 1, telephony and its lights in report 2.
    pub(in crate::hid) const SPEAKERPHONE: &[u8] = &[
        0x05, 0x0C, 0x09, 0x01, 0xA1, 0x01, // Consumer Control
        0x85, 0x01, 0x15, 0x00, 0x25, 0x01, 0x09, 0xE9, 0x09, 0xEA, 0x75, 0x01, 0x95, 0x02, 0x81, 0x02, 0x95,
        0x06, 0x81, 0x01, 0xC0, //
        0x05, 0x0B, 0x09, 0x05, 0xA1, 0x01, 0x85, 0x02, // Telephony, Headset
        0x09, 0x20, 0x95, 0x01, 0x81, 0x22, // Hook Switch: absolute, stays where it is
        0x09, 0x2F, 0x81, 0x06, // Phone Mute: relative
        0x95, 0x06, 0x81, 0x01, // padding
        0x05, 0x08, 0x09, 0x17, 0x09, 0x09, 0x09, 0x18, 0x95, 0x03, 0x91, 0x22, // lights
        0x95, 0x05, 0x91, 0x01, 0xC0,
    ];

    #[test]
    fn controls_of_a_speakerphone_are_found_where_they_are() {
        let descriptor = Descriptor::parse(SPEAKERPHONE);
        assert!(descriptor.is_numbered());
        let hook = descriptor.find(Way::Input, HOOK).unwrap();
        let mute = descriptor.find(Way::Input, PHONE_MUTE).unwrap();
        assert_eq!((hook.report, hook.is_relative, hook.springs_back), (2, false, false));
        assert_eq!((mute.report, mute.is_relative), (2, true));
        assert_eq!([0b01, 0b10, 0b11].map(|byte| hook.is_on(&[byte]).unwrap()), [true, false, true]);
        assert_eq!([0b01, 0b10, 0b11].map(|byte| mute.is_on(&[byte]).unwrap()), [false, true, true]);
        assert_eq!(hook.is_on(&[]), None);
        assert_eq!(descriptor.report_bytes(Way::Output, 2), 1);
        let mut report = [0b1000_0000];
        for (usage, on) in [(OFF_HOOK, true), (LED_MUTE, true), (OFF_HOOK, false)] {
            descriptor.find(Way::Output, usage).unwrap().set(&mut report, on);
        }
        assert_eq!(report, [0b1000_0010]);
        assert_eq!(descriptor.find(Way::Output, HOOK), None, "a button is no light");
    }

    #[test]
    fn a_usage_may_name_its_page_and_come_from_a_range_and_pages_may_be_pushed() {
        let descriptor = Descriptor::parse(&[
            0x05, 0x01, 0xA4, // Generic Desktop, Push
            0x0B, 0x20, 0x00, 0x0B, 0x00, // Usage with the page 0x0B
            0x75, 0x08, 0x95, 0x01, 0x81, 0x02, //
            0x05, 0x08, 0x19, 0x09, 0x29, 0x17, 0x75, 0x01, 0x95, 0x0F, 0x91, 0x02, // LEDs 0x09 to 0x17
            0xB4, 0x09, 0x30, 0x81, 0x02, // Pop: X
        ]);
        assert!(!descriptor.is_numbered());
        let hook = descriptor.find(Way::Input, HOOK).unwrap();
        assert_eq!((hook.report, hook.is_on(&[4])), (0, Some(true)));
        let mut report = [0; 2];
        descriptor.find(Way::Output, OFF_HOOK).unwrap().set(&mut report, true);
        assert_eq!(report, [0, 0b0100_0000]);
        // What Pop brought back has no size, as it was pushed before one was said.
        assert_eq!(descriptor.find(Way::Input, 0x0001_0030), None);
    }

    #[test]
    fn a_button_may_be_a_number_out_of_a_list() {
        // Two values of 4 bits, each 0 or the number of a usage from 1 on.
        let descriptor = Descriptor::parse(&[
            0x05, 0x0B, 0x15, 0x01, 0x25, 0x02, 0x09, 0x21, 0x09, 0x2F, 0x75, 0x04, 0x95, 0x02, 0x81, 0x00,
        ]);
        let mute = descriptor.find(Way::Input, PHONE_MUTE).unwrap();
        let on = [0x00, 0x01, 0x02, 0x21, 0x12].map(|byte| mute.is_on(&[byte]).unwrap());
        assert_eq!(on, [false, false, true, true, true]);
        assert!(!mute.can_be_set());
    }

    proptest! {
        #[test]
        fn no_descriptor_and_no_report_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..300), report: Vec<u8>, mut out in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            look_at(&bytes, &report, &mut out);
        }

        #[test]
        fn no_descriptor_that_was_damaged_panics(
            at in 0..SPEAKERPHONE.len(), byte: u8, cut in 0..=SPEAKERPHONE.len(), report: [u8; 3],
        ) {
            let mut bytes = SPEAKERPHONE.to_vec();
            bytes[at] = byte;
            look_at(&bytes[..cut], &report, &mut [0; 2]);
        }
    }

    fn look_at(bytes: &[u8], report: &[u8], out: &mut [u8]) {
        let descriptor = Descriptor::parse(bytes);
        for (way, number) in descriptor.lengths.keys() {
            assert!(descriptor.report_bytes(*way, *number) <= LONGEST_BITS / 8);
        }
        let mut usages: Vec<_> = descriptor.fields.iter().flat_map(|field| &field.usages).collect();
        usages.truncate(20);
        for (first, last) in usages {
            for usage in [*first, *last, HOOK] {
                for way in [Way::Input, Way::Output] {
                    if let Some(control) = descriptor.find(way, usage) {
                        let _ = control.is_on(report);
                        control.set(out, true);
                    }
                }
            }
        }
    }
}
