//! The VP8 payload descriptor (RFC 7741 §4.2), and its picture numbers over switches of layers.

use super::sequence::SequenceMap;

/// Where the fields of a payload descriptor stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    first: u8,
    length: usize,
    /// Offset and value of the picture id, and whether it has 15 bits.
    picture_id: Option<(usize, u16, bool)>,
    /// Offset and value of TL0PICIDX.
    tl0: Option<(usize, u8)>,
    /// Offset and value of KEYIDX.
    key_index: Option<(usize, u8)>,
    temporal: Option<Temporal>,
}

/// The temporal layer of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Temporal {
    /// Its number; frames of 0 are needed by all others.
    pub layer: u8,
    /// It depends on frames of layer 0 only (Y): from here on its layer can be decoded.
    pub sync: bool,
    /// It is in the frame's first packet.
    pub starts_frame: bool,
}

impl Descriptor {
    /// Parses the start of a payload; `None` when it is too short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let mut descriptor =
            Self { first, length: 1, picture_id: None, tl0: None, key_index: None, temporal: None };
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
            if extensions & 0x20 != 0 {
                descriptor.temporal = Some(Temporal {
                    layer: byte >> 6,
                    sync: byte & 0x20 != 0,
                    starts_frame: descriptor.starts_frame(),
                });
            }
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

    /// The temporal layer, where the stream has some.
    pub fn temporal(&self) -> Option<Temporal> {
        self.temporal
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

/// Keeps the picture numbers of one subscriber going over switches of layers, and without gaps over frames that
/// are left out: decoders wait for a picture whose number is missing.
#[derive(Debug, Clone, Default)]
pub struct PictureNumbers {
    offsets: Offsets,
    /// Extended picture ids of the present layer, and where they go.
    ids: Option<(u64, SequenceMap)>,
    last_picture_id: Option<u64>,
    last_tl0: Option<u8>,
    last_key_index: Option<u8>,
}

/// The extended number that is nearest to `near` and ends in the `bits` of `id`.
fn extend(near: u64, id: u16, bits: u32) -> u64 {
    let modulus = 1u64 << bits;
    let ahead = u64::from(id).wrapping_sub(near) & (modulus - 1);
    if ahead < modulus / 2 { near + ahead } else { (near + ahead).saturating_sub(modulus) }
}

impl PictureNumbers {
    /// A layer starts with this packet: continue the numbers from the last ones.
    pub fn switch(&mut self, payload: &[u8]) {
        let Some(descriptor) = Descriptor::parse(payload) else { return };
        // Without a last number the layer's own go out as they are.
        self.ids = descriptor.picture_id.map(|(_, id, _)| {
            let first = 0x1_0000 + u64::from(id);
            (first, SequenceMap::new(first, self.last_picture_id.map_or(first, |last| last + 1)))
        });
        if let (Some(last), Some((_, tl0))) = (self.last_tl0, descriptor.tl0) {
            self.offsets.tl0 = last.wrapping_add(1).wrapping_sub(tl0);
        }
        if let (Some(last), Some((_, key))) = (self.last_key_index, descriptor.key_index) {
            self.offsets.key_index = last.wrapping_add(1).wrapping_sub(key) & 0x1f;
        }
    }

    /// The frame of this packet is left out. `false` when a later one went out already.
    pub fn leave_out(&mut self, payload: &[u8]) -> bool {
        let id = Descriptor::parse(payload).and_then(|descriptor| descriptor.picture_id);
        let (Some((_, id, wide)), Some((newest, map))) = (id, &mut self.ids) else { return true };
        let number = extend(*newest, id, if wide { 15 } else { 7 });
        *newest = number.max(*newest);
        map.is_left_out(number) || map.leave_out(number)
    }

    /// Notes the numbers of a packet that is forwarded now; returns what to add to it (and to its repairs).
    pub fn note(&mut self, payload: &[u8]) -> Offsets {
        let Some(descriptor) = Descriptor::parse(payload) else { return self.offsets };
        if let (Some((_, id, wide)), Some((newest, map))) = (descriptor.picture_id, &mut self.ids) {
            let number = extend(*newest, id, if wide { 15 } else { 7 });
            *newest = number.max(*newest);
            if let Some(out) = map.map(number) {
                self.last_picture_id = self.last_picture_id.max(Some(out));
                self.offsets.picture_id = (out as u16).wrapping_sub(id) & 0x7fff;
            }
        }
        let newer = |last: Option<u8>, out: u8, bits: u32| {
            last.is_none_or(|last| (out.wrapping_sub(last) & ((1u16 << bits) - 1) as u8) < 1 << (bits - 1))
        };
        if let Some((_, tl0)) = descriptor.tl0 {
            let out = tl0.wrapping_add(self.offsets.tl0);
            if newer(self.last_tl0, out, 8) {
                self.last_tl0 = Some(out);
            }
        }
        if let Some((_, key)) = descriptor.key_index {
            let out = key.wrapping_add(self.offsets.key_index) & 0x1f;
            if newer(self.last_key_index, out, 5) {
                self.last_key_index = Some(out);
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

    /// The payload with its numbers changed; the changed copy is made in `scratch`.
    pub fn applied<'a>(&self, payload: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
        if self.is_none() || payload.is_empty() {
            return payload;
        }
        scratch.clear();
        scratch.extend_from_slice(payload);
        self.apply(scratch);
        scratch
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
    fn a_frame_that_is_left_out_leaves_no_gap_in_picture_numbers() {
        let mut pictures = PictureNumbers::default();
        pictures.switch(&packet(0x7ffe, 0, 0));
        pictures.note(&packet(0x7ffe, 0, 0));
        assert!(pictures.leave_out(&packet(0x7fff, 0, 0)));
        assert!(pictures.leave_out(&packet(0x7fff, 0, 0)), "its second packet");
        let mut payload = packet(0, 1, 0);
        pictures.note(&payload).apply(&mut payload);
        assert_eq!(numbers(&payload).0, 0x7fff);
        assert!(!pictures.leave_out(&packet(0x7ffe, 0, 0)), "it went out already");
    }

    #[test]
    fn temporal_layers_are_read() {
        // X; T and K; TID 2, Y, KEYIDX 1.
        let descriptor = Descriptor::parse(&[0x90, 0x30, 0xa1, 0x01]).unwrap();
        assert_eq!(descriptor.temporal(), Some(Temporal { layer: 2, sync: true, starts_frame: true }));
        assert_eq!(Descriptor::parse(&[0x10, 0x01]).unwrap().temporal(), None);
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
