//! H.264 from a file (Annex B), cut into access units, again and again.

use std::{fs, ops::Range, path::Path};

use anyhow::{Context, ensure};

/// The units of a file.
#[derive(Default)]
pub(crate) struct AccessUnits {
    bytes: Vec<u8>,
    units: Vec<Range<usize>>,
    next: usize,
}

impl AccessUnits {
    /// Reads and cuts a file.
    ///
    /// # Errors
    /// When it cannot be read, or has no access unit.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let units = cut(&bytes);
        ensure!(!units.is_empty(), "{} has no H.264 slice; it must be Annex B", path.display());
        Ok(Self { bytes, units, next: 0 })
    }

    /// Size of the largest.
    pub(crate) fn largest(&self) -> usize {
        self.units.iter().map(ExactSizeIterator::len).max().unwrap_or_default()
    }

    /// The next one; the first after the last. Empty when there is none.
    pub(crate) fn advance(&mut self) -> &[u8] {
        let Some(unit) = self.units.get(self.next) else { return &[] };
        self.next = (self.next + 1) % self.units.len();
        &self.bytes[unit.clone()]
    }

    /// Begins again: a new stream is to begin with a key frame.
    pub(crate) fn rewind(&mut self) {
        self.next = 0;
    }
}

/// The access units of a byte stream: a unit has a slice, and ends before what cannot belong to the same
/// picture (H.264 §7.4.1.2.3). What is behind the last slice belongs to the last unit.
fn cut(bytes: &[u8]) -> Vec<Range<usize>> {
    const SLICES: [u8; 2] = [1, 5];
    /// SEI, SPS, PPS and access unit delimiter.
    const BEFORE_A_SLICE: std::ops::RangeInclusive<u8> = 6..=9;
    let mut units = Vec::new();
    let mut start = 0;
    let mut has_slice = false;
    for (at, header) in nal_units(bytes) {
        let Some(kind) = bytes.get(header).map(|byte| byte & 0x1f) else { break };
        // `first_mb_in_slice` is the first number of a slice; its first bit is set when it is 0.
        let first_slice =
            SLICES.contains(&kind) && bytes.get(header + 1).is_some_and(|byte| byte & 0x80 != 0);
        if has_slice && (first_slice || BEFORE_A_SLICE.contains(&kind)) {
            units.push(start..at);
            start = at;
            has_slice = false;
        }
        has_slice |= SLICES.contains(&kind);
    }
    if has_slice {
        units.push(start..bytes.len());
    }
    units
}

/// Where each NAL unit's start code begins, and where its header is (Annex B).
fn nal_units(bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let codes = bytes.windows(3).enumerate().filter(|(_, window)| *window == [0, 0, 1]);
    codes.map(|(at, _)| {
        let has_leading_zero = at > 0 && bytes[at - 1] == 0;
        (at - usize::from(has_leading_zero), at + 3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    const SPS: &[u8] = &[0, 0, 0, 1, 0x67, 0x42];
    const PPS: &[u8] = &[0, 0, 0, 1, 0x68, 0xce];
    const IDR: &[u8] = &[0, 0, 1, 0x65, 0x88];
    const SLICE: &[u8] = &[0, 0, 0, 1, 0x41, 0x9a];
    const SECOND_SLICE: &[u8] = &[0, 0, 1, 0x41, 0x1a];

    fn units(parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let bytes = parts.concat();
        cut(&bytes).into_iter().map(|unit| bytes[unit].to_vec()).collect()
    }

    #[test]
    fn parameter_sets_go_with_the_slice_behind_them() {
        let expected = [[SPS, PPS, IDR].concat(), SLICE.to_vec(), [SPS, PPS, IDR].concat()];
        assert_eq!(units(&[SPS, PPS, IDR, SLICE, SPS, PPS, IDR]), expected);
    }

    #[test]
    fn slices_of_one_picture_stay_together() {
        assert_eq!(units(&[IDR, SLICE, SECOND_SLICE, SLICE]), [IDR, &[SLICE, SECOND_SLICE].concat(), SLICE]);
    }

    #[test]
    fn units_are_played_again_and_again() {
        let bytes = [SPS, IDR, SLICE].concat();
        let mut file = AccessUnits { units: cut(&bytes), bytes, next: 0 };
        assert_eq!(file.largest(), 11);
        assert_eq!([file.advance().len(), file.advance().len(), file.advance().len()], [11, 6, 11]);
        file.rewind();
        assert_eq!(file.advance().len(), 11);
        assert!(AccessUnits::default().advance().is_empty());
    }

    #[test]
    fn no_bytes_make_the_cutter_panic_and_units_are_in_order() {
        let mut noise = Noise::new(5);
        for _ in 0..2_000 {
            let length = noise.below(80);
            let bytes: Vec<u8> =
                (0..length).map(|_| [0, 0, 0, 1, 1, 0x65, 0x41, 0x67, 0x9a][noise.below(9)]).collect();
            let mut end = 0;
            for unit in cut(&bytes) {
                assert!(unit.start >= end && !unit.is_empty() && unit.end <= bytes.len());
                end = unit.end;
            }
        }
    }
}
