//! One track on its way to one subscriber: which packets go out, under which numbers, and which were sent.

use std::time::{Duration, Instant};

use crate::transport::CodecKey;

use super::key_frame::KeyFrame;
use super::layers::MAX_LAYERS;
use super::sequence::SequenceMap;
use super::vp8::{Offsets, PictureNumbers, Temporal};

/// How many sent packets are remembered for retransmission.
const SENT_VIDEO: usize = 1024;
const SENT_AUDIO: usize = 64;

/// A sender report of an incoming stream: its wall clock at an RTP timestamp (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeReference {
    /// NTP time of the publisher, 32.32 fixed point.
    pub ntp_time: u64,
    /// RTP timestamp at that moment.
    pub rtp_time: u32,
}

impl TimeReference {
    /// Seconds on the publisher's clock at which `timestamp` was captured.
    fn seconds_of(&self, timestamp: u32, clock_rate_hz: u32) -> f64 {
        let ticks = timestamp.wrapping_sub(self.rtp_time) as i32;
        self.ntp_time as f64 / 2f64.powi(32) + f64::from(ticks) / f64::from(clock_rate_hz)
    }
}

/// A packet of one layer that could be forwarded.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Index of the layer.
    pub layer: usize,
    /// Which stream of the layer: it grows when the publisher starts the layer anew.
    pub epoch: u32,
    /// Extended sequence number.
    pub number: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// When it came.
    pub arrival: Instant,
    /// Its codec.
    pub codec: CodecKey,
    /// Whether a decoder can start with it.
    pub start: bool,
    /// It carries nothing, or nobody shall get it: leave it out of the numbering.
    pub leave_out: bool,
    /// Its temporal layer, where the stream has some that can be left out.
    pub temporal: Option<Temporal>,
    /// Its payload.
    pub payload: &'a [u8],
}

/// What a subscriber is to get of a track now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aim {
    /// The layer to get to.
    pub target: Option<usize>,
    /// The best layer that may go out on the way there.
    pub highest: usize,
    /// The highest temporal layer.
    pub temporal: u8,
}

impl Aim {
    /// One layer, with all its frames.
    pub fn layer(target: Option<usize>, highest: usize) -> Self {
        Self { target, highest, temporal: u8::MAX }
    }
}

/// How a packet goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// Sequence number.
    pub seq: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// What to change in a VP8 payload.
    pub vp8: Offsets,
    /// The payload is to be left empty: its number must be filled, but not by it.
    pub empty: bool,
}

/// What to send again for a number that the subscriber misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resend {
    /// Index of the layer that it came from.
    pub layer: usize,
    /// Which stream of the layer.
    pub epoch: u32,
    /// Its extended number there.
    pub number: u64,
    /// How it went out.
    pub out: Outgoing,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    resend: Resend,
    /// When it was sent again last.
    again: Option<Instant>,
}

#[derive(Debug)]
struct Current {
    layer: usize,
    epoch: u32,
    map: SequenceMap,
    timestamp_offset: u32,
    last_timestamp: u32,
    /// The highest temporal layer that goes out.
    temporal: u8,
    /// Its first number towards the subscriber.
    first_out: u64,
}

/// The forwarding state of one track to one subscriber.
#[derive(Debug)]
pub struct DownStream {
    clock_rate_hz: u32,
    video: bool,
    current: Option<Current>,
    /// The highest number sent, and when and with which timestamp it went out.
    last: Option<(u64, Instant, u32)>,
    first_number: u64,
    pictures: PictureNumbers,
    sent: Vec<Option<Sent>>,
}

impl DownStream {
    /// A new stream, whose numbers start at `first_seq`.
    pub fn new(video: bool, first_seq: u16) -> Self {
        Self {
            clock_rate_hz: if video { 90_000 } else { 48_000 },
            video,
            current: None,
            last: None,
            first_number: 0x1_0000 + u64::from(first_seq),
            pictures: PictureNumbers::default(),
            sent: Vec::new(),
        }
    }

    /// The layer that is forwarded.
    pub fn layer(&self) -> Option<usize> {
        self.current.as_ref().map(|current| current.layer)
    }

