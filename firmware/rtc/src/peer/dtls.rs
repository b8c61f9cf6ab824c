//! DTLS 1.2 and the keys of SRTP (RFC 5764).

use std::{
    collections::{HashSet, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rtc::{
    crypto::{HashAlgorithm, RTCCryptoProvider},
    dtls::{
        config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig},
        endpoint::{Endpoint, EndpointEvent},
        extension::extension_use_srtp::SrtpProtectionProfile,
        state::State,
    },
    shared::{TransportProtocol, error::Error},
    srtp::{
        config::{Config, LABEL_EXTRACTOR_DTLS_SRTP},
        context::Context,
        option::{srtcp_replay_protection, srtp_replay_protection},
        protection_profile::ProtectionProfile,
    },
};

use crate::RtcError;

/// Time from a flight of the handshake to its repetition; doubled each time.
const FLIGHT: Duration = Duration::from_millis(150);
const LONGEST_FLIGHT: Duration = Duration::from_millis(1200);
/// Least time between two flights when the service repeats its own.
const PROMPT: Duration = Duration::from_millis(60);
/// A handshake that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Packets that may be reordered: at 20 Mbit/s, 200 ms.
const REPLAY_WINDOW: usize = 512;
/// The endpoint asks for addresses; which path is used is the ICE agent's business.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 65_535);

/// The terminal's certificate: self-signed, made once, known to the service by its fingerprint.
pub(crate) struct Certificate {
    certificate: rtc::dtls::crypto::Certificate,
    fingerprint: String,
    provider: Arc<dyn RTCCryptoProvider>,
}

impl Certificate {
    /// A new one (ECDSA P-256).
    pub(crate) fn generate() -> Result<Self, RtcError> {
        let provider = rtc::crypto::default_provider().map_err(RtcError::crypto)?;
        let names = vec!["terminal".to_owned()];
        let certificate = rtc::dtls::crypto::Certificate::generate_self_signed(names, provider.crypto())
            .map_err(RtcError::crypto)?;
        let der = certificate.certificate.first().map(|c| c.as_ref().to_vec()).unwrap_or_default();
        let fingerprint = fingerprint(&*provider, &der)?.to_ascii_uppercase();
        Ok(Self { certificate, fingerprint, provider })
    }
}

/// SHA-256 of a certificate as SDP writes it (RFC 8122 §5).
fn fingerprint(provider: &dyn RTCCryptoProvider, der: &[u8]) -> Result<String, RtcError> {
    let hash = provider.crypto().hash(HashAlgorithm::Sha256, der).map_err(RtcError::crypto)?;
    Ok(hash.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":"))
}

pub(super) struct Dtls {
    certificate: Arc<Certificate>,
    endpoint: Option<Endpoint>,
    /// Of a client that has not begun.
    pending: Option<Arc<HandshakeConfig>>,
    deadline: Option<Instant>,
    /// When to repeat our flight, and how long to wait after that.
    repeat: Option<(Instant, Duration)>,
    minutes_ahead: u32,
    /// Numbers of the handshake messages that came.
    seen: HashSet<u16>,
    last_flight: Option<Instant>,
    out: VecDeque<BytesMut>,
    keys: Option<(Context, Context)>,
    established: bool,
    failure: Option<&'static str>,
    /// The certificate had another fingerprint than announced.
    mismatch: Arc<AtomicBool>,
    data: VecDeque<BytesMut>,
}

impl Dtls {
    pub(super) fn new(certificate: Arc<Certificate>) -> Self {
        Self {
            certificate,
            endpoint: None,
            pending: None,
            deadline: None,
            repeat: None,
            minutes_ahead: 0,
            seen: HashSet::new(),
            last_flight: None,
            out: VecDeque::new(),
            keys: None,
            established: false,
            failure: None,
            mismatch: Arc::default(),
            data: VecDeque::new(),
        }
    }

    pub(super) fn fingerprint(&self) -> &str {
        &self.certificate.fingerprint
    }

