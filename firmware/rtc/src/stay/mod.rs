//! One stay in a channel without I/O: messages, datagrams, media and time go in; messages, datagrams, media and
//! events come out.

mod layers;
mod people;
mod publish;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use livekit_protocol::{
    self as proto, signal_request::Message as Request, signal_response::Message as Response,
};
use prost::Message as _;
use rand::{Rng, SeedableRng as _, rngs::StdRng};

use self::{people::People, publish::Publisher};
use crate::{
    AudioPlan, Event, LeaveReason, Media, RtcError, Statistics, TrackKind, VideoPlan,
    clock::Clock,
    peer::{Certificate, Peer, PeerEvent, Transmit},
    receive::Receiver,
    sdp::{self, Description, LocalSection, MediaKind, SectionKind},
    signal::{Door, Hello},
    terminal::{Control, Outgoing},
};

/// Labels of LiveKit's data channels.
const RELIABLE: &str = "_reliable";
const LOSSY: &str = "_lossy";
/// Room for tracks of others in the first offer of a single connection; the service asks for more.
const FIRST_SECTIONS: usize = 3;
/// Sections of one description; a stay that needs more begins anew.
const MAX_SECTIONS: usize = 96;
/// Largest message to send.
const MAX_DATA: usize = 60_000;
/// Messages that wait for their channel to open.
const MAX_WAITING: usize = 64;
/// Interval of [`Event::Statistics`].
const STATISTICS: Duration = Duration::from_secs(2);
/// Time from the beginning to the first media.
const SET_UP: Duration = Duration::from_secs(12);
/// Round trip before the first measurement.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// Which connection. With one connection, everything is on [`Link::Publisher`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Ours to the service.
    Publisher,
    /// The service's to us.
    Subscriber,
}

/// How a stay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// For good.
    Left(LeaveReason),
    /// Join again. `service` says that the service itself went or asked for it.
    Lost { reason: String, service: bool },
}

/// What a stay needs to begin.
pub(crate) struct StayOptions {
    pub(crate) door: Door,
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) clock: Clock,
    /// Local addresses of each connection.
    pub(crate) publisher_addresses: Vec<SocketAddr>,
    pub(crate) subscriber_addresses: Vec<SocketAddr>,
    pub(crate) udid: String,
    pub(crate) display_name: String,
    pub(crate) video: Option<VideoPlan>,
    pub(crate) audio: Option<AudioPlan>,
    pub(crate) muted: [bool; 2],
    pub(crate) auto_subscribe: bool,
    pub(crate) seed: u64,
}

/// A stay in a channel.
pub(crate) struct Stay {
    options: StayOptions,
    random: StdRng,
    began: Instant,
    sections: Vec<LocalSection>,
    publisher: Peer,
    subscriber: Option<Peer>,
    receivers: [Receiver; 2],
    publish: Publisher,
    people: People,
    offer_id: u32,
    /// An offer is out, and another is needed after its answer.
    offered: bool,
    offer_again: bool,
    joined: bool,
    media_up: bool,
    /// The picture was taken out of the channel.
    video_off: bool,
    waiting: VecDeque<(Bytes, bool)>,
    requests: VecDeque<Request>,
    events: Vec<Event>,
    outcome: Option<Outcome>,
    refreshed_token: Option<String>,
    ping: Ping,
    next_statistics: Instant,
    counted: (u64, u64),
    dropped: u64,
}

#[derive(Debug)]
struct Ping {
    interval: Duration,
    timeout: Duration,
    next: Option<Instant>,
    heard: Instant,
    round_trip_ms: i64,
}

