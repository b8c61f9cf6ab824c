//! RTP headers, read in place and written without allocation (RFC 3550 §5.1, RFC 8285).

use std::ops::Range;

const FIXED_LEN: usize = 12;
const ONE_BYTE_PROFILE: u16 = 0xbede;
const TWO_BYTE_PROFILE: u16 = 0x1000;

/// What an RTP header says, and where its parts are.
#[derive(Clone, Debug)]
pub(super) struct RtpView {
    pub(super) marker: bool,
    pub(super) pt: u8,
    pub(super) seq: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// Where the payload starts.
    pub(super) header_len: usize,
    padding: bool,
    profile: u16,
    extensions: Range<usize>,
}

impl RtpView {
    /// Reads a header; `None` when it is not RTP version 2 or cut off.
    pub(super) fn parse(packet: &[u8]) -> Option<RtpView> {
        let fixed = packet.first_chunk::<FIXED_LEN>()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let mut header_len = FIXED_LEN + 4 * usize::from(fixed[0] & 0x0f);
        let (mut profile, mut extensions) = (0, 0..0);
        if fixed[0] & 0x10 != 0 {
            let head = packet.get(header_len..)?.first_chunk::<4>()?;
            profile = u16::from_be_bytes([head[0], head[1]]);
            let start = header_len + 4;
            header_len = start + 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
            extensions = start..header_len;
        }
        (packet.len() >= header_len).then(|| RtpView {
            marker: fixed[1] & 0x80 != 0,
            pt: fixed[1] & 0x7f,
            seq: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            header_len,
            padding: fixed[0] & 0x20 != 0,
            profile,
            extensions,
        })
    }

    /// The header extensions as (id, place of the value in the packet).
    pub(super) fn extensions<'a>(&self, packet: &'a [u8]) -> Extensions<'a> {
        let one_byte = match self.profile {
            ONE_BYTE_PROFILE => true,
            profile if profile & 0xfff0 == TWO_BYTE_PROFILE => false,
            _ => return Extensions { packet, at: 0, end: 0, one_byte: true },
        };
        let end = self.extensions.end.min(packet.len());
        Extensions { packet, at: self.extensions.start, end, one_byte }
    }

    /// Where the payload is in a decrypted packet, without padding; `None` when the padding is wrong.
    pub(super) fn payload(&self, packet: &[u8]) -> Option<Range<usize>> {
        let padding = if self.padding { usize::from(*packet.last()?) } else { 0 };
        if self.padding && padding == 0 {
            return None;
        }
        let end = packet.len().checked_sub(padding)?;
        (end >= self.header_len).then_some(self.header_len..end)
    }
}

/// Iterates over the header extensions of a packet.
pub(super) struct Extensions<'a> {
    packet: &'a [u8],
    at: usize,
    end: usize,
    one_byte: bool,
}

impl Iterator for Extensions<'_> {
    type Item = (u8, Range<usize>);

    fn next(&mut self) -> Option<(u8, Range<usize>)> {
        loop {
            let head = *self.packet.get(..self.end)?.get(self.at)?;
            if head == 0 {
                self.at += 1;
                continue;
            }
            let (id, len, start) = if self.one_byte {
                (head >> 4, usize::from(head & 0x0f) + 1, self.at + 1)
            } else {
                (head, usize::from(*self.packet[..self.end].get(self.at + 1)?), self.at + 2)
            };
            let stop = self.one_byte && id == 15;
            if stop || start + len > self.end {
                self.at = self.end;
                return None;
            }
            self.at = start + len;
            return Some((id, start..start + len));
        }
    }
}

/// The fixed fields of a header to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderFields {
    pub(super) marker: bool,
    pub(super) pt: u8,
    pub(super) seq: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
}

