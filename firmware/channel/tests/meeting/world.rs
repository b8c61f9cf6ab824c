//! The service, its clients, and the datagrams between them, in virtual time.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use livekit_protocol::{ClientInfo, LeaveRequest, SignalRequest, signal_request::Message as Request};
use rand::{SeedableRng as _, rngs::StdRng};
use rostrum_channel::{
    config::{App, Limits, Timeouts},
    sfu::{
        Sfu, SfuConfig,
        command::{Command, JoinSpec, Mode},
    },
    transport::{Candidate, Certificate, PeerConfig, RemoteAddress},
};
use rostrum_rtc::{
    names::{AppId, ChannelId, UserId},
    token::{AppKey, Grants, Identity},
};
use tokio::sync::{mpsc, oneshot};

use super::client::Client;

/// How often what clients say is looked at.
const TICK: Duration = Duration::from_millis(2);

pub(crate) struct World {
    pub(crate) sfu: Sfu,
    pub(crate) began: Instant,
    pub(crate) now: Instant,
    pub(crate) clients: Vec<Client>,
    flying: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
    rng: StdRng,
}

fn service() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 7882))
}

impl World {
    pub(crate) fn new() -> Self {
        static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
        let certificate = CERTIFICATE.get_or_init(|| Arc::new(Certificate::generate().unwrap()));
        let config = SfuConfig {
            peer: PeerConfig::new(certificate.clone(), [Candidate::Udp(service())]),
            candidates: Vec::new(),
            turn: Default::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            apps: vec![App { id: AppId::new("app").unwrap(), key: AppKey::new("key") }],
            totals: Default::default(),
        };
        let now = Instant::now();
        let unix = Duration::from_secs(1_700_000_000);
        Self {
            sfu: Sfu::new(config, StdRng::seed_from_u64(7), now, unix),
            began: now,
            now,
            clients: Vec::new(),
            flying: BTreeMap::new(),
            sent: 0,
            rng: StdRng::seed_from_u64(11),
        }
    }

    /// Somebody joins; its place among the clients is also its number as a publisher.
    pub(crate) fn join(&mut self, name: &str, publishes: bool) -> usize {
        self.join_as(name, publishes, true)
    }

    /// Somebody joins who publishes and watches nobody.
    pub(crate) fn join_quietly(&mut self, name: &str) -> usize {
        self.join_as(name, true, false)
    }

    fn join_as(&mut self, name: &str, publishes: bool, auto_subscribe: bool) -> usize {
        let channel = ChannelId::new("channel").unwrap();
        let identity = Identity {
            app: AppId::new("app").unwrap(),
            grants: Grants::participant(&channel),
            channel,
            user: UserId::new(name).unwrap(),
            name: None,
            udid: None,
            metadata: String::new(),
            attributes: Default::default(),
            expires_at: u64::MAX,
        };
        let spec = JoinSpec {
            identity,
            mode: Mode::Dual,
            auto_subscribe,
            client: ClientInfo::default(),
            publisher_offer: None,
            add_tracks: Vec::new(),
            metadata: String::new(),
            attributes: HashMap::new(),
        };
        let (signals, inbox) = mpsc::channel(512);
        let (reply, mut answer) = oneshot::channel();
        self.sfu.handle_command(self.now, Command::Join { spec: Box::new(spec), signals, reply });
        let key = answer.try_recv().unwrap().unwrap();
        let number = self.clients.len();
        self.clients.push(Client::new(number as u8, self.now, key, inbox, publishes));
        number
    }

    /// The client that joined last leaves.
    pub(crate) fn leave(&mut self, number: usize) {
        assert_eq!(number + 1, self.clients.len(), "others keep their places");
        let client = self.clients.pop().unwrap();
        let request = Box::new(SignalRequest { message: Some(Request::Leave(LeaveRequest::default())) });
        self.sfu.handle_command(self.now, Command::Signal { session: client.key, socket: 0, request });
        self.collect();
    }

    pub(crate) fn client(&mut self, number: usize) -> &mut Client {
        &mut self.clients[number]
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.now < end {
            let tick = self.now + TICK;
            while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= tick) {
                let ((at, _), (from, to, datagram)) = entry.remove_entry();
                self.now = self.now.max(at);
                self.deliver(from, to, &datagram);
                self.collect();
            }
            self.now = tick;
            self.turn();
        }
    }

    /// Runs until something holds, for at most so long; whether it did, and how long it took.
    pub(crate) fn until(&mut self, seconds: f64, mut holds: impl FnMut(&mut World) -> bool) -> Option<f64> {
        let from = self.now;
        while (self.now - from).as_secs_f64() < seconds {
            if holds(self) {
                return Some((self.now - from).as_secs_f64());
            }
            self.run(0.02);
        }
        None
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        if to == service() {
            self.sfu.handle_datagram(self.now, self.now, RemoteAddress::udp(from), BytesMut::from(datagram));
            return;
        }
        for client in &mut self.clients {
            for connection in [&mut client.publishing, &mut client.subscribing] {
                if connection.address == to {
                    connection.receive(self.now, from, datagram);
                    connection.due = self.now;
                }
            }
        }
    }

    /// Everybody does what time demands.
    fn turn(&mut self) {
        let now = self.now;
        while self.sfu.poll_timeout().is_some_and(|at| at <= now) {
            self.sfu.handle_timeout(now);
        }
        for number in 0..self.clients.len() {
            let client = &mut self.clients[number];
            client.read(now);
            for message in std::mem::take(&mut client.outbox) {
                let request = Box::new(SignalRequest { message: Some(message) });
                self.sfu.handle_command(now, Command::Signal { session: client.key, socket: 0, request });
            }
            let client = &mut self.clients[number];
            if client.source.as_ref().is_none_or(|source| source.due() <= now) {
                client.produce(number as u8, now, self.began);
            }
            for connection in [&mut client.publishing, &mut client.subscribing] {
                if connection.due <= now {
                    let _ = connection.rtc.handle_input(str0m::Input::Timeout(now));
                }
            }
        }
        self.collect();
    }

    /// Puts what everybody has to say onto the links.
    fn collect(&mut self) {
        let (now, began) = (self.now, self.began);
        while let Some((to, datagram)) = self.sfu.poll_transmit() {
            let client = self
                .clients
                .iter_mut()
                .find(|c| c.subscribing.address == to.address || c.publishing.address == to.address);
            let Some(client) = client else { continue };
            if let Some(at) = client.down.send(now, datagram.len(), &mut self.rng) {
                self.sent += 1;
                self.flying.insert((at, self.sent), (service(), to.address, datagram.to_vec()));
            }
        }
        for client in &mut self.clients {
            let (flying, sent, rng) = (&mut self.flying, &mut self.sent, &mut self.rng);
            client.poll(now, began, |link, from, datagram| {
                if let Some(at) = link.send(now, datagram.len(), rng) {
                    *sent += 1;
                    flying.insert((at, *sent), (from, service(), datagram));
                }
            });
        }
    }
}
