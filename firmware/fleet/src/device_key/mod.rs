//! The terminal's own key: made on it, never copied off it, and used to get tokens of the service.
//!
//! An ECDSA key of P-256, the curve that TPM 2.0 chips and smart cards have. It is in a file that only the terminal's
//! user may read (below systemd: a credential that `systemd-creds` sealed to this machine), or in a PKCS#11 token,
//! which a TPM is by `tpm2-pkcs11`.

pub(crate) mod file;
mod pkcs11;
pub mod sealed;

use std::path::PathBuf;

use serde::Deserialize;

/// Where the key is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum KeyPlace {
    /// PEM (PKCS #8), in a file that nobody else may read.
    File(PathBuf),
    /// A key pair in a token.
    Pkcs11(TokenPlace),
}

/// Where in which PKCS#11 token the key is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenPlace {
    /// The token's library, such as `/usr/lib/aarch64-linux-gnu/pkcs11/libtpm2_pkcs11.so`.
    pub module: PathBuf,
    /// Label of the token.
    pub token: String,
    /// Label of the key pair.
    #[serde(default = "rostrum")]
    pub key: String,
    /// File with the user's PIN in its first line, which nobody else may read.
    pub pin_file: PathBuf,
}

fn rostrum() -> String {
    "rostrum".into()
}

/// A key that signs, and never leaves its place.
pub trait DeviceKey: Send + Sync {
    /// Its public half: the compressed or uncompressed point (SEC 1 §2.3.3).
    fn public_key(&self) -> Vec<u8>;

    /// Signs `text`: ECDSA with SHA-256, r and s of 32 bytes each. Blocks, with a TPM for some 100 ms.
    ///
    /// # Errors
    /// [`DeviceKeyError`].
    fn sign(&self, text: &[u8]) -> Result<[u8; 64], DeviceKeyError>;
}

/// Opens the key.
///
/// # Errors
/// [`DeviceKeyError`], which says what to do.
pub fn open(place: &KeyPlace) -> Result<Box<dyn DeviceKey>, DeviceKeyError> {
    match place {
        KeyPlace::File(path) => Ok(Box::new(file::FileKey::open(path)?)),
        KeyPlace::Pkcs11(token) => Ok(Box::new(pkcs11::TokenKey::open(token)?)),
    }
}

/// Makes a new key where there is none.
///
/// # Errors
/// [`DeviceKeyError::Exists`] when there is one: a terminal that changes its key is not known any more.
pub fn make(place: &KeyPlace) -> Result<Box<dyn DeviceKey>, DeviceKeyError> {
    match place {
        KeyPlace::File(path) => Ok(Box::new(file::FileKey::make(path)?)),
        KeyPlace::Pkcs11(token) => Ok(Box::new(pkcs11::TokenKey::make(token)?)),
    }
}

/// What can go wrong with the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceKeyError {
    /// There is none.
    #[error(
        "there is no device key in {place}; make one with `rostrumd device-key --make`, and register it at the service"
    )]
    Absent {
        /// Where it was looked for.
        place: String,
    },
    /// There is one already.
    #[error(
        "there is a device key in {place} already; remove it first if this terminal shall be another one"
    )]
    Exists {
        /// Where it is.
        place: String,
    },
    /// Others may read it.
    #[error("{place} may be read by others; run `chmod 600 {place}`")]
    Open {
        /// The file.
        place: String,
    },
    /// It cannot be read or made.
    #[error("the device key in {place}: {message}")]
    Failed {
        /// Where it is.
        place: String,
        /// What is wrong.
        message: String,
    },
}
