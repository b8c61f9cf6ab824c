//! A published track: its layers as they arrive and the subscribers that they go to.

use std::time::{Duration, Instant};

use livekit_protocol::{
    AddTrackRequest, AudioTrackFeature, SimulcastCodecInfo, TrackInfo, TrackSource, TrackType, VideoQuality,
};

use crate::forward::history::{Bounds, History, Stored};
use crate::forward::key_requests::KeyRequests;
use crate::forward::layers::{self, INACTIVE_AFTER, MAX_LAYERS};
use crate::forward::rate::RateMeter;
use crate::forward::stream::{Aim, DownStream, TimeReference};
use crate::forward::unwrap::Unwrapper;
use crate::transport::{CodecKey, IncomingRtp, MediaKind, Mid, PayloadMapping};

use super::dynacast::Dynacast;
use super::speakers::SpeakerMeter;
use super::{PeerKey, SessionKey};

/// One incoming stream: the sound, or one simulcast layer of the picture.
pub(super) struct Layer {
    pub(super) ssrc: u32,
    /// Grows when the publisher starts the layer anew.
    pub(super) epoch: u32,
    pub(super) unwrapper: Unwrapper,
    pub(super) history: History<IncomingRtp>,
    pub(super) last_packet: Instant,
    pub(super) key_requests: KeyRequests,
    /// Where its latest key frame starts, and when that came.
    pub(super) key_frame: Option<(u64, Instant)>,
    pub(super) reference: Option<TimeReference>,
    /// The stream carries its parameter sets in-band (H.264).
    pub(super) parameter_sets: bool,
    /// Numbers at the last look at losses: highest, and packets received since.
    pub(super) loss_from: u64,
    pub(super) received: u64,
    pub(super) rate: RateMeter,
    /// Temporal layers seen in it.
    pub(super) temporal_layers: u8,
}

impl Layer {
    pub(super) fn new(ssrc: u32, epoch: u32, bounds: Bounds, now: Instant) -> Self {
        Self {
            ssrc,
            epoch,
            unwrapper: Unwrapper::default(),
            history: History::new(bounds),
            last_packet: now,
            key_requests: KeyRequests::default(),
            key_frame: None,
            reference: None,
            parameter_sets: false,
            loss_from: 0,
            received: 0,
            rate: RateMeter::new(now),
            temporal_layers: 1,
        }
    }

    /// Notes a packet: its number and whether it is one that was there already. `None` when its number is so
    /// far from the others that the stream must have started anew.
    pub(super) fn receive(&mut self, rtp: &IncomingRtp) -> Option<(u64, bool)> {
        let number = self.unwrapper.unwrap(rtp.seq)?;
        self.last_packet = rtp.arrival;
        let bytes = rtp.payload.len() + std::mem::size_of::<IncomingRtp>();
        let fresh = self.history.insert(Stored { number, arrival: rtp.arrival, bytes, packet: rtp.clone() });
        if fresh {
            self.rate.count(rtp.arrival, rtp.payload.len() + OVERHEAD, rtp.marker);
            self.received += u64::from(!rtp.is_repair);
        }
        Some((number, fresh))
    }

    /// The share of packets lost since the last look, before repair.
    pub(super) fn take_loss(&mut self) -> Option<f32> {
        let highest = self.unwrapper.highest()?;
        let expected = highest.saturating_sub(self.loss_from);
        let (first, received) = (self.loss_from == 0, std::mem::take(&mut self.received));
        self.loss_from = highest;
        if first || expected < 20 {
            return None;
        }
        Some(expected.saturating_sub(received) as f32 / expected as f32)
    }

    /// The packets since its latest key frame, for a subscriber that just missed that: when it is recent
    /// and nothing is missing.
    pub(super) fn since_key_frame(&self, now: Instant) -> Option<Vec<&Stored<IncomingRtp>>> {
        let (start, at) = self.key_frame?;
        let end = self.unwrapper.highest()?;
        if now.saturating_duration_since(at) > REPLAY_AGE || end.saturating_sub(start) > REPLAY_PACKETS {
            return None;
        }
        (start..=end).map(|number| self.history.get(number)).collect()
    }

    pub(super) fn is_active(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_packet) < INACTIVE_AFTER
    }
}

/// Bytes of a datagram around its payload: IP, UDP, RTP with extensions, SRTP's tag.
const OVERHEAD: usize = 28 + 28 + 16;

/// How old a key frame, and how many packets since it, may be to start a subscriber with.
const REPLAY_AGE: Duration = Duration::from_millis(600);
const REPLAY_PACKETS: u64 = 400;

