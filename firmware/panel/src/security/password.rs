//! The panel's password at rest: an Argon2id hash in a file of mode 0600.

use std::path::PathBuf;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};

use crate::{PanelError, files};

/// Shortest password, in characters.
pub(crate) const MIN_PASSWORD_CHARS: usize = 8;
/// Longest password, in bytes of UTF-8.
pub(crate) const MAX_PASSWORD_BYTES: usize = 256;

/// The file. It is read anew each time: who removes it sets a new password without a restart.
#[derive(Clone)]
pub(crate) struct PasswordStore {
    path: PathBuf,
}

impl PasswordStore {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Whether a password was set. A file that cannot be read counts as one: nobody sets another.
    pub(crate) fn is_set(&self) -> bool {
        !matches!(files::read(&self.path), Ok(None))
    }

    /// Sets the first password; `false` when there is one. Blocks, and computes for some 50 ms.
    pub(crate) fn set(&self, password: &str) -> Result<bool, PanelError> {
        if self.is_set() {
            return Ok(false);
        }
        let failed = |message: String| PanelError::Hash { message };
        let mut salt = [0_u8; 16];
        rand::fill(&mut salt);
        let salt = SaltString::encode_b64(&salt).map_err(|error| failed(error.to_string()))?;
        let hash = Argon2::default()
            .hash_password(password.as_bytes(), &salt)
            .map_err(|error| failed(error.to_string()))?;
        files::create(&self.path, format!("{hash}\n").as_bytes())
    }

    /// Whether `password` is right; `false` when none was set. Compares in constant time. Blocks, and
    /// computes for some 50 ms.
    pub(crate) fn verify(&self, password: &str) -> Result<bool, PanelError> {
        let Some(text) = files::read(&self.path)? else { return Ok(false) };
        let hash = PasswordHash::new(text.trim())
            .map_err(|_| PanelError::PasswordFile { path: self.path.clone() })?;
        Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_is_set_once_and_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = PasswordStore::new(folder.path().join("password"));
        assert!(!store.is_set());
        assert!(!store.verify("").unwrap());
        assert!(store.set("correct horse").unwrap());
        assert!(!store.set("battery staple").unwrap());
        assert!(store.verify("correct horse").unwrap());
        assert!(!store.verify("battery staple").unwrap());
        assert!(!std::fs::read_to_string(folder.path().join("password")).unwrap().contains("correct"));
    }

    #[test]
    fn a_file_that_holds_something_else_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "").unwrap();
        let store = PasswordStore::new(path);
        assert!(store.is_set());
        assert!(!store.set("correct horse").unwrap());
        assert!(store.verify("").is_err());
    }
}
