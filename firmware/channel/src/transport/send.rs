//! Outgoing media: header extensions, encryption, sender reports.

use super::{
    Mid, OutgoingRtcp, OutgoingRtp, Peer, Rtcp, Section, Sent,
    extension::{Extension, ExtensionIds},
    rtcp::{self, ReportBlock},
    rtp::{ExtensionList, HeaderFields, write_header},
};
use foldhash::fast::RandomState;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The longest payload that is sent: a datagram with headers and tag stays below 1500 bytes on IPv6.
const MAX_PAYLOAD_LEN: usize = 1380;
/// The longest compound of feedback.
const MAX_FEEDBACK_LEN: usize = 1380;

/// One SSRC of ours.
struct Stream {
    mid: Mid,
    cname: String,
    extensions: ExtensionIds,
    packets: u32,
    octets: u32,
    /// Middle 32 bits of the NTP time of the last sender report, and when it went.
    last_sr: Option<(u32, Instant)>,
    /// The remote knows the stream: MID is no longer needed (RFC 8843 §15.1).
    known: bool,
}

/// All that we send to one remote.
pub(super) struct Sender {
    epoch: Instant,
    mixed: bool,
    streams: HashMap<u32, Stream, RandomState>,
    transport_seq: u16,
    round_trip: Option<Duration>,
    scratch: Vec<u8>,
}

impl Sender {
    pub(super) fn new(now: Instant, transport_seq: u16) -> Sender {
        Sender {
            epoch: now,
            mixed: false,
            streams: HashMap::default(),
            transport_seq,
            round_trip: None,
            scratch: Vec::with_capacity(1500),
        }
    }

