//! Incoming media: which stream a packet belongs to, retransmissions, and the feedback that we owe for it.

use super::{
    AudioLevel, IncomingRtp, MediaKind, Mid, NackGenerator, Peer, PeerEvent, Rid, Rtcp, Section,
    TwccReceiver,
    extension::{Extension, ExtensionMap},
    reception::Reception,
    rtcp::{self, Parsed},
    rtp::RtpView,
};
use bytes::Bytes;
use foldhash::fast::RandomState;
use std::{
    collections::HashMap,
    ops::Range,
    time::{Duration, Instant},
};

/// How many streams a remote may send at once, with retransmission streams.
const MAX_STREAMS: usize = 128;
/// Time between receiver reports (RFC 3550 §6.2 allows that for sessions of two).
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// The first report comes sooner: it tells an encoder early how the start went.
const FIRST_REPORT: Duration = Duration::from_millis(250);

/// One SSRC of the remote.
struct Stream {
    section: usize,
    mid: Mid,
    rid: Option<Rid>,
    role: StreamRole,
}

enum StreamRole {
    Media {
        reception: Reception,
        nack: Option<NackGenerator>,
    },
    /// Retransmissions of that SSRC.
    Repair {
        of: u32,
    },
}

/// What header extensions of a packet say.
#[derive(Default)]
struct Said {
    mid: Option<Mid>,
    rid: Option<Rid>,
    repaired_rid: Option<Rid>,
    transport_seq: Option<u16>,
    audio_level: Option<AudioLevel>,
    video_orientation: Option<u8>,
    playout_delay: Option<[u8; 3]>,
    dependency_descriptor: Option<Range<usize>>,
}

/// All that is known about the remote's media.
pub(super) struct Receiver {
    pub(super) local_ssrc: u32,
    sections: Vec<Section>,
    extensions: ExtensionMap,
    streams: HashMap<u32, Stream, RandomState>,
    twcc: TwccReceiver,
    /// The media SSRC of transport-wide feedback: any of the remote's.
    twcc_ssrc: u32,
    next_report: Option<Instant>,
    next_nack: Option<Instant>,
    scratch_seqs: Vec<u16>,
}

impl Receiver {
    pub(super) fn new(now: Instant, local_ssrc: u32) -> Receiver {
        Receiver {
            local_ssrc,
            sections: Vec::new(),
            extensions: ExtensionMap::default(),
            streams: HashMap::default(),
            twcc: TwccReceiver::new(now),
            twcc_ssrc: 0,
            next_report: None,
            next_nack: None,
            scratch_seqs: Vec::new(),
        }
    }

    /// Follows a negotiation.
    pub(super) fn rebuild(&mut self, sections: &[Section]) {
        self.sections = sections.to_vec();
        self.extensions = ExtensionMap::new(sections.iter().map(|s| &s.state.extensions));
        self.streams.retain(|_, stream| {
            sections.get(stream.section).is_some_and(|s| s.mid == stream.mid && s.receiving.is_some())
        });
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.next_report, self.next_nack, self.twcc.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        let all = self.streams.values().filter_map(|stream| match &stream.role {
            StreamRole::Media { nack: Some(nack), .. } => nack.round_trip(),
            _ => None,
        });
        all.min()
    }

    /// Finds the stream of a packet, learning it when it is new.
    fn stream_of(&mut self, view: &RtpView, said: &Said) -> Option<u32> {
        if self.streams.contains_key(&view.ssrc) {
            return Some(view.ssrc);
        }
        if self.streams.len() >= MAX_STREAMS {
            return None;
        }
        let at = self.section_of(view, said)?;
        let section = &self.sections[at];
        let (codec, is_repair) = section.state.codec_of(view.pt)?;
        let nack = codec.feedback.nack && codec.key.kind() == MediaKind::Video;
        let clock_rate_hz = codec.key.clock_rate_hz();
        let layered = section.receiving.as_ref().is_some_and(|r| !r.rids.is_empty());
        let (rid, role) = if is_repair {
            let of = self.repaired_by(at, view.ssrc, said)?;
            (self.streams.get(&of).and_then(|s| s.rid), StreamRole::Repair { of })
        } else {
            let rid = said.rid.filter(|rid| section.receiving.as_ref().is_some_and(|r| r.rids.contains(rid)));
            if layered && rid.is_none() {
                return None;
            }
            let nack = nack.then(NackGenerator::default);
            (rid, StreamRole::Media { reception: Reception::new(clock_rate_hz), nack })
        };
        let mid = section.mid;
        self.streams.insert(view.ssrc, Stream { section: at, mid, rid, role });
        Some(view.ssrc)
    }

