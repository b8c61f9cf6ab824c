//! One remote track: from packets as they arrive to a frame of sound every 10 ms.

use crate::decode::{MAX_RECOVERED, SafeDecoder, is_stereo, samples_of};
use crate::delay::DelayEstimator;
use crate::encode::RESTING_BYTES;
use crate::fifo::Fifo;
use crate::jitter::{MAX_PACKET, PacketStore};
use crate::level::dbov;
use crate::leveller::Leveller;
use crate::redundancy::{Redundancy, redundancy_of};
use crate::{AudioError, Dbov, FRAME, PACKET, SILENCE, stretch};
use rostrum_hal::Timestamp;
use std::time::Duration;

/// Concealment goes on for 100 ms; then the track has stopped.
const CONCEALED_AT_MOST: i64 = 4_800;
/// A sender that is silent on purpose (RFC 7587 §3.1.3) says so again every 400 ms: its noise goes on for 600 ms.
const RESTING_AT_MOST: i64 = 28_800;
/// Waiting this much longer than wanted (8 ms) starts catching up, this much shorter starts holding back.
const EXCESS: i64 = 384;
/// Waiting this much longer than wanted (200 ms) drops what is too old.
const FAR_BEHIND: i64 = 9_600;
/// Catching up may be heard a little from here on (60 ms).
const BEHIND: i64 = 2_880;
/// What is made up where something was dropped: 5 ms.
const SPLICE: usize = 240;
/// Frames between two cuts, so that speech is never faster than by a fifth or so.
const BETWEEN_CUTS: u32 = 4;
/// Packets over which the wait is measured; the shortest counts.
const MEASURED: usize = 8;
/// A sequence number further away than this is another stream, or a lie.
const SEQUENCE_JUMP: u16 = 500;
/// A timestamp further away than this is after a pause, or another stream: 2 s.
const TIME_JUMP: i64 = 96_000;
/// The picture can hold the sound back by 250 ms.
const LEAST_WAIT_AT_MOST: i64 = 12_000;
/// So many packets in a row that came too late are another stream.
const LATE_IN_A_ROW: u32 = 8;

/// How a track is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackStatistics {
    /// How long a packet waits now between its arrival and its sound.
    pub delay: Duration,
    /// How long it should wait.
    pub target: Duration,
    /// How long it would wait by the unevenness of arrivals alone, its picture left aside.
    pub needed: Duration,
    /// Packets taken.
    pub packets: u64,
    /// Packets that came too late, or twice.
    pub late: u64,
    /// Packets that were none.
    pub bad: u64,
    /// Samples a channel that were made up for lost or late packets.
    pub concealed: u64,
    /// Samples a channel of lost packets that were in the redundancy of later ones.
    pub recovered: u64,
    /// Samples a channel that were left out to catch up.
    pub left_out: u64,
    /// Samples a channel that were said twice to hold back.
    pub added: u64,
}

/// A place in the stream.
#[derive(Clone, Copy)]
struct Place {
    sequence: u16,
    timestamp: i64,
}

/// The state of one track. All lengths are samples of a channel.
pub(crate) struct Track {
    decoder: SafeDecoder,
    packets: PacketStore,
    arrivals: DelayEstimator,
    /// Decoded, not yet played.
    fifo: Fifo,
    /// The newest packet seen.
    newest: Option<Place>,
    /// Which of the 64 packets up to the newest came; bit 0 is the newest.
    seen: u64,
    /// Where a stream would go on if the last odd packet told the truth.
    doubtful: Option<u16>,
    /// Timestamp of the next sample to decode; `None` while the track is still.
    next: Option<i64>,
    /// Made up since the last packet, ahead of `next`, because nothing was there.
    ahead: i64,
    /// The packet decoded last, and whether it said that the sender is silent.
    last: Option<u16>,
    resting: bool,
    /// The shortest wait that the picture asks for.
    least_wait: i64,
    /// How long the fastest packet would wait, as each of the last packets shows it.
    waits: [i64; MEASURED],
    /// How long the newest packet has to wait.
    newest_wait: i64,
    measured: usize,
    since_cut: u32,
    late_in_a_row: u32,
    level: Dbov,
    leveller: Leveller,
    /// The last packet was of two channels.
    stereo: bool,
    statistics: TrackStatistics,
}

