//! One peer connection: ties ICE, DTLS, SRTP, SCTP and negotiation together.

use super::{
    AudioPreference, Candidate, Certificate, CloseReason, CodecKey, DataKind, IceCredentials, Mid,
    PayloadMapping, PeerEvent, RemoteAddress, SdpError, Section, SendDataError, SenderSpec,
    data::{DataChannels, DataOutput, MAX_MESSAGE_LEN},
    dtls::{Dtls, DtlsOutput},
    early_data::EarlyData,
    ice::{self, IceLite},
    negotiation::Negotiation,
    receive::Receiver,
    sdp,
    send::Sender,
    srtp::Srtp,
};
use bytes::BytesMut;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// How many datagrams may wait for [`Peer::poll_transmit`]; more are dropped, as a full socket would.
const MAX_TRANSMITS: usize = 8192;
/// How many events may wait for [`Peer::poll_event`].
const MAX_EVENTS: usize = 8192;

/// How many datagrams of a handshake may wait for the description that tells whom to expect: a ClientHello and more.
const MAX_EARLY_HANDSHAKE: usize = 8;

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
    /// The addresses under which remotes reach our sockets, best first; at most 16 are told.
    pub candidates: Arc<[Candidate]>,
    /// How long a connection may be silent.
    pub timeouts: Timeouts,
    /// Bytes of one data message of the remote, at most 65,536; longer ones are dropped.
    pub max_data_message_len: usize,
}

impl PeerConfig {
    /// A configuration with the default timeouts.
    pub fn new(certificate: Arc<Certificate>, candidates: impl Into<Arc<[Candidate]>>) -> PeerConfig {
        PeerConfig {
            certificate,
            candidates: candidates.into(),
            timeouts: Timeouts::default(),
            max_data_message_len: MAX_MESSAGE_LEN,
        }
    }
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not up yet; given up at this time.
    Connecting(Instant),
    Connected,
    /// Was up; the remote is not heard.
    Disconnected,
    Closed,
}

/// One WebRTC peer connection without I/O, see the [module](super).
pub struct Peer {
    config: PeerConfig,
    negotiation: Negotiation,
    ice: IceLite,
    dtls: Option<Dtls>,
    /// What came of the handshake before the remote's description: that takes another way, and may be slower.
    early_handshake: Vec<BytesMut>,
    data: Option<DataChannels>,
    opens_data: bool,
    /// What waits for the reliable channel, where one is expected.
    early_data: Option<EarlyData>,
    phase: Phase,
    pub(super) srtp: Option<Box<Srtp>>,
    pub(super) receiver: Receiver,
    pub(super) sender: Sender,
    pub(super) events: VecDeque<PeerEvent>,
    transmits: VecDeque<(RemoteAddress, BytesMut)>,
    /// The latest time that we were told; SDP comes without one.
    now: Instant,
}

impl Peer {
    /// A new connection that waits for an offer of the remote or for [`Peer::create_offer`].
    pub fn new(now: Instant, config: &PeerConfig, credentials: IceCredentials) -> Peer {
        // The credentials' own seed makes those of ICE restarts: another stream of it is ours.
        let mut seed = credentials.seed;
        seed.iter_mut().for_each(|byte| *byte ^= 0x5a);
        let mut rng = StdRng::from_seed(seed);
        let local_ssrc = rng.random_range(1..u32::MAX);
        Peer {
            config: config.clone(),
            negotiation: Negotiation::new(rng.random()),
            ice: IceLite::new(credentials),
            dtls: None,
            early_handshake: Vec::new(),
            data: None,
            opens_data: false,
            early_data: None,
            phase: Phase::Connecting(now + config.timeouts.connect),
            srtp: None,
            receiver: Receiver::new(now, local_ssrc),
            sender: Sender::new(now, rng.random()),
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            now,
        }
    }

