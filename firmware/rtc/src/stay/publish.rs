//! Our own tracks: what is announced, described, numbered, paced and repaired.

use std::time::{Duration, Instant};

use bytes::Bytes;
use livekit_protocol as proto;
use rand::Rng;
use rtc::rtcp::{
    Packet as ControlPacket,
    payload_feedbacks::{
        full_intra_request::FullIntraRequest, picture_loss_indication::PictureLossIndication,
        receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate,
    },
    receiver_report::ReceiverReport,
    reception_report::ReceptionReport,
    sender_report::SenderReport,
    transport_feedbacks::{transport_layer_cc::TransportLayerCc, transport_layer_nack::TransportLayerNack},
};

use super::layers::{Layer, Video};
use crate::{
    AudioPlan, Codec, Event, Rid, TrackKind, VideoPlan,
    clock::Clock,
    congestion::{self, Estimator, FLOOR_BPS, Pacer},
    peer::Peer,
    sdp::{self, Description, ExtensionMap, SectionKind},
    send::{
        feedback, h264,
        stream::{Content, Stream, StreamConfig},
    },
};

/// Payload of one packet: leaves room for headers, SRTP and tunnels within 1280 bytes (RFC 8200 §5).
const PAYLOAD: usize = 1150;
/// Sound that stops for longer than this begins anew with its timestamps.
const GAP: Duration = Duration::from_millis(100);
/// What sound and control take of the estimate.
const AUDIO_BPS: u64 = 64_000;
/// What is assumed of the path before anything is known.
const START_BPS: u64 = 4_000_000;
/// Interval of sender reports.
const REPORT: Duration = Duration::from_millis(1000);

#[derive(Debug)]
struct Audio {
    plan: AudioPlan,
    track: String,
    mid: String,
    sid: Option<String>,
    ssrc: u32,
    stream: Option<Stream>,
    /// Timestamp that continues the newest packet, and when that ended.
    next: Option<(u32, Duration)>,
}

/// A packet that waits for its turn.
type Queued = (Rid, Content);

/// The sending side of a stay.
pub(super) struct Publisher {
    audio: Option<Audio>,
    video: Option<Video>,
    muted: [bool; 2],
    transport_sequence: u16,
    estimator: Estimator,
    pacer: Pacer<Queued>,
    told_bps: Option<u64>,
    next_report: Instant,
    report_loss: f32,
}

impl Publisher {
    pub(super) fn new(now: Instant, muted: [bool; 2]) -> Self {
        Self {
            audio: None,
            video: None,
            muted,
            transport_sequence: 1,
            estimator: Estimator::new(now, congestion::Options { start_bps: START_BPS }),
            pacer: Pacer::new(now),
            told_bps: None,
            next_report: now,
            report_loss: 0.0,
        }
    }

    /// Begins an audio track in section `mid`.
    pub(super) fn add_audio(&mut self, plan: AudioPlan, mid: &str, random: &mut impl Rng) {
        let track = format!("microphone-{:08x}", random.random::<u32>());
        self.audio = Some(Audio {
            plan,
            track,
            mid: mid.to_owned(),
            sid: None,
            ssrc: random.random(),
            stream: None,
            next: None,
        });
    }

    /// Begins a camera track in section `mid`; one that was there before ends.
    pub(super) fn add_video(&mut self, plan: &VideoPlan, mid: &str, random: &mut impl Rng) {
        self.video = Some(Video::new(plan, mid, random));
    }

    /// The camera track, if there is one.
    pub(super) fn video(&mut self) -> Option<&mut Video> {
        self.video.as_mut()
    }

    /// What the section of a track says in an offer.
    pub(super) fn section(&self, mid: &str) -> Option<SectionKind> {
        if let Some(audio) = self.audio.as_ref().filter(|a| a.mid == mid) {
            let stereo = audio.plan.stereo;
            return Some(SectionKind::SendAudio { track: audio.track.clone(), ssrc: audio.ssrc, stereo });
        }
        self.video.as_ref().filter(|v| v.mid == mid).map(Video::section)
    }

