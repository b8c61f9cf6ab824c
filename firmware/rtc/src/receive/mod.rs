//! What arrives on one connection: packets of many streams into frames, requests for what is missing, reports.

mod assemble;
mod feedback;
pub(crate) mod h264;
mod nack;
mod reorder;
mod sender_clock;
mod statistics;
mod stream;
mod vpx;

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    time::{Duration, Instant},
};

use rtc::rtcp::{Packet as ControlPacket, receiver_report::ReceiverReport, sender_report::SenderReport};

use self::{feedback::Feedback, stream::Stream};
use crate::{
    Codec, Media, TrackSid,
    clock::Clock,
    rtp::Packet,
    sdp::{self, Description, ExtensionMap, MediaKind, PayloadCodec},
    send::stream::ExtensionIds,
};

/// Streams that are received; more are dropped.
const MAX_STREAMS: usize = 256;
/// Interval of receiver reports.
const REPORT: Duration = Duration::from_millis(1000);

/// What a media section of the connection carries to us.
#[derive(Debug)]
struct Section {
    payloads: HashMap<u8, PayloadCodec>,
    extensions: ExtensionIds,
    track: Option<TrackSid>,
}

/// What an SSRC is.
#[derive(Clone, Debug)]
enum Role {
    Media,
    /// Repairs this one, or whatever its section carries.
    Repair(Option<u32>),
}

#[derive(Clone, Debug)]
struct Route {
    mid: String,
    role: Role,
    /// By the description, not by a packet.
    declared: bool,
}

/// Counters since the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) bits: u64,
    pub(crate) expected: u64,
    pub(crate) lost: u64,
    pub(crate) repaired: u64,
    pub(crate) skipped: u64,
    pub(crate) key_frames_requested: u64,
}

/// The receiving side of a connection.
pub(crate) struct Receiver {
    our_ssrc: u32,
    clock: Clock,
    sections: HashMap<String, Section>,
    routes: HashMap<u32, Route>,
    streams: HashMap<u32, Stream>,
    feedback: Feedback,
    next_feedback: Instant,
    next_report: Instant,
    media: VecDeque<Media>,
    totals: Totals,
}

impl Receiver {
    pub(crate) fn new(now: Instant, our_ssrc: u32, clock: Clock) -> Self {
        Self {
            our_ssrc,
            clock,
            sections: HashMap::new(),
            routes: HashMap::new(),
            streams: HashMap::new(),
            feedback: Feedback::new(our_ssrc, now),
            next_feedback: now,
            next_report: now + REPORT,
            media: VecDeque::new(),
            totals: Totals::default(),
        }
    }

    /// Takes the service's description: who sends what in which section. `tracks` maps sections to tracks where
    /// the service says so; else `a=msid` does.
    pub(crate) fn set_sections(&mut self, description: &Description, tracks: &HashMap<String, String>) {
        self.routes.retain(|_, route| !route.declared);
        self.sections.clear();
        for section in &description.sections {
            let sends = !section.refused && section.direction.sends();
            if !sends || !matches!(section.kind, MediaKind::Audio | MediaKind::Video) {
                continue;
            }
            let msid = || section.msid.as_ref().map(|(_, track)| track.as_str()).filter(|t| !t.is_empty());
            let track = tracks.get(&section.mid).map(String::as_str).or_else(msid).map(TrackSid::new);
            for ssrc in &section.ssrcs {
                let repairs = section.repairs.iter().find(|(_, repair)| repair == ssrc);
                let role = repairs.map_or(Role::Media, |(media, _)| Role::Repair(Some(*media)));
                let route = Route { mid: section.mid.clone(), role, declared: true };
                self.routes.insert(*ssrc, route);
            }
            let payloads = sdp::payloads(section);
            let extensions = ExtensionMap::new(section).0;
            self.sections.insert(section.mid.clone(), Section { payloads, extensions, track });
        }
        let (routes, sections) = (&mut self.routes, &self.sections);
        // A section that changed hands has new SSRCs.
        routes.retain(|_, route| sections.contains_key(&route.mid));
        self.streams.retain(|ssrc, _| routes.contains_key(ssrc));
    }

