//! `rostrumd device-key`: the line by which the service knows this terminal.

use rostrum_fleet::device_key;
use rostrum_rtc::device_token::DevicePublicKey;

use crate::config::ServiceKeys;

/// What the command takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Make the key where there is none.
    #[arg(long)]
    make: bool,
}

/// The public half of the key that the configuration names.
pub(crate) fn run(options: &Options, service: &ServiceKeys) -> anyhow::Result<String> {
    let Some(place) = &service.device_key else {
        anyhow::bail!(
            "the configuration names no key; add service.device_key, see `rostrumd config-example`"
        );
    };
    let key = if options.make { device_key::make(place)? } else { device_key::open(place)? };
    Ok(DevicePublicKey::from_sec1(&key.public_key())?.to_string())
}
