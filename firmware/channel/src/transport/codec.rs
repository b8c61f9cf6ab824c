//! The codecs of the service and their payload types.

/// What a media section carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// Data channels (RFC 8841).
    Data,
}

/// A codec that the service forwards. Variants that receivers treat alike (H.264 profiles) are one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CodecKey {
    /// Opus, 48 kHz (RFC 7587).
    Opus,
    /// Redundant audio around Opus (RFC 2198).
    Red,
    /// H.264, packetization mode 1, any profile (RFC 6184).
    H264,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 profile 0 (RFC 9628).
    Vp9,
    /// AV1 profile 0.
    Av1,
}

impl CodecKey {
    /// Audio codecs, in the order in which the service offers them.
    pub const AUDIO: [CodecKey; 2] = [CodecKey::Opus, CodecKey::Red];
    /// Video codecs, in the order in which the service offers them.
    pub const VIDEO: [CodecKey; 4] = [CodecKey::H264, CodecKey::Vp8, CodecKey::Vp9, CodecKey::Av1];

    /// Whether it is sound or picture.
    pub fn kind(self) -> MediaKind {
        match self {
            CodecKey::Opus | CodecKey::Red => MediaKind::Audio,
            _ => MediaKind::Video,
        }
    }

    /// RTP clock rate in Hz.
    pub fn clock_rate_hz(self) -> u32 {
        match self.kind() {
            MediaKind::Audio => 48_000,
            _ => 90_000,
        }
    }
}

/// The payload types that one codec has in one media section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadMapping {
    /// Payload type of the codec.
    pub pt: u8,
    /// Payload type of its retransmissions (RFC 4588), where negotiated.
    pub rtx_pt: Option<u8>,
}