    /// Whether a key frame of `target` (in its stream `epoch`) is needed to go on with it.
    pub fn needs_key_frame(&self, target: usize, epoch: u32) -> bool {
        self.video && self.current.as_ref().is_none_or(|c| c.layer != target || c.epoch != epoch)
    }

    /// Nothing is forwarded until a decoder can start again; numbers go on.
    pub fn pause(&mut self) {
        if self.video {
            self.current = None;
        }
    }

    /// Goes on with another track: its numbers and timestamps follow on those of the track before, of which
    /// nothing can be sent again.
    pub fn change_track(&mut self) {
        self.current = None;
        self.sent.clear();
    }

    /// Decides about a packet; `references` are the latest sender reports of the layers.
    pub fn forward(
        &mut self,
        packet: &Packet<'_>,
        aim: &Aim,
        references: &[Option<TimeReference>; MAX_LAYERS],
    ) -> Option<Outgoing> {
        let same = self.current.as_ref().is_some_and(|c| c.layer == packet.layer && c.epoch == packet.epoch);
        if !same {
            if !packet.start || packet.leave_out || !self.may_switch(packet, aim) {
                return None;
            }
            self.switch(packet, aim.temporal, references);
        }
        let current = self.current.as_mut()?;
        let thinned = packet.temporal.is_some_and(|temporal| current.leaves_out(temporal, aim.temporal));
        let leave_out = packet.leave_out || (thinned && self.pictures.leave_out(packet.payload));
        if leave_out && current.map.leave_out(packet.number) {
            return None;
        }
        let number = current.map.map(packet.number)?;
        let timestamp = packet.timestamp.wrapping_add(current.timestamp_offset);
        if self.last.is_none_or(|(last, ..)| number > last) {
            self.last = Some((number, packet.arrival, timestamp));
            current.last_timestamp = packet.timestamp;
        }
        let vp8 = match packet.codec {
            CodecKey::Vp8 if !leave_out => self.pictures.note(packet.payload),
            _ => Offsets::default(),
        };
        let out = Outgoing { seq: number as u16, timestamp, vp8, empty: leave_out };
        self.remember(Resend { layer: packet.layer, epoch: packet.epoch, number: packet.number, out });
        Some(out)
    }

    fn may_switch(&self, packet: &Packet<'_>, aim: &Aim) -> bool {
        let Aim { target, highest, .. } = *aim;
        match &self.current {
            // A start is made with whatever can be decoded first.
            None => packet.layer <= highest || target == Some(packet.layer),
            Some(current) if current.layer == packet.layer => packet.epoch > current.epoch,
            Some(_) => target == Some(packet.layer),
        }
    }

    fn switch(
        &mut self,
        packet: &Packet<'_>,
        temporal: u8,
        references: &[Option<TimeReference>; MAX_LAYERS],
    ) {
        let first_out = self.last.map_or(self.first_number, |(number, ..)| number + 1);
        let timestamp_offset = match self.last {
            None => 0,
            Some((_, arrival, timestamp)) => {
                let ticks = self.ticks_since_last(packet, arrival, references);
                timestamp.wrapping_add(ticks).wrapping_sub(packet.timestamp)
            }
        };
        if packet.codec == CodecKey::Vp8 {
            self.pictures.switch(packet.payload);
        }
        self.current = Some(Current {
            layer: packet.layer,
            epoch: packet.epoch,
            map: SequenceMap::new(packet.number, first_out),
            timestamp_offset,
            last_timestamp: packet.timestamp,
            temporal,
            first_out,
        });
    }

    /// Clock ticks between the last forwarded frame and a packet of another layer: by the publisher's
    /// sender reports where both layers have them and they are plausible, else by arrival.
    fn ticks_since_last(
        &self,
        packet: &Packet<'_>,
        last_arrival: Instant,
        references: &[Option<TimeReference>; MAX_LAYERS],
    ) -> u32 {
        let rate = f64::from(self.clock_rate_hz);
        let by_arrival = packet.arrival.saturating_duration_since(last_arrival).as_secs_f64();
        let by_reports = self.current.as_ref().and_then(|current| {
            let (old, new) = (references[current.layer]?, references[packet.layer]?);
            let old = old.seconds_of(current.last_timestamp, self.clock_rate_hz);
            Some(new.seconds_of(packet.timestamp, self.clock_rate_hz) - old)
        });
        let seconds = by_reports.filter(|s| (s - by_arrival).abs() < 1.0).unwrap_or(by_arrival);
        // At least one tick: two frames never share a timestamp. At most 10 s: the rest is a pause.
        (seconds * rate).clamp(1.0, rate * 10.0) as u32
    }

