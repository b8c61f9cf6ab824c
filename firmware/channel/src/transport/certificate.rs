//! The process's self-signed DTLS certificate.

use super::error::CertificateError;
use rostrum_rtc::dtls::fingerprint;
use rtc::{
    crypto::{self, RTCCryptoProvider, SignatureScheme},
    peer_connection::certificate::{CertificateParams, RTCCertificate},
};
use std::{fmt, sync::Arc};

/// A self-signed ECDSA P-256 certificate, made once per process and shared by all peers. WebRTC trusts it
/// by the fingerprint in the SDP (RFC 8122), so it carries no name.
pub struct Certificate {
    pub(super) provider: Arc<dyn RTCCryptoProvider>,
    pub(super) dtls: rtc::dtls::crypto::Certificate,
    fingerprint: String,
}

impl Certificate {
    /// Makes a new key and certificate.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Certificate, CertificateError> {
        let provider = crypto::default_provider().map_err(|e| CertificateError(e.to_string()))?;
        let params =
            CertificateParams::new(vec!["rostrum".into()]).map_err(|e| CertificateError(e.to_string()))?;
        let certificate =
            RTCCertificate::generate(provider.crypto(), SignatureScheme::EcdsaP256Sha256, params)
                .map_err(|e| CertificateError(e.to_string()))?;
        let dtls = certificate.dtls_certificate;
        let der =
            dtls.certificate.first().ok_or_else(|| CertificateError("no certificate came out".into()))?;
        let fingerprint = fingerprint(provider.as_ref(), der).map_err(|e| CertificateError(e.to_string()))?;
        Ok(Certificate { provider, dtls, fingerprint })
    }

    /// SHA-256 of the certificate as `a=fingerprint:sha-256` shows it: upper-case hex, colons.
    pub fn fingerprint_sha256(&self) -> &str {
        &self.fingerprint
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}
