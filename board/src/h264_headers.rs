//! Parameter sets of H.264: a key frame must carry its own, and some encoders give them once only.

/// NAL unit types of ITU-T H.264, table 7-1.
mod nal {
    pub(super) const SLICE: u8 = 1;
    pub(super) const IDR: u8 = 5;
    pub(super) const SEQUENCE: u8 = 7;
    pub(super) const PICTURE: u8 = 8;
}

/// Keeps the newest parameter sets.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    kept: Vec<u8>,
}

impl Headers {
    /// Gives the access unit with its parameter sets in front when it is a key frame that lacks them; nothing when it
    /// holds no picture, only parameter sets.
    pub(crate) fn complete(&mut self, unit: &[u8]) -> Option<(Vec<u8>, bool)> {
        let mut sets = Vec::new();
        let (mut key, mut picture, mut has_sequence) = (false, false, false);
        for (start, end) in units(unit) {
            // The first byte after the start code holds the type in its lower five bits.
            let after = unit[start..end].iter().position(|byte| *byte == 1).map(|at| start + at + 1);
            let kind = after.and_then(|at| unit.get(at)).map_or(0, |byte| byte & 0x1f);
            match kind {
                nal::SEQUENCE | nal::PICTURE => {
                    has_sequence |= kind == nal::SEQUENCE;
                    sets.extend_from_slice(&unit[start..end]);
                }
                nal::IDR => (key, picture) = (true, true),
                nal::SLICE => picture = true,
                _ => {}
            }
        }
        if has_sequence {
            self.kept = sets;
        }
        if !picture {
            return None;
        }
        if key && !has_sequence {
            return Some(([&self.kept[..], unit].concat(), key));
        }
        Some((unit.to_vec(), key))
    }
}

/// Start and end of each NAL unit of an Annex B stream, start codes included.
fn units(stream: &[u8]) -> Vec<(usize, usize)> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 <= stream.len() {
        if stream[at..at + 3] == [0, 0, 1] {
            // A fourth byte of zero in front belongs to the start code.
            starts.push(if at > 0 && stream[at - 1] == 0 { at - 1 } else { at });
            at += 3;
        } else {
            at += 1;
        }
    }
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    starts.iter().copied().zip(ends).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const SPS: [u8; 6] = [0, 0, 0, 1, 0x67, 66];
    const PPS: [u8; 6] = [0, 0, 0, 1, 0x68, 1];
    const IDR: [u8; 6] = [0, 0, 0, 1, 0x65, 9];
    const SLICE: [u8; 6] = [0, 0, 0, 1, 0x41, 9];

    #[test]
    fn a_key_frame_without_parameter_sets_gets_the_last_ones() {
        let mut headers = Headers::default();
        let whole = [SPS, PPS, IDR].concat();
        assert_eq!(headers.complete(&whole).unwrap(), (whole.clone(), true));
        assert_eq!(headers.complete(&SLICE).unwrap(), (SLICE.to_vec(), false));
        assert_eq!(headers.complete(&IDR).unwrap(), (whole, true));
    }

    #[test]
    fn parameter_sets_that_come_alone_are_kept() {
        let mut headers = Headers::default();
        assert_eq!(headers.complete(&[SPS, PPS].concat()), None);
        assert_eq!(headers.complete(&IDR).unwrap().0, [SPS, PPS, IDR].concat());
    }

    #[test]
    fn start_codes_of_three_bytes_count_too() {
        let mut headers = Headers::default();
        let stream = [&SPS[..], &PPS[1..], &IDR[1..]].concat();
        assert_eq!(headers.complete(&stream).unwrap(), (stream, true));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_none_are_lost(parts in prop::collection::vec(prop::collection::vec(0..4_u8, 0..20), 0..6)) {
            let mut headers = Headers::default();
            for part in parts {
                if let Some((given, _)) = headers.complete(&part) {
                    prop_assert!(given.ends_with(&part));
                }
            }
        }
    }
}
