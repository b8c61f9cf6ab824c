//! Payload types and header extensions: what we offer, and what was agreed.

use std::collections::HashMap;

use super::{MediaKind, RtpMap, Section};
use crate::{Codec, send::stream::ExtensionIds};

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Ids that we offer. All sections of a bundle share them (RFC 9143 §9).
pub(super) const OFFERED_EXTENSIONS: [(u8, &str, MediaKind); 7] = [
    (1, AUDIO_LEVEL, MediaKind::Audio),
    (3, TRANSPORT_CC, MediaKind::Audio),
    (4, MID, MediaKind::Audio),
    (3, TRANSPORT_CC, MediaKind::Video),
    (4, MID, MediaKind::Video),
    (10, RID, MediaKind::Video),
    (11, REPAIRED_RID, MediaKind::Video),
];

/// A codec that we offer or take.
pub(super) struct Offered {
    pub(super) payload_type: u8,
    pub(super) repair: u8,
    pub(super) name: &'static str,
    pub(super) parameters: &'static str,
}

/// Constrained baseline, and level asymmetry: the level is no limit for what is sent to us.
pub(super) const H264_BASELINE: Offered = Offered {
    payload_type: 125,
    repair: 107,
    name: "H264/90000",
    parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
};

/// Video that we can receive.
pub(super) const RECEIVED_VIDEO: [Offered; 5] = [
    Offered { payload_type: 96, repair: 97, name: "VP8/90000", parameters: "" },
    H264_BASELINE,
    Offered {
        payload_type: 108,
        repair: 109,
        name: "H264/90000",
        parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
    },
    Offered {
        payload_type: 123,
        repair: 118,
        name: "H264/90000",
        parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640032",
    },
    Offered { payload_type: 98, repair: 99, name: "VP9/90000", parameters: "profile-id=0" },
];

pub(super) const OPUS: u8 = 111;

/// What a payload type means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadCodec {
    /// Media.
    Media(Codec),
    /// A repair (RFC 4588) of this payload type.
    Repair(u8),
}

/// Which codec we understand a map as.
pub(super) fn codec(map: &RtpMap) -> Option<Codec> {
    let is = |name: &str| map.name.eq_ignore_ascii_case(name);
    if is("opus") && map.clock_rate == 48_000 {
        Some(Codec::Opus)
    } else if is("H264") && !map.parameters.contains("packetization-mode=2") {
        Some(Codec::H264)
    } else if is("VP8") {
        Some(Codec::Vp8)
    } else if is("VP9") && !map.parameters.contains("profile-id=2") {
        Some(Codec::Vp9)
    } else {
        None
    }
}

/// The payload types of a section that we understand.
pub(crate) fn payloads(section: &Section) -> HashMap<u8, PayloadCodec> {
    let mut out = HashMap::new();
    for map in &section.maps {
        if let Some(codec) = codec(map) {
            out.insert(map.payload_type, PayloadCodec::Media(codec));
        } else if let Some(original) = repaired(map) {
            out.insert(map.payload_type, PayloadCodec::Repair(original));
        }
    }
    out
}

/// The payload types, of media and of its repair, with which we send `codec` in a section that was agreed on.
pub(crate) fn sending(section: &Section, wanted: Codec) -> Option<(u8, Option<u8>)> {
    let fits = |map: &&RtpMap| {
        let baseline = map.parameters.contains("packetization-mode=1") && map.parameters.contains("=42e0");
        codec(map) == Some(wanted) && (wanted != Codec::H264 || baseline)
    };
    let media = section.maps.iter().find(fits)?.payload_type;
    let repair = section.maps.iter().find(|map| repaired(map) == Some(media));
    Some((media, repair.map(|map| map.payload_type)))
}

/// The payload type that a repair format repairs.
pub(super) fn repaired(map: &RtpMap) -> Option<u8> {
    if !map.name.eq_ignore_ascii_case("rtx") {
        return None;
    }
    map.parameters.split(';').find_map(|p| p.trim().strip_prefix("apt=")?.parse().ok())
}

/// The header extensions of a section that we use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExtensionMap(pub(crate) ExtensionIds);

impl ExtensionMap {
    /// From a section that both sides know, that is, an answer, or an offer that we answer.
    pub(crate) fn new(section: &Section) -> Self {
        let id = |uri: &str| {
            let found = section.extensions.iter().find(|(_, u)| u == uri);
            found.map_or(0, |(id, _)| if (1..=14).contains(id) { *id } else { 0 })
        };
        Self(ExtensionIds {
            mid: id(MID),
            rid: id(RID),
            repaired_rid: id(REPAIRED_RID),
            transport_cc: id(TRANSPORT_CC),
            audio_level: id(AUDIO_LEVEL),
        })
    }
}
