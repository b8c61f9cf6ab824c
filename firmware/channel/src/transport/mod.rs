//! The WebRTC peer of the service, without I/O: ICE-lite, DTLS, SRTP, SCTP, SDP, RTP and RTCP.
//!
//! Time, randomness, SDP and datagrams are arguments; datagrams and events come out. All peers share one UDP
//! socket of the caller; [`Demux`] says whose a datagram is. See `README.md` in this folder.

mod certificate;
mod codec;
mod demux;
mod error;
mod event;
mod ice;
mod ids;
mod peer;
mod section;

pub use certificate::Certificate;
pub use codec::{CodecKey, MediaKind, PayloadMapping};
pub use demux::Demux;
pub use error::{CertificateError, SdpError, SendDataError};
pub use event::{
    AudioLevel, AudioPreference, CloseReason, DataKind, IncomingRtp, OutgoingExtensions, OutgoingRtcp,
    OutgoingRtp, PeerEvent, Receiving, Rtcp, Section, SenderSpec, Sending, Sent,
};
pub use ice::IceCredentials;
pub use ids::{MAX_NAME_LEN, Mid, NameError, Rid};
pub use peer::{Peer, PeerConfig, Timeouts};
