//! The ICE agent (RFC 8445), paced so that a connection takes two round trips and no timer.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rtc::{
    ice::{
        agent::{Agent, Event, agent_config::AgentConfig},
        candidate::{CandidateConfig, candidate_host::CandidateHostConfig, unmarshal_candidate},
        mdns::MulticastDnsMode,
        network_type::NetworkType,
        state::ConnectionState,
    },
    sansio::Protocol,
    shared::{TaggedBytesMut, TransportContext, TransportProtocol},
};

use super::Transmit;
use crate::RtcError;

/// First interval between two rounds of checks; doubled up to the longest.
const FIRST_CHECK: Duration = Duration::from_millis(25);
const LONGEST_CHECK: Duration = Duration::from_millis(250);
/// Interval of consent checks (RFC 7675).
const CONSENT: Duration = Duration::from_millis(1000);
/// Without an answer for this long, the path is lost.
const LOST_AFTER: Duration = Duration::from_secs(5);
/// Remote candidates that are tried.
const MAX_REMOTE: usize = 32;

pub(super) struct Ice {
    agent: Agent,
    next_check: Option<Instant>,
    interval: Duration,
    connected: bool,
    failed: bool,
    selected: bool,
    started_at: Instant,
    remote_ufrag: String,
}

impl Ice {
    pub(super) fn new(now: Instant, local: &[SocketAddr]) -> Result<Self, RtcError> {
        let provider = rtc::crypto::default_provider().map_err(RtcError::crypto)?;
        let config = AgentConfig {
            multicast_dns_mode: MulticastDnsMode::Disabled,
            network_types: vec![NetworkType::Udp4, NetworkType::Udp6],
            // The agent works whenever it is called; `next_check` is the clock.
            check_interval: Duration::from_millis(1),
            keepalive_interval: Some(CONSENT),
            max_binding_requests: Some(100),
            prflx_acceptance_min_wait: Some(Duration::ZERO),
            disconnected_timeout: Some(LOST_AFTER),
            failed_timeout: Some(Duration::ZERO),
            ..Default::default()
        };
        let mut agent = Agent::new(now, Arc::new(config), provider).map_err(RtcError::connection)?;
        for address in local {
            let base_config = CandidateConfig {
                network: "udp".to_owned(),
                address: address.ip().to_string(),
                port: address.port(),
                component: 1,
                ..Default::default()
            };
            let candidate = CandidateHostConfig { base_config, ..Default::default() }.new_candidate_host();
            agent
                .add_local_candidate(candidate.map_err(RtcError::connection)?)
                .map_err(RtcError::connection)?;
        }
        Ok(Self {
            agent,
            next_check: None,
            interval: FIRST_CHECK,
            connected: false,
            failed: false,
            selected: false,
            started_at: now,
            remote_ufrag: String::new(),
        })
    }

    pub(super) fn local_credentials(&self) -> (String, String) {
        let credentials = self.agent.get_local_credentials();
        (credentials.ufrag.clone(), credentials.pwd.clone())
    }

    pub(super) fn local_candidates(&self) -> Vec<String> {
        self.agent.get_local_candidates().iter().map(|c| format!("candidate:{}", c.marshal())).collect()
    }

    pub(super) fn start(
        &mut self,
        now: Instant,
        controlling: bool,
        ufrag: &str,
        password: &str,
    ) -> Result<(), RtcError> {
        self.remote_ufrag = ufrag.to_owned();
        self.started_at = now;
        self.next_check = Some(now);
        self.agent
            .start_connectivity_checks(now, controlling, ufrag.to_owned(), password.to_owned())
            .map_err(RtcError::connection)
    }

    /// The service asks for a restart; we rejoin instead.
    pub(super) fn is_restart(&self, ufrag: &str) -> bool {
        self.remote_ufrag != ufrag
    }

    pub(super) fn add_remote_candidate(&mut self, line: &str) {
        let text = line.trim().trim_start_matches("candidate:");
        if self.agent.get_remote_candidates().len() >= MAX_REMOTE {
            return;
        }
        if let Ok(candidate) = unmarshal_candidate(text) {
            // Of another transport, or hidden behind mDNS: the agent passes it over.
            let _ = self.agent.add_remote_candidate(candidate);
        }
    }

    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        to: SocketAddr,
        from: SocketAddr,
        bytes: BytesMut,
    ) {
        let transport = TransportContext {
            local_addr: to,
            peer_addr: from,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        let _ = self.agent.handle_read(TaggedBytesMut { now, transport, message: bytes });
        if !self.connected && self.next_check.is_some() {
            // An answer may allow the nomination: do it now. Two milliseconds, for the agent's own interval.
            self.next_check = Some(now + Duration::from_millis(2));
        }
        self.collect(now);
    }

    /// Traffic other than STUN proves that the path works.
    pub(super) fn heard(&mut self, now: Instant, to: SocketAddr, from: SocketAddr) {
        let transport = TransportContext {
            local_addr: to,
            peer_addr: from,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        let _ = self.agent.is_valid_non_stun_traffic(now, transport);
    }

    /// Local and remote address of the selected pair.
    pub(super) fn path(&self) -> Option<(SocketAddr, SocketAddr)> {
        let (local, remote) = self.agent.get_selected_candidate_pair()?;
        Some((local.base_addr(), remote.addr()))
    }

    /// Whether a pair was selected since the last call.
    pub(super) fn poll_selected(&mut self) -> bool {
        std::mem::take(&mut self.selected)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(super) fn round_trip(&self, now: Instant) -> Option<Duration> {
        self.agent.get_selected_candidate_pair()?;
        let pairs = self.agent.get_candidate_pairs_stats(now);
        let pair = pairs.into_iter().find(|p| p.nominated && p.responses_received > 0)?;
        Duration::try_from_secs_f64(pair.current_round_trip_time).ok()
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        let out = self.agent.poll_write()?;
        Some(Transmit { from: out.transport.local_addr, to: out.transport.peer_addr, bytes: out.message })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.failed { None } else { self.next_check }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.failed || self.next_check.is_none_or(|at| at > now) {
            return;
        }
        let _ = self.agent.handle_timeout(now);
        if self.connected {
            self.interval = CONSENT / 4;
        } else if now.duration_since(self.started_at) > LOST_AFTER {
            self.failed = true;
        }
        self.next_check = Some(now + self.interval);
        self.interval = (self.interval * 2).min(LONGEST_CHECK);
        self.collect(now);
    }

    fn collect(&mut self, now: Instant) {
        while let Some(event) = self.agent.poll_event() {
            match event.event {
                Event::SelectedCandidatePairChange(..) => {
                    self.connected = true;
                    self.selected = true;
                    self.interval = CONSENT / 4;
                    self.next_check = Some(now + self.interval);
                }
                Event::ConnectionStateChange(ConnectionState::Disconnected | ConnectionState::Failed) => {
                    self.failed = true;
                }
                _ => {}
            }
        }
    }
}
