//! One direction of a path: a rate through a queue of bounded length, a delay, and random loss.

use std::time::{Duration, Instant};

use rand::{Rng, rngs::StdRng};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) bps: f64,
    pub(crate) queue: Duration,
    pub(crate) delay: Duration,
    pub(crate) loss: f64,
    /// When the last datagram has left the queue.
    free_at: Option<Instant>,
}

impl Link {
    pub(crate) fn wide() -> Self {
        Self {
            bps: 100e6,
            queue: Duration::from_millis(300),
            delay: Duration::from_millis(15),
            loss: 0.0,
            free_at: None,
        }
    }

    pub(crate) fn narrow(bps: f64) -> Self {
        Self { bps, ..Self::wide() }
    }

    /// The same path from now on with another rate; what waits in it stays.
    pub(crate) fn set_rate(&mut self, bps: f64) {
        self.bps = bps;
    }

    /// When a datagram that is sent now arrives, if it does.
    pub(crate) fn send(&mut self, now: Instant, bytes: usize, rng: &mut StdRng) -> Option<Instant> {
        let begin = self.free_at.map_or(now, |at| at.max(now));
        if begin - now > self.queue || rng.random_bool(self.loss) {
            return None;
        }
        let end = begin + Duration::from_secs_f64((bytes + 28) as f64 * 8.0 / self.bps);
        self.free_at = Some(end);
        Some(end + self.delay)
    }
}
