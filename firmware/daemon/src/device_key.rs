//! `rostrumd device-key`: the line by which the service knows this terminal.

use std::path::PathBuf;

use rostrum_fleet::device_key::{self, sealed};
use rostrum_rtc::device_token::DevicePublicKey;

use crate::config::ServiceKeys;

/// What the command takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Make the key where there is none.
    #[arg(long)]
    make: bool,
    /// Make it in this file, sealed to this machine by systemd-creds; needs root. The unit reads it with
    /// LoadCredentialEncrypted=device-key:FILE.
    #[arg(long, value_name = "FILE", requires = "make")]
    seal: Option<PathBuf>,
}

/// The public half of the key that the configuration names.
pub(crate) fn run(options: &Options, service: &ServiceKeys) -> anyhow::Result<String> {
    if let Some(file) = &options.seal {
        return Ok(DevicePublicKey::from_sec1(&sealed::make(file)?)?.to_string());
    }
    let Some(place) = &service.device_key else {
        anyhow::bail!(
            "the configuration names no key; add service.device_key, see `rostrumd config-example`"
        );
    };
    let key = if options.make { device_key::make(place)? } else { device_key::open(place)? };
    Ok(DevicePublicKey::from_sec1(&key.public_key())?.to_string())
}
