//! The DTLS association of one connection (RFC 5763, RFC 6347).

use super::{
    Certificate,
    certificate::fingerprint,
    srtp::{PROFILES, Srtp, protection_profile},
};
use bytes::BytesMut;
use rtc::{
    crypto::RTCCryptoProvider,
    dtls::{
        config::{
            ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig, VerifyPeerCertificateFn,
        },
        endpoint::{Endpoint, EndpointEvent},
    },
    shared::{TransportProtocol, error::Error},
    srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

/// The association moves between addresses with ICE, so the library is told a constant one.
const TUNNEL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
/// First retransmission of a flight. A lost flight costs that much of the join; the library tries 7 times.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(500);
/// More datagrams than this do not make a handshake.
const MAX_HANDSHAKE_DATAGRAMS: usize = 256;

/// Which end opens the handshake (RFC 8842 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// We wait for the remote's ClientHello.
    Server,
    /// We send it once ICE has a pair.
    Client,
}

/// What came out of DTLS.
pub(super) enum DtlsOutput {
    /// Keys are there; the connection is up.
    Connected(Box<Srtp>),
    /// Data for SCTP.
    Data(BytesMut),
    /// The remote closed it.
    ClosedByRemote,
    /// The handshake or the association failed.
    Failed,
}

/// The association.
pub(super) struct Dtls {
    provider: Arc<dyn RTCCryptoProvider>,
    role: Role,
    /// What we connect with, until we did.
    client_config: Option<Arc<HandshakeConfig>>,
    endpoint: Endpoint,
    connected: bool,
    ended: bool,
    datagrams: usize,
}

impl Dtls {
    /// An association with the holder of one of the certificates whose SHA-256 are given in upper case.
    pub(super) fn new(
        certificate: &Certificate,
        fingerprints: Vec<String>,
        role: Role,
    ) -> Result<Dtls, Error> {
        let provider = certificate.provider.clone();
        let config = Arc::new(
            ConfigBuilder::default()
                .with_crypto_provider(provider.clone())
                .with_certificates(vec![certificate.dtls.clone()])
                .with_srtp_protection_profiles(PROFILES.to_vec())
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_insecure_skip_verify(true)
                .with_verify_peer_certificate(Some(verifier(provider.clone(), fingerprints)))
                .with_extended_master_secret(ExtendedMasterSecretType::Require)
                .with_flight_interval(FLIGHT_INTERVAL)
                .build(role == Role::Client, None)?,
        );
        let server_config = (role == Role::Server).then(|| config.clone());
        Ok(Dtls {
            provider,
            role,
            client_config: (role == Role::Client).then_some(config),
            endpoint: Endpoint::new(TUNNEL, TransportProtocol::UDP, server_config),
            connected: false,
            ended: false,
            datagrams: 0,
        })
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected && !self.ended
    }

    /// ICE has a pair: sends the ClientHello when that is ours to do.
    pub(super) fn path_is_up(&mut self, now: Instant) {
        if let Some(config) = self.client_config.take()
            && let Err(error) = self.endpoint.connect(now, TUNNEL, config, None)
        {
            log::warn!(error:% = error; "cannot start the DTLS handshake");
        }
    }

    /// Takes a datagram of the remote.
    pub(super) fn handle(&mut self, now: Instant, datagram: BytesMut, out: &mut Vec<DtlsOutput>) {
        if self.ended || !records_are_plausible(&datagram) {
            return;
        }
        if !self.connected {
            self.datagrams += 1;
            if self.datagrams > MAX_HANDSHAKE_DATAGRAMS {
                return self.fail(out);
            }
        }
        match self.endpoint.read(now, TUNNEL, None, datagram) {
            Ok(events) => {
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete => match self.keys() {
                            Ok(srtp) => {
                                self.connected = true;
                                out.push(DtlsOutput::Connected(Box::new(srtp)));
                            }
                            Err(error) => {
                                log::warn!(error:% = error; "no SRTP keys from the DTLS handshake");
                                return self.fail(out);
                            }
                        },
                        EndpointEvent::ApplicationData(data) if self.connected => {
                            out.push(DtlsOutput::Data(data))
                        }
                        EndpointEvent::PeerClosed => {
                            self.ended = true;
                            out.push(DtlsOutput::ClosedByRemote);
                        }
                        _ => {}
                    }
                }
            }
            // A certificate that does not match the SDP never becomes right, and a fatal alert is the remote's
            // last word; anything else may be a forged datagram, and the genuine handshake goes on.
            Err(Error::ErrNoMatchingCertificateFingerprint | Error::ErrAlertFatalOrClose) => self.fail(out),
            Err(error) => log::debug!(error:% = error; "DTLS datagram refused"),
        }
    }

    /// Encrypts data of SCTP.
    pub(super) fn send(&mut self, now: Instant, data: &[u8]) {
        if self.is_connected()
            && let Err(error) = self.endpoint.write(now, TUNNEL, data)
        {
            log::debug!(error:% = error; "DTLS data not sent");
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.connected || self.ended { None } else { self.endpoint.poll_timeout(&TUNNEL) }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<DtlsOutput>) {
        if self.poll_timeout().is_some_and(|at| at <= now)
            && let Err(error) = self.endpoint.handle_timeout(TUNNEL, now)
        {
            log::debug!(error:% = error; "DTLS handshake given up");
            self.fail(out);
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message)
    }

    /// Tells the remote that it is over.
    pub(super) fn close(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.ended, true)
            && let Err(error) = self.endpoint.close(now)
        {
            log::debug!(error:% = error; "DTLS close_notify not sent");
        }
    }

    fn fail(&mut self, out: &mut Vec<DtlsOutput>) {
        if !std::mem::replace(&mut self.ended, true) {
            out.push(DtlsOutput::Failed);
        }
    }

    fn keys(&self) -> Result<Srtp, Error> {
        let state = self.endpoint.get_connection_state(TUNNEL).ok_or(Error::ErrDtlsTransportNotStarted)?;
        let profile =
            protection_profile(state.srtp_protection_profile()).ok_or(Error::ErrNoSuchSrtpProfile)?;
        let mut config = Config { profile, ..Config::default() };
        let material =
            state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())?;
        config.set_session_keys_from_keying_material(material.as_ref(), state.is_client())?;
        Srtp::new(config, self.provider.clone())
    }
}

fn verifier(provider: Arc<dyn RTCCryptoProvider>, fingerprints: Vec<String>) -> VerifyPeerCertificateFn {
    Arc::new(move |chain, _| {
        let shown = chain.first().and_then(|der| fingerprint(provider.as_ref(), der));
        match shown {
            Some(shown) if fingerprints.contains(&shown) => Ok(()),
            _ => Err(Error::ErrNoMatchingCertificateFingerprint),
        }
    })
}

/// Whether a datagram consists of whole records of the epochs that a DTLS 1.2 association without
/// renegotiation has (RFC 6347 §4.1). The library queues records of future epochs for ever.
fn records_are_plausible(datagram: &[u8]) -> bool {
    const HEADER: usize = 13;
    let mut rest = datagram;
    while !rest.is_empty() {
        let Some(head) = rest.first_chunk::<HEADER>() else { return false };
        let epoch = u16::from_be_bytes([head[3], head[4]]);
        let len = usize::from(u16::from_be_bytes([head[11], head[12]]));
        if epoch > 1 || rest.len() < HEADER + len {
            return false;
        }
        rest = &rest[HEADER + len..];
    }
    !datagram.is_empty()
}
