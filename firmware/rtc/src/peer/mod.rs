//! One connection to the service without I/O: ICE, DTLS, SRTP and SCTP over datagrams that the caller carries.
//! Descriptions (SDP), RTP streams and RTCP belong to the caller.

mod data;
mod dtls;
mod ice;

use std::{
    collections::{HashSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use rtc::srtp::context::Context;

pub(crate) use self::data::MAX_MESSAGE_SIZE;
use self::{data::Data, dtls::Dtls, ice::Ice};
pub(crate) use dtls::Certificate;

use crate::{
    RtcError,
    rtp::Packet,
    sdp::{Description, Setup, Transport},
};

/// SSRCs that are decrypted; each costs memory for its rollover counter, known or not.
const MAX_SSRCS: usize = 512;
/// Datagrams that may wait for the connection's first path.
const MAX_EARLY: usize = 64;

/// What happens on a connection.
#[derive(Debug)]
pub(crate) enum PeerEvent {
    /// Keys are agreed: media can flow.
    Connected,
    /// It will not come back.
    Failed(&'static str),
    /// A media packet.
    Rtp(Packet),
    /// A compound control packet.
    Rtcp(Vec<Box<dyn rtc::rtcp::Packet>>),
    /// A message on a data channel.
    Data(Bytes),
}

/// A datagram to send.
#[derive(Debug)]
pub(crate) struct Transmit {
    /// One of our candidates' addresses.
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: BytesMut,
}

/// A connection.
pub(crate) struct Peer {
    ice: Ice,
    dtls: Dtls,
    data: Data,
    srtp: Option<(Context, Context)>,
    ssrcs: HashSet<u32>,
    transmits: VecDeque<Transmit>,
    early: VecDeque<BytesMut>,
    events: VecDeque<PeerEvent>,
    session: (u64, u64),
    started: bool,
    failed: bool,
}

impl Peer {
    /// A connection that may use these local addresses. `session` is a random number for its descriptions.
    pub(crate) fn new(
        now: Instant,
        local: &[SocketAddr],
        certificate: Arc<Certificate>,
        session: u64,
    ) -> Result<Self, RtcError> {
        Ok(Self {
            ice: Ice::new(now, local)?,
            dtls: Dtls::new(certificate),
            data: Data::new(),
            srtp: None,
            ssrcs: HashSet::new(),
            transmits: VecDeque::new(),
            early: VecDeque::new(),
            events: VecDeque::new(),
            session: (session >> 2, 0),
            started: false,
            failed: false,
        })
    }

    /// Our end, for the next description.
    pub(crate) fn transport(&mut self) -> Transport {
        self.session.1 += 1;
        let (ufrag, password) = self.ice.local_credentials();
        Transport {
            ufrag,
            password,
            fingerprint: self.dtls.fingerprint().to_owned(),
            candidates: self.ice.local_candidates(),
            session: self.session,
        }
    }

    /// Takes the service's description: the first one starts the connection, later ones add candidates.
    /// `we_offered` says whether it is an answer.
    pub(crate) fn set_remote(
        &mut self,
        now: Instant,
        remote: &Description,
        we_offered: bool,
    ) -> Result<(), RtcError> {
        if !self.started {
            self.started = true;
            // A lite agent is always controlled (RFC 8445 §6.1.1).
            let controlling = we_offered || remote.ice_lite;
            // As an answerer we always say "active"; an offer of "active" makes us wait.
            let client = match remote.setup {
                Some(Setup::Active) => false,
                Some(Setup::Passive) => true,
                _ => !we_offered,
            };
            self.ice.start(now, controlling, &remote.ufrag, &remote.password)?;
            self.dtls.start(client, remote.fingerprints.clone())?;
            self.data.set_client(client);
        } else if self.ice.is_restart(&remote.ufrag) {
            return Err(RtcError::Restart);
        }
        for candidate in &remote.candidates {
            self.ice.add_remote_candidate(candidate);
        }
        self.handle_timeout(now);
        Ok(())
    }

    /// Adds a trickled `candidate:...` line. What cannot be used is passed over.
    pub(crate) fn add_remote_candidate(&mut self, now: Instant, candidate: &str) {
        self.ice.add_remote_candidate(candidate);
        self.handle_timeout(now);
    }

    /// Opens a data channel as soon as the connection allows.
    pub(crate) fn open_channel(&mut self, label: &str, reliable: bool) {
        self.data.open(label, reliable);
    }

    /// Sends on an open data channel; `false` when there is none with that label.
    pub(crate) fn send_data(&mut self, now: Instant, label: &str, bytes: &Bytes) -> bool {
        let sent = self.data.send(now, label, bytes);
        self.flush(now);
        sent
    }

    /// Round trip by the latest consent check.
    pub(crate) fn round_trip(&self, now: Instant) -> Option<Duration> {
        self.ice.round_trip(now)
    }

    /// A datagram arrived at one of our addresses.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        to: SocketAddr,
        from: SocketAddr,
        bytes: BytesMut,
    ) {
        match bytes.first() {
            Some(0..=3) => self.ice.handle_datagram(now, to, from, bytes),
            Some(20..=63) => {
                self.ice.heard(now, to, from);
                self.dtls.handle_datagram(now, bytes);
            }
            Some(128..=191) if bytes.len() >= 12 => self.handle_media(bytes),
            _ => {}
        }
        self.flush(now);
    }

    fn handle_media(&mut self, bytes: BytesMut) {
        let Some((_, incoming)) = &mut self.srtp else { return };
        // RFC 5761 §4: payload types 64..=95 of RTP are RTCP.
        let control = (192..=223).contains(&bytes[1]);
        let at = if control { 4 } else { 8 };
        let ssrc = u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if !self.ssrcs.contains(&ssrc) {
            if self.ssrcs.len() >= MAX_SSRCS {
                return;
            }
            self.ssrcs.insert(ssrc);
        }
        if control {
            if let Ok(mut plain) = incoming.decrypt_rtcp(&bytes)
                && let Ok(packets) = rtc::rtcp::packet::unmarshal(&mut plain)
            {
                self.events.push_back(PeerEvent::Rtcp(packets));
            }
        } else if let Ok(plain) = incoming.decrypt_rtp(&bytes)
            && let Some(packet) = Packet::parse(plain.freeze())
        {
            self.events.push_back(PeerEvent::Rtp(packet));
        }
    }

    /// Sends a media packet; dropped before the connection is up.
    pub(crate) fn send_rtp(&mut self, packet: &[u8]) {
        if let Some((outgoing, _)) = &mut self.srtp
            && let Some((from, to)) = self.ice.path()
            && let Ok(bytes) = outgoing.encrypt_rtp(packet)
        {
            self.transmits.push_back(Transmit { from, to, bytes });
        }
    }

    /// Sends control packets as one compound; dropped before the connection is up.
    pub(crate) fn send_rtcp(&mut self, packets: &[Box<dyn rtc::rtcp::Packet>]) {
        if !packets.is_empty()
            && let Some((outgoing, _)) = &mut self.srtp
            && let Some((from, to)) = self.ice.path()
            && let Ok(plain) = rtc::rtcp::packet::marshal(packets)
            && let Ok(bytes) = outgoing.encrypt_rtcp(&plain)
        {
            self.transmits.push_back(Transmit { from, to, bytes });
        }
    }

    /// The next datagram to send.
    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub(crate) fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// When [`Peer::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let timeouts = [self.ice.poll_timeout(), self.dtls.poll_timeout(), self.data.poll_timeout()];
        timeouts.into_iter().flatten().min()
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.ice.handle_timeout(now);
        self.dtls.handle_timeout(now);
        self.data.handle_timeout(now);
        self.flush(now);
    }

    /// Tells the service that we go.
    pub(crate) fn close(&mut self, now: Instant) {
        self.dtls.close(now);
        self.flush(now);
    }

    /// Moves what one layer produced to the next, until nothing is left.
    fn flush(&mut self, now: Instant) {
        while self.ice.poll_selected() {
            self.dtls.connect(now);
        }
        if self.ice.has_failed() {
            self.fail("no answer from the service's media address");
        }
        if let Some(reason) = self.dtls.failure() {
            self.fail(reason);
        }
        if let Some(keys) = self.dtls.take_keys() {
            self.srtp = Some(keys);
            self.events.push_back(PeerEvent::Connected);
            self.data.connect(now);
        }
        while let Some(bytes) = self.dtls.poll_data() {
            self.data.handle_packet(now, bytes.freeze());
        }
        while let Some(packet) = self.data.poll_transmit(now) {
            self.dtls.send(now, &packet);
        }
        while let Some(bytes) = self.data.poll_message() {
            self.events.push_back(PeerEvent::Data(bytes));
        }
        while let Some(transmit) = self.ice.poll_transmit() {
            self.transmits.push_back(transmit);
        }
        while let Some(bytes) = self.dtls.poll_transmit() {
            self.early.push_back(bytes);
            if self.early.len() > MAX_EARLY {
                self.early.pop_front();
            }
        }
        if let Some((from, to)) = self.ice.path() {
            self.transmits.extend(self.early.drain(..).map(|bytes| Transmit { from, to, bytes }));
        }
    }

    fn fail(&mut self, reason: &'static str) {
        if !self.failed {
            self.failed = true;
            self.events.push_back(PeerEvent::Failed(reason));
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
