//! The estimate of what a path carries, from transport-wide feedback and the other end's own limit.

use std::time::{Duration, Instant};

use super::{
    burst::BurstMeter,
    delay::QueueMeter,
    delivery::DeliveryMeter,
    filler::Filler,
    loss::{LossJudge, Verdict},
    probe::{Finding, Prober},
    sent::{Fate, Sent, SentLog},
};

/// Least that is ever reported: the low layer, a few frames a second.
pub const FLOOR_BPS: u64 = 150_000;
/// A standing queue that means congestion, and the same together with loss.
const QUEUE_US: i64 = 40_000;
const QUEUE_WITH_LOSS_US: i64 = 20_000;
/// A queue that not even a probe excuses.
const DEEP_QUEUE_US: i64 = 200_000;
/// Without a queue above this, the rate may grow.
const SHALLOW_QUEUE_US: i64 = 15_000;
/// Time between two decreases: the reports of what was sent before the first must be in.
const DECREASE_EVERY: Duration = Duration::from_millis(250);
/// Decreases in a row that do not lower the queue: it is the route that became longer.
const IDLE_DECREASES: u32 = 4;
/// Part of what was delivered that is sent after congestion, so that the queue drains.
const DRAIN: f64 = 0.85;
/// What is left of the rate at least after one decrease. A link that shrank to a sixth is found in two.
const STEEPEST: f64 = 0.25;
/// Part of what a probe found to be the most that is used.
const MARGIN: f64 = 0.92;
/// Growth in a second: fast until the first trouble, careful for a while after it.
const FAST_GROWTH: f64 = 1.5;
const CAREFUL_GROWTH: f64 = 1.08;
const CAREFUL_FOR: Duration = Duration::from_secs(10);
/// A path without trouble for so long is a calm one.
const CALM_AFTER: Duration = Duration::from_secs(2);
/// More loss than this is trouble.
const CALM_LOSS: f32 = 0.02;
/// Reports that did not come for so long have stopped.
const REPORTS_STOPPED: Duration = Duration::from_secs(1);
/// A limit of the other end counts for so long.
const LIMIT_AGE: Duration = Duration::from_secs(5);

/// How an estimator begins.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What is assumed before anything is known, in bits a second. A path that carries less shows that within
    /// half a second.
    pub start_bps: u64,
}

/// Estimates what a path carries; see the [module](super).
#[derive(Debug)]
pub struct Estimator {
    epoch: Instant,
    start_bps: f64,
    rate_bps: f64,
    needed_bps: f64,
    log: SentLog,
    queue: QueueMeter,
    /// Everything that arrives, and that without probes.
    delivery: DeliveryMeter,
    use_of_it: DeliveryMeter,
    bursts: BurstMeter,
    judge: LossJudge,
    prober: Prober,
    filler: Filler,
    last_decrease: Option<Instant>,
    /// Decreases since the queue was last shallow, and the queue at the first of them.
    decreases: (u32, i64),
    last_report: Option<Instant>,
    /// Since when reports come and tell of no queue and no limit.
    calm_since: Option<Instant>,
    limit: Option<(Instant, u64)>,
    last_loss: f32,
}

impl Estimator {
    /// An estimator of a path of which nothing is known yet.
    pub fn new(now: Instant, options: Options) -> Self {
        let start_bps = options.start_bps as f64;
        Self {
            epoch: now,
            start_bps,
            rate_bps: start_bps,
            needed_bps: start_bps,
            log: SentLog::default(),
            queue: QueueMeter::default(),
            delivery: DeliveryMeter::default(),
            use_of_it: DeliveryMeter::default(),
            bursts: BurstMeter::default(),
            judge: LossJudge::new(),
            prober: Prober::new(now),
            filler: Filler::new(now),
            last_decrease: None,
            decreases: (0, 0),
            last_report: None,
            calm_since: None,
            limit: None,
            last_loss: 0.0,
        }
    }

    /// What could be used, in bits a second: the estimate does not grow far beyond it, and probes stop there.
    pub fn set_needed(&mut self, bps: u64) {
        self.needed_bps = bps.max(FLOOR_BPS) as f64;
    }

    /// More than this is never estimated, whatever the other end says.
    fn ceiling_bps(&self) -> f64 {
        (self.needed_bps * 1.5).max(self.start_bps)
    }

    fn micros(&self, at: Instant) -> i64 {
        i64::try_from(at.saturating_duration_since(self.epoch).as_micros()).unwrap_or(i64::MAX)
    }

