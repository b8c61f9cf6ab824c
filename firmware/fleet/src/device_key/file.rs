//! A key in a file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use p256::{
    SecretKey,
    ecdsa::{Signature, SigningKey, signature::Signer},
    elliptic_curve::rand_core::OsRng,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
};

use super::{DeviceKey, DeviceKeyError};

/// More is no key.
const LONGEST: u64 = 4096;

/// An open key.
pub(super) struct FileKey(SigningKey);

impl FileKey {
    pub(super) fn open(path: &Path) -> Result<Self, DeviceKeyError> {
        let text = secret_text(path).map_err(|error| match error {
            DeviceKeyError::Absent { .. } => DeviceKeyError::Absent { place: path.display().to_string() },
            error => error,
        })?;
        let key = SecretKey::from_pkcs8_pem(&text)
            .map_err(|_| failed(path, "it is no key of P-256 in PEM (PKCS #8)"))?;
        Ok(Self(key.into()))
    }

    pub(super) fn make(path: &Path) -> Result<Self, DeviceKeyError> {
        let key = SecretKey::random(&mut OsRng);
        let text = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| failed(path, &error.to_string()))?;
        write_new(path, text.as_bytes()).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => DeviceKeyError::Exists { place: path.display().to_string() },
            _ => failed(path, &error.to_string()),
        })?;
        Ok(Self(key.into()))
    }
}

impl DeviceKey for FileKey {
    fn public_key(&self) -> Vec<u8> {
        self.0.verifying_key().to_encoded_point(true).as_bytes().to_vec()
    }

    fn sign(&self, text: &[u8]) -> Result<[u8; 64], DeviceKeyError> {
        let signature: Signature = self.0.sign(text);
        Ok(signature.to_bytes().into())
    }
}

/// A text that only this user and root may read.
pub(crate) fn secret_text(path: &Path) -> Result<String, DeviceKeyError> {
    let place = || path.display().to_string();
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => DeviceKeyError::Absent { place: place() },
        _ => failed(path, &error.to_string()),
    })?;
    let mode = file.metadata().map_err(|error| failed(path, &error.to_string()))?.mode();
    // A group may read what systemd gives to a service of its own (systemd.exec(5), CREDENTIALS).
    if mode & 0o037 != 0 {
        return Err(DeviceKeyError::Open { place: place() });
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(|error| failed(path, &error.to_string()))?;
    Ok(text)
}

/// Whole or not at all, and on the disk when it returns; nothing that is there is replaced.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes).and_then(|()| file.sync_all())?;
    // Unlike a renaming, this fails where there is a file already.
    let linked = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    linked?;
    File::open(folder)?.sync_all()
}

pub(super) fn failed(path: &Path, message: &str) -> DeviceKeyError {
    DeviceKeyError::Failed { place: path.display().to_string(), message: message.into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use p256::ecdsa::{VerifyingKey, signature::Verifier};

    use super::*;

    #[test]
    fn a_key_is_made_once_kept_to_itself_and_signs_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device-key.pem");
        assert!(matches!(FileKey::open(&path), Err(DeviceKeyError::Absent { .. })));
        let public = FileKey::make(&path).unwrap().public_key();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(FileKey::make(&path), Err(DeviceKeyError::Exists { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        let key = FileKey::open(&path).unwrap();
        assert_eq!(key.public_key(), public);
        let signature = Signature::from_slice(&key.sign(b"text").unwrap()).unwrap();
        let public = VerifyingKey::from_sec1_bytes(&public).unwrap();
        assert!(public.verify(b"text", &signature).is_ok() && public.verify(b"texts", &signature).is_err());
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device-key.pem");
        FileKey::make(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = FileKey::open(&path).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        assert!(FileKey::open(&path).is_ok(), "as systemd gives credentials");
        fs::remove_file(&path).unwrap();
        write_new(&path, b"-----BEGIN PRIVATE KEY-----\nrubbish\n-----END PRIVATE KEY-----\n").unwrap();
        let error = FileKey::open(&path).err().unwrap().to_string();
        assert!(error.contains("PKCS #8"), "{error}");
    }
}
