//! The service without I/O: channels, participants, negotiation and forwarding (a selective forwarding
//! middlebox, RFC 7667 §3.7).
//!
//! Commands, datagrams and time go in; datagrams come out by [`Sfu::poll_transmit`] and messages by the
//! participants' own queues. One thread owns it, so that no packet waits for a lock.

mod allocation;
pub mod command;
mod cross_channel;
mod data;
mod dynacast;
mod feedback;
mod forwarding;
mod join;
mod limits;
mod link;
mod manage;
mod negotiation;
mod permissions;
mod publish;
mod quality;
mod resume;
mod session;
mod signals;
mod speakers;
mod subscribe;
#[cfg(test)]
mod tests;
mod tick;
mod track;
mod turn;
mod whep;
pub mod whip;
mod whip_command;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use livekit_protocol::{DisconnectReason, leave_request, signal_response};
use rand::rngs::StdRng;
use rand::{Rng, RngCore};
use rostrum_rtc::names::{AppId, ChannelId};
use slotmap::{SlotMap, new_key_type};

use crate::config::{App, Limits, Timeouts, Turn};
use crate::threads::Totals;
use crate::transport::{
    Candidate, Demux, IceCredentials, Mid, OutgoingRtp, Peer, PeerConfig, PeerEvent, RemoteAddress,
};

use command::Command;
use link::Link;
use resume::Departed;
use session::Session;
use track::Track;

new_key_type! {
    /// One participant's stay in a channel.
    pub struct SessionKey;
    /// One peer connection.
    pub struct PeerKey;
    /// One published track.
    pub struct TrackKey;
}

/// The version of LiveKit's signalling that is spoken.
pub const PROTOCOL_VERSION: i32 = 17;

/// What the service needs to know.
#[derive(Debug, Clone)]
pub struct SfuConfig {
    /// Certificate, candidates and timeouts of connections.
    pub peer: PeerConfig,
    /// One list of candidates for each UDP socket. Connections are told them in turn, in the place of `peer`'s.
    pub candidates: Vec<Arc<[Candidate]>>,
    /// Bounds.
    pub limits: Limits,
    /// When a terminal counts as gone.
    pub timeouts: Timeouts,
    /// TURN servers that terminals are told.
    pub turn: Turn,
    /// Applications, whose keys sign refreshed tokens.
    pub apps: Vec<App>,
    /// What the other media threads have.
    pub totals: Totals,
}

/// Counts of what happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that came.
    pub datagrams_in: u64,
    /// Datagrams that were nobody's.
    pub datagrams_unknown: u64,
    /// Packets of media forwarded, each to one subscriber.
    pub packets_forwarded: u64,
    /// Packets sent again on request.
    pub packets_resent: u64,
    /// Packets sent again to find out whether a link carries more.
    pub packets_padding: u64,
    /// Key frames asked for.
    pub key_frames_requested: u64,
}

struct PeerSlot {
    peer: Peer,
    session: SessionKey,
    /// Waits to be drained.
    touched: bool,
    connected: bool,
    /// Number of the last offer that we made, and whether its answer is awaited.
    offer_id: u32,
    offer_pending: bool,
    /// What the remote sends on which section.
    tracks: Vec<(Mid, TrackKey)>,
    /// Our streams by SSRC, media and retransmission.
    senders: Vec<(u32, TrackKey)>,
    /// How much it carries of what we send.
    link: Link,
    /// When the peer wants to be called.
    timeout: Option<Instant>,
}

impl PeerSlot {
    /// Sends a packet of media now. `false` when it could not be.
    fn send(&mut self, now: Instant, out: OutgoingRtp<'_>) -> bool {
        let Some(sent) = self.peer.send_rtp(now, out) else { return false };
        match sent.transport_seq {
            Some(number) => self.link.estimator.sent(number, sent.bytes, now),
            None => self.link.estimator.sent_unnumbered(sent.bytes),
        }
        true
    }
}

struct Channel {
    sid: String,
    created_unix_ms: u64,
    sessions: Vec<SessionKey>,
    /// Who left not long ago, for those that could not be told when it happened.
    departed: Departed,
    metadata: String,
    speakers_at: Instant,
}

type ChannelKey = (AppId, ChannelId);

