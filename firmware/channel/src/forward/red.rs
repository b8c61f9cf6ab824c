//! Redundant audio (RFC 2198): the primary block for those who do not take RED.

/// The primary block of a RED payload; `None` when it is not well formed.
pub fn primary(payload: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    let mut redundant_bytes = 0;
    // Headers of redundant blocks: F=1, type, 14 bits of offset, 10 bits of length.
    while payload.get(at)? & 0x80 != 0 {
        let header = payload.get(at..at + 4)?;
        redundant_bytes += usize::from(u16::from_be_bytes([header[2], header[3]]) & 0x03ff);
        at += 4;
    }
    payload.get(at + 1 + redundant_bytes..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_primary_block_is_the_last() {
        assert_eq!(primary(&[111, 1, 2, 3]), Some(&[1, 2, 3][..]));
        let with_one_redundant = [0x80 | 111, 0x0f, 0x00, 0x02, 111, 9, 9, 1, 2, 3];
        assert_eq!(primary(&with_one_redundant), Some(&[1, 2, 3][..]));
    }

    #[test]
    fn a_length_that_lies_gives_nothing() {
        assert_eq!(primary(&[0x80 | 111, 0, 0x03, 0xff, 111, 1]), None);
        assert_eq!(primary(&[]), None);
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            primary(&payload);
        }
    }
}
