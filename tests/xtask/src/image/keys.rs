//! Keys of an image that nobody ships: made once on this machine, kept in the cache, never committed.

use std::{fs, path::PathBuf, process::Command};

use anyhow::ensure;

use crate::{paths, rig::kernel::quiet, setup::once};

/// Who signs, and whom an image trusts.
pub struct Keys {
    /// The key ring of the image.
    pub authority: PathBuf,
    /// The signer's certificate.
    pub certificate: PathBuf,
    /// The signer's key.
    pub key: PathBuf,
}

/// The keys for development, or those of `ROSTRUM_SIGNING_CERTIFICATE`, `ROSTRUM_SIGNING_KEY` and `ROSTRUM_KEYRING`.
///
/// # Errors
/// When openssl refuses, or only some of the three are set.
pub fn keys() -> anyhow::Result<Keys> {
    let named =
        ["ROSTRUM_KEYRING", "ROSTRUM_SIGNING_CERTIFICATE", "ROSTRUM_SIGNING_KEY"].map(std::env::var_os);
    if let [Some(authority), Some(certificate), Some(key)] = named.clone() {
        return Ok(Keys { authority: authority.into(), certificate: certificate.into(), key: key.into() });
    }
    ensure!(
        named.iter().all(Option::is_none),
        "set all of ROSTRUM_KEYRING, ROSTRUM_SIGNING_CERTIFICATE and ROSTRUM_SIGNING_KEY, or none"
    );
    made("image-keys")
}

/// A key of somebody whom no image trusts, for tests of refusals.
///
/// # Errors
/// When openssl refuses.
pub fn strangers_keys() -> anyhow::Result<Keys> {
    made("image-strangers-keys")
}

fn made(name: &str) -> anyhow::Result<Keys> {
    let dir = paths::cache().join(name);
    let file = |name: &str| dir.join(name);
    let keys = Keys { authority: file("ca.pem"), certificate: file("signer.pem"), key: file("signer.key") };
    once(&dir.join("complete"), b"1", || {
        fs::create_dir_all(&dir)?;
        quiet(Command::new("chmod").arg("700").arg(&dir))?;
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"];
        let request = || {
            let mut request = Command::new("openssl");
            request.args(["req", "-new"]).args(curve).current_dir(&dir);
            request
        };
        let authority = ["-x509", "-days", "7300", "-keyout", "ca.key", "-out", "ca.pem"];
        quiet(request().args(authority).args(["-subj", "/O=Rostrum development/CN=Updates"]))?;
        quiet(request().args([
            "-keyout",
            "signer.key",
            "-out",
            "signer.csr",
            "-subj",
            "/O=Rostrum development/CN=Signer",
        ]))?;
        fs::write(
            dir.join("signer.cnf"),
            "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n\
             extendedKeyUsage=critical,codeSigning,emailProtection\n",
        )?;
        let mut sign = Command::new("openssl");
        sign.args([
            "x509",
            "-req",
            "-days",
            "3650",
            "-in",
            "signer.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
        ])
        .args(["-CAcreateserial", "-extfile", "signer.cnf", "-out", "signer.pem"])
        .current_dir(&dir);
        quiet(&mut sign)
    })?;
    Ok(keys)
}
