//! The key of a bench: ECDSA with P-256 and SHA-256. It signs the record and seals images.

use std::{fs, io::ErrorKind, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::{
    PublicKey, SecretKey,
    ecdsa::{
        Signature, SigningKey, VerifyingKey,
        signature::{DigestSigner, Signer, Verifier},
    },
    elliptic_curve::rand_core::CryptoRngCore,
    pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding},
};
use sha2::{Digest, Sha256};

use super::ProvisionError;
use crate::device_key::{DeviceKeyError, file};

/// The private half.
pub struct BenchKey(SigningKey);

impl BenchKey {
    /// Makes one and keeps it in a new file that only this user may read.
    ///
    /// # Errors
    /// When there is a file already, or none can be written.
    pub fn make(path: &Path, random: &mut impl CryptoRngCore) -> Result<Self, ProvisionError> {
        let key = SecretKey::random(random);
        let text = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| wrong(path, error))?;
        file::write_new(path, text.as_bytes()).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                wrong(path, "it exists already; remove it only with all that it signed")
            }
            _ => ProvisionError::at(path)(error),
        })?;
        Ok(Self(key.into()))
    }

    /// Reads one: PEM (PKCS #8), in a file that nobody else may read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(path: &Path) -> Result<Self, ProvisionError> {
        let text = file::secret_text(path).map_err(|error| match error {
            DeviceKeyError::Absent { place } => ProvisionError::NoKey { place },
            error => error.into(),
        })?;
        let key = SecretKey::from_pkcs8_pem(&text);
        Ok(Self(key.map_err(|_| wrong(path, "it is no key of P-256 in PEM (PKCS #8)"))?.into()))
    }

    /// The public half.
    pub fn public(&self) -> BenchPublic {
        BenchPublic(*self.0.verifying_key())
    }

    /// Signs a text: r and s of 32 bytes each, as base64url without padding.
    pub fn sign(&self, text: &[u8]) -> String {
        let signature: Signature = self.0.sign(text);
        URL_SAFE_NO_PAD.encode(signature.to_bytes())
    }

    /// Signs what `digest` has seen: DER (RFC 3279 §2.2.3), as OpenSSL writes it.
    pub fn sign_digest(&self, digest: Sha256) -> Vec<u8> {
        let signature: Signature = self.0.sign_digest(digest);
        signature.to_der().as_bytes().to_vec()
    }
}

/// The public half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchPublic(VerifyingKey);

impl BenchPublic {
    /// Reads one: PEM (SubjectPublicKeyInfo), as `rostrum-provision bench-key` prints it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(path: &Path) -> Result<Self, ProvisionError> {
        let text = fs::read_to_string(path).map_err(ProvisionError::at(path))?;
        let key = PublicKey::from_public_key_pem(&text);
        Ok(Self(key.map_err(|_| wrong(path, "it is no public key of P-256 in PEM"))?.into()))
    }

    /// PEM (SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// None that is known.
    pub fn to_pem(&self) -> Result<String, ProvisionError> {
        let wrong = |error: p256::pkcs8::spki::Error| wrong(Path::new("-"), error);
        self.0.to_public_key_pem(LineEnding::LF).map_err(wrong)
    }

    /// A short name of the key: the first 16 hexadecimal digits of its compressed point's SHA-256.
    pub fn id(&self) -> String {
        hex::encode(&Sha256::digest(self.0.to_encoded_point(true).as_bytes())[..8])
    }

    /// Whether the private half made this signature ([`BenchKey::sign`]) of this text.
    pub fn signed(&self, text: &[u8], signature: &str) -> bool {
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        Signature::from_slice(&bytes).is_ok_and(|signature| self.0.verify(text, &signature).is_ok())
    }
}

fn wrong(path: &Path, message: impl ToString) -> ProvisionError {
    ProvisionError::Key { place: path.display().to_string(), message: message.to_string() }
}

#[cfg(test)]
pub(super) fn test_key(seed: u8) -> BenchKey {
    #![allow(clippy::unwrap_used)]
    BenchKey(SigningKey::from_slice(&[seed; 32]).unwrap())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use p256::elliptic_curve::rand_core::OsRng;

    use super::*;

    #[test]
    fn a_key_is_made_once_read_again_and_not_taken_when_others_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.pem");
        assert!(matches!(BenchKey::open(&path), Err(ProvisionError::NoKey { .. })));
        let key = BenchKey::make(&path, &mut OsRng).unwrap();
        let again = BenchKey::open(&path).unwrap();
        assert!(key.public() == again.public() && key.public().signed(b"text", &again.sign(b"text")));
        assert!(BenchKey::make(&path, &mut OsRng).is_err(), "it would forget the first");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = BenchKey::open(&path).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_public_key_is_read_as_it_is_printed_and_knows_its_own_signatures() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.pub");
        fs::write(&path, test_key(1).public().to_pem().unwrap()).unwrap();
        let public = BenchPublic::open(&path).unwrap();
        let signature = test_key(1).sign(b"text");
        assert!(public.signed(b"text", &signature) && !public.signed(b"Text", &signature));
        assert!(!public.signed(b"text", &test_key(2).sign(b"text")) && !public.signed(b"text", "AAAA"));
        assert_eq!((public.id().len(), public.id() == test_key(2).public().id()), (16, false));
        fs::write(&path, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").unwrap();
        assert!(BenchPublic::open(&path).is_err());
    }
}
