//! RTP packets (RFC 3550 §5.1) with header extensions (RFC 8285), parsed and written without copies of the
//! payload.

use bytes::{BufMut, Bytes, BytesMut};

/// Extensions that a packet may carry; more are ignored.
const MAX_EXTENSIONS: usize = 16;

/// A packet that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) marker: bool,
    /// Id, and where its value is in `raw`.
    extensions: [(u8, u16, u8); MAX_EXTENSIONS],
    raw: Bytes,
    /// Without padding.
    pub(crate) payload: Bytes,
}

impl Packet {
    /// Reads a decrypted packet. `None` when it is none.
    pub(crate) fn parse(raw: Bytes) -> Option<Self> {
        let b = &raw[..];
        if b.len() < 12 || b[0] >> 6 != 2 {
            return None;
        }
        let (padding, extension, csrcs) = (b[0] & 0x20 != 0, b[0] & 0x10 != 0, usize::from(b[0] & 0x0f));
        let mut at = 12 + 4 * csrcs;
        let mut extensions = [(0, 0, 0); MAX_EXTENSIONS];
        if extension {
            let header = b.get(at..at + 4)?;
            let profile = u16::from_be_bytes([header[0], header[1]]);
            let length = 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
            at += 4;
            parse_extensions(profile, b.get(at..at + length)?, at, &mut extensions);
            at += length;
        }
        let mut end = b.len();
        if padding {
            end = end.checked_sub(usize::from(b[end - 1]))?;
        }
        if at > end {
            return None;
        }
        Some(Self {
            payload_type: b[1] & 0x7f,
            marker: b[1] & 0x80 != 0,
            sequence: u16::from_be_bytes([b[2], b[3]]),
            timestamp: u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
            ssrc: u32::from_be_bytes([b[8], b[9], b[10], b[11]]),
            extensions,
            payload: raw.slice(at..end),
            raw,
        })
    }

    /// The value of a header extension.
    pub(crate) fn extension(&self, id: u8) -> Option<&[u8]> {
        if id == 0 {
            return None;
        }
        let (_, at, length) = *self.extensions.iter().find(|e| e.0 == id)?;
        self.raw.get(usize::from(at)..usize::from(at) + usize::from(length))
    }

    /// Takes a retransmission (RFC 4588 §4) apart: the packet that it repairs, with `ssrc` and `payload_type`
    /// of the original. `None` for padding.
    pub(crate) fn unwrap_retransmission(mut self, ssrc: u32, payload_type: u8) -> Option<Self> {
        if self.payload.len() < 2 {
            return None;
        }
        self.sequence = u16::from_be_bytes([self.payload[0], self.payload[1]]);
        self.payload = self.payload.slice(2..);
        self.ssrc = ssrc;
        self.payload_type = payload_type;
        Some(self)
    }

    #[cfg(test)]
    pub(crate) fn for_test(sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Self {
        let mut out = BytesMut::new();
        Header { payload_type: 96, sequence, timestamp, ssrc: 1, marker }.write(&[], &mut out);
        out.put_slice(payload);
        Self::parse(out.freeze()).expect("a packet just written")
    }
}

fn parse_extensions(profile: u16, block: &[u8], base: usize, out: &mut [(u8, u16, u8); MAX_EXTENSIONS]) {
    let two_bytes = profile & 0xfff0 == 0x1000;
    if !two_bytes && profile != 0xbede {
        return;
    }
    let (mut i, mut n) = (0, 0);
    while i < block.len() && n < MAX_EXTENSIONS {
        if block[i] == 0 {
            i += 1;
            continue;
        }
        let (id, length, header) = if two_bytes {
            let Some(length) = block.get(i + 1) else { return };
            (block[i], usize::from(*length), 2)
        } else {
            if block[i] >> 4 == 15 {
                return;
            }
            (block[i] >> 4, usize::from(block[i] & 0x0f) + 1, 1)
        };
        i += header;
        if i + length > block.len() {
            return;
        }
        let (Ok(at), Ok(length)) = (u16::try_from(base + i), u8::try_from(length)) else { return };
        out[n] = (id, at, length);
        n += 1;
        i += usize::from(length);
    }
}

/// The fixed part of a packet to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) marker: bool,
}

