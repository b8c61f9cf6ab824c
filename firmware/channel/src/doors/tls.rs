//! The certificate of the doors: read from PEM files, and read again when they change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, InconsistentKeys, ServerConfig, crypto};

use crate::config::Tls;

/// How often the files are looked at.
pub(crate) const POLL: Duration = Duration::from_secs(2);

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file is absent or no PEM.
    #[error("cannot read http.tls.{key} {file}: {}; it must be PEM that channeld may read", words(.why))]
    Read {
        /// `certificate` or `key`.
        key: &'static str,
        /// The file.
        file: String,
        /// What is wrong with it.
        why: pem::Error,
    },
    /// There is no certificate in the file.
    #[error(
        "no certificate in http.tls.certificate {0}; it must hold the server's own, then those that signed it"
    )]
    Empty(String),
    /// Certificate or key are of a kind that is not known.
    #[error("http.tls.certificate and http.tls.key cannot be used: {0}; take an ECDSA P-256 or RSA key")]
    Unusable(rustls::Error),
    /// The key is another certificate's.
    #[error(
        "http.tls.key does not belong to http.tls.certificate; give the key that the certificate was made for"
    )]
    OtherKey,
}

/// What is wrong with a file; the library's words for what is inside of it are numbers.
fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "there is none in it".to_string(),
        _ => "it is cut short or damaged".to_string(),
    }
}

fn provider() -> Arc<crypto::CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

/// Reads and checks certificate and key.
///
/// # Errors
/// [`TlsError`], which says what to do.
pub(crate) fn load(files: &Tls) -> Result<CertifiedKey, TlsError> {
    let name = |file: &Path| file.display().to_string();
    let read = |key, file: &Path| {
        let file = name(file);
        move |why| TlsError::Read { key, file, why }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(read("certificate", &files.certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(name(&files.certificate)));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(read("key", &files.key))?;
    let key = CertifiedKey::from_der(chain, key, &provider());
    key.map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::OtherKey,
        other => TlsError::Unusable(other),
    })
}

/// What tells a file from a later one with the same name.
type Version = Option<(SystemTime, u64)>;

fn version(file: &Path) -> Version {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The certificate that new connections are shown.
pub(crate) struct Certificates {
    files: Tls,
    current: RwLock<Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().clone())
    }
}

impl Certificates {
    pub(crate) fn load(files: &Tls) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(Arc::new(load(files)?));
        Ok(Arc::new(Self { files: files.clone(), current }))
    }

    /// For connections that are accepted; each asks for the certificate of its time.
    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Looks at the files for ever. What changed is taken for new connections; what is broken is not, and is
    /// looked at again when it changes.
    pub(crate) async fn watch(self: Arc<Self>, interval: Duration) {
        let files: [PathBuf; 2] = [self.files.certificate.clone(), self.files.key.clone()];
        let look = || files.each_ref().map(|file| version(file));
        let mut taken = look();
        let mut before = taken;
        loop {
            tokio::time::sleep(interval).await;
            let seen = look();
            // Two files are not written at once: they are read when both have come to rest.
            let rests = seen == std::mem::replace(&mut before, seen);
            if rests && seen != taken {
                taken = seen;
                self.read_again();
            }
        }
    }

    fn read_again(&self) {
        let certificate = self.files.certificate.display();
        match load(&self.files) {
            Ok(key) => {
                *self.current.write() = Arc::new(key);
                log::info!(certificate:%; "new connections are shown the new certificate");
            }
            Err(error) => log::error!(error:%; "the new certificate is not used; the old one stays"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn files(dir: &tempfile::TempDir, certificate: &str, key: &str) -> Tls {
        let (c, k) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
        std::fs::write(&c, certificate).unwrap();
        std::fs::write(&k, key).unwrap();
        Tls { certificate: c, key: k, plain_listen: None }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["meet.example.org".to_string()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let ((certificate, key), (_, other)) = (pair(), pair());
        assert!(load(&files(&dir, &certificate, &key)).is_ok());
        let error =
            |certificate: &str, key: &str| load(&files(&dir, certificate, key)).unwrap_err().to_string();
        let cut = error(&certificate[..certificate.len() / 2], &key);
        assert!(cut.contains("cut short") && cut.contains("c.pem"), "{cut}");
        assert!(error("", &key).contains("no certificate in"), "{}", error("", &key));
        assert!(error(&certificate, "").contains("cannot read http.tls.key"));
        assert!(error(&certificate, &other).contains("does not belong"), "{}", error(&certificate, &other));
        let broken = certificate.replace("MII", "%%%");
        assert!(
            error(&broken, &key).contains("cannot read http.tls.certificate"),
            "{}",
            error(&broken, &key)
        );
        let absent = Tls { certificate: "/nowhere".into(), ..files(&dir, &certificate, &key) };
        assert!(load(&absent).unwrap_err().to_string().contains("/nowhere"));
    }

    #[tokio::test]
    async fn changed_files_are_taken_and_broken_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = pair();
        let certificates = Certificates::load(&files(&dir, &certificate, &key)).unwrap();
        let shown = || certificates.current.read().cert[0].as_ref().to_vec();
        let first = shown();
        tokio::spawn(certificates.clone().watch(Duration::from_millis(5)));
        tokio::time::sleep(Duration::from_millis(50)).await;

        files(&dir, "-----BEGIN CERTIFICATE-----\nrubbish", &key);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(shown(), first);

        let (certificate, key) = pair();
        files(&dir, &certificate, &key);
        let taken = async {
            while shown() == first {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), taken).await.unwrap();
    }
}
