//! One SSRC that we send, with its repair stream: numbering, extensions, history, reports.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use rtc::rtcp::sender_report::SenderReport;

use crate::rtp::Header;

/// How long a packet can be asked for again.
const HISTORY: Duration = Duration::from_millis(1000);
/// Packets that can be asked for again.
const HISTORY_PACKETS: usize = 1024;

/// Ids of the header extensions that the service negotiated; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExtensionIds {
    pub(crate) mid: u8,
    pub(crate) rid: u8,
    pub(crate) repaired_rid: u8,
    pub(crate) transport_cc: u8,
    pub(crate) audio_level: u8,
}

/// What does not change while a stream is sent.
#[derive(Clone, Debug)]
pub(crate) struct StreamConfig {
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    /// SSRC and payload type of the repair stream.
    pub(crate) repair: Option<(u32, u8)>,
    pub(crate) clock_rate: u32,
    pub(crate) mid: Bytes,
    /// Name of the simulcast layer; empty when there is one only.
    pub(crate) rid: &'static str,
    pub(crate) extensions: ExtensionIds,
}

#[derive(Debug)]
struct Kept {
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload: Bytes,
    at: Instant,
    sent_again: Option<Instant>,
}

/// What goes into one packet.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) payload: Bytes,
    pub(crate) timestamp: u32,
    /// When that was, on the capture clock.
    pub(crate) capture_time: Duration,
    /// The last packet of a frame.
    pub(crate) marker: bool,
    /// The byte of RFC 6464 §3.
    pub(crate) audio_level: Option<u8>,
}

/// A packet to encrypt and send.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) packet: BytesMut,
    /// Its transport-wide number, when it has one.
    pub(crate) transport_sequence: Option<u16>,
}

/// The state of one sent stream.
#[derive(Debug)]
pub(crate) struct Stream {
    config: StreamConfig,
    sequence: u16,
    repair_sequence: u16,
    timestamp_base: u32,
    history: VecDeque<Kept>,
    /// The service knows our SSRC: it has sent a report about it.
    known: bool,
    repair_known: bool,
    /// Timestamp and capture time of the newest packet.
    newest: Option<(u32, Duration)>,
    packets: u32,
    octets: u32,
    pub(crate) bits_sent: u64,
    pub(crate) retransmitted: u64,
}

impl Stream {
    /// `random` gives the first sequence numbers and the timestamp's offset (RFC 3550 §5.1).
    pub(crate) fn new(config: StreamConfig, random: [u32; 3]) -> Self {
        Self {
            config,
            // Far from the wrap, so that reordering at the start cannot confuse a rollover count.
            sequence: (random[0] & 0x3fff) as u16,
            repair_sequence: (random[1] & 0x3fff) as u16,
            timestamp_base: random[2],
            history: VecDeque::new(),
            known: false,
            repair_known: false,
            newest: None,
            packets: 0,
            octets: 0,
            bits_sent: 0,
            retransmitted: 0,
        }
    }

    /// The RTP timestamp of a capture time.
    pub(crate) fn timestamp(&self, capture_time: Duration) -> u32 {
        let ticks = capture_time.as_nanos() * u128::from(self.config.clock_rate) / 1_000_000_000;
        self.timestamp_base.wrapping_add(ticks as u32)
    }

    /// The service has heard of `ssrc`, ours or our repair stream's: its name need not be sent any more.
    pub(crate) fn reported(&mut self, ssrc: u32) {
        self.known |= ssrc == self.config.ssrc;
        self.repair_known |= self.config.repair.is_some_and(|(repair, _)| repair == ssrc);
    }