impl Header {
    /// Appends the header with one-byte extensions; ids are 1..=14, values 1..=16 bytes. The payload follows.
    pub(crate) fn write(&self, extensions: &[(u8, &[u8])], out: &mut BytesMut) {
        let size: usize = extensions.iter().map(|(_, value)| 1 + value.len()).sum();
        out.put_u8(0x80 | if size > 0 { 0x10 } else { 0 });
        out.put_u8(if self.marker { 0x80 } else { 0 } | self.payload_type);
        out.put_u16(self.sequence);
        out.put_u32(self.timestamp);
        out.put_u32(self.ssrc);
        if size == 0 {
            return;
        }
        let words = size.div_ceil(4);
        out.put_u16(0xbede);
        out.put_u16(words as u16);
        for (id, value) in extensions {
            debug_assert!((1..=14).contains(id) && (1..=16).contains(&value.len()));
            out.put_u8(id << 4 | (value.len() - 1) as u8);
            out.put_slice(value);
        }
        out.put_bytes(0, words * 4 - size);
    }
}

/// Extends 16-bit sequence numbers to 64 bits: the nearest to the newest seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extender {
    newest: Option<u64>,
}

impl Extender {
    /// What [`Extender::extend`] would give, without a trace.
    pub(crate) fn peek(&self, sequence: u16) -> u64 {
        { *self }.extend(sequence)
    }

    /// The extended number. The first packet gets a number above 65,536, so that earlier ones stay positive.
    pub(crate) fn extend(&mut self, sequence: u16) -> u64 {
        let Some(newest) = self.newest else {
            let first = 0x1_0000 + u64::from(sequence);
            self.newest = Some(first);
            return first;
        };
        let step = i64::from(sequence.wrapping_sub(newest as u16) as i16);
        let extended = newest.saturating_add_signed(step);
        self.newest = Some(newest.max(extended));
        extended
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use rtc::shared::marshal::{Marshal, Unmarshal};

    use super::*;

    #[test]
    fn a_written_packet_is_read_by_an_independent_parser() {
        let mut out = BytesMut::new();
        let header = Header { payload_type: 111, sequence: 7, timestamp: 9, ssrc: 0xdead_beef, marker: true };
        header.write(&[(4, b"0"), (10, b"f"), (3, &[1, 2])], &mut out);
        out.put_slice(b"payload");
        let other = rtc::rtp::Packet::unmarshal(&mut out.clone()).unwrap();
        assert_eq!(other.header.ssrc, 0xdead_beef);
        assert!(other.header.marker);
        assert_eq!(other.header.get_extension(10).unwrap(), &b"f"[..]);
        assert_eq!(&other.payload[..], b"payload");
        let ours = Packet::parse(out.freeze()).unwrap();
        assert_eq!(ours.extension(3), Some(&[1u8, 2][..]));
        assert_eq!(ours.extension(5), None);
        assert_eq!(&ours.payload[..], b"payload");
    }

    #[test]
    fn padding_is_not_payload() {
        let packet = rtc::rtp::Packet {
            header: rtc::rtp::Header { version: 2, padding: true, ..Default::default() },
            payload: Bytes::from_static(b"abc"),
        };
        let raw = packet.marshal().unwrap().freeze();
        assert_eq!(&Packet::parse(raw).unwrap().payload[..], b"abc");
    }

    #[test]
    fn sequence_numbers_go_on_after_65535_and_old_ones_are_old() {
        let mut e = Extender::default();
        let first = e.extend(65_534);
        assert_eq!(e.extend(1), first + 3);
        assert_eq!(e.extend(65_535), first + 1);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(packet) = Packet::parse(Bytes::from(bytes)) {
                for id in 0..=255 {
                    let _ = packet.extension(id);
                }
                let _ = packet.unwrap_retransmission(1, 2);
            }
        }
    }
}
