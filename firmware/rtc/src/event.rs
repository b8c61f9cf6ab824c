//! What a terminal tells its owner.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::Rid;

/// Name of a track given by the service (`TR_...`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackSid(Arc<str>);

impl TrackSid {
    /// From the service's text.
    pub fn new(sid: &str) -> Self {
        Self(sid.into())
    }

    /// The service's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TrackSid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for TrackSid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sound or picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrackKind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

/// What a track shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrackSource {
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// A shared screen or window.
    ScreenShare,
    /// The sound of a shared screen.
    ScreenShareAudio,
    /// The publisher did not say.
    Unknown,
}

/// Codecs of what is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// 48 kHz, in packets.
    Opus,
    /// Annex B access units.
    H264,
    /// Frames as in RFC 6386.
    Vp8,
    /// Frames as in the VP9 bitstream specification, one spatial layer.
    Vp9,
    /// Temporal units in the low-overhead format.
    Av1,
}

/// A track of somebody else that is now received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteTrack {
    /// Its name.
    pub sid: TrackSid,
    /// UserId of its publisher.
    pub user: String,
    /// Sound or picture.
    pub kind: TrackKind,
    /// What it shows.
    pub source: TrackSource,
    /// As announced by the publisher; [`Media`] says what really arrives.
    pub codec: Codec,
}

/// How well a participant is connected, as the service judges it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    /// The service heard nothing for a while.
    Lost,
    /// Loss or little bandwidth.
    Poor,
    /// Some loss.
    Good,
    /// Nothing to complain of; also before the first report.
    #[default]
    Excellent,
}

/// One track of a participant, received or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackView {
    /// Its name.
    pub sid: TrackSid,
    /// Sound or picture.
    pub kind: TrackKind,
    /// What it shows.
    pub source: TrackSource,
    /// Nothing is sent at the moment.
    pub muted: bool,
    /// Pixels, 0 when unknown.
    pub width: u32,
    /// Pixels, 0 when unknown.
    pub height: u32,
}

/// One participant of the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantView {
    /// UserId. Of a foreign service it may hold any character.
    pub user: String,
    /// Name to show; may be empty.
    pub name: String,
    /// What it publishes.
    pub tracks: Vec<TrackView>,
    /// It is among the active speakers.
    pub speaking: bool,
    /// How well it is connected.
    pub quality: Quality,
    /// Participant attributes, sorted by key.
    pub attributes: Vec<(String, String)>,
}

/// One active speaker.
#[derive(Clone, Debug, PartialEq)]
pub struct Speaker {
    /// UserId.
    pub user: String,
    /// 0.0..=1.0, 1.0 is loudest.
    pub level: f32,
}

/// Why a stay in a channel is over for good, or cannot begin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaveReason {
    /// [`crate::Terminal::leave`] was called.
    Asked,
    /// The same UserId (or Udid) joined from elsewhere.
    DuplicateIdentity,
    /// Somebody removed this participant.
    Removed,
    /// The channel was closed.
    ChannelClosed,
    /// The service refused the token or the channel; `reason` is its own text.
    Refused {
        /// HTTP status.
        status: u16,
        /// What the service said, at most 300 characters.
        reason: String,
    },
}

impl LeaveReason {
    /// Whether pressing the button again may help without anybody changing anything first.
    pub const fn retry_makes_sense(&self) -> bool {
        match self {
            Self::Asked | Self::DuplicateIdentity | Self::Removed | Self::ChannelClosed => true,
            Self::Refused { .. } => false,
        }
    }
}

impl std::fmt::Display for LeaveReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Asked => f.write_str("left"),
            Self::DuplicateIdentity => f.write_str("the same user joined from another device"),
            Self::Removed => f.write_str("somebody removed this room from the channel"),
            Self::ChannelClosed => f.write_str("the channel was closed"),
            Self::Refused { status, reason } => write!(f, "the service refused ({status}): {reason}"),
        }
    }
}

