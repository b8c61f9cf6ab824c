//! The last minute of a sound.

/// A ring of samples on the board's sample clock. Kept as 16 bits: a minute takes 6 MB, and only as much
/// of it as was used.
pub(super) struct Tape {
    ring: Vec<i16>,
    capacity: usize,
    /// First sample that is kept.
    start: u64,
    /// One after the last.
    end: u64,
}

impl Tape {
    /// An empty tape for `capacity` samples.
    pub(super) fn new(capacity: usize) -> Self {
        Self { ring: Vec::new(), capacity, start: 0, end: 0 }
    }

    /// One after the newest sample.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Writes `samples` at `index`; a gap since the end becomes silence, what lies before the end is
    /// left as it was.
    pub(super) fn write(&mut self, index: u64, samples: impl ExactSizeIterator<Item = f32>) {
        if self.ring.is_empty() {
            // At once, so that real-time callers allocate only before their first period.
            self.ring = vec![0; self.capacity];
        }
        if self.start == self.end || index >= self.end + self.capacity as u64 {
            (self.start, self.end) = (index, index);
        }
        while self.end < index {
            self.push(0.0);
        }
        let known = usize::try_from(self.end - index).unwrap_or(usize::MAX);
        samples.skip(known).for_each(|s| self.push(s));
    }

    fn push(&mut self, sample: f32) {
        let at = self.place(self.end);
        self.ring[at] = (sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16;
        self.end += 1;
        self.start = self.start.max(self.end.saturating_sub(self.capacity as u64));
    }

    /// The sample at `index`; silence where nothing is known.
    pub(super) fn at(&self, index: u64) -> f32 {
        if (self.start..self.end).contains(&index) {
            f32::from(self.ring[self.place(index)]) / 32_767.0
        } else {
            0.0
        }
    }

    /// Up to `length` samples that end before `end`, and the index of the first.
    pub(super) fn read_before(&self, end: u64, length: usize) -> (u64, Vec<f32>) {
        let end = end.clamp(self.start, self.end);
        let start = self.start.max(end.saturating_sub(length as u64));
        (start, (start..end).map(|i| self.at(i)).collect())
    }

    fn place(&self, index: u64) -> usize {
        // Less than the capacity, which is a usize.
        (index % self.capacity as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_keeps_the_newest_and_fills_gaps_with_silence() {
        let mut tape = Tape::new(10);
        tape.write(100, [0.5; 4].into_iter());
        tape.write(106, [-0.5; 6].into_iter());
        let (start, samples) = tape.read_before(u64::MAX, 100);
        let rounded: Vec<i32> = samples.iter().map(|s| (s * 10.0).round() as i32).collect();
        assert_eq!((start, rounded), (102, vec![5, 5, 0, 0, -5, -5, -5, -5, -5, -5]));
        assert_eq!(tape.read_before(104, 1).0, 103);
    }

    #[test]
    fn a_tape_forgets_all_after_a_gap_longer_than_itself() {
        let mut tape = Tape::new(10);
        tape.write(0, [0.5; 4].into_iter());
        tape.write(1 << 40, [0.5; 2].into_iter());
        assert_eq!(tape.read_before(u64::MAX, 100).0, 1 << 40);
        assert_eq!(tape.read_before(u64::MAX, 100).1.len(), 2);
    }
}
