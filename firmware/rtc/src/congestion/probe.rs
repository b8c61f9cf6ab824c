//! Probes: short bursts at a higher rate that show whether the path carries more than is sent now.

use std::time::{Duration, Instant};

/// How long a probe lasts.
const LENGTH: Duration = Duration::from_millis(120);
/// A probe is judged when all of it is reported, or so long after its end.
const PATIENCE: Duration = Duration::from_millis(700);
/// Times between probes after failures.
const FIRST_PAUSE: Duration = Duration::from_millis(1_500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Time between a success and the next probe.
const NEXT: Duration = Duration::from_millis(50);
/// How much more than the present rate a probe tries.
const STEP: f64 = 1.6;
/// A probe that arrives at this part of the speed at which it was sent shows that the path carries it.
const CARRIED: f64 = 0.9;
/// Fewer packets than this show nothing.
const MIN_PACKETS: u32 = 8;
/// Padding is sent in pieces no farther apart than this.
const PIECE: Duration = Duration::from_millis(4);

#[derive(Debug)]
struct Cluster {
    id: u32,
    rate_bps: f64,
    began: Instant,
    began_us: i64,
    sent: u32,
    sent_bytes: u64,
    first_bytes: u32,
    last_sent_us: i64,
    received: u32,
    received_bytes: u64,
    lost: u32,
    first_arrival_us: Option<i64>,
    first_arrival_bytes: u32,
    last_arrival_us: i64,
}

/// What a probe showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Finding {
    /// The path carries at least this.
    Carries(f64),
    /// The path carries about this and no more.
    Limit(f64),
}

/// Decides when to probe, and judges.
#[derive(Debug)]
pub(super) struct Prober {
    next_id: u32,
    next_at: Instant,
    pause: Duration,
    cluster: Option<Cluster>,
    ended: Option<Instant>,
}

impl Prober {
    pub(super) fn new(now: Instant) -> Self {
        Self { next_id: 1, next_at: now, pause: FIRST_PAUSE, cluster: None, ended: None }
    }

    /// Congestion was seen: no probe for a while.
    pub(super) fn hold(&mut self, now: Instant) {
        self.next_at = self.next_at.max(now + FIRST_PAUSE);
        self.cluster = None;
    }

    /// A probe runs.
    pub(super) fn runs(&self) -> bool {
        self.cluster.is_some()
    }

    /// A probe runs, or ended so lately that its own queue may still stand.
    pub(super) fn disturbs(&self, now: Instant) -> bool {
        self.cluster.is_some()
            || self.ended.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_millis(400))
    }

    /// The number of the probe that what is sent now belongs to; 0 is none.
    pub(super) fn note_sent(&mut self, now: Instant, at_us: i64, bytes: u32) -> u32 {
        let Some(cluster) = self.cluster.as_mut().filter(|c| now < c.began + LENGTH) else { return 0 };
        if cluster.sent == 0 {
            cluster.first_bytes = bytes;
            cluster.began_us = at_us;
        }
        cluster.sent += 1;
        cluster.sent_bytes += u64::from(bytes);
        cluster.last_sent_us = at_us;
        cluster.id
    }

    /// A packet of a probe was reported.
    pub(super) fn reported(&mut self, id: u32, bytes: u32, arrival_us: Option<i64>) {
        let Some(cluster) = self.cluster.as_mut().filter(|c| c.id == id) else { return };
        match arrival_us {
            None => cluster.lost += 1,
            Some(arrival) => {
                cluster.received += 1;
                cluster.received_bytes += u64::from(bytes);
                if cluster.first_arrival_us.is_none_or(|first| arrival < first) {
                    cluster.first_arrival_us = Some(arrival);
                    cluster.first_arrival_bytes = bytes;
                }
                cluster.last_arrival_us = cluster.last_arrival_us.max(arrival);
            }
        }
    }

    /// Bytes of padding to send now, so that all that is sent makes the probe's rate. Starts a probe when one is
    /// due: `needed_bps` is what could be used, `rate_bps` what is known to be carried.
    pub(super) fn padding(&mut self, now: Instant, now_us: i64, rate_bps: f64, needed_bps: f64) -> usize {
        if self.cluster.as_ref().is_some_and(|c| now >= c.began + LENGTH + PATIENCE) {
            // Nothing was reported of it.
            self.hold(now);
        }
        if self.cluster.is_none() && now >= self.next_at && needed_bps > rate_bps * 1.02 {
            let id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1).max(1);
            self.cluster = Some(Cluster {
                id,
                rate_bps: (rate_bps * STEP).min(needed_bps * 1.15),
                began: now,
                began_us: now_us,
                sent: 0,
                sent_bytes: 0,
                first_bytes: 0,
                last_sent_us: now_us,
                received: 0,
                received_bytes: 0,
                lost: 0,
                first_arrival_us: None,
                first_arrival_bytes: 0,
                last_arrival_us: i64::MIN,
            });
        }
        let Some(cluster) = self.cluster.as_ref().filter(|c| now < c.began + LENGTH) else { return 0 };
        let elapsed = (now.saturating_duration_since(cluster.began) + PIECE).as_secs_f64();
        ((cluster.rate_bps * elapsed / 8.0) as usize).saturating_sub(cluster.sent_bytes as usize)
    }

    /// When [`Prober::padding`] or [`Prober::judge`] has something to do. `wanted` says that more is needed.
    pub(super) fn poll_timeout(&self, now: Instant, wanted: bool) -> Option<Instant> {
        match &self.cluster {
            Some(cluster) if now < cluster.began + LENGTH => Some(now + PIECE),
            Some(cluster) => Some(cluster.began + LENGTH + PATIENCE),
            None => wanted.then_some(self.next_at),
        }
    }

    /// What the last probe showed, once. `ambient_loss` is lost at any rate and says nothing.
    pub(super) fn judge(&mut self, now: Instant, ambient_loss: f32) -> Option<Finding> {
        let cluster = self.cluster.as_ref()?;
        let over = now >= cluster.began + LENGTH;
        let complete = over && cluster.received + cluster.lost >= cluster.sent;
        if !complete && now < cluster.began + LENGTH + PATIENCE {
            return None;
        }
        let cluster = self.cluster.take()?;
        self.ended = Some(now);
        self.next_at = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let first_arrival = cluster.first_arrival_us?;
        if cluster.received < MIN_PACKETS {
            return None;
        }
        let rate = |bytes: u64, span_us: i64| bytes as f64 * 8e6 / span_us.max(1) as f64;
        let sent = rate(
            cluster.sent_bytes - u64::from(cluster.first_bytes),
            cluster.last_sent_us - cluster.began_us,
        );
        let arrived = rate(
            cluster.received_bytes - u64::from(cluster.first_arrival_bytes),
            cluster.last_arrival_us - first_arrival,
        );
        let lost = cluster.lost as f32 / cluster.sent.max(1) as f32;
        let without_loss = arrived / f64::from(1.0 - lost.min(ambient_loss).min(0.9));
        if without_loss >= sent * CARRIED {
            self.pause = FIRST_PAUSE;
            self.next_at = now + NEXT;
            Some(Finding::Carries(sent.min(cluster.rate_bps)))
        } else {
            Some(Finding::Limit(arrived))
        }
    }
}
