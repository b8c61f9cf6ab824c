//! One participant: LiveKit's messages with two connections, media by `str0m`.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use livekit_protocol::{
    AddTrackRequest, SessionDescription, SimulcastCodec, StreamState, TrackSource, TrackType,
    UpdateTrackSettings, VideoLayer, VideoQuality, signal_request::Message as Request,
    signal_response::Message as Response,
};
use rostrum_channel::sfu::{SessionKey, command::ToSocket};
use str0m::{
    Candidate, Event, Input, Output, Rtc,
    change::{SdpAnswer, SdpOffer, SdpPendingOffer},
    media::{Direction, KeyframeRequestKind, MediaKind, Mid, Pt, Simulcast, SimulcastLayer},
    net::{Protocol, Receive},
    rtp::{ExtensionValues, RtpWrite},
};
use tokio::sync::mpsc;

use super::{
    link::Link,
    media::{LAYERS, Packet, Source, Stamp},
};

/// A hole in the numbers that is not repaired within this time makes the decoder ask for a key frame.
const PATIENCE: Duration = Duration::from_millis(250);

/// A connection and its address.
pub(crate) struct Connection {
    pub(crate) rtc: Rtc,
    pub(crate) address: SocketAddr,
    pub(crate) due: Instant,
}

impl Connection {
    fn new(now: Instant, address: SocketAddr) -> Self {
        let mut rtc = Rtc::builder()
            .set_crypto_provider(Arc::new(str0m_rust_crypto::default_provider()))
            .clear_codecs()
            .enable_opus(true, false)
            .enable_h264(true)
            .set_rtp_mode(true)
            .build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        Self { rtc, address, due: now }
    }

    pub(crate) fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Ok(receive) = Receive::new(Protocol::Udp, from, self.address, datagram) else { return };
        // What comes for a connection that is ending is its own affair.
        let _ = self.rtc.handle_input(Input::Receive(now, receive));
    }

    fn payload_type(&self, mid: Mid) -> Option<Pt> {
        let agreed = self.rtc.media(mid)?.remote_pts();
        let fits = |params: &str0m::format::PayloadParams| {
            let mode = params.spec().format.packetization_mode;
            agreed.contains(&params.pt()) && (params.spec().codec.is_audio() || mode == Some(1))
        };
        self.rtc.codec_config().find(fits).map(str0m::format::PayloadParams::pt)
    }
}

/// A whole frame, or a packet of sound, as it came out at a subscriber.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) at: Instant,
    pub(crate) stamp: Stamp,
    pub(crate) timestamp: u32,
    /// From sending to showing.
    pub(crate) delay: Duration,
}

/// Puts packets of one stream in order, as a decoder needs them.
#[derive(Default)]
struct Decoder {
    waiting: BTreeMap<u64, (Stamp, u32)>,
    next: Option<u64>,
    hole_since: Option<Instant>,
    /// Holes that repair did not fill in time.
    holes: u32,
}

/// One participant.
pub(crate) struct Client {
    pub(crate) key: SessionKey,
    inbox: mpsc::Receiver<ToSocket>,
    /// What it wants to say.
    pub(crate) outbox: Vec<Request>,
    pub(crate) publishing: Connection,
    pub(crate) subscribing: Connection,
    pub(crate) up: Link,
    pub(crate) down: Link,
    pending: Option<SdpPendingOffer>,
    mids: Option<(Mid, Mid)>,
    pub(crate) source: Option<Source>,
    /// Sids of others' cameras, by user.
    pub(crate) cameras: BTreeMap<String, String>,
    decoders: BTreeMap<u32, Decoder>,
    pub(crate) shown: Vec<Shown>,
    pub(crate) heard: Vec<Shown>,
    pub(crate) states: Vec<(Instant, String, StreamState)>,
    /// Qualities that the service asked to be sent.
    pub(crate) watched: [bool; 3],
}

impl Client {
    pub(crate) fn new(
        number: u8,
        now: Instant,
        key: SessionKey,
        inbox: mpsc::Receiver<ToSocket>,
        publishes: bool,
    ) -> Self {
        let address = |port: u16| SocketAddr::from(([192, 0, 2, 10 + number], port));
        let mut client = Self {
            key,
            inbox,
            outbox: Vec::new(),
            publishing: Connection::new(now, address(1000)),
            subscribing: Connection::new(now, address(2000)),
            up: Link::wide(),
            down: Link::wide(),
            pending: None,
            mids: None,
            source: None,
            cameras: BTreeMap::new(),
            decoders: BTreeMap::new(),
            shown: Vec::new(),
            heard: Vec::new(),
            states: Vec::new(),
            watched: [true; 3],
        };
        if publishes {
            client.announce();
        }
        client
    }

