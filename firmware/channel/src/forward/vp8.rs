//! The VP8 payload descriptor (RFC 7741 §4.2), and its picture numbers over switches of layers.

/// Where the fields of a payload descriptor stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    first: u8,
    length: usize,
    /// Offset and value of the picture id, and whether it has 15 bits.
    picture_id: Option<(usize, u16, bool)>,
    /// Offset and value of TL0PICIDX.
    tl0: Option<(usize, u8)>,
    /// Offset of the byte with TID, Y and KEYIDX, whether KEYIDX is there, and its value.
    key_index: Option<(usize, u8)>,
}

impl Descriptor {
    /// Parses the start of a payload; `None` when it is too short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let mut descriptor = Self { first, length: 1, picture_id: None, tl0: None, key_index: None };
        if first & 0x80 == 0 {
            return Some(descriptor);
        }
        let extensions = *payload.get(1)?;
        let mut at = 2;
        if extensions & 0x80 != 0 {
            let high = *payload.get(at)?;
            if high & 0x80 != 0 {
                let low = *payload.get(at + 1)?;
                descriptor.picture_id = Some((at, u16::from_be_bytes([high & 0x7f, low]), true));
                at += 2;
            } else {
                descriptor.picture_id = Some((at, u16::from(high), false));
                at += 1;
            }
        }
        if extensions & 0x40 != 0 {
            descriptor.tl0 = Some((at, *payload.get(at)?));
            at += 1;
        }
        if extensions & 0x30 != 0 {
            let byte = *payload.get(at)?;
            if extensions & 0x10 != 0 {
                descriptor.key_index = Some((at, byte & 0x1f));
            }
            at += 1;
        }
        descriptor.length = at;
        Some(descriptor)
    }

    /// Bytes of the descriptor.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Whether it is the first packet of a frame: start of partition 0.
    pub fn starts_frame(&self) -> bool {
        self.first & 0x10 != 0 && self.first & 0x07 == 0
    }
}

/// What to add to the picture numbers of one layer so that they go on where the layer before ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offsets {
    picture_id: u16,
    tl0: u8,
    key_index: u8,
}

/// Keeps the picture numbers of one subscriber going over switches of layers.
#[derive(Debug, Clone, Default)]
pub struct PictureNumbers {
    offsets: Offsets,
    last_picture_id: Option<u16>,
    last_tl0: Option<u8>,
    last_key_index: Option<u8>,
}

impl PictureNumbers {
    /// A layer starts with this packet: continue the numbers from the last ones.
    pub fn switch(&mut self, payload: &[u8]) {
        let Some(descriptor) = Descriptor::parse(payload) else { return };
        // Without a last number the layer's own go out as they are.
        if let (Some(last), Some((_, id, _))) = (self.last_picture_id, descriptor.picture_id) {
            self.offsets.picture_id = last.wrapping_add(1).wrapping_sub(id) & 0x7fff;
        }
        if let (Some(last), Some((_, tl0))) = (self.last_tl0, descriptor.tl0) {
            self.offsets.tl0 = last.wrapping_add(1).wrapping_sub(tl0);
        }
        if let (Some(last), Some((_, key))) = (self.last_key_index, descriptor.key_index) {
            self.offsets.key_index = last.wrapping_add(1).wrapping_sub(key) & 0x1f;
        }
    }