    /// How the tracks are announced to the service.
    pub(super) fn announcements(&self) -> Vec<proto::AddTrackRequest> {
        let audio = self.audio.as_ref().map(|audio| {
            use proto::AudioTrackFeature::{TfNoDtx, TfStereo};
            let mut audio_features = vec![TfNoDtx as i32];
            audio_features.extend(audio.plan.stereo.then_some(TfStereo as i32));
            // Older services know neither feature by its new name.
            #[allow(deprecated)]
            let request = proto::AddTrackRequest {
                cid: audio.track.clone(),
                name: "microphone".to_owned(),
                r#type: proto::TrackType::Audio as i32,
                source: proto::TrackSource::Microphone as i32,
                muted: self.muted[0],
                disable_dtx: true,
                disable_red: true,
                stereo: audio.plan.stereo,
                audio_features,
                ..Default::default()
            };
            request
        });
        let video = self.video.as_ref().map(|video| video.announcement(self.muted[1]));
        audio.into_iter().chain(video).collect()
    }

    /// The announcement of the camera track alone.
    pub(super) fn video_announcement(&self) -> Option<proto::AddTrackRequest> {
        self.video.as_ref().map(|video| video.announcement(self.muted[1]))
    }

    /// The service took a track. Returns what to tell it when its state is not ours any more.
    pub(super) fn published(
        &mut self,
        response: &proto::TrackPublishedResponse,
    ) -> Option<proto::MuteTrackRequest> {
        let info = response.track.as_ref()?;
        let kind = if let Some(audio) = self.audio.as_mut().filter(|a| a.track == response.cid) {
            audio.sid = Some(info.sid.clone());
            TrackKind::Audio
        } else {
            let video = self.video.as_mut().filter(|v| v.track == response.cid)?;
            video.sid = Some(info.sid.clone());
            TrackKind::Video
        };
        let muted = self.muted[index(kind)];
        (info.muted != muted).then(|| proto::MuteTrackRequest { sid: info.sid.clone(), muted })
    }

    /// Remembers a mute state; returns what to tell the service.
    pub(super) fn set_muted(&mut self, kind: TrackKind, muted: bool) -> Option<proto::MuteTrackRequest> {
        self.muted[index(kind)] = muted;
        let sid = self.sid(kind)?.to_owned();
        Some(proto::MuteTrackRequest { sid, muted })
    }

    /// What is muted and what is not, of all that is published.
    pub(super) fn mutes(&self) -> Vec<proto::MuteTrackRequest> {
        let of = |kind| {
            let sid = self.sid(kind)?.to_owned();
            Some(proto::MuteTrackRequest { sid, muted: self.muted[index(kind)] })
        };
        [TrackKind::Audio, TrackKind::Video].into_iter().filter_map(of).collect()
    }

    fn sid(&self, kind: TrackKind) -> Option<&str> {
        match kind {
            TrackKind::Audio => self.audio.as_ref()?.sid.as_deref(),
            TrackKind::Video => self.video.as_ref()?.sid.as_deref(),
        }
    }

    /// The service muted or unmuted one of our tracks. Returns which, when that is news.
    pub(super) fn muted_by_service(&mut self, request: &proto::MuteTrackRequest) -> Option<TrackKind> {
        let kind = [TrackKind::Audio, TrackKind::Video]
            .into_iter()
            .find(|kind| self.sid(*kind) == Some(request.sid.as_str()))?;
        let news = self.muted[index(kind)] != request.muted;
        self.muted[index(kind)] = request.muted;
        news.then_some(kind)
    }

    /// Which layers are watched changed. Returns the new state of all layers when that is news.
    pub(super) fn watched(&mut self, update: &proto::SubscribedQualityUpdate) -> Option<Vec<(Rid, bool)>> {
        self.video.as_mut()?.watched(update)
    }

    /// Takes the answer to our offer: what was agreed for our tracks.
    pub(super) fn set_answer(&mut self, answer: &Description, random: &mut impl Rng) {
        for section in &answer.sections {
            let ids = ExtensionMap::new(section).0;
            let mid = Bytes::copy_from_slice(section.mid.as_bytes());
            let open = !section.refused && section.direction.receives();
            if let Some(audio) = self.audio.as_mut().filter(|a| a.mid == section.mid && a.stream.is_none())
                && let Some((payload_type, _)) = sdp::sending(section, Codec::Opus).filter(|_| open)
            {
                // Without transport-wide numbers: LiveKit does not report them for audio.
                let extensions = crate::send::stream::ExtensionIds { transport_cc: 0, ..ids };
                let config = StreamConfig {
                    ssrc: audio.ssrc,
                    payload_type,
                    repair: None,
                    clock_rate: 48_000,
                    mid: mid.clone(),
                    rid: "",
                    extensions,
                };
                audio.stream = Some(Stream::new(config, random.random()));
            }
            if let Some(video) = self.video.as_mut().filter(|v| v.mid == section.mid)
                && let Some((payload_type, repair)) = sdp::sending(section, Codec::H264).filter(|_| open)
            {
                video.agree(&mid, payload_type, repair, ids, random);
            }
        }
    }

