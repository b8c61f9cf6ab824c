//! A key that is made on the device and sealed to it by `systemd-creds` (systemd-creds(1)): to its TPM where it has one,
//! else to a secret of this installation. Only systemd opens it, for the unit that has
//! `LoadCredentialEncrypted=device-key:FILE`.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    path::Path,
    process::{Command, Stdio},
};

use p256::{
    SecretKey,
    elliptic_curve::{rand_core::OsRng, sec1::ToEncodedPoint},
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
};

use super::{
    DeviceKeyError,
    file::{failed, write_new},
};

/// Name of the credential.
pub const CREDENTIAL: &str = "device-key";

/// Makes a key, and keeps nothing of it but the sealed file `path`, whole and on the disk when this returns, or not at all.
/// Needs root. Gives its public half, the compressed point (SEC 1 §2.3.3).
///
/// # Errors
/// [`DeviceKeyError::Exists`] when there is such a file already, [`DeviceKeyError::Failed`] with what `systemd-creds` said.
pub fn make(path: &Path) -> Result<Vec<u8>, DeviceKeyError> {
    if path.exists() {
        return Err(DeviceKeyError::Exists { place: path.display().to_string() });
    }
    let key = SecretKey::random(&mut OsRng);
    let text = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| failed(path, &error.to_string()))?;
    let sealed = systemd_creds("encrypt", text.as_bytes()).map_err(|message| failed(path, &message))?;
    write_new(path, &sealed).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => DeviceKeyError::Exists { place: path.display().to_string() },
        _ => failed(path, &error.to_string()),
    })?;
    Ok(key.public_key().to_encoded_point(true).as_bytes().to_vec())
}

/// The public half of a key that was sealed to this machine. Needs root.
///
/// # Errors
/// [`DeviceKeyError::Absent`] when there is no such file, [`DeviceKeyError::Failed`] with what `systemd-creds` said: it was
/// sealed to another machine.
pub fn public_key(path: &Path) -> Result<Vec<u8>, DeviceKeyError> {
    let sealed = fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => DeviceKeyError::Absent { place: path.display().to_string() },
        _ => failed(path, &error.to_string()),
    })?;
    let text = systemd_creds("decrypt", &sealed).map_err(|message| failed(path, &message))?;
    let key = std::str::from_utf8(&text).ok().and_then(|text| SecretKey::from_pkcs8_pem(text).ok());
    let key = key.ok_or_else(|| failed(path, "it is no key of P-256 in PEM (PKCS #8)"))?;
    Ok(key.public_key().to_encoded_point(true).as_bytes().to_vec())
}

/// What `systemd-creds` makes of `input`. The key goes through pipes, and so to no disk.
fn systemd_creds(what: &str, input: &[u8]) -> Result<Vec<u8>, String> {
    let told = |error: io::Error| format!("systemd-creds: {error}");
    let mut command = Command::new("systemd-creds");
    command.args([what, &format!("--name={CREDENTIAL}"), "-", "-"]);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = pipes.spawn().map_err(told)?;
    // Shorter than a pipe, so that this waits for nobody; the end of the input is that of the scope.
    let written = program.stdin.take().map(|mut pipe| pipe.write_all(input));
    let output = program.wait_with_output().map_err(told)?;
    if output.status.success() && matches!(written, Some(Ok(()))) {
        Ok(output.stdout)
    } else {
        Err(format!("systemd-creds: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