    /// The timestamp under which a moment of a layer goes out; `None` when the layer is not forwarded.
    pub fn map_timestamp(&self, layer: usize, epoch: u32, timestamp: u32) -> Option<u32> {
        let current = self.current.as_ref().filter(|c| c.layer == layer && c.epoch == epoch)?;
        Some(timestamp.wrapping_add(current.timestamp_offset))
    }

    fn remember(&mut self, resend: Resend) {
        let size = if self.video { SENT_VIDEO } else { SENT_AUDIO };
        if self.sent.is_empty() {
            self.sent.resize(size, None);
        }
        self.sent[usize::from(resend.out.seq) % size] = Some(Sent { resend, again: None });
    }

    /// The subscriber misses `seq`: what to send again, unless that was done within the last `round_trip`, or a
    /// key frame came since that makes it useless.
    pub fn resend(&mut self, now: Instant, seq: u16, round_trip: Duration) -> Option<Resend> {
        let current = self.current.as_ref()?;
        let behind = (self.last?.0 as u16).wrapping_sub(seq);
        let number = self.last?.0.checked_sub(u64::from(behind))?;
        if self.sent.is_empty() || (self.video && number < current.first_out) {
            return None;
        }
        let slot = usize::from(seq) % self.sent.len();
        let sent = self.sent[slot].as_mut().filter(|sent| sent.resend.out.seq == seq)?;
        if sent.again.is_some_and(|again| now.saturating_duration_since(again) < round_trip) {
            return None;
        }
        sent.again = Some(now);
        Some(sent.resend)
    }
}

impl Current {
    /// Whether a frame of a temporal layer is left out when `wanted` is the highest that the subscriber wants. Less
    /// is left out from the next frame on, more goes out from a frame on that can be decoded without what was left
    /// out before.
    fn leaves_out(&mut self, temporal: Temporal, wanted: u8) -> bool {
        if temporal.starts_frame {
            let opens = temporal.layer > self.temporal && temporal.layer <= wanted && temporal.sync;
            if wanted < self.temporal || opens {
                self.temporal = wanted.min(self.temporal.max(temporal.layer));
            }
        }
        temporal.layer > self.temporal
    }
}

impl DownStream {
    /// The newest packets that went out and are large enough to fill a path, newest first: sent again they are
    /// padding that also repairs.
    pub fn newest(&self) -> impl Iterator<Item = Resend> + '_ {
        let from = self.current.as_ref().map_or(u64::MAX, |current| current.first_out);
        let last = self.last.map_or(0, |(number, ..)| number);
        (from..=last).rev().take(NEWEST).filter_map(|number| {
            let slot = (number as u16 as usize).checked_rem(self.sent.len())?;
            let sent = self.sent[slot].as_ref().filter(|sent| sent.resend.out.seq == number as u16)?;
            (!sent.resend.out.empty).then_some(sent.resend)
        })
    }
}

/// How many packets [`DownStream::newest`] looks back.
const NEWEST: usize = 64;

