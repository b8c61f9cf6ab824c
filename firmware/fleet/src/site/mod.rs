//! The site file: what a terminal has to know to join, and to be looked after, in the place where it is installed.
//!
//! `rostrum-provision` writes it beside the Udid, and nobody changes it on the device. What it says counts more than the
//! configuration that came with the image. Unknown keys are refused, so that a misspelt one is found on the bench.

pub mod network;

use std::{fmt, fs, io, path::Path};

use serde::{Deserialize, Serialize};
use url::Url;

/// A site file with every key, parsed by a test.
pub const EXAMPLE: &str = include_str!("../../site.example.toml");

/// Bytes that a site file may have.
const LONGEST: u64 = 64 * 1024;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Site {
    /// IANA name such as `Europe/Berlin`: local time of the window in which updates are installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZone>,
    /// The RTC service and the room's place in it.
    pub service: Service,
    /// Who has updates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updates: Option<Updates>,
    /// The terminal's address and who it asks, where DHCP does not say it. The bench makes `systemd-networkd`'s file of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<network::Network>,
}

/// Keys of `[service]`, with the meaning that they have in `rostrumd.toml`; all may be left to that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// `ws://`, `wss://`, `http://` or `https://`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "service_url")]
    pub url: Option<Url>,
    /// Channel that the room joins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Name>,
    /// The room's UserId; its Udid when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Name>,
    /// Name that others see; the user's when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Name>,
    /// Who gives tokens for the device's key, when it is not the service itself.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "web_url")]
    pub token_service: Option<Url>,
}

/// Keys of `[updates]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Updates {
    /// `http://` or `https://`: a hawkBit server, or one that speaks its DDI.
    #[serde(deserialize_with = "update_url")]
    pub server: Url,
    /// Tenant on that server, when it has more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
}

/// A name as the service takes it: `[A-Za-z0-9_-]{1,64}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = SiteError;

    fn try_from(text: String) -> Result<Self, SiteError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(SiteError::Name)
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// An IANA name of a time zone. Whether this machine knows it is seen where it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZone(String);

impl TimeZone {
    /// The name: a path below `/usr/share/zoneinfo`, and none that leads out of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TimeZone {
    type Error = SiteError;

    fn try_from(text: String) -> Result<Self, SiteError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+".contains(&byte);
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(allowed);
        if text.len() <= 64 && text.split('/').all(is_part) {
            Ok(Self(text))
        } else {
            Err(SiteError::TimeZone)
        }
    }
}

impl From<TimeZone> for String {
    fn from(zone: TimeZone) -> Self {
        zone.0
    }
}

/// Why a site file was not taken. The message is for the person who wrote it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SiteError {
    /// There is none.
    #[error("there is no site file {file}; write one with `rostrum-provision write --site`")]
    Absent {
        /// Its path.
        file: String,
    },
    /// It cannot be read.
    #[error("the site file {file} cannot be read: {source}")]
    Read {
        /// Its path.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Its text is not valid.
    #[error("{file}:{line}: {message}; see `rostrum-provision site-example`")]
    Parse {
        /// Its path.
        file: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A name is none.
    #[error("a name has 1 to 64 characters out of A-Z a-z 0-9 _ -")]
    Name,
    /// An address is none.
    #[error("an address has the bits of its network, such as \"192.0.2.10/24\"")]
    Address,
    /// A machine's name is none.
    #[error("a machine is named by letters, digits, dots and hyphens, or by its address")]
    Host,
    /// A network that cannot be.
    #[error("network.gateway is of use with network.address only: DHCP says its own")]
    Gateway,
    /// A time zone is none.
    #[error("a time zone is an IANA name such as \"Europe/Berlin\"")]
    TimeZone,
}

/// Reads a site file.
///
/// # Errors
/// [`SiteError::Absent`] where there is none, which a terminal that was never provisioned has to live with; else what is
/// wrong, with the line.
pub fn read(path: &Path) -> Result<Site, SiteError> {
    let file = path.display().to_string();
    let text = read_text(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => SiteError::Absent { file: file.clone() },
        _ => SiteError::Read { file: file.clone(), source },
    })?;
    parse(&file, &text)
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(fs::File::open(path)?, LONGEST), &mut text)?;
    Ok(text)
}

