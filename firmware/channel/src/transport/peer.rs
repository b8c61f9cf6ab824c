//! One peer connection.

use super::{
    AudioPreference, Certificate, CodecKey, DataKind, IceCredentials, Mid, OutgoingRtcp, OutgoingRtp,
    PayloadMapping, PeerEvent, SdpError, Section, SendDataError, SenderSpec, Sent,
};
use bytes::BytesMut;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a connection may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the making of the peer until ICE and DTLS are up.
    pub connect: Duration,
    /// From the last valid connectivity check to [`PeerEvent::Disconnected`] (RFC 7675).
    pub consent: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { connect: Duration::from_secs(30), consent: Duration::from_secs(15) }
    }
}

/// What all peers of a service share.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// The process's certificate.
    pub certificate: Arc<Certificate>,
    /// The addresses under which remotes reach the socket, best first; at most 16 are told.
    pub candidates: Vec<SocketAddr>,
    /// How long a connection may be silent.
    pub timeouts: Timeouts,
}

impl PeerConfig {
    /// A configuration with the default timeouts.
    pub fn new(certificate: Arc<Certificate>, candidates: Vec<SocketAddr>) -> PeerConfig {
        PeerConfig { certificate, candidates, timeouts: Timeouts::default() }
    }
}

/// One WebRTC peer connection without I/O, see the [module](super).
pub struct Peer {
    sections: Vec<Section>,
}

impl Peer {
    /// A new connection that waits for an offer of the remote or for [`Peer::create_offer`].
    pub fn new(_now: Instant, _config: &PeerConfig, _credentials: IceCredentials) -> Peer {
        Peer { sections: Vec::new() }
    }

    /// Takes the remote's offer: the first, a later one, or one that restarts ICE. Answer it with
    /// [`Peer::create_answer`].
    ///
    /// # Errors
    /// When the SDP is not usable; the connection stays as it was.
    pub fn handle_offer(&mut self, _sdp: &str) -> Result<(), SdpError> {
        Ok(())
    }

    /// Puts a track on a free receive-only section of the remote's last offer; it starts with the next
    /// [`Peer::create_answer`]. `None` when there is no such section left: ask the remote for more.
    pub fn assign_sender(&mut self, _spec: SenderSpec) -> Option<Mid> {
        None
    }

    /// What the Opus encoder of the remote is asked for in the next answer.
    pub fn set_audio_preference(&mut self, _mid: &Mid, _preference: AudioPreference) {}

    /// The answer to the last offer.
    pub fn create_answer(&mut self) -> String {
        String::new()
    }

    /// Offers a track on a section of its own, reusing an inactive one of that kind. It starts when the
    /// next offer is answered.
    pub fn add_sender(&mut self, _spec: SenderSpec) -> Mid {
        Mid::from_bytes(b"0").expect("a digit is a token")
    }

    /// Stops sending a track; the section becomes inactive with the next offer or answer.
    pub fn remove_sender(&mut self, _mid: &Mid) {}

    /// Asks for an `m=application` section, with the channels of [`DataKind`] opened by us.
    pub fn enable_data_channels(&mut self) {}

    /// Whether something changed that the remote was not told yet.
    pub fn negotiation_needed(&self) -> bool {
        false
    }

    /// Our offer. Until it is answered another one may be made, which replaces it.
    pub fn create_offer(&mut self) -> String {
        String::new()
    }

    /// Takes the answer to our last offer.
    ///
    /// # Errors
    /// When the SDP is not usable or no offer waits.
    pub fn handle_answer(&mut self, _sdp: &str) -> Result<(), SdpError> {
        Ok(())
    }

    /// Takes a trickled candidate. A lite agent learns addresses from the checks themselves, so it is only
    /// looked at; says whether it was a candidate at all.
    pub fn add_remote_candidate(&mut self, candidate: &str) -> bool {
        candidate.trim_start_matches("a=").starts_with("candidate:")
    }

    /// All sections in the order of the session description.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter()
    }

    /// One section.
    pub fn section(&self, mid: &Mid) -> Option<&Section> {
        self.sections.iter().find(|s| s.mid == *mid)
    }

    /// The payload types of a codec on a section; `None` while not negotiated.
    pub fn payload_type(&self, _mid: &Mid, _codec: CodecKey) -> Option<PayloadMapping> {
        None
    }

    /// Takes a datagram that [`Demux`](super::Demux) routed here. Never fails: what is not ours is dropped.
    pub fn handle_datagram(&mut self, _now: Instant, _from: SocketAddr, _datagram: BytesMut) {}

    /// When [`Peer::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Does what time demands.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The next datagram to send. Drain after every call that takes `now`.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, BytesMut)> {
        None
    }

    /// The next event. Drain after every call that takes `now`.
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        None
    }

    /// Whether media flows.
    pub fn is_connected(&self) -> bool {
        false
    }

    /// Sends a packet of media. `None` when it could not be: not connected, not negotiated or too long.
    pub fn send_rtp(&mut self, _now: Instant, _out: OutgoingRtp<'_>) -> Option<Sent> {
        None
    }

    /// Sends feedback, in one datagram.
    pub fn send_rtcp(&mut self, _now: Instant, _packets: &[OutgoingRtcp]) {}

    /// Sends a message on a data channel.
    ///
    /// # Errors
    /// When the channel is not open, full or the message too long.
    pub fn send_data(&mut self, _now: Instant, _kind: DataKind, _bytes: &[u8]) -> Result<(), SendDataError> {
        Err(SendDataError::NotOpen)
    }

    /// Round trip to the remote, as far as known from feedback.
    pub fn round_trip(&self) -> Option<Duration> {
        None
    }

    /// Ends the connection and tells the remote.
    pub fn close(&mut self, _now: Instant) {}
}
