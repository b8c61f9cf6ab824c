//! One stay in a channel without I/O: messages, datagrams, media and time go in; messages, datagrams, media and
//! events come out.

mod control;
mod layers;
mod people;
mod publish;
mod signals;

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
    AudioPlan, Event, LeaveReason, Media, RtcError, Statistics, VideoPlan,
    clock::Clock,
    peer::{Certificate, Peer, PeerEvent, Transmit},
    receive::Receiver,
    sdp::{LocalSection, MediaKind, SectionKind},
    signal::{Door, Hello},
    terminal::Outgoing,
};

/// Labels of LiveKit's data channels.
const RELIABLE: &str = "_reliable";
const LOSSY: &str = "_lossy";
/// Room for tracks of others in the first offer of a single connection; the service asks for more.
const FIRST_SECTIONS: usize = 3;
/// Sections of one description; a stay that needs more begins anew.
const MAX_SECTIONS: usize = 96;
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
    /// Reliable messages that wait for their channel to open.
    waiting: VecDeque<Bytes>,
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
        while let Some(bytes) = self.waiting.front() {
            if !self.publisher.send_data(now, RELIABLE, bytes) {
                break;
            }
            self.waiting.pop_front();
        }
        if !self.media_up && now.duration_since(self.began) >= SET_UP {
            let reason = "the service let us in, but media found no way".to_owned();
            self.end(Outcome::Lost { reason, service: false });
        }
        self.handle_ping(now);
        if now >= self.next_statistics {
            self.next_statistics = now + STATISTICS;
            if self.media_up {
                self.tell_statistics(now);
            }
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
        let mut next = self.next_statistics;
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

    /// What to say to go on with this stay on another socket, and a token that the service gave for that. `None`
    /// when there is nothing to go on with yet.
    pub(crate) fn hello_again(&self) -> Option<(Hello, Option<String>)> {
        let sid = self.people.own_sid();
        let hello = Hello {
            auto_subscribe: self.options.auto_subscribe,
            resume: Some(sid.to_owned()),
            ..Default::default()
        };
        (self.joined && !sid.is_empty()).then(|| (hello, self.refreshed_token.clone()))
    }

    /// There is another socket for the signalling, and the service goes on with this stay: what may have been
    /// lost with the first socket is said again.
    pub(crate) fn resumed(&mut self, now: Instant) {
        self.ping.heard = now;
        if std::mem::take(&mut self.offered) {
            self.negotiate();
        }
        self.requests.extend(self.publish.mutes().into_iter().map(Request::Mute));
    }

    /// A message that no socket took: it goes first on the next one.
    pub(crate) fn unsent(&mut self, request: Request) {
        self.requests.push_front(request);
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

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
