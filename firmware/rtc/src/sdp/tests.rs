#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::{Codec, Rid};

fn transport() -> Transport {
    Transport {
        ufrag: "abcd".to_owned(),
        password: "0123456789abcdef0123456789".to_owned(),
        fingerprint: "AA:BB".to_owned(),
        candidates: vec!["candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host".to_owned()],
        session: (1, 1),
    }
}

fn sections() -> Vec<LocalSection> {
    let layers = vec![(Rid::F, 1, 2), (Rid::H, 3, 4), (Rid::Q, 5, 6)];
    let kinds = [
        SectionKind::SendAudio { track: "mic".to_owned(), ssrc: 9, stereo: true },
        SectionKind::SendVideo { track: "cam".to_owned(), layers },
        SectionKind::Data,
        SectionKind::Receive(MediaKind::Video),
        SectionKind::Stopped(MediaKind::Audio),
    ];
    let local = |(i, kind): (usize, SectionKind)| LocalSection { mid: i.to_string(), kind };
    kinds.into_iter().enumerate().map(local).collect()
}

#[test]
fn our_offer_is_read_by_an_independent_parser() {
    let text = offer(&transport(), &sections());
    let parsed =
        rtc::sdp::description::session::SessionDescription::unmarshal(&mut std::io::Cursor::new(text))
            .unwrap();
    assert_eq!(parsed.media_descriptions.len(), 5);
    assert_eq!(parsed.attribute("group").unwrap(), "BUNDLE 0 1 2 3 4");
    let video = &parsed.media_descriptions[1];
    assert_eq!(video.attribute("simulcast").unwrap().unwrap(), "send f;h;q");
}

#[test]
fn our_offer_reads_as_it_was_meant() {
    let parsed = Description::parse(&offer(&transport(), &sections())).unwrap();
    assert_eq!(parsed.setup, Some(Setup::ActPass));
    assert_eq!(parsed.fingerprints, ["aa:bb"]);
    assert_eq!(parsed.candidates.len(), 1);
    assert_eq!(parsed.sections[0].ssrcs, [9]);
    assert_eq!(parsed.sections[0].msid.as_ref().unwrap().1, "mic");
    assert!(parsed.sections[0].maps[0].parameters.contains("stereo=1"));
    assert_eq!(parsed.sections[3].direction, Direction::RecvOnly);
    assert_eq!(parsed.sections[4].direction, Direction::Inactive);
    assert_eq!(payloads(&parsed.sections[1])[&125], PayloadCodec::Media(Codec::H264));
    assert_eq!(payloads(&parsed.sections[1])[&107], PayloadCodec::Repair(125));
    assert_eq!(sending(&parsed.sections[1], Codec::H264), Some((125, Some(107))));
    assert_eq!(parsed.sections[1].maps.len(), parsed.sections[3].maps.len(), "all codecs, for pion's sake");
    let ids = ExtensionMap::new(&parsed.sections[1]).0;
    assert_eq!((ids.mid, ids.rid, ids.repaired_rid, ids.transport_cc), (4, 10, 11, 3));
}

#[test]
fn an_answer_takes_what_we_know_and_refuses_the_rest_in_its_place() {
    let text = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=fingerprint:sha-256 AA\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n\
        a=setup:actpass\r\na=sctp-port:5000\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\na=mid:1\r\na=sendonly\r\na=rtpmap:111 opus/48000/2\r\n\
        a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 45\r\na=mid:2\r\na=sendonly\r\na=rtpmap:45 AV1/90000\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:3\r\na=sendrecv\r\na=msid:PA_1 TR_2\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=ssrc-group:FID 10 11\r\na=ssrc:10 cname:x\r\na=ssrc:11 cname:x\r\n";
    let offer = Description::parse(text).unwrap();
    assert!(offer.ice_lite);
    let answer = Description::parse(&answer(&transport(), &offer)).unwrap();
    assert_eq!(answer.setup, Some(Setup::Active));
    assert_eq!(answer.sections.len(), 4);
    let maps = |i: usize| answer.sections[i].maps.iter().map(|m| m.payload_type).collect::<Vec<_>>();
    assert_eq!(maps(1), [111]);
    assert_eq!(answer.sections[1].extensions[0].0, 9);
    assert!(answer.sections[2].refused);
    assert_eq!(maps(3), [96, 97]);
    assert_eq!(answer.sections[3].direction, Direction::RecvOnly);
    assert_eq!(offer.sections[3].repairs, [(10, 11)]);
}

proptest! {
    #[test]
    fn no_text_breaks_the_parser(
        lines in prop::collection::vec(prop_oneof![
            "[ -~]{0,60}",
            "(a=(rtpmap|fmtp|extmap|ssrc|ssrc-group|simulcast|msid|candidate|fingerprint|mid|setup):[ -~]{0,40})",
            "m=(audio|video|application) [0-9]{1,5} [A-Z/]{1,20} [0-9 ]{0,20}",
            "a=(ice-ufrag|ice-pwd):[a-z]{1,8}",
        ], 0..80),
    ) {
        if let Ok(parsed) = Description::parse(&lines.join("\r\n")) {
            prop_assert!(parsed.sections.len() <= MAX_SECTIONS);
            let again = answer(&transport(), &parsed);
            prop_assert!(again.len() < 100_000);
            for section in &parsed.sections {
                let _ = (payloads(section), ExtensionMap::new(section));
            }
        }
    }
}
