//! What the holder of a token may do.

use serde::{Deserialize, Serialize};

use crate::names::ChannelId;

/// What the holder of a token may do: the `video` claim of LiveKit's tokens. Absent rights mean
/// what they mean there: publish, subscribe and data are allowed unless said otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Grants {
    /// May join [`Grants::room`].
    #[serde(skip_serializing_if = "is_default")]
    pub room_join: bool,
    /// The channel, by its ChannelId.
    #[serde(skip_serializing_if = "is_default")]
    pub room: String,
    /// May manage the channel (mute and remove others, list).
    #[serde(skip_serializing_if = "is_default")]
    pub room_admin: bool,
    /// May publish tracks; absent = yes.
    #[serde(skip_serializing_if = "is_default")]
    pub can_publish: Option<bool>,
    /// May subscribe to tracks; absent = yes.
    #[serde(skip_serializing_if = "is_default")]
    pub can_subscribe: Option<bool>,
    /// May send data; absent = as `can_publish`.
    #[serde(skip_serializing_if = "is_default")]
    pub can_publish_data: Option<bool>,
    /// When not empty, only these sources may be published (`camera`, `microphone`,
    /// `screen_share`, `screen_share_audio`).
    #[serde(skip_serializing_if = "is_default")]
    pub can_publish_sources: Vec<String>,
    /// May change its own name, metadata and attributes; absent = no.
    #[serde(skip_serializing_if = "is_default")]
    pub can_update_own_metadata: Option<bool>,
    /// Others do not see it.
    #[serde(skip_serializing_if = "is_default")]
    pub hidden: bool,
    /// It records the channel.
    #[serde(skip_serializing_if = "is_default")]
    pub recorder: bool,
    /// It is a program that takes part by itself.
    #[serde(skip_serializing_if = "is_default")]
    pub agent: bool,
}

/// What a source of tracks is called in [`Grants::can_publish_sources`].
pub const SOURCES: [&str; 4] = ["camera", "microphone", "screen_share", "screen_share_audio"];

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Grants {
    /// The grants of an ordinary participant of `channel`: join, publish, subscribe, data, and
    /// its own metadata.
    pub fn participant(channel: &ChannelId) -> Self {
        Self {
            room_join: true,
            room: channel.to_string(),
            can_update_own_metadata: Some(true),
            ..Self::default()
        }
    }

    /// Whether tracks may be published.
    pub fn may_publish(&self) -> bool {
        self.can_publish.unwrap_or(true)
    }

    /// Whether tracks from a source (one of [`SOURCES`], or `unknown`) may be published. Those whom others do
    /// not see publish nothing: nobody could tell whose it is.
    pub fn may_publish_source(&self, source: &str) -> bool {
        let sources = &self.can_publish_sources;
        self.may_publish()
            && !self.hidden
            && (sources.is_empty() || sources.iter().any(|allowed| allowed.eq_ignore_ascii_case(source)))
    }

    /// Whether tracks may be subscribed to.
    pub fn may_subscribe(&self) -> bool {
        self.can_subscribe.unwrap_or(true)
    }

    /// Whether data may be sent.
    pub fn may_publish_data(&self) -> bool {
        self.can_publish_data.unwrap_or_else(|| self.may_publish())
    }

    /// Whether the participant may change its own name, metadata and attributes.
    pub fn may_update_own_metadata(&self) -> bool {
        self.can_update_own_metadata.unwrap_or(false)
    }
}
