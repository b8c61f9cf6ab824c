//! Descriptions that we write.

use std::fmt::Write as _;

use super::{
    Description, Direction, MediaKind, Section, Setup,
    codecs::{self, H264_BASELINE, OFFERED_EXTENSIONS, OPUS, Offered, RECEIVED_VIDEO},
};
use crate::Rid;

/// Our end of the transport that all sections share.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pub(crate) ufrag: String,
    pub(crate) password: String,
    /// SHA-256, with colons.
    pub(crate) fingerprint: String,
    /// `candidate:...` lines.
    pub(crate) candidates: Vec<String>,
    /// Number of the session, and how often it was described.
    pub(crate) session: (u64, u64),
}

/// What a section of our offer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SectionKind {
    /// Our microphone: track name, SSRC, stereo.
    SendAudio { track: String, ssrc: u32, stereo: bool },
    /// Our camera: track name, layers (one without a name, or several high to low), and of each SSRC and repair
    /// SSRC.
    SendVideo { track: String, layers: Vec<(Rid, u32, u32)> },
    /// Room for a track of somebody else.
    Receive(MediaKind),
    /// Data channels.
    Data,
    /// A track that we do not send any more.
    Stopped(MediaKind),
}

/// One section of our offer; sections keep their place for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalSection {
    pub(crate) mid: String,
    pub(crate) kind: SectionKind,
}

/// Name of our media stream; the service does not care.
const STREAM: &str = "terminal";

/// Writes an offer.
pub(crate) fn offer(transport: &Transport, sections: &[LocalSection]) -> String {
    let mut out = header(transport, sections.iter().map(|s| s.mid.as_str()));
    for section in sections {
        let kind = match &section.kind {
            SectionKind::SendAudio { .. } => MediaKind::Audio,
            SectionKind::SendVideo { .. } => MediaKind::Video,
            SectionKind::Receive(kind) | SectionKind::Stopped(kind) => *kind,
            SectionKind::Data => MediaKind::Application,
        };
        let formats = formats(&section.kind, kind);
        media_line(&mut out, kind, &formats);
        transport_lines(&mut out, transport, "actpass");
        line(&mut out, format_args!("a=mid:{}", section.mid));
        if kind == MediaKind::Application {
            data_lines(&mut out);
            continue;
        }
        for (id, uri, of) in OFFERED_EXTENSIONS {
            if of == kind {
                line(&mut out, format_args!("a=extmap:{id} {uri}"));
            }
        }
        let direction = match &section.kind {
            SectionKind::Receive(_) => Direction::RecvOnly,
            SectionKind::Stopped(_) => Direction::Inactive,
            _ => Direction::SendOnly,
        };
        line(&mut out, format_args!("a={}", direction.as_str()));
        line(&mut out, format_args!("a=rtcp-mux"));
        line(&mut out, format_args!("a=rtcp-rsize"));
        codec_lines(&mut out, &section.kind, kind);
        source_lines(&mut out, &section.kind);
    }
    out
}

fn formats(kind: &SectionKind, media: MediaKind) -> String {
    match media {
        MediaKind::Video => {
            let pairs = video(kind).into_iter().map(|c| format!("{} {}", c.payload_type, c.repair));
            pairs.collect::<Vec<_>>().join(" ")
        }
        MediaKind::Audio => OPUS.to_string(),
        MediaKind::Application | MediaKind::Other => "webrtc-datachannel".to_owned(),
    }
}

/// The codecs of a video section. Pion, within LiveKit's server, takes the codecs of the first video section for all of
/// a connection: so even the section of our camera, which is H.264, names all, in another order.
fn video(kind: &SectionKind) -> Vec<&'static Offered> {
    let mut codecs: Vec<&Offered> = RECEIVED_VIDEO.iter().collect();
    if matches!(kind, SectionKind::SendVideo { .. }) {
        codecs.sort_by_key(|c| c.payload_type != H264_BASELINE.payload_type);
    }
    codecs
}

