//! Behaviour of the service without sockets: what clients say, and what everybody is told.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol::{
    AddTrackRequest, ClientInfo, DisconnectReason, LeaveRequest, MuteTrackRequest, ParticipantInfo, Ping,
    SignalRequest, SignalTarget, TrackSource, TrackType, TrickleRequest, UpdateParticipantMetadata,
    UpdateTrackSettings, leave_request, participant_info, request_response,
    signal_request::Message as Request, signal_response::Message,
};
use proptest::prelude::*;
use prost::Message as _;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rostrum_rtc::names::{AppId, ChannelId, UserId};
use rostrum_rtc::token::{AppKey, Grants, Identity};
use tokio::sync::{mpsc, oneshot};

use super::command::{Command, JoinRefusal, JoinSpec, Manage, Mode, ToSocket};
use super::{SessionKey, Sfu, SfuConfig};
use crate::config::{App, Limits, Timeouts, Turn};
use crate::transport::{Candidate, Certificate, PeerConfig};

/// What Chromium offers: one section to publish with simulcast, and others.
pub(super) const OFFER: &str = include_str!("../transport/tests/chromium_offer.sdp");

mod abroad;
mod rights;
mod stays;

pub(super) struct Service {
    pub(super) sfu: Sfu,
    pub(super) now: Instant,
}

struct Client {
    key: SessionKey,
    socket: u32,
    inbox: mpsc::Receiver<ToSocket>,
}

pub(super) fn identity(channel: &str, user: &str) -> Identity {
    let channel = ChannelId::new(channel).unwrap();
    Identity {
        app: AppId::new("app").unwrap(),
        grants: Grants::participant(&channel),
        channel,
        user: UserId::new(user).unwrap(),
        name: None,
        udid: None,
        metadata: String::new(),
        attributes: Default::default(),
        expires_at: u64::MAX,
    }
}

fn spec(identity: Identity, mode: Mode) -> JoinSpec {
    JoinSpec {
        identity,
        mode,
        auto_subscribe: true,
        client: ClientInfo::default(),
        publisher_offer: None,
        add_tracks: Vec::new(),
        metadata: String::new(),
        attributes: HashMap::new(),
    }
}

impl Service {
    pub(super) fn new() -> Self {
        let certificate = Arc::new(Certificate::generate().unwrap());
        let config = SfuConfig {
            peer: PeerConfig::new(certificate, vec![Candidate::Udp("127.0.0.1:7882".parse().unwrap())]),
            candidates: Vec::new(),
            limits: Limits { terminals_per_channel: 3, channels: 2, ..Limits::default() },
            // Nobody here has media.
            timeouts: Timeouts { connect_ms: 3_600_000, ..Timeouts::default() },
            turn: Turn::default(),
            apps: vec![App { id: AppId::new("app").unwrap(), key: AppKey::new("key") }],
            totals: Default::default(),
        };
        let now = Instant::now();
        let unix = Duration::from_secs(1_700_000_000);
        Self { sfu: Sfu::new(config, StdRng::seed_from_u64(7), now, unix), now }
    }

    fn try_join(&mut self, spec: JoinSpec) -> Result<Client, JoinRefusal> {
        let (signals, inbox) = mpsc::channel(512);
        let (reply, mut answer) = oneshot::channel();
        self.sfu.handle_command(self.now, Command::Join { spec: Box::new(spec), signals, reply });
        answer.try_recv().unwrap().map(|key| Client { key, socket: 0, inbox })
    }

    fn join(&mut self, channel: &str, user: &str) -> Client {
        self.try_join(spec(identity(channel, user), Mode::Dual)).unwrap()
    }

    fn lose_socket(&mut self, client: &Client) {
        let (session, socket) = (client.key, client.socket);
        self.sfu.handle_command(self.now, Command::SocketClosed { session, socket, unsent: Vec::new() });
    }

    fn say(&mut self, client: &Client, message: Request) {
        let request = Box::new(SignalRequest { message: Some(message) });
        self.sfu.handle_command(
            self.now,
            Command::Signal { session: client.key, socket: client.socket, request },
        );
    }

    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.sfu.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.sfu.handle_timeout(self.now);
            while self.sfu.poll_transmit().is_some() {}
        }
        self.now = end;
    }
}

impl Client {
    fn messages(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Ok(ToSocket::Message(message)) = self.inbox.try_recv() {
            messages.push(message.message.unwrap());
        }
        messages
    }

