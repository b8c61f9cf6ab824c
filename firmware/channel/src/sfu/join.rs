//! Coming and going.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use livekit_protocol::{
    Codec, DisconnectReason, IceServer, JoinResponse, LeaveRequest, ParticipantInfo, ParticipantUpdate, Room,
    RoomUpdate, ServerInfo, SubscriptionPermission, client_info, leave_request, participant_info,
    signal_response::Message,
};
use rostrum_rtc::token::{self, Identity};
use tokio::sync::mpsc;

use super::command::{JoinRefusal, JoinSpec, Mode, ToSocket};
use super::cross_channel::Forward;
use super::data::ReliableLog;
use super::quality::QualityMeter;
use super::resume::Departed;
use super::session::{Peers, Session};
use super::{Channel, PROTOCOL_VERSION, SessionKey, Sfu};

/// Clients ping this often and give up after [`PING_TIMEOUT_S`] without an answer.
const PING_INTERVAL_S: i32 = 5;
const PING_TIMEOUT_S: i32 = 15;
/// How long a refreshed token is valid, and how often a new one is sent.
const REFRESH_TTL: Duration = Duration::from_secs(10 * 60);
const REFRESH_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// The version of LiveKit's server that clients are told: they switch features by it, and before this one they
/// refuse to call methods of each other.
const LIVEKIT_VERSION: &str = "1.8.0";

/// What the service says of itself.
pub(super) fn server_info() -> ServerInfo {
    ServerInfo {
        version: LIVEKIT_VERSION.to_string(),
        protocol: PROTOCOL_VERSION,
        node_id: concat!("channeld-", env!("CARGO_PKG_VERSION")).to_string(),
        ..Default::default()
    }
}

/// LiveKit's Go SDK (2.18.1) reads an answer before it has taken its own offer, and then gives up: it gets the answer
/// to the offer in its join request so much later.
const LATE_ANSWER: Duration = Duration::from_millis(20);

impl Sfu {
    /// Answers offers that had to wait.
    pub(super) fn answer_late_offers(&mut self, now: Instant) {
        let due = |(_, session): &(SessionKey, &Session)| {
            session.late_offer.as_ref().is_some_and(|(at, _)| *at <= now)
        };
        for key in self.sessions.iter().filter(due).map(|(key, _)| key).collect::<Vec<_>>() {
            if let Some((_, offer)) = self.sessions.get_mut(key).and_then(|session| session.late_offer.take())
            {
                self.client_offer(now, key, offer);
            }
        }
    }

    pub(super) fn join(
        &mut self,
        now: Instant,
        spec: JoinSpec,
        signals: mpsc::Sender<ToSocket>,
    ) -> Result<SessionKey, JoinRefusal> {
        let channel_key = (spec.identity.app.clone(), spec.identity.channel.clone());
        self.check_room(&spec.identity)?;
        let forwards = self.replace_former(now, &spec.identity);
        self.make_way(now, &channel_key, &spec.identity.user);

        let key = self.insert_session(now, &spec, signals);
        if !self.channels.contains_key(&channel_key) {
            let sid = self.new_sid("RM_");
            let created_unix_ms = self.unix_ms(now);
            let channel = Channel {
                sid,
                created_unix_ms,
                sessions: Vec::new(),
                departed: Departed::default(),
                metadata: String::new(),
                speakers_at: now,
            };
            self.channels.insert(channel_key.clone(), channel);
        }
        if let Some(channel) = self.channels.get_mut(&channel_key) {
            channel.sessions.push(key);
        }
        log::info!(channel:% = channel_key.1, user:% = spec.identity.user; "joined");
        self.send_join(now, key);
        self.send_refreshed_token(now, key);
        self.tell_others(key, None);
        self.tell_room(key);
        for forward in forwards {
            // Whoever took its place there in the meantime stays.
            let _ = self.forward_into(now, key, forward.into, forward.data);
        }
        self.start_media(now, key, spec);
        Ok(key)
    }

