//! What the doors ask of the service and what they are told.

use std::collections::{BTreeMap, HashMap};

use livekit_protocol::{
    AddTrackRequest, ClientInfo, SessionDescription, SignalRequest, SignalResponse, SyncState,
    signal_response,
};
use rostrum_rtc::names::{AppId, ChannelId, DisplayName, UserId};
use rostrum_rtc::token::{Grants, Identity};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use super::SessionKey;
use super::whip::WhipCommand;

/// How many connections a terminal uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One to publish (the client offers) and one to subscribe (the service offers).
    Dual,
    /// One for both (the client offers).
    Single,
}

/// Everything that a terminal says when it joins.
#[derive(Debug, Clone)]
pub struct JoinSpec {
    /// Who it is: its verified token.
    pub identity: Identity,
    /// How many connections it uses.
    pub mode: Mode,
    /// Whether it wants every track of the channel.
    pub auto_subscribe: bool,
    /// What it runs.
    pub client: ClientInfo,
    /// Its first offer, where it rides in the join request.
    pub publisher_offer: Option<SessionDescription>,
    /// Tracks that it publishes with that offer.
    pub add_tracks: Vec<AddTrackRequest>,
    /// Replaces the token's metadata when not empty.
    pub metadata: String,
    /// Participant attributes over those of the token.
    pub attributes: HashMap<String, String>,
}

/// What a terminal says that lost its socket and wants to go on as before.
#[derive(Debug, Clone)]
pub struct ResumeSpec {
    /// Who it is: its verified token.
    pub identity: Identity,
    /// The stay that it wants to go on with; older clients do not say.
    pub sid: Option<String>,
    /// What it has, where that rides in the join request.
    pub state: Option<SyncState>,
    /// Its offer, where that rides in the join request.
    pub publisher_offer: Option<SessionDescription>,
}

/// Which of the sockets of a stay, in the order in which they came: 0 is the one that it joined with.
pub type SocketNumber = u32;

/// Why a terminal was not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinRefusal {
    /// The channel has as many terminals as it may.
    #[error(
        "the channel is full: it has {limit} terminals already (limits.terminals_per_channel); wait until one leaves"
    )]
    ChannelFull {
        /// `limits.terminals_per_channel`.
        limit: usize,
    },
    /// There are as many channels as there may be.
    #[error("the service has {limit} channels already; join one of them or raise limits.channels")]
    TooManyChannels {
        /// `limits.channels`.
        limit: usize,
    },
    /// There are as many terminals as there may be.
    #[error("the service has {limit} terminals already (limits.terminals); wait until one leaves")]
    TooManyTerminals {
        /// `limits.terminals`.
        limit: usize,
    },
    /// The service stops.
    #[error("the service is stopping; try again in a moment")]
    Stopping,
    /// The channel was brought to another media thread while the terminal was on its way.
    #[error("the channel is being moved; try again in a moment")]
    Moving,
}

/// What goes to a terminal's socket.
#[derive(Debug, Clone, PartialEq)]
pub enum ToSocket {
    /// A message.
    Message(Box<SignalResponse>),
    /// Nothing more comes: close it.
    Close,
}

/// What the media thread is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Let a terminal in, or say why not. Messages go to `signals` from now on.
    Join {
        /// What it says of itself.
        spec: Box<JoinSpec>,
        /// The way to its socket.
        signals: mpsc::Sender<ToSocket>,
        /// The answer.
        reply: oneshot::Sender<Result<SessionKey, JoinRefusal>>,
    },
    /// Go on with a stay whose socket was lost, if it is still there. Messages go to `signals` from now on.
    Resume {
        /// What it says of itself.
        spec: Box<ResumeSpec>,
        /// The way to its new socket.
        signals: mpsc::Sender<ToSocket>,
        /// The answer; `None` when it has to join anew.
        reply: oneshot::Sender<Option<(SessionKey, SocketNumber)>>,
    },
    /// Whether a terminal would be let in.
    Check {
        /// Who it is.
        identity: Box<Identity>,
        /// The answer.
        reply: oneshot::Sender<Result<(), JoinRefusal>>,
    },
    /// Whether the thread still turns.
    Ping {
        /// The answer.
        reply: oneshot::Sender<()>,
    },
    /// A message came from a terminal.
    Signal {
        /// Whose.
        session: SessionKey,
        /// On which of its sockets.
        socket: SocketNumber,
        /// The message.
        request: Box<SignalRequest>,
    },
    /// Its socket lives (a WebSocket ping or pong came).
    Heard {
        /// Whose.
        session: SessionKey,
    },
    /// Its socket closed.
    SocketClosed {
        /// Whose.
        session: SessionKey,
        /// Which of its sockets.
        socket: SocketNumber,
        /// What it had not sent yet.
        unsent: Vec<signal_response::Message>,
    },
    /// Something for the management API.
    Manage(Manage),
    /// Something for WHIP and WHEP.
    Whip(WhipCommand),
    /// A channel lives on this media thread, or on another one, from now on. In the second case everybody in it is
    /// told to come back, and nobody is let in.
    Move {
        /// The application.
        app: AppId,
        /// The channel.
        channel: ChannelId,
        /// On this thread.
        here: bool,
        /// `false` when it cannot be moved: participants are forwarded into it or out of it.
        reply: oneshot::Sender<bool>,
    },
    /// Tell everybody to come back later, and let nobody in.
    Stop {
        /// Answered when all is told.
        reply: oneshot::Sender<()>,
    },
}

