//! The terminal's side of the RTC service: ids, tokens, signalling, peer connections, loss resilience and
//! bandwidth. See the README of this folder.

pub mod config;
mod event;
pub mod names;
mod options;
mod terminal;
pub mod token;

pub use event::{
    Codec, Event, LeaveReason, Media, ParticipantView, Quality, RemoteTrack, Speaker, Statistics, TrackKind,
    TrackSid, TrackSource, TrackView,
};
pub use options::{AudioPlan, LayerPlan, NetworkOptions, Rid, TerminalOptions, TokenSource, VideoPlan};
pub use terminal::Terminal;