    /// Takes a packet.
    pub(crate) fn handle_rtp(&mut self, now: Instant, packet: Packet) {
        self.totals.bits += (packet.payload.len() as u64 + 12) * 8;
        let Some(route) = self.route(&packet) else { return };
        let Some(section) = self.sections.get(&route.mid) else { return };
        if let Some(&[high, low]) = packet.extension(section.extensions.transport_cc) {
            self.feedback.received(u16::from_be_bytes([high, low]), now);
        }
        let (ssrc, codec, packet, repair) = match section.payloads.get(&packet.payload_type) {
            Some(PayloadCodec::Media(codec)) => (packet.ssrc, *codec, packet, false),
            Some(PayloadCodec::Repair(original)) => {
                let Some(PayloadCodec::Media(codec)) = section.payloads.get(original) else { return };
                let media = match route.role {
                    Role::Repair(Some(media)) => Some(media),
                    _ => self.media_of(&route.mid),
                };
                let Some(media) = media else { return };
                let Some(packet) = packet.unwrap_retransmission(media, *original) else { return };
                (media, *codec, packet, true)
            }
            None => return,
        };
        // A repair cannot begin a stream: its number may be old.
        let may_begin = !repair && self.streams.len() < MAX_STREAMS;
        let stream = match self.streams.entry(ssrc) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if may_begin => entry.insert(Stream::new(codec, &route.mid, now)),
            Entry::Vacant(_) => return,
        };
        if repair && stream.is_missing(packet.sequence) {
            self.totals.repaired += 1;
        }
        stream.handle(now, packet, codec, repair);
        self.collect(ssrc);
    }

    /// The section and role of a packet, learnt from its MID when its SSRC is new.
    fn route(&mut self, packet: &Packet) -> Option<Route> {
        if let Some(route) = self.routes.get(&packet.ssrc) {
            return Some(route.clone());
        }
        if self.routes.len() >= MAX_STREAMS * 2 {
            return None;
        }
        let (mid, section) = self.sections.iter().find(|(mid, section)| {
            packet.extension(section.extensions.mid).is_some_and(|value| value == mid.as_bytes())
        })?;
        let role = match section.payloads.get(&packet.payload_type)? {
            PayloadCodec::Media(_) => Role::Media,
            PayloadCodec::Repair(_) => Role::Repair(None),
        };
        let route = Route { mid: mid.clone(), role, declared: false };
        self.routes.insert(packet.ssrc, route.clone());
        Some(route)
    }

    fn media_of(&self, mid: &str) -> Option<u32> {
        let streams = self.streams.iter().filter(|(_, s)| s.mid() == mid);
        streams.max_by_key(|(_, s)| s.last_packet()).map(|(ssrc, _)| *ssrc)
    }

    /// Takes the control packets that are about what we receive.
    pub(crate) fn handle_rtcp(&mut self, now: Instant, packet: &dyn ControlPacket) {
        if let Some(report) = packet.as_any().downcast_ref::<SenderReport>()
            && let Some(stream) = self.streams.get_mut(&report.ssrc)
        {
            stream.sender_report(report.rtp_time, report.ntp_time, now);
        }
    }

    /// The next frame or packet.
    pub(crate) fn poll_media(&mut self) -> Option<Media> {
        self.media.pop_front()
    }

    /// Asks for a key frame of `track` at the next [`Receiver::poll_rtcp`].
    pub(crate) fn request_key_frame(&mut self, track: &TrackSid) {
        let sections = &self.sections;
        for stream in self.streams.values_mut() {
            if sections.get(stream.mid()).is_some_and(|s| s.track.as_ref() == Some(track)) {
                stream.request_key_frame();
            }
        }
    }

    /// Control packets to send now.
    pub(crate) fn poll_rtcp(&mut self, now: Instant, round_trip: Duration) -> Vec<Box<dyn ControlPacket>> {
        let mut out: Vec<Box<dyn ControlPacket>> = Vec::new();
        if now >= self.next_report {
            self.next_report = now + REPORT;
            self.report(now, &mut out);
        }
        for (ssrc, stream) in &mut self.streams {
            self.totals.key_frames_requested +=
                stream.poll_rtcp(now, self.our_ssrc, *ssrc, round_trip, &mut out);
        }
        if now >= self.next_feedback && self.feedback.is_due() {
            self.next_feedback = now + feedback::INTERVAL;
            let about = self.streams.keys().next().copied().unwrap_or_default();
            while let Some(report) = self.feedback.report(about) {
                out.push(Box::new(report));
            }
        }
        out
    }

    fn report(&mut self, now: Instant, out: &mut Vec<Box<dyn ControlPacket>>) {
        let mut reports = Vec::new();
        for (ssrc, stream) in &mut self.streams {
            if let Some((report, expected, lost)) = stream.report(*ssrc, now) {
                self.totals.expected += expected;
                self.totals.lost += lost;
                reports.push(report);
            }
        }
        // A report has room for 31 (RFC 3550 §6.4.2).
        for chunk in reports.chunks(31) {
            let report =
                ReceiverReport { ssrc: self.our_ssrc, reports: chunk.to_vec(), ..Default::default() };
            out.push(Box::new(report));
        }
    }

    /// Gives up what time has made useless.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let ssrcs: Vec<u32> = self.streams.keys().copied().collect();
        for ssrc in ssrcs {
            if let Some(stream) = self.streams.get_mut(&ssrc) {
                stream.handle_timeout(now);
            }
            self.collect(ssrc);
        }
    }

    /// When [`Receiver::handle_timeout`] or [`Receiver::poll_rtcp`] has something to do.
    pub(crate) fn poll_timeout(&self, now: Instant, round_trip: Duration) -> Option<Instant> {
        let streams = self.streams.values().filter_map(|s| s.poll_timeout(now, round_trip)).min();
        let feedback = self.feedback.is_due().then_some(self.next_feedback);
        let report = (!self.streams.is_empty()).then_some(self.next_report);
        [streams, feedback, report].into_iter().flatten().min()
    }

    /// Counters since the beginning.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    fn collect(&mut self, ssrc: u32) {
        let Some(stream) = self.streams.get_mut(&ssrc) else { return };
        let track = self.sections.get(stream.mid()).and_then(|s| s.track.clone());
        self.totals.skipped += stream.take_skipped();
        for frame in stream.take_frames() {
            if let Some(track) = &track {
                self.media.push_back(Media::Video {
                    track: track.clone(),
                    codec: frame.codec,
                    data: frame.data,
                    rtp_timestamp: frame.rtp_timestamp,
                    key_frame: frame.key,
                    captured: stream.captured(frame.rtp_timestamp),
                    arrival: self.clock.since_start(frame.arrival),
                });
            }
        }
        for (sequence, packet, arrival) in stream.take_audio() {
            if let Some(track) = &track
                && !packet.payload.is_empty()
            {
                self.media.push_back(Media::Audio {
                    track: track.clone(),
                    opus: packet.payload,
                    sequence,
                    rtp_timestamp: packet.timestamp,
                    captured: stream.captured(packet.timestamp),
                    arrival: self.clock.since_start(arrival),
                });
            }
        }
    }
}

/// How long a hole in a picture waits for its repair before a key frame is asked for.
fn patience(round_trip: Duration) -> Duration {
    (round_trip * 2 + Duration::from_millis(80)).clamp(Duration::from_millis(120), Duration::from_millis(300))
}

/// Clock rate of a codec's RTP timestamps.
fn clock_rate(codec: Codec) -> u32 {
    if codec == Codec::Opus { 48_000 } else { 90_000 }
}