    /// Whether there is room, not counting those that the newcomer replaces.
    pub(super) fn check_room(&self, identity: &Identity) -> Result<(), JoinRefusal> {
        if self.stopping {
            return Err(JoinRefusal::Stopping);
        }
        let channel_key = (identity.app.clone(), identity.channel.clone());
        if self.elsewhere.contains(&channel_key) {
            return Err(JoinRefusal::Moving);
        }
        let limits = &self.config.limits;
        let (terminals, channels) = self.config.totals.others();
        let all = self.sessions.len() + terminals;
        if all >= limits.terminals && !self.sessions.keys().any(|key| self.is_former_of(key, identity)) {
            return Err(JoinRefusal::TooManyTerminals { limit: limits.terminals });
        }
        match self.channels.get(&channel_key) {
            Some(channel) => {
                let there = channel.sessions.iter().chain(self.forwarded_into(&channel_key));
                let stay = there.filter(|key| !self.is_former(**key, identity)).count();
                if stay >= limits.terminals_per_channel {
                    return Err(JoinRefusal::ChannelFull { limit: limits.terminals_per_channel });
                }
            }
            None if self.channels.len() + channels >= limits.channels => {
                return Err(JoinRefusal::TooManyChannels { limit: limits.channels });
            }
            None => {}
        }
        Ok(())
    }

    /// Whether a session of any channel is the newcomer's former self.
    fn is_former_of(&self, key: SessionKey, identity: &Identity) -> bool {
        let here =
            |session: &Session| session.app() == &identity.app && session.channel() == &identity.channel;
        self.sessions.get(key).is_some_and(here) && self.is_former(key, identity)
    }

    /// Whether a session is the newcomer's former self: the same UserId, or the same hardware terminal.
    fn is_former(&self, key: SessionKey, identity: &Identity) -> bool {
        self.sessions.get(key).is_some_and(|session| {
            let udid = &identity.udid;
            *session.user() == identity.user || udid.is_some() && session.identity.udid == *udid
        })
    }

    /// Ends the stay of the newcomer's former self; says where that was shown besides.
    fn replace_former(&mut self, now: Instant, identity: &Identity) -> Vec<Forward> {
        let channel_key = (identity.app.clone(), identity.channel.clone());
        let sessions = self.channels.get(&channel_key).map(|c| c.sessions.clone()).unwrap_or_default();
        let former: Vec<SessionKey> =
            sessions.into_iter().filter(|key| self.is_former(*key, identity)).collect();
        let mut forwards = Vec::new();
        for former in former {
            if let Some(session) = self.sessions.get(former).filter(|s| *s.user() == identity.user) {
                forwards.clone_from(&session.forwards);
            }
            self.send_leave(former, DisconnectReason::DuplicateIdentity, leave_request::Action::Disconnect);
            self.remove_session(now, former, DisconnectReason::DuplicateIdentity);
        }
        forwards
    }

    fn insert_session(
        &mut self,
        now: Instant,
        spec: &JoinSpec,
        signals: mpsc::Sender<ToSocket>,
    ) -> SessionKey {
        let sid = self.new_sid("PA_");
        let identity = spec.identity.clone();
        let mut attributes = identity.attributes.clone();
        attributes.extend(spec.attributes.clone());
        // The terminal's identity is the token's word, not the client's.
        match &identity.udid {
            Some(udid) => attributes.insert(token::UDID_ATTRIBUTE.to_string(), udid.clone()),
            None => attributes.remove(token::UDID_ATTRIBUTE),
        };
        attributes.retain(|_, value| !value.is_empty());
        let joined_unix_ms = self.unix_ms(now);
        let key = self.sessions.insert(Session {
            sid,
            name: identity.name.as_ref().map(ToString::to_string).unwrap_or_default(),
            metadata: if spec.metadata.is_empty() {
                identity.metadata.clone()
            } else {
                spec.metadata.clone()
            },
            attributes,
            identity,
            client: spec.client.clone(),
            peers: Peers::Single { peer: slotmap::Key::null() },
            signals,
            socket: 0,
            unsent: Vec::new(),
            state: participant_info::State::Joined,
            version: 1,
            joined_unix_ms,
            auto_subscribe: spec.auto_subscribe,
            tracks: Vec::new(),
            forwards: Vec::new(),
            ended: VecDeque::new(),
            muted_from_afar: HashSet::new(),
            reliable: ReliableLog::default(),
            told_no_data: false,
            told_long_data: false,
            declined: HashSet::new(),
            permission: SubscriptionPermission { all_participants: true, track_permissions: Vec::new() },
            stuck: false,
            socket_closed: None,
            last_heard: now,
            joined: now,
            refresh_at: now,
            sections_asked: false,
            late_offer: None,
            quality: QualityMeter::default(),
        });
        let peers = match spec.mode {
            Mode::Single => Peers::Single { peer: self.new_peer(now, key) },
            Mode::Dual => {
                Peers::Dual { publisher: self.new_peer(now, key), subscriber: self.new_peer(now, key) }
            }
        };
        if let Some(session) = self.sessions.get_mut(key) {
            session.peers = peers;
        }
        key
    }

