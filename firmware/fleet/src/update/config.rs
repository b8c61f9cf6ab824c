//! The updater's configuration: one TOML file.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use url::Url;

use super::super::site::{self, SiteError};
use super::{
    gate::Gate,
    http::Credentials,
    policy::{Policy, Window},
    system::Places,
};

/// A configuration with every key, for people.
pub const EXAMPLE: &str = include_str!("../../rostrum-updater.example.toml");

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// File with the terminal's Udid in its first line: its name at the update server.
    pub udid_file: PathBuf,
    /// Where the record of updates is kept, and bundles are fetched to.
    pub state_dir: PathBuf,
    /// Socket at which the terminal listens.
    pub terminal: PathBuf,
    /// Folder with a folder for each USB stick.
    pub sticks: PathBuf,
    /// Made when what runs was found good.
    pub good_file: PathBuf,
    /// D-Bus address; the system's bus when absent.
    pub bus: Option<String>,
    /// Made to have the machine restarted in order (`rostrum-reboot.path`).
    pub restart_request: PathBuf,
    /// There while RAUC is to be paused (`rostrum-hold.path`).
    pub hold_request: PathBuf,
    /// Site file; what it says of the update server and the time zone counts more than what is here.
    pub site: Option<PathBuf>,
    /// Name of the room's time zone (IANA); the system's when absent.
    pub time_zone: Option<String>,
    /// The update server; without it, only people bring bundles.
    pub server: Option<Server>,
    /// When updates are installed.
    pub install: Install,
    /// What a new version has to show.
    pub gate: Gate,
    /// Where the machine says what it is.
    pub places: Places,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            udid_file: "/factory/udid".into(),
            state_dir: "/var/lib/rostrum-updater".into(),
            terminal: "/run/rostrum/updates.sock".into(),
            sticks: "/run/rostrum-sticks".into(),
            good_file: "/run/rostrum-updater/good".into(),
            bus: None,
            restart_request: "/run/rostrum-updater/reboot".into(),
            hold_request: "/run/rostrum-updater/hold".into(),
            site: None,
            time_zone: None,
            server: None,
            install: Install::default(),
            gate: Gate::default(),
            places: Places::default(),
        }
    }
}

impl Config {
    /// The same with what the site file says. A terminal without one was not provisioned, which is logged.
    ///
    /// # Errors
    /// When the site file is not right.
    pub fn at_its_site(mut self) -> Result<Self, SiteError> {
        let Some(path) = &self.site else { return Ok(self) };
        let site = match site::read(path) {
            Err(error @ SiteError::Absent { .. }) => {
                log::warn!(error:%; "this terminal was not provisioned");
                return Ok(self);
            }
            site => site?,
        };
        if let Some(zone) = site.time_zone {
            self.time_zone = Some(zone.as_str().to_owned());
        }
        if let Some(updates) = site.updates {
            let tenant = updates.tenant.map_or_else(default_tenant, |tenant| tenant.as_str().to_owned());
            let credentials = self.server.as_ref().map(|server| server.credentials.clone());
            let (poll_s, transfer) = self
                .server
                .as_ref()
                .map_or((default_poll_s(), Transfer::default()), |server| (server.poll_s, server.transfer));
            self.server = Some(Server {
                url: updates.server,
                tenant,
                poll_s,
                transfer,
                credentials: credentials.unwrap_or_default(),
            });
        }
        Ok(self)
    }
}

/// A hawkBit server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Its address, such as `https://updates.example.com`.
    pub url: Url,
    /// Its tenant.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// Seconds between two polls when it does not say.
    #[serde(default = "default_poll_s")]
    pub poll_s: u64,
    /// How bundles come.
    #[serde(default)]
    pub transfer: Transfer,
    /// Who asks, and whom to trust.
    #[serde(default)]
    pub credentials: Credentials,
}

fn default_tenant() -> String {
    "default".into()
}

const fn default_poll_s() -> u64 {
    300
}

/// How bundles come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transfer {
    /// RAUC reads what it needs of a bundle from the server: no room for it is needed, and what did not change is not
    /// read.
    #[default]
    Stream,
    /// The whole bundle is fetched first, and goes on where it was cut off.
    Fetch,
}

/// When updates are installed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Install {
    /// In the room's local time; at any time when there is none.
    pub windows: Vec<Window>,
    /// Whether a security release waits for a window.
    pub security: Security,
    /// Seconds without a meeting before an update disturbs the room.
    pub idle_s: u64,
    /// Seconds without a meeting before that happens while the clock is not set.
    pub idle_without_clock_s: u64,
    /// Seconds without a word of the terminal before that counts as nobody there.
    pub silent_s: u64,
    /// A person at the panel has to agree to what the server asks for.
    pub person_confirms: bool,
    /// Half the seconds before the second try of what failed; they double with each.
    pub retry_s: u64,
}

impl Default for Install {
    fn default() -> Self {
        Self {
            windows: Vec::new(),
            security: Security::AtOnce,
            idle_s: 300,
            idle_without_clock_s: 4 * 3600,
            silent_s: 600,
            person_confirms: false,
            retry_s: 60,
        }
    }
}

/// Whether a security release waits for a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// It waits for the end of a meeting only.
    AtOnce,
    /// It waits as others do.
    InWindow,
}

impl Install {
    /// The rules.
    pub fn policy(&self) -> Policy {
        Policy {
            windows: self.windows.clone(),
            security_at_once: self.security == Security::AtOnce,
            idle: Duration::from_secs(self.idle_s),
            idle_without_clock: Duration::from_secs(self.idle_without_clock_s),
            silent: Duration::from_secs(self.silent_s),
            person_confirms: self.person_confirms,
            retry: Duration::from_secs(self.retry_s),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_example_is_taken_and_what_it_says_of_defaults_is_true() {
        let example: Config = toml::from_str(EXAMPLE).unwrap();
        let server = example.server.clone().unwrap();
        assert_eq!((server.poll_s, server.transfer), (default_poll_s(), Transfer::default()));
        // All else in it is the default, but for what only an installation knows.
        let windows = example.install.windows.clone();
        assert_eq!(windows.len(), 1);
        let mut defaults =
            Config { server: Some(server), time_zone: example.time_zone.clone(), ..Config::default() };
        defaults.install.windows = windows;
        assert_eq!(example, defaults);
    }

    #[test]
    fn the_site_file_says_where_updates_come_from() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("site.toml");
        let config = Config { site: Some(path.clone()), ..Config::default() };
        assert_eq!(config.clone().at_its_site().unwrap().server, None);
        std::fs::write(&path, "time_zone = \"Asia/Tokyo\"\n[updates]\nserver = \"https://u.example.com\"\n")
            .unwrap();
        let at = config.clone().at_its_site().unwrap();
        assert_eq!(at.time_zone.as_deref(), Some("Asia/Tokyo"));
        assert_eq!(at.server.unwrap().url.as_str(), "https://u.example.com/");
        std::fs::write(&path, "[updates]\nserver = 7\n").unwrap();
        assert!(config.at_its_site().is_err());
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        let error = toml::from_str::<Config>("[install]\nidle = 3").unwrap_err();
        assert!(error.to_string().contains("idle"), "{error}");
    }
}
