//! One DTLS 1.2 association (RFC 6347) that yields keys for SRTP (RFC 5764), without I/O; terminal and service share
//! it.
//!
//! The library does the handshake. What is done here is what a path that loses datagrams needs:
//! - The library forgets the timer of its flight, for ever, when a message comes that it has already. Repetitions are
//!   therefore kept away from it, and tell that our own flight was lost: it is sent again at once.
//! - The library sends a flight again seven times at most. After that, copies of it are sent: records that are not
//!   encrypted get new numbers, so that they are no replays, and an encrypted one is a replay only where it is not
//!   needed any more. The repetitions of the library come first, because some implementations take a repeated
//!   `Finished` only under a new number.
//! - It keeps records of later epochs for ever: what cannot belong to the association is dropped before.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
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
        crypto::Certificate,
        endpoint::{Endpoint, EndpointEvent},
        extension::extension_use_srtp::SrtpProtectionProfile,
    },
    shared::{TransportProtocol, error::Error},
    srtp::{
        config::{Config, LABEL_EXTRACTOR_DTLS_SRTP},
        protection_profile::ProtectionProfile,
    },
};

/// Time from a flight of the handshake to its repetition; doubled each time.
const FLIGHT: Duration = Duration::from_millis(150);
const LONGEST_FLIGHT: Duration = Duration::from_millis(400);
/// Least time between two flights when the other end repeats its own.
const PROMPT: Duration = Duration::from_millis(60);
/// How often the library repeats one flight.
const LIBRARY_REPETITIONS: u32 = 7;
/// How often the last flight of all is repeated without being asked for.
const LAST_FLIGHT_REPETITIONS: u32 = 5;
/// More datagrams than this do not make a handshake.
const MAX_HANDSHAKE_DATAGRAMS: usize = 512;
/// The association moves between addresses with ICE, so the library is told a constant one.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// Bytes of a record's header: type, version, epoch, number, length (RFC 6347 §4.1).
const RECORD_HEADER: usize = 13;
/// Bytes of a handshake message's header: type, length, number, fragment's place and length (RFC 6347 §4.2.2).
const MESSAGE_HEADER: usize = 12;
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// What an association is made from.
pub struct Setup {
    /// The library's cryptography.
    pub provider: Arc<dyn RTCCryptoProvider>,
    /// Ours, with its key.
    pub certificate: Certificate,
    /// SHA-256 of the certificates that the other end may show, as SDP writes them (RFC 8122 §5).
    pub fingerprints: Vec<String>,
    /// Profiles that may be agreed on, best first.
    pub profiles: Vec<SrtpProtectionProfile>,
    /// Whether we begin (RFC 8842 §5).
    pub client: bool,
    /// A handshake that takes longer has failed.
    pub patience: Duration,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("client", &self.client).finish_non_exhaustive()
    }
}

/// What comes out of an association.
#[derive(Debug)]
pub enum Output {
    /// The handshake is done: profile and keys of SRTP. The profile is one of [`Setup::profiles`].
    Connected(Box<Keys>),
    /// Data of the other end, decrypted.
    Data(BytesMut),
    /// The other end closed it.
    ClosedByRemote,
    /// It failed, and does nothing any more.
    Failed(Failure),
}

/// Keys of SRTP for both directions, as the library takes them.
pub struct Keys(pub Config);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// Why an association failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The other end showed a certificate that its session description does not name.
    #[error("the media certificate of the other end is not the one that it announced")]
    Certificate,
    /// The other end sent a fatal alert, or what it sent made us send one.
    #[error("the DTLS handshake was ended by an alert")]
    Alert,
    /// [`Setup::patience`] is over.
    #[error("the DTLS handshake took too long")]
    TimedOut,
    /// So many datagrams are no handshake.
    #[error("the DTLS handshake had too many datagrams")]
    TooManyDatagrams,
    /// No keys: the two ends know no SRTP profile in common, or the library could not begin.
    #[error("the DTLS handshake led to no keys for SRTP")]
    NoKeys,
}

/// SHA-256 of a certificate in DER as SDP writes it: upper-case hex with colons (RFC 8122 §5).
///
/// # Errors
/// When the library cannot hash.
pub fn fingerprint(provider: &dyn RTCCryptoProvider, der: &[u8]) -> Result<String, Error> {
    let hash = provider.crypto().hash(HashAlgorithm::Sha256, der);
    let hash = hash.map_err(|error| Error::Crypto(error.to_string()))?;
    Ok(hash.iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":"))
}