    /// The last that it was told about a participant.
    fn told_of(&mut self, user: &str) -> Option<ParticipantInfo> {
        let updates = self.messages().into_iter().filter_map(|message| match message {
            Message::Update(update) => Some(update.participants),
            _ => None,
        });
        updates.flatten().rfind(|info| info.identity == user)
    }

    fn leave(&mut self) -> Option<LeaveRequest> {
        self.messages().into_iter().find_map(|message| match message {
            Message::Leave(leave) => Some(leave),
            _ => None,
        })
    }
}

fn camera(cid: &str) -> AddTrackRequest {
    AddTrackRequest {
        cid: cid.to_string(),
        r#type: TrackType::Video.into(),
        source: TrackSource::Camera.into(),
        width: 1280,
        height: 720,
        ..Default::default()
    }
}

fn offer(id: u32) -> Request {
    Request::Offer(livekit_protocol::SessionDescription {
        r#type: "offer".to_string(),
        sdp: OFFER.to_string(),
        id,
        ..Default::default()
    })
}

#[test]
fn the_first_message_is_join_and_it_names_who_is_there() {
    let mut service = Service::new();
    service.join("room", "ann");
    let mut bob = service.join("room", "bob");
    let messages = bob.messages();
    let Message::Join(join) = &messages[0] else { panic!("{:?}", messages[0]) };
    assert_eq!(join.room.as_ref().unwrap().name, "room");
    assert_eq!(join.participant.as_ref().unwrap().identity, "bob");
    assert_eq!(join.other_participants[0].identity, "ann");
    assert!(join.subscriber_primary && join.ping_interval > 0);
    assert!(matches!(messages[1], Message::RefreshToken(_)));
    assert!(messages.iter().any(|m| matches!(m, Message::Offer(_))), "data channels are offered at once");
}

#[test]
fn others_hear_who_comes_and_goes() {
    let mut service = Service::new();
    let mut ann = service.join("room", "ann");
    let bob = service.join("room", "bob");
    assert_eq!(ann.told_of("bob").unwrap().state(), participant_info::State::Joined);
    service.say(&bob, Request::Leave(LeaveRequest::default()));
    let info = ann.told_of("bob").unwrap();
    assert_eq!(info.state(), participant_info::State::Disconnected);
    assert_eq!(info.disconnect_reason(), DisconnectReason::ClientInitiated);
    assert_eq!(service.sfu.participants(), 1);
    service.say(&ann, Request::Leave(LeaveRequest::default()));
    assert!(service.sfu.channels.is_empty() && service.sfu.peers.is_empty() && service.sfu.tracks.is_empty());
}

#[test]
fn a_full_channel_refuses_but_a_replacement_fits() {
    let mut service = Service::new();
    let _all: Vec<_> = ["ann", "bob", "cat"].map(|user| service.join("room", user)).into();
    let refusal = service.try_join(spec(identity("room", "dan"), Mode::Dual)).err().unwrap();
    assert_eq!(refusal, JoinRefusal::ChannelFull { limit: 3 });
    service.join("room", "bob");
    service.join("other", "dan");
    let refusal = service.try_join(spec(identity("third", "eve"), Mode::Dual)).err().unwrap();
    assert_eq!(refusal, JoinRefusal::TooManyChannels { limit: 2 });
}

#[test]
fn the_same_user_or_the_same_hardware_replaces_the_first() {
    let mut service = Service::new();
    let with_udid = |user: &str| Identity { udid: Some("board-7".to_string()), ..identity("room", user) };
    let mut first = service.join("room", "ann");
    let mut second = service
        .try_join(spec(Identity { user: UserId::new("ann").unwrap(), ..with_udid("ann") }, Mode::Single))
        .unwrap();
    let leave = first.leave().unwrap();
    assert_eq!(
        (leave.reason(), leave.action()),
        (DisconnectReason::DuplicateIdentity, leave_request::Action::Disconnect)
    );
    let _third = service.try_join(spec(with_udid("another"), Mode::Single)).unwrap();
    assert_eq!(second.leave().unwrap().reason(), DisconnectReason::DuplicateIdentity);
    assert_eq!(service.sfu.participants(), 1);
}

#[test]
fn applications_do_not_share_channels() {
    let mut service = Service::new();
    service.join("room", "ann");
    let other = Identity { app: AppId::new("other").unwrap(), ..identity("room", "ann") };
    let mut stranger = service.try_join(spec(other, Mode::Dual)).unwrap();
    let Message::Join(join) = stranger.messages().remove(0) else { panic!() };
    assert!(join.other_participants.is_empty());
    assert_eq!(service.sfu.participants(), 2);
}

