//! H.264 into RTP payloads (RFC 6184, packetization mode 1): STAP-A for what is small, FU-A for what is large.

use bytes::{BufMut, Bytes, BytesMut};

const NAL_TYPE: u8 = 0x1f;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const ACCESS_UNIT_DELIMITER: u8 = 9;
const END_OF_SEQUENCE: u8 = 10;
const FILLER: u8 = 12;

/// The NAL units of an Annex B access unit, without start codes.
pub(crate) fn nal_units(access_unit: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let mut at = next_start_code(access_unit, 0).map(|(_, after)| after);
    std::iter::from_fn(move || {
        loop {
            let begin = at?;
            let (end, next) = match next_start_code(access_unit, begin) {
                Some((end, after)) => (end, Some(after)),
                None => (access_unit.len(), None),
            };
            at = next;
            // Zeros between units are padding (`trailing_zero_8bits`).
            let unit = &access_unit[begin..end];
            let length = unit.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
            if length > 0 {
                return Some(access_unit.slice(begin..begin + length));
            }
        }
    })
}

/// Where the next `00 00 01` begins and what follows it.
fn next_start_code(data: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut i = from;
    while i + 3 <= data.len() {
        if data[i + 2] > 1 {
            i += 3;
        } else if data[i] == 0 && data[i + 1] == 0 && data[i + 2] == 1 {
            return Some((i, i + 3));
        } else {
            i += 1;
        }
    }
    None
}

/// The RTP payloads of an access unit, in order, none larger than `limit` (at least 16); the marker bit belongs
/// on the last. Empty when there is nothing to send.
pub(crate) fn packetise(access_unit: &Bytes, limit: usize) -> Vec<Bytes> {
    let limit = limit.max(16);
    let mut out = Vec::with_capacity(access_unit.len() / limit + 2);
    let mut small: Vec<Bytes> = Vec::new();
    let mut small_size = 1;
    for unit in nal_units(access_unit) {
        if matches!(unit[0] & NAL_TYPE, ACCESS_UNIT_DELIMITER | END_OF_SEQUENCE | FILLER) {
            continue;
        }
        if small_size + 2 + unit.len() > limit {
            flush(&mut small, &mut out);
            small_size = 1;
        }
        if unit.len() > limit {
            fragment(&unit, limit, &mut out);
        } else {
            small_size += 2 + unit.len();
            small.push(unit);
        }
    }
    flush(&mut small, &mut out);
    out
}

/// One unit goes alone, several go as STAP-A (RFC 6184 §5.7.1).
fn flush(units: &mut Vec<Bytes>, out: &mut Vec<Bytes>) {
    match units.len() {
        0 => {}
        1 => out.append(units),
        _ => {
            let mut payload = BytesMut::new();
            // The importance bits of the most important unit, and F when any has it.
            let nri = units.iter().map(|u| u[0] & 0x60).max().unwrap_or_default();
            let forbidden = units.iter().fold(0, |f, u| f | u[0] & 0x80);
            payload.put_u8(forbidden | nri | STAP_A);
            for unit in units.drain(..) {
                payload.put_u16(unit.len() as u16);
                payload.put_slice(&unit);
            }
            out.push(payload.freeze());
        }
    }
}

/// FU-A (RFC 6184 §5.8).
fn fragment(unit: &Bytes, limit: usize, out: &mut Vec<Bytes>) {
    let header = unit[0];
    let body = unit.slice(1..);
    // Equal parts: the last packet of a frame is then not a tiny one.
    let parts = body.len().div_ceil(limit - 2);
    let size = body.len().div_ceil(parts);
    let mut at = 0;
    while at < body.len() {
        let end = (at + size).min(body.len());
        let mut payload = BytesMut::with_capacity(2 + end - at);
        payload.put_u8(header & 0xe0 | FU_A);
        let start = if at == 0 { 0x80 } else { 0 };
        let last = if end == body.len() { 0x40 } else { 0 };
        payload.put_u8(start | last | header & NAL_TYPE);
        payload.put_slice(&body[at..end]);
        out.push(payload.freeze());
        at = end;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::receive::h264;

    fn annex_b(units: &[Vec<u8>]) -> Bytes {
        let mut out = BytesMut::new();
        for (i, unit) in units.iter().enumerate() {
            out.put_slice(if i % 2 == 0 { &[0, 0, 0, 1] } else { &[0, 0, 1] });
            out.put_slice(unit);
        }
        out.freeze()
    }

    /// Bytes of an encoder: a type, then no emulated start code and no trailing zero.
    fn nal_unit(max: usize) -> impl Strategy<Value = Vec<u8>> {
        (1u8..=8, prop::collection::vec(1u8..=255, 1..max)).prop_map(|(kind, body)| {
            let mut unit = vec![0x60 | kind];
            unit.extend(body);
            unit
        })
    }

    #[test]
    fn parameter_sets_travel_together() {
        let au = annex_b(&[vec![0x67, 1, 2], vec![0x68, 3], vec![0x65; 3000]]);
        let payloads = packetise(&au, 1200);
        assert_eq!(payloads[0][0] & NAL_TYPE, STAP_A);
        assert_eq!(payloads.len(), 4);
        assert!(payloads[1..].iter().all(|p| p[0] & NAL_TYPE == FU_A && p.len() > 900));
    }

    proptest! {
        #[test]
        fn what_is_packetised_is_depacketised(
            units in prop::collection::vec(nal_unit(4000), 1..8),
            limit in 100usize..1400,
        ) {
            let payloads = packetise(&annex_b(&units), limit);
            prop_assert!(payloads.iter().all(|p| p.len() <= limit));
            let mut out = BytesMut::new();
            for payload in &payloads {
                prop_assert!(h264::append(payload, &mut out));
            }
            let back: Vec<Vec<u8>> = nal_units(&out.freeze()).map(|u| u.to_vec()).collect();
            prop_assert_eq!(back, units);
        }

        #[test]
        fn no_bytes_break_the_packetiser(bytes in prop::collection::vec(0u8..3, 0..3000), limit in 0usize..300) {
            for payload in packetise(&Bytes::from(bytes), limit) {
                prop_assert!(!payload.is_empty() && payload.len() <= limit.max(16));
            }
        }
    }
}
