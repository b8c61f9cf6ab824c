//! Reads what a remote says.

use super::{Codec, Direction, Feedback, Setup, parameter};
use crate::transport::{
    CodecKey, MediaKind, Mid, Rid, SdpError,
    extension::{Extension, ExtensionIds},
};
use rtc::sdp::description::{media::MediaDescription, session::SessionDescription};
use std::str::FromStr;

const MAX_LEN: usize = 1 << 20;
const MAX_SECTIONS: usize = 256;
const MAX_CODECS: usize = 32;
const MAX_SSRCS: usize = 16;
const MAX_RIDS: usize = 4;
const MAX_FINGERPRINTS: usize = 8;
const MAX_TEXT: usize = 256;

/// A session description of a remote, reduced to what we use.
#[derive(Clone, Debug)]
pub(in crate::transport) struct RemoteDescription {
    pub(in crate::transport) ufrag: String,
    /// SHA-256 of certificates, upper case.
    pub(in crate::transport) fingerprints: Vec<String>,
    pub(in crate::transport) setup: Setup,
    /// Two-byte header extensions are welcome (RFC 8285 §6).
    pub(in crate::transport) mixed: bool,
    pub(in crate::transport) media: Vec<RemoteMedia>,
}

/// One `m=` line of a remote.
#[derive(Clone, Debug)]
pub(in crate::transport) struct RemoteMedia {
    pub(in crate::transport) mid: Mid,
    /// The word after `m=`.
    pub(in crate::transport) media: String,
    /// The transport protocol, to say it back.
    pub(in crate::transport) proto: String,
    /// `None` when it is nothing that we can do, or refused by the remote itself.
    pub(in crate::transport) kind: Option<MediaKind>,
    pub(in crate::transport) direction: Direction,
    pub(in crate::transport) codecs: Vec<Codec>,
    pub(in crate::transport) extensions: ExtensionIds,
    pub(in crate::transport) stream_id: Option<String>,
    pub(in crate::transport) track_id: Option<String>,
    pub(in crate::transport) rids: Vec<Rid>,
    pub(in crate::transport) ssrcs: Vec<u32>,
    /// (media, retransmission) SSRCs.
    pub(in crate::transport) repairs: Vec<(u32, u32)>,
    pub(in crate::transport) max_message_len: usize,
}

/// Parses an offer or answer.
pub(in crate::transport) fn parse(text: &str) -> Result<RemoteDescription, SdpError> {
    if text.len() > MAX_LEN {
        return Err(SdpError::TooMany { what: "bytes", limit: MAX_LEN });
    }
    let session = SessionDescription::try_from(text.to_owned())
        .map_err(|error| SdpError::Syntax(shorten(&error.to_string())))?;
    if session.media_descriptions.len() > MAX_SECTIONS {
        return Err(SdpError::TooMany { what: "media sections", limit: MAX_SECTIONS });
    }
    let bundle: Option<Vec<&str>> = session
        .attributes
        .iter()
        .filter(|a| a.key == "group")
        .filter_map(|a| a.value.as_deref()?.strip_prefix("BUNDLE"))
        .map(|mids| mids.split_whitespace().collect())
        .next();
    let mut media = Vec::new();
    for section in &session.media_descriptions {
        media.push(read_media(section)?);
    }
    for (at, section) in media.iter().enumerate() {
        if media[..at].iter().any(|before| before.mid == section.mid) {
            return Err(SdpError::SectionMoved(at));
        }
    }
    let used: Vec<_> = media.iter().filter(|m| m.kind.is_some()).collect();
    let bundled = match &bundle {
        Some(mids) => used.iter().all(|m| mids.contains(&m.mid.as_str())),
        None => used.len() <= 1,
    };
    if !bundled {
        return Err(SdpError::NotBundled);
    }

    // Session level first, then the sections in use: they all share one transport.
    let session_level = |key: &'static str| {
        session.attributes.iter().filter(move |a| a.key == key).filter_map(|a| a.value.as_deref())
    };
    let in_use = || {
        let sections = session.media_descriptions.iter().zip(&media);
        sections.filter(|(_, m)| m.kind.is_some()).map(|(description, _)| description)
    };
    let media_level = |key: &'static str| {
        in_use().flat_map(|m| &m.attributes).filter(move |a| a.key == key).filter_map(|a| a.value.as_deref())
    };
    let one = |key| media_level(key).next().or_else(|| session_level(key).next());
    let ufrag = one("ice-ufrag").filter(|u| (1..=256).contains(&u.len()));
    let mut fingerprints = Vec::new();
    for value in session_level("fingerprint").chain(media_level("fingerprint")) {
        if let Some((algorithm, value)) = value.split_once(' ')
            && algorithm.eq_ignore_ascii_case("sha-256")
            && value.len() == 95
        {
            let value = value.to_ascii_uppercase();
            if !fingerprints.contains(&value) && fingerprints.len() < MAX_FINGERPRINTS {
                fingerprints.push(value);
            }
        }
    }
    let setup = match one("setup") {
        Some("active") => Setup::Active,
        Some("passive") => Setup::Passive,
        _ => Setup::ActPass,
    };
    let mixed = session.attributes.iter().chain(in_use().flat_map(|m| &m.attributes));
    let mixed = mixed.into_iter().any(|a| a.key == "extmap-allow-mixed");
    if !used.is_empty() {
        if fingerprints.is_empty() {
            return Err(SdpError::Missing("fingerprint:sha-256"));
        }
        if ufrag.is_none() {
            return Err(SdpError::Missing("ice-ufrag"));
        }
    }
    Ok(RemoteDescription { ufrag: ufrag.unwrap_or_default().to_owned(), fingerprints, setup, mixed, media })
}