    /// A packet of `bytes` was sent under a transport-wide number; only these count.
    pub fn sent(&mut self, number: u16, bytes: usize, now: Instant) {
        let (at_us, bytes) = (self.micros(now), bytes as u32);
        let probe = self.prober.note_sent(now, at_us, bytes);
        self.log.push(number, Sent { at_us, bytes, probe, fate: Fate::Pending });
    }

    /// The same of a packet without such a number.
    pub fn sent_unnumbered(&mut self, bytes: usize) {
        self.filler.sent(bytes);
    }

    /// A report came: of each number whether, and at which microsecond of the other end's clock, it arrived.
    pub fn reported(&mut self, arrivals: impl IntoIterator<Item = (u16, Option<i64>)>, now: Instant) {
        let (mut received, mut lost) = (0u32, 0u32);
        for (number, arrival) in arrivals {
            // Numbers that were never sent here do not count as lost.
            let Some(sent) = self.log.get_mut(number) else { continue };
            match (sent.fate, arrival) {
                (Fate::Unused | Fate::Received, _) | (Fate::Lost, None) => {}
                (Fate::Pending, None) => {
                    sent.fate = Fate::Lost;
                    lost += 1;
                    self.prober.reported(sent.probe, sent.bytes, None);
                }
                (fate, Some(arrival)) => {
                    sent.fate = Fate::Received;
                    let sent = *sent;
                    self.queue.arrived(arrival, arrival.wrapping_sub(sent.at_us));
                    self.delivery.arrived(arrival, sent.bytes);
                    self.bursts.arrived(sent.at_us, arrival, sent.bytes);
                    if sent.probe == 0 {
                        // A probe says what it found by itself; it is no use that the estimate could grow with.
                        self.use_of_it.arrived(arrival, sent.bytes);
                    }
                    if fate == Fate::Pending {
                        received += 1;
                        self.prober.reported(sent.probe, sent.bytes, Some(arrival));
                    }
                }
            }
        }
        if received + lost == 0 {
            return;
        }
        self.judge.reported(now, received, lost);
        let share = lost as f32 / (lost + received) as f32;
        self.last_loss += (share - self.last_loss) * 0.2;
        self.adapt(now);
    }