/// The service.
pub struct Sfu {
    config: SfuConfig,
    rng: StdRng,
    channels: HashMap<ChannelKey, Channel>,
    /// Who is shown in a channel besides its own.
    forwarded: HashMap<ChannelKey, Vec<SessionKey>>,
    sessions: SlotMap<SessionKey, Session>,
    peers: SlotMap<PeerKey, PeerSlot>,
    tracks: SlotMap<TrackKey, Track>,
    demux: Demux<PeerKey>,
    transmits: VecDeque<(RemoteAddress, BytesMut)>,
    touched: Vec<PeerKey>,
    next_candidates: usize,
    /// Sessions whose tracks changed so that their subscriber connection must be negotiated.
    to_negotiate: BTreeSet<SessionKey>,
    /// Room for a payload that must be changed on its way.
    scratch: Vec<u8>,
    next_peer_timeout: Option<Instant>,
    next_tick: Instant,
    quality_at: Instant,
    wall: (Instant, Duration),
    stopping: bool,
    /// Channels that were brought to another media thread.
    elsewhere: HashSet<ChannelKey>,
    counters: Counters,
    /// Participants that came by HTTP.
    resources: whip::Resources,
}

/// How many layers a publisher sends before it is told anything.
fn forward_layers() -> usize {
    crate::forward::layers::MAX_LAYERS
}

impl Sfu {
    /// A service without channels. `unix` is the time since 1970 at `now`.
    pub fn new(config: SfuConfig, rng: StdRng, now: Instant, unix: Duration) -> Self {
        Self {
            config,
            rng,
            channels: HashMap::new(),
            forwarded: HashMap::new(),
            sessions: SlotMap::with_key(),
            peers: SlotMap::with_key(),
            tracks: SlotMap::with_key(),
            demux: Demux::default(),
            transmits: VecDeque::new(),
            touched: Vec::new(),
            next_candidates: 0,
            to_negotiate: BTreeSet::new(),
            scratch: Vec::new(),
            next_peer_timeout: None,
            next_tick: now,
            quality_at: now + tick::QUALITY_INTERVAL,
            wall: (now, unix),
            stopping: false,
            elsewhere: HashSet::new(),
            counters: Counters::default(),
            resources: whip::Resources::default(),
        }
    }

    /// Tells the time since 1970 at `now`; it may step, unlike `now`.
    pub fn set_wall_clock(&mut self, now: Instant, unix: Duration) {
        self.wall = (now, unix);
    }

    fn unix_ms(&self, now: Instant) -> u64 {
        (self.wall.1 + now.saturating_duration_since(self.wall.0)).as_millis() as u64
    }