    /// Takes the remote's offer: the first, a later one, or one that restarts ICE. Answer it with
    /// [`Peer::create_answer`].
    ///
    /// # Errors
    /// When the SDP is not usable; the connection stays as it was.
    pub fn handle_offer(&mut self, sdp: &str) -> Result<(), SdpError> {
        let remote = sdp::parse(sdp)?;
        self.negotiation.handle_offer(&remote)?;
        if !remote.ufrag.is_empty() {
            self.ice.set_remote_ufrag(&remote.ufrag, true);
        }
        self.negotiated();
        Ok(())
    }

    /// Puts a track on a free receive-only section of the remote's last offer; it starts with the next
    /// [`Peer::create_answer`]. `None` when there is no such section left: ask the remote for more.
    pub fn assign_sender(&mut self, spec: SenderSpec) -> Option<Mid> {
        self.negotiation.assign_sender(spec)
    }

    /// What the Opus encoder of the remote is asked for in the next answer; without it, what it offered.
    pub fn set_audio_preference(&mut self, mid: &Mid, preference: AudioPreference) {
        self.negotiation.set_audio_preference(mid, preference);
    }

    /// The codec that the remote shall send on a section, where it offered it. Without it, the one that it offered
    /// first.
    pub fn prefer_codec(&mut self, mid: &Mid, codec: CodecKey) {
        self.negotiation.prefer_codec(mid, codec);
    }

    /// The answer to the last offer.
    pub fn create_answer(&mut self) -> String {
        self.negotiation.create_answer();
        self.negotiated();
        self.describe(false)
    }

    /// Offers a track on a section of its own, reusing an inactive one of that kind. It starts when the
    /// next offer is answered. `None` when there are 256 sections already.
    pub fn add_sender(&mut self, spec: SenderSpec) -> Option<Mid> {
        self.negotiation.add_sender(spec)
    }

    /// Stops sending a track. The section becomes inactive with the next offer or answer, and free for another
    /// track after that.
    pub fn remove_sender(&mut self, mid: &Mid) {
        self.negotiation.remove_sender(mid);
        self.sender.rebuild(&self.negotiation.sections, self.negotiation.mixed());
    }

    /// Asks for an `m=application` section in our offers and opens the channels of [`DataKind`] from our end.
    pub fn enable_data_channels(&mut self) {
        self.opens_data = true;
        self.negotiation.add_data_section();
        if let Some(data) = &mut self.data {
            data.open_ours(self.now);
        }
    }

    /// Whether something changed that the remote was not told yet.
    pub fn negotiation_needed(&self) -> bool {
        self.negotiation.is_needed()
    }

    /// Restarts ICE with our next offer: for a remote that may have another network now. The present path
    /// carries on until the remote has checked another one.
    pub fn offer_ice_restart(&mut self) {
        self.ice.restart();
        self.negotiation.want_offer();
    }

    /// Our offer. Until it is answered another one may be made, which replaces it.
    pub fn create_offer(&mut self) -> String {
        self.negotiation.create_offer();
        self.describe(true)
    }

    /// Takes the answer to our last offer.
    ///
    /// # Errors
    /// When the SDP is not usable or no offer waits.
    pub fn handle_answer(&mut self, sdp: &str) -> Result<(), SdpError> {
        let remote = sdp::parse(sdp)?;
        self.negotiation.handle_answer(&remote)?;
        if !remote.ufrag.is_empty() {
            self.ice.set_remote_ufrag(&remote.ufrag, false);
        }
        self.negotiated();
        Ok(())
    }

    /// Takes nothing of what the remote offered to send: the next [`Peer::create_answer`] says so.
    pub fn receive_nothing(&mut self) {
        self.negotiation.receive_nothing();
        self.receiver.rebuild(&self.negotiation.sections);
    }

    /// Our ICE user fragment; every ICE restart has another.
    pub fn local_ufrag(&self) -> &str {
        self.ice.credentials().ufrag()
    }

    /// The remote's ICE user fragment, once it said one.
    pub fn remote_ufrag(&self) -> Option<&str> {
        self.ice.remote_ufrag()
    }