fn read_media(section: &MediaDescription) -> Result<RemoteMedia, SdpError> {
    let values = |key: &'static str| {
        section.attributes.iter().filter(move |a| a.key == key).filter_map(|a| a.value.as_deref())
    };
    let has = |key: &str| section.attributes.iter().any(|a| a.key == key);
    let mid = values("mid").next().and_then(|mid| Mid::from_str(mid).ok()).ok_or(SdpError::Missing("mid"))?;
    let proto = section.media_name.protos.join("/");
    let kind = match section.media_name.media.as_str() {
        "audio" if proto.ends_with("SAVPF") => Some(MediaKind::Audio),
        "video" if proto.ends_with("SAVPF") => Some(MediaKind::Video),
        "application" if proto.ends_with("DTLS/SCTP") && has("sctp-port") => Some(MediaKind::Data),
        _ => None,
    };
    let kind = kind.filter(|_| section.media_name.port.value != 0 || has("bundle-only"));
    let direction = match (has("sendonly"), has("recvonly"), has("inactive")) {
        (true, ..) => Direction { send: true, receive: false },
        (_, true, _) => Direction { send: false, receive: true },
        (_, _, true) => Direction { send: false, receive: false },
        _ => Direction { send: true, receive: true },
    };
    let codecs = match kind {
        Some(kind @ (MediaKind::Audio | MediaKind::Video)) => read_codecs(section, kind),
        _ => Vec::new(),
    };
    let kind = kind.filter(|kind| *kind == MediaKind::Data || !codecs.is_empty());
    let mut extensions = ExtensionIds::default();
    for value in values("extmap") {
        // "3/sendonly uri attributes": the direction and attributes do not matter to us.
        let mut words = value.split_whitespace();
        let id = words.next().and_then(|id| id.split('/').next()?.parse().ok());
        let extension = words.next().and_then(Extension::from_uri);
        if let (Some(id), Some(extension), Some(kind)) = (id, extension, kind)
            && extension.is_for(kind)
        {
            extensions.set(extension, id);
        }
    }
    let msid = values("msid")
        .next()
        .or_else(|| values("ssrc").find_map(|v| v.split_once(" msid:").map(|(_, id)| id)));
    let mut msid = msid.unwrap_or_default().split_whitespace().filter(|id| id.len() <= MAX_TEXT);
    let stream_id = msid.next().filter(|id| *id != "-").map(str::to_owned);
    let track_id = msid.next().map(str::to_owned);

    let mut ssrcs: Vec<u32> = Vec::new();
    for ssrc in values("ssrc").filter_map(|v| v.split(' ').next()?.parse().ok()) {
        if !ssrcs.contains(&ssrc) && ssrcs.len() < MAX_SSRCS {
            ssrcs.push(ssrc);
        }
    }
    let groups = values("ssrc-group").filter_map(|v| v.strip_prefix("FID ")).filter_map(|v| {
        let (media, repair) = v.trim().split_once(' ')?;
        Some((media.parse().ok()?, repair.trim().parse().ok()?))
    });
    let repairs = groups.take(MAX_SSRCS).collect();
    let max_message_len = values("max-message-size").next().and_then(|v| v.parse().ok()).unwrap_or(65_536);
    Ok(RemoteMedia {
        mid,
        media: section.media_name.media.clone(),
        proto,
        kind,
        direction,
        codecs,
        extensions,
        stream_id,
        track_id,
        rids: read_rids(section),
        ssrcs,
        repairs,
        max_message_len,
    })
}