/// A profile of SRTP in the words of the library's SRTP part; `None` for those that we do not use.
pub fn protection_profile(profile: SrtpProtectionProfile) -> Option<ProtectionProfile> {
    match profile {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Some(ProtectionProfile::AeadAes128Gcm),
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Some(ProtectionProfile::AeadAes256Gcm),
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Some(ProtectionProfile::Aes128CmHmacSha1_80),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshake,
    Connected,
    Ended,
}

/// One end of an association. Drain [`Association::poll_output`] and [`Association::poll_transmit`] after every call
/// that takes `now`.
pub struct Association {
    endpoint: Endpoint,
    /// Of a client that has not begun.
    pending: Option<Arc<HandshakeConfig>>,
    client: bool,
    phase: Phase,
    patience: Duration,
    deadline: Option<Instant>,
    /// The other end showed a wrong certificate.
    mismatch: Arc<AtomicBool>,
    /// Our last flight.
    flight: Vec<BytesMut>,
    flight_at: Option<Instant>,
    /// When to repeat it, and how long to wait after that.
    repeat: Option<(Instant, Duration)>,
    repetitions: u32,
    /// Numbers of the handshake messages that came.
    seen: HashSet<u16>,
    datagrams: usize,
    /// The other end sent data, so it has all of our flights.
    heard: bool,
    /// The number of our next record that is not encrypted.
    next_number: u64,
    transmits: VecDeque<BytesMut>,
    outputs: VecDeque<Output>,
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association").field("client", &self.client).field("phase", &self.phase).finish()
    }
}

impl Association {
    /// An association that waits for the other end, or for [`Association::connect`] when it is ours to begin.
    ///
    /// # Errors
    /// When the library refuses the certificate.
    pub fn new(setup: Setup) -> Result<Self, Error> {
        let mismatch = Arc::new(AtomicBool::new(false));
        let (flag, verifier, fingerprints) = (mismatch.clone(), setup.provider.clone(), setup.fingerprints);
        let verify = move |chain: &[Vec<u8>], _: &[_]| -> Result<(), Error> {
            let leaf = chain.first().ok_or(Error::ErrNonCertificate)?;
            let shown = fingerprint(&*verifier, leaf)?;
            if fingerprints.iter().any(|expected| expected.eq_ignore_ascii_case(&shown)) {
                return Ok(());
            }
            flag.store(true, Ordering::Relaxed);
            Err(Error::ErrNoMatchingCertificateFingerprint)
        };
        let config = ConfigBuilder::default()
            .with_crypto_provider(setup.provider)
            .with_certificates(vec![setup.certificate])
            .with_srtp_protection_profiles(setup.profiles)
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // The chain says nothing; the fingerprint from the signalling does, and is checked here.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(verify)))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(setup.client, None)?;
        let config = Arc::new(config);
        let server = (!setup.client).then(|| config.clone());
        Ok(Self {
            endpoint: Endpoint::new(ANYWHERE, TransportProtocol::UDP, server),
            pending: setup.client.then_some(config),
            client: setup.client,
            phase: Phase::Handshake,
            patience: setup.patience,
            deadline: None,
            mismatch,
            flight: Vec::new(),
            flight_at: None,
            repeat: None,
            repetitions: 0,
            seen: HashSet::new(),
            datagrams: 0,
            heard: false,
            next_number: 0,
            transmits: VecDeque::new(),
            outputs: VecDeque::new(),
        })
    }

    /// Whether data can be sent.
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// There is a path: a client begins.
    pub fn connect(&mut self, now: Instant) {
        let Some(config) = self.pending.take() else { return };
        self.deadline.get_or_insert(now + self.patience);
        if let Err(error) = self.endpoint.connect(now, ANYWHERE, config, None) {
            log::warn!(error:%; "cannot start the DTLS handshake");
            return self.fail(Failure::NoKeys);
        }
        self.collect(now);
    }

