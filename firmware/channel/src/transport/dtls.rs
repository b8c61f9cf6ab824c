//! The DTLS association of one connection (RFC 5763): `rtc`'s, with our certificate and keys for our SRTP.

use super::{
    Certificate,
    srtp::{PROFILES, Srtp},
};
use bytes::BytesMut;
use rostrum_rtc::dtls::{Association, Failure, Output, Setup};
use rtc::{crypto::RTCCryptoProvider, shared::error::Error};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

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
    association: Association,
}

impl Dtls {
    /// An association with the holder of one of the certificates whose SHA-256 are given; a handshake may take
    /// as long as `patience`.
    pub(super) fn new(
        certificate: &Certificate,
        fingerprints: Vec<String>,
        role: Role,
        patience: Duration,
    ) -> Result<Dtls, Error> {
        let provider = certificate.provider.clone();
        let association = Association::new(Setup {
            provider: provider.clone(),
            certificate: certificate.dtls.clone(),
            fingerprints,
            profiles: PROFILES.to_vec(),
            client: role == Role::Client,
            patience,
        })?;
        Ok(Dtls { provider, role, association })
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn is_connected(&self) -> bool {
        self.association.is_connected()
    }

    /// ICE has a pair: sends the ClientHello when that is ours to do.
    pub(super) fn path_is_up(&mut self, now: Instant) {
        self.association.connect(now);
    }

    /// Takes a datagram of the remote.
    pub(super) fn handle(&mut self, now: Instant, datagram: BytesMut, out: &mut Vec<DtlsOutput>) {
        self.association.handle(now, datagram);
        self.drain(out);
    }

    /// Encrypts data of SCTP.
    pub(super) fn send(&mut self, now: Instant, data: &[u8]) {
        self.association.send(now, data);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.association.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<DtlsOutput>) {
        self.association.handle_timeout(now);
        self.drain(out);
    }

    pub(super) fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.association.poll_transmit()
    }

    /// Tells the remote that it is over.
    pub(super) fn close(&mut self, now: Instant) {
        self.association.close(now);
    }

    fn drain(&mut self, out: &mut Vec<DtlsOutput>) {
        while let Some(output) = self.association.poll_output() {
            out.push(match output {
                Output::Connected(keys) => match Srtp::new(keys.0, self.provider.clone()) {
                    Ok(srtp) => DtlsOutput::Connected(Box::new(srtp)),
                    Err(error) => {
                        log::warn!(error:% = error; "no SRTP from the DTLS handshake");
                        DtlsOutput::Failed
                    }
                },
                Output::Data(data) => DtlsOutput::Data(data),
                Output::ClosedByRemote => DtlsOutput::ClosedByRemote,
                Output::Failed(failure) => {
                    // Strangers can cause all but a wrong certificate.
                    let level =
                        if failure == Failure::Certificate { log::Level::Warn } else { log::Level::Debug };
                    log::log!(level, failure:% = failure; "DTLS failed");
                    DtlsOutput::Failed
                }
            });
        }
    }
}