/// A track on its way to one subscriber.
pub(super) struct DownTrack {
    pub(super) session: SessionKey,
    pub(super) peer: PeerKey,
    /// Its media section; `None` while the subscriber has none for it.
    pub(super) mid: Option<Mid>,
    pub(super) ssrc: u32,
    pub(super) rtx_ssrc: u32,
    pub(super) rtx_seq: u16,
    /// The subscriber agreed and its connection is up.
    pub(super) live: bool,
    /// The subscriber does not want it for now.
    pub(super) disabled: bool,
    /// The best layer that it wants.
    pub(super) wanted: usize,
    /// How large it shows it, where it says that.
    pub(super) size: Option<(u32, u32)>,
    /// Frames a second that it wants; 0 is all.
    pub(super) fps: u32,
    /// The best layer that its link leaves for it; `None` is nothing at all.
    pub(super) allowed: Option<usize>,
    pub(super) mapping: Option<(CodecKey, Option<PayloadMapping>)>,
    pub(super) stream: DownStream,
    /// The layer and stream that a key frame was asked for.
    pub(super) asked: Option<(usize, u32)>,
    /// It was told that the stream is active.
    pub(super) told_active: bool,
}

impl DownTrack {
    /// The next number of its retransmission stream.
    pub(super) fn next_rtx_seq(&mut self) -> u16 {
        let seq = self.rtx_seq;
        self.rtx_seq = seq.wrapping_add(1);
        seq
    }

    /// It is to get something.
    pub(super) fn flows(&self) -> bool {
        self.live && !self.disabled && self.allowed.is_some()
    }

    /// The best layer that it may have.
    pub(super) fn highest(&self) -> usize {
        self.allowed.map_or(0, |allowed| allowed.min(self.wanted))
    }

    /// The layer to get to, out of those that are sent.
    pub(super) fn target(&self, active: [bool; MAX_LAYERS]) -> Option<usize> {
        self.allowed.and_then(|allowed| layers::choose(active, allowed.min(self.wanted)))
    }

    /// What it is to get of a layer with so many temporal layers and frames a second.
    pub(super) fn aim(&self, active: [bool; MAX_LAYERS], temporal_layers: u8, fps: f32) -> Aim {
        let temporal = match self.fps {
            0 => u8::MAX,
            wanted => layers::temporal_for(wanted, fps, temporal_layers),
        };
        Aim { target: self.target(active), highest: self.highest(), temporal }
    }
}

/// A published track.
pub(super) struct Track {
    pub(super) owner: SessionKey,
    pub(super) peer: PeerKey,
    /// The publisher's media section; `None` until its offer has one for it.
    pub(super) mid: Option<Mid>,
    pub(super) cid: String,
    /// The others were told of it.
    pub(super) announced: bool,
    pub(super) kind: MediaKind,
    pub(super) info: TrackInfo,
    pub(super) codecs: Vec<CodecKey>,
    pub(super) stereo: bool,
    pub(super) layers: [Option<Layer>; MAX_LAYERS],
    pub(super) down: Vec<DownTrack>,
    pub(super) meter: SpeakerMeter,
    pub(super) dynacast: Dynacast,
    /// The publisher was told that somebody subscribed.
    pub(super) told_subscribed: bool,
}

impl Track {
    /// A track as a client announces it.
    pub(super) fn new(owner: SessionKey, peer: PeerKey, sid: String, request: &AddTrackRequest) -> Self {
        let kind = if request.r#type() == TrackType::Audio { MediaKind::Audio } else { MediaKind::Video };
        Self {
            owner,
            peer,
            mid: None,
            cid: request.cid.clone(),
            announced: false,
            kind,
            info: info(sid, request),
            codecs: Vec::new(),
            stereo: wants_stereo(request),
            layers: [None, None, None],
            down: Vec::new(),
            meter: SpeakerMeter::default(),
            dynacast: Dynacast::default(),
            told_subscribed: false,
        }
    }

    pub(super) fn is_video(&self) -> bool {
        self.kind == MediaKind::Video
    }

    /// How its history is bounded.
    pub(super) fn bounds(&self) -> Bounds {
        if self.is_video() { Bounds::VIDEO } else { Bounds::AUDIO }
    }

    pub(super) fn active(&self, now: Instant) -> [bool; MAX_LAYERS] {
        std::array::from_fn(|i| self.layers[i].as_ref().is_some_and(|layer| layer.is_active(now)))
    }

    pub(super) fn references(&self) -> [Option<TimeReference>; MAX_LAYERS] {
        std::array::from_fn(|i| self.layers[i].as_ref().and_then(|layer| layer.reference))
    }

    pub(super) fn down_of(&mut self, session: SessionKey) -> Option<&mut DownTrack> {
        self.down.iter_mut().find(|down| down.session == session)
    }

    /// The sizes of its layers, where the publisher says them.
    pub(super) fn sizes(&self) -> [Option<(u32, u32)>; MAX_LAYERS] {
        let mut sizes = [None; MAX_LAYERS];
        #[allow(deprecated)] // Older clients read and write them here.
        for layer in &self.info.layers {
            if let Some(index) = layers::index_of_quality(layer.quality()) {
                sizes[index] = Some((layer.width, layer.height));
            }
        }
        sizes
    }