impl Stay {
    /// Prepares a stay; [`Stay::hello`] then says what to open.
    pub(crate) fn new(now: Instant, options: StayOptions) -> Result<Self, RtcError> {
        let mut random = StdRng::seed_from_u64(options.seed);
        let make = |addresses: &[SocketAddr], random: &mut StdRng| {
            Peer::new(now, addresses, options.certificate.clone(), random.random())
        };
        let mut publisher = make(&options.publisher_addresses, &mut random)?;
        let subscriber = match options.door {
            Door::One => None,
            Door::Two => Some(make(&options.subscriber_addresses, &mut random)?),
        };
        publisher.open_channel(RELIABLE, true);
        publisher.open_channel(LOSSY, false);
        let receivers = [(); 2].map(|()| Receiver::new(now, random.random(), options.clock));
        let mut publish = Publisher::new(now, options.muted);
        let mut sections = Vec::new();
        let mut mid = |kind: SectionKind| {
            let mid = sections.len().to_string();
            sections.push(LocalSection { mid: mid.clone(), kind });
            mid
        };
        if let Some(plan) = options.audio {
            let mid = mid(SectionKind::Stopped(MediaKind::Audio));
            publish.add_audio(plan, &mid, &mut random);
        }
        if let Some(plan) = options.video.as_ref().filter(|plan| !plan.layers.is_empty()) {
            let mid = mid(SectionKind::Stopped(MediaKind::Video));
            publish.add_video(plan, &mid, &mut random);
        }
        mid(SectionKind::Data);
        if options.door == Door::One {
            for kind in [MediaKind::Audio, MediaKind::Video] {
                for _ in 0..FIRST_SECTIONS {
                    mid(SectionKind::Receive(kind));
                }
            }
        }
        let people = People::new(options.auto_subscribe);
        Ok(Self {
            options,
            random,
            began: now,
            sections,
            publisher,
            subscriber,
            receivers,
            publish,
            people,
            offer_id: 0,
            offered: false,
            offer_again: false,
            joined: false,
            media_up: false,
            video_off: false,
            waiting: VecDeque::new(),
            requests: VecDeque::new(),
            events: Vec::new(),
            outcome: None,
            refreshed_token: None,
            ping: Ping {
                interval: Duration::from_secs(5),
                timeout: Duration::from_secs(15),
                next: None,
                heard: now,
                round_trip_ms: 0,
            },
            next_statistics: now + STATISTICS,
            counted: (0, 0),
            dropped: 0,
        })
    }

    /// What to say at the door.
    pub(crate) fn hello(&mut self) -> Hello {
        let udid = &self.options.udid;
        let attributes = (!udid.is_empty()).then(|| ("udid".to_owned(), udid.clone()));
        let mut hello = Hello {
            auto_subscribe: self.options.auto_subscribe,
            attributes: attributes.into_iter().collect(),
            ..Default::default()
        };
        if self.options.door == Door::One {
            hello.tracks = self.publish.announcements();
            hello.offer = Some(self.make_offer());
        }
        hello
    }

    fn make_offer(&mut self) -> proto::SessionDescription {
        for section in &mut self.sections {
            if let Some(kind) = self.publish.section(&section.mid) {
                section.kind = kind;
            } else if let SectionKind::SendVideo { .. } = section.kind {
                section.kind = SectionKind::Stopped(MediaKind::Video);
            }
        }
        self.offer_id += 1;
        self.offered = true;
        self.offer_again = false;
        proto::SessionDescription {
            r#type: "offer".to_owned(),
            sdp: sdp::offer(&self.publisher.transport(), &self.sections),
            id: self.offer_id,
            ..Default::default()
        }
    }

    /// Describes what changed, now or after the answer to an earlier offer.
    fn negotiate(&mut self) {
        if self.offered {
            self.offer_again = true;
        } else {
            let offer = self.make_offer();
            self.requests.push_back(Request::Offer(offer));
        }
    }