#[test]
fn a_closed_socket_ends_a_stay_within_five_seconds_and_silence_within_fifteen() {
    let mut service = Service::new();
    let ann = service.join("room", "ann");
    let _bob = service.join("room", "bob");
    service.lose_socket(&ann);
    service.wait(Duration::from_secs(4));
    assert_eq!(service.sfu.participants(), 2, "a moment for the network");
    service.wait(Duration::from_secs(1));
    assert_eq!(service.sfu.participants(), 1);
    service.wait(Duration::from_secs(9));
    assert_eq!(service.sfu.participants(), 1);
    service.wait(Duration::from_secs(1));
    assert_eq!(service.sfu.participants(), 0);
}

#[test]
fn a_client_that_does_not_read_is_sent_away() {
    let mut service = Service::new();
    let _deaf = service.join("room", "deaf");
    let ann = service.join("room", "ann");
    for n in 0..600 {
        let update = UpdateParticipantMetadata { metadata: n.to_string(), ..Default::default() };
        service.say(&ann, Request::UpdateMetadata(update));
    }
    service.wait(Duration::from_millis(200));
    assert!(!service.sfu.sessions.values().any(|session| session.user().as_str() == "deaf"));
}

#[test]
fn pings_are_answered() {
    let mut service = Service::new();
    let mut ann = service.join("room", "ann");
    ann.messages();
    service.say(&ann, Request::Ping(5));
    service.say(&ann, Request::PingReq(Ping { timestamp: 42, rtt: 1 }));
    let messages = ann.messages();
    assert!(matches!(messages[0], Message::Pong(1_700_000_000_000..)));
    let Message::PongResp(pong) = &messages[1] else { panic!("{:?}", messages[1]) };
    assert_eq!(pong.last_ping_timestamp, 42);
}

