//! One participant's stay in a channel.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Instant;

use livekit_protocol::{
    ClientInfo, ParticipantInfo, ParticipantPermission, SessionDescription, SignalResponse,
    SubscriptionPermission, TrackSource, participant_info, signal_response,
};
use rostrum_rtc::names::{AppId, ChannelId, DisplayName, UserId};
use rostrum_rtc::token::{Grants, Identity};
use tokio::sync::mpsc;

use super::command::{Mode, SocketNumber, ToSocket};
use super::cross_channel::Forward;
use super::data::ReliableLog;
use super::quality::QualityMeter;
use super::{PeerKey, TrackKey};

/// Answers that wait for a socket; who asks for more in the seconds without one has no use for them.
const MAX_UNSENT: usize = 128;
/// Tracks ended by the service that are remembered.
const MAX_ENDED: usize = 64;

/// The connections of a participant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peers {
    Dual { publisher: PeerKey, subscriber: PeerKey },
    Single { peer: PeerKey },
}

impl Peers {
    pub(super) fn publisher(self) -> PeerKey {
        match self {
            Peers::Dual { publisher, .. } => publisher,
            Peers::Single { peer } => peer,
        }
    }

    pub(super) fn subscriber(self) -> PeerKey {
        match self {
            Peers::Dual { subscriber, .. } => subscriber,
            Peers::Single { peer } => peer,
        }
    }

    pub(super) fn mode(self) -> Mode {
        match self {
            Peers::Dual { .. } => Mode::Dual,
            Peers::Single { .. } => Mode::Single,
        }
    }

    pub(super) fn all(self) -> impl Iterator<Item = PeerKey> {
        let second = match self {
            Peers::Dual { subscriber, .. } => Some(subscriber),
            Peers::Single { .. } => None,
        };
        std::iter::once(self.publisher()).chain(second)
    }
}

/// Everything known of a participant.
pub(super) struct Session {
    pub(super) identity: Identity,
    pub(super) sid: String,
    pub(super) name: String,
    pub(super) metadata: String,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) client: ClientInfo,
    pub(super) peers: Peers,
    pub(super) signals: mpsc::Sender<ToSocket>,
    /// Which socket of this stay `signals` leads to.
    pub(super) socket: SocketNumber,
    /// Answers that no socket took: they go out on the next.
    pub(super) unsent: Vec<signal_response::Message>,
    pub(super) state: participant_info::State,
    pub(super) version: u32,
    pub(super) joined_unix_ms: u64,
    pub(super) auto_subscribe: bool,
    /// Tracks that it publishes.
    pub(super) tracks: Vec<TrackKey>,
    /// Other channels that it is shown in.
    pub(super) forwards: Vec<Forward>,
    /// Tracks that the service ended or muted without its doing, by sid, until it is known to know.
    pub(super) ended: VecDeque<String>,
    pub(super) muted_from_afar: HashSet<String>,
    /// What it sent on the reliable data channel lately.
    pub(super) reliable: ReliableLog,
    /// It was told that it may not send data.
    pub(super) told_no_data: bool,
    /// And that a message was too long.
    pub(super) told_long_data: bool,
    /// Tracks that it asked not to get, by sid.
    pub(super) declined: HashSet<String>,
    /// Who may subscribe to its tracks.
    pub(super) permission: SubscriptionPermission,
    /// Its socket does not take what it is sent.
    pub(super) stuck: bool,
    pub(super) socket_closed: Option<Instant>,
    pub(super) last_heard: Instant,
    pub(super) joined: Instant,
    pub(super) refresh_at: Instant,
    /// Media sections were asked for and its next offer is awaited.
    pub(super) sections_asked: bool,
    /// The offer of its join request, when that is to be answered later.
    pub(super) late_offer: Option<(Instant, SessionDescription)>,
    pub(super) quality: QualityMeter,
}

impl Session {
    pub(super) fn app(&self) -> &AppId {
        &self.identity.app
    }

    pub(super) fn channel(&self) -> &ChannelId {
        &self.identity.channel
    }

    pub(super) fn user(&self) -> &UserId {
        &self.identity.user
    }

    /// Sends a message, or notes that the socket does not take more.
    ///
    /// While there is no socket, answers are kept for the next one; the rest is made good by what a resume
    /// tells.
    pub(super) fn send(&mut self, message: signal_response::Message) {
        if self.socket_closed.is_some() {
            return self.keep_unsent([message]);
        }
        let message = ToSocket::Message(Box::new(SignalResponse { message: Some(message) }));
        if let Err(mpsc::error::TrySendError::Full(_)) = self.signals.try_send(message) {
            self.stuck = true;
        }
    }

