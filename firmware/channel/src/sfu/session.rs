//! One participant's stay in a channel.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use livekit_protocol::{
    ClientInfo, ParticipantInfo, ParticipantPermission, SignalResponse, SubscriptionPermission, TrackSource,
    participant_info, signal_response,
};
use rostrum_rtc::names::{AppId, ChannelId, UserId};
use rostrum_rtc::token::{Grants, Identity};
use tokio::sync::mpsc;

use super::command::{Mode, ToSocket};
use super::quality::QualityMeter;
use super::{PeerKey, TrackKey};

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
    pub(super) state: participant_info::State,
    pub(super) version: u32,
    pub(super) joined_unix_ms: u64,
    pub(super) auto_subscribe: bool,
    /// Tracks that it publishes.
    pub(super) tracks: Vec<TrackKey>,
    /// Tracks that it asked not to get, by sid.
    pub(super) declined: HashSet<String>,
    /// Who may subscribe to its tracks.
    pub(super) permission: SubscriptionPermission,
    /// Its socket does not take what it is sent.
    pub(super) stuck: bool,
    pub(super) socket_closed: Option<Instant>,
    pub(super) last_heard: Instant,
    pub(super) refresh_at: Instant,
    /// Media sections were asked for and its next offer is awaited.
    pub(super) sections_asked: bool,
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
    pub(super) fn send(&mut self, message: signal_response::Message) {
        if self.socket_closed.is_some() {
            return;
        }
        let message = ToSocket::Message(Box::new(SignalResponse { message: Some(message) }));
        if let Err(mpsc::error::TrySendError::Full(_)) = self.signals.try_send(message) {
            self.stuck = true;
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
                let named = allowed.participant_sid == other.sid
                    || allowed.participant_identity == other.user().as_str();
                named && (allowed.all_tracks || allowed.track_sids.iter().any(|sid| sid == track_sid))
            })
    }

    /// The participant as others are told, without its tracks.
    pub(super) fn info(&self) -> ParticipantInfo {
        let grants = &self.identity.grants;
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
                ..Default::default()
            }),
            is_publisher: !self.tracks.is_empty(),
            client_protocol: self.client.client_protocol,
            capabilities: self.client.capabilities.clone(),
            ..Default::default()
        }
    }
}

/// Whether grants allow publishing from a source.
pub(super) fn may_publish(grants: &Grants, source: TrackSource) -> bool {
    let name = source.as_str_name().to_lowercase();
    match grants.can_publish_sources.is_empty() {
        true => grants.may_publish(),
        false => grants.can_publish_sources.iter().any(|allowed| allowed.to_lowercase() == name),
    }
}

fn publish_sources(names: &[String]) -> Vec<i32> {
    let sources = names.iter().filter_map(|name| TrackSource::from_str_name(&name.to_uppercase()));
    sources.map(i32::from).collect()
}