    /// Media can flow: every layer must begin with a key frame.
    pub(super) fn connected(&mut self) {
        if let Some(video) = &mut self.video {
            video.layers.iter_mut().for_each(Layer::restart);
        }
    }

    /// Sends sound at once.
    pub(super) fn send_audio(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        opus: Bytes,
        capture_time: Duration,
        samples: u32,
        level_dbov: u8,
    ) {
        let Some(audio) = &mut self.audio else { return };
        let Some(stream) = audio.stream.as_mut().filter(|_| !self.muted[0]) else { return };
        let length = Duration::from_secs_f64(f64::from(samples) / 48_000.0);
        // Counted in samples, so that the jitter of capture times is not in the timestamps.
        let timestamp = match audio.next {
            Some((next, end)) if capture_time < end + GAP => next,
            Some((next, end)) => {
                let gap = (capture_time - end).as_secs_f64() * 48_000.0;
                // A whole number of frames of 10 ms.
                next.wrapping_add((gap as u32).div_ceil(480) * 480)
            }
            None => stream.timestamp(capture_time),
        };
        let begins = audio.next.is_none_or(|(next, _)| next != timestamp);
        audio.next = Some((timestamp.wrapping_add(samples), capture_time + length));
        let level = level_dbov.min(127);
        let content = Content {
            payload: opus,
            timestamp,
            capture_time,
            marker: begins,
            audio_level: Some(if level < 127 { 0x80 | level } else { level }),
        };
        let ready = stream.packet(content, &mut self.transport_sequence, now);
        peer.send_rtp(&ready.packet);
    }

    /// Sends an access unit of one layer, at once or paced.
    pub(super) fn send_video(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        rid: Rid,
        data: &Bytes,
        capture_time: Duration,
        key_frame: bool,
    ) {
        let muted = self.muted[1];
        let layer = self.video.as_mut().filter(|_| !muted).and_then(|v| v.layer(rid));
        let Some(timestamp) = layer.and_then(|layer| layer.begin_frame(capture_time, key_frame)) else {
            return;
        };
        let payloads = h264::packetise(data, PAYLOAD);
        let last = payloads.len().saturating_sub(1);
        for (i, payload) in payloads.into_iter().enumerate() {
            let size = payload.len();
            let content = Content { payload, timestamp, capture_time, marker: i == last, audio_level: None };
            self.pacer.push(size, (rid, content), now);
        }
        self.send_queued(now, peer);
    }

    fn send_queued(&mut self, now: Instant, peer: &mut Peer) {
        while let Some((rid, content)) = self.pacer.poll(now) {
            let Some(stream) = self.video.as_mut().and_then(|v| v.layer(rid)).and_then(|l| l.stream.as_mut())
            else {
                continue;
            };
            let ready = stream.packet(content, &mut self.transport_sequence, now);
            if let Some(number) = ready.transport_sequence {
                self.estimator.sent(number, ready.packet.len(), now);
            }
            peer.send_rtp(&ready.packet);
        }
    }