impl Command {
    /// The channel that it is about: the media thread of that one does it.
    pub(crate) fn lives_at(&self) -> Option<(&AppId, &ChannelId)> {
        match self {
            Self::Join { spec, .. } => Some(place(&spec.identity)),
            Self::Resume { spec, .. } => Some(place(&spec.identity)),
            Self::Check { identity, .. } => Some(place(identity)),
            Self::Manage(manage) => manage.lives_at(),
            Self::Whip(whip) => Some(place(whip.identity())),
            Self::Move { app, channel, .. } => Some((app, channel)),
            Self::Ping { .. }
            | Self::Signal { .. }
            | Self::Heard { .. }
            | Self::SocketClosed { .. }
            | Self::Stop { .. } => None,
        }
    }
}

fn place(identity: &Identity) -> (&AppId, &ChannelId) {
    (&identity.app, &identity.channel)
}

/// A participant of a channel, by name.
#[derive(Debug, Clone)]
pub struct Whom {
    /// The application.
    pub app: AppId,
    /// The channel.
    pub channel: ChannelId,
    /// Who.
    pub user: UserId,
}

/// The answer to what the management API asks.
pub type Reply<T> = oneshot::Sender<Result<T, ManageError>>;

/// What the management API asks.
#[derive(Debug)]
pub enum Manage {
    /// All channels of an application.
    Channels {
        /// The application.
        app: AppId,
        /// The answer.
        reply: oneshot::Sender<Vec<ChannelView>>,
    },
    /// Change the metadata of a channel.
    SetChannelMetadata {
        /// The application.
        app: AppId,
        /// The channel.
        channel: ChannelId,
        /// Its new metadata.
        metadata: String,
        /// Done.
        reply: Reply<()>,
    },
    /// Send data to participants of a channel.
    SendData {
        /// The application.
        app: AppId,
        /// The channel.
        channel: ChannelId,
        /// What to send, and to whom.
        data: Box<DataToSend>,
        /// How many it was sent to.
        reply: Reply<usize>,
    },
    /// Mute or unmute tracks of a participant.
    Mute {
        /// Whose tracks.
        whom: Whom,
        /// Which.
        tracks: TrackChoice,
        /// Mute or unmute.
        muted: bool,
        /// The tracks that it was done to.
        reply: Reply<Vec<String>>,
    },
    /// Send a participant away.
    Remove {
        /// Who.
        whom: Whom,
        /// Done.
        reply: Reply<()>,
    },
    /// Change what a participant may do.
    SetPermissions {
        /// Who.
        whom: Whom,
        /// What it may do from now on; `room` and `room_join` stay.
        grants: Box<Grants>,
        /// The participant after that.
        reply: Reply<ParticipantView>,
    },
    /// Change name, metadata or attributes of a participant.
    Update {
        /// Who.
        whom: Whom,
        /// What changes.
        change: Box<ParticipantChange>,
        /// The participant after that.
        reply: Reply<ParticipantView>,
    },
    /// Whether a participant is there.
    Find {
        /// Who.
        whom: Whom,
        /// The answer.
        reply: Reply<()>,
    },
    /// Show a participant in a second channel too.
    Forward {
        /// Who.
        whom: Whom,
        /// The second channel.
        into: ChannelId,
        /// Whether what it sends to its channel by data goes there too.
        data: bool,
        /// Done.
        reply: Reply<()>,
    },
    /// Show it there no longer.
    StopForward {
        /// Who.
        whom: Whom,
        /// The second channel.
        into: ChannelId,
        /// Done.
        reply: Reply<()>,
    },
}

impl Manage {
    fn lives_at(&self) -> Option<(&AppId, &ChannelId)> {
        match self {
            Self::Channels { .. } => None,
            Self::SetChannelMetadata { app, channel, .. } | Self::SendData { app, channel, .. } => {
                Some((app, channel))
            }
            Self::Mute { whom, .. }
            | Self::Remove { whom, .. }
            | Self::SetPermissions { whom, .. }
            | Self::Update { whom, .. }
            | Self::Find { whom, .. }
            | Self::Forward { whom, .. }
            | Self::StopForward { whom, .. } => Some((&whom.app, &whom.channel)),
        }
    }
}

