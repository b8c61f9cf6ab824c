//! What is negotiated for one media section.

use super::{
    AudioPreference, CodecKey, MediaKind, PayloadMapping, Section,
    extension::{Extension, ExtensionIds},
    sdp::{Codec, Direction, Feedback, LocalMedia, RemoteMedia},
};

/// What our last offer said about our side of a section; it takes effect with the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Offered {
    #[default]
    Nothing,
    Sending,
    Removal,
}

/// The state of a section that callers do not need.
#[derive(Clone, Debug)]
pub(super) struct SectionState {
    /// The section came from an offer of ours.
    pub(super) ours: bool,
    pub(super) offered: Offered,
    /// The words of the `m=` line.
    pub(super) media: String,
    pub(super) proto: String,
    pub(super) refused: bool,
    pub(super) codecs: Vec<Codec>,
    pub(super) extensions: ExtensionIds,
    /// The remote is ready to receive here.
    pub(super) remote_receives: bool,
    /// The section is in an offer of ours that was answered, or in one of the remote's.
    pub(super) established: bool,
    /// Our track is to go with the next offer or answer.
    pub(super) removing: bool,
    pub(super) preference: Option<AudioPreference>,
    /// The codec that the remote shall send, where it can: the first in an answer.
    pub(super) first_codec: Option<CodecKey>,
    /// From the SDP of the remote: SSRCs, and (media, retransmission) pairs.
    pub(super) ssrcs: Vec<u32>,
    pub(super) repairs: Vec<(u32, u32)>,
    pub(super) max_message_len: usize,
}

impl SectionState {
    /// A section of an offer of ours.
    pub(super) fn ours(kind: MediaKind) -> SectionState {
        let (media, proto) = match kind {
            MediaKind::Audio => ("audio", "UDP/TLS/RTP/SAVPF"),
            MediaKind::Video => ("video", "UDP/TLS/RTP/SAVPF"),
            MediaKind::Data => ("application", "UDP/DTLS/SCTP"),
        };
        SectionState {
            ours: true,
            offered: Offered::Nothing,
            media: media.into(),
            proto: proto.into(),
            refused: false,
            codecs: Vec::new(),
            extensions: ExtensionIds::offered(kind),
            remote_receives: false,
            established: false,
            removing: false,
            preference: None,
            first_codec: None,
            ssrcs: Vec::new(),
            repairs: Vec::new(),
            max_message_len: 0,
        }
    }

    /// Takes over what the remote says about the section.
    pub(super) fn apply(&mut self, remote: &RemoteMedia) {
        self.media.clone_from(&remote.media);
        self.proto.clone_from(&remote.proto);
        self.refused = remote.kind.is_none();
        self.codecs.clone_from(&remote.codecs);
        self.extensions = remote.extensions;
        self.order_codecs();
        self.remote_receives = remote.kind.is_some() && remote.direction.receive;
        self.established = true;
        self.ssrcs.clone_from(&remote.ssrcs);
        self.repairs.clone_from(&remote.repairs);
        self.max_message_len = remote.max_message_len;
    }

    /// Puts the codec that the remote shall send first (RFC 3264 §6.1: it should use the first of an answer).
    pub(super) fn order_codecs(&mut self) {
        self.codecs.sort_by_key(|codec| Some(codec.key) != self.first_codec);
        if matches!(self.first_codec, Some(CodecKey::Vp8 | CodecKey::H264)) {
            // With it, browsers leave temporal layers and picture numbers out of VP8's own descriptor, where they
            // are looked for here.
            self.extensions.clear(Extension::DependencyDescriptor);
        }
    }

    pub(super) fn mapping(&self, codec: CodecKey) -> Option<PayloadMapping> {
        let codec = self.codecs.iter().find(|c| c.key == codec)?;
        Some(PayloadMapping { pt: codec.pt, rtx_pt: codec.rtx_pt })
    }

    /// The codec of a payload type, and whether it is of retransmissions.
    pub(super) fn codec_of(&self, pt: u8) -> Option<(&Codec, bool)> {
        let direct = self.codecs.iter().find(|c| c.pt == pt).map(|c| (c, false));
        direct.or_else(|| self.codecs.iter().find(|c| c.rtx_pt == Some(pt)).map(|c| (c, true)))
    }
}