    /// Takes a datagram of the other end. What cannot be read is dropped: anybody can send it (RFC 6347 §4.1.2.7).
    pub fn handle(&mut self, now: Instant, datagram: BytesMut) {
        if self.phase == Phase::Ended || self.pending.is_some() || !is_plausible(&datagram) {
            return;
        }
        self.deadline.get_or_insert(now + self.patience);
        if self.phase == Phase::Handshake {
            self.datagrams += 1;
            if self.datagrams > MAX_HANDSHAKE_DATAGRAMS {
                return self.fail(Failure::TooManyDatagrams);
            }
        }
        if self.is_repetition(&datagram) {
            // The other end repeats its flight, so ours was lost (RFC 6347 §4.2.4). A client that is connected has
            // the last flight of all, and nobody waits for another one of it.
            let answers = self.phase == Phase::Handshake || !self.client;
            if answers && self.flight_at.is_some_and(|at| now.saturating_duration_since(at) >= PROMPT) {
                self.repeat_flight(now);
            }
            return;
        }
        let before = self.phase;
        match self.endpoint.read(now, ANYWHERE, None, datagram) {
            Ok(events) => events.into_iter().for_each(|event| self.handle_event(event)),
            Err(error) => {
                // A certificate that does not match never becomes right, and a fatal alert is the other end's last
                // word; anything else may be a forged datagram, and the genuine handshake goes on.
                if before == Phase::Handshake && self.mismatch.load(Ordering::Relaxed) {
                    self.fail(Failure::Certificate);
                } else if matches!(error, Error::ErrAlertFatalOrClose) {
                    self.fail(Failure::Alert);
                } else {
                    log::debug!(error:%; "DTLS datagram refused");
                }
            }
        }
        self.collect(now);
    }

    fn handle_event(&mut self, event: EndpointEvent) {
        match event {
            EndpointEvent::HandshakeComplete => match self.keys() {
                Ok(keys) => {
                    self.phase = Phase::Connected;
                    self.outputs.push_back(Output::Connected(Box::new(keys)));
                }
                Err(error) => {
                    log::warn!(error:%; "no SRTP keys from the DTLS handshake");
                    self.fail(Failure::NoKeys);
                }
            },
            EndpointEvent::ApplicationData(data) if self.is_connected() => {
                self.heard = true;
                self.outputs.push_back(Output::Data(data));
            }
            EndpointEvent::PeerClosed if self.phase != Phase::Ended => {
                self.phase = Phase::Ended;
                self.outputs.push_back(Output::ClosedByRemote);
            }
            _ => {}
        }
    }

    /// Encrypts and sends data.
    pub fn send(&mut self, now: Instant, data: &[u8]) {
        if !self.is_connected() {
            return;
        }
        if let Err(error) = self.endpoint.write(now, ANYWHERE, data) {
            log::debug!(error:%; "DTLS data not sent");
        }
        self.collect(now);
    }

