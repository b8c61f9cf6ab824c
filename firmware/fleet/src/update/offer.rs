//! What somebody wants installed, and what a bundle says of itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One version that somebody wants on this terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Who offers it.
    pub source: Source,
    /// Its version, as far as the source says so; the bundle has the last word.
    pub version: Option<String>,
    /// Where the bundle is.
    pub bundle: Bundle,
    /// When it may be fetched.
    pub download: Urgency,
    /// When it may be installed.
    pub install: Urgency,
    /// Whether the server's maintenance window is open; `None` when it has none.
    pub window: Option<bool>,
    /// It closes a hole.
    pub security: bool,
    /// The server waits for a yes of this side before it deploys it.
    pub asks: bool,
}

/// Who offers a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The update server, by the number of its action.
    Server {
        /// The action's id.
        action: String,
    },
    /// A USB stick.
    Stick,
    /// A person at the panel, who wants it now, also when it failed before.
    Panel,
}

impl Source {
    /// The server's action, if it is one.
    pub fn action(&self) -> Option<&str> {
        match self {
            Self::Server { action } => Some(action),
            Self::Stick | Self::Panel => None,
        }
    }
}

/// Where a bundle is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bundle {
    /// On a server.
    Remote {
        /// `http:` or `https:`.
        url: String,
        /// Bytes, when the server says so.
        size: Option<u64>,
        /// SHA-256 in lower-case hexadecimal, when the server says so.
        sha256: Option<String>,
    },
    /// On this machine.
    File {
        /// Its path.
        path: PathBuf,
    },
}

/// When something may be done (hawkBit's `skip`, `attempt` and `forced`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Not yet.
    Skip,
    /// When it suits the room.
    Attempt,
    /// As soon as no meeting is disturbed.
    Forced,
}

/// What a signed bundle says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleInfo {
    /// The kind of machine that it is for.
    pub compatible: String,
    /// Its version.
    pub version: String,
}

/// Why something did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What happened, and what to do.
    pub text: String,
    /// Another try may go well.
    pub may_pass: bool,
}

impl Trouble {
    /// Another try may go well.
    pub fn passing(text: impl Into<String>) -> Self {
        Self { text: text.into(), may_pass: true }
    }

    /// It will fail again.
    pub fn lasting(text: impl Into<String>) -> Self {
        Self { text: text.into(), may_pass: false }
    }
}