    /// Bits a second of its layers, where the publisher says them.
    pub(super) fn declared_bps(&self) -> [Option<u64>; MAX_LAYERS] {
        let mut declared = [None; MAX_LAYERS];
        #[allow(deprecated)] // Older clients read and write them here.
        for layer in self.info.layers.iter().filter(|layer| layer.bitrate > 0) {
            if let Some(index) = layers::index_of_quality(layer.quality()) {
                declared[index] = Some(u64::from(layer.bitrate));
            }
        }
        declared
    }

    /// How many layers are watched: one above the best that a subscriber wants.
    pub(super) fn watched_layers(&self) -> usize {
        self.down.iter().filter(|down| !down.disabled).map(|down| down.wanted + 1).max().unwrap_or(0)
    }
}

/// Round trips below this are not believed when retransmissions are limited to one a round trip.
pub(super) const MIN_ROUND_TRIP: Duration = Duration::from_millis(15);
/// What is assumed before a round trip is known.
pub(super) const DEFAULT_ROUND_TRIP: Duration = Duration::from_millis(50);

/// MIME type of a codec.
pub(super) fn mime_type(codec: CodecKey) -> &'static str {
    match codec {
        CodecKey::Opus => "audio/opus",
        CodecKey::Red => "audio/red",
        CodecKey::H264 => "video/H264",
        CodecKey::Vp8 => "video/VP8",
        CodecKey::Vp9 => "video/VP9",
        CodecKey::Av1 => "video/AV1",
    }
}

/// The codec of a MIME type of picture.
pub(super) fn video_codec(mime_type: &str) -> Option<CodecKey> {
    CodecKey::VIDEO.into_iter().find(|codec| mime_type.eq_ignore_ascii_case(self::mime_type(*codec)))
}

#[allow(deprecated)] // Older clients say and read it here.
fn wants_stereo(request: &AddTrackRequest) -> bool {
    request.stereo || request.audio_features().any(|feature| feature == AudioTrackFeature::TfStereo)
}

/// Whether its encoder may stop in silence.
#[allow(deprecated)]
fn wants_dtx(request: &AddTrackRequest) -> bool {
    let off = request.audio_features().any(|feature| feature == AudioTrackFeature::TfNoDtx);
    !(request.disable_dtx || off)
}

/// Older clients read layers, stereo and simulcast at deprecated places: both are filled.
#[allow(deprecated)]
fn info(sid: String, request: &AddTrackRequest) -> TrackInfo {
    let source = request.source();
    let mut layers = request.layers.clone();
    let mut codecs: Vec<SimulcastCodecInfo> = request
        .simulcast_codecs
        .iter()
        .take(4)
        .map(|codec| SimulcastCodecInfo {
            mime_type: full_mime(&codec.codec, request.r#type()),
            cid: codec.cid.clone(),
            layers: if codec.layers.is_empty() { layers.clone() } else { codec.layers.clone() },
            video_layer_mode: codec.video_layer_mode,
            ..Default::default()
        })
        .collect();
    if layers.is_empty()
        && let Some(first) = codecs.first()
    {
        layers.clone_from(&first.layers);
    }
    layers.truncate(MAX_LAYERS);
    if request.r#type() == TrackType::Video && layers.len() == 1 {
        layers[0].quality = VideoQuality::High.into();
    }
    codecs.iter_mut().for_each(|codec| codec.layers.truncate(MAX_LAYERS));
    let stream = match (request.stream.is_empty(), source) {
        (false, _) => request.stream.clone(),
        (true, TrackSource::ScreenShare | TrackSource::ScreenShareAudio) => "screen_share".to_string(),
        (true, _) => "camera".to_string(),
    };
    TrackInfo {
        sid,
        r#type: request.r#type,
        name: request.name.clone(),
        muted: request.muted,
        width: request.width,
        height: request.height,
        simulcast: layers.len() > 1,
        disable_dtx: !wants_dtx(request),
        source: request.source,
        mime_type: codecs.first().map(|codec| codec.mime_type.clone()).unwrap_or_default(),
        layers,
        codecs,
        stereo: wants_stereo(request),
        disable_red: request.disable_red,
        encryption: request.encryption,
        stream,
        audio_features: request.audio_features.clone(),
        backup_codec_policy: request.backup_codec_policy,
        packet_trailer_features: request.packet_trailer_features.clone(),
        ..Default::default()
    }
}

fn full_mime(codec: &str, kind: TrackType) -> String {
    let kind = if kind == TrackType::Audio { "audio/" } else { "video/" };
    if codec.is_empty() || codec.contains('/') { codec.to_string() } else { format!("{kind}{codec}") }
}
