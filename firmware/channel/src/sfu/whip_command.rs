//! What is asked and answered at the doors of those who come by HTTP requests (WHIP and WHEP); `whip.rs` does it.

use livekit_protocol::{IceServer, TrackSource};
use rostrum_rtc::names::UserId;
use rostrum_rtc::token::Identity;
use tokio::sync::oneshot;

use super::command::JoinRefusal;
use crate::transport::{SdpError, SdpFragment};

/// By which door somebody came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// WHIP: to publish.
    Publish,
    /// WHEP: to watch.
    Watch,
}

/// Somebody at the door.
#[derive(Debug, Clone)]
pub struct OpenSpec {
    /// Who it is: its verified token.
    pub identity: Identity,
    /// Its offer (SDP).
    pub offer: String,
    /// What it comes for.
    pub purpose: Purpose,
}

/// What somebody comes for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// To publish camera and microphone, or a screen with its sound.
    Publish {
        /// It is a screen.
        screen: bool,
    },
    /// To watch.
    Watch(View),
}

/// Whom and what a viewer wants to see and hear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Nobody but this one.
    pub user: Option<UserId>,
    /// Sources; of a kind of which none is named, each will do.
    pub sources: Vec<TrackSource>,
}

/// Somebody was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The secret part of its address.
    pub id: String,
    /// The answer (SDP).
    pub answer: String,
    /// Names the present ICE session; the entity tag without its quotes.
    pub etag: String,
    /// TURN servers that it may use.
    pub ice_servers: Vec<IceServer>,
}

/// A stay as its owner names it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The door by which it came.
    pub door: Door,
    /// The secret part of its address.
    pub id: String,
    /// Who asks.
    pub identity: Identity,
}

/// The condition of a request (RFC 9110 §13.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// Whatever it is now.
    Any,
    /// One of these, without their quotes.
    Tags(Vec<String>),
}

/// What a change led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patched {
    /// Candidates were looked at.
    Trickled,
    /// ICE starts anew.
    Restarted {
        /// Names the new ICE session.
        etag: String,
        /// Our credentials and candidates, as an SDP fragment.
        fragment: String,
    },
}

/// What the doors ask.
#[derive(Debug)]
pub enum WhipCommand {
    /// Let somebody in.
    Open {
        /// Who and what for.
        spec: Box<OpenSpec>,
        /// The answer.
        reply: oneshot::Sender<Result<Opened, WhipRefusal>>,
    },
    /// Take candidates, or restart ICE.
    Patch {
        /// Whose.
        target: Box<Target>,
        /// On which condition.
        if_match: Option<IfMatch>,
        /// What is said.
        fragment: SdpFragment,
        /// The answer.
        reply: oneshot::Sender<Result<Patched, WhipRefusal>>,
    },
    /// End a stay.
    Close {
        /// Whose.
        target: Box<Target>,
        /// Done.
        reply: oneshot::Sender<Result<(), WhipRefusal>>,
    },
}

impl WhipCommand {
    /// Who asks.
    pub(crate) fn identity(&self) -> &Identity {
        match self {
            Self::Open { spec, .. } => &spec.identity,
            Self::Patch { target, .. } | Self::Close { target, .. } => &target.identity,
        }
    }
}

/// Why somebody was not let in, or a stay not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WhipRefusal {
    /// The offer cannot be used.
    #[error(transparent)]
    Offer(#[from] SdpError),
    /// There is no room.
    #[error(transparent)]
    Join(#[from] JoinRefusal),
    /// The token does not allow it.
    #[error("the token does not allow {0}; ask for one that does")]
    NotAllowed(&'static str),
    /// A section goes the wrong way.
    #[error("section {mid} of the offer goes the wrong way; {hint}")]
    Direction {
        /// The section's name.
        mid: String,
        /// What it should be.
        hint: &'static str,
    },
    /// Nothing of what a section offers is known here.
    #[error(
        "section {0} of the offer has no codec that is spoken here; offer Opus, and H.264, VP8, VP9 or AV1"
    )]
    NoCodec(String),
    /// Nothing to carry.
    #[error("the offer has neither sound nor picture; add a section for one of them")]
    Nothing,
    /// Too much to carry.
    #[error("the offer has too many sections: at most {limit} for {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A limit of the service on tracks.
    #[error(
        "the terminal may not publish that many tracks: at most {limit} (limits.audio_tracks_per_terminal, limits.video_tracks_per_terminal)"
    )]
    Tracks {
        /// The limit.
        limit: usize,
    },
    /// There is no such stay, or no more.
    #[error("there is no such session (any more); begin a new one with POST")]
    Gone,
    /// It is another's.
    #[error("the session belongs to another user; use the token that it was made with")]
    Foreign,
    /// No condition was given.
    #[error("If-Match is missing; send the ETag of this ICE session, or `*` to restart ICE")]
    ConditionMissing,
    /// The condition does not hold.
    #[error("If-Match names another ICE session; send the latest ETag, or `*` to restart ICE")]
    ConditionFailed,
}