    /// Sets off negotiation: the client's offer is answered, or ours is made.
    fn start_media(&mut self, now: Instant, key: SessionKey, spec: JoinSpec) {
        for request in spec.add_tracks {
            self.add_track(now, key, request);
        }
        self.subscribe_to_all(now, key);
        if let Some(session) = self.sessions.get(key)
            && let Some(slot) = self.peers.get_mut(session.peers.subscriber())
        {
            slot.peer.hold_early_data();
            if spec.mode == Mode::Dual {
                slot.peer.enable_data_channels();
            }
        }
        match (spec.publisher_offer, self.sessions.get_mut(key)) {
            (Some(offer), Some(session)) if session.client.sdk() == client_info::Sdk::Go => {
                session.late_offer = Some((now + LATE_ANSWER, offer));
            }
            (Some(offer), _) => self.client_offer(now, key, offer),
            (None, _) => {}
        }
        self.to_negotiate.insert(key);
    }

    pub(super) fn room(&self, key: SessionKey) -> Option<Room> {
        let session = self.sessions.get(key)?;
        let channel = self.channels.get(&Self::channel_key(session))?;
        let count = |f: &dyn Fn(&Session) -> bool| {
            channel.sessions.iter().filter_map(|key| self.sessions.get(*key)).filter(|s| f(s)).count() as u32
        };
        Some(Room {
            sid: channel.sid.clone(),
            name: session.channel().to_string(),
            max_participants: self.config.limits.terminals_per_channel as u32,
            metadata: channel.metadata.clone(),
            creation_time: (channel.created_unix_ms / 1000) as i64,
            creation_time_ms: channel.created_unix_ms as i64,
            num_participants: count(&|s| !s.identity.grants.hidden),
            num_publishers: count(&|s| !s.tracks.is_empty()),
            ..Default::default()
        })
    }

    /// The TURN servers that a participant may use.
    pub(super) fn ice_servers(&self, now: Instant, session: &Session) -> Vec<IceServer> {
        let unix = Duration::from_millis(self.unix_ms(now));
        super::turn::servers(&self.config.turn, session.user().as_str(), unix)
    }

    #[allow(deprecated)] // `server_version` is read by older clients.
    fn send_join(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let others = self.seen_by(key);
        let visible =
            |other: &SessionKey| self.sessions.get(*other).is_some_and(|s| !s.identity.grants.hidden);
        let dual = session.peers.mode() == Mode::Dual;
        let join = JoinResponse {
            room: self.room(key),
            participant: self.participant_info(key),
            other_participants: others
                .into_iter()
                .filter(visible)
                .filter_map(|other| self.info_for(other, key))
                .collect(),
            server_version: LIVEKIT_VERSION.to_string(),
            subscriber_primary: dual && session.identity.grants.may_subscribe(),
            fast_publish: session.identity.grants.may_publish(),
            ice_servers: self.ice_servers(now, session),
            ping_interval: PING_INTERVAL_S,
            ping_timeout: PING_TIMEOUT_S,
            server_info: Some(server_info()),
            enabled_publish_codecs: [
                "audio/opus",
                "audio/red",
                "video/H264",
                "video/VP8",
                "video/VP9",
                "video/AV1",
            ]
            .map(|mime| Codec { mime: mime.to_string(), fmtp_line: String::new() })
            .to_vec(),
            ..Default::default()
        };
        self.heard(now, key);
        self.send(key, Message::Join(join));
    }

    /// Sends a token with which the participant can come back later.
    pub(super) fn send_refreshed_token(&mut self, now: Instant, key: SessionKey) {
        let unix = self.unix_ms(now) / 1000;
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.refresh_at = now + REFRESH_INTERVAL;
        let app_key = self.config.apps.iter().find(|app| app.id == *session.app()).map(|app| &app.key);
        if let Some(app_key) = app_key
            && let Ok(token) = token::refresh_jwt(app_key, &session.present_identity(), unix, REFRESH_TTL)
        {
            session.send(Message::RefreshToken(token));
        }
    }

    pub(super) fn send_leave(
        &mut self,
        key: SessionKey,
        reason: DisconnectReason,
        action: leave_request::Action,
    ) {
        let leave = LeaveRequest {
            can_reconnect: action != leave_request::Action::Disconnect,
            reason: reason.into(),
            action: action.into(),
            ..Default::default()
        };
        self.send(key, Message::Leave(leave));
    }

    /// A participant as another one is told of it.
    pub(super) fn info_for(&self, key: SessionKey, viewer: SessionKey) -> Option<ParticipantInfo> {
        Some(self.as_seen_by(key, viewer, &self.participant_info(key)?))
    }

