//! Packets of one video stream into whole frames, in decoding order. A frame leaves as soon as it is complete and
//! everything before it has left; there is no fixed delay.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{
    h264::{self, Place},
    vpx,
};
use crate::{Codec, rtp::Packet};

/// Packets kept while a hole is being repaired: a second of 20 Mbit/s.
const MAX_PACKETS: usize = 2048;
/// Bytes kept likewise.
const MAX_BYTES: usize = 4 << 20;
/// A hole this old is given up at once when a key frame stands behind it.
const SKIP_TO_KEY_FRAME: Duration = Duration::from_millis(40);
/// Time between two requests for the same key frame.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long the service has to send the first key frame by itself.
const FIRST_KEY_FRAME: Duration = Duration::from_millis(200);

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) codec: Codec,
    pub(crate) data: Bytes,
    pub(crate) rtp_timestamp: u32,
    pub(crate) key: bool,
    pub(crate) arrival: Instant,
}

#[derive(Debug)]
struct Slot {
    codec: Codec,
    timestamp: u32,
    marker: bool,
    place: Option<Place>,
    /// It had no payload at all: a bandwidth probe.
    padding: bool,
    data: Bytes,
    arrival: Instant,
}

/// Puts frames of one SSRC together.
#[derive(Debug)]
pub(crate) struct Assembler {
    packets: BTreeMap<u64, Slot>,
    bytes: usize,
    /// The first packet that has not left.
    next: Option<u64>,
    /// Frames are dropped until a key frame, since then.
    waiting: Option<Instant>,
    /// `next` is missing although later packets are here, since then.
    hole: Option<Instant>,
    asked: Option<Instant>,
    skipped: u64,
}

