//! The service's configuration: one TOML file, unknown keys refused, every key with a default but `apps`.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rostrum_rtc::config::ConfigError;
use rostrum_rtc::names::AppId;
use rostrum_rtc::token::AppKey;
use serde::Deserialize;
use url::Url;

use crate::doors::tls::{self, TlsError};

/// A whole example with every key, its default and what it does; what `channeld config-example` prints.
pub const EXAMPLE: &str = include_str!("../channeld.example.toml");

/// All settings of the service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// HTTP, WebSocket and pages.
    pub http: Http,
    /// Datagrams of media.
    pub media: Media,
    /// The applications that may use the service; at least one.
    pub apps: Vec<App>,
    /// TURN servers for terminals whose networks let nothing else through.
    pub turn: Turn,
    /// Bounds.
    pub limits: Limits,
    /// When a terminal counts as gone.
    pub timeouts: Timeouts,
    /// Invites and the tokens of guests.
    pub guests: Guests,
    /// Hardware terminals that get tokens by keys of their own.
    pub devices: Devices,
    /// What others may do to a participant.
    pub privacy: Privacy,
}

/// What others may do to a participant.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Privacy {
    /// Whether the API may unmute a participant; muting is always possible.
    pub remote_unmute: bool,
}

/// HTTP, WebSocket and pages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How browsers and terminals reach the service, for links; by default made from the address.
    #[serde(deserialize_with = "address")]
    pub public_url: Option<Url>,
    /// Folder with the guest's page (`index.html` and its assets).
    pub pages: PathBuf,
    /// HTTPS and WSS instead of HTTP and WS.
    pub tls: Option<Tls>,
}

/// The certificate of HTTPS. Its files are read again when they change.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM: the server's certificate, then those that signed it.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// Where to listen for plain HTTP beside it, for programs of this machine: an address of loopback.
    #[serde(default)]
    pub plain_listen: Option<SocketAddr>,
}

fn address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = Url::parse(&text)
        .map_err(|error| serde::de::Error::custom(format!("{text:?} is no address: {error}")))?;
    Ok(Some(url))
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7880)),
            public_url: None,
            pages: PathBuf::from("/usr/share/rostrum/guest"),
            tls: None,
        }
    }
}

/// Datagrams of media.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// Where to listen for datagrams of media (UDP); port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many UDP ports are used, from that of `listen` on; connections are spread over them.
    pub udp_ports: u16,
    /// How many threads carry media. A channel lives on one of them, and each has UDP ports of its own.
    pub threads: u16,
    /// Where to listen for media over TCP.
    pub tcp_listen: TcpListen,
    /// The addresses that terminals are told; by default all of this machine but loopback
    /// (loopback too when there is nothing else).
    pub node_ip: Vec<IpAddr>,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7882)),
            udp_ports: 1,
            threads: 1,
            tcp_listen: TcpListen::Same,
            node_ip: Vec::new(),
        }
    }
}

/// Where to listen for media over TCP, which terminals use whose network blocks UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum TcpListen {
    /// `"same"`: address and port of `media.listen`.
    Same,
    /// `"off"`: nowhere.
    Off,
    /// An address of its own; port 0 takes a free one.
    At(SocketAddr),
}

impl TryFrom<String> for TcpListen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "same" => Ok(Self::Same),
            "off" => Ok(Self::Off),
            other => other.parse().map(Self::At).map_err(|_| {
                format!("{other:?} is none of \"same\", \"off\" and an address as \"0.0.0.0:7882\"")
            }),
        }
    }
}

/// TURN servers that make credentials from a secret, as coturn with `use-auth-secret` does.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Turn {
    /// Their addresses, as `turn:turn.example.org:3478?transport=udp` (RFC 7065); none by default.
    pub urls: Vec<String>,
    /// The secret that they share with the service.
    pub secret: Secret,
    /// How long the credentials of one stay work.
    pub ttl_hours: u64,
}

impl Default for Turn {
    fn default() -> Self {
        Self { urls: Vec::new(), secret: Secret::default(), ttl_hours: 24 }
    }
}

