//! The WebRTC peer of the service, without I/O: ICE-lite, DTLS, SRTP, SCTP, SDP, RTP and RTCP.
//!
//! Time, randomness, SDP and datagrams are arguments; datagrams and events come out. All peers share the
//! caller's sockets; [`Demux`] says whose a datagram is. See `README.md` in this folder.

mod address;
mod certificate;
mod codec;
mod data;
mod demux;
mod dtls;
mod early_data;
mod error;
mod event;
mod extension;
pub mod framing;
mod ice;
mod ids;
mod nack_generator;
mod negotiation;
mod peer;
mod receive;
mod reception;
mod rtcp;
mod rtp;
mod sdp;
mod seal;
mod section;
mod send;
mod srtp;
#[cfg(test)]
mod tests;
mod twcc_receiver;

pub use address::{Candidate, LocalSocket, RemoteAddress};
pub use certificate::Certificate;
pub use codec::{CodecKey, MediaKind, PayloadMapping};
pub use demux::Demux;
pub use error::{CertificateError, FragmentError, SdpError, SendDataError};
pub use event::{
    AudioLevel, AudioPreference, CloseReason, DataKind, IncomingRtp, OutgoingExtensions, OutgoingRtcp,
    OutgoingRtp, PeerEvent, Receiving, Rtcp, Section, SenderSpec, Sending, Sent, TransportFeedback,
};
pub use ice::IceCredentials;
pub use ids::{MAX_NAME_LEN, Mid, NameError, Rid};
pub use nack_generator::NackGenerator;
pub use peer::{Peer, PeerConfig, Timeouts};
pub use sdp::SdpFragment;
pub use twcc_receiver::TwccReceiver;