    /// The section of a packet of an unknown SSRC (RFC 8843 §9.2): by MID, by the SDP, by payload type.
    fn section_of(&self, view: &RtpView, said: &Said) -> Option<usize> {
        let receives = |s: &Section| s.receiving.is_some();
        if let Some(mid) = said.mid {
            return self.sections.iter().position(|s| s.mid == mid && receives(s));
        }
        let announced = |s: &Section| {
            s.state.ssrcs.contains(&view.ssrc)
                || s.state.repairs.iter().any(|(a, b)| *a == view.ssrc || *b == view.ssrc)
        };
        if let Some(at) = self.sections.iter().position(|s| receives(s) && announced(s)) {
            return Some(at);
        }
        let mut fits = (0..self.sections.len()).filter(|at| {
            receives(&self.sections[*at]) && self.sections[*at].state.codec_of(view.pt).is_some()
        });
        let only = fits.next()?;
        fits.next().is_none().then_some(only)
    }

    /// The SSRC whose packets a new retransmission stream repeats.
    fn repaired_by(&self, at: usize, ssrc: u32, said: &Said) -> Option<u32> {
        let is_media = |of: &u32| {
            self.streams
                .get(of)
                .is_some_and(|s| s.section == at && matches!(s.role, StreamRole::Media { .. }))
        };
        let announced =
            self.sections[at].state.repairs.iter().find(|(_, repair)| *repair == ssrc).map(|(of, _)| *of);
        if let Some(of) = announced.filter(is_media) {
            return Some(of);
        }
        let layered = self.sections[at].receiving.as_ref().is_some_and(|r| !r.rids.is_empty());
        // The newest wins where a layer changed its SSRC is not known; senders keep them.
        let mut candidates = self.streams.iter().filter(|(of, stream)| {
            is_media(of)
                && if layered { said.repaired_rid.is_some() && stream.rid == said.repaired_rid } else { true }
        });
        let (only, _) = candidates.next()?;
        candidates.next().is_none().then_some(*only)
    }

    /// Looks at a decrypted packet and says what it is to the caller.
    fn accept(
        &mut self,
        now: Instant,
        arrived: Instant,
        view: &RtpView,
        packet: &Bytes,
    ) -> Option<IncomingRtp> {
        let said = self.read_extensions(view, packet);
        if let Some(seq) = said.transport_seq {
            self.twcc.received(now, arrived, seq);
            self.twcc_ssrc = view.ssrc;
        }
        let payload = packet.slice(view.payload(packet)?);
        let ssrc = self.stream_of(view, &said)?;
        let stream = self.streams.get_mut(&ssrc)?;
        let section = self.sections.get(stream.section)?;
        let (codec, is_repair) = section.state.codec_of(view.pt)?;
        let (mid, rid, codec) = (stream.mid, stream.rid, codec.key);
        let (ssrc, seq, payload) = match &mut stream.role {
            StreamRole::Media { reception, nack } => {
                if is_repair {
                    return None;
                }
                reception.received(arrived, view.seq, view.timestamp);
                self.next_report.get_or_insert(now + FIRST_REPORT);
                if nack.as_mut().is_some_and(|nack| !nack.received(now, view.seq)) {
                    return None;
                }
                (ssrc, view.seq, payload)
            }
            StreamRole::Repair { of } => {
                // What has no original sequence number is a probe (RFC 4588 §4).
                let original = u16::from_be_bytes(*payload.first_chunk::<2>()?);
                let of = *of;
                if let Some(Stream { role: StreamRole::Media { nack: Some(nack), .. }, .. }) =
                    self.streams.get_mut(&of)
                    && !nack.received(now, original)
                {
                    return None;
                }
                (of, original, payload.slice(2..))
            }
        };
        Some(IncomingRtp {
            mid,
            rid,
            codec,
            ssrc,
            seq,
            timestamp: view.timestamp,
            marker: view.marker,
            audio_level: said.audio_level,
            video_orientation: said.video_orientation,
            playout_delay: said.playout_delay,
            dependency_descriptor: said.dependency_descriptor.map(|at| packet.slice(at)),
            transport_seq: said.transport_seq,
            is_repair,
            arrival: now,
            payload,
        })
    }

    fn read_extensions(&self, view: &RtpView, packet: &[u8]) -> Said {
        let mut said = Said::default();
        for (id, at) in view.extensions(packet) {
            let value = &packet[at.clone()];
            match self.extensions.get(id) {
                Some(Extension::Mid) => said.mid = Mid::from_bytes(value),
                Some(Extension::Rid) => said.rid = Rid::from_bytes(value),
                Some(Extension::RepairedRid) => said.repaired_rid = Rid::from_bytes(value),
                Some(Extension::TransportSeq) => {
                    said.transport_seq = value.first_chunk().map(|seq| u16::from_be_bytes(*seq));
                }
                Some(Extension::AudioLevel) => {
                    said.audio_level = value.first().map(|level| AudioLevel(*level))
                }
                Some(Extension::VideoOrientation) => said.video_orientation = value.first().copied(),
                Some(Extension::PlayoutDelay) => said.playout_delay = value.first_chunk().copied(),
                Some(Extension::DependencyDescriptor) => said.dependency_descriptor = Some(at),
                Some(Extension::AbsSendTime) | None => {}
            }
        }
        said
    }