#[test]
fn an_announced_and_offered_track_is_published_and_subscribed() {
    let mut service = Service::new();
    let (mut ann, mut bob) = (service.join("room", "ann"), service.join("room", "bob"));
    bob.messages();
    service.say(&ann, Request::AddTrack(camera("any")));
    let published = ann.messages().into_iter().find_map(|message| match message {
        Message::TrackPublished(published) => Some(published),
        _ => None,
    });
    let sid = published.unwrap().track.unwrap().sid;
    assert!(bob.told_of("ann").is_none(), "not before it is negotiated");
    service.say(&ann, offer(9));
    let answer = ann.messages().into_iter().find_map(|message| match message {
        Message::Answer(answer) => Some(answer),
        _ => None,
    });
    let answer = answer.unwrap();
    assert_eq!((answer.id, answer.r#type.as_str()), (9, "answer"));
    assert!(answer.sdp.contains("a=ice-lite") && answer.sdp.contains("127.0.0.1 7882"));
    assert_eq!(bob.told_of("ann").unwrap().tracks[0].sid, sid);
    let views = {
        let (reply, mut answer) = oneshot::channel();
        let manage = Manage::Channels { app: AppId::new("app").unwrap(), reply };
        service.sfu.handle_command(service.now, Command::Manage(manage));
        answer.try_recv().unwrap()
    };
    assert_eq!(views[0].participants[0].tracks[0].subscribers, 1);

    service.say(&ann, Request::Mute(MuteTrackRequest { sid: sid.clone(), muted: true }));
    assert!(bob.told_of("ann").unwrap().tracks[0].muted);
    service.say(&ann, Request::Leave(LeaveRequest::default()));
    assert!(bob.told_of("ann").unwrap().tracks.is_empty());
    assert!(service.sfu.tracks.is_empty());
}

#[test]
fn a_client_with_one_connection_is_asked_for_sections() {
    let mut service = Service::new();
    let mut bob = service.try_join(spec(identity("room", "bob"), Mode::Single)).unwrap();
    let ann = service.join("room", "ann");
    bob.messages();
    service.say(&ann, Request::AddTrack(camera("any")));
    service.say(&ann, offer(1));
    let asked = bob.messages().into_iter().find_map(|message| match message {
        Message::MediaSectionsRequirement(asked) => Some(asked),
        _ => None,
    });
    assert_eq!(asked.map(|asked| (asked.num_audios, asked.num_videos)), Some((0, 1)));
}

#[test]
fn without_the_right_nothing_is_published() {
    let mut service = Service::new();
    let mut listener = identity("room", "ann");
    listener.grants.can_publish_sources = vec!["microphone".to_string()];
    let mut ann = service.try_join(spec(listener, Mode::Dual)).unwrap();
    service.say(&ann, Request::AddTrack(camera("any")));
    let response = ann.messages().into_iter().find_map(|message| match message {
        Message::RequestResponse(response) => Some(response.reason()),
        _ => None,
    });
    assert_eq!(response, Some(request_response::Reason::NotAllowed));
    assert!(service.sfu.tracks.is_empty());
}

#[test]
fn no_more_tracks_than_allowed_are_published() {
    let mut service = Service::new();
    let ann = service.join("room", "ann");
    for n in 0..100 {
        service.say(&ann, Request::AddTrack(camera(&n.to_string())));
    }
    assert_eq!(service.sfu.tracks.len(), Limits::default().video_tracks_per_terminal);
}

#[test]
fn names_follow_the_rule_and_the_udid_is_the_tokens_word() {
    let mut service = Service::new();
    let mut ann = service.join("room", "ann");
    let mut update = |name: &str, attributes: &[(&str, &str)]| {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
        let update = UpdateParticipantMetadata { name: name.to_string(), attributes, ..Default::default() };
        service.say(&ann, Request::UpdateMetadata(update));
        ann.messages().into_iter().find_map(|message| match message {
            Message::RequestResponse(response) => Some(response.reason()),
            _ => None,
        })
    };
    assert_eq!(update("Ann_B", &[("role", "host")]), Some(request_response::Reason::Ok));
    assert_eq!(update("Ann B", &[]), Some(request_response::Reason::InvalidName));
    assert_eq!(update("", &[("udid", "stolen")]), Some(request_response::Reason::NotAllowed));
    let session = service.sfu.sessions.values().next().unwrap();
    assert_eq!((session.name.as_str(), session.attributes.get("role").unwrap().as_str()), ("Ann_B", "host"));
    assert!(!session.attributes.contains_key("udid"));
}

#[test]
fn a_hidden_participant_is_not_told() {
    let mut service = Service::new();
    let mut ann = service.join("room", "ann");
    let mut hidden = identity("room", "ghost");
    hidden.grants.hidden = true;
    service.try_join(spec(hidden, Mode::Dual)).unwrap();
    assert!(ann.told_of("ghost").is_none());
}

#[test]
fn a_service_that_stops_tells_everybody_to_come_back_and_lets_nobody_in() {
    let mut service = Service::new();
    let mut ann = service.join("room", "ann");
    let (reply, mut done) = oneshot::channel();
    service.sfu.handle_command(service.now, Command::Stop { reply });
    done.try_recv().unwrap();
    let leave = ann.leave().unwrap();
    assert_eq!(
        (leave.reason(), leave.action()),
        (DisconnectReason::ServerShutdown, leave_request::Action::Reconnect)
    );
    let refusal = service.try_join(spec(identity("room", "bob"), Mode::Dual)).err();
    assert_eq!(refusal, Some(JoinRefusal::Stopping));
}

#[test]
fn a_fresh_token_comes_before_the_old_one_ends() {
    let mut service = Service::new();
    let mut ann = service.join("room", "ann");
    ann.messages();
    for _ in 0..31 {
        service.wait(Duration::from_secs(10));
        service.sfu.handle_command(service.now, Command::Heard { session: ann.key });
    }
    let fresh =
        ann.messages().into_iter().filter(|message| matches!(message, Message::RefreshToken(_))).count();
    assert_eq!(fresh, 1);
}

fn any_request() -> impl Strategy<Value = Request> {
    let text = "[a-zA-Z0-9_{}:\" ]{0,20}";
    prop_oneof![
        (any::<u32>(), prop::bool::ANY, text).prop_map(|(id, whole, cut)| {
            let sdp = if whole { OFFER.to_string() } else { OFFER[..OFFER.len() / 2].to_string() + &cut };
            Request::Offer(livekit_protocol::SessionDescription { sdp, id, ..Default::default() })
        }),
        (any::<u32>(), text).prop_map(|(id, sdp)| {
            Request::Answer(livekit_protocol::SessionDescription {
                sdp: OFFER.to_string() + &sdp,
                id,
                ..Default::default()
            })
        }),
        (text, any::<bool>()).prop_map(|(candidate_init, r#final)| {
            Request::Trickle(TrickleRequest {
                candidate_init,
                target: SignalTarget::Subscriber.into(),
                r#final,
            })
        }),
        (text, any::<i32>(), any::<i32>()).prop_map(|(cid, r#type, source)| {
            Request::AddTrack(AddTrackRequest { cid, r#type, source, ..Default::default() })
        }),
        (text, any::<bool>()).prop_map(|(sid, muted)| Request::Mute(MuteTrackRequest { sid, muted })),
        (prop::collection::vec(text, 0..4), any::<i32>(), any::<u32>()).prop_map(
            |(track_sids, quality, width)| {
                Request::TrackSetting(UpdateTrackSettings {
                    track_sids,
                    quality,
                    width,
                    height: 1,
                    ..Default::default()
                })
            }
        ),
        (prop::collection::vec(text, 0..4), any::<bool>()).prop_map(|(track_sids, subscribe)| {
            Request::Subscription(livekit_protocol::UpdateSubscription {
                track_sids,
                subscribe,
                ..Default::default()
            })
        }),
        any::<i64>().prop_map(Request::Ping),
        any::<i32>().prop_map(|reason| Request::Leave(LeaveRequest { reason, ..Default::default() })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_message_panics_and_nothing_grows(messages in prop::collection::vec(any_request(), 1..40), single: bool) {
        let mut service = Service::new();
        let _witness = service.join("room", "witness");
        let mode = if single { Mode::Single } else { Mode::Dual };
        let client = service.try_join(spec(identity("room", "mallory"), mode)).unwrap();
        for message in messages {
            service.say(&client, message);
            service.wait(Duration::from_millis(30));
        }
        prop_assert!(service.sfu.sessions.len() <= 2);
        prop_assert!(service.sfu.peers.len() <= 4);
        prop_assert!(service.sfu.tracks.len() <= 4);
        service.say(&client, Request::Leave(LeaveRequest::default()));
        prop_assert_eq!(service.sfu.sessions.len(), 1);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), tag in 1u8..24) {
        let mut service = Service::new();
        let client = service.join("room", "mallory");
        let with_tag: Vec<u8> = [tag << 3 | 2, bytes.len().min(127) as u8].into_iter().chain(bytes.iter().copied()).collect();
        for candidate in [&bytes, &with_tag] {
            if let Ok(SignalRequest { message: Some(message) }) = SignalRequest::decode(&candidate[..]) {
                service.say(&client, message);
            }
        }
    }
}

/// The last offer of the service, answered as an SDK would.
fn answer_offer(service: &mut Service, client: &mut Client) -> Option<String> {
    let offer = client.messages().into_iter().rev().find_map(|message| match message {
        Message::Offer(offer) => Some(offer),
        _ => None,
    })?;
    let sdp = offer.sdp.replace("a=setup:actpass", "a=setup:active").replace("a=sendonly", "a=recvonly");
    let answer = livekit_protocol::SessionDescription {
        r#type: "answer".to_string(),
        sdp,
        id: offer.id,
        ..Default::default()
    };
    service.say(client, Request::Answer(answer));
    Some(offer.sdp)
}

#[test]
fn a_section_that_had_another_track_names_its_new_track_in_the_stream() {
    // libwebrtc keeps the track id of the first track of a section: the second was not recognised.
    let mut service = Service::new();
    let mut bob = service.join("room", "bob");
    answer_offer(&mut service, &mut bob).unwrap();
    let mut offered = Vec::new();
    for user in ["ann", "cat"] {
        let publisher = service.join("room", user);
        service.say(&publisher, Request::AddTrack(camera("any")));
        service.say(&publisher, offer(1));
        offered.push(answer_offer(&mut service, &mut bob).unwrap());
        service.say(&publisher, Request::Leave(LeaveRequest::default()));
        answer_offer(&mut service, &mut bob).unwrap();
    }
    let sections = |sdp: &str| sdp.matches("m=video").count();
    assert_eq!((sections(&offered[0]), sections(&offered[1])), (1, 1), "the section is used again");
    let stream = |sdp: &str| sdp.split("a=msid:").nth(1).unwrap().split(' ').next().unwrap().to_string();
    assert!(stream(&offered[0]).ends_with("|camera"), "{}", stream(&offered[0]));
    assert!(stream(&offered[1]).contains("|TR_"), "{}", stream(&offered[1]));
}