    /// A message of the service.
    pub(crate) fn handle_signal(&mut self, now: Instant, message: Response) {
        self.ping.heard = now;
        match message {
            Response::Join(join) => self.handle_join(now, join),
            Response::Answer(answer) => self.handle_answer(now, &answer),
            Response::Offer(offer) => self.handle_offer(now, &offer),
            Response::Trickle(trickle) => self.handle_trickle(now, &trickle),
            Response::Update(update) => self.people.update(update, &mut self.events),
            Response::TrackPublished(response) => {
                if let Some(mute) = self.publish.published(&response) {
                    self.requests.push_back(Request::Mute(mute));
                }
            }
            Response::Leave(leave) => self.handle_leave(&leave),
            Response::Mute(mute) => {
                if let Some(kind) = self.publish.muted_by_service(&mute) {
                    self.options.muted[usize::from(kind == TrackKind::Video)] = mute.muted;
                    self.events.push(Event::MutedByService { kind, muted: mute.muted });
                }
            }
            Response::SpeakersChanged(changed) => self.people.speakers(changed, &mut self.events),
            Response::ConnectionQuality(update) => self.people.qualities(update, &mut self.events),
            Response::SubscribedQualityUpdate(update) => {
                if let Some(wanted) = self.publish.watched(&update) {
                    self.events.push(Event::LayersWanted(wanted));
                }
            }
            Response::RefreshToken(token) => self.refreshed_token = Some(token),
            Response::PongResp(pong) => {
                self.ping.round_trip_ms =
                    (self.options.clock.wall_ms(now) - pong.last_ping_timestamp).clamp(0, 60_000);
            }
            Response::MediaSectionsRequirement(needed) => {
                self.add_sections(MediaKind::Audio, needed.num_audios);
                self.add_sections(MediaKind::Video, needed.num_videos);
                self.negotiate();
            }
            // Of no consequence for a terminal, or answers to what we never ask.
            _ => {}
        }
    }

    fn add_sections(&mut self, kind: MediaKind, count: u32) {
        for _ in 0..count {
            if self.sections.len() >= MAX_SECTIONS {
                return;
            }
            let mid = self.sections.len().to_string();
            self.sections.push(LocalSection { mid, kind: SectionKind::Receive(kind) });
        }
    }

    fn handle_join(&mut self, now: Instant, join: proto::JoinResponse) {
        if self.joined {
            return;
        }
        self.joined = true;
        if join.ping_interval > 0 {
            self.ping.interval = Duration::from_secs(join.ping_interval.clamp(1, 60).unsigned_abs().into());
        }
        if join.ping_timeout > 0 {
            self.ping.timeout = Duration::from_secs(join.ping_timeout.clamp(2, 120).unsigned_abs().into());
        }
        self.ping.next = Some(now + self.ping.interval);
        let me = join.participant.unwrap_or_default();
        let channel = join.room.map(|room| room.name).unwrap_or_default();
        let name_differs = !self.options.display_name.is_empty() && self.options.display_name != me.name;
        if name_differs {
            let name = self.options.display_name.clone();
            self.requests.push_back(metadata(name, HashMap::new()));
        }
        let (me, participants) = self.people.joined(&me, join.other_participants);
        self.events.push(Event::Joined { channel, me, participants });
        self.people.announce(&mut self.events);
        if self.options.door == Door::Two {
            for track in self.publish.announcements() {
                self.requests.push_back(Request::AddTrack(track));
            }
            self.negotiate();
        }
    }

    fn handle_answer(&mut self, now: Instant, answer: &proto::SessionDescription) {
        // An answer to an older offer says nothing about the newest; 0 is of services that do not count.
        if !self.offered || (answer.id != 0 && answer.id != self.offer_id) {
            return;
        }
        self.offered = false;
        let result = Description::parse(&answer.sdp).map_err(RtcError::from).and_then(|description| {
            self.publisher.set_remote(now, &description, true)?;
            self.publish.set_answer(&description, &mut self.random);
            if self.options.door == Door::One {
                self.receivers[0].set_sections(&description, &answer.mid_to_track_id);
            }
            Ok(())
        });
        if let Err(error) = result {
            self.end(Outcome::Lost { reason: error.to_string(), service: false });
        } else if self.offer_again {
            self.negotiate();
        }
    }