impl Track {
    pub(crate) fn new(channels: usize) -> Result<Self, AudioError> {
        Ok(Self {
            decoder: SafeDecoder::new(channels)?,
            packets: PacketStore::new(),
            arrivals: DelayEstimator::new(),
            fifo: Fifo::new(channels),
            newest: None,
            seen: 0,
            doubtful: None,
            next: None,
            ahead: 0,
            last: None,
            resting: false,
            least_wait: 0,
            waits: [0; MEASURED],
            newest_wait: 0,
            measured: 0,
            since_cut: 0,
            late_in_a_row: 0,
            level: SILENCE,
            leveller: Leveller::new(),
            stereo: false,
            statistics: TrackStatistics::default(),
        })
    }

    /// As new, with the memory that it has.
    pub(crate) fn reset(&mut self) {
        self.arrivals = DelayEstimator::new();
        self.newest = None;
        self.seen = 0;
        self.doubtful = None;
        self.statistics = TrackStatistics::default();
        self.least_wait = 0;
        self.leveller = Leveller::new();
        self.stop();
        self.fifo.clear();
        self.decoder.reset();
    }

    /// Ends, dying away within the next frame.
    pub(crate) fn leave(&mut self) {
        self.stop();
    }

    /// Packets wait at least so long: the picture is later than the sound.
    pub(crate) fn set_least_wait(&mut self, wait: Duration) {
        self.least_wait = (wait.as_micros() as i64 * 48 / 1_000).min(LEAST_WAIT_AT_MOST);
    }

    /// Still until the next packet; what sounds dies away.
    fn stop(&mut self) {
        if self.next.is_some() {
            if self.fifo.buffered() < FRAME {
                self.fifo.append(self.decoder.conceal(FRAME));
            }
            self.fifo.end();
        }
        self.packets.clear();
        self.next = None;
        self.ahead = 0;
        self.last = None;
        self.resting = false;
        self.measured = 0;
        self.late_in_a_row = 0;
        self.level = SILENCE;
    }

    fn buffered(&self) -> i64 {
        self.fifo.buffered() as i64
    }

    /// Takes a packet as it arrives.
    pub(crate) fn push(&mut self, sequence: u16, rtp_timestamp: u32, opus: &[u8], arrival: Timestamp) {
        let Some(samples) = samples_of(opus).filter(|_| opus.len() <= MAX_PACKET) else {
            self.statistics.bad += 1;
            return;
        };
        let Some(timestamp) = self.place(sequence, rtp_timestamp) else {
            self.statistics.bad += 1;
            return;
        };
        if self.twice(sequence) {
            self.statistics.late += 1;
            return;
        }
        if self.next.is_none() {
            // After a pause the sender's clock may have stood still as well.
            self.arrivals.forget_clock();
        }
        let mut late = self.arrivals.observe(timestamp, arrival);
        if self.next.is_some_and(|next| timestamp + i64::from(samples) <= next) {
            self.statistics.late += 1;
            self.late_in_a_row += 1;
            if self.late_in_a_row < LATE_IN_A_ROW {
                return;
            }
            // Not late but of another time: the sender's clock was set back.
            self.stop();
            self.arrivals.forget_clock();
            late = self.arrivals.observe(timestamp, arrival);
        }
        self.late_in_a_row = 0;
        let redundancy = redundancy_of(opus);
        if !self.packets.insert(sequence, timestamp, samples, redundancy, opus) {
            self.statistics.late += 1;
            return;
        }
        self.statistics.packets += 1;
        self.observe_redundancy(sequence, samples, redundancy, late);
        let target = self.target();
        let next = *self.next.get_or_insert_with(|| {
            // A beginning, or the end of a pause: wait as long as arrivals are uneven.
            self.fifo.begin((target - late).max(0) as usize);
            timestamp
        });
        let wait = timestamp - (next - self.buffered());
        self.newest_wait = wait;
        self.waits[self.measured % MEASURED] = wait + late;
        self.measured += 1;
    }

