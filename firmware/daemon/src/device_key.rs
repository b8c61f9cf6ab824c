//! `rostrumd device-key`: the line by which the service knows this terminal.

use std::path::PathBuf;

use rostrum_fleet::device_key::{self, KeyPlace, sealed};
use rostrum_rtc::device_token::DevicePublicKey;

use crate::config::ServiceKeys;

/// What the command takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Make the key where there is none.
    #[arg(long)]
    make: bool,
    /// The key is in this file, or to be made in it, sealed to this machine by systemd-creds; needs root. The unit reads it
    /// with LoadCredentialEncrypted=device-key:FILE, or as ImportCredential=device-key from /run/credstore.encrypted.
    #[arg(long, value_name = "FILE")]
    seal: Option<PathBuf>,
    /// Make nothing where the configuration says that the key is in a PKCS#11 token, or that somebody brings tokens of the
    /// service in a file.
    #[arg(long, requires = "seal", requires = "make")]
    unless_token: bool,
}

/// The public half of the key that the configuration names.
pub(crate) fn run(options: &Options, service: &ServiceKeys) -> anyhow::Result<String> {
    if let Some(file) = &options.seal {
        if options.unless_token && !matches!(service.device_key, Some(KeyPlace::File(_))) {
            return Ok("the configuration wants no sealed key; nothing was made".into());
        }
        let public = if options.make { sealed::make(file)? } else { sealed::public_key(file)? };
        return Ok(DevicePublicKey::from_sec1(&public)?.to_string());
    }
    let Some(place) = &service.device_key else {
        anyhow::bail!(
            "the configuration names no key; add service.device_key, see `rostrumd config-example`"
        );
    };
    let key = if options.make { device_key::make(place)? } else { device_key::open(place)? };
    Ok(DevicePublicKey::from_sec1(&key.public_key())?.to_string())
}