    /// The remote restarts ICE without a session description (RFC 9725 §4.3.3): it has another user fragment
    /// now, and so have we. The next [`Peer::create_answer`] says ours; media goes on meanwhile.
    pub fn restart_ice(&mut self, remote_ufrag: &str) {
        self.ice.set_remote_ufrag(remote_ufrag, true);
    }

    /// Takes a trickled candidate. A lite agent learns addresses from the checks themselves, so it is only
    /// looked at; says whether it was a candidate at all.
    pub fn add_remote_candidate(&mut self, candidate: &str) -> bool {
        candidate.trim_start_matches("a=").starts_with("candidate:")
    }

    /// All sections in the order of the session description.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.negotiation.sections.iter()
    }

    /// One section.
    pub fn section(&self, mid: &Mid) -> Option<&Section> {
        self.negotiation.sections.iter().find(|s| s.mid == *mid)
    }

    /// The payload types of a codec on a section. For a section that we send on, `None` until the remote
    /// agreed.
    pub fn payload_type(&self, mid: &Mid, codec: CodecKey) -> Option<PayloadMapping> {
        let section = self.section(mid)?;
        let agreed = section.state.established
            && !section.state.refused
            && section.sending.as_ref().is_none_or(|sending| sending.negotiated);
        agreed.then(|| section.state.mapping(codec)).flatten()
    }

    /// Takes a datagram that [`Demux`](super::Demux) routed here, and when the system took it from the network: at
    /// `now` or before, and later than that by how busy we are. Never fails: what is not ours is dropped.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        arrived: Instant,
        from: RemoteAddress,
        datagram: BytesMut,
    ) {
        self.now = now;
        if self.phase == Phase::Closed {
            return;
        }
        if ice::is_stun(&datagram) {
            return self.handle_stun(now, from, &datagram);
        }
        if !self.ice.is_validated(from) {
            return;
        }
        // RFC 7983 §7.
        match datagram.first() {
            Some(20..=63) => {
                self.ice.select_if_none(from);
                let mut out = Vec::new();
                match &mut self.dtls {
                    Some(dtls) => dtls.handle(now, datagram, &mut out),
                    None if self.early_handshake.len() < MAX_EARLY_HANDSHAKE => {
                        self.early_handshake.push(datagram);
                    }
                    None => {}
                }
                self.after_dtls(now, out);
            }
            Some(128..=191) => self.handle_media(now, arrived, &datagram),
            _ => {}
        }
    }

    /// When [`Peer::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Closed => return None,
            Phase::Connecting(deadline) => Some(deadline),
            Phase::Connected => self.ice.last_heard().map(|heard| heard + self.config.timeouts.consent),
            Phase::Disconnected => None,
        };
        let dtls = self.dtls.as_ref().and_then(Dtls::poll_timeout);
        let data = self.data.as_ref().and_then(DataChannels::poll_timeout);
        let media = self.srtp.as_ref().and_then(|_| self.receiver.poll_timeout());
        [own, dtls, data, media].into_iter().flatten().min()
    }

    /// Does what time demands.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        match self.phase {
            Phase::Closed => return,
            Phase::Connecting(deadline) if now >= deadline => {
                return self.end(now, CloseReason::ConnectTimeout);
            }
            Phase::Connected
                if self.ice.last_heard().is_none_or(|heard| now >= heard + self.config.timeouts.consent) =>
            {
                self.phase = Phase::Disconnected;
                self.event(PeerEvent::Disconnected);
            }
            _ => {}
        }
        let mut out = Vec::new();
        if let Some(dtls) = &mut self.dtls {
            dtls.handle_timeout(now, &mut out);
        }
        self.after_dtls(now, out);
        let mut out = Vec::new();
        if let Some(data) = &mut self.data
            && data.poll_timeout().is_some_and(|at| at <= now)
        {
            data.handle_timeout(now, &mut out);
            self.after_data(now, out);
        }
        self.send_own_feedback(now);
    }

    /// The next datagram to send. Drain after every call that takes `now`.
    pub fn poll_transmit(&mut self) -> Option<(RemoteAddress, BytesMut)> {
        self.transmits.pop_front()
    }

    /// The next event. Drain after every call that takes `now`.
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// Whether media flows.
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Whether the connection ended and will not come back.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Where the remote is, as far as known.
    pub fn remote_address(&self) -> Option<RemoteAddress> {
        self.ice.selected()
    }

    /// Says that a reliable channel will be opened by one of the two ends: what is sent on it before waits.
    pub fn hold_early_data(&mut self) {
        self.early_data.get_or_insert_default();
    }

    /// Sends a message on a data channel.
    ///
    /// # Errors
    /// When the channel is not open (and not [awaited](Peer::hold_early_data)), full or the message too long.
    pub fn send_data(&mut self, now: Instant, kind: DataKind, bytes: &[u8]) -> Result<(), SendDataError> {
        self.now = now;
        if kind == DataKind::Reliable
            && let Some(early) = &mut self.early_data
        {
            return early.hold(bytes);
        }
        let data = self.data.as_mut().ok_or(SendDataError::NotOpen)?;
        data.send(now, kind, bytes)?;
        self.flush_data(now);
        Ok(())
    }

    /// Round trip to the remote, as far as known from its receiver reports or our requests for repair.
    pub fn round_trip(&self) -> Option<Duration> {
        self.sender.round_trip().or_else(|| self.receiver.round_trip())
    }

    /// Ends the connection and tells the remote.
    pub fn close(&mut self, now: Instant) {
        self.end(now, CloseReason::Local);
    }

    /// As if the remote had proved that it sends from there.
    #[cfg(test)]
    pub(super) fn trust_for_tests(&mut self, address: RemoteAddress) {
        self.ice.trust_for_tests(address);
    }

    /// As if the remote had not heeded what our description said.
    #[cfg(test)]
    pub(super) fn limit_data_for_tests(&mut self, len: usize) {
        self.config.max_data_message_len = len;
    }

    fn describe(&mut self, offer: bool) -> String {
        self.negotiation.describe(
            offer,
            &self.config.certificate,
            self.ice.credentials(),
            &self.config.candidates,
            self.config.max_data_message_len,
        )
    }

    /// Follows what the two ends agreed on.
    fn negotiated(&mut self) {
        let mut out = Vec::new();
        if let (None, Some(role)) = (&self.dtls, self.negotiation.role()) {
            let fingerprints = self.negotiation.fingerprints().to_vec();
            let patience = self.config.timeouts.connect;
            match Dtls::new(&self.config.certificate, fingerprints, role, patience) {
                Ok(mut dtls) => {
                    if self.ice.selected().is_some() {
                        dtls.path_is_up(self.now);
                    }
                    for datagram in std::mem::take(&mut self.early_handshake) {
                        dtls.handle(self.now, datagram, &mut out);
                    }
                    self.dtls = Some(dtls);
                }
                Err(error) => log::error!(error:% = error; "cannot make a DTLS association"),
            }
        }
        if let (None, Some(dtls), Some(section)) = (&self.data, &self.dtls, self.negotiation.data_section()) {
            let mut data = DataChannels::new(dtls.role(), section.state.max_message_len);
            if self.opens_data {
                data.open_ours(self.now);
            }
            if dtls.is_connected() {
                data.start(self.now);
            }
            self.data = Some(data);
            self.flush_data(self.now);
        }
        self.receiver.rebuild(&self.negotiation.sections);
        self.sender.rebuild(&self.negotiation.sections, self.negotiation.mixed());
        self.after_dtls(self.now, out);
    }

    fn handle_stun(&mut self, now: Instant, from: RemoteAddress, datagram: &[u8]) {
        let had_path = self.ice.selected().is_some();
        let provider = self.config.certificate.provider.clone();
        let outcome = self.ice.handle(now, from, datagram, provider.as_ref());
        if let Some(response) = outcome.response {
            self.transmit_to(from, BytesMut::from(&response[..]));
        }
        if let Some(released) = outcome.released {
            self.event(PeerEvent::AddressReleased(released));
        }
        if outcome.validated {
            self.event(PeerEvent::AddressValidated(from));
        }
        if self.phase == Phase::Disconnected && self.ice.last_heard() == Some(now) {
            self.phase = Phase::Connected;
            self.event(PeerEvent::Connected);
        }
        if !had_path && self.ice.selected().is_some() {
            if let Some(dtls) = &mut self.dtls {
                dtls.path_is_up(now);
            }
            self.after_dtls(now, Vec::new());
        }
    }

    fn after_dtls(&mut self, now: Instant, out: Vec<DtlsOutput>) {
        for output in out {
            match output {
                DtlsOutput::Connected(srtp) => {
                    self.srtp = Some(srtp);
                    self.phase = Phase::Connected;
                    self.event(PeerEvent::Connected);
                    if let Some(data) = &mut self.data {
                        data.start(now);
                    }
                }
                DtlsOutput::Data(packet) => {
                    let mut out = Vec::new();
                    if let Some(data) = &mut self.data {
                        data.handle(now, packet, &mut out);
                    }
                    self.after_data(now, out);
                }
                DtlsOutput::ClosedByRemote => self.end(now, CloseReason::Remote),
                DtlsOutput::Failed => self.end(now, CloseReason::Dtls),
            }
        }
        self.flush_data(now);
    }

    fn after_data(&mut self, now: Instant, out: Vec<DataOutput>) {
        let limit = self.config.max_data_message_len;
        for output in out {
            if let DataOutput::Open(label) = &output
                && label == DataKind::Reliable.label()
            {
                self.send_early_data(now);
            }
            self.event(match output {
                DataOutput::Open(label) => PeerEvent::DataChannelOpen { label },
                DataOutput::Message(_, bytes) if bytes.len() > limit => {
                    PeerEvent::DataTooLong { len: bytes.len() }
                }
                DataOutput::Message(kind, bytes) => PeerEvent::Data { kind, bytes },
                DataOutput::TooLong(len) => PeerEvent::DataTooLong { len },
            });
        }
        self.flush_data(now);
    }

    fn send_early_data(&mut self, now: Instant) {
        let (Some(early), Some(data)) = (self.early_data.take(), &mut self.data) else { return };
        for message in early.into_messages() {
            if let Err(error) = data.send(now, DataKind::Reliable, &message) {
                log::debug!(error:%; "a data message that waited was not sent");
            }
        }
    }

    /// Moves what SCTP has to say into DTLS, and what DTLS has to say to the socket.
    fn flush_data(&mut self, now: Instant) {
        let Some(dtls) = &mut self.dtls else { return };
        if dtls.is_connected()
            && let Some(data) = &mut self.data
        {
            while let Some(packets) = data.poll_transmit(now) {
                packets.iter().for_each(|packet| dtls.send(now, packet));
            }
        }
        while let Some(datagram) = self.dtls.as_mut().and_then(Dtls::poll_transmit) {
            self.transmit(datagram);
        }
    }

    fn end(&mut self, now: Instant, reason: CloseReason) {
        if self.phase == Phase::Closed {
            return;
        }
        if let Some(dtls) = &mut self.dtls {
            dtls.close(now);
        }
        self.flush_data(now);
        self.phase = Phase::Closed;
        self.event(PeerEvent::Closed { reason });
    }

    pub(super) fn event(&mut self, event: PeerEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        }
    }

    /// Sends to the remote's selected address, if there is one.
    pub(super) fn transmit(&mut self, datagram: BytesMut) {
        if let Some(to) = self.ice.selected() {
            self.transmit_to(to, datagram);
        }
    }

    fn transmit_to(&mut self, to: RemoteAddress, datagram: BytesMut) {
        if self.transmits.len() < MAX_TRANSMITS {
            self.transmits.push_back((to, datagram));
        }
    }
}