impl Turn {
    /// How long the credentials of one stay work.
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_hours.saturating_mul(3600))
    }
}

/// A text that is never printed.
#[derive(Clone, Default, Deserialize)]
#[serde(from = "String")]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// One application and its secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// AppId, LiveKit's API key.
    pub id: AppId,
    /// AppKey, LiveKit's API secret.
    pub key: AppKey,
}

/// Bounds of what clients can make the service hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Terminals in one channel, guests included.
    pub terminals_per_channel: usize,
    /// Channels at a time, over all applications.
    pub channels: usize,
    /// Terminals in all channels.
    pub terminals: usize,
    /// Audio tracks that one terminal may publish, beside the sound of its screens.
    pub audio_tracks_per_terminal: usize,
    /// Video tracks that one terminal may publish, cameras and screens.
    pub video_tracks_per_terminal: usize,
    /// Screens, each with a track of sound, that one terminal may publish.
    pub screen_tracks_per_terminal: usize,
    /// Requests a second of one application to the API and the doors.
    pub requests_per_second: u32,
    /// Bytes of one signalling message or one join request.
    pub message_bytes: usize,
    /// Bytes of one data message.
    pub data_message_bytes: usize,
    /// Sockets of HTTP and WebSocket at a time, and as many TCP connections of media.
    pub sockets: usize,
    /// Of these, from one address (of IPv6, from one network of 64 bits).
    pub sockets_per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            terminals_per_channel: 16,
            channels: 1000,
            terminals: 10_000,
            audio_tracks_per_terminal: 1,
            video_tracks_per_terminal: 2,
            screen_tracks_per_terminal: 1,
            requests_per_second: 500,
            message_bytes: 256 * 1024,
            data_message_bytes: 64 * 1024,
            sockets: 10_000,
            sockets_per_address: 500,
        }
    }
}

/// When a terminal counts as gone, in milliseconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// After its WebSocket closed without a word.
    pub socket_closed_ms: u64,
    /// After the last datagram and the last message.
    pub silent_ms: u64,
    /// A socket is closed this long after its opening, or its last answer, when no whole request came.
    pub request_ms: u64,
    /// A terminal is gone this long after it joined when its media connection did not come up.
    pub connect_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        // Half a second below what the service promises (5 s and 15 s), for timers and networks.
        Self { socket_closed_ms: 4_500, silent_ms: 14_500, request_ms: 5_000, connect_ms: 30_000 }
    }
}

impl Timeouts {
    /// After its WebSocket closed without a word.
    pub fn socket_closed(&self) -> Duration {
        Duration::from_millis(self.socket_closed_ms)
    }

    /// After the last datagram and the last message.
    pub fn silent(&self) -> Duration {
        Duration::from_millis(self.silent_ms)
    }

    /// From joining to the media connection.
    pub fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    /// From a socket's opening, or its last answer, to the end of a request's head.
    pub fn request(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }
}

/// Invites and the tokens of guests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guests {
    /// How long an invite's link works.
    pub invite_hours: u64,
    /// How long the token works that a guest gets for it (a guest in a meeting stays in it).
    pub token_minutes: u64,
}

impl Default for Guests {
    fn default() -> Self {
        Self { invite_hours: 24, token_minutes: 60 }
    }
}

/// Hardware terminals that get tokens by keys of their own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Devices {
    /// Where it is kept which terminals are known; made when the first one is registered.
    pub file: PathBuf,
    /// How long a token works that a terminal gets (a terminal in a meeting stays in it).
    pub token_minutes: u64,
}

impl Default for Devices {
    fn default() -> Self {
        Self { file: PathBuf::from("/var/lib/channeld/devices.json"), token_minutes: 60 }
    }
}