/// Whether a decoder can start with a packet, given whether its stream carries its parameter sets in-band.
pub fn can_start(key_frame: KeyFrame, in_band_parameter_sets: bool) -> bool {
    match key_frame {
        KeyFrame::Start => true,
        KeyFrame::Picture => !in_band_parameter_sets,
        KeyFrame::No => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const NONE: [Option<TimeReference>; 3] = [None; 3];

    fn packet(layer: usize, number: u64, timestamp: u32, arrival: Instant, start: bool) -> Packet<'static> {
        Packet {
            layer,
            epoch: 0,
            number,
            timestamp,
            arrival,
            codec: CodecKey::H264,
            start,
            leave_out: false,
            temporal: None,
            payload: &[0x67],
        }
    }

    #[test]
    fn video_starts_with_a_key_frame_and_the_best_that_comes_first() {
        let now = Instant::now();
        let mut stream = DownStream::new(true, 10);
        assert!(stream.needs_key_frame(2, 0));
        assert_eq!(stream.forward(&packet(2, 500, 0, now, false), &Aim::layer(Some(2), 2), &NONE), None);
        let out = stream.forward(&packet(0, 900, 77, now, true), &Aim::layer(Some(2), 2), &NONE).unwrap();
        assert_eq!((out.seq, out.timestamp, stream.layer()), (10, 77, Some(0)));
        assert!(stream.needs_key_frame(2, 0), "it still aims at the high layer");
    }

    #[test]
    fn a_switch_goes_on_with_the_next_number_and_a_later_timestamp() {
        let now = Instant::now();
        let mut stream = DownStream::new(true, 0);
        stream.forward(&packet(0, 900, 9_000, now, true), &Aim::layer(Some(0), 0), &NONE).unwrap();
        let later = now + Duration::from_millis(100);
        let out = stream
            .forward(&packet(2, 5_000, 1_000_000, later, true), &Aim::layer(Some(2), 2), &NONE)
            .unwrap();
        assert_eq!((out.seq, out.timestamp), (1, 18_000));
        assert_eq!(
            stream.forward(&packet(0, 901, 12_000, later, false), &Aim::layer(Some(2), 2), &NONE),
            None
        );
        let out = stream
            .forward(&packet(2, 5_001, 1_003_000, later, false), &Aim::layer(Some(2), 2), &NONE)
            .unwrap();
        assert_eq!((out.seq, out.timestamp), (2, 21_000));
    }

    #[test]
    fn sender_reports_place_a_switch_exactly() {
        let now = Instant::now();
        let mut stream = DownStream::new(true, 0);
        let second = 1u64 << 32;
        let references = [
            Some(TimeReference { ntp_time: 100 * second, rtp_time: 0 }),
            Some(TimeReference { ntp_time: 100 * second, rtp_time: 700_000 }),
            None,
        ];
        stream.forward(&packet(0, 1, 9_000, now, true), &Aim::layer(Some(0), 2), &references).unwrap();
        // Captured 100 ms after the last frame, but it came 130 ms after it.
        let arrival = now + Duration::from_millis(130);
        let out = stream
            .forward(&packet(1, 1, 718_000, arrival, true), &Aim::layer(Some(1), 2), &references)
            .unwrap();
        assert_eq!(out.timestamp, 18_000);
    }

    #[test]
    fn a_publisher_that_starts_anew_is_followed_from_its_key_frame() {
        let now = Instant::now();
        let mut stream = DownStream::new(true, 0);
        stream.forward(&packet(2, 1, 0, now, true), &Aim::layer(Some(2), 2), &NONE).unwrap();
        let anew = |number, start| Packet { epoch: 1, ..packet(2, number, 0, now, start) };
        assert_eq!(stream.forward(&anew(70_000, false), &Aim::layer(Some(2), 2), &NONE), None);
        assert!(stream.needs_key_frame(2, 1));
        assert_eq!(stream.forward(&anew(70_001, true), &Aim::layer(Some(2), 2), &NONE).unwrap().seq, 1);
    }

    #[test]
    fn sound_starts_with_any_packet() {
        let now = Instant::now();
        let mut stream = DownStream::new(false, 0);
        assert!(!stream.needs_key_frame(0, 0));
        let sound = Packet { codec: CodecKey::Opus, ..packet(0, 9, 960, now, true) };
        assert_eq!(stream.forward(&sound, &Aim::layer(Some(0), 0), &NONE).unwrap().timestamp, 960);
    }

    #[test]
    fn another_track_goes_on_where_the_first_ended() {
        let now = Instant::now();
        for video in [true, false] {
            let mut stream = DownStream::new(video, 0);
            stream.forward(&packet(0, 900, 9_000, now, true), &Aim::layer(Some(0), 2), &NONE).unwrap();
            stream.change_track();
            assert_eq!(stream.resend(now, 0, Duration::ZERO), None, "it is the other track's packet now");
            let later = now + Duration::from_millis(100);
            let out = stream.forward(&packet(0, 5, 77, later, true), &Aim::layer(Some(0), 2), &NONE).unwrap();
            let rate = if video { 90 } else { 48 };
            assert_eq!((out.seq, out.timestamp), (1, 9_000 + 100 * rate));
        }
    }

    #[test]
    fn a_lost_packet_is_sent_again_once_a_round_trip() {
        let now = Instant::now();
        let round_trip = Duration::from_millis(50);
        let mut stream = DownStream::new(true, 0);
        let out = stream.forward(&packet(2, 500, 0, now, true), &Aim::layer(Some(2), 2), &NONE).unwrap();
        assert_eq!(stream.resend(now, out.seq, round_trip).unwrap().number, 500);
        assert_eq!(stream.resend(now + round_trip / 2, out.seq, round_trip), None);
        assert_eq!(stream.resend(now + round_trip, out.seq, round_trip).unwrap().number, 500);
        assert_eq!(stream.resend(now, out.seq.wrapping_add(1), round_trip), None, "never sent");
    }

    #[derive(Debug, Clone)]
    struct Step {
        layer: usize,
        start: bool,
        leave_out: bool,
        target: usize,
        skip: u64,
    }

    fn step() -> impl Strategy<Value = Step> {
        (
            0usize..3,
            prop::bool::weighted(0.2),
            prop::bool::weighted(0.1),
            0usize..3,
            prop_oneof![9 => Just(1u64), 1 => 2u64..4],
        )
            .prop_map(|(layer, start, leave_out, target, skip)| Step {
                layer,
                start,
                leave_out,
                target,
                skip,
            })
    }

    proptest! {
        #[test]
        fn whatever_layers_do_numbers_are_gapless_and_time_goes_on(steps in prop::collection::vec(step(), 1..400)) {
            // Without loss (skip is taken as 1), in order: the outgoing numbers have no gap, and a new
            // number never has an earlier timestamp.
            let start = Instant::now();
            let mut stream = DownStream::new(true, 0xfff0);
            let mut numbers = [10u64, 70_000, 200_000];
            let mut last: Option<(u16, u32)> = None;
            for (i, step) in steps.iter().enumerate() {
                numbers[step.layer] += 1;
                let arrival = start + Duration::from_millis(10 * i as u64);
                let timestamp = (step.layer as u32) * 1_000_000 + 900 * i as u32;
                let packet = Packet { leave_out: step.leave_out, ..packet(step.layer, numbers[step.layer], timestamp, arrival, step.start) };
                if let Some(out) = stream.forward(&packet, &Aim::layer(Some(step.target), 2), &NONE) {
                    if let Some((seq, timestamp)) = last {
                        prop_assert_eq!(out.seq, seq.wrapping_add(1));
                        prop_assert!((out.timestamp.wrapping_sub(timestamp) as i32) > 0);
                    }
                    last = Some((out.seq, out.timestamp));
                }
            }
        }

        #[test]
        fn with_loss_and_disorder_no_number_is_given_twice(steps in prop::collection::vec((step(), 0u64..4), 1..300)) {
            let start = Instant::now();
            let mut stream = DownStream::new(true, 0);
            let mut numbers = [10u64, 70_000, 200_000];
            let (mut seen, mut given) = (HashSet::new(), HashSet::new());
            for (i, (step, late)) in steps.iter().enumerate() {
                numbers[step.layer] += step.skip;
                let number = numbers[step.layer] - late;
                if !seen.insert((step.layer, number)) {
                    continue;
                }
                let arrival = start + Duration::from_millis(10 * i as u64);
                let packet = Packet { leave_out: step.leave_out, ..packet(step.layer, number, 900 * i as u32, arrival, step.start) };
                if let Some(out) = stream.forward(&packet, &Aim::layer(Some(step.target), 2), &NONE) {
                    prop_assert!(given.insert(out.seq));
                }
            }
            prop_assert!(stream.sent.len() <= SENT_VIDEO);
        }
    }
}
