//! Session descriptions (RFC 8866, RFC 8829) as far as LiveKit's service and we use them: read, and written.

mod codecs;
mod write;

pub(crate) use codecs::{ExtensionMap, PayloadCodec, payloads, sending};
pub(crate) use write::{LocalSection, SectionKind, Transport, answer, offer};

/// Longest description that is read.
const MAX_BYTES: usize = 512 * 1024;
/// Most media sections that are read.
const MAX_SECTIONS: usize = 256;

/// What a media section carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaKind {
    Audio,
    Video,
    Application,
    Other,
}

/// Direction as its writer sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "sendrecv" => Some(Self::SendRecv),
            "sendonly" => Some(Self::SendOnly),
            "recvonly" => Some(Self::RecvOnly),
            "inactive" => Some(Self::Inactive),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Its writer sends.
    pub(crate) fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Its writer receives.
    pub(crate) fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// Who begins the DTLS handshake (RFC 8842).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    Active,
    Passive,
    ActPass,
}

/// `a=rtpmap` and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RtpMap {
    pub(crate) payload_type: u8,
    /// As written, for instance `H264`.
    pub(crate) name: String,
    pub(crate) clock_rate: u32,
    pub(crate) channels: u8,
    /// `a=fmtp`, empty when there is none.
    pub(crate) parameters: String,
}

/// One `m=` section.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) kind: MediaKind,
    /// The rest of the `m=` line after the port: protocol and formats, to repeat when refused.
    pub(crate) protocol: String,
    pub(crate) formats: String,
    /// Refused sections have port 0 (and no `a=bundle-only`).
    pub(crate) refused: bool,
    pub(crate) mid: String,
    pub(crate) direction: Direction,
    pub(crate) maps: Vec<RtpMap>,
    pub(crate) extensions: Vec<(u8, String)>,
    /// Stream and track of `a=msid`.
    pub(crate) msid: Option<(String, String)>,
    pub(crate) ssrcs: Vec<u32>,
    /// Media and repair SSRC of `a=ssrc-group:FID`.
    pub(crate) repairs: Vec<(u32, u32)>,
    /// Layers that the writer receives, `a=simulcast:recv`.
    pub(crate) receives_rids: Vec<String>,
    pub(crate) max_message_size: Option<u32>,
}

/// A whole description.
#[derive(Clone, Debug, Default)]
pub(crate) struct Description {
    pub(crate) ufrag: String,
    pub(crate) password: String,
    pub(crate) ice_lite: bool,
    /// SHA-256 fingerprints, lower case with colons.
    pub(crate) fingerprints: Vec<String>,
    pub(crate) setup: Option<Setup>,
    /// `candidate:...` lines, without `a=`.
    pub(crate) candidates: Vec<String>,
    pub(crate) sections: Vec<Section>,
}

/// Why a description cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SdpError {
    #[error("it is larger than {MAX_BYTES} bytes or has more than {MAX_SECTIONS} sections")]
    TooLarge,
    #[error("it has no media section")]
    NoMedia,
    #[error("it has no ice-ufrag, ice-pwd or sha-256 fingerprint")]
    NoTransport,
}

impl Description {
    /// Reads a description. Lines that are not known, or wrong, are passed over, as every line of another
    /// implementation may be.
    pub(crate) fn parse(text: &str) -> Result<Self, SdpError> {
        if text.len() > MAX_BYTES {
            return Err(SdpError::TooLarge);
        }
        let mut out = Self::default();
        for line in text.lines() {
            let line = line.trim_end();
            if let Some(media) = line.strip_prefix("m=") {
                if out.sections.len() == MAX_SECTIONS {
                    return Err(SdpError::TooLarge);
                }
                out.sections.push(Section::new(media));
            } else if let Some(attribute) = line.strip_prefix("a=") {
                let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
                out.attribute(name, value);
                if let Some(section) = out.sections.last_mut() {
                    section.attribute(name, value);
                }
            }
        }
        if out.sections.is_empty() {
            return Err(SdpError::NoMedia);
        }
        if out.ufrag.is_empty() || out.password.is_empty() || out.fingerprints.is_empty() {
            return Err(SdpError::NoTransport);
        }
        Ok(out)
    }