    /// Those of another channel see where it comes from.
    fn as_seen_by(&self, key: SessionKey, viewer: SessionKey, info: &ParticipantInfo) -> ParticipantInfo {
        let mut info = info.clone();
        let channel_of = |key: SessionKey| self.sessions.get(key).map(Session::channel);
        if channel_of(key) != channel_of(viewer) {
            info.kind_details.push(participant_info::KindDetail::Forwarded.into());
        }
        info
    }

    /// A participant with its tracks, as others are told.
    pub(super) fn participant_info(&self, key: SessionKey) -> Option<ParticipantInfo> {
        let session = self.sessions.get(key)?;
        let tracks = session.tracks.iter().filter_map(|track| self.tracks.get(*track));
        let tracks = tracks.filter(|track| track.mid.is_some()).map(|track| track.info.clone()).collect();
        Some(ParticipantInfo { tracks, ..session.info() })
    }

    /// Something about a participant changed: tells the others and itself.
    pub(super) fn tell_changed(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.version += 1;
        }
        let Some(info) = self.participant_info(key) else { return };
        self.send(key, Message::Update(ParticipantUpdate { participants: vec![info.clone()] }));
        self.tell_others(key, Some(info));
    }

    /// Tells the others about a participant.
    fn tell_others(&mut self, key: SessionKey, info: Option<ParticipantInfo>) {
        if self.sessions.get(key).is_none_or(|session| session.identity.grants.hidden) {
            return;
        }
        let Some(info) = info.or_else(|| self.participant_info(key)) else { return };
        self.tell_seers(key, &info);
    }

    /// Tells all who see a participant, whether it is hidden now or not.
    pub(super) fn tell_seers(&mut self, key: SessionKey, info: &ParticipantInfo) {
        for other in self.seers_of(key) {
            let info = self.as_seen_by(key, other, info);
            self.send(other, Message::Update(ParticipantUpdate { participants: vec![info] }));
        }
    }

    /// Tells everybody else in the channel how many are in it.
    fn tell_room(&mut self, key: SessionKey) {
        let Some(room) = self.room(key) else { return };
        for other in self.others(key) {
            self.send(other, Message::RoomUpdate(RoomUpdate { room: Some(room.clone()) }));
        }
    }

    /// Takes a participant out of its channel and closes its connections and its socket.
    pub(super) fn remove_session(&mut self, now: Instant, key: SessionKey, reason: DisconnectReason) {
        if !self.sessions.contains_key(key) {
            return;
        }
        self.resources.remove(key);
        for track in self.sessions.get(key).map(|s| s.tracks.clone()).unwrap_or_default() {
            self.drop_track(now, track);
        }
        self.unsubscribe_from_all(now, key);
        let others = self.others(key);
        if let Some(session) = self.sessions.get_mut(key) {
            session.state = participant_info::State::Disconnected;
            session.version += 1;
        }
        let info = self
            .participant_info(key)
            .map(|info| ParticipantInfo { disconnect_reason: reason.into(), ..info });
        if let Some(info) = &info
            && !self.sessions.get(key).is_none_or(|session| session.identity.grants.hidden)
        {
            self.note_departed(now, key, info);
        }
        self.tell_others(key, info);

        self.forget_forwards(key);
        let Some(session) = self.sessions.remove(key) else { return };
        log::info!(channel:% = session.channel(), user:% = session.user(), reason = reason.as_str_name(); "left");
        // A full queue is closed by dropping it.
        let _ = session.signals.try_send(ToSocket::Close);
        for peer in session.peers.all() {
            self.remove_peer(now, peer);
        }
        let channel_key = Self::channel_key(&session);
        if let Some(channel) = self.channels.get_mut(&channel_key) {
            channel.sessions.retain(|other| *other != key);
            if channel.sessions.is_empty() {
                self.channels.remove(&channel_key);
                log::info!(channel:% = channel_key.1; "empty");
            }
        }
        if let Some(other) = others.first() {
            let room = self.room(*other);
            for other in others {
                self.send(other, Message::RoomUpdate(RoomUpdate { room: room.clone() }));
            }
        }
    }

    fn remove_peer(&mut self, now: Instant, key: super::PeerKey) {
        if let Some(mut slot) = self.peers.remove(key) {
            slot.peer.close(now);
            while let Some(transmit) = slot.peer.poll_transmit() {
                self.transmits.push_back(transmit);
            }
        }
        self.demux.remove(key);
    }
}
