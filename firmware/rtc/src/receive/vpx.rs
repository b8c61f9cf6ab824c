//! VP8 (RFC 7741) and VP9 (RFC 9628) out of RTP payloads.

use bytes::{Buf as _, Bytes};

use super::h264::Place;

/// The VP8 frame data of a payload, and its place. `None` when it is damaged.
pub(crate) fn vp8(payload: &Bytes) -> Option<(Place, Bytes)> {
    let first = *payload.first()?;
    let mut at = 1;
    if first & 0x80 != 0 {
        let extended = *payload.get(at)?;
        at += 1;
        if extended & 0x80 != 0 {
            at += if *payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(extended & 0x40 != 0);
        at += usize::from(extended & 0x30 != 0);
    }
    // The start of the first partition, with its frame header (RFC 6386 §9.1).
    let starts = first & 0x10 != 0 && first & 0x07 == 0;
    let header = *payload.get(at)?;
    let mut data = payload.clone();
    data.advance(at);
    Some((Place { starts, key: starts && header & 1 == 0 }, data))
}

/// The VP9 frame data of a payload, and its place. `None` when it is damaged.
pub(crate) fn vp9(payload: &Bytes) -> Option<(Place, Bytes)> {
    let first = *payload.first()?;
    let bit = |b: u8| first & b != 0;
    let (picture_id, inter, layers, flexible, begins, structure) =
        (bit(0x80), bit(0x40), bit(0x20), bit(0x10), bit(0x08), bit(0x02));
    let mut at = 1;
    if picture_id {
        at += if *payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    let mut spatial = 0;
    if layers {
        spatial = *payload.get(at)? >> 1 & 0x07;
        at += if flexible { 1 } else { 2 };
    }
    if flexible && inter {
        for _ in 0..3 {
            let reference = *payload.get(at)?;
            at += 1;
            if reference & 1 == 0 {
                break;
            }
        }
    }
    if structure {
        at = skip_structure(payload, at)?;
    }
    if at >= payload.len() {
        return None;
    }
    let mut data = payload.clone();
    data.advance(at);
    // A picture that is not a key picture may consist of its highest spatial layer alone (K-SVC).
    Some((Place { starts: begins, key: begins && spatial == 0 && !inter }, data))
}

/// The scalability structure (RFC 9628 §4.2.1).
fn skip_structure(payload: &[u8], mut at: usize) -> Option<usize> {
    let header = *payload.get(at)?;
    at += 1;
    if header & 0x10 != 0 {
        at += 4 * (usize::from(header >> 5) + 1);
    }
    if header & 0x08 != 0 {
        let pictures = *payload.get(at)?;
        at += 1;
        for _ in 0..pictures {
            at += 1 + usize::from(*payload.get(at)? >> 2 & 0x03);
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_vp8_key_frame_is_seen_behind_a_long_descriptor() {
        // X, I with 15 bits, L, T/K; then a key frame's header (last bit 0).
        let payload = Bytes::from_static(&[0x90, 0xf0, 0x81, 0x23, 0x05, 0x20, 0x10, 0x02, 0x00]);
        let (place, data) = vp8(&payload).unwrap();
        assert_eq!(place, Place { starts: true, key: true });
        assert_eq!(&data[..], &[0x10, 0x02, 0x00]);
        let (place, _) = vp8(&Bytes::from_static(&[0x10, 0x11])).unwrap();
        assert_eq!(place, Place { starts: true, key: false });
        let (place, _) = vp8(&Bytes::from_static(&[0x00, 0x10])).unwrap();
        assert!(!place.starts && !place.key);
    }

    #[test]
    fn a_vp9_key_frame_is_seen_behind_its_structure() {
        // I, L, B, V; 15-bit picture id; layer indices and TL0PICIDX; structure with one size.
        let payload = Bytes::from_static(&[0xaa, 0x80, 0x01, 0x00, 0x00, 0x10, 1, 0, 1, 0, 0x82, 0x49]);
        let (place, data) = vp9(&payload).unwrap();
        assert_eq!(place, Place { starts: true, key: true });
        assert_eq!(&data[..], &[0x82, 0x49]);
    }

    #[test]
    fn a_vp9_picture_of_its_highest_layer_alone_starts_but_is_no_key_picture() {
        // I, P, L, B; 7-bit picture id; spatial layer 2, inter-layer dependency; TL0PICIDX.
        let (place, data) = vp9(&Bytes::from_static(&[0xe8, 0x05, 0x05, 0x07, 0x86])).unwrap();
        assert_eq!(place, Place { starts: true, key: false });
        assert_eq!(&data[..], &[0x86]);
    }

    proptest! {
        #[test]
        fn no_payload_breaks_them(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let bytes = Bytes::from(bytes);
            let _ = vp8(&bytes);
            let _ = vp9(&bytes);
        }
    }
}
