//! A peer of ours and one of `str0m` (a second implementation of everything) on a network in virtual time.

use crate::transport::{Certificate, IceCredentials, Peer, PeerConfig, PeerEvent, RemoteAddress, SenderSpec};
use bytes::BytesMut;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use str0m::{
    Candidate, Event, Input, Output, Rtc,
    change::{SdpAnswer, SdpOffer, SdpPendingOffer},
    net::{Protocol, Receive},
};

pub(super) const TICK: Duration = Duration::from_millis(10);

pub(super) fn service_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 7882))
}

pub(super) fn client_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 40_000))
}

/// The client as the service sees it.
pub(super) fn client() -> RemoteAddress {
    RemoteAddress::udp(client_address())
}

pub(super) fn config() -> PeerConfig {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    let certificate = CERTIFICATE.get_or_init(|| Arc::new(Certificate::generate().unwrap()));
    PeerConfig::new(certificate.clone(), vec![crate::transport::Candidate::Udp(service_address())])
}

enum Packet {
    ToService(Vec<u8>),
    ToClient(Vec<u8>),
}

/// Two peers, the packets between them, and what they said.
pub(super) struct Network {
    pub(super) now: Instant,
    pub(super) service: Peer,
    pub(super) client: Rtc,
    pub(super) events: VecDeque<PeerEvent>,
    pub(super) client_events: VecDeque<Event>,
    /// Share of media packets (not of the handshake) that is lost, each way.
    pub(super) loss: f64,
    /// The handshakes of ICE and DTLS are lost as often.
    pub(super) loses_handshakes: bool,
    /// Nothing gets through at all.
    pub(super) cut: bool,
    /// What the client complained about last.
    pub(super) client_error: Option<String>,
    /// What arrived at the service, for fuzzing.
    pub(super) seen: Vec<Vec<u8>>,
    latency: Duration,
    flying: BTreeMap<(Instant, u64), Packet>,
    sent: u64,
    rng: StdRng,
    client_timeout: Instant,
}

impl Network {
    pub(super) fn new() -> Network {
        let now = Instant::now();
        let client =
            Rtc::builder().set_crypto_provider(Arc::new(str0m_rust_crypto::default_provider())).build(now);
        Network::with_client(now, client)
    }

    pub(super) fn with_client(now: Instant, mut client: Rtc) -> Network {
        let mut rng = StdRng::seed_from_u64(7);
        let service = Peer::new(now, &config(), IceCredentials::generate(&mut rng));
        client.add_local_candidate(Candidate::host(client_address(), "udp").unwrap());
        Network {
            now,
            service,
            client,
            events: VecDeque::new(),
            client_events: VecDeque::new(),
            loss: 0.0,
            loses_handshakes: false,
            cut: false,
            client_error: None,
            seen: Vec::new(),
            latency: Duration::from_millis(5),
            flying: BTreeMap::new(),
            sent: 0,
            rng,
            client_timeout: now,
        }
    }

    /// A path that loses a share of everything, each way; each seed loses others.
    pub(super) fn lossy(loss: f64, seed: u64) -> Network {
        let mut network = Network::new();
        network.rng = StdRng::seed_from_u64(seed);
        (network.loss, network.loses_handshakes) = (loss, true);
        network
    }

    /// The client's offer and our answer.
    pub(super) fn client_offers(&mut self, (offer, pending): (SdpOffer, SdpPendingOffer)) -> String {
        self.service.handle_offer(&offer.to_sdp_string()).unwrap();
        self.answer(pending)
    }

    pub(super) fn answer(&mut self, pending: SdpPendingOffer) -> String {
        let answer = self.service.create_answer();
        let parsed = SdpAnswer::from_sdp_string(&answer).unwrap();
        self.client.sdp_api().accept_answer(pending, parsed).unwrap();
        answer
    }