    /// Does what a door asks.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Join { spec, signals, reply } => {
                // A door that does not wait any more has no socket either: let nobody in.
                if !reply.is_closed() {
                    let result = self.join(now, *spec, signals);
                    if let Err(Ok(session)) = reply.send(result) {
                        self.remove_session(now, session, DisconnectReason::JoinFailure);
                    }
                }
            }
            Command::Check { identity, reply } => {
                // Nobody who waits, nobody to tell.
                let _ = reply.send(self.check_room(&identity));
            }
            Command::Resume { spec, signals, reply } => {
                // As with a join: a door that does not wait any more has no socket.
                if !reply.is_closed() {
                    let resumed = self.resume(now, *spec, signals);
                    if let Err(Some((session, socket))) = reply.send(resumed) {
                        self.socket_closed(now, session, socket, Vec::new());
                    }
                }
            }
            Command::Signal { session, socket, request } => {
                // What comes on a socket that was replaced was said again on the new one.
                if self.sessions.get(session).is_some_and(|session| session.socket == socket) {
                    self.handle_signal(now, session, *request);
                }
            }
            Command::Ping { reply } => {
                // Who asked may not wait any more.
                let _ = reply.send(());
            }
            Command::Heard { session } => self.heard(now, session),
            Command::SocketClosed { session, socket, unsent } => {
                self.socket_closed(now, session, socket, unsent);
            }
            Command::Manage(manage) => self.manage(now, manage),
            Command::Whip(whip) => self.whip(now, whip),
            Command::Move { app, channel, here, reply } => {
                let _ = reply.send(self.move_channel(now, (app, channel), here));
            }
            Command::Stop { reply } => {
                self.stop(now);
                // Nobody who waits is no reason to go on.
                let _ = reply.send(());
            }
        }
        self.config.totals.set(self.sessions.len(), self.channels.len());
        self.settle(now);
    }

    /// Takes a datagram from a media socket, and when the system took it: at `now` or before.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        arrived: Instant,
        from: RemoteAddress,
        datagram: BytesMut,
    ) {
        self.counters.datagrams_in += 1;
        let Some(key) = self.demux.route(from, &datagram) else {
            self.counters.datagrams_unknown += 1;
            return;
        };
        let Some(slot) = self.peers.get_mut(key) else { return };
        slot.peer.handle_datagram(now, arrived, from, datagram);
        if let Some(session) = self.sessions.get_mut(slot.session) {
            session.last_heard = now;
        }
        self.touch(key);
        self.settle(now);
    }

    /// When [`Sfu::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let tick = (!self.sessions.is_empty()).then_some(self.next_tick);
        [tick, self.next_peer_timeout].into_iter().flatten().min()
    }

    /// Does what time demands.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_peer_timeout.is_some_and(|at| at <= now) {
            let due: Vec<PeerKey> = self
                .peers
                .iter()
                .filter(|(_, slot)| slot.timeout.is_some_and(|at| at <= now))
                .map(|(key, _)| key)
                .collect();
            for key in due {
                if let Some(slot) = self.peers.get_mut(key) {
                    slot.peer.handle_timeout(now);
                    self.serve_link(now, key);
                    self.touch(key);
                }
            }
            self.settle(now);
            self.next_peer_timeout = self.peers.values().filter_map(|slot| slot.timeout).min();
        }
        if self.next_tick <= now {
            self.next_tick = now + tick::INTERVAL;
            self.tick(now);
            self.settle(now);
        }
    }

    /// The next datagram to send. Drain after every call that takes `now`.
    pub fn poll_transmit(&mut self) -> Option<(RemoteAddress, BytesMut)> {
        self.transmits.pop_front()
    }

    /// How many datagrams wait for [`Sfu::poll_transmit`].
    pub fn transmits(&self) -> usize {
        self.transmits.len()
    }

    /// Counts of what happened since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many participants are in all channels.
    pub fn participants(&self) -> usize {
        self.sessions.len()
    }

    /// Marks a peer as one to drain.
    fn touch(&mut self, key: PeerKey) {
        if let Some(slot) = self.peers.get_mut(key)
            && !std::mem::replace(&mut slot.touched, true)
        {
            self.touched.push(key);
        }
    }

    /// Follows up on everything that the last call set off, until nothing is left.
    fn settle(&mut self, now: Instant) {
        loop {
            while let Some(key) = self.touched.pop() {
                self.drain(now, key);
            }
            match self.to_negotiate.pop_first() {
                Some(session) => self.negotiate(now, session),
                None if self.touched.is_empty() => break,
                None => {}
            }
        }
    }

    fn drain(&mut self, now: Instant, key: PeerKey) {
        let Some(slot) = self.peers.get_mut(key) else { return };
        slot.touched = false;
        while let Some(transmit) = slot.peer.poll_transmit() {
            self.transmits.push_back(transmit);
        }
        while let Some(event) = self.peers.get_mut(key).and_then(|slot| slot.peer.poll_event()) {
            self.handle_peer_event(now, key, event);
        }
        let Some(slot) = self.peers.get_mut(key) else { return };
        slot.timeout = [slot.peer.poll_timeout(), slot.link.poll_timeout(now)].into_iter().flatten().min();
        if let Some(at) = slot.timeout {
            self.next_peer_timeout = Some(self.next_peer_timeout.map_or(at, |next| next.min(at)));
        }
    }

    fn handle_peer_event(&mut self, now: Instant, key: PeerKey, event: PeerEvent) {
        match event {
            PeerEvent::Rtp(rtp) => self.forward(now, key, rtp),
            PeerEvent::Rtcp(rtcp) => self.handle_feedback(now, key, rtcp),
            PeerEvent::Data { kind, bytes } => self.handle_data(now, key, kind, &bytes),
            PeerEvent::DataTooLong { len } => self.refuse_long_data(key, len),
            PeerEvent::AddressValidated(address) => self.demux.bind(address, key),
            PeerEvent::AddressReleased(address) => self.demux.release(address, key),
            PeerEvent::Connected => self.peer_connected(now, key),
            PeerEvent::Disconnected | PeerEvent::Closed { .. } => {
                let closed = matches!(event, PeerEvent::Closed { .. });
                if let Some(slot) = self.peers.get_mut(key) {
                    slot.connected = false;
                    let session = slot.session;
                    self.refresh_down_tracks(now, session);
                }
                self.peer_of_http_ended(now, key, closed);
            }
            _ => {}
        }
    }

    fn new_peer(&mut self, now: Instant, session: SessionKey) -> PeerKey {
        let credentials = IceCredentials::generate(&mut self.rng);
        let mut config = self.config.peer.clone();
        if let Some(candidates) = self.config.candidates.get(self.next_candidates) {
            config.candidates = candidates.clone();
            self.next_candidates = (self.next_candidates + 1) % self.config.candidates.len();
        }
        let peer = Peer::new(now, &config, credentials.clone());
        let key = self.peers.insert(PeerSlot {
            peer,
            session,
            touched: false,
            connected: false,
            offer_id: 0,
            offer_pending: false,
            tracks: Vec::new(),
            senders: Vec::new(),
            link: Link::new(now),
            timeout: None,
        });
        self.demux.register(&credentials, key);
        key
    }

    fn heard(&mut self, now: Instant, session: SessionKey) {
        if let Some(session) = self.sessions.get_mut(session) {
            session.last_heard = now;
        }
    }

    /// A new sid in LiveKit's way: a prefix and 12 random characters.
    fn new_sid(&mut self, prefix: &str) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
        let mut sid = prefix.to_string();
        sid.extend((0..12).map(|_| char::from(ALPHABET[self.rng.random_range(0..ALPHABET.len())])));
        sid
    }

    /// An SSRC that no stream of a peer has.
    fn new_ssrc(&mut self, peer: PeerKey) -> u32 {
        loop {
            let ssrc = self.rng.next_u32();
            let taken =
                self.peers.get(peer).is_some_and(|slot| slot.senders.iter().any(|(used, _)| *used == ssrc));
            if ssrc != 0 && !taken {
                return ssrc;
            }
        }
    }

    fn channel_key(session: &Session) -> ChannelKey {
        (session.app().clone(), session.channel().clone())
    }

    /// Those whom a participant is told of and can subscribe to.
    fn seen_by(&self, key: SessionKey) -> Vec<SessionKey> {
        let Some(session) = self.sessions.get(key) else { return Vec::new() };
        let mut seen = self.others(key);
        seen.extend(self.forwarded_into(&Self::channel_key(session)));
        seen
    }

    /// Those who are told of a participant and can subscribe to it.
    fn seers_of(&self, key: SessionKey) -> Vec<SessionKey> {
        let mut seers = self.others(key);
        seers.extend(self.members_abroad(key, false));
        seers
    }

    /// The other participants of a session's channel.
    fn others(&self, key: SessionKey) -> Vec<SessionKey> {
        let Some(session) = self.sessions.get(key) else { return Vec::new() };
        let channel = self.channels.get(&Self::channel_key(session));
        channel.into_iter().flat_map(|c| c.sessions.iter().copied()).filter(|other| *other != key).collect()
    }

    /// Sends a message to one participant.
    fn send(&mut self, session: SessionKey, message: signal_response::Message) {
        if let Some(session) = self.sessions.get_mut(session) {
            session.send(message);
        }
    }

    /// A channel lives here, or elsewhere, from now on; `false` when forwards hold it.
    fn move_channel(&mut self, now: Instant, channel: ChannelKey, here: bool) -> bool {
        if here {
            self.elsewhere.remove(&channel);
            return true;
        }
        let members = self.members(&channel);
        let forwards = |key: &SessionKey| self.sessions.get(*key).is_some_and(|s| !s.forwards.is_empty());
        if !self.forwarded_into(&channel).is_empty() || members.iter().any(forwards) {
            return false;
        }
        log::info!(channel:% = channel.1, participants = members.len(); "moved to another media thread");
        self.elsewhere.insert(channel);
        for key in members {
            self.send_leave(key, DisconnectReason::Migration, leave_request::Action::Reconnect);
            self.remove_session(now, key, DisconnectReason::Migration);
        }
        true
    }

    /// Sends everybody away so that they come back later.
    fn stop(&mut self, now: Instant) {
        self.stopping = true;
        let keys: Vec<SessionKey> = self.sessions.keys().collect();
        for key in keys {
            self.send_leave(key, DisconnectReason::ServerShutdown, leave_request::Action::Reconnect);
            self.remove_session(now, key, DisconnectReason::ServerShutdown);
        }
    }
}
