//! One remote track: from packets as they arrive to a frame of sound every 10 ms.

use crate::decode::{MAX_SAMPLES, SafeDecoder, samples_of};
use crate::delay::DelayEstimator;
use crate::jitter::{MAX_PACKET, PacketStore};
use crate::level::dbov;
use crate::{AudioError, Dbov, FRAME, SILENCE, stretch};
use rostrum_hal::Timestamp;
use std::time::Duration;

/// Sound that is decoded and not yet played, samples of a channel: the longest wait and the longest packet
/// have room with ease.
const FIFO: usize = 24_000;
/// Concealment goes on for 100 ms; then the track has stopped.
const CONCEALED_AT_MOST: i64 = 4_800;
/// Waiting this much longer than wanted (8 ms) starts catching up.
const EXCESS: i64 = 384;
/// Waiting this much longer than wanted (200 ms) drops what is too old.
const FAR_BEHIND: i64 = 9_600;
/// Catching up may be heard a little from here on (60 ms).
const BEHIND: i64 = 2_880;
/// Frames between two cuts, so that speech is never faster than by a fifth or so.
const BETWEEN_CUTS: u32 = 4;
/// Packets over which the wait is measured; the shortest counts.
const MEASURED: usize = 8;
/// A sequence number further away than this is another stream, or a lie.
const SEQUENCE_JUMP: u16 = 500;
/// A timestamp further away than this is after a pause, or another stream: 2 s.
const TIME_JUMP: i64 = 96_000;
/// So many packets in a row that came too late are another stream.
const LATE_IN_A_ROW: u32 = 8;

/// How a track is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackStatistics {
    /// How long a packet waits now between its arrival and its sound.
    pub delay: Duration,
    /// How long it should wait, by the unevenness of arrivals.
    pub target: Duration,
    /// Packets taken.
    pub packets: u64,
    /// Packets that came too late, or twice.
    pub late: u64,
    /// Packets that were none.
    pub bad: u64,
    /// Samples a channel that were made up for lost or late packets.
    pub concealed: u64,
    /// Samples a channel that were left out to catch up.
    pub left_out: u64,
}

/// A place in the stream.
#[derive(Clone, Copy)]
struct Place {
    sequence: u16,
    timestamp: i64,
}

/// The state of one track. All lengths are samples of a channel.
pub(crate) struct Track {
    channels: usize,
    decoder: SafeDecoder,
    packets: PacketStore,
    arrivals: DelayEstimator,
    /// Decoded, not yet played: `fifo[played..filled]`, interleaved.
    fifo: Vec<f32>,
    played: usize,
    filled: usize,
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
    /// How long the fastest packet would wait, as each of the last packets shows it.
    waits: [i64; MEASURED],
    /// How long the newest packet has to wait.
    newest_wait: i64,
    measured: usize,
    since_cut: u32,
    late_in_a_row: u32,
    level: Dbov,
    statistics: TrackStatistics,
}