    /// Follows a negotiation.
    pub(super) fn rebuild(&mut self, sections: &[Section], mixed: bool) {
        self.mixed = mixed;
        let mut before = std::mem::take(&mut self.streams);
        for section in sections.iter().filter(|s| !s.state.removing && !s.state.refused) {
            let Some(sending) = section.sending.as_ref().filter(|s| s.negotiated) else { continue };
            for ssrc in std::iter::once(sending.spec.ssrc).chain(sending.spec.rtx_ssrc) {
                let stream = match before.remove(&ssrc).filter(|s| s.mid == section.mid) {
                    Some(stream) => Stream { extensions: section.state.extensions, ..stream },
                    None => Stream {
                        mid: section.mid,
                        cname: sending.spec.cname.clone(),
                        extensions: section.state.extensions,
                        packets: 0,
                        octets: 0,
                        last_sr: None,
                        known: false,
                    },
                };
                self.streams.insert(ssrc, stream);
            }
        }
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Takes a block of a receiver report about one of our streams.
    pub(super) fn report(&mut self, now: Instant, block: &ReportBlock) -> Option<Rtcp> {
        let stream = self.streams.get_mut(&block.ssrc)?;
        stream.known = true;
        let answered = stream.last_sr.filter(|(sr, _)| *sr == block.last_sr && block.last_sr != 0);
        let round_trip = answered.and_then(|(_, sent)| {
            let held = Duration::from_secs_f64(f64::from(block.delay) / 65_536.0);
            now.saturating_duration_since(sent).checked_sub(held)
        });
        self.round_trip = round_trip.or(self.round_trip);
        Some(Rtcp::ReceiverReport {
            ssrc: block.ssrc,
            fraction_lost: block.fraction_lost,
            jitter: block.jitter,
            round_trip,
        })
    }

    /// Writes a packet into the scratch buffer. Returns the length of its header and its transport-wide number.
    fn write(&mut self, now: Instant, out: &OutgoingRtp<'_>) -> Option<(usize, Option<u16>)> {
        let stream = self.streams.get_mut(&out.ssrc).filter(|s| s.mid == out.mid)?;
        if out.payload.len() > MAX_PAYLOAD_LEN || out.pt > 127 {
            return None;
        }
        let id = |extension| stream.extensions.get(extension);
        let transport_seq = (id(Extension::TransportSeq) != 0).then(|| {
            self.transport_seq = self.transport_seq.wrapping_add(1);
            self.transport_seq
        });
        let seq_bytes = transport_seq.unwrap_or_default().to_be_bytes();
        // Seconds in 6.18 fixed point.
        let since = now.saturating_duration_since(self.epoch);
        let sent_at = ((since.as_micros() as u64) << 18) / 1_000_000;
        let sent_at = (sent_at as u32 & 0xff_ffff).to_be_bytes();
        let level = out.extensions.audio_level.map(|level| [level.0]);
        let orientation = out.extensions.video_orientation.map(|byte| [byte]);
        let mid = out.mid;

        let mut list = ExtensionList::default();
        if !stream.known {
            list.push(id(Extension::Mid), mid.as_bytes());
        }
        if transport_seq.is_some() {
            list.push(id(Extension::TransportSeq), &seq_bytes);
        }
        list.push(id(Extension::AbsSendTime), &sent_at[1..]);
        if let Some(level) = &level {
            list.push(id(Extension::AudioLevel), level);
        }
        if let Some(orientation) = &orientation {
            list.push(id(Extension::VideoOrientation), orientation);
        }
        if let Some(delay) = &out.extensions.playout_delay {
            list.push(id(Extension::PlayoutDelay), delay);
        }
        if let Some(descriptor) = out.extensions.dependency_descriptor {
            list.push(id(Extension::DependencyDescriptor), descriptor);
        }
        let OutgoingRtp { marker, pt, seq, timestamp, ssrc, .. } = *out;
        self.scratch.clear();
        let fields = HeaderFields { marker, pt, seq, timestamp, ssrc };
        let header_len = write_header(&mut self.scratch, fields, &list, self.mixed);
        if let Some(original) = out.original_seq {
            self.scratch.extend_from_slice(&original.to_be_bytes());
        }
        self.scratch.extend_from_slice(out.payload);
        if out.padding > 0 {
            self.scratch[0] |= 0x20;
            self.scratch.resize(self.scratch.len() + usize::from(out.padding) - 1, 0);
            self.scratch.push(out.padding);
        }
        stream.packets = stream.packets.wrapping_add(1);
        stream.octets = stream.octets.wrapping_add(out.payload.len() as u32);
        Some((header_len, transport_seq))
    }
}

impl Peer {
    /// Sends a packet of media. `None` when it could not be: not connected, not negotiated or too long.
    pub fn send_rtp(&mut self, now: Instant, out: OutgoingRtp<'_>) -> Option<Sent> {
        if !self.is_connected() {
            return None;
        }
        let srtp = self.srtp.as_mut()?;
        let (header_len, transport_seq) = self.sender.write(now, &out)?;
        let datagram = srtp.encrypt_rtp(out.ssrc, out.seq, header_len, &mut self.sender.scratch)?;
        let bytes = datagram.len();
        self.transmit(datagram);
        Some(Sent { bytes, transport_seq })
    }

    /// Sends feedback, in as few datagrams as it takes.
    pub fn send_rtcp(&mut self, now: Instant, packets: &[OutgoingRtcp]) {
        let mut out = Vec::new();
        for packet in packets {
            if out.len() > MAX_FEEDBACK_LEN - 400 {
                self.send_feedback(&out);
                out.clear();
            }
            match *packet {
                OutgoingRtcp::Pli { ssrc } => rtcp::write_pli(&mut out, self.receiver.local_ssrc, ssrc),
                OutgoingRtcp::Bye { ssrc } => rtcp::write_bye(&mut out, ssrc),
                OutgoingRtcp::SenderReport { ssrc, ntp_time, rtp_time } => {
                    if let Some(stream) = self.sender.streams.get_mut(&ssrc) {
                        stream.last_sr = Some(((ntp_time >> 16) as u32, now));
                        let Stream { packets, octets, cname, .. } = stream;
                        rtcp::write_sender_report(
                            &mut out, ssrc, ntp_time, rtp_time, *packets, *octets, cname,
                        );
                    }
                }
            }
        }
        self.send_feedback(&out);
    }

    pub(super) fn send_feedback(&mut self, compound: &[u8]) {
        if compound.is_empty() {
            return;
        }
        if let Some(datagram) = self.srtp.as_mut().and_then(|srtp| srtp.encrypt_rtcp(compound)) {
            self.transmit(datagram);
        }
    }
}