/// The layers that the remote sends, in its order (RFC 8853 §5.1); of alternatives the first.
fn read_rids(section: &MediaDescription) -> Vec<Rid> {
    let values = |key: &'static str| {
        section.attributes.iter().filter(move |a| a.key == key).filter_map(|a| a.value.as_deref())
    };
    let sends = |rid: &str| {
        values("rid").any(|v| {
            let mut words = v.split_whitespace();
            words.next() == Some(rid) && words.next() == Some("send")
        })
    };
    let mut words = values("simulcast").next().unwrap_or_default().split_whitespace();
    let mut rids = Vec::new();
    while let (Some(direction), Some(list)) = (words.next(), words.next()) {
        if direction != "send" {
            continue;
        }
        for layer in list.split(';') {
            let name = layer.split(',').next().unwrap_or_default().trim_start_matches('~');
            if let Ok(rid) = Rid::from_str(name)
                && sends(name)
                && !rids.contains(&rid)
                && rids.len() < MAX_RIDS
            {
                rids.push(rid);
            }
        }
    }
    rids
}

fn read_codecs(section: &MediaDescription, kind: MediaKind) -> Vec<Codec> {
    let by_pt = |key: &'static str, pt: u8| {
        section
            .attributes
            .iter()
            .filter(move |a| a.key == key)
            .filter_map(|a| a.value.as_deref()?.split_once(' '))
            .filter(move |(of, _)| of.parse() == Ok(pt) || (key == "rtcp-fb" && *of == "*"))
            .map(|(_, value)| value.trim())
    };
    let formats =
        section.media_name.formats.iter().filter_map(|f| f.parse::<u8>().ok()).filter(|pt| *pt < 128);
    let mut codecs: Vec<Codec> = Vec::new();
    let mut repairs = Vec::new();
    for pt in formats {
        let Some(map) = by_pt("rtpmap", pt).next() else { continue };
        let fmtp = by_pt("fmtp", pt).next().filter(|f| f.len() <= MAX_TEXT);
        let name = map.split('/').next().unwrap_or_default();
        if name.eq_ignore_ascii_case("rtx") {
            if let Some(apt) = fmtp.and_then(|f| parameter(f, "apt")).and_then(|apt| apt.parse::<u8>().ok()) {
                repairs.push((apt, pt));
            }
            continue;
        }
        let Some(key) = codec_key(map, fmtp, kind) else { continue };
        let mut feedback = Feedback::default();
        for value in by_pt("rtcp-fb", pt) {
            match value {
                "nack" => feedback.nack = true,
                "nack pli" => feedback.pli = true,
                "ccm fir" => feedback.fir = true,
                "transport-cc" => feedback.transport_cc = true,
                _ => {}
            }
        }
        if codecs.len() < MAX_CODECS && codecs.iter().all(|c| c.pt != pt) {
            codecs.push(Codec { key, pt, rtx_pt: None, fmtp: fmtp.map(str::to_owned), feedback });
        }
    }
    for codec in &mut codecs {
        codec.rtx_pt = repairs.iter().find(|(apt, _)| *apt == codec.pt).map(|(_, pt)| *pt);
    }
    // RED is of use only around an Opus that is there too.
    let opus = codecs.iter().any(|c| c.key == CodecKey::Opus);
    codecs.retain(|c| c.key != CodecKey::Red || opus);
    codecs
}

fn codec_key(map: &str, fmtp: Option<&str>, kind: MediaKind) -> Option<CodecKey> {
    let fmtp = fmtp.unwrap_or_default();
    let map = map.to_ascii_lowercase();
    let key = match map.as_str() {
        "opus/48000/2" => CodecKey::Opus,
        "red/48000/2" => CodecKey::Red,
        "h264/90000" if parameter(fmtp, "packetization-mode") == Some("1") => CodecKey::H264,
        "vp8/90000" => CodecKey::Vp8,
        "vp9/90000" if parameter(fmtp, "profile-id").is_none_or(|id| id == "0") => CodecKey::Vp9,
        "av1/90000" if parameter(fmtp, "profile").is_none_or(|id| id == "0") => CodecKey::Av1,
        _ => return None,
    };
    (key.kind() == kind).then_some(key)
}

fn shorten(text: &str) -> String {
    text.chars().take(120).collect()
}