    fn announce(&mut self) {
        let layers: Vec<_> = [VideoQuality::Low, VideoQuality::Medium, VideoQuality::High]
            .into_iter()
            .zip(LAYERS)
            .map(|(quality, (rid, (width, height), bps))| VideoLayer {
                quality: quality.into(),
                width,
                height,
                bitrate: bps as u32,
                rid: rid.into(),
                ..Default::default()
            })
            .collect();
        self.outbox.push(Request::AddTrack(AddTrackRequest {
            cid: "voice".into(),
            r#type: TrackType::Audio.into(),
            source: TrackSource::Microphone.into(),
            disable_red: true,
            ..Default::default()
        }));
        self.outbox.push(Request::AddTrack(AddTrackRequest {
            cid: "camera".into(),
            r#type: TrackType::Video.into(),
            source: TrackSource::Camera.into(),
            width: 1280,
            height: 720,
            layers: layers.clone(),
            simulcast_codecs: vec![SimulcastCodec {
                codec: "h264".into(),
                cid: "camera".into(),
                layers,
                ..Default::default()
            }],
            ..Default::default()
        }));
        let mut simulcast = Simulcast::new();
        LAYERS.iter().for_each(|(rid, ..)| simulcast.add_send_layer(SimulcastLayer::new(rid)));
        let mut api = self.publishing.rtc.sdp_api();
        let stream = Some("stream".to_owned());
        let send = Direction::SendOnly;
        let audio = api.add_media(MediaKind::Audio, send, stream.clone(), Some("voice".into()), None);
        let video = api.add_media(MediaKind::Video, send, stream, Some("camera".into()), Some(simulcast));
        let (offer, pending) = api.apply().unwrap();
        self.mids = Some((audio, video));
        self.pending = Some(pending);
        self.outbox.push(Request::Offer(SessionDescription {
            r#type: "offer".into(),
            sdp: offer.to_sdp_string(),
            ..Default::default()
        }));
    }

    /// Shows everybody at a size; 0 is nothing at all.
    pub(crate) fn show(&mut self, user: &str, width: u32, height: u32) {
        self.outbox.push(Request::TrackSetting(UpdateTrackSettings {
            track_sids: vec![self.cameras[user].clone()],
            disabled: width == 0,
            quality: VideoQuality::High.into(),
            width,
            height,
            ..Default::default()
        }));
    }

    /// Takes the service's messages.
    pub(crate) fn read(&mut self, now: Instant) {
        while let Ok(ToSocket::Message(message)) = self.inbox.try_recv() {
            match message.message.unwrap() {
                Response::Join(join) => self.note_cameras(&join.other_participants),
                Response::Update(update) => self.note_cameras(&update.participants),
                Response::Answer(answer) => {
                    let answer = SdpAnswer::from_sdp_string(&answer.sdp).unwrap();
                    let pending = self.pending.take().unwrap();
                    self.publishing.rtc.sdp_api().accept_answer(pending, answer).unwrap();
                }
                Response::Offer(offer) => {
                    let described = SdpOffer::from_sdp_string(&offer.sdp).unwrap();
                    let answer = self.subscribing.rtc.sdp_api().accept_offer(described).unwrap();
                    self.outbox.push(Request::Answer(SessionDescription {
                        r#type: "answer".into(),
                        sdp: answer.to_sdp_string(),
                        id: offer.id,
                        ..Default::default()
                    }));
                }
                Response::StreamStateUpdate(update) => {
                    for state in update.stream_states {
                        self.states.push((now, state.track_sid.clone(), state.state()));
                    }
                }
                Response::SubscribedQualityUpdate(update) => {
                    for codec in &update.subscribed_codecs {
                        for quality in &codec.qualities {
                            self.watched[quality.quality() as usize] = quality.enabled;
                        }
                    }
                    if let Some(source) = &mut self.source {
                        for layer in 0..3 {
                            source.key_wanted[layer] |= self.watched[layer] && !source.enabled[layer];
                        }
                        source.enabled = self.watched;
                    }
                }
                _ => {}
            }
        }
    }

    fn note_cameras(&mut self, participants: &[livekit_protocol::ParticipantInfo]) {
        for participant in participants {
            for track in participant.tracks.iter().filter(|track| track.r#type() == TrackType::Video) {
                self.cameras.insert(participant.identity.clone(), track.sid.clone());
            }
        }
    }