    /// The service's certificate must have one of these fingerprints.
    pub(super) fn start(&mut self, client: bool, fingerprints: Vec<String>) -> Result<(), RtcError> {
        let provider = self.certificate.provider.clone();
        let verifier = provider.clone();
        let mismatch = self.mismatch.clone();
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![self.certificate.certificate.clone()])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // The chain says nothing; the fingerprint from the signalling does, and is checked here.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(
                move |certificates: &[Vec<u8>], _: &[_]| -> Result<(), Error> {
                    let leaf = certificates.first().ok_or(Error::ErrNonCertificate)?;
                    let found = fingerprint(&*verifier, leaf).map_err(|e| Error::Other(e.to_string()))?;
                    if fingerprints.contains(&found) {
                        Ok(())
                    } else {
                        mismatch.store(true, Ordering::Relaxed);
                        Err(Error::ErrNoMatchingCertificateFingerprint)
                    }
                },
            )))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(client, None)
            .map_err(RtcError::connection)?;
        let config = Arc::new(config);
        let server = (!client).then(|| config.clone());
        self.endpoint = Some(Endpoint::new(ANYWHERE, TransportProtocol::UDP, server));
        self.pending = client.then_some(config);
        Ok(())
    }

    /// There is a path: a client begins.
    pub(super) fn connect(&mut self, now: Instant) {
        self.deadline.get_or_insert(now + TIMEOUT);
        if let (Some(endpoint), Some(config)) = (&mut self.endpoint, self.pending.take())
            && endpoint.connect(now, ANYWHERE, config, None).is_err()
        {
            self.failure = Some("the DTLS handshake could not begin");
        }
        self.collect(now);
    }

    /// Takes what the endpoint wants to send. `true` when there was something.
    fn collect(&mut self, now: Instant) -> bool {
        let before = self.out.len();
        while let Some(transmit) = self.endpoint.as_mut().and_then(Endpoint::poll_transmit) {
            self.out.push_back(transmit.message);
        }
        let sent = self.out.len() > before;
        if sent && !self.established {
            self.last_flight = Some(now);
            self.repeat = Some((now + FLIGHT, FLIGHT));
        }
        sent
    }

    /// Sends our flight again.
    fn repeat_flight(&mut self, now: Instant) {
        let wait = self.repeat.map_or(FLIGHT, |(_, wait)| (wait * 2).min(LONGEST_FLIGHT));
        if let Some(endpoint) = &mut self.endpoint {
            // The library's timer has a pace of its own: each time it is told that it is a minute later.
            self.minutes_ahead += 1;
            let late = now + Duration::from_secs(60) * self.minutes_ahead;
            if endpoint.handle_timeout(ANYWHERE, late).is_err() {
                self.failure = Some("the DTLS handshake was repeated too often");
            }
        }
        self.collect(now);
        self.repeat = Some((now + wait, wait));
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, bytes: BytesMut) {
        if self.endpoint.is_none() || self.pending.is_some() || self.failure.is_some() {
            return;
        }
        // What cannot be read is dropped: anybody can send us datagrams (RFC 6347 §4.1.2.7).
        self.deadline.get_or_insert(now + TIMEOUT);
        if !self.established && self.is_repetition(&bytes) {
            // The other end repeats its flight, so ours was lost (RFC 6347 §4.2.4): ours again, and at once. The
            // endpoint must not see it: a message that it has makes it forget its timer for ever.
            if self.last_flight.is_some_and(|at| now.duration_since(at) >= PROMPT) {
                self.repeat_flight(now);
            }
            return;
        }
        let Some(endpoint) = &mut self.endpoint else { return };
        let events = match endpoint.read(now, ANYWHERE, None, bytes) {
            Ok(events) => events,
            Err(error) => {
                self.collect(now);
                if !self.established && self.mismatch.load(Ordering::Relaxed) {
                    self.failure = Some("the service's media certificate is not the one that it announced");
                } else if !self.established && matches!(error, Error::ErrAlertFatalOrClose) {
                    self.failure = Some("the service ended the DTLS handshake");
                } else {
                    log::debug!(error:% = error; "dtls datagram dropped");
                }
                return;
            }
        };
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => {
                    let state = endpoint.get_connection_state(ANYWHERE);
                    match state.map(|s| contexts(s, &self.certificate.provider)) {
                        Some(Ok(keys)) => {
                            self.keys = Some(keys);
                            self.established = true;
                        }
                        _ => self.failure = Some("the service offered no SRTP profile that we know"),
                    }
                }
                EndpointEvent::ApplicationData(bytes) => self.data.push_back(bytes),
                EndpointEvent::PeerClosed => self.failure = Some("the service closed the media connection"),
                _ => {}
            }
        }
        self.collect(now);
    }

    /// Whether a datagram consists of handshake messages that came before. Remembers those that did not.
    fn is_repetition(&mut self, datagram: &[u8]) -> bool {
        let mut repetition = true;
        let mut rest = datagram;
        // Record: type, version, epoch, number, length; message: type, length, number, fragment's place and length.
        while let Some((header, after)) = rest.split_at_checked(13) {
            let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
            let Some((message, after)) = after.split_at_checked(length) else { return false };
            rest = after;
            let plain_handshake = header[0] == 22 && header[3..5] == [0, 0] && message.len() >= 12;
            // The first hello of a client may be repeated before anything is remembered of it.
            if !plain_handshake
                || message[1..4] != message[9..12]
                || message[0] == 1 && message[4..6] == [0, 0]
            {
                repetition = false;
                continue;
            }
            let number = u16::from_be_bytes([message[4], message[5]]);
            // A handshake has some ten messages.
            if number < 32 && self.seen.insert(number) {
                repetition = false;
            }
        }
        repetition
    }

    /// Outgoing and incoming keys, once.
    pub(super) fn take_keys(&mut self) -> Option<(Context, Context)> {
        self.keys.take()
    }

    pub(super) fn failure(&self) -> Option<&'static str> {
        self.failure
    }

    pub(super) fn poll_data(&mut self) -> Option<BytesMut> {
        self.data.pop_front()
    }

    pub(super) fn send(&mut self, now: Instant, packet: &[u8]) {
        if self.established
            && let Some(endpoint) = &mut self.endpoint
        {
            let _ = endpoint.write(now, ANYWHERE, packet);
        }
        self.collect(now);
    }

    pub(super) fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.out.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.failure.is_some() || self.established {
            return None;
        }
        self.deadline.into_iter().chain(self.repeat.map(|(at, _)| at)).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.established || self.failure.is_some() {
            return;
        }
        if self.deadline.is_some_and(|at| now >= at) {
            self.failure = Some("the DTLS handshake with the service took too long");
        } else if self.repeat.is_some_and(|(at, _)| now >= at) {
            self.repeat_flight(now);
        }
    }

    pub(super) fn close(&mut self, now: Instant) {
        if let Some(endpoint) = &mut self.endpoint {
            let _ = endpoint.close(now);
        }
        self.collect(now);
    }
}

/// Keys for both directions out of a finished handshake.
fn contexts(state: &State, provider: &Arc<dyn RTCCryptoProvider>) -> Result<(Context, Context), Error> {
    let profile = match state.srtp_protection_profile() {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        _ => return Err(Error::ErrNoSuchSrtpProfile),
    };
    let mut config = Config { profile, ..Default::default() };
    let material =
        state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())?;
    config.set_session_keys_from_keying_material(material.as_ref(), state.is_client())?;
    let crypto = provider.crypto();
    let keys = &config.keys;
    let outgoing =
        Context::new(&keys.local_master_key, &keys.local_master_salt, profile, None, None, crypto)?;
    let incoming = Context::new(
        &keys.remote_master_key,
        &keys.remote_master_salt,
        profile,
        Some(srtp_replay_protection(REPLAY_WINDOW)),
        Some(srtcp_replay_protection(64)),
        crypto,
    )?;
    Ok((outgoing, incoming))
}
