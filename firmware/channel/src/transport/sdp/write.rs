//! Writes what we say.

use super::{Codec, Direction};
use crate::transport::{
    Candidate, CodecKey, MediaKind, Mid, Rid, SenderSpec, data::SCTP_PORT, extension::ExtensionIds,
};
use std::fmt::{self, Display};

/// How many of our addresses are told.
const MAX_CANDIDATES: usize = 16;

/// Our offer or answer.
pub(in crate::transport) struct LocalDescription<'a> {
    pub(in crate::transport) session_id: u64,
    pub(in crate::transport) version: u64,
    pub(in crate::transport) ufrag: &'a str,
    pub(in crate::transport) password: &'a str,
    pub(in crate::transport) fingerprint: &'a str,
    /// Value of `a=setup`.
    pub(in crate::transport) setup: &'static str,
    pub(in crate::transport) candidates: &'a [Candidate],
    /// Bytes of one data message that we take.
    pub(in crate::transport) max_message_len: usize,
    pub(in crate::transport) mixed: bool,
    pub(in crate::transport) media: Vec<LocalMedia<'a>>,
}

/// One `m=` line.
pub(in crate::transport) struct LocalMedia<'a> {
    pub(in crate::transport) mid: Mid,
    /// The word after `m=`.
    pub(in crate::transport) media: &'a str,
    pub(in crate::transport) proto: &'a str,
    /// `None` refuses the section.
    pub(in crate::transport) kind: Option<MediaKind>,
    pub(in crate::transport) direction: Direction,
    pub(in crate::transport) codecs: &'a [Codec],
    /// Parameters that replace those of the Opus codec.
    pub(in crate::transport) opus_fmtp: Option<String>,
    pub(in crate::transport) extensions: ExtensionIds,
    /// The layers that we receive.
    pub(in crate::transport) rids: &'a [Rid],
    /// What we send.
    pub(in crate::transport) sender: Option<&'a SenderSpec>,
}

impl Display for LocalDescription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, args: fmt::Arguments<'_>| write!(f, "{args}\r\n");
        line(f, format_args!("v=0"))?;
        line(f, format_args!("o=- {} {} IN IP4 0.0.0.0", self.session_id, self.version))?;
        line(f, format_args!("s=-"))?;
        line(f, format_args!("t=0 0"))?;
        write!(f, "a=group:BUNDLE")?;
        for media in self.media.iter().filter(|m| m.kind.is_some()) {
            write!(f, " {}", media.mid)?;
        }
        line(f, format_args!(""))?;
        if self.mixed {
            line(f, format_args!("a=extmap-allow-mixed"))?;
        }
        line(f, format_args!("a=msid-semantic: WMS *"))?;
        line(f, format_args!("a=ice-lite"))?;
        let mut first = true;
        for media in &self.media {
            self.write_media(f, media, &mut first)?;
        }
        Ok(())
    }
}

