//! Growth against a receiver that estimates by itself: it only says what it measured and a little more, so that a
//! sender of less than that must fill up to learn whether more would be carried.

use std::time::{Duration, Instant};

/// How long the limit is filled, more than a receiver measures over.
const FILL: Duration = Duration::from_millis(1_500);
/// Time to the next attempt when the limit did not grow.
const PAUSE: Duration = Duration::from_secs(5);
/// A limit that grew by this part invites to go on.
const GREW: f64 = 1.03;
/// Padding is sent in pieces no farther apart than this.
const PIECE: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct Filling {
    began: Instant,
    /// The limit when it began.
    before_bps: f64,
    sent_bytes: u64,
}

/// Decides when to fill a limit, and counts what is sent meanwhile.
#[derive(Debug)]
pub(super) struct Filler {
    filling: Option<Filling>,
    next_at: Instant,
}

impl Filler {
    pub(super) fn new(now: Instant) -> Self {
        Self { filling: None, next_at: now }
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(filling) = &mut self.filling {
            filling.sent_bytes += bytes as u64;
        }
    }

    /// Bytes of padding to send now, so that all that is sent makes `limit_bps`.
    pub(super) fn padding(&mut self, now: Instant, limit_bps: f64) -> usize {
        if let Some(over) = self.filling.take_if(|filling| now >= filling.began + FILL) {
            self.next_at = if limit_bps > over.before_bps * GREW { now } else { now + PAUSE };
        }
        if self.filling.is_none() && now >= self.next_at {
            self.filling = Some(Filling { began: now, before_bps: limit_bps, sent_bytes: 0 });
        }
        let Some(filling) = &self.filling else { return 0 };
        let elapsed = (now.saturating_duration_since(filling.began) + PIECE).as_secs_f64();
        ((limit_bps * elapsed / 8.0) as usize).saturating_sub(filling.sent_bytes as usize)
    }

    pub(super) fn poll_timeout(&self, now: Instant) -> Instant {
        if self.filling.is_some() { now + PIECE } else { self.next_at.max(now) }
    }

    /// There is nothing to learn now.
    pub(super) fn stop(&mut self) {
        self.filling = None;
    }
}