/// Parses the text of a site file; `file` is used in messages only.
///
/// # Errors
/// [`SiteError::Parse`].
pub fn parse(file: &str, text: &str) -> Result<Site, SiteError> {
    let wrong = |start: usize, message: &str| {
        let before = text.as_bytes().get(..start).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        SiteError::Parse { file: file.into(), line, message: message.trim().into() }
    };
    let site: Site = toml::from_str(text)
        .map_err(|error| wrong(error.span().map_or(0, |span| span.start), error.message()))?;
    let is_dynamic = |network: &network::Network| network.address.is_none() && network.gateway.is_some();
    if site.network.as_ref().is_some_and(is_dynamic) {
        return Err(wrong(text.find("gateway").unwrap_or(0), &SiteError::Gateway.to_string()));
    }
    Ok(site)
}

fn url_of<'de, D: serde::Deserializer<'de>>(source: D, schemes: &[&str]) -> Result<Url, D::Error> {
    let url = Url::deserialize(source)?;
    if schemes.contains(&url.scheme()) && url.has_host() {
        return Ok(url);
    }
    let wanted = schemes.iter().map(|scheme| format!("{scheme}://")).collect::<Vec<_>>().join(", ");
    Err(serde::de::Error::custom(format!("an address begins with one of {wanted} and names a host")))
}

fn service_url<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<Url>, D::Error> {
    url_of(source, &["ws", "wss", "http", "https"]).map(Some)
}

fn web_url<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<Url>, D::Error> {
    url_of(source, &["http", "https"]).map(Some)
}

fn update_url<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Url, D::Error> {
    url_of(source, &["http", "https"])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_is_valid_and_has_every_key() {
        let site = parse("example", EXAMPLE).unwrap();
        let Service { url, channel, user, display_name, token_service } = &site.service;
        assert!(url.is_some() && channel.is_some() && user.is_some() && display_name.is_some());
        assert!(token_service.is_some() && site.updates.is_some() && site.time_zone.is_some());
        let network = site.network.unwrap();
        assert!(network.address.is_some() && network.gateway.is_some());
        assert!(!network.dns.is_empty() && !network.ntp.is_empty());
    }

    #[test]
    fn every_example_in_the_readme_is_valid() {
        let readme = include_str!("../../README.md");
        let examples: Vec<_> =
            readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!examples.is_empty());
        for example in examples {
            parse("README.md", example).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, word) in [
            ("\n[service]\nurll = \"ws://a\"\n", 3, "urll"),
            ("[service]\nchannel = \"a room\"\n", 2, "1 to 64"),
            ("[service]\n\nurl = \"meet.example.com\"\n", 3, "URL"),
            ("[service]\nurl = \"ftp://meet.example.com\"\n", 2, "wss://"),
            ("[updates]\n", 1, "server"),
            ("[updates]\nserver = \"ws://a\"\n", 2, "https://"),
            ("time_zone = \"../../etc/passwd\"\n", 1, "IANA"),
            ("netwrk = 1\n", 1, "netwrk"),
            ("[network]\naddress = \"192.0.2.1\"\n", 2, "/24"),
            ("[network]\n\ngateway = \"192.0.2.1\"\n", 3, "network.address"),
            ("[network]\nntp = [\"a b\"]\n", 2, "hyphens"),
        ] {
            let error = parse("site.toml", text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("site.toml:{line}: ")), "{text}: {error}");
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_told_apart_from_one_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(&folder.path().join("site.toml")), Err(SiteError::Absent { .. })));
        assert!(matches!(read(folder.path()), Err(SiteError::Read { .. })));
        fs::write(folder.path().join("site.toml"), EXAMPLE).unwrap();
        assert_eq!(read(&folder.path().join("site.toml")).unwrap(), parse("", EXAMPLE).unwrap());
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        let site = parse("", EXAMPLE).unwrap();
        assert_eq!(parse("", &toml::to_string(&site).unwrap()).unwrap(), site);
        assert_eq!(toml::to_string(&Site::default()).unwrap().trim(), "[service]");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_zone_leads_out(text in "\\PC{0,80}(\n\\PC{0,40}){0,3}", zone in "[A-Za-z/._+-]{0,20}") {
            let _ = parse("f", &text);
            let _ = parse("f", &format!("[service]\nurl = {text:?}\nchannel = {zone:?}\n"));
            if let Ok(site) = parse("f", &format!("time_zone = {zone:?}\n")) {
                let zone = site.time_zone.unwrap();
                prop_assert!(Path::new(zone.as_str()).is_relative());
                prop_assert!(!zone.as_str().contains(".."));
            }
        }
    }
}
