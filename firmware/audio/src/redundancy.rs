//! What a packet carries about the time before it, read from its bytes alone.

/// Number of the extension that holds deep redundancy, and what it begins with while it is experimental
/// (draft-ietf-mlcodec-opus-dred as Opus 1.6 writes it).
const DEEP: u8 = 126;
const DEEP_MARK: [u8; 2] = [b'D', 12];
/// Bytes for where deep redundancy begins, and for each 40 ms of it: about what Opus 1.6 needs at 32 to 68 kbit/s.
const DEEP_BEGINS: usize = 14;
const DEEP_BYTES_A_STEP: usize = 4;
const DEEP_STEP: i64 = 1_920;

/// The redundancy of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Redundancy {
    /// It has a second, coarser copy of the packet before it (RFC 6716 §2.1.7).
    pub(crate) correction: bool,
    /// How far deep redundancy reaches back from its start, samples at 48 kHz; an estimate by its size.
    pub(crate) deep: i64,
}

/// Reads it; of what is no packet it is none.
pub(crate) fn redundancy_of(opus: &[u8]) -> Redundancy {
    let Some(parts) = Parts::of(opus) else { return Redundancy::default() };
    let deep = deep_payload(parts.padding, parts.frames).map_or(0, <[u8]>::len);
    Redundancy {
        correction: has_correction(opus[0], parts.first),
        deep: (deep.saturating_sub(DEEP_BEGINS) / DEEP_BYTES_A_STEP) as i64 * DEEP_STEP,
    }
}

/// SILK's flags are the first bits of a frame: voice activity of each 20 ms, then the copy's (RFC 6716 §4.2.3).
fn has_correction(toc: u8, first: &[u8]) -> bool {
    let Some(flags) = first.first() else { return false };
    let silk_frames = match toc >> 3 {
        config @ 0..=11 => [1, 1, 2, 3][usize::from(config & 3)],
        12..=15 => 1,
        _ => return false,
    };
    let bit = |at: u32| flags >> (7 - at) & 1 == 1;
    let stereo = toc & 4 != 0;
    bit(silk_frames) || (stereo && bit(2 * silk_frames + 1))
}

/// A packet's frames and what follows them (RFC 6716 §3.2).
struct Parts<'a> {
    frames: usize,
    /// From the start of the first frame on; its end does not matter here.
    first: &'a [u8],
    padding: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(opus: &'a [u8]) -> Option<Self> {
        let (toc, rest) = opus.split_first()?;
        match toc & 3 {
            0 => Some(Self { frames: 1, first: rest, padding: &[] }),
            1 => Some(Self { frames: 2, first: rest, padding: &[] }),
            2 => Some(Self { frames: 2, first: rest.get(length_of(rest)?..)?, padding: &[] }),
            _ => Self::of_many(rest),
        }
    }

    /// Code 3: a byte of flags, the size of the padding, the sizes of all frames but the last.
    fn of_many(rest: &'a [u8]) -> Option<Self> {
        let (flags, mut rest) = rest.split_first()?;
        let frames = usize::from(flags & 0x3f);
        let mut padding = 0;
        if flags & 0x40 != 0 {
            loop {
                let (size, after) = rest.split_first()?;
                rest = after;
                padding += usize::from((*size).min(254));
                if *size < 255 {
                    break;
                }
            }
        }
        let (frames_of, padding) = rest.split_at_checked(rest.len().checked_sub(padding)?)?;
        let mut first = frames_of;
        if flags & 0x80 != 0 {
            for _ in 1..frames {
                first = first.get(length_of(first)?..)?;
            }
        }
        Some(Self { frames, first, padding })
    }
}

/// How many bytes the size of a frame takes (RFC 6716 §3.2.1).
fn length_of(rest: &[u8]) -> Option<usize> {
    rest.first().map(|first| if *first >= 252 { 2 } else { 1 })
}

/// The first extension with deep redundancy in the padding (draft-ietf-mlcodec-opus-extension §3).
fn deep_payload(mut padding: &[u8], frames: usize) -> Option<&[u8]> {
    let mut frame = 0;
    while let Some((head, rest)) = padding.split_first() {
        let (id, long) = (head >> 1, head & 1 == 1);
        let (payload, after) = match id {
            // Padding: all the rest, or one byte.
            0 if long => (&rest[..0], rest),
            0 => return None,
            // What follows belongs to a later frame.
            1 => {
                let skip = if long { usize::from(*rest.first()?) } else { 1 };
                frame += skip;
                if frame >= frames {
                    return None;
                }
                (&rest[..0], rest.get(usize::from(long)..)?)
            }
            // Others are repeated for later frames: Opus does not repeat this one.
            2 => (&rest[..0], rest),
            3..32 => rest.split_at_checked(usize::from(long))?,
            _ if long => {
                let (mut size, mut rest) = (0, rest);
                loop {
                    let (byte, after) = rest.split_first()?;
                    rest = after;
                    size += usize::from(*byte);
                    if *byte < 255 {
                        break;
                    }
                }
                rest.split_at_checked(size)?
            }
            _ => (rest, &rest[rest.len()..]),
        };
        if id == DEEP
            && let Some(deep) = payload.strip_prefix(&DEEP_MARK)
            && !deep.is_empty()
        {
            return Some(deep);
        }
        padding = after;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::encode::PacketEncoder;
    use crate::opus_policy::OpusSettings;
    use proptest::prelude::*;

    /// What most packets of one second of a buzzing voice carry.
    fn of_encoder(change: impl FnOnce(&mut OpusSettings)) -> Redundancy {
        let mut settings = OpusSettings { bitrate_bps: 48_000, ..OpusSettings::default() };
        change(&mut settings);
        let mut encoder = PacketEncoder::voice(&settings).unwrap();
        let mut all = Vec::new();
        for packet in 0..50_usize {
            encoder.add((0..960).map(|i| {
                let i = packet * 960 + i;
                let swell = (i as f32 / 9_600.0).sin().powi(2);
                ((i % 400) as f32 / 200.0 - 1.0) * 0.3 * swell
            }));
            all.push(redundancy_of(encoder.encode().unwrap().0));
        }
        let most = |of: &dyn Fn(&Redundancy) -> bool| all[20..].iter().filter(|r| of(r)).count() > 15;
        let mut reach: Vec<i64> = all[20..].iter().map(|r| r.deep).collect();
        reach.sort_unstable();
        Redundancy { correction: most(&|r| r.correction), deep: reach[reach.len() / 2] }
    }

    #[test]
    fn what_the_encoder_was_told_is_found_in_its_packets() {
        let none = of_encoder(|_| {});
        assert_eq!(none, Redundancy::default());
        let correction = of_encoder(|s| (s.correction, s.expected_loss_percent) = (true, 20));
        assert_eq!(correction, Redundancy { correction: true, deep: 0 });
        let deep = of_encoder(|s| (s.deep_frames, s.expected_loss_percent) = (25, 20));
        assert!(!deep.correction && deep.deep >= 7_680, "{deep:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let found = redundancy_of(&bytes);
            prop_assert!(found.deep >= 0 && found.deep <= 300 / 4 * DEEP_STEP);
        }
    }
}