    fn handle_offer(&mut self, now: Instant, offer: &proto::SessionDescription) {
        let Some(peer) = &mut self.subscriber else { return };
        let result = Description::parse(&offer.sdp).map_err(RtcError::from).and_then(|description| {
            peer.set_remote(now, &description, false)?;
            self.receivers[1].set_sections(&description, &offer.mid_to_track_id);
            Ok(sdp::answer(&peer.transport(), &description))
        });
        match result {
            Ok(sdp) => self.requests.push_back(Request::Answer(proto::SessionDescription {
                r#type: "answer".to_owned(),
                sdp,
                id: offer.id,
                ..Default::default()
            })),
            Err(error) => self.end(Outcome::Lost { reason: error.to_string(), service: false }),
        }
    }

    fn handle_trickle(&mut self, now: Instant, trickle: &proto::TrickleRequest) {
        let Ok(json) = serde_json::from_str::<serde_json::Value>(&trickle.candidate_init) else { return };
        let Some(candidate) = json.get("candidate").and_then(|c| c.as_str()) else { return };
        let peer = match (trickle.target(), &mut self.subscriber) {
            (proto::SignalTarget::Subscriber, Some(subscriber)) => subscriber,
            _ => &mut self.publisher,
        };
        if !candidate.is_empty() {
            peer.add_remote_candidate(now, candidate);
        }
    }

    fn handle_leave(&mut self, leave: &proto::LeaveRequest) {
        use proto::{DisconnectReason as Reason, leave_request::Action};
        let again = leave.action() != Action::Disconnect || leave.can_reconnect;
        let left = match leave.reason() {
            Reason::DuplicateIdentity => Some(LeaveReason::DuplicateIdentity),
            Reason::ParticipantRemoved => Some(LeaveReason::Removed),
            Reason::RoomDeleted | Reason::RoomClosed if !again => Some(LeaveReason::ChannelClosed),
            _ => None,
        };
        self.end(match left {
            Some(reason) => Outcome::Left(reason),
            None => {
                let reason = match leave.reason() {
                    Reason::ServerShutdown => "the service is being restarted".to_owned(),
                    Reason::UnknownReason => "the service asked to join again".to_owned(),
                    other => format!("the service ended the stay ({})", other.as_str_name()),
                };
                Outcome::Lost { reason, service: true }
            }
        });
    }