impl Assembler {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            packets: BTreeMap::new(),
            bytes: 0,
            next: None,
            waiting: Some(now),
            hole: None,
            asked: None,
            skipped: 0,
        }
    }

    /// Frames given up so far.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Packets before this are of no use any more.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next
    }

    /// Takes a packet with its extended sequence number; complete frames are added to `out`.
    pub(crate) fn insert(
        &mut self,
        sequence: u64,
        packet: Packet,
        codec: Codec,
        now: Instant,
        out: &mut Vec<Frame>,
    ) {
        let next = *self.next.get_or_insert(sequence);
        if sequence < next || self.packets.contains_key(&sequence) {
            return;
        }
        if sequence - next > MAX_PACKETS as u64 {
            self.restart(sequence, now);
        }
        let padding = packet.payload.is_empty();
        let (place, data) = match codec {
            Codec::H264 => (h264::place(&packet.payload), packet.payload),
            Codec::Vp8 => split(vpx::vp8(&packet.payload)),
            Codec::Vp9 => split(vpx::vp9(&packet.payload)),
            Codec::Opus | Codec::Av1 => (None, Bytes::new()),
        };
        self.bytes += data.len();
        let slot = Slot {
            codec,
            timestamp: packet.timestamp,
            marker: packet.marker,
            place,
            padding,
            data,
            arrival: now,
        };
        self.packets.insert(sequence, slot);
        self.drain(now, out);
        self.handle_timeout(now, out);
        if self.packets.len() > MAX_PACKETS || self.bytes > MAX_BYTES {
            self.restart(sequence + 1, now);
        }
    }

    /// Gives up what time has made useless; frames that this sets free are added to `out`.
    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Frame>) {
        if self.hole.is_some_and(|since| now.duration_since(since) >= SKIP_TO_KEY_FRAME)
            && let Some(start) = self.complete_key_frame()
        {
            self.skip_to(start);
            self.drain(now, out);
        }
    }

    /// Whether the publisher should be asked for a key frame now. `patience` is how long a hole may wait for its
    /// repair. Asking again is paced within.
    pub(crate) fn wants_key_frame(&mut self, now: Instant, patience: Duration) -> bool {
        let needed = self.hole.is_some_and(|since| now.duration_since(since) >= patience)
            || self.waiting.is_some_and(|since| now.duration_since(since) >= FIRST_KEY_FRAME);
        let may = self.asked.is_none_or(|at| now.duration_since(at) >= ASK_AGAIN);
        if needed && may {
            self.asked = Some(now);
        }
        needed && may
    }

    /// When [`Assembler::handle_timeout`] or [`Assembler::wants_key_frame`] may have something to do.
    pub(crate) fn poll_timeout(&self, patience: Duration) -> Option<Instant> {
        let ask = |at: Instant| self.asked.map_or(at, |asked| at.max(asked + ASK_AGAIN));
        let hole = self.hole.map(|since| ask(since + patience));
        let waiting = self.waiting.map(|since| ask(since + FIRST_KEY_FRAME));
        hole.into_iter().chain(waiting).min()
    }

    fn drain(&mut self, now: Instant, out: &mut Vec<Frame>) {
        let Some(mut next) = self.next else { return };
        while let Some(slot) = self.packets.get(&next) {
            if slot.padding {
                self.packets.remove(&next);
                next += 1;
                continue;
            }
            let Some(end) = self.end_of_frame(next) else { break };
            self.take_frame(next, end, now, out);
            next = end + 1;
        }
        self.next = Some(next);
        let hole_at = self.first_missing(next);
        self.hole = match (hole_at, self.hole) {
            (None, _) => None,
            (Some(_), None) => Some(now),
            (Some(_), since) => since,
        };
    }

    /// The first missing packet at or after `from` that has later ones behind it.
    fn first_missing(&self, from: u64) -> Option<u64> {
        let last = *self.packets.last_key_value()?.0;
        let mut expected = from;
        for sequence in self.packets.range(from..).map(|(s, _)| *s) {
            if sequence != expected {
                return Some(expected);
            }
            expected += 1;
        }
        debug_assert!(expected > last || last < from);
        None
    }

    /// The last packet of the frame that begins at `start`, when all of them are here.
    fn end_of_frame(&self, start: u64) -> Option<u64> {
        let timestamp = self.packets.get(&start)?.timestamp;
        for (expected, (sequence, slot)) in (start..).zip(self.packets.range(start..)) {
            if *sequence != expected {
                return None;
            }
            if slot.timestamp != timestamp {
                return Some(expected - 1);
            }
            if slot.marker {
                return Some(expected);
            }
        }
        None
    }

    fn take_frame(&mut self, start: u64, end: u64, now: Instant, out: &mut Vec<Frame>) {
        let mut slots = Vec::with_capacity((end - start + 1) as usize);
        for sequence in start..=end {
            if let Some(slot) = self.packets.remove(&sequence) {
                self.bytes -= slot.data.len();
                slots.push(slot);
            }
        }
        match join(&slots) {
            Some(frame) if frame.key || self.waiting.is_none() => {
                self.waiting = None;
                if frame.key {
                    self.asked = None;
                }
                out.push(frame);
            }
            _ => {
                self.skipped += 1;
                self.waiting.get_or_insert(now);
            }
        }
    }

    /// The start of the newest complete key frame behind a hole.
    fn complete_key_frame(&self) -> Option<u64> {
        let mut previous: Option<(u64, u32)> = None;
        let mut found = None;
        for (sequence, slot) in &self.packets {
            let new_frame = previous.is_none_or(|(s, t)| s + 1 != *sequence || t != slot.timestamp);
            let starts = slot.place.is_some_and(|p| p.starts && p.key);
            if new_frame && starts && self.end_of_frame(*sequence).is_some() {
                found = Some(*sequence);
            }
            previous = Some((*sequence, slot.timestamp));
        }
        found
    }

    fn skip_to(&mut self, start: u64) {
        let kept = self.packets.split_off(&start);
        let mut timestamps: Vec<u32> = self.packets.values().map(|s| s.timestamp).collect();
        timestamps.dedup();
        self.skipped += timestamps.len().max(1) as u64;
        self.packets = kept;
        self.bytes = self.packets.values().map(|s| s.data.len()).sum();
        self.next = Some(start);
        self.hole = None;
    }

    /// Too much was lost to go on from where we are.
    fn restart(&mut self, next: u64, now: Instant) {
        self.packets.clear();
        self.bytes = 0;
        self.next = Some(next);
        self.hole = None;
        self.waiting.get_or_insert(now);
        self.skipped += 1;
    }
}

fn split(parsed: Option<(Place, Bytes)>) -> (Option<Place>, Bytes) {
    parsed.map_or((None, Bytes::new()), |(place, data)| (Some(place), data))
}

/// The frame that the packets make, unless its beginning is missing or a packet is damaged.
fn join(slots: &[Slot]) -> Option<Frame> {
    let first = slots.first()?;
    if !first.place?.starts {
        return None;
    }
    let mut data = BytesMut::with_capacity(slots.iter().map(|s| s.data.len() + 8).sum());
    let mut key = false;
    for slot in slots {
        if slot.codec != first.codec {
            return None;
        }
        match (slot.codec, slot.place) {
            (Codec::H264, Some(place)) => {
                key |= place.key;
                if !h264::append(&slot.data, &mut data) {
                    return None;
                }
            }
            (_, Some(place)) => {
                key |= place.key;
                data.extend_from_slice(&slot.data);
            }
            // Padding within a frame carries nothing; damage does.
            (_, None) if slot.padding => {}
            (_, None) => return None,
        }
    }
    let arrival = slots.iter().map(|s| s.arrival).max()?;
    Some(Frame { codec: first.codec, data: data.freeze(), rtp_timestamp: first.timestamp, key, arrival })
}

#[cfg(test)]
#[path = "assemble_tests.rs"]
mod tests;