/// Data from the service.
#[derive(Debug, Clone, Default)]
pub struct DataToSend {
    /// The bytes.
    pub payload: Vec<u8>,
    /// What it is about.
    pub topic: String,
    /// Whom it is for; all when empty.
    pub users: Vec<String>,
    /// Whether it may be lost.
    pub lossy: bool,
}

/// What changes about a participant; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ParticipantChange {
    /// The name that others see.
    pub name: Option<DisplayName>,
    /// Free text.
    pub metadata: Option<String>,
    /// Attributes to set; an empty value removes one.
    pub attributes: BTreeMap<String, String>,
}

/// Which tracks of a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackChoice {
    /// One, by its sid.
    Sid(String),
    /// All of a kind.
    Kind(TrackKind),
}

/// Why the management API could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManageError {
    /// Nobody is there.
    #[error("there is no such channel now")]
    NoChannel,
    /// It is not in the channel.
    #[error("there is no such participant in the channel")]
    NoParticipant,
    /// It publishes no such track.
    #[error("the participant publishes no such track")]
    NoTrack,
    /// It is not shown in that channel.
    #[error("the participant is not forwarded into that channel")]
    NoForward,
    /// The second channel is its own.
    #[error("the participant is in that channel already; name another one to forward it into")]
    OwnChannel,
    /// Somebody of that name is there.
    #[error("somebody with that UserId is in the other channel already; one of the two must leave first")]
    UserTaken,
    /// The second channel is full.
    #[error("the other channel is full: it has {limit} terminals already; wait until one leaves")]
    ChannelFull {
        /// `limits.terminals_per_channel`.
        limit: usize,
    },
    /// The second channel lives on another media thread and cannot be brought here.
    #[error(
        "the other channel is on another media thread (media.threads), and forwards of its own keep it there; end \
         those first"
    )]
    OtherThread,
    /// The second channel lives on another media thread, and too many were brought elsewhere already.
    #[error(
        "the other channel is on another media thread (media.threads), and {limit} channels were moved already; forward \
         the other way round, or restart the service"
    )]
    TooManyMoved {
        /// How many.
        limit: usize,
    },
    /// A change that cannot be.
    #[error("{0}")]
    Change(#[from] ChangeRefusal),
}

/// Why name, metadata or attributes of a participant were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeRefusal {
    /// Too much.
    #[error("metadata and attributes may have {limit} bytes each; shorten them")]
    TooLarge {
        /// How much may be.
        limit: usize,
    },
    /// It is the token's.
    #[error("the attribute `{0}` is the token's word; ask for another token")]
    Udid(&'static str),
}

/// Sound or picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

/// A channel as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChannelView {
    /// ChannelId.
    pub channel: String,
    /// LiveKit's room sid.
    pub sid: String,
    /// When its first terminal came, in seconds since 1970.
    pub created_at: u64,
    /// Free text of the application.
    pub metadata: String,
    /// Who is in it.
    pub participants: Vec<ParticipantView>,
    /// Who is shown in it from another channel.
    pub forwarded: Vec<ForwardedView>,
}

/// A participant of another channel that is shown in this one.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ForwardedView {
    /// UserId.
    pub user: String,
    /// The channel that it is in.
    pub from: String,
}

/// A participant as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ParticipantView {
    /// UserId.
    pub user: String,
    /// The name that others see.
    pub name: String,
    /// LiveKit's participant sid.
    pub sid: String,
    /// The hardware terminal, when it is one.
    pub udid: Option<String>,
    /// When it joined, in seconds since 1970.
    pub joined_at: u64,
    /// Whether its media connection is up.
    pub connected: bool,
    /// Free text.
    pub metadata: String,
    /// Participant attributes.
    pub attributes: BTreeMap<String, String>,
    /// What it may do.
    pub permissions: PermissionView,
    /// Other channels that it is shown in.
    pub forwarded_into: Vec<String>,
    /// What it publishes.
    pub tracks: Vec<TrackView>,
}

/// What a participant may do, as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PermissionView {
    /// May publish tracks.
    pub can_publish: bool,
    /// Only these sources, when not empty.
    pub can_publish_sources: Vec<String>,
    /// May subscribe to tracks.
    pub can_subscribe: bool,
    /// May send data.
    pub can_publish_data: bool,
    /// May change its own name, metadata and attributes.
    pub can_update_own_metadata: bool,
    /// Others do not see it.
    pub hidden: bool,
}

/// A track as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TrackView {
    /// LiveKit's track sid.
    pub sid: String,
    /// Sound or picture.
    pub kind: TrackKind,
    /// `camera`, `microphone`, `screen_share`, `screen_share_audio` or `unknown`.
    pub source: String,
    /// MIME type of its codec.
    pub codec: String,
    /// Whether it is muted.
    pub muted: bool,
    /// Width in pixels; 0 for sound.
    pub width: u32,
    /// Height in pixels; 0 for sound.
    pub height: u32,
    /// Simulcast layers that arrive now, lowest first.
    pub layers: Vec<String>,
    /// How many subscribe to it.
    pub subscribers: usize,
}
