//! H.264 out of RTP payloads (RFC 6184): single units, STAP-A and FU-A, into Annex B.

use bytes::{BufMut, Bytes, BytesMut};

const NAL_TYPE: u8 = 0x1f;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// What a payload says about its place in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// A frame may begin with it.
    pub(crate) starts: bool,
    /// A picture that needs no other begins here. Of H.264 that is its sequence parameter set: a slice without it
    /// cannot be decoded by somebody who just came (RFC 7742 §6.2 has both in one access unit).
    pub(crate) key: bool,
}

/// Looks at a payload without unpacking it. `None` when it is damaged or not supported.
pub(crate) fn place(payload: &[u8]) -> Option<Place> {
    let kind = *payload.first()? & NAL_TYPE;
    match kind {
        1..=23 => Some(Place { starts: true, key: kind == SPS }),
        STAP_A => {
            let mut key = false;
            let mut rest = &payload[1..];
            while let Some((unit, after)) = aggregated(rest) {
                key |= unit[0] & NAL_TYPE == SPS;
                rest = after;
            }
            rest.is_empty().then_some(Place { starts: true, key })
        }
        FU_A => {
            let header = *payload.get(1)?;
            Some(Place { starts: header & 0x80 != 0, key: false })
        }
        _ => None,
    }
}

fn aggregated(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
    (length > 0 && rest.len() >= 2 + length).then(|| rest[2..].split_at(length))
}

/// Appends what a payload carries. `false` when it is damaged; `out` then holds part of it.
pub(crate) fn append(payload: &Bytes, out: &mut BytesMut) -> bool {
    let Some(first) = payload.first() else { return false };
    match first & NAL_TYPE {
        1..=23 => {
            out.put_slice(&START_CODE);
            out.put_slice(payload);
            true
        }
        STAP_A => {
            let mut rest = &payload[1..];
            while let Some((unit, after)) = aggregated(rest) {
                out.put_slice(&START_CODE);
                out.put_slice(unit);
                rest = after;
            }
            rest.is_empty()
        }
        FU_A => {
            let Some(header) = payload.get(1) else { return false };
            if header & 0x80 != 0 {
                out.put_slice(&START_CODE);
                out.put_u8(first & 0xe0 | header & NAL_TYPE);
            } else if out.is_empty() {
                return false;
            }
            out.put_slice(&payload[2..]);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_starts_with_parameter_sets_and_not_with_the_middle_of_a_slice() {
        assert_eq!(place(&[0x67, 1]), Some(Place { starts: true, key: true }));
        assert_eq!(place(&[0x7c, 0x85, 1]), Some(Place { starts: true, key: false }));
        assert_eq!(place(&[0x7c, 0x05, 1]), Some(Place { starts: false, key: false }));
        assert_eq!(place(&[0x41, 1]), Some(Place { starts: true, key: false }));
        assert_eq!(place(&[0x78, 0, 9, 1]), None);
    }

    proptest! {
        #[test]
        fn no_payload_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = place(&bytes);
            let mut out = BytesMut::new();
            append(&Bytes::from(bytes.clone()), &mut out);
            prop_assert!(out.len() <= bytes.len() * 3 + 8);
        }
    }
}