    fn adapt(&mut self, now: Instant) {
        let elapsed =
            self.last_report.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64()).min(0.5);
        self.last_report = Some(now);
        self.calm_since.get_or_insert(now);
        self.judge_probe(now);
        let queue = self.queue.standing_us();
        if queue < SHALLOW_QUEUE_US {
            self.decreases = (0, 0);
        }
        let bound = if self.judge.share() > 0.05 { QUEUE_WITH_LOSS_US } else { QUEUE_US };
        let excused = self.prober.disturbs(now) && queue < DEEP_QUEUE_US;
        if queue > bound && !excused {
            self.calm_since = None;
            self.decrease(now, queue);
        } else if queue < SHALLOW_QUEUE_US {
            self.judge_loss(now);
            self.grow(now, elapsed);
        }
        self.rate_bps = self.rate_bps.clamp(FLOOR_BPS as f64, self.ceiling_bps());
    }

    fn decrease(&mut self, now: Instant, queue: i64) {
        self.prober.hold(now);
        let early = |at: Instant| now.saturating_duration_since(at) < DECREASE_EVERY;
        if self.last_decrease.is_some_and(early) {
            return;
        }
        self.last_decrease = Some(now);
        let (count, first) = self.decreases;
        if count >= IDLE_DECREASES && queue * 5 > first * 4 {
            self.decreases = (0, 0);
            return self.queue.rebase();
        }
        self.decreases = (count + 1, if count == 0 { queue } else { first });
        let delivered = self.delivery.bps(200_000).unwrap_or(self.rate_bps);
        // One report may be wrong.
        self.rate_bps = (delivered * DRAIN).min(self.rate_bps).max(self.rate_bps * STEEPEST);
    }

    fn judge_loss(&mut self, now: Instant) {
        let delivered = || self.delivery.bps(1_000_000).unwrap_or(0.0);
        match self.judge.judge(now, self.rate_bps, delivered) {
            Some(Verdict::Try { rate_bps }) => {
                self.calm_since = None;
                self.rate_bps = rate_bps;
                self.prober.hold(now);
            }
            Some(Verdict::Congestion) => self.last_decrease = Some(now),
            Some(Verdict::Innocent { rate_bps }) => self.rate_bps = self.rate_bps.max(rate_bps),
            None => {}
        }
    }

    fn grow(&mut self, now: Instant, elapsed: f64) {
        if self.judge.on_trial() || self.rate_bps >= self.ceiling_bps() {
            return;
        }
        let used = self.use_of_it.bps(1_000_000).unwrap_or(0.0);
        let survived = f64::from(1.0 - self.last_loss).max(0.1);
        // What is not used is not known to be there.
        if used / survived < self.rate_bps * 0.6 {
            return;
        }
        let recent = self.last_decrease.is_some_and(|at| now.saturating_duration_since(at) < CAREFUL_FOR);
        let growth: f64 = if recent { CAREFUL_GROWTH } else { FAST_GROWTH };
        self.rate_bps *= growth.powf(elapsed);
    }

    fn judge_probe(&mut self, now: Instant) {
        match self.prober.judge(now, self.last_loss) {
            Some(Finding::Carries(bps)) => {
                self.rate_bps = self.rate_bps.max(bps);
                self.last_decrease = None;
            }
            Some(Finding::Limit(bps)) => {
                self.calm_since = None;
                // What arrives all the time is carried, whatever one probe says.
                let known = bps.max(self.delivery.bps(1_000_000).unwrap_or(0.0));
                self.rate_bps = self.rate_bps.min(known).max(bps * MARGIN);
            }
            None => {}
        }
    }

    /// The other end's own limit (draft-alvestrand-rmcat-remb-03).
    pub fn limited(&mut self, bps: u64, now: Instant) {
        self.limit = Some((now, bps.max(FLOOR_BPS)));
    }

    /// Bits a second that may be sent.
    pub fn estimate_bps(&self, now: Instant) -> u64 {
        let own = self.rate_bps as u64;
        match self.limit {
            // The other end measures, and nobody else.
            Some((_, limit)) if self.last_report.is_none() => limit.min(self.ceiling_bps() as u64),
            Some((at, limit)) if now.saturating_duration_since(at) < LIMIT_AGE => own.min(limit),
            _ => own,
        }
    }

    /// Bytes of padding to send now: a probe runs, and what is sent anyway does not fill it. Ask again at
    /// [`Estimator::poll_timeout`].
    pub fn padding(&mut self, now: Instant) -> usize {
        if let Some(limit_bps) = self.limit_to_fill() {
            return self.filler.padding(now, limit_bps);
        }
        self.filler.stop();
        // Without reports nothing would be learnt from it; and a queue says that nothing more fits.
        let blind = self.last_report.is_none_or(|at| now.saturating_duration_since(at) > REPORTS_STOPPED);
        let unfit = blind || self.judge.on_trial() || self.queue.standing_us() > SHALLOW_QUEUE_US;
        if unfit && !self.prober.runs() {
            self.prober.hold(now);
            return 0;
        }
        let now_us = self.micros(now);
        self.prober.padding(now, now_us, self.rate_bps, self.needed_bps)
    }

    /// When to ask for [`Estimator::padding`].
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.limit_to_fill().is_some() {
            return Some(self.filler.poll_timeout(now));
        }
        self.prober.poll_timeout(now, self.needed_bps > self.rate_bps * 1.02)
    }

    /// The other end's limit, where it alone measures and more could be used.
    fn limit_to_fill(&self) -> Option<f64> {
        let limit = self.limit.filter(|_| self.last_report.is_none()).map(|(_, bps)| bps as f64);
        limit.filter(|limit| self.needed_bps > limit * 1.02)
    }

    /// The speed at which bursts arrive, in bits a second, on a path that is calm: reports come, and have told of no
    /// queue, no limit and hardly any loss for a while.
    pub fn calm_burst_bps(&self, now: Instant) -> Option<u64> {
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let reported = since(self.last_report).is_some_and(|age| age < REPORTS_STOPPED);
        let calm = since(self.calm_since).is_some_and(|age| age >= CALM_AFTER) && self.last_loss < CALM_LOSS;
        self.bursts.bps().filter(|_| reported && calm).map(|bps| bps as u64)
    }

    /// Part of the packets lost lately, 0.0..=1.0.
    pub fn loss(&self) -> f32 {
        self.last_loss
    }

    /// The queue that stands on the way.
    pub fn queue(&self) -> Duration {
        Duration::from_micros(self.queue.standing_us().unsigned_abs())
    }
}

#[cfg(test)]
#[path = "estimator_tests.rs"]
mod tests;