    /// When [`Association::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadline.filter(|_| self.phase == Phase::Handshake);
        let repeat = self.repeat.filter(|_| self.repeats_by_time()).map(|(at, _)| at);
        deadline.into_iter().chain(repeat).min()
    }

    /// Whether time makes us repeat our flight.
    fn repeats_by_time(&self) -> bool {
        match self.phase {
            Phase::Handshake => true,
            // The last flight of all is not answered, and a client may take seconds to ask for it again.
            Phase::Connected => !self.client && !self.heard && self.repetitions < LAST_FLIGHT_REPETITIONS,
            Phase::Ended => false,
        }
    }

    /// Does what time demands.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Handshake && self.deadline.is_some_and(|at| now >= at) {
            self.fail(Failure::TimedOut);
        } else if let Some((_, wait)) = self.repeat.filter(|(at, _)| now >= *at && self.repeats_by_time()) {
            self.repeat_flight(now);
            let wait = (wait * 2).min(LONGEST_FLIGHT);
            self.repeat = Some((now + wait, wait));
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.transmits.pop_front()
    }

    /// What happened.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Tells the other end that it is over.
    pub fn close(&mut self, now: Instant) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Ended;
            if let Err(error) = self.endpoint.close(now) {
                log::debug!(error:%; "DTLS close_notify not sent");
            }
            self.collect(now);
        }
    }

    fn fail(&mut self, failure: Failure) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Ended;
            self.outputs.push_back(Output::Failed(failure));
        }
    }

    fn keys(&self) -> Result<Keys, Error> {
        let state = self.endpoint.get_connection_state(ANYWHERE).ok_or(Error::ErrDtlsTransportNotStarted)?;
        let profile =
            protection_profile(state.srtp_protection_profile()).ok_or(Error::ErrNoSuchSrtpProfile)?;
        let mut config = Config { profile, ..Config::default() };
        let material =
            state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())?;
        config.set_session_keys_from_keying_material(material.as_ref(), state.is_client())?;
        Ok(Keys(config))
    }

    /// Takes what the library wants to send; `true` when a flight was among it.
    fn collect(&mut self, now: Instant) -> bool {
        let mut flight = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let mut datagram = transmit.message;
            if records(&datagram).any(|record| matches!(record.kind, CHANGE_CIPHER_SPEC | HANDSHAKE)) {
                flight.push(datagram.clone());
            }
            self.number(&mut datagram);
            self.transmits.push_back(datagram);
        }
        if flight.is_empty() {
            return false;
        }
        self.flight_at = Some(now);
        self.flight = flight;
        self.repeat = Some((now + FLIGHT, FLIGHT));
        self.repetitions = 0;
        true
    }

    /// Sends our flight again.
    fn repeat_flight(&mut self, now: Instant) {
        let (repeat, repetitions) = (self.repeat, self.repetitions);
        let library = self.endpoint.poll_timeout(&ANYWHERE).filter(|_| repetitions < LIBRARY_REPETITIONS);
        // The library's timer has a pace of its own, so it is told the time that it waits for.
        let repeated = library.is_some_and(|at| {
            if let Err(error) = self.endpoint.handle_timeout(ANYWHERE, at) {
                log::debug!(error:%; "DTLS flight not repeated");
            }
            self.collect(now)
        });
        if !repeated {
            for mut datagram in self.flight.clone() {
                self.number(&mut datagram);
                self.transmits.push_back(datagram);
            }
        }
        self.flight_at = Some(now);
        self.repetitions = repetitions + 1;
        // Not sooner for a repetition that was asked for, and no later.
        self.repeat = repeat.map(|(_, wait)| (now + wait, wait));
    }

    /// Numbers the records that are not encrypted. The library does so too, and does not know of copies.
    fn number(&mut self, datagram: &mut [u8]) {
        let mut at = 0;
        while let Some(header) = datagram.get_mut(at..at + RECORD_HEADER) {
            if header[3..5] == [0, 0] {
                header[5..11].copy_from_slice(&self.next_number.to_be_bytes()[2..]);
                self.next_number += 1;
            }
            at += RECORD_HEADER + usize::from(u16::from_be_bytes([header[11], header[12]]));
        }
    }

    /// Whether a datagram consists of handshake messages that came before; of an association that is connected,
    /// whether it has any that is not encrypted. Remembers those that did not come before.
    fn is_repetition(&mut self, datagram: &[u8]) -> bool {
        if self.phase == Phase::Connected {
            return records(datagram).any(|record| record.message().is_some());
        }
        let mut repetition = true;
        for record in records(datagram) {
            let Some(kind) = record.message() else {
                repetition = false;
                continue;
            };
            let message = record.content;
            let number = u16::from_be_bytes([message[4], message[5]]);
            let whole = message[1..4] == message[9..12];
            // The first hello of a client may be repeated until it came with the cookie: nothing is remembered of it.
            if !whole || kind == CLIENT_HELLO && number == 0 && !self.seen.contains(&1) {
                repetition = false;
                continue;
            }
            // A handshake has some ten messages.
            if number < 32 && self.seen.insert(number) {
                repetition = false;
            }
        }
        repetition
    }
}

/// A record of a datagram.
#[derive(Clone, Copy)]
struct Record<'a> {
    kind: u8,
    epoch: u16,
    content: &'a [u8],
}

impl Record<'_> {
    /// The type of a handshake message that is not encrypted.
    fn message(&self) -> Option<u8> {
        let plain = self.kind == HANDSHAKE && self.epoch == 0 && self.content.len() >= MESSAGE_HEADER;
        plain.then(|| self.content[0])
    }
}

/// The whole records of a datagram.
fn records(datagram: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let (header, after) = rest.split_at_checked(RECORD_HEADER)?;
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let (content, after) = after.split_at_checked(length)?;
        rest = after;
        Some(Record { kind: header[0], epoch: u16::from_be_bytes([header[3], header[4]]), content })
    })
}

/// Whether a datagram consists of whole records of the epochs that an association without renegotiation has (RFC
/// 6347 §4.1).
fn is_plausible(datagram: &[u8]) -> bool {
    let mut length = 0;
    for record in records(datagram) {
        if record.epoch > 1 {
            return false;
        }
        length += RECORD_HEADER + record.content.len();
    }
    !datagram.is_empty() && length == datagram.len()
}

#[cfg(test)]
mod tests;
