//! What a terminal is told when it joins.

use std::{net::IpAddr, sync::Arc};

use url::Url;

/// Where the terminal gets its token. It is asked again at each attempt to join, so a token that
/// expires is replaced without a restart.
#[async_trait::async_trait]
pub trait TokenSource: Send + Sync {
    /// A JWT or a hashed token for the channel to join; see [`crate::token`].
    ///
    /// # Errors
    /// What to tell the person at the panel. The attempt counts as failed and is repeated.
    async fn token(&self) -> Result<String, String>;
}

/// A token that is known from the start.
#[async_trait::async_trait]
impl TokenSource for String {
    async fn token(&self) -> Result<String, String> {
        Ok(self.clone())
    }
}

/// Everything that [`crate::Terminal::start`] needs.
#[derive(Clone)]
pub struct TerminalOptions {
    /// Address of the service: `ws://`, `wss://`, `http://` or `https://`.
    pub service_url: Url,
    /// Asked at each attempt to join.
    pub token: Arc<dyn TokenSource>,
    /// Hardware identity, sent as the participant attribute `udid`; empty for none.
    pub udid: String,
    /// Name that others see; empty to keep the one in the token.
    pub display_name: String,
    /// The camera track, or none.
    pub video: Option<VideoPlan>,
    /// The microphone track, or none.
    pub audio: Option<AudioPlan>,
    /// Receive every track of the channel.
    pub auto_subscribe: bool,
    /// Which addresses of this machine take part.
    pub network: NetworkOptions,
}

/// Name of a simulcast layer on the wire (RFC 8851), as LiveKit uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rid {
    /// Low, up to 360 lines.
    Q,
    /// Mid, up to 720 lines.
    H,
    /// High, up to 1080 lines.
    F,
}

impl Rid {
    /// All layers, low to high.
    pub const ALL: [Self; 3] = [Self::Q, Self::H, Self::F];

    /// Its name in SDP and header extensions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::H => "h",
            Self::F => "f",
        }
    }

    /// 0 for low, 1 for mid, 2 for high.
    pub const fn index(self) -> usize {
        match self {
            Self::Q => 0,
            Self::H => 1,
            Self::F => 2,
        }
    }
}

impl std::fmt::Display for Rid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The layers of the camera track. An empty list is the same as no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoPlan {
    /// At most one for each [`Rid`], in any order.
    pub layers: Vec<LayerPlan>,
}

/// One layer of the camera track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerPlan {
    /// Its name on the wire.
    pub rid: Rid,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bits a second that it may use when there is room.
    pub max_bitrate_bps: u32,
    /// Frames a second.
    pub frame_rate: u32,
}

/// The microphone track: Opus, 48 kHz, packets of 20 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioPlan {
    /// Two channels instead of one.
    pub stereo: bool,
}

/// Which addresses of this machine take part in media.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Addresses to bind media sockets to. Empty: let the operating system route, by one socket an
    /// address family.
    pub bind: Vec<IpAddr>,
    /// Offer loopback addresses even when the service is not on this machine.
    pub include_loopback: bool,
}