/// Header extensions to write, at most eight; those with id 0 or of a wrong length are left out.
#[derive(Default)]
pub(super) struct ExtensionList<'a> {
    items: [(u8, &'a [u8]); 8],
    len: usize,
}

impl<'a> ExtensionList<'a> {
    /// Adds an extension. An id of 0 means that it was not negotiated.
    pub(super) fn push(&mut self, id: u8, value: &'a [u8]) {
        if id != 0 && self.len < self.items.len() && (1..=255).contains(&value.len()) {
            self.items[self.len] = (id, value);
            self.len += 1;
        }
    }

    fn items(&self) -> &[(u8, &'a [u8])] {
        &self.items[..self.len]
    }
}

/// Appends a header to `out`; the two-byte form of extensions is used when one of them needs it and `mixed`
/// allows it (RFC 8285 §6), else such extensions are left out. Returns the length of the header.
pub(super) fn write_header(
    out: &mut Vec<u8>,
    fields: HeaderFields,
    extensions: &ExtensionList<'_>,
    mixed: bool,
) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0x80, fields.pt | u8::from(fields.marker) << 7]);
    out.extend_from_slice(&fields.seq.to_be_bytes());
    out.extend_from_slice(&fields.timestamp.to_be_bytes());
    out.extend_from_slice(&fields.ssrc.to_be_bytes());
    let small = |&&(id, value): &&(u8, &[u8])| id <= 14 && value.len() <= 16;
    let two_byte = mixed && !extensions.items().iter().all(|item| small(&item));
    if extensions.items().iter().any(|item| two_byte || small(&item)) {
        out[start] |= 0x10;
        let profile = if two_byte { TWO_BYTE_PROFILE } else { ONE_BYTE_PROFILE };
        out.extend_from_slice(&profile.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        let block = out.len();
        for item in extensions.items().iter().filter(|item| two_byte || small(item)) {
            let (id, value) = *item;
            if two_byte {
                out.extend_from_slice(&[id, value.len() as u8]);
            } else {
                out.push(id << 4 | (value.len() - 1) as u8);
            }
            out.extend_from_slice(value);
        }
        while !(out.len() - block).is_multiple_of(4) {
            out.push(0);
        }
        let words = ((out.len() - block) / 4) as u16;
        out[block - 2..block].copy_from_slice(&words.to_be_bytes());
    }
    out.len() - start
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const FIELDS: HeaderFields =
        HeaderFields { marker: true, pt: 96, seq: 65_535, timestamp: 0xdead_beef, ssrc: 7 };

    #[test]
    fn a_written_header_reads_back() {
        let mut list = ExtensionList::default();
        list.push(4, b"video");
        list.push(0, b"left out");
        list.push(3, &[1, 2]);
        let mut packet = Vec::new();
        let len = write_header(&mut packet, FIELDS, &list, false);
        packet.extend_from_slice(b"payload");
        let view = RtpView::parse(&packet).unwrap();
        assert_eq!(view.header_len, len);
        assert_eq!(
            (view.marker, view.pt, view.seq, view.timestamp, view.ssrc),
            (true, 96, 65_535, 0xdead_beef, 7)
        );
        let read: Vec<_> = view.extensions(&packet).map(|(id, at)| (id, packet[at].to_vec())).collect();
        assert_eq!(read, [(4, b"video".to_vec()), (3, vec![1, 2])]);
        assert_eq!(&packet[view.payload(&packet).unwrap()], b"payload");
    }

    #[test]
    fn long_extensions_travel_only_where_mixed_forms_are_allowed() {
        let long = [9; 40];
        for mixed in [false, true] {
            let mut list = ExtensionList::default();
            list.push(8, &long);
            list.push(1, &[5]);
            let mut packet = Vec::new();
            write_header(&mut packet, FIELDS, &list, mixed);
            let view = RtpView::parse(&packet).unwrap();
            let ids: Vec<_> = view.extensions(&packet).map(|(id, _)| id).collect();
            assert_eq!(ids, if mixed { vec![8, 1] } else { vec![1] });
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(packet in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(view) = RtpView::parse(&packet) {
                for (_, at) in view.extensions(&packet) {
                    prop_assert!(at.end <= packet.len());
                }
                if let Some(at) = view.payload(&packet) {
                    prop_assert!(at.end <= packet.len());
                }
            }
        }
    }
}