fn codec_lines(out: &mut String, kind: &SectionKind, media: MediaKind) {
    if media == MediaKind::Audio {
        let stereo = match kind {
            SectionKind::SendAudio { stereo: false, .. } => "",
            _ => ";stereo=1;sprop-stereo=1",
        };
        line(out, format_args!("a=rtpmap:{OPUS} opus/48000/2"));
        line(out, format_args!("a=fmtp:{OPUS} minptime=10;useinbandfec=1{stereo}"));
        line(out, format_args!("a=rtcp-fb:{OPUS} transport-cc"));
        return;
    }
    for codec in video(kind) {
        let payload_type = codec.payload_type;
        line(out, format_args!("a=rtpmap:{payload_type} {}", codec.name));
        for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
            line(out, format_args!("a=rtcp-fb:{payload_type} {feedback}"));
        }
        if !codec.parameters.is_empty() {
            line(out, format_args!("a=fmtp:{payload_type} {}", codec.parameters));
        }
        line(out, format_args!("a=rtpmap:{} rtx/90000", codec.repair));
        line(out, format_args!("a=fmtp:{} apt={payload_type}", codec.repair));
    }
}

fn source_lines(out: &mut String, kind: &SectionKind) {
    match kind {
        SectionKind::SendAudio { track, ssrc, .. } => {
            line(out, format_args!("a=msid:{STREAM} {track}"));
            line(out, format_args!("a=ssrc:{ssrc} cname:{STREAM}"));
        }
        SectionKind::SendVideo { track, layers } => {
            line(out, format_args!("a=msid:{STREAM} {track}"));
            if let [(_, ssrc, repair)] = layers[..] {
                line(out, format_args!("a=ssrc-group:FID {ssrc} {repair}"));
                line(out, format_args!("a=ssrc:{ssrc} cname:{STREAM}"));
                line(out, format_args!("a=ssrc:{repair} cname:{STREAM}"));
                return;
            }
            for (rid, ..) in layers {
                line(out, format_args!("a=rid:{rid} send"));
            }
            let names: Vec<&str> = layers.iter().map(|(rid, ..)| rid.as_str()).collect();
            line(out, format_args!("a=simulcast:send {}", names.join(";")));
        }
        SectionKind::Receive(_) | SectionKind::Data | SectionKind::Stopped(_) => {}
    }
}

/// Answers an offer of the service: we receive what it sends in codecs that we know.
pub(crate) fn answer(transport: &Transport, offer: &Description) -> String {
    let accepted = |s: &Section| match s.kind {
        MediaKind::Application => !s.refused,
        MediaKind::Audio | MediaKind::Video => {
            !s.refused && s.maps.iter().any(|m| codecs::codec(m).is_some())
        }
        MediaKind::Other => false,
    };
    let mids = offer.sections.iter().filter(|s| accepted(s)).map(|s| s.mid.as_str());
    let mut out = header(transport, mids);
    let setup = if offer.setup == Some(Setup::Active) { "passive" } else { "active" };
    for section in &offer.sections {
        if !accepted(section) {
            let name = match section.kind {
                MediaKind::Audio => "audio",
                MediaKind::Video => "video",
                _ => "application",
            };
            line(&mut out, format_args!("m={name} 0 {} {}", section.protocol, section.formats));
            line(&mut out, format_args!("c=IN IP4 0.0.0.0"));
            line(&mut out, format_args!("a=mid:{}", section.mid));
            line(&mut out, format_args!("a=inactive"));
            continue;
        }
        if section.kind == MediaKind::Application {
            media_line(&mut out, section.kind, "webrtc-datachannel");
            transport_lines(&mut out, transport, setup);
            line(&mut out, format_args!("a=mid:{}", section.mid));
            data_lines(&mut out);
            continue;
        }
        answer_media(&mut out, transport, setup, section);
    }
    out
}