    /// A datagram arrived on a connection.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        link: Link,
        to: SocketAddr,
        from: SocketAddr,
        bytes: BytesMut,
    ) {
        match (link, &mut self.subscriber) {
            (Link::Publisher, _) => self.publisher.handle_datagram(now, to, from, bytes),
            (Link::Subscriber, Some(peer)) => peer.handle_datagram(now, to, from, bytes),
            (Link::Subscriber, None) => return,
        }
        self.collect(now, link);
    }

    /// Takes what a connection has to say.
    fn collect(&mut self, now: Instant, link: Link) {
        loop {
            let event = match link {
                Link::Publisher => self.publisher.poll_event(),
                Link::Subscriber => self.subscriber.as_mut().and_then(Peer::poll_event),
            };
            let Some(event) = event else { return };
            let receiver = &mut self.receivers[usize::from(link == Link::Subscriber)];
            match event {
                PeerEvent::Connected if link == Link::Publisher => {
                    self.media_up = true;
                    self.publish.connected();
                    self.events.push(Event::MediaUp);
                }
                PeerEvent::Connected => {}
                PeerEvent::Failed(reason) => {
                    self.end(Outcome::Lost { reason: reason.to_owned(), service: false });
                }
                PeerEvent::Rtp(packet) => receiver.handle_rtp(now, packet),
                PeerEvent::Rtcp(packets) => {
                    let round_trip = self.publisher.round_trip(now).unwrap_or(ROUND_TRIP);
                    for packet in packets {
                        receiver.handle_rtcp(now, &*packet);
                        if link == Link::Publisher {
                            self.publish.handle_rtcp(now, &mut self.publisher, &*packet, round_trip);
                        }
                    }
                }
                PeerEvent::Data(bytes) => self.handle_data(&bytes),
            }
        }
    }

    fn handle_data(&mut self, bytes: &Bytes) {
        let Ok(packet) = proto::DataPacket::decode(&bytes[..]) else { return };
        if let Some(proto::data_packet::Value::User(user)) = packet.value {
            #[allow(deprecated)]
            let sender = if packet.participant_identity.is_empty() {
                user.participant_identity
            } else {
                packet.participant_identity
            };
            let topic = user.topic.unwrap_or_default();
            self.events.push(Event::Data { user: sender, topic, bytes: user.payload.into() });
        }
    }

    /// The owner asks for something.
    pub(crate) fn handle_control(&mut self, now: Instant, control: Control) {
        match control {
            Control::SetMuted { kind, muted } => {
                self.options.muted[usize::from(kind == TrackKind::Video)] = muted;
                let muted = muted || (kind == TrackKind::Video && self.video_off);
                self.mute(kind, muted);
            }
            Control::SetVideoPlan(plan) => self.set_video_plan(plan),
            Control::RequestKeyFrame(track) => {
                self.receivers.iter_mut().for_each(|r| r.request_key_frame(&track));
                self.handle_timeout(now);
            }
            Control::SetSeat(track, size) => {
                let (width, height) = size.unwrap_or_default();
                self.requests.push_back(Request::TrackSetting(proto::UpdateTrackSettings {
                    track_sids: vec![track.as_str().to_owned()],
                    disabled: size.is_none(),
                    quality: proto::VideoQuality::High as i32,
                    width,
                    height,
                    ..Default::default()
                }));
            }
            Control::SetName(name) => self.requests.push_back(metadata(name, HashMap::new())),
            Control::SetAttributes(attributes) => {
                self.requests.push_back(metadata(String::new(), attributes.into_iter().collect()));
            }
            Control::SendData { bytes, topic, reliable, to } => {
                self.send_data(now, &bytes, topic, reliable, to)
            }
            Control::Leave(_) => {
                self.requests.push_back(Request::Leave(proto::LeaveRequest {
                    reason: proto::DisconnectReason::ClientInitiated as i32,
                    action: proto::leave_request::Action::Disconnect as i32,
                    ..Default::default()
                }));
                self.publisher.close(now);
                if let Some(peer) = &mut self.subscriber {
                    peer.close(now);
                }
                self.end(Outcome::Left(LeaveReason::Asked));
            }
        }
    }

    fn mute(&mut self, kind: TrackKind, muted: bool) {
        if let Some(mute) = self.publish.set_muted(kind, muted) {
            self.requests.push_back(Request::Mute(mute));
        }
    }

    fn set_video_plan(&mut self, plan: Option<VideoPlan>) {
        let plan = plan.filter(|plan| !plan.layers.is_empty());
        self.options.video.clone_from(&plan);
        let Some(plan) = plan else {
            self.video_off = true;
            self.mute(TrackKind::Video, true);
            return;
        };
        if let Some(video) = self.publish.video().filter(|video| video.fits(&plan)) {
            video.replan(&plan);
            let (width, height) = video.size();
            if let Some(track_sid) = video.sid.clone() {
                let track = proto::UpdateLocalVideoTrack { track_sid, width, height };
                self.requests.push_back(Request::UpdateVideoTrack(track));
            }
        } else if self.sections.len() >= MAX_SECTIONS {
            let reason = "the camera's layers changed too often".to_owned();
            self.end(Outcome::Lost { reason, service: false });
        } else {
            // Layers cannot come and go within a section: another one takes over.
            let mid = self.sections.len().to_string();
            let kind = SectionKind::Stopped(MediaKind::Video);
            self.sections.push(LocalSection { mid: mid.clone(), kind });
            self.publish.add_video(&plan, &mid, &mut self.random);
            if let Some(track) = self.publish.video_announcement().filter(|_| self.joined) {
                self.requests.push_back(Request::AddTrack(track));
                self.negotiate();
            }
        }
        if std::mem::take(&mut self.video_off) {
            self.mute(TrackKind::Video, self.options.muted[1]);
        }
    }

    fn send_data(&mut self, now: Instant, bytes: &Bytes, topic: String, reliable: bool, to: Vec<String>) {
        if bytes.len() > MAX_DATA {
            log::warn!(bytes = bytes.len(); "a data message is too long and was dropped");
            return;
        }
        let kind =
            if reliable { proto::data_packet::Kind::Reliable } else { proto::data_packet::Kind::Lossy };
        #[allow(deprecated)]
        let packet = proto::DataPacket {
            kind: kind as i32,
            destination_identities: to.clone(),
            value: Some(proto::data_packet::Value::User(proto::UserPacket {
                payload: bytes.to_vec(),
                topic: (!topic.is_empty()).then_some(topic),
                destination_identities: to,
                ..Default::default()
            })),
            ..Default::default()
        };
        let bytes: Bytes = packet.encode_to_vec().into();
        if !self.publisher.send_data(now, if reliable { RELIABLE } else { LOSSY }, &bytes)
            && reliable
            && self.waiting.len() < MAX_WAITING
        {
            self.waiting.push_back((bytes, reliable));
        }
    }

    /// Media of the owner.
    pub(crate) fn handle_media(&mut self, now: Instant, media: Outgoing) {
        if !self.media_up {
            return;
        }
        match media {
            Outgoing::Video { rid, data, capture_time, key_frame } => {
                self.publish.send_video(now, &mut self.publisher, rid, &data, capture_time, key_frame);
            }
            Outgoing::Audio { opus, capture_time, samples, level_dbov } => {
                self.publish.send_audio(now, &mut self.publisher, opus, capture_time, samples, level_dbov);
            }
        }
    }

    /// Messages to the terminal were dropped because its queue was full.
    pub(crate) fn dropped(&mut self, count: u64) {
        self.dropped += count;
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.publisher.handle_timeout(now);
        self.collect(now, Link::Publisher);
        if let Some(peer) = &mut self.subscriber {
            peer.handle_timeout(now);
            self.collect(now, Link::Subscriber);
        }
        let round_trip = self.publisher.round_trip(now).unwrap_or(ROUND_TRIP);
        if self.media_up {
            self.publish.handle_timeout(now, &mut self.publisher, &self.options.clock, &mut self.events);
        }
        for (i, receiver) in self.receivers.iter_mut().enumerate() {
            receiver.handle_timeout(now);
            let reports = receiver.poll_rtcp(now, round_trip);
            match &mut self.subscriber {
                Some(peer) if i == 1 => peer.send_rtcp(&reports),
                _ => self.publisher.send_rtcp(&reports),
            }
        }
        while let Some((bytes, _)) = self.waiting.front() {
            if !self.publisher.send_data(now, RELIABLE, bytes) {
                break;
            }
            self.waiting.pop_front();
        }
        if !self.media_up && now.duration_since(self.began) > SET_UP {
            let reason = "the service let us in, but media found no way".to_owned();
            self.end(Outcome::Lost { reason, service: false });
        }
        self.handle_ping(now);
        if now >= self.next_statistics && self.media_up {
            self.next_statistics = now + STATISTICS;
            self.tell_statistics(now);
        }
    }

    fn handle_ping(&mut self, now: Instant) {
        if self.ping.next.is_some_and(|at| now >= at) {
            self.ping.next = Some(now + self.ping.interval);
            let ping =
                proto::Ping { timestamp: self.options.clock.wall_ms(now), rtt: self.ping.round_trip_ms };
            self.requests.push_back(Request::PingReq(ping));
            if now.duration_since(self.ping.heard) > self.ping.timeout {
                self.end(Outcome::Lost { reason: "the service says nothing".to_owned(), service: false });
            }
        }
    }

    fn tell_statistics(&mut self, now: Instant) {
        let (sent, retransmitted, send_loss, estimate_bps) = self.publish.statistics(now);
        let totals = self.receivers.each_ref().map(Receiver::totals);
        let sum = |get: fn(&crate::receive::Totals) -> u64| totals.iter().map(get).sum::<u64>();
        let (received, expected, lost) = (sum(|t| t.bits), sum(|t| t.expected), sum(|t| t.lost));
        let (sent_before, received_before) = std::mem::replace(&mut self.counted, (sent, received));
        let seconds = STATISTICS.as_secs();
        self.events.push(Event::Statistics(Statistics {
            round_trip: self.publisher.round_trip(now),
            send_loss,
            receive_loss: if expected == 0 { 0.0 } else { lost as f32 / expected as f32 },
            send_bps: sent.saturating_sub(sent_before) / seconds,
            receive_bps: received.saturating_sub(received_before) / seconds,
            estimate_bps,
            retransmitted,
            repaired: sum(|t| t.repaired),
            frames_skipped: sum(|t| t.skipped),
            key_frames_requested: sum(|t| t.key_frames_requested),
            dropped: self.dropped,
        }));
    }

    /// When [`Stay::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&mut self, now: Instant) -> Instant {
        let round_trip = self.publisher.round_trip(now).unwrap_or(ROUND_TRIP);
        let mut next = self.next_statistics.min(now + STATISTICS);
        let publish = if self.media_up { self.publish.poll_timeout() } else { Some(self.began + SET_UP) };
        let subscriber = self.subscriber.as_mut().and_then(Peer::poll_timeout);
        let others = [self.publisher.poll_timeout(), subscriber, publish, self.ping.next];
        let receivers = self.receivers.iter().map(|r| r.poll_timeout(now, round_trip));
        for at in others.into_iter().chain(receivers).flatten() {
            next = next.min(at);
        }
        next
    }

    /// The next datagram to send.
    pub(crate) fn poll_transmit(&mut self) -> Option<(Link, Transmit)> {
        if let Some(transmit) = self.publisher.poll_transmit() {
            return Some((Link::Publisher, transmit));
        }
        Some((Link::Subscriber, self.subscriber.as_mut()?.poll_transmit()?))
    }

    /// The next message to send.
    pub(crate) fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// What happened since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The next frame or packet received.
    pub(crate) fn poll_media(&mut self) -> Option<Media> {
        self.receivers.iter_mut().find_map(Receiver::poll_media)
    }

    /// Takes a message that comes after the end; what it says about the end, if it does.
    pub(crate) fn last_word(&mut self, now: Instant, message: Response) -> Option<Outcome> {
        let before = self.outcome.take();
        self.handle_signal(now, message);
        let said = self.outcome.clone();
        self.outcome = said.clone().or(before);
        said
    }

    /// How the stay ended, when it has.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The socket of the signalling is gone.
    pub(crate) fn signal_lost(&mut self) {
        let reason = "the connection to the service broke".to_owned();
        self.end(Outcome::Lost { reason, service: true });
    }

    /// What must be remembered for the next stay: mute states, plan, and a token that the service gave.
    pub(crate) fn keep(self) -> ([bool; 2], Option<VideoPlan>, Option<String>) {
        (self.options.muted, self.options.video, self.refreshed_token)
    }

    fn end(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }
}

fn metadata(name: String, attributes: HashMap<String, String>) -> Request {
    Request::UpdateMetadata(proto::UpdateParticipantMetadata { name, attributes, ..Default::default() })
}