impl LocalDescription<'_> {
    fn write_media(
        &self,
        f: &mut fmt::Formatter<'_>,
        media: &LocalMedia<'_>,
        first: &mut bool,
    ) -> fmt::Result {
        let Some(kind) = media.kind else {
            let format = if media.media == "application" { "webrtc-datachannel" } else { "0" };
            return write!(
                f,
                "m={} 0 {} {format}\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na=inactive\r\n",
                media.media, media.proto, media.mid
            );
        };
        write!(f, "m={} 9 {}", media.media, media.proto)?;
        if kind == MediaKind::Data {
            write!(f, " webrtc-datachannel")?;
        }
        for codec in media.codecs {
            write!(f, " {}", codec.pt)?;
            if let Some(rtx) = codec.rtx_pt {
                write!(f, " {rtx}")?;
            }
        }
        write!(f, "\r\nc=IN IP4 0.0.0.0\r\n")?;
        if std::mem::take(first) {
            for (at, candidate) in self.candidates.iter().take(MAX_CANDIDATES).enumerate() {
                // Type preference of host candidates and one component (RFC 8445 §5.1.2.1); TCP only where nothing
                // else goes (RFC 6544 §4.2).
                let (protocol, preference, address, more) = match candidate {
                    Candidate::Udp(address) => ("udp", 126_u32, address, ""),
                    Candidate::Tcp(address) => ("tcp", 90, address, " tcptype passive"),
                };
                let priority = (preference << 24) | ((65_535 - at as u32) << 8) | 255;
                let (ip, port) = (address.ip(), address.port());
                write!(f, "a=candidate:{} 1 {protocol} {priority} {ip} {port} typ host{more}\r\n", at + 1)?;
            }
            write!(f, "a=end-of-candidates\r\n")?;
        }
        write!(f, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", self.ufrag, self.password)?;
        write!(
            f,
            "a=fingerprint:sha-256 {}\r\na=setup:{}\r\na=mid:{}\r\n",
            self.fingerprint, self.setup, media.mid
        )?;
        if kind == MediaKind::Data {
            return write!(f, "a=sctp-port:{SCTP_PORT}\r\na=max-message-size:{}\r\n", self.max_message_len);
        }
        for (extension, id) in media.extensions.iter() {
            write!(f, "a=extmap:{id} {}\r\n", extension.uri())?;
        }
        write!(f, "a={}\r\n", media.direction.name())?;
        if let Some(sender) = media.sender {
            write!(f, "a=msid:{} {}\r\n", sender.stream_id, sender.track_id)?;
        }
        write!(f, "a=rtcp-mux\r\na=rtcp-rsize\r\n")?;
        for codec in media.codecs {
            write_codec(f, codec, media.opus_fmtp.as_deref())?;
        }
        if !media.rids.is_empty() {
            for rid in media.rids {
                write!(f, "a=rid:{rid} recv\r\n")?;
            }
            let rids: Vec<&str> = media.rids.iter().map(Rid::as_str).collect();
            write!(f, "a=simulcast:recv {}\r\n", rids.join(";"))?;
        }
        if let Some(sender) = media.sender {
            let repair = sender.rtx_ssrc.filter(|_| media.codecs.iter().any(|c| c.rtx_pt.is_some()));
            if let Some(repair) = repair {
                write!(f, "a=ssrc-group:FID {} {repair}\r\n", sender.ssrc)?;
            }
            for ssrc in std::iter::once(sender.ssrc).chain(repair) {
                write!(f, "a=ssrc:{ssrc} cname:{}\r\n", sender.cname)?;
                write!(f, "a=ssrc:{ssrc} msid:{} {}\r\n", sender.stream_id, sender.track_id)?;
            }
        }
        Ok(())
    }
}

fn write_codec(f: &mut fmt::Formatter<'_>, codec: &Codec, opus_fmtp: Option<&str>) -> fmt::Result {
    let pt = codec.pt;
    let name = match codec.key {
        CodecKey::Opus => "opus/48000/2",
        CodecKey::Red => "red/48000/2",
        CodecKey::H264 => "H264/90000",
        CodecKey::Vp8 => "VP8/90000",
        CodecKey::Vp9 => "VP9/90000",
        CodecKey::Av1 => "AV1/90000",
    };
    write!(f, "a=rtpmap:{pt} {name}\r\n")?;
    for feedback in codec.feedback.names() {
        write!(f, "a=rtcp-fb:{pt} {feedback}\r\n")?;
    }
    let fmtp = match codec.key {
        CodecKey::Opus => opus_fmtp.or(codec.fmtp.as_deref()),
        _ => codec.fmtp.as_deref(),
    };
    if let Some(fmtp) = fmtp {
        write!(f, "a=fmtp:{pt} {fmtp}\r\n")?;
    }
    if let Some(rtx) = codec.rtx_pt {
        write!(f, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={pt}\r\n")?;
    }
    Ok(())
}