    /// Sends media that is due.
    pub(crate) fn produce(&mut self, number: u8, now: Instant, began: Instant) {
        let Some((audio, video)) = self.mids.filter(|_| self.publishing.rtc.is_connected()) else { return };
        let source = self.source.get_or_insert_with(|| Source::new(number, now));
        let (pictures, sounds) = source.take(now, began);
        for (mid, packets) in [(video, pictures), (audio, sounds)] {
            let pt = self.publishing.payload_type(mid).unwrap();
            for Packet { rid, number, timestamp, marker, payload } in packets {
                let extensions = ExtensionValues { audio_level: Some(-30), ..Default::default() };
                let mut api = self.publishing.rtc.direct_api();
                let Some(out) = api.stream_tx_by_mid(mid, rid) else { continue };
                out.write_rtp(
                    RtpWrite::new(pt, number.into(), timestamp, now, payload)
                        .marker(marker)
                        .ext_vals(extensions)
                        .nackable(rid.is_some()),
                );
            }
        }
        self.publishing.due = now;
    }

    /// What the connections have to say. Datagrams go to `send`, with the address that they come from.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        began: Instant,
        mut send: impl FnMut(&mut Link, SocketAddr, Vec<u8>),
    ) {
        for publishing in [true, false] {
            loop {
                let connection = if publishing { &mut self.publishing } else { &mut self.subscribing };
                let Ok(output) = connection.rtc.poll_output() else {
                    connection.due = now + Duration::from_secs(3600);
                    break;
                };
                match output {
                    Output::Timeout(at) => {
                        connection.due = at.max(now + Duration::from_micros(200));
                        break;
                    }
                    Output::Transmit(transmit) => {
                        send(&mut self.up, connection.address, transmit.contents.to_vec());
                    }
                    Output::Event(Event::KeyframeRequest(request)) => {
                        if let Some(source) = &mut self.source {
                            for (layer, (rid, ..)) in LAYERS.iter().enumerate() {
                                source.key_wanted[layer] |= request.rid.is_none_or(|asked| &*asked == *rid);
                            }
                        }
                    }
                    Output::Event(Event::RtpPacket(packet)) => {
                        let Some(stamp) = Stamp::read(&packet.payload) else { continue };
                        let ssrc = *packet.header.ssrc;
                        self.take(now, began, ssrc, *packet.seq_no, packet.time.numer() as u32, stamp);
                    }
                    Output::Event(_) => {}
                }
            }
        }
        self.complain(now);
    }

    fn take(&mut self, now: Instant, began: Instant, ssrc: u32, seq: u64, timestamp: u32, stamp: Stamp) {
        let shown = |at: Instant, stamp: Stamp, timestamp: u32| Shown {
            at,
            stamp,
            timestamp,
            delay: (at - began).saturating_sub(Duration::from_micros(stamp.sent_us)),
        };
        if stamp.layer == 9 {
            self.heard.push(shown(now, stamp, timestamp));
            return;
        }
        let decoder = self.decoders.entry(ssrc).or_default();
        decoder.waiting.insert(seq, (stamp, timestamp));
        let mut next = *decoder.next.get_or_insert(seq);
        while let Some((stamp, timestamp)) = decoder.waiting.remove(&next) {
            next += 1;
            if stamp.last {
                self.shown.push(shown(now, stamp, timestamp));
            }
        }
        decoder.next = Some(next);
        decoder.waiting = decoder.waiting.split_off(&next);
        decoder.hole_since = if decoder.waiting.is_empty() { None } else { decoder.hole_since.or(Some(now)) };
    }

    /// Goes on after holes that are not repaired: with the next key frame.
    fn complain(&mut self, now: Instant) {
        for (ssrc, decoder) in &mut self.decoders {
            if decoder.hole_since.is_none_or(|since| now - since < PATIENCE) {
                continue;
            }
            decoder.hole_since = Some(now);
            let start = decoder.waiting.iter().scan(None, |before: &mut Option<u32>, (seq, (stamp, _))| {
                let begins = before.replace(stamp.frame) != Some(stamp.frame);
                Some((*seq, begins && stamp.key))
            });
            match start.filter(|(_, start)| *start).last() {
                Some((seq, _)) => decoder.next = Some(seq),
                None => {
                    decoder.holes += 1;
                    if let Some(stream) = self.subscribing.rtc.direct_api().stream_rx(&(*ssrc).into()) {
                        stream.request_keyframe(KeyframeRequestKind::Pli);
                    }
                }
            }
        }
    }

    /// Frames of a publisher since a moment.
    pub(crate) fn frames_of(&self, publisher: u8, since: Instant) -> Vec<Shown> {
        let of = |shown: &&Shown| shown.stamp.publisher == publisher && shown.at >= since;
        self.shown.iter().filter(of).copied().collect()
    }
}