    /// Appends NACKs that are due.
    fn write_nacks(&mut self, now: Instant, out: &mut Vec<u8>) {
        if self.next_nack.is_none_or(|at| now < at) {
            return;
        }
        let mut next: Option<Instant> = None;
        for (ssrc, stream) in &mut self.streams {
            let StreamRole::Media { nack: Some(nack), .. } = &mut stream.role else { continue };
            if nack.missing() == 0 {
                continue;
            }
            self.scratch_seqs.clear();
            nack.poll(now, &mut self.scratch_seqs);
            if !self.scratch_seqs.is_empty() && out.len() < 1000 {
                self.scratch_seqs.truncate(200);
                rtcp::write_nack(out, self.local_ssrc, *ssrc, &self.scratch_seqs);
            }
            next = [next, nack.poll_timeout()].into_iter().flatten().min();
        }
        self.next_nack = next;
    }

    fn write_reports(&mut self, now: Instant, out: &mut Vec<u8>) {
        if self.next_report.is_none_or(|at| now < at) {
            return;
        }
        let mut blocks = Vec::new();
        for (ssrc, stream) in &mut self.streams {
            if let StreamRole::Media { reception, .. } = &mut stream.role {
                blocks.extend(reception.report(now, *ssrc));
            }
        }
        for blocks in blocks.chunks(31) {
            rtcp::write_receiver_report(out, self.local_ssrc, blocks);
        }
        self.next_report = (!blocks.is_empty()).then(|| now + REPORT_INTERVAL);
    }

    fn note_gap(&mut self, now: Instant, ssrc: u32) {
        if let Some(Stream { role: StreamRole::Media { nack: Some(nack), .. }, .. }) = self.streams.get(&ssrc)
            && nack.missing() > 0
        {
            let at = nack.poll_timeout().unwrap_or(now);
            self.next_nack = Some(self.next_nack.map_or(at, |known| known.min(at)));
        }
    }

    fn sender_report(&mut self, now: Instant, ssrc: u32, ntp_time: u64) -> bool {
        match self.streams.get_mut(&ssrc) {
            Some(Stream { role: StreamRole::Media { reception, .. }, .. }) => {
                reception.sender_report(now, ntp_time);
                true
            }
            _ => false,
        }
    }

    fn ended(&mut self, ssrc: u32) -> bool {
        self.streams.remove(&ssrc).is_some_and(|s| matches!(s.role, StreamRole::Media { .. }))
    }
}

impl Peer {
    /// Takes SRTP or SRTCP.
    pub(super) fn handle_media(&mut self, now: Instant, arrived: Instant, datagram: &[u8]) {
        let Some(srtp) = &mut self.srtp else { return };
        // RFC 5761 §4.
        if datagram.get(1).is_some_and(|pt| (192..=223).contains(pt)) {
            if let Some(compound) = srtp.decrypt_rtcp(datagram) {
                self.handle_rtcp(now, &compound);
            }
            return;
        }
        let Some(view) = RtpView::parse(datagram) else { return };
        let Some(packet) = srtp.decrypt_rtp(&view, datagram) else { return };
        if let Some(rtp) = self.receiver.accept(now, arrived, &view, &packet.freeze()) {
            self.receiver.note_gap(now, rtp.ssrc);
            self.event(PeerEvent::Rtp(rtp));
            if self.receiver.poll_timeout().is_some_and(|at| at <= now) {
                self.send_own_feedback(now);
            }
        }
    }

    fn handle_rtcp(&mut self, now: Instant, compound: &[u8]) {
        let mut parsed = Vec::new();
        rtcp::parse(compound, |message| parsed.push(message));
        for message in parsed {
            let message = match message {
                Parsed::Report(block) => self.sender.report(now, &block),
                Parsed::Message(Rtcp::SenderReport { ssrc, ntp_time, .. })
                    if !self.receiver.sender_report(now, ssrc, ntp_time) =>
                {
                    None
                }
                Parsed::Message(Rtcp::Bye { ssrc }) if !self.receiver.ended(ssrc) => None,
                Parsed::Message(message) => Some(message),
            };
            if let Some(message) = message {
                self.event(PeerEvent::Rtcp(message));
            }
        }
    }

    /// Sends the feedback that needs no decision: receiver reports, NACK, transport-wide feedback.
    pub(super) fn send_own_feedback(&mut self, now: Instant) {
        if self.srtp.is_none() {
            return;
        }
        let mut out = Vec::new();
        self.receiver.write_reports(now, &mut out);
        self.receiver.write_nacks(now, &mut out);
        self.send_feedback(&out);
        while let Some(feedback) = self.receiver.twcc.poll(now) {
            out.clear();
            rtcp::write_transport_feedback(
                &mut out,
                self.receiver.local_ssrc,
                self.receiver.twcc_ssrc,
                &feedback,
            );
            self.send_feedback(&out);
        }
    }
}
