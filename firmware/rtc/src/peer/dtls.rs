//! DTLS of one connection: our certificate, and the keys of SRTP in the form that this end uses (RFC 5764).

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rtc::{
    crypto::RTCCryptoProvider,
    dtls::extension::extension_use_srtp::SrtpProtectionProfile,
    shared::error::Error,
    srtp::{
        config::Config,
        context::Context,
        option::{srtcp_replay_protection, srtp_replay_protection},
    },
};

use crate::{
    RtcError,
    dtls::{Association, Failure, Output, Setup, fingerprint},
};

/// A handshake that takes longer has failed: joining again has a better chance.
const PATIENCE: Duration = Duration::from_secs(12);
/// Packets that may be reordered: at 20 Mbit/s, 200 ms.
const REPLAY_WINDOW: usize = 512;

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
        let fingerprint = fingerprint(&*provider, &der).map_err(RtcError::crypto)?;
        Ok(Self { certificate, fingerprint, provider })
    }
}

pub(super) struct Dtls {
    certificate: Arc<Certificate>,
    association: Option<Association>,
    keys: Option<(Context, Context)>,
    failure: Option<&'static str>,
    data: VecDeque<BytesMut>,
}

impl Dtls {
    pub(super) fn new(certificate: Arc<Certificate>) -> Self {
        Self { certificate, association: None, keys: None, failure: None, data: VecDeque::new() }
    }

    pub(super) fn fingerprint(&self) -> &str {
        &self.certificate.fingerprint
    }

    /// The service's certificate must have one of these fingerprints.
    pub(super) fn start(&mut self, client: bool, fingerprints: Vec<String>) -> Result<(), RtcError> {
        let setup = Setup {
            provider: self.certificate.provider.clone(),
            certificate: self.certificate.certificate.clone(),
            fingerprints,
            profiles: vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ],
            client,
            patience: PATIENCE,
        };
        self.association = Some(Association::new(setup).map_err(RtcError::connection)?);
        Ok(())
    }

    /// There is a path: a client begins.
    pub(super) fn connect(&mut self, now: Instant) {
        self.with(|association| association.connect(now));
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, bytes: BytesMut) {
        self.with(|association| association.handle(now, bytes));
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
        self.with(|association| association.send(now, packet));
    }

    pub(super) fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.association.as_mut()?.poll_transmit()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.association.as_ref()?.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.with(|association| association.handle_timeout(now));
    }

    pub(super) fn close(&mut self, now: Instant) {
        self.with(|association| association.close(now));
    }

    /// Does something with the association, when there is one, and takes what comes out of it.
    fn with(&mut self, act: impl FnOnce(&mut Association)) {
        let Some(association) = &mut self.association else { return };
        act(association);
        while let Some(output) = association.poll_output() {
            match output {
                Output::Connected(keys) => match contexts(&keys.0, &*self.certificate.provider) {
                    Ok(keys) => self.keys = Some(keys),
                    Err(_) => self.failure = Some(reason(Failure::NoKeys)),
                },
                Output::Data(bytes) => self.data.push_back(bytes),
                Output::ClosedByRemote => self.failure = Some("the service closed the media connection"),
                Output::Failed(failure) => self.failure = Some(reason(failure)),
            }
        }
    }
}

fn reason(failure: Failure) -> &'static str {
    match failure {
        Failure::Certificate => "the service's media certificate is not the one that it announced",
        Failure::Alert => "the service ended the DTLS connection",
        Failure::TimedOut => "the DTLS handshake with the service took too long",
        Failure::TooManyDatagrams => "the DTLS handshake was repeated too often",
        Failure::NoKeys => "the service offered no SRTP profile that we know",
    }
}

/// Outgoing and incoming keys.
fn contexts(config: &Config, provider: &dyn RTCCryptoProvider) -> Result<(Context, Context), Error> {
    let (keys, crypto) = (&config.keys, provider.crypto());
    let outgoing =
        Context::new(&keys.local_master_key, &keys.local_master_salt, config.profile, None, None, crypto)?;
    let incoming = Context::new(
        &keys.remote_master_key,
        &keys.remote_master_salt,
        config.profile,
        Some(srtp_replay_protection(REPLAY_WINDOW)),
        Some(srtcp_replay_protection(64)),
        crypto,
    )?;
    Ok((outgoing, incoming))
}
