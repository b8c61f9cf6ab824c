//! The terminal's configuration: one TOML file.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use rostrum_audio::{EqualizerSettings, VoiceOptions};
use rostrum_board::Profile;
use rostrum_fleet::{
    device_key::KeyPlace,
    site::{self, SiteError},
};
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
    /// What the factory knew of the place where the terminal is; counts more than `[service]`.
    pub(crate) site: Option<PathBuf>,
    #[serde(default)]
    pub(crate) service: ServiceKeys,
    #[serde(default)]
    pub(crate) board: Board,
    #[serde(default)]
    pub(crate) panel: Panel,
    #[serde(default)]
    pub(crate) picture: Picture,
    #[serde(default)]
    pub(crate) screen: Screen,
    #[serde(default)]
    pub(crate) voice: Voice,
    /// Socket at which `rostrum-updater` reaches this program; without it nobody looks after updates.
    pub(crate) updates: Option<Updates>,
    /// Where the terminal can be reset to factory.
    pub(crate) factory_reset: Option<FactoryReset>,
}

/// Keys of `[service]`, of which the site file may have some.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServiceKeys {
    /// `ws://`, `wss://`, `http://` or `https://`.
    pub(crate) url: Option<Url>,
    pub(crate) channel: Option<ChannelId>,
    /// The terminal's Udid when absent.
    pub(crate) user: Option<UserId>,
    /// Name that others see; the user's when absent.
    pub(crate) display_name: Option<DisplayName>,
    /// File with a JWT or a hashed token; read again at each attempt to join. Either this ...
    pub(crate) token_file: Option<PathBuf>,
    /// ... or the terminal's own key, for which the service gives tokens.
    pub(crate) device_key: Option<KeyPlace>,
    /// Who gives tokens for the key, when it is not the service itself.
    pub(crate) token_service: Option<Url>,
}

/// The RTC service and the room's place in it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) url: Url,
    pub(crate) channel: ChannelId,
    pub(crate) user: UserId,
    pub(crate) display_name: Option<DisplayName>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) device_key: Option<KeyPlace>,
    pub(crate) token_service: Option<Url>,
}

impl ServiceKeys {
    /// The same with what the site file says in the place of what is here.
    fn at(self, site: site::Service) -> anyhow::Result<Self> {
        let text = |name: Option<site::Name>| name.map(String::from);
        Ok(Self {
            url: site.url.or(self.url),
            channel: text(site.channel).map(ChannelId::new).transpose()?.or(self.channel),
            user: text(site.user).map(UserId::new).transpose()?.or(self.user),
            display_name: text(site.display_name).map(DisplayName::new).transpose()?.or(self.display_name),
            token_service: site.token_service.or(self.token_service),
            ..self
        })
    }

    /// All of it, of the terminal `udid`.
    ///
    /// # Errors
    /// What is missing, and where to say it.
    pub(crate) fn complete(self, udid: &Udid) -> anyhow::Result<Service> {
        let missing = |key: &str| {
            format!(
                "neither the configuration nor the site file says service.{key}; provision the terminal with \
                 `rostrum-provision`, or see `rostrumd config-example`"
            )
        };
        Ok(Service {
            url: self.url.with_context(|| missing("url"))?,
            channel: self.channel.with_context(|| missing("channel"))?,
            user: self.user.map_or_else(|| UserId::new(udid.as_str()), Ok)?,
            display_name: self.display_name,
            token_file: self.token_file,
            device_key: self.device_key,
            token_service: self.token_service,
        })
    }
}