    /// Takes a control packet about what we send.
    pub(super) fn handle_rtcp(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        packet: &dyn ControlPacket,
        round_trip: Duration,
    ) {
        let any = packet.as_any();
        if let Some(report) = any.downcast_ref::<ReceiverReport>() {
            self.reported(&report.reports);
        } else if let Some(report) = any.downcast_ref::<SenderReport>() {
            self.reported(&report.reports);
        } else if let Some(nack) = any.downcast_ref::<TransportLayerNack>() {
            self.repair(now, peer, nack, round_trip);
        } else if let Some(pli) = any.downcast_ref::<PictureLossIndication>() {
            self.want_key_frame(pli.media_ssrc);
        } else if let Some(fir) = any.downcast_ref::<FullIntraRequest>() {
            fir.fir.iter().for_each(|entry| self.want_key_frame(entry.ssrc));
        } else if let Some(remb) = any.downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
            self.estimator.limited(remb.bitrate as u64, now);
        } else if let Some(report) = any.downcast_ref::<TransportLayerCc>() {
            self.estimator.reported(feedback::arrivals(report), now);
        }
    }

    fn reported(&mut self, blocks: &[ReceptionReport]) {
        for block in blocks {
            for stream in self.streams_mut() {
                stream.reported(block.ssrc);
            }
            let loss = f32::from(block.fraction_lost) / 256.0;
            self.report_loss += (loss - self.report_loss) * 0.25;
        }
    }

    fn repair(&mut self, now: Instant, peer: &mut Peer, nack: &TransportLayerNack, round_trip: Duration) {
        let Some(video) = &mut self.video else { return };
        let Some(layer) = video.layers.iter_mut().find(|l| l.ssrc == nack.media_ssrc) else { return };
        let Some(stream) = &mut layer.stream else { return };
        let sequences = nack.nacks.iter().flat_map(|pair| pair.packet_list());
        for sequence in sequences.take(256) {
            if !self.pacer.may_repair(PAYLOAD, now) {
                return;
            }
            if let Some(ready) = stream.repair(sequence, round_trip, &mut self.transport_sequence, now) {
                if let Some(number) = ready.transport_sequence {
                    self.estimator.sent(number, ready.packet.len(), now);
                }
                peer.send_rtp(&ready.packet);
            }
        }
    }

    fn want_key_frame(&mut self, ssrc: u32) {
        let layers = self.video.iter_mut().flat_map(|v| &mut v.layers);
        layers.filter(|l| l.ssrc == ssrc).for_each(Layer::want_key_frame);
    }

    fn streams_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        let audio = self.audio.iter_mut().filter_map(|a| a.stream.as_mut());
        audio.chain(self.video.iter_mut().flat_map(|v| &mut v.layers).filter_map(|l| l.stream.as_mut()))
    }

    /// Time has passed: sends what has waited and what is due.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        clock: &Clock,
        out: &mut Vec<Event>,
    ) {
        self.rates_changed(now);
        for (rid, _) in self.pacer.take_stale(now) {
            if let Some(layer) = self.video.as_mut().and_then(|v| v.layer(rid)) {
                layer.restart();
            }
        }
        self.send_queued(now, peer);
        for layer in self.video.iter_mut().flat_map(|v| &mut v.layers) {
            if layer.poll_key_frame(now) {
                out.push(Event::KeyFrameWanted { rid: layer.plan.rid });
            }
        }
        if now >= self.next_report {
            self.next_report = now + REPORT;
            let (ntp, capture_now) = (clock.ntp(now), clock.since_start(now));
            let reports = self.streams_mut().filter_map(|s| s.report(ntp, capture_now));
            let reports: Vec<Box<dyn ControlPacket>> = reports.map(|r| Box::new(r) as _).collect();
            peer.send_rtcp(&reports);
        }
        self.tell_bitrate(now, out);
    }

    fn tell_bitrate(&mut self, now: Instant, out: &mut Vec<Event>) {
        let Some(video) = &self.video else { return };
        let room = self.estimator.estimate_bps(now).saturating_sub(AUDIO_BPS);
        let total_bps = room.clamp(FLOOR_BPS, video.needed_bps().max(FLOOR_BPS));
        let news = self.told_bps.is_none_or(|told| total_bps.abs_diff(told) * 20 > told);
        if news {
            self.told_bps = Some(total_bps);
            out.push(Event::BitrateWanted { total_bps });
        }
    }

    fn rates_changed(&mut self, now: Instant) {
        let needed = self.video.as_ref().map_or(0, Video::needed_bps) + AUDIO_BPS;
        self.estimator.set_needed(needed);
        self.pacer.set_rates(self.estimator.estimate_bps(now), needed, self.estimator.queue());
    }

    /// When [`Publisher::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let keys = self.video.iter().flat_map(|v| &v.layers).filter_map(Layer::poll_timeout).min();
        [self.pacer.poll_timeout(), keys, Some(self.next_report)].into_iter().flatten().min()
    }

    /// Bits sent and packets repaired since the beginning, the share of packets lost, and the estimate.
    pub(super) fn statistics(&mut self, now: Instant) -> (u64, u64, f32, u64) {
        let (mut bits, mut repaired) = (0, 0);
        for stream in self.streams_mut() {
            bits += stream.bits_sent;
            repaired += stream.retransmitted;
        }
        (bits, repaired, self.report_loss.max(self.estimator.loss()), self.estimator.estimate_bps(now))
    }
}

fn index(kind: TrackKind) -> usize {
    match kind {
        TrackKind::Audio => 0,
        TrackKind::Video => 1,
    }
}
