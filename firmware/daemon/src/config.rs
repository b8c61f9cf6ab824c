//! The terminal's configuration: one TOML file.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use rostrum_fleet::device_key::KeyPlace;
use rostrum_hal::identity::Udid;
use rostrum_rtc::{
    config::load,
    names::{ChannelId, DisplayName, UserId},
};
use serde::Deserialize;
use url::Url;

/// Everything that an installer may set. `rostrumd config-example` prints one with all keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Folder for what has to survive a restart: presets, settings, the panel's password.
    #[serde(default = "default_data_dir")]
    pub(crate) data_dir: PathBuf,
    pub(crate) service: Service,
    #[serde(default)]
    pub(crate) board: Board,
    #[serde(default)]
    pub(crate) panel: Panel,
    #[serde(default)]
    pub(crate) picture: Picture,
    #[serde(default)]
    pub(crate) screen: Screen,
    /// Where the terminal can be reset to factory.
    pub(crate) factory_reset: Option<FactoryReset>,
}

/// The RTC service and the room's place in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    /// `ws://`, `wss://`, `http://` or `https://`.
    pub(crate) url: Url,
    pub(crate) channel: ChannelId,
    pub(crate) user: UserId,
    /// Name that others see; the user's when absent.
    pub(crate) display_name: Option<DisplayName>,
    /// File with a JWT or a hashed token; read again at each attempt to join. Either this ...
    pub(crate) token_file: Option<PathBuf>,
    /// ... or the terminal's own key, for which the service gives tokens.
    pub(crate) device_key: Option<KeyPlace>,
    /// Who gives tokens for the key, when it is not the service itself.
    pub(crate) token_service: Option<Url>,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// With file, line and what to do.
    pub(crate) fn load(file: &Path) -> anyhow::Result<Self> {
        let config: Self = load(file)?;
        let Service { token_file, device_key, .. } = &config.service;
        anyhow::ensure!(
            token_file.is_some() != device_key.is_some(),
            "{}: [service] takes either token_file or device_key; see `rostrumd config-example`",
            file.display()
        );
        Ok(config)
    }
}

/// The hardware.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Board {
    /// Name of a profile that comes with the program, or path of a TOML file.
    pub(crate) profile: String,
    /// Recording that the virtual board's camera and microphones play.
    pub(crate) clip: Option<PathBuf>,
    /// Udid of a virtual board.
    pub(crate) udid: Option<Udid>,
    /// Number in the bar of a virtual board's camera.
    pub(crate) camera_id: Option<u8>,
}

impl Default for Board {
    fn default() -> Self {
        Self { profile: "virtual".into(), clip: None, udid: None, camera_id: None }
    }
}

/// The page on the device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Panel {
    /// Where it listens. Anything but loopback asks for a password that is set at the first visit.
    pub(crate) listen: SocketAddr,
    /// Folder of the built pages.
    pub(crate) pages: PathBuf,
}

impl Default for Panel {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8090)),
            pages: PathBuf::from("/usr/share/rostrum/panel"),
        }
    }
}

/// What the camera is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Picture {
    /// Pixels; the nearest size that the camera has is taken.
    pub(crate) width: u32,
    /// Pixels.
    pub(crate) height: u32,
    /// Frames a second.
    pub(crate) frame_rate_hz: f64,
}

impl Default for Picture {
    fn default() -> Self {
        Self { width: 1280, height: 720, frame_rate_hz: 30.0 }
    }
}

/// The room's screen, where the board can switch it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Screen {
    /// Minutes without use after which it goes to standby; 0 is never.
    pub(crate) standby_after_minutes: u16,
}

impl Default for Screen {
    fn default() -> Self {
        Self { standby_after_minutes: 10 }
    }
}

impl Screen {
    pub(crate) fn standby_after(self) -> Option<Duration> {
        let minutes = u64::from(self.standby_after_minutes);
        (minutes > 0).then(|| Duration::from_secs(minutes * 60))
    }
}

/// How the system is asked to reset this terminal to factory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FactoryReset {
    /// File that is written; the system watches for it.
    pub(crate) request: PathBuf,
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/rostrum")
}

/// A configuration with every key, parsed by a test.
pub(crate) const EXAMPLE: &str = include_str!("../rostrumd.example.toml");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rostrum_rtc::config::parse;

    #[test]
    fn the_example_is_valid() {
        parse::<Config>("example", EXAMPLE).unwrap();
    }

    #[test]
    fn every_example_in_the_readme_is_valid() {
        let readme = include_str!("../README.md");
        let examples: Vec<_> =
            readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!examples.is_empty());
        for example in examples {
            parse::<Config>("README.md", example).unwrap();
        }
    }

    #[test]
    fn a_misspelt_key_is_told_with_its_line_and_the_nearest_name() {
        let text = EXAMPLE.replace("token_file", "token_fil");
        let error = parse::<Config>("rostrumd.toml", &text).unwrap_err().to_string();
        let line = 1 + text.lines().position(|line| line.starts_with("token_fil ")).unwrap();
        assert!(error.starts_with(&format!("rostrumd.toml:{line}: ")), "{error}");
        assert!(error.contains("did you mean `token_file`"), "{error}");
    }

    #[test]
    fn a_bad_channel_name_is_refused() {
        let text = EXAMPLE.replace("\"boardroom\"", "\"board room\"");
        assert!(parse::<Config>("rostrumd.toml", &text).is_err());
    }
}