    /// A packet that was lost is as late as the one that brings it back: waiting as long gives it its sound.
    fn observe_redundancy(&mut self, sequence: u16, samples: u32, redundancy: Redundancy, late: i64) {
        let samples = i64::from(samples);
        let copies = if redundancy.correction { samples } else { 0 };
        let reach = copies.max(redundancy.deep).min(MAX_RECOVERED as i64);
        let behind = self.newest.map_or(0, |newest| newest.sequence.wrapping_sub(sequence));
        for back in 1..=(reach / samples).unsigned_abs() as u32 {
            let bit = 1_u64.checked_shl(u32::from(behind) + back).unwrap_or(0);
            if bit == 0 || self.seen & bit != 0 {
                break;
            }
            self.arrivals.observe_late(late + i64::from(back) * samples);
        }
    }

    /// How long the fastest packet should wait.
    fn target(&self) -> i64 {
        self.arrivals.target().max(self.least_wait)
    }

    /// Whether a packet near the newest was here before; from now on it was.
    fn twice(&mut self, sequence: u16) -> bool {
        let behind = self.newest.map_or(0, |newest| newest.sequence.wrapping_sub(sequence));
        let bit = 1_u64.checked_shl(u32::from(behind)).unwrap_or(0);
        let twice = self.seen & bit != 0;
        self.seen |= bit;
        twice
    }

    /// Timestamp on a line without wrapping; `None` for a packet that cannot belong here.
    fn place(&mut self, sequence: u16, rtp_timestamp: u32) -> Option<i64> {
        let Some(newest) = self.newest else {
            let timestamp = i64::from(rtp_timestamp);
            self.newest = Some(Place { sequence, timestamp });
            return Some(timestamp);
        };
        let ahead = sequence.wrapping_sub(newest.sequence) as i16;
        let moved = i64::from(rtp_timestamp.wrapping_sub(newest.timestamp as u32) as i32);
        let timestamp = newest.timestamp + moved;
        let near = ahead.unsigned_abs() <= SEQUENCE_JUMP;
        if near && moved.abs() <= TIME_JUMP {
            if ahead > 0 {
                self.newest = Some(Place { sequence, timestamp });
                self.seen = self.seen.checked_shl(u32::from(ahead.unsigned_abs())).unwrap_or(0);
            }
            self.doubtful = None;
            return Some(timestamp);
        }
        // After a pause the next packet is far in time only. Anything else must say so twice (RFC 3550 A.1).
        let believed = (near && ahead > 0) || self.doubtful == Some(sequence);
        self.doubtful = Some(sequence.wrapping_add(1));
        believed.then(|| {
            self.stop();
            self.decoder.reset();
            self.arrivals.forget_clock();
            self.newest = Some(Place { sequence, timestamp });
            self.seen = 0;
            self.doubtful = None;
            timestamp
        })
    }

    /// The next frame, interleaved, `FRAME` samples a channel. `None` while the track is still.
    pub(crate) fn pull(&mut self, levelling: bool) -> Option<&[f32]> {
        if self.next.is_some() {
            self.keep_pace();
        }
        while self.next.is_some() && self.buffered() < FRAME as i64 {
            self.advance();
        }
        let frame = self.fifo.pull()?;
        self.level = if self.next.is_some() { dbov(frame) } else { SILENCE };
        if levelling {
            self.leveller.process(frame, self.stereo);
        }
        Some(frame)
    }

    /// Whether the last of it was played.
    pub(crate) fn is_still(&self) -> bool {
        self.next.is_none() && !self.fifo.ending()
    }

    /// Puts the next piece of sound into the queue: a packet, or what takes its place.
    fn advance(&mut self) {
        let Some(next) = self.next else { return };
        let Some(first) = self.packets.first() else {
            if self.ahead >= if self.resting { RESTING_AT_MOST } else { CONCEALED_AT_MOST } {
                self.stop();
                return;
            }
            self.bridge();
            return;
        };
        let gap = first.timestamp - next;
        let missing = gap - self.ahead;
        let follows = self.last.is_some_and(|last| last.wrapping_add(1) == first.sequence);
        if missing >= 120 && self.resting && follows && gap <= RESTING_AT_MOST {
            // Nothing was lost: there was nothing to be said.
            let length = (missing / 120 * 120).min(PACKET as i64);
            self.fifo.append(self.decoder.conceal(length as usize));
            self.ahead += length;
            return;
        }
        let redundancy = first.redundancy;
        let reach = if redundancy.deep > 0 { MAX_RECOVERED as i64 } else { CONCEALED_AT_MOST };
        let covered = redundancy.deep.max(if redundancy.correction { i64::from(first.samples) } else { 0 });
        if missing > covered && self.ahead + FRAME as i64 <= -self.excess() {
            // What comes late is still worth waiting for: arrivals are more uneven than was thought.
            self.bridge();
            return;
        }
        if missing >= 120 && gap <= reach.max(CONCEALED_AT_MOST) {
            // Lost: the packet after it is there.
            let length = missing / 120 * 120;
            let sound = self.decoder.recover(first.opus(), redundancy, length as usize);
            self.fifo.append(sound);
            let recovered = covered.min(length);
            self.statistics.recovered += recovered.unsigned_abs();
            self.statistics.concealed += (length - recovered).unsigned_abs();
            self.next = Some(next + length);
            return;
        }
        let delayed = self.ahead - gap.max(0);
        self.ahead = 0;
        self.next = Some(first.timestamp + i64::from(first.samples));
        self.last = Some(first.sequence);
        self.resting = first.opus().len() <= RESTING_BYTES;
        self.stereo = is_stereo(first.opus());
        self.fifo.append(self.decoder.decode(first.opus(), first.samples as usize));
        self.packets.remove_first();
        self.shift_waits(delayed.max(0));
    }