    /// Writes one packet. `transport_sequence` is the transport-wide counter.
    pub(crate) fn packet(&mut self, content: Content, transport_sequence: &mut u16, now: Instant) -> Ready {
        let Content { payload, timestamp, capture_time, marker, audio_level } = content;
        self.newest = Some((timestamp, capture_time));
        let header = Header {
            payload_type: self.config.payload_type,
            sequence: self.sequence,
            timestamp,
            ssrc: self.config.ssrc,
            marker,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let ready = self.write(header, &[&payload], !self.known, false, audio_level, transport_sequence);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        if self.config.repair.is_some() {
            let sequence = header.sequence;
            self.history.push_back(Kept { sequence, timestamp, marker, payload, at: now, sent_again: None });
            while self.history.len() > HISTORY_PACKETS
                || self.history.front().is_some_and(|k| now.duration_since(k.at) > HISTORY)
            {
                self.history.pop_front();
            }
        }
        ready
    }

    /// Writes a packet again on the repair stream (RFC 4588), unless that was done within a round trip.
    pub(crate) fn repair(
        &mut self,
        sequence: u16,
        round_trip: Duration,
        transport_sequence: &mut u16,
        now: Instant,
    ) -> Option<Ready> {
        let (ssrc, payload_type) = self.config.repair?;
        let first = self.history.front()?.sequence;
        let kept = self.history.get_mut(usize::from(sequence.wrapping_sub(first)))?;
        debug_assert_eq!(kept.sequence, sequence);
        let pause = round_trip.max(Duration::from_millis(10));
        if kept.sent_again.is_some_and(|at| now.duration_since(at) < pause) {
            return None;
        }
        kept.sent_again = Some(now);
        let header = Header {
            payload_type,
            sequence: self.repair_sequence,
            timestamp: kept.timestamp,
            ssrc,
            marker: kept.marker,
        };
        let payload = kept.payload.clone();
        self.repair_sequence = self.repair_sequence.wrapping_add(1);
        self.retransmitted += 1;
        let original = sequence.to_be_bytes();
        Some(self.write(header, &[&original, &payload], !self.repair_known, true, None, transport_sequence))
    }

    fn write(
        &mut self,
        header: Header,
        payload: &[&[u8]],
        named: bool,
        is_repair: bool,
        audio_level: Option<u8>,
        transport_sequence: &mut u16,
    ) -> Ready {
        let ids = self.config.extensions;
        let mut extensions: [(u8, &[u8]); 4] = [(0, &[]); 4];
        let mut n = 0;
        let mut add = |id: u8, value| {
            if id != 0 {
                extensions[n] = (id, value);
                n += 1;
            }
        };
        if named && !self.config.mid.is_empty() {
            add(ids.mid, &self.config.mid[..]);
        }
        if named && !self.config.rid.is_empty() {
            add(if is_repair { ids.repaired_rid } else { ids.rid }, self.config.rid.as_bytes());
        }
        let number = *transport_sequence;
        let counted = number.to_be_bytes();
        if ids.transport_cc != 0 {
            add(ids.transport_cc, &counted);
            *transport_sequence = number.wrapping_add(1);
        }
        let level = [audio_level.unwrap_or_default()];
        if audio_level.is_some() {
            add(ids.audio_level, &level);
        }
        let size: usize = payload.iter().map(|p| p.len()).sum();
        // Room for the authentication tag (RFC 3711, RFC 7714).
        let mut packet = BytesMut::with_capacity(size + 64);
        header.write(&extensions[..n], &mut packet);
        for part in payload {
            packet.put_slice(part);
        }
        self.bits_sent += packet.len() as u64 * 8;
        Ready { packet, transport_sequence: (ids.transport_cc != 0).then_some(number) }
    }

    /// A sender report for this instant: `ntp` is its wall clock (RFC 3550 §4), `capture_now` the capture clock.
    /// `None` before anything was sent.
    pub(crate) fn report(&self, ntp: u64, capture_now: Duration) -> Option<SenderReport> {
        let (timestamp, capture_time) = self.newest?;
        // Both directions: a capture time may lie ahead of the clock by the length of a frame.
        let ahead = self.timestamp(capture_now).wrapping_sub(self.timestamp(capture_time));
        Some(SenderReport {
            ssrc: self.config.ssrc,
            ntp_time: ntp,
            rtp_time: timestamp.wrapping_add(ahead),
            packet_count: self.packets,
            octet_count: self.octets,
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rtp::Packet;

    fn content(payload: Bytes) -> Content {
        Content { payload, timestamp: 0, capture_time: Duration::ZERO, marker: true, audio_level: None }
    }

    fn stream() -> Stream {
        let extensions = ExtensionIds { mid: 4, rid: 10, repaired_rid: 11, transport_cc: 3, audio_level: 0 };
        let config = StreamConfig {
            ssrc: 1,
            payload_type: 125,
            repair: Some((2, 107)),
            clock_rate: 90_000,
            mid: Bytes::from_static(b"1"),
            rid: "h",
            extensions,
        };
        Stream::new(config, [7, 8, 9])
    }

    #[test]
    fn a_repair_names_its_layer_and_unwraps_to_the_original() {
        let (mut s, mut counter, now) = (stream(), 0, Instant::now());
        for i in 0..10u8 {
            s.packet(content(Bytes::from(vec![i; 5])), &mut counter, now);
        }
        let repair = s.repair(7 + 4, Duration::ZERO, &mut counter, now).unwrap();
        let packet = Packet::parse(repair.packet.freeze()).unwrap();
        assert_eq!(packet.extension(11), Some(&b"h"[..]));
        assert_eq!(packet.extension(4), Some(&b"1"[..]));
        assert_eq!(packet.extension(3), Some(&10u16.to_be_bytes()[..]));
        let original = packet.unwrap_retransmission(1, 125).unwrap();
        assert_eq!((original.sequence, &original.payload[..]), (11, &[4u8; 5][..]));
    }

    #[test]
    fn a_packet_is_repaired_once_a_round_trip() {
        let (mut s, mut counter, now) = (stream(), 0, Instant::now());
        s.packet(content(Bytes::from_static(b"x")), &mut counter, now);
        let rtt = Duration::from_millis(100);
        assert!(s.repair(7, rtt, &mut counter, now).is_some());
        assert!(s.repair(7, rtt, &mut counter, now + Duration::from_millis(99)).is_none());
        assert!(s.repair(7, rtt, &mut counter, now + rtt).is_some());
        assert!(s.repair(6, rtt, &mut counter, now + rtt).is_none(), "never sent");
        assert!(s.repair(8, rtt, &mut counter, now + rtt).is_none(), "not yet sent");
    }

    #[test]
    fn names_stop_when_the_service_has_reported_the_stream() {
        let (mut s, mut counter, now) = (stream(), 0, Instant::now());
        let mut first = |s: &mut Stream| {
            let ready = s.packet(content(Bytes::from_static(b"x")), &mut counter, now);
            Packet::parse(ready.packet.freeze()).unwrap().extension(10).is_some()
        };
        assert!(first(&mut s));
        s.reported(1);
        assert!(!first(&mut s));
        let repair = s.repair(7, Duration::ZERO, &mut counter, now).unwrap();
        assert!(Packet::parse(repair.packet.freeze()).unwrap().extension(11).is_some());
    }

    #[test]
    fn history_is_bounded_by_time_and_number() {
        let (mut s, mut counter, now) = (stream(), 0, Instant::now());
        for i in 0..3000u64 {
            s.packet(content(Bytes::from_static(b"x")), &mut counter, now + Duration::from_micros(i * 100));
            assert!(s.history.len() <= HISTORY_PACKETS);
        }
        s.packet(content(Bytes::from_static(b"x")), &mut counter, now + Duration::from_secs(5));
        assert_eq!(s.history.len(), 1);
    }
}
