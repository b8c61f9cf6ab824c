//! Loss: how much there is, and whether it comes from sending too much.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Loss is that of this time.
const WINDOW: Duration = Duration::from_secs(1);
/// Fewer packets than this make no share.
const MIN_PACKETS: u32 = 30;
/// Loss above this is put on trial.
const SUSPICIOUS: f32 = 0.1;
/// How long a trial lasts: the window, and the reports of what was sent before it.
const TRIAL: Duration = Duration::from_millis(1_400);
/// Loss that falls to this part of what it was, when less is sent, came from sending too much.
const GUILTY: f32 = 0.6;
/// For how long loss that was found to be the link's own is not put on trial again, unless it grows.
const ACQUITTED: Duration = Duration::from_secs(20);
const GROWN: f32 = 0.15;
/// The part of the delivered rate that is sent during a trial.
const TRIAL_RATE: f64 = 0.8;

/// The verdict on loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Send at most this for a while and see.
    Try { rate_bps: f64 },
    /// It was congestion: stay at the rate of the trial.
    Congestion,
    /// The link loses by itself: back to this rate.
    Innocent { rate_bps: f64 },
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Free,
    Trial { since: Instant, before: f32, rate_bps: f64 },
    Acquitted { until: Instant, level: f32 },
}

/// Measures loss and judges it.
#[derive(Debug)]
pub(super) struct LossJudge {
    reports: VecDeque<(Instant, u32, u32)>,
    phase: Phase,
}

impl LossJudge {
    pub(super) fn new() -> Self {
        Self { reports: VecDeque::new(), phase: Phase::Free }
    }

    /// Of the packets of a report, so many arrived and so many did not.
    pub(super) fn reported(&mut self, now: Instant, received: u32, lost: u32) {
        self.reports.push_back((now, received, lost));
        while self.reports.front().is_some_and(|(at, ..)| now.saturating_duration_since(*at) > WINDOW) {
            self.reports.pop_front();
        }
    }

    /// Share of packets lost in the last second, 0 to 1; 0 when too few were sent to say.
    pub(super) fn share(&self) -> f32 {
        let (received, lost) = self.reports.iter().fold((0, 0), |sum, r| (sum.0 + r.1, sum.1 + r.2));
        if received + lost < MIN_PACKETS { 0.0 } else { lost as f32 / (received + lost) as f32 }
    }

    /// What to do about it, given the present rate and what was delivered of it in the last second.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        rate_bps: f64,
        delivered_bps: impl FnOnce() -> f64,
    ) -> Option<Verdict> {
        let share = self.share();
        match self.phase {
            Phase::Acquitted { until, level } if now < until && share < level + GROWN => None,
            Phase::Free | Phase::Acquitted { .. } => {
                if share < SUSPICIOUS {
                    self.phase = Phase::Free;
                    return None;
                }
                let delivered_bps = delivered_bps();
                // Less is sent than may be: sending less still would show nothing.
                if f64::from(1.0 - share) * rate_bps * 0.6 > delivered_bps {
                    self.phase = Phase::Free;
                    return None;
                }
                self.phase = Phase::Trial { since: now, before: share, rate_bps };
                Some(Verdict::Try { rate_bps: (delivered_bps * TRIAL_RATE).min(rate_bps) })
            }
            Phase::Trial { since, .. } if now.saturating_duration_since(since) < TRIAL => None,
            Phase::Trial { before, rate_bps, .. } => {
                if share < before * GUILTY {
                    self.phase = Phase::Free;
                    Some(Verdict::Congestion)
                } else {
                    self.phase = Phase::Acquitted { until: now + ACQUITTED, level: share.max(before) };
                    Some(Verdict::Innocent { rate_bps })
                }
            }
        }
    }

    /// A trial runs: the rate is not to grow.
    pub(super) fn on_trial(&self) -> bool {
        matches!(self.phase, Phase::Trial { .. })
    }
}
