//! RTP sequence numbers without wrap-around.

/// How far a number may jump before the stream counts as a new one.
pub const MAX_JUMP: u64 = 3_000;

/// Turns the 16-bit sequence numbers of one SSRC into ever growing ones (RFC 3550 appendix A.1).
#[derive(Debug, Clone, Default)]
pub struct Unwrapper {
    highest: Option<u64>,
}

impl Unwrapper {
    /// The extended number of `seq`, taken as the nearest to the highest so far; `None` when that is further
    /// than [`MAX_JUMP`] away: the sender started anew.
    pub fn unwrap(&mut self, seq: u16) -> Option<u64> {
        let Some(highest) = self.highest else {
            // One turn of room below the first, for packets that were overtaken by it.
            let first = 0x1_0000 + u64::from(seq);
            self.highest = Some(first);
            return Some(first);
        };
        let delta = seq.wrapping_sub(highest as u16) as i16;
        if u64::from(delta.unsigned_abs()) > MAX_JUMP {
            return None;
        }
        let extended = highest.checked_add_signed(i64::from(delta))?;
        self.highest = Some(highest.max(extended));
        Some(extended)
    }

    /// The highest number so far.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_grow_over_the_wrap_and_late_ones_stay_below() {
        let mut unwrapper = Unwrapper::default();
        let a = unwrapper.unwrap(65_534).unwrap();
        assert_eq!(unwrapper.unwrap(1).unwrap(), a + 3);
        assert_eq!(unwrapper.unwrap(65_535).unwrap(), a + 1);
        assert_eq!(unwrapper.highest(), Some(a + 3));
    }

    #[test]
    fn a_late_packet_before_the_first_has_a_number_too() {
        let mut unwrapper = Unwrapper::default();
        let first = unwrapper.unwrap(0).unwrap();
        assert_eq!(unwrapper.unwrap(65_535).unwrap(), first - 1);
    }

    #[test]
    fn a_far_jump_is_a_new_stream() {
        let mut unwrapper = Unwrapper::default();
        unwrapper.unwrap(10);
        assert_eq!(unwrapper.unwrap(30_000), None);
    }

    proptest! {
        #[test]
        fn the_low_bits_are_the_number(seqs in prop::collection::vec(any::<u16>(), 1..200)) {
            let mut unwrapper = Unwrapper::default();
            for seq in seqs {
                if let Some(extended) = unwrapper.unwrap(seq) {
                    prop_assert_eq!(extended as u16, seq);
                }
            }
        }
    }
}
