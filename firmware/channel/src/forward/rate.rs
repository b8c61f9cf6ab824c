//! How many bits and frames a second a layer has.

use std::time::{Duration, Instant};

/// Bits and frames are counted in pieces of this time.
const PIECE: Duration = Duration::from_millis(200);
/// Pieces that count: two seconds, so that a key frame does not look like a trend.
const PIECES: usize = 10;
/// Before this nothing is said: the first key frame is all there is.
const FIRST: Duration = Duration::from_millis(400);

#[derive(Debug, Clone, Copy, Default)]
struct Piece {
    bits: u64,
    frames: u32,
}

/// Counts what arrives.
#[derive(Debug, Clone)]
pub struct RateMeter {
    began: Instant,
    /// Number of the piece that is filled now, counted from the beginning.
    current: u64,
    pieces: [Piece; PIECES],
}

impl RateMeter {
    /// A meter of a stream that begins now.
    pub fn new(now: Instant) -> Self {
        Self { began: now, current: 0, pieces: [Piece::default(); PIECES] }
    }

    fn advance(&mut self, now: Instant) {
        let number = (now.saturating_duration_since(self.began).as_millis() / PIECE.as_millis()) as u64;
        while self.current < number {
            self.current =
                if number - self.current > PIECES as u64 { number - PIECES as u64 } else { self.current };
            self.current += 1;
            self.pieces[self.current as usize % PIECES] = Piece::default();
        }
    }

    /// A packet came; `ends_frame` when it is the last of its frame.
    pub fn count(&mut self, now: Instant, bytes: usize, ends_frame: bool) {
        self.advance(now);
        let piece = &mut self.pieces[self.current as usize % PIECES];
        piece.bits += bytes as u64 * 8;
        piece.frames += u32::from(ends_frame);
    }

    /// Bits and frames a second over the last two seconds; `None` at the beginning.
    pub fn rates(&mut self, now: Instant) -> Option<(u64, f32)> {
        let age = now.saturating_duration_since(self.began);
        if age < FIRST {
            return None;
        }
        self.advance(now);
        // The piece that is being filled counts as far as it is.
        let filled = Duration::from_millis((age.as_millis() % PIECE.as_millis()) as u64);
        let whole = (self.current as usize).min(PIECES - 1) as u32;
        let span = (PIECE * whole + filled).as_secs_f64();
        let bits: u64 = self.pieces.iter().map(|piece| piece.bits).sum();
        let frames: u32 = self.pieces.iter().map(|piece| piece.frames).sum();
        Some(((bits as f64 / span) as u64, (f64::from(frames) / span) as f32))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rates_follow_the_last_two_seconds() {
        let start = Instant::now();
        let mut meter = RateMeter::new(start);
        assert_eq!(meter.rates(start), None);
        let at = |ms: u64| start + Duration::from_millis(ms);
        for ms in (0..3_000).step_by(10) {
            meter.count(at(ms), 1000, ms % 50 == 0);
        }
        let (bps, fps) = meter.rates(at(3_000)).unwrap();
        assert!((bps as f64 / 800_000.0 - 1.0).abs() < 0.1, "{bps}");
        assert!((fps - 20.0).abs() < 2.0, "{fps}");
        assert_eq!(meter.rates(at(9_000)).unwrap().0, 0);
    }
}