    /// Keeps those messages that answer a request: nothing that a resume tells says the same.
    pub(super) fn keep_unsent(&mut self, messages: impl IntoIterator<Item = signal_response::Message>) {
        use signal_response::Message;
        let answers = messages.into_iter().filter(|message| {
            matches!(
                message,
                Message::TrackPublished(_)
                    | Message::TrackSubscribed(_)
                    | Message::SubscriptionResponse(_)
                    | Message::RequestResponse(_)
            )
        });
        let room = MAX_UNSENT.saturating_sub(self.unsent.len());
        self.unsent.extend(answers.take(room));
    }

    /// Sends what was kept, when there is a socket again.
    pub(super) fn send_unsent(&mut self) {
        for message in std::mem::take(&mut self.unsent) {
            self.send(message);
        }
    }

    /// Goes on with another socket.
    pub(super) fn attach(&mut self, signals: mpsc::Sender<ToSocket>) -> SocketNumber {
        self.signals = signals;
        self.socket += 1;
        self.socket_closed = None;
        self.stuck = false;
        self.socket
    }

    /// Notes that the service ended a track of it.
    pub(super) fn note_ended(&mut self, track_sid: String) {
        self.muted_from_afar.remove(&track_sid);
        self.ended.push_back(track_sid);
        if self.ended.len() > MAX_ENDED {
            self.ended.pop_front();
        }
    }

    /// Who it is now: as its token said, with what changed since.
    pub(super) fn present_identity(&self) -> Identity {
        Identity {
            name: DisplayName::new(self.name.clone()).ok(),
            metadata: self.metadata.clone(),
            attributes: self.attributes.clone(),
            ..self.identity.clone()
        }
    }

    /// Whether the token lets it publish from a source.
    pub(super) fn may_publish(&self, source: TrackSource) -> bool {
        may_publish(&self.identity.grants, source)
    }

    /// Whether another participant may subscribe to one of its tracks.
    pub(super) fn lets_subscribe(&self, track_sid: &str, other: &Session) -> bool {
        let permission = &self.permission;
        permission.all_participants
            || permission.track_permissions.iter().any(|allowed| {
                // A UserId names somebody in this channel only.
                let same_channel = other.channel() == self.channel();
                let named = allowed.participant_sid == other.sid
                    || same_channel && allowed.participant_identity == other.user().as_str();
                named && (allowed.all_tracks || allowed.track_sids.iter().any(|sid| sid == track_sid))
            })
    }

    /// The participant as others are told, without its tracks.
    #[allow(deprecated)] // Older clients read `recorder` and `agent`, newer ones `kind`.
    pub(super) fn info(&self) -> ParticipantInfo {
        let grants = &self.identity.grants;
        let kind = match (grants.agent, grants.recorder) {
            (true, _) => participant_info::Kind::Agent,
            (false, true) => participant_info::Kind::Egress,
            (false, false) => participant_info::Kind::Standard,
        };
        ParticipantInfo {
            sid: self.sid.clone(),
            identity: self.user().to_string(),
            name: self.name.clone(),
            state: self.state.into(),
            metadata: self.metadata.clone(),
            attributes: self.attributes.clone().into_iter().collect(),
            joined_at: (self.joined_unix_ms / 1000) as i64,
            joined_at_ms: self.joined_unix_ms as i64,
            version: self.version,
            permission: Some(ParticipantPermission {
                can_subscribe: grants.may_subscribe(),
                can_publish: grants.may_publish(),
                can_publish_data: grants.may_publish_data(),
                can_publish_sources: publish_sources(&grants.can_publish_sources),
                hidden: grants.hidden,
                can_update_metadata: grants.may_update_own_metadata(),
                recorder: grants.recorder,
                agent: grants.agent,
                ..Default::default()
            }),
            is_publisher: !self.tracks.is_empty(),
            kind: kind.into(),
            client_protocol: self.client.client_protocol,
            capabilities: self.client.capabilities.clone(),
            ..Default::default()
        }
    }
}

/// Whether grants allow publishing from a source.
pub(super) fn may_publish(grants: &Grants, source: TrackSource) -> bool {
    grants.may_publish_source(source.as_str_name())
}

fn publish_sources(names: &[String]) -> Vec<i32> {
    let sources = names.iter().filter_map(|name| TrackSource::from_str_name(&name.to_uppercase()));
    sources.map(i32::from).collect()
}