impl Config {
    /// Reads and checks a file, and the site file that it names.
    ///
    /// # Errors
    /// With file, line and what to do.
    pub(crate) fn load(file: &Path) -> anyhow::Result<Self> {
        let mut config: Self = load(file)?;
        if let Some(path) = &config.site {
            config.service = match site::read(path) {
                Ok(site) => config.service.at(site.service)?,
                Err(error @ SiteError::Absent { .. }) => {
                    log::warn!(error:%; "this terminal was not provisioned");
                    config.service
                }
                Err(error) => return Err(error.into()),
            };
        }
        let ServiceKeys { token_file, device_key, .. } = &config.service;
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

/// The room's voice.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Voice {
    /// The room hears that somebody comes or leaves.
    pub(crate) chimes: bool,
    /// Others in the channel may change what the microphones are for.
    pub(crate) far_end_may_change_mode: bool,
    /// How a voice is treated and encoded.
    pub(crate) chain: VoiceOptions,
}

impl Default for Voice {
    fn default() -> Self {
        Self { chimes: true, far_end_may_change_mode: false, chain: VoiceOptions::default() }
    }
}

impl Voice {
    /// The chain's options on a board of `profile`, whose equaliser counts where the configuration has none.
    ///
    /// # Errors
    /// What is wrong with the equaliser of the profile.
    pub(crate) fn options(self, profile: &Profile) -> anyhow::Result<VoiceOptions> {
        let mut options = self.chain;
        let own = options.equalizer != EqualizerSettings::default();
        if let (false, Some(equalizer)) = (own, &profile.equalizer) {
            options.equalizer = equalizer
                .clone()
                .try_into()
                .with_context(|| format!("equalizer of the board profile {}", profile.name))?;
        }
        Ok(options)
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

/// How `rostrum-updater` reaches this program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Updates {
    /// A Unix socket, which this program makes.
    pub(crate) socket: PathBuf,
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
    fn the_example_shows_the_voice_as_it_is_without_it() {
        let voice = parse::<Config>("example", EXAMPLE).unwrap().voice;
        assert_eq!(voice.chain, VoiceOptions::default());
        let without = Voice::default();
        assert_eq!(
            (voice.chimes, voice.far_end_may_change_mode),
            (without.chimes, without.far_end_may_change_mode)
        );
    }

    #[test]
    fn the_equaliser_of_the_profile_counts_where_the_configuration_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("board.toml");
        let bands = |voice: Voice, equalizer: &str| {
            let own = "name = \"mine\"\n".to_owned() + equalizer;
            let rest = "encoder = { driver = \"virtual\" }\nidentity = { driver = \"virtual\" }\n";
            std::fs::write(&file, own + rest).unwrap();
            let profile = Profile::named_or_path(&file.display().to_string()).unwrap();
            Ok::<_, anyhow::Error>(voice.options(&profile)?.equalizer.bands().count())
        };
        let two = "equalizer = [{ kind = \"high_pass\", hz = 90 }, { kind = \"low_shelf\", hz = 200, gain_db = 3 }]\n";
        assert_eq!(bands(Voice::default(), two).unwrap(), 2);
        let text = "chain.equalizer = [{ kind = \"high_pass\", hz = 120 }]\n";
        assert_eq!(bands(parse("voice", text).unwrap(), two).unwrap(), 1);
        let error = bands(Voice::default(), &two.replace("90", "9")).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("mine") && error.contains("band 1"), "{error}");
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

    /// A configuration that names a site file, which says `site`.
    fn load_with(config: &str, site: Option<&str>) -> anyhow::Result<Service> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.toml");
        if let Some(site) = site {
            std::fs::write(&path, site).unwrap();
        }
        let file = folder.path().join("rostrumd.toml");
        std::fs::write(&file, format!("site = {path:?}\n[service]\ntoken_file = \"token\"\n{config}"))
            .unwrap();
        Config::load(&file)?.service.complete(&Udid::new("T-1").unwrap())
    }

    #[test]
    fn the_site_file_counts_more_than_the_configuration_and_the_udid_stands_in_for_the_user() {
        let config = "url = \"ws://one\"\nchannel = \"one\"\ndisplay_name = \"One\"\n";
        let service = load_with(config, Some("[service]\nurl = \"ws://two\"\nchannel = \"two\"\n")).unwrap();
        assert_eq!((service.url.as_str(), service.channel.as_str()), ("ws://two/", "two"));
        assert_eq!(service.display_name.unwrap().as_str(), "One");
        assert_eq!(service.user.as_str(), "T-1");
        let user = load_with(config, Some("[service]\nuser = \"room\"\n")).unwrap().user;
        assert_eq!(user.as_str(), "room");
    }

    #[test]
    fn a_terminal_without_a_site_file_lives_by_its_configuration_or_is_told_to_be_provisioned() {
        let config = "url = \"ws://one\"\nchannel = \"one\"\n";
        assert_eq!(load_with(config, None).unwrap().channel.as_str(), "one");
        let error = load_with("url = \"ws://one\"\n", None).unwrap_err().to_string();
        assert!(error.contains("service.channel") && error.contains("rostrum-provision"), "{error}");
        let error = load_with(config, Some("\n[servce]\n")).unwrap_err().to_string();
        assert!(error.contains("site.toml:2: ") && error.contains("servce"), "{error}");
    }

    #[test]
    fn a_bad_channel_name_is_refused() {
        let text = EXAMPLE.replace("\"boardroom\"", "\"board room\"");
        assert!(parse::<Config>("rostrumd.toml", &text).is_err());
    }
}
