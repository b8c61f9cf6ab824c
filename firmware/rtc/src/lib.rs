//! The terminal's side of the RTC service: ids, tokens, signalling, peer connections, loss resilience and
//! bandwidth. See the README of this folder.

mod backoff;
mod clock;
pub mod config;
pub mod congestion;
pub mod device_token;
pub mod dtls;
mod error;
mod event;
pub mod names;
mod options;
mod peer;
mod receive;
mod rtp;
mod run;
pub mod sctp_check;
mod sdp;
mod send;
mod signal;
mod stay;
mod terminal;
pub mod token;

use error::RtcError;

pub use event::{
    Codec, Event, LeaveReason, Media, ParticipantView, Quality, RemoteTrack, Speaker, Statistics, TrackKind,
    TrackSid, TrackSource, TrackView,
};
pub use options::{AudioPlan, LayerPlan, NetworkOptions, Rid, TerminalOptions, TokenSource, VideoPlan};
pub use terminal::Terminal;