/// Figures of the last two seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Round trip to the service, by ICE and receiver reports; `None` before the first answer.
    pub round_trip: Option<Duration>,
    /// Part of the packets sent that the service did not get, 0.0..=1.0.
    pub send_loss: f32,
    /// Part of the packets to us that did not arrive at first, 0.0..=1.0.
    pub receive_loss: f32,
    /// Bits a second of media sent, repair included.
    pub send_bps: u64,
    /// Bits a second of media received, repair included.
    pub receive_bps: u64,
    /// What the estimator allows us to send.
    pub estimate_bps: u64,
    /// Packets sent again on request.
    pub retransmitted: u64,
    /// Packets that came by repair.
    pub repaired: u64,
    /// Frames given up for the next key frame.
    pub frames_skipped: u64,
    /// Key frames asked of publishers.
    pub key_frames_requested: u64,
    /// Messages to the terminal that were dropped because its queue was full.
    pub dropped: u64,
}

/// What happened. Within one stay: [`Event::Joining`] once an attempt, [`Event::Joined`], then anything, then
/// [`Event::Lost`] (another attempt follows) or [`Event::Left`] (the last event of all).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// An attempt begins.
    Joining {
        /// 1 for the first after [`crate::Terminal::start`] or [`Event::Lost`].
        attempt: u32,
    },
    /// The service took us in. Media flows when the connection is up, some ten milliseconds later.
    Joined {
        /// ChannelId.
        channel: String,
        /// This terminal.
        me: ParticipantView,
        /// The others.
        participants: Vec<ParticipantView>,
    },
    /// The media connection is up: what is sent from now on goes out.
    MediaUp,
    /// The others, whenever something about one of them changed.
    Participants(Vec<ParticipantView>),
    /// A track will be received.
    TrackAdded(RemoteTrack),
    /// A track is not received any more.
    TrackRemoved(TrackSid),
    /// The next frame of this layer must be a key frame.
    KeyFrameWanted {
        /// The layer.
        rid: Rid,
    },
    /// Which layers somebody watches; encoders of the others may stop. All layers of the plan are named.
    LayersWanted(Vec<(Rid, bool)>),
    /// Bits a second for all camera layers together.
    BitrateWanted {
        /// Without audio and repair.
        total_bps: u64,
    },
    /// The service (a moderator) changed the mute state of one of our tracks.
    MutedByService {
        /// Which.
        kind: TrackKind,
        /// New state.
        muted: bool,
    },
    /// The active speakers, loudest first.
    Speakers(Vec<Speaker>),
    /// Somebody sent data.
    Data {
        /// UserId of the sender; empty when the service itself sent it.
        user: String,
        /// Topic; may be empty.
        topic: String,
        /// The bytes.
        bytes: Bytes,
    },
    /// The stay was interrupted or could not begin; another attempt follows by itself.
    Lost {
        /// In plain words.
        reason: String,
        /// When the next attempt begins.
        retry_in: Duration,
    },
    /// Over. The streams end after this.
    Left {
        /// Why.
        reason: LeaveReason,
    },
    /// Every two seconds.
    Statistics(Statistics),
}

/// Media received.
#[derive(Clone, Debug)]
pub enum Media {
    /// One whole frame, in decoding order.
    Video {
        /// Of which track.
        track: TrackSid,
        /// How to decode it.
        codec: Codec,
        /// The frame; see [`Codec`].
        data: Bytes,
        /// 90 kHz clock of the publisher, as rewritten by the service.
        rtp_timestamp: u32,
        /// It can be decoded without others.
        key_frame: bool,
        /// The publisher's wall clock, since 1900, when it was captured, by sender reports (RFC 3550 §6.4.1). Sound
        /// and picture of one publisher are in step by it. `None` before the first report.
        captured: Option<Duration>,
        /// When its last packet arrived, on `CLOCK_MONOTONIC`.
        arrival: Duration,
    },
    /// One Opus packet, in order unless it came very late.
    Audio {
        /// Of which track.
        track: TrackSid,
        /// The packet.
        opus: Bytes,
        /// RTP sequence number, extended to 64 bits; a gap is a lost packet.
        sequence: u64,
        /// 48 kHz clock of the publisher.
        rtp_timestamp: u32,
        /// As of a picture.
        captured: Option<Duration>,
        /// When it arrived, on `CLOCK_MONOTONIC`.
        arrival: Duration,
    },
}
