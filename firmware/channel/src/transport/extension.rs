//! RTP header extensions that the service knows, and their negotiated ids.

/// A header extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Extension {
    Mid,
    Rid,
    RepairedRid,
    TransportSeq,
    AbsSendTime,
    AudioLevel,
    VideoOrientation,
    PlayoutDelay,
    DependencyDescriptor,
}

use super::MediaKind;
use Extension as E;

impl Extension {
    pub(super) const ALL: [Extension; 9] = [
        E::Mid,
        E::Rid,
        E::RepairedRid,
        E::TransportSeq,
        E::AbsSendTime,
        E::AudioLevel,
        E::VideoOrientation,
        E::PlayoutDelay,
        E::DependencyDescriptor,
    ];

    pub(super) fn uri(self) -> &'static str {
        match self {
            E::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            E::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            E::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            E::TransportSeq => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            E::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            E::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            E::VideoOrientation => "urn:3gpp:video-orientation",
            E::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            E::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
        }
    }

    pub(super) fn from_uri(uri: &str) -> Option<Extension> {
        E::ALL.into_iter().find(|e| e.uri() == uri)
    }

    /// Whether it makes sense on sections of a kind.
    pub(super) fn is_for(self, kind: MediaKind) -> bool {
        match self {
            E::Mid | E::TransportSeq | E::AbsSendTime => kind != MediaKind::Data,
            E::AudioLevel => kind == MediaKind::Audio,
            _ => kind == MediaKind::Video,
        }
    }

    /// The ids in our offers of what we send; 0 = not offered.
    fn offered_id(self) -> u8 {
        match self {
            E::AudioLevel => 1,
            E::AbsSendTime => 2,
            E::TransportSeq => 3,
            E::Mid => 4,
            E::PlayoutDelay => 5,
            E::DependencyDescriptor => 8,
            E::VideoOrientation => 13,
            E::Rid | E::RepairedRid => 0,
        }
    }
}

/// The ids of one section; 0 = not negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ExtensionIds([u8; Extension::ALL.len()]);

impl ExtensionIds {
    pub(super) fn get(&self, extension: Extension) -> u8 {
        self.0[extension as usize]
    }

    /// Notes an id, unless the extension has one or the id is out of 1..=255 or in use.
    pub(super) fn set(&mut self, extension: Extension, id: u16) {
        let Ok(id) = u8::try_from(id) else { return };
        if id != 0 && id != 15 && self.get(extension) == 0 && !self.0.contains(&id) {
            self.0[extension as usize] = id;
        }
    }

    /// Takes an extension out.
    pub(super) fn clear(&mut self, extension: Extension) {
        self.0[extension as usize] = 0;
    }

    /// What is offered on a section that only we send on.
    pub(super) fn offered(kind: MediaKind) -> ExtensionIds {
        let mut ids = ExtensionIds::default();
        for extension in E::ALL.into_iter().filter(|e| e.is_for(kind)) {
            ids.set(extension, extension.offered_id().into());
        }
        ids
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Extension, u8)> + '_ {
        E::ALL.into_iter().map(|e| (e, self.get(e))).filter(|(_, id)| *id != 0)
    }
}

/// What an id means on the whole connection: sections of one BUNDLE group agree on that (RFC 8843 §9.3).
#[derive(Clone, Debug)]
pub(super) struct ExtensionMap([Option<Extension>; 256]);

impl Default for ExtensionMap {
    fn default() -> Self {
        ExtensionMap([None; 256])
    }
}

impl ExtensionMap {
    pub(super) fn new<'a>(sections: impl Iterator<Item = &'a ExtensionIds>) -> ExtensionMap {
        let mut map = ExtensionMap::default();
        for (extension, id) in sections.flat_map(ExtensionIds::iter) {
            map.0[usize::from(id)].get_or_insert(extension);
        }
        map
    }

    pub(super) fn get(&self, id: u8) -> Option<Extension> {
        self.0[usize::from(id)]
    }
}