impl Section {
    /// Whether the section can carry anything: its transport and one of its codecs are known here.
    pub fn is_usable(&self) -> bool {
        !self.state.refused
    }

    /// Whether the remote is ready to receive there.
    pub fn remote_receives(&self) -> bool {
        self.state.remote_receives
    }

    /// What we say about the section.
    pub(super) fn local_media(&self) -> LocalMedia<'_> {
        let sender = self.sending.as_ref().filter(|_| !self.state.removing).map(|s| &s.spec);
        let direction = Direction { send: sender.is_some(), receive: self.receiving.is_some() };
        LocalMedia {
            mid: self.mid,
            media: &self.state.media,
            proto: &self.state.proto,
            kind: (!self.state.refused).then_some(self.kind),
            direction,
            codecs: &self.state.codecs,
            opus_fmtp: self.opus_fmtp(),
            extensions: self.state.extensions,
            rids: self.receiving.as_ref().map_or(&[], |r| &r.rids),
            sender,
        }
    }

    /// In an answer to a publisher: what its encoder should do. Towards a subscriber: what we send.
    fn opus_fmtp(&self) -> Option<String> {
        let opus = self.state.codecs.iter().find(|c| c.key == CodecKey::Opus)?;
        let preference = match (&self.receiving, &self.sending) {
            (Some(said), _) => {
                self.state.preference.unwrap_or(AudioPreference { stereo: said.stereo, dtx: said.dtx })
            }
            (None, Some(sending)) => AudioPreference { stereo: sending.spec.stereo, dtx: false },
            (None, None) => return None,
        };
        let mut fmtp = String::from("minptime=10;useinbandfec=1");
        if preference.stereo {
            fmtp.push_str(";stereo=1;sprop-stereo=1");
        }
        if preference.dtx {
            fmtp.push_str(";usedtx=1");
        }
        if let Some(limit) = opus.parameter("maxaveragebitrate").and_then(|v| v.parse::<u32>().ok()) {
            fmtp.push_str(&format!(";maxaveragebitrate={limit}"));
        }
        Some(fmtp)
    }
}

/// The codecs of our offers, with fixed payload types so that all sections of a connection agree.
pub(super) fn offered_codecs(kind: MediaKind, wanted: &[CodecKey]) -> Vec<Codec> {
    let all: &[CodecKey] = match kind {
        MediaKind::Audio => &CodecKey::AUDIO,
        MediaKind::Video => &CodecKey::VIDEO,
        MediaKind::Data => &[],
    };
    let wanted = if wanted.is_empty() { all } else { wanted };
    let mut codecs: Vec<Codec> = Vec::new();
    for key in wanted.iter().copied().filter(|key| key.kind() == kind) {
        if codecs.iter().all(|c| c.key != key) {
            codecs.push(offered_codec(key));
        }
    }
    // RED needs its Opus beside it.
    if codecs.iter().any(|c| c.key == CodecKey::Red) && codecs.iter().all(|c| c.key != CodecKey::Opus) {
        codecs.push(offered_codec(CodecKey::Opus));
    }
    codecs
}

fn offered_codec(key: CodecKey) -> Codec {
    let (pt, rtx_pt, fmtp) = match key {
        CodecKey::Opus => (111, None, Some("minptime=10;useinbandfec=1")),
        CodecKey::Red => (63, None, Some("111/111")),
        CodecKey::Vp8 => (96, Some(97), None),
        CodecKey::Vp9 => (98, Some(99), Some("profile-id=0")),
        CodecKey::H264 => {
            (125, Some(107), Some("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"))
        }
        CodecKey::Av1 => (45, Some(46), None),
    };
    let video = key.kind() == MediaKind::Video;
    let feedback = Feedback { nack: video, pli: video, fir: video, transport_cc: true };
    Codec { key, pt, rtx_pt, fmtp: fmtp.map(str::to_owned), feedback }
}
