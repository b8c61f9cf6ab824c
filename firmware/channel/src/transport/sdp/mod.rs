//! Session descriptions (RFC 8866, RFC 8829): what remotes say, and what we say.

mod fragment;
mod parse;
mod write;

pub use fragment::SdpFragment;
pub(super) use parse::{RemoteDescription, RemoteMedia, parse};
pub(super) use write::{LocalDescription, LocalMedia};

use super::CodecKey;

/// Which way media flows, seen from who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direction {
    pub(super) send: bool,
    pub(super) receive: bool,
}

impl Direction {
    pub(super) fn name(self) -> &'static str {
        match (self.send, self.receive) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }
    }
}

/// `a=setup` (RFC 4145 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    Active,
    Passive,
    ActPass,
}

/// `a=rtcp-fb` of a codec (RFC 4585 §4.2), those that we know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Feedback {
    pub(super) nack: bool,
    pub(super) pli: bool,
    pub(super) fir: bool,
    pub(super) transport_cc: bool,
}

impl Feedback {
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.transport_cc, "transport-cc"),
            (self.fir, "ccm fir"),
            (self.nack, "nack"),
            (self.pli, "nack pli"),
        ];
        all.into_iter().filter(|(there, _)| *there).map(|(_, name)| name)
    }
}

/// One codec of a media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Codec {
    pub(super) key: CodecKey,
    pub(super) pt: u8,
    pub(super) rtx_pt: Option<u8>,
    /// `a=fmtp` as it stands.
    pub(super) fmtp: Option<String>,
    pub(super) feedback: Feedback,
}

impl Codec {
    /// A parameter of the `a=fmtp`.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        parameter(self.fmtp.as_deref()?, name)
    }
}

/// A parameter of an `a=fmtp` value.
pub(super) fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = fmtp.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