    /// Makes up a frame in place of a packet that may still come: it does not count as that packet's time.
    fn bridge(&mut self) {
        self.ahead += FRAME as i64;
        if !self.resting {
            self.statistics.concealed += FRAME as u64;
        }
        self.fifo.append(self.decoder.conceal(FRAME));
    }

    /// How long the fastest packet waits now.
    fn wait(&self) -> Option<i64> {
        let seen = self.measured.min(MEASURED);
        self.waits[..seen].iter().copied().min()
    }

    /// How long packets wait beyond what is wanted; never more than there is to leave out.
    fn excess(&self) -> i64 {
        match self.wait() {
            Some(wait) if self.measured >= MEASURED => (wait - self.target()).min(self.newest_wait),
            _ => 0,
        }
    }

    /// What was decided about `samples` changes every wait.
    fn shift_waits(&mut self, samples: i64) {
        for wait in &mut self.waits {
            *wait += samples;
        }
        self.newest_wait += samples;
    }

    fn left_out(&mut self, samples: i64) {
        self.shift_waits(-samples);
        self.statistics.left_out += samples.unsigned_abs();
    }

    /// Takes out delay that arrivals do not ask for (any more), and adds what they ask for.
    fn keep_pace(&mut self) {
        self.since_cut = self.since_cut.saturating_add(1);
        let mut excess = self.excess();
        let behind = excess > FAR_BEHIND;
        while excess > FAR_BEHIND
            && let (Some(next), Some(first)) = (self.next, self.packets.first())
        {
            let end = first.timestamp + i64::from(first.samples);
            self.packets.remove_first();
            self.next = Some(end.max(next));
            self.ahead = 0;
            self.left_out(end - next);
            excess = self.excess();
        }
        if behind {
            // The decoder glides into what it did not expect from something made up, and from that only.
            self.fifo.append(self.decoder.conceal(SPLICE));
            self.last = None;
        }
        if excess.abs() <= EXCESS || (self.since_cut < BETWEEN_CUTS && self.level < 50) {
            return;
        }
        while self.buffered() < stretch::NEEDED as i64 && self.packets.first().is_some() {
            self.advance();
        }
        if self.next.is_none() {
            return;
        }
        let most = excess.unsigned_abs() as usize;
        let forced = excess.abs() > BEHIND;
        let change =
            if excess > 0 { self.fifo.shorten(most, forced) } else { self.fifo.lengthen(most, forced) };
        if let Some(change) = change {
            if excess > 0 {
                self.left_out(change.length as i64);
            } else {
                self.shift_waits(change.length as i64);
                self.statistics.added += change.length as u64;
            }
            self.since_cut = if change.quiet { BETWEEN_CUTS } else { 0 };
        }
    }

    /// Loudness of the frame played last.
    pub(crate) fn level(&self) -> Dbov {
        self.level
    }

    pub(crate) fn statistics(&self) -> TrackStatistics {
        let wait = self.wait().unwrap_or(0);
        let duration = |samples: i64| Duration::from_micros(samples.max(0).unsigned_abs() * 1_000 / 48);
        TrackStatistics {
            delay: duration(wait),
            target: duration(self.target()),
            needed: duration(self.arrivals.target()),
            ..self.statistics
        }
    }
}