    /// Notes the numbers of a packet that is forwarded now; returns what to add to it (and to its repairs).
    pub fn note(&mut self, payload: &[u8]) -> Offsets {
        if let Some(descriptor) = Descriptor::parse(payload) {
            let newer = |last: Option<u16>, out: u16, bits: u32| {
                last.is_none_or(|last| (out.wrapping_sub(last) & ((1 << bits) - 1)) < 1 << (bits - 1))
            };
            if let Some((_, id, wide)) = descriptor.picture_id {
                let bits = if wide { 15 } else { 7 };
                let out = id.wrapping_add(self.offsets.picture_id) & ((1 << bits) - 1);
                if newer(self.last_picture_id, out, bits) {
                    self.last_picture_id = Some(out);
                }
            }
            if let Some((_, tl0)) = descriptor.tl0 {
                let out = tl0.wrapping_add(self.offsets.tl0);
                if newer(self.last_tl0.map(u16::from), u16::from(out), 8) {
                    self.last_tl0 = Some(out);
                }
            }
            if let Some((_, key)) = descriptor.key_index {
                let out = key.wrapping_add(self.offsets.key_index) & 0x1f;
                if newer(self.last_key_index.map(u16::from), u16::from(out), 5) {
                    self.last_key_index = Some(out);
                }
            }
        }
        self.offsets
    }
}

impl Offsets {
    /// Whether payloads go out as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Writes the changed numbers into a copy of a payload; its length stays.
    pub fn apply(&self, payload: &mut [u8]) {
        let Some(descriptor) = Descriptor::parse(payload) else { return };
        match descriptor.picture_id {
            Some((at, id, true)) => {
                let [high, low] = (id.wrapping_add(self.picture_id) & 0x7fff).to_be_bytes();
                payload[at] = 0x80 | high;
                payload[at + 1] = low;
            }
            Some((at, id, false)) => payload[at] = (id.wrapping_add(self.picture_id) & 0x7f) as u8,
            None => {}
        }
        if let Some((at, tl0)) = descriptor.tl0 {
            payload[at] = tl0.wrapping_add(self.tl0);
        }
        if let Some((at, key)) = descriptor.key_index {
            payload[at] = payload[at] & 0xe0 | key.wrapping_add(self.key_index) & 0x1f;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// A first packet of a key frame with 15-bit picture id, TL0PICIDX, TID and KEYIDX.
    fn packet(picture_id: u16, tl0: u8, key: u8) -> Vec<u8> {
        let [high, low] = picture_id.to_be_bytes();
        vec![0x90, 0xf0, 0x80 | high, low, tl0, key & 0x1f, 0x00]
    }

    fn numbers(payload: &[u8]) -> (u16, u8, u8) {
        let d = Descriptor::parse(payload).unwrap();
        (d.picture_id.unwrap().1, d.tl0.unwrap().1, d.key_index.unwrap().1)
    }

    #[test]
    fn picture_numbers_go_on_over_a_switch() {
        let mut pictures = PictureNumbers::default();
        let first = packet(0x7ffe, 255, 31);
        pictures.switch(&first);
        assert!(pictures.note(&first).is_none(), "the first layer goes out as it is");
        let second = packet(100, 7, 3);
        pictures.switch(&second);
        for n in 0..3 {
            let mut payload = packet(100 + n, 7, 3);
            let offsets = pictures.note(&payload);
            offsets.apply(&mut payload);
            assert_eq!(numbers(&payload), (0x7fff_u16.wrapping_add(n) & 0x7fff, 0, 0));
        }
    }

    #[test]
    fn a_seven_bit_picture_id_stays_one() {
        let mut payload = vec![0x90, 0x80, 0x7f, 0x00];
        Offsets { picture_id: 2, tl0: 0, key_index: 0 }.apply(&mut payload);
        assert_eq!(payload, [0x90, 0x80, 0x01, 0x00]);
    }

    proptest! {
        #[test]
        fn no_payload_panics_and_lengths_stay(payload in prop::collection::vec(any::<u8>(), 0..16), a: u16, b: u8, c: u8) {
            let mut pictures = PictureNumbers::default();
            pictures.switch(&payload);
            pictures.note(&payload);
            let mut copy = payload.clone();
            Offsets { picture_id: a & 0x7fff, tl0: b, key_index: c & 0x1f }.apply(&mut copy);
            prop_assert_eq!(copy.len(), payload.len());
            prop_assert_eq!(
                Descriptor::parse(&copy).map(|d| d.length()),
                Descriptor::parse(&payload).map(|d| d.length())
            );
        }
    }
}