    /// Attributes of the transport, which all bundled sections share: the first one seen counts.
    fn attribute(&mut self, name: &str, value: &str) {
        match name {
            "ice-ufrag" if self.ufrag.is_empty() => self.ufrag = value.to_owned(),
            "ice-pwd" if self.password.is_empty() => self.password = value.to_owned(),
            "ice-lite" => self.ice_lite = true,
            "setup" if self.setup.is_none() => {
                self.setup = match value {
                    "active" => Some(Setup::Active),
                    "passive" => Some(Setup::Passive),
                    "actpass" => Some(Setup::ActPass),
                    _ => None,
                };
            }
            "fingerprint" => {
                if let Some((algorithm, digest)) = value.split_once(' ')
                    && algorithm.eq_ignore_ascii_case("sha-256")
                {
                    let digest = digest.trim().to_ascii_lowercase();
                    if self.fingerprints.len() < 8 && !self.fingerprints.contains(&digest) {
                        self.fingerprints.push(digest);
                    }
                }
            }
            "candidate" if self.candidates.len() < 64 => {
                let line = format!("candidate:{value}");
                if !self.candidates.contains(&line) {
                    self.candidates.push(line);
                }
            }
            _ => {}
        }
    }
}

impl Section {
    fn new(media: &str) -> Self {
        let mut words = media.split(' ');
        let kind = match words.next() {
            Some("audio") => MediaKind::Audio,
            Some("video") => MediaKind::Video,
            Some("application") => MediaKind::Application,
            _ => MediaKind::Other,
        };
        let port = words.next().unwrap_or_default();
        let protocol = words.next().unwrap_or_default().to_owned();
        let formats = words.collect::<Vec<_>>().join(" ");
        Self {
            kind,
            protocol,
            formats,
            refused: port == "0",
            mid: String::new(),
            direction: Direction::default(),
            maps: Vec::new(),
            extensions: Vec::new(),
            msid: None,
            ssrcs: Vec::new(),
            repairs: Vec::new(),
            receives_rids: Vec::new(),
            max_message_size: None,
        }
    }

    fn attribute(&mut self, name: &str, value: &str) {
        if let Some(direction) = Direction::parse(name) {
            self.direction = direction;
            return;
        }
        match name {
            "mid" => self.mid = value.to_owned(),
            "bundle-only" => self.refused = false,
            "rtpmap" => self.map(value),
            "fmtp" => self.parameters(value),
            "extmap" if self.extensions.len() < 32 => {
                if let Some((id, uri)) = value.split_once(' ')
                    && let Ok(id) = id.split('/').next().unwrap_or_default().parse()
                {
                    let uri = uri.split(' ').next().unwrap_or_default();
                    self.extensions.push((id, uri.to_owned()));
                }
            }
            "msid" => {
                let mut words = value.split(' ');
                let stream = words.next().unwrap_or_default().to_owned();
                self.msid = Some((stream, words.next().unwrap_or_default().to_owned()));
            }
            "ssrc" if self.ssrcs.len() < 32 => {
                let ssrc = value.split(' ').next().unwrap_or_default().parse();
                if let Ok(ssrc) = ssrc
                    && !self.ssrcs.contains(&ssrc)
                {
                    self.ssrcs.push(ssrc);
                }
            }
            "ssrc-group" if self.repairs.len() < 16 => {
                let mut words = value.split(' ');
                if words.next() == Some("FID")
                    && let (Some(media), Some(repair)) = (words.next(), words.next())
                    && let (Ok(media), Ok(repair)) = (media.parse(), repair.parse())
                {
                    self.repairs.push((media, repair));
                }
            }
            "simulcast" => {
                let mut words = value.split(' ');
                while let (Some(direction), Some(rids)) = (words.next(), words.next()) {
                    if direction == "recv" {
                        let names = rids.split([';', ',']).map(|rid| rid.trim_start_matches('~').to_owned());
                        self.receives_rids = names.take(8).collect();
                    }
                }
            }
            "max-message-size" => self.max_message_size = value.parse().ok(),
            _ => {}
        }
    }

    fn map(&mut self, value: &str) {
        let Some((payload_type, codec)) = value.split_once(' ') else { return };
        let Ok(payload_type) = payload_type.parse() else { return };
        let mut parts = codec.split('/');
        let name = parts.next().unwrap_or_default().to_owned();
        let clock_rate = parts.next().and_then(|c| c.parse().ok()).unwrap_or(0);
        let channels = parts.next().and_then(|c| c.parse().ok()).unwrap_or(1);
        if self.maps.len() < 128 {
            self.maps.push(RtpMap { payload_type, name, clock_rate, channels, parameters: String::new() });
        }
    }

    fn parameters(&mut self, value: &str) {
        let Some((payload_type, parameters)) = value.split_once(' ') else { return };
        let Ok(payload_type) = payload_type.parse::<u8>() else { return };
        if let Some(map) = self.maps.iter_mut().find(|m| m.payload_type == payload_type) {
            map.parameters = parameters.to_owned();
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