impl Track {
    pub(crate) fn new(channels: usize) -> Result<Self, AudioError> {
        Ok(Self {
            channels,
            decoder: SafeDecoder::new(channels)?,
            packets: PacketStore::new(),
            arrivals: DelayEstimator::new(),
            fifo: vec![0.0; FIFO * channels],
            played: 0,
            filled: 0,
            newest: None,
            seen: 0,
            doubtful: None,
            next: None,
            ahead: 0,
            waits: [0; MEASURED],
            newest_wait: 0,
            measured: 0,
            since_cut: 0,
            late_in_a_row: 0,
            level: SILENCE,
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
        self.stop();
        self.decoder.reset();
    }

    /// Still until the next packet.
    fn stop(&mut self) {
        self.packets.clear();
        self.next = None;
        self.ahead = 0;
        (self.played, self.filled) = (0, 0);
        self.measured = 0;
        self.late_in_a_row = 0;
        self.level = SILENCE;
    }

    fn buffered(&self) -> i64 {
        ((self.filled - self.played) / self.channels) as i64
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
        if !self.packets.insert(timestamp, samples, opus) {
            self.statistics.late += 1;
            return;
        }
        self.statistics.packets += 1;
        let next = *self.next.get_or_insert_with(|| {
            // A beginning, or the end of a pause: wait as long as arrivals are uneven.
            let wait = (self.arrivals.target() - late).max(0) as usize * self.channels;
            let wait = wait.min(self.fifo.len() / 2);
            self.fifo[..wait].fill(0.0);
            (self.played, self.filled) = (0, wait);
            timestamp
        });
        let wait = timestamp - (next - self.buffered());
        self.newest_wait = wait;
        self.waits[self.measured % MEASURED] = wait + late;
        self.measured += 1;
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
    pub(crate) fn pull(&mut self) -> Option<&[f32]> {
        self.next?;
        self.catch_up();
        while self.next.is_some() && self.buffered() < FRAME as i64 {
            self.advance();
        }
        self.next?;
        let from = self.played;
        self.played += FRAME * self.channels;
        let frame = &self.fifo[from..self.played];
        self.level = dbov(frame);
        Some(frame)
    }

    /// Puts the next piece of sound into the queue: a packet, or what takes its place.
    fn advance(&mut self) {
        let Some(next) = self.next else { return };
        self.make_room();
        let Some(first) = self.packets.first() else {
            if self.ahead >= CONCEALED_AT_MOST {
                self.stop();
                return;
            }
            self.bridge();
            return;
        };
        let missing = first.timestamp - next - self.ahead;
        if missing > 0 && self.ahead + FRAME as i64 <= -self.excess() {
            // What comes late is still worth waiting for: arrivals are more uneven than was thought.
            self.bridge();
            return;
        }
        if missing > 0 && first.timestamp - next <= CONCEALED_AT_MOST && missing >= 120 {
            // Lost: the packet after it is there.
            let length = (missing / 120 * 120).min(crate::PACKET as i64);
            let adjacent = missing == length && self.ahead == 0;
            let opus = first.opus();
            let made_up = if adjacent {
                self.decoder.recover(opus, length as usize)
            } else {
                self.decoder.conceal(length as usize)
            };
            append(&mut self.fifo, &mut self.filled, made_up);
            self.statistics.concealed += length as u64;
            self.next = Some(next + length);
            return;
        }
        let delayed = self.ahead - (first.timestamp - next).max(0);
        self.ahead = 0;
        self.next = Some(first.timestamp + i64::from(first.samples));
        let sound = self.decoder.decode(first.opus(), first.samples as usize);
        append(&mut self.fifo, &mut self.filled, sound);
        self.packets.remove_first();
        self.shift_waits(delayed.max(0));
    }

    /// Makes up a frame in place of a packet that may still come: it does not count as that packet's time.
    fn bridge(&mut self) {
        self.ahead += FRAME as i64;
        self.statistics.concealed += FRAME as u64;
        let made_up = self.decoder.conceal(FRAME);
        append(&mut self.fifo, &mut self.filled, made_up);
    }

    /// Moves what is left to the front when the longest packet would not fit any more.
    fn make_room(&mut self) {
        if self.fifo.len() - self.filled < MAX_SAMPLES * self.channels {
            self.fifo.copy_within(self.played..self.filled, 0);
            self.filled -= self.played;
            self.played = 0;
        }
    }

    /// How long the fastest packet waits now.
    fn wait(&self) -> Option<i64> {
        let seen = self.measured.min(MEASURED);
        self.waits[..seen].iter().copied().min()
    }

    /// How long packets wait beyond what is wanted; never more than there is to leave out.
    fn excess(&self) -> i64 {
        match self.wait() {
            Some(wait) if self.measured >= MEASURED => (wait - self.arrivals.target()).min(self.newest_wait),
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

    /// Takes out delay that arrivals do not ask for (any more).
    fn catch_up(&mut self) {
        self.since_cut = self.since_cut.saturating_add(1);
        let mut excess = self.excess();
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
        if excess <= EXCESS || (self.since_cut < BETWEEN_CUTS && self.level < 50) {
            return;
        }
        while self.buffered() < stretch::NEEDED as i64 && self.packets.first().is_some() {
            self.advance();
        }
        if self.next.is_none() {
            return;
        }
        let waiting = &mut self.fifo[self.played..self.filled];
        let forced = excess > BEHIND;
        if let Some(cut) = stretch::shorten(waiting, self.channels, excess as usize, forced) {
            self.played += cut.length * self.channels;
            self.left_out(cut.length as i64);
            self.since_cut = if cut.quiet { BETWEEN_CUTS } else { 0 };
        }
    }

    /// Loudness of the frame played last.
    pub(crate) fn level(&self) -> Dbov {
        self.level
    }

    pub(crate) fn statistics(&self) -> TrackStatistics {
        let wait = self.wait().unwrap_or(0);
        let duration = |samples: i64| Duration::from_micros(samples.max(0).unsigned_abs() * 1_000 / 48);
        TrackStatistics { delay: duration(wait), target: duration(self.arrivals.target()), ..self.statistics }
    }
}

fn append(fifo: &mut [f32], filled: &mut usize, sound: &[f32]) {
    let end = (*filled + sound.len()).min(fifo.len());
    let room = end - *filled;
    fifo[*filled..end].copy_from_slice(&sound[..room]);
    *filled = end;
}
