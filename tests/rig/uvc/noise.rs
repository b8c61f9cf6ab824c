//! Repeatable noise for tests: a linear congruential generator (Knuth, MMIX).

/// The generator.
pub(crate) struct Noise(u64);

impl Noise {
    /// Another seed gives other noise.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A byte; the top of the state, whose period is the longest.
    pub(crate) fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0.to_be_bytes()[0]
    }

    /// Less than `limit`, which must not be zero.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let number =
            usize::from(self.byte()) << 16 | usize::from(self.byte()) << 8 | usize::from(self.byte());
        number % limit
    }

    /// `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}