fn answer_media(out: &mut String, transport: &Transport, setup: &str, section: &Section) {
    let known: Vec<u8> =
        section.maps.iter().filter(|m| codecs::codec(m).is_some()).map(|m| m.payload_type).collect();
    let ours = |m: &&super::RtpMap| {
        known.contains(&m.payload_type) || codecs::repaired(m).is_some_and(|of| known.contains(&of))
    };
    let maps: Vec<_> = section.maps.iter().filter(ours).collect();
    let formats: Vec<String> = maps.iter().map(|m| m.payload_type.to_string()).collect();
    media_line(out, section.kind, &formats.join(" "));
    transport_lines(out, transport, setup);
    line(out, format_args!("a=mid:{}", section.mid));
    for (id, uri) in &section.extensions {
        if OFFERED_EXTENSIONS.iter().any(|(_, known, kind)| known == uri && *kind == section.kind) {
            line(out, format_args!("a=extmap:{id} {uri}"));
        }
    }
    let direction = if section.direction.sends() { Direction::RecvOnly } else { Direction::Inactive };
    line(out, format_args!("a={}", direction.as_str()));
    line(out, format_args!("a=rtcp-mux"));
    line(out, format_args!("a=rtcp-rsize"));
    for map in maps {
        let payload_type = map.payload_type;
        let channels = if map.channels > 1 { format!("/{}", map.channels) } else { String::new() };
        line(out, format_args!("a=rtpmap:{payload_type} {}/{}{channels}", map.name, map.clock_rate));
        let media = known.contains(&payload_type);
        if media && section.kind == MediaKind::Video {
            for feedback in ["transport-cc", "ccm fir", "nack", "nack pli"] {
                line(out, format_args!("a=rtcp-fb:{payload_type} {feedback}"));
            }
        } else if media {
            line(out, format_args!("a=rtcp-fb:{payload_type} transport-cc"));
        }
        let parameters = match codecs::codec(map) {
            // We play both channels, whatever the publisher's offer said.
            Some(crate::Codec::Opus) => "minptime=10;stereo=1;useinbandfec=1",
            _ => &map.parameters,
        };
        if !parameters.is_empty() {
            line(out, format_args!("a=fmtp:{payload_type} {parameters}"));
        }
    }
}

fn header<'a>(transport: &Transport, mids: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::with_capacity(4096);
    let (id, version) = transport.session;
    line(&mut out, format_args!("v=0"));
    line(&mut out, format_args!("o=- {id} {version} IN IP4 0.0.0.0"));
    line(&mut out, format_args!("s=-"));
    line(&mut out, format_args!("t=0 0"));
    let mids: Vec<&str> = mids.collect();
    if !mids.is_empty() {
        line(&mut out, format_args!("a=group:BUNDLE {}", mids.join(" ")));
    }
    line(&mut out, format_args!("a=extmap-allow-mixed"));
    line(&mut out, format_args!("a=msid-semantic: WMS *"));
    out
}

fn media_line(out: &mut String, kind: MediaKind, formats: &str) {
    let (name, protocol) = match kind {
        MediaKind::Audio => ("audio", "UDP/TLS/RTP/SAVPF"),
        MediaKind::Video => ("video", "UDP/TLS/RTP/SAVPF"),
        MediaKind::Application | MediaKind::Other => ("application", "UDP/DTLS/SCTP"),
    };
    line(out, format_args!("m={name} 9 {protocol} {formats}"));
    line(out, format_args!("c=IN IP4 0.0.0.0"));
}

fn transport_lines(out: &mut String, transport: &Transport, setup: &str) {
    for candidate in &transport.candidates {
        line(out, format_args!("a={candidate}"));
    }
    line(out, format_args!("a=end-of-candidates"));
    line(out, format_args!("a=ice-ufrag:{}", transport.ufrag));
    line(out, format_args!("a=ice-pwd:{}", transport.password));
    line(out, format_args!("a=ice-options:trickle"));
    line(out, format_args!("a=fingerprint:sha-256 {}", transport.fingerprint));
    line(out, format_args!("a=setup:{setup}"));
}

fn data_lines(out: &mut String) {
    line(out, format_args!("a=sctp-port:5000"));
    line(out, format_args!("a=max-message-size:{}", crate::peer::MAX_MESSAGE_SIZE));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a string cannot fail.
    let _ = write!(out, "{text}\r\n");
}