    /// Our offer and the client's answer.
    pub(super) fn service_offers(&mut self) -> (String, String) {
        let offer = self.service.create_offer();
        let parsed = SdpOffer::from_sdp_string(&offer).unwrap();
        let answer = self.client.sdp_api().accept_offer(parsed).unwrap().to_sdp_string();
        self.service.handle_answer(&answer).unwrap();
        (offer, answer)
    }

    /// Runs until `done`, calling it every [`TICK`], for at most `limit` of virtual time.
    pub(super) fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Network) -> bool) -> bool {
        let end = self.now + limit;
        while self.now < end {
            if done(self) {
                return true;
            }
            let tick = self.now + TICK;
            self.advance(tick);
        }
        done(self)
    }

    pub(super) fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until media can flow both ways.
    pub(super) fn connect(&mut self) {
        let up =
            self.run_until(Duration::from_secs(10), |n| n.service.is_connected() && n.client.is_connected());
        assert!(up, "the connection comes up");
        assert!(self.events.iter().any(|e| matches!(e, PeerEvent::Connected)));
    }

    fn advance(&mut self, to: Instant) {
        loop {
            self.pump();
            let timers = [self.service.poll_timeout(), Some(self.client_timeout)];
            let timer = timers.into_iter().flatten().min().unwrap_or(to).max(self.now);
            let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
            let next = arrival.map_or(timer, |at| at.min(timer));
            if next > to {
                self.now = to;
                return;
            }
            self.now = next;
            if arrival.is_some_and(|at| at <= next) {
                match self.flying.pop_first().unwrap().1 {
                    Packet::ToService(data) => {
                        self.seen.push(data.clone());
                        self.service.handle_datagram(self.now, self.now, client(), BytesMut::from(&data[..]));
                    }
                    Packet::ToClient(data) => {
                        let receive =
                            Receive::new(Protocol::Udp, service_address(), client_address(), &data).unwrap();
                        if let Err(error) = self.client.handle_input(Input::Receive(self.now, receive)) {
                            self.client_error = Some(error.to_string());
                        }
                    }
                }
                continue;
            }
            if self.service.poll_timeout().is_some_and(|at| at <= self.now) {
                self.service.handle_timeout(self.now);
            }
            if self.client_timeout <= self.now {
                self.client.handle_input(Input::Timeout(self.now)).unwrap();
                if self.client_timeout <= self.now
                    && self.service.poll_timeout().is_none_or(|at| at > self.now)
                {
                    // A client that wants to be called at once all the time must not stop the clock.
                    self.pump();
                    if self.client_timeout <= self.now {
                        self.now += Duration::from_micros(100);
                    }
                }
            }
        }
    }

    /// Moves what both have to say onto the wire.
    pub(super) fn pump(&mut self) {
        while let Some((to, data)) = self.service.poll_transmit() {
            assert_eq!(to, client());
            self.send(Packet::ToClient(data.to_vec()));
        }
        while let Some(event) = self.service.poll_event() {
            self.events.push_back(event);
        }
        loop {
            match self.client.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.client_timeout = at;
                    return;
                }
                Output::Transmit(transmit) => self.send(Packet::ToService(transmit.contents.to_vec())),
                Output::Event(event) => self.client_events.push_back(event),
            }
        }
    }

    fn send(&mut self, packet: Packet) {
        let (Packet::ToService(data) | Packet::ToClient(data)) = &packet;
        let media = data.first().is_some_and(|byte| *byte >= 128);
        let exposed = media || self.loses_handshakes;
        if self.cut || (exposed && self.rng.random_bool(self.loss)) {
            return;
        }
        self.sent += 1;
        self.flying.insert((self.now + self.latency, self.sent), packet);
    }
}

/// A track of ours.
pub(super) fn spec(kind: crate::transport::MediaKind, name: &str, ssrc: u32) -> SenderSpec {
    SenderSpec {
        kind,
        stream_id: format!("PA_{name}"),
        track_id: format!("TR_{name}"),
        cname: "room".into(),
        ssrc,
        rtx_ssrc: (kind == crate::transport::MediaKind::Video).then_some(ssrc + 1),
        codecs: Vec::new(),
        stereo: false,
    }
}
