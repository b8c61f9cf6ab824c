//! The way to one subscriber: how much it carries, and in which order packets leave.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rostrum_rtc::congestion::{Estimator, Options, Pacer};

use crate::forward::vp8::Offsets;
use crate::transport::{Mid, OutgoingExtensions, OutgoingRtp, TransportFeedback};

/// What a link is taken to carry before anything is known. On a narrower one the first half second shows that.
const START_BPS: u64 = 5_000_000;
/// Video is paced when the link carries less than this many times what is sent: key frames are so much larger than
/// the mean.
const PACE_BELOW: u64 = 3;
/// A path that is calm and takes bursts at so many times what is sent needs no pacing.
const BURSTS_PASS_ABOVE: u64 = 4;
/// What stays free of the estimate, in percent.
const RESERVE_PERCENT: u64 = 5;

/// A packet of video that waits for its turn.
pub(super) struct Queued {
    pub(super) mid: Mid,
    pub(super) ssrc: u32,
    pub(super) pt: u8,
    pub(super) seq: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) video_orientation: Option<u8>,
    pub(super) playout_delay: Option<[u8; 3]>,
    pub(super) dependency_descriptor: Option<Bytes>,
    pub(super) vp8: Offsets,
    pub(super) payload: Bytes,
}

impl Queued {
    /// The packet as it goes out; `scratch` has room for a payload that must be changed.
    pub(super) fn outgoing<'a>(&'a self, scratch: &'a mut Vec<u8>) -> OutgoingRtp<'a> {
        OutgoingRtp {
            mid: self.mid,
            ssrc: self.ssrc,
            pt: self.pt,
            seq: self.seq,
            timestamp: self.timestamp,
            marker: self.marker,
            extensions: OutgoingExtensions {
                audio_level: None,
                video_orientation: self.video_orientation,
                playout_delay: self.playout_delay,
                dependency_descriptor: self.dependency_descriptor.as_deref(),
            },
            original_seq: None,
            padding: 0,
            payload: self.vp8.applied(&self.payload, scratch),
        }
    }
}

/// One subscriber's link.
pub(super) struct Link {
    pub(super) estimator: Estimator,
    pub(super) pacer: Pacer<Queued>,
    /// What its pictures and sounds take now, in bits a second.
    spent_bps: u64,
}

impl Link {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            estimator: Estimator::new(now, Options { start_bps: START_BPS }),
            pacer: Pacer::new(now),
            spent_bps: 0,
        }
    }

    /// What pictures may take, when sounds take `audio_bps`.
    pub(super) fn video_budget_bps(&self, now: Instant, audio_bps: u64) -> u64 {
        let estimate = self.estimator.estimate_bps(now);
        (estimate * (100 - RESERVE_PERCENT) / 100).saturating_sub(audio_bps)
    }

    /// What was given, and what would be used if it were there.
    pub(super) fn allocated(&mut self, now: Instant, spent_bps: u64, wanted_bps: u64) {
        self.spent_bps = spent_bps;
        self.estimator.set_needed(wanted_bps * 120 / 100);
        let bursts_pass =
            self.estimator.calm_burst_bps(now).is_some_and(|bps| bps >= spent_bps * BURSTS_PASS_ABOVE);
        let pace_below_bps = if bursts_pass { 0 } else { spent_bps * PACE_BELOW };
        self.pacer.set_rates(self.estimator.estimate_bps(now), pace_below_bps, self.estimator.queue());
    }

    /// More is sent than the link carries.
    pub(super) fn is_overcommitted(&self, now: Instant) -> bool {
        self.spent_bps > self.estimator.estimate_bps(now)
    }

    /// Takes transport-wide feedback.
    pub(super) fn reported(&mut self, now: Instant, feedback: &TransportFeedback) {
        self.estimator.reported(arrivals(feedback), now);
    }

    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        // Timers of a millisecond are all there are.
        let soon = now + Duration::from_millis(1);
        let paced = self.pacer.poll_timeout().map(|at| at.max(soon));
        [paced, self.estimator.poll_timeout(now)].into_iter().flatten().min()
    }
}

/// Of each number that a report is about whether it arrived, and when by the remote's clock in microseconds.
fn arrivals(feedback: &TransportFeedback) -> impl Iterator<Item = (u16, Option<i64>)> + '_ {
    let mut at = i64::from(feedback.reference_time_64ms) * 64_000;
    feedback.deltas_250us.iter().enumerate().map(move |(place, delta)| {
        let arrival = delta.map(|delta| {
            at += i64::from(delta) * 250;
            at
        });
        (feedback.first_seq.wrapping_add(place as u16), arrival)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_counted_from_the_reference_time() {
        let feedback = TransportFeedback {
            first_seq: 65_535,
            feedback_count: 0,
            reference_time_64ms: 2,
            deltas_250us: vec![Some(4), None, Some(-1)],
        };
        let found: Vec<_> = arrivals(&feedback).collect();
        assert_eq!(found, [(65_535, Some(129_000)), (0, None), (1, Some(128_750))]);
    }
}