impl Config {
    /// Reads, parses and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and what to do.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let config: Self = rostrum_rtc::config::load(file)?;
        config.checked(&file.display().to_string())
    }

    /// Parses and checks a text; `file` is used in messages only.
    ///
    /// # Errors
    /// [`ConfigError`] with line and what to do.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        rostrum_rtc::config::parse::<Self>(file, text)?.checked(file)
    }

    fn checked(self, file: &str) -> Result<Self, ConfigError> {
        let error = |message: &str| {
            Err(ConfigError::Parse {
                file: file.to_string(),
                line: 1,
                message: message.to_string(),
                hint: String::new(),
            })
        };
        if self.apps.is_empty() {
            return error("no application; add [[apps]] with `id` and `key`");
        }
        let mut seen = HashSet::new();
        if let Some(app) = self.apps.iter().find(|app| !seen.insert(&app.id)) {
            return error(&format!("application `{}` is there twice; remove one", app.id));
        }
        if let Some(app) = self.apps.iter().find(|app| app.key.expose().is_empty()) {
            return error(&format!(
                "application `{}` has an empty key; make one with `openssl rand -hex 32`",
                app.id
            ));
        }
        if self.limits.terminals_per_channel == 0 || self.limits.channels == 0 {
            return error("limits.terminals_per_channel and limits.channels must be at least 1");
        }
        if self.limits.message_bytes < 16 * 1024 {
            return error("limits.message_bytes must be at least 16384: a session description is that large");
        }
        if self.limits.requests_per_second == 0 {
            return error("limits.requests_per_second must be at least 1");
        }
        if self.limits.sockets == 0 || self.limits.sockets_per_address == 0 {
            return error("limits.sockets and limits.sockets_per_address must be at least 1");
        }
        if self.limits.terminals == 0 {
            return error("limits.terminals must be at least 1");
        }
        if !(1024..=64 * 1024).contains(&self.limits.data_message_bytes) {
            return error("limits.data_message_bytes must be 1024 to 65536");
        }
        if self.timeouts.connect_ms < 5_000 {
            return error("timeouts.connect_ms must be at least 5000: slow networks need that much");
        }
        let is_turn = |url: &String| url.starts_with("turn:") || url.starts_with("turns:");
        if let Some(url) = self.turn.urls.iter().find(|url| !is_turn(url)) {
            return error(&format!("turn.urls: {url:?} must be as turn:turn.example.org:3478?transport=udp"));
        }
        if !self.turn.urls.is_empty() && self.turn.secret.expose().is_empty() {
            return error("turn.secret is missing; it is coturn's static-auth-secret");
        }
        if self.timeouts.request_ms < 1000 {
            return error("timeouts.request_ms must be at least 1000: slow networks need that much");
        }
        if let Some(plain) = self.http.tls.as_ref().and_then(|tls| tls.plain_listen)
            && !plain.ip().is_loopback()
        {
            return error(
                "http.tls.plain_listen must be an address of this machine's loopback, as 127.0.0.1:7881",
            );
        }
        if let Some(url) = &self.http.public_url
            && !matches!(url.scheme(), "http" | "https")
        {
            return error("http.public_url must start with http:// or https://");
        }
        let last_port =
            u32::from(self.media.listen.port()) + u32::from(self.media.udp_ports).saturating_sub(1);
        if !(1..=256).contains(&self.media.udp_ports) || last_port > 65_535 {
            return error(
                "media.udp_ports must be 1 to 256, and all ports from that of media.listen below 65536",
            );
        }
        if !(1..=self.media.udp_ports).contains(&self.media.threads) {
            return error("media.threads must be 1 to media.udp_ports: each thread has ports of its own");
        }
        if let TcpListen::At(address) = self.media.tcp_listen
            && address.is_ipv4() != self.media.listen.is_ipv4()
        {
            return error("media.tcp_listen and media.listen must both be IPv4 or both IPv6");
        }
        if self.media.node_ip.iter().any(|ip| ip.is_ipv4() != self.media.listen.is_ipv4()) {
            return error("media.node_ip and media.listen must both be IPv4 or both IPv6");
        }
        Ok(self)
    }

    /// Reads the files that the configuration names and says what is wrong with them.
    ///
    /// # Errors
    /// [`TlsError`], which says what to do.
    pub fn check_files(&self) -> Result<(), TlsError> {
        self.http.tls.as_ref().map_or(Ok(()), |tls| tls::load(tls).map(drop))
    }

    /// The key of an application.
    pub fn key_of(&self, app: &AppId) -> Option<&AppKey> {
        self.apps.iter().find(|known| known.id == *app).map(|known| &known.key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_example_is_valid_and_shows_the_defaults() {
        let config = Config::parse("channeld.example.toml", EXAMPLE).unwrap();
        let defaults = Config::default();
        assert_eq!(config.http.listen, defaults.http.listen);
        assert_eq!(format!("{:?}", config.media), format!("{:?}", defaults.media));
        assert_eq!(config.limits.terminals_per_channel, 16);
        assert_eq!(format!("{:?}", config.limits), format!("{:?}", defaults.limits));
        assert_eq!(format!("{:?}", config.timeouts), format!("{:?}", defaults.timeouts));
        assert_eq!(format!("{:?}", config.guests), format!("{:?}", defaults.guests));
        assert_eq!(config.http.pages, defaults.http.pages);
        assert_eq!(format!("{:?}", config.turn), format!("{:?}", defaults.turn));
    }

    #[test]
    fn every_example_of_the_readme_is_valid() {
        let readme = include_str!("../README.md");
        let examples: Vec<&str> =
            readme.split("```toml\n").skip(1).filter_map(|s| s.split("```").next()).collect();
        assert!(!examples.is_empty());
        for example in examples {
            Config::parse("README.md", example).unwrap();
        }
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_nearest_name() {
        let text = "[[apps]]\nid = \"a\"\nkey = \"b\"\n[limits]\nterminal_per_channel = 3\n";
        let error = Config::parse("c.toml", text).unwrap_err().to_string();
        assert!(error.starts_with("c.toml:5: "), "{error}");
        assert!(error.contains("did you mean `terminals_per_channel`?"), "{error}");
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_do() {
        let error = |text: &str| Config::parse("c.toml", text).unwrap_err().to_string();
        assert!(error("").contains("add [[apps]]"));
        let app = "[[apps]]\nid = \"a\"\nkey = \"b\"\n";
        assert!(error(&format!("{app}{app}")).contains("twice"));
        assert!(error(&format!("{app}[http]\npublic_url = \"ftp://x\"\n")).contains("http://"));
        assert!(error(&format!("{app}[media]\nnode_ip = [\"::1\"]\n")).contains("IPv6"));
        assert!(error(&format!("{app}[turn]\nurls = [\"turn:t\"]\n")).contains("turn.secret"));
        assert!(
            error(&format!("{app}[turn]\nurls = [\"http://t\"]\nsecret = \"s\"\n")).contains("turn:turn.")
        );
        assert!(error(&format!("{app}[limits]\ndata_message_bytes = 100000\n")).contains("65536"));
        let family = error(&format!("{app}[media]\ntcp_listen = \"[::1]:1\"\n"));
        assert!(family.contains("both be IPv4"), "{family}");
        assert!(
            error(&format!("{app}[media]\nlisten = \"0.0.0.0:65535\"\nudp_ports = 2\n"))
                .contains("udp_ports")
        );
        assert!(error(&format!("{app}[media]\ntcp_listen = \"on\"\n")).contains("\"same\""));
        assert!(error(&format!("{app}[media]\nthreads = 2\n")).contains("media.udp_ports"));
        let tls = "[http.tls]\ncertificate = \"c\"\nkey = \"k\"\nplain_listen = \"0.0.0.0:1\"\n";
        assert!(error(&format!("{app}{tls}")).contains("loopback"));
        assert!(error("[[apps]]\nid = \"a b\"\nkey = \"b\"\n").contains("AppId contains ' '"));
    }

    #[test]
    fn a_key_is_not_printed() {
        let config = Config::parse("c.toml", "[[apps]]\nid = \"a\"\nkey = \"hush\"\n").unwrap();
        assert!(!format!("{config:?}").contains("hush"));
        let turn = Turn { secret: "hush".to_string().into(), ..Turn::default() };
        assert!(!format!("{turn:?}").contains("hush"));
    }
}
