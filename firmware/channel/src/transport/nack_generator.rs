//! Finds the gaps in one incoming stream and asks for what is missing (RFC 4585 §6.2.1).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A gap larger than this is a jump of the sender, not a loss.
const MAX_GAP: u16 = 512;
/// How many packets may be missing at once.
const MAX_MISSING: usize = 1024;
/// How often one packet is asked for.
const MAX_TRIES: u8 = 10;
/// What is this late is of no use any more.
const MAX_AGE: Duration = Duration::from_millis(1500);
/// Bounds of the time between two requests for one packet.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
const MAX_INTERVAL: Duration = Duration::from_millis(500);
/// The interval while no repair has told how long one takes.
const FIRST_INTERVAL: Duration = Duration::from_millis(60);

#[derive(Debug)]
struct Missing {
    seq: u16,
    since: Instant,
    asked: Option<Instant>,
    tries: u8,
}

/// The gaps of one stream. Each missing packet is asked for at once, then at most once per round trip; the
/// round trip is learnt from the repairs themselves.
#[derive(Debug, Default)]
pub struct NackGenerator {
    highest: Option<u16>,
    /// Ascending.
    missing: VecDeque<Missing>,
    round_trip: Option<Duration>,
}

impl NackGenerator {
    /// Notes a packet, original or repaired. Says whether it was new, so that a repair of something that had
    /// arrived can be dropped.
    pub fn received(&mut self, now: Instant, seq: u16) -> bool {
        let Some(highest) = self.highest else {
            self.highest = Some(seq);
            return true;
        };
        let ahead = seq.wrapping_sub(highest);
        if ahead == 0 {
            return false;
        }
        if ahead < 0x8000 {
            if ahead > MAX_GAP {
                self.missing.clear();
            } else {
                for step in 1..ahead {
                    let seq = highest.wrapping_add(step);
                    self.missing.push_back(Missing { seq, since: now, asked: None, tries: 0 });
                }
                while self.missing.len() > MAX_MISSING {
                    self.missing.pop_front();
                }
            }
            self.highest = Some(seq);
            return true;
        }
        if seq.wrapping_add(MAX_GAP) == highest || highest.wrapping_sub(seq) > MAX_GAP {
            // Too old to know.
            return false;
        }
        let Some(at) = self.missing.iter().position(|m| m.seq == seq) else { return false };
        if let Some(found) = self.missing.remove(at)
            && let (Some(asked), 1) = (found.asked, found.tries)
        {
            let sample = now.saturating_duration_since(asked);
            self.round_trip = Some(self.round_trip.map_or(sample, |known| (known * 7 + sample) / 8));
        }
        true
    }

    /// The sequence numbers to ask for now, ascending, appended to `out`. Gives up what is too old or was
    /// asked for too often.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<u16>) {
        let interval = self.interval();
        self.missing.retain_mut(|m| {
            if now.saturating_duration_since(m.since) >= MAX_AGE {
                return false;
            }
            if m.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= interval) {
                if m.tries >= MAX_TRIES {
                    return false;
                }
                m.tries += 1;
                m.asked = Some(now);
                out.push(m.seq);
            }
            true
        });
    }

    /// When [`NackGenerator::poll`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let interval = self.interval();
        self.missing.iter().map(|m| m.asked.map_or(m.since, |asked| asked + interval)).min()
    }

    /// How many packets are missing.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// From request to repair, where there was one.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    fn interval(&self) -> Duration {
        let learnt = self.round_trip.map(|known| known * 5 / 4 + Duration::from_millis(5));
        learnt.unwrap_or(FIRST_INTERVAL).clamp(MIN_INTERVAL, MAX_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(generator: &mut NackGenerator, now: Instant) -> Vec<u16> {
        let mut out = Vec::new();
        generator.poll(now, &mut out);
        out
    }

    #[test]
    fn a_gap_is_asked_for_at_once_and_then_once_per_round_trip() {
        let mut generator = NackGenerator::default();
        let start = Instant::now();
        assert!(generator.received(start, 65_534));
        assert!(generator.received(start, 1));
        assert_eq!(asked(&mut generator, start), [65_535, 0]);
        assert_eq!(asked(&mut generator, start + Duration::from_millis(1)), [0_u16; 0]);
        // A repair after 20 ms teaches the round trip.
        assert!(generator.received(start + Duration::from_millis(20), 0));
        assert!(!generator.received(start + Duration::from_millis(21), 0), "a second copy is not new");
        assert_eq!(generator.round_trip(), Some(Duration::from_millis(20)));
        assert_eq!(asked(&mut generator, start + Duration::from_millis(29)), [0_u16; 0]);
        assert_eq!(asked(&mut generator, start + Duration::from_millis(31)), [65_535]);
    }

    #[test]
    fn what_never_comes_is_given_up() {
        let mut generator = NackGenerator::default();
        let start = Instant::now();
        generator.received(start, 10);
        generator.received(start, 12);
        let mut tries = 0;
        let mut now = start;
        while let Some(at) = generator.poll_timeout() {
            now = now.max(at);
            tries += asked(&mut generator, now).len();
        }
        assert_eq!(tries, usize::from(MAX_TRIES));
        assert!(now - start <= MAX_AGE);
    }

    #[test]
    fn a_jump_of_the_sender_is_no_loss() {
        let mut generator = NackGenerator::default();
        let now = Instant::now();
        generator.received(now, 1);
        generator.received(now, 20_000);
        assert_eq!(generator.missing(), 0);
    }

    proptest! {
        #[test]
        fn any_sequence_keeps_the_memory_bounded(seqs in proptest::collection::vec(any::<u16>(), 0..2000)) {
            let mut generator = NackGenerator::default();
            let now = Instant::now();
            for seq in seqs {
                generator.received(now, seq);
                prop_assert!(generator.missing() <= MAX_MISSING);
            }
            let asked = asked(&mut generator, now);
            prop_assert!(asked.len() <= MAX_MISSING);
        }
    }
}
