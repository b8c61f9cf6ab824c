//! What the caller sends reaches a remote.

use super::network::{Network, spec};
use crate::transport::{
    AudioLevel, CodecKey, DataKind, MediaKind, Mid, OutgoingExtensions, OutgoingRtcp, OutgoingRtp, PeerEvent,
    Rtcp, SenderSpec,
};
use std::{collections::HashMap, time::Duration};
use str0m::{
    Event,
    media::{Direction, KeyframeRequestKind, MediaData, MediaKind as ClientKind},
};

/// Sends numbered packets of a track, and repairs them when asked.
struct Source {
    mid: Mid,
    spec: SenderSpec,
    codec: CodecKey,
    seq: u16,
    rtx_seq: u16,
    history: HashMap<u16, (u32, Vec<u8>)>,
}

impl Source {
    fn new(mid: Mid, spec: SenderSpec, codec: CodecKey) -> Source {
        Source { mid, spec, codec, seq: 65_500, rtx_seq: 1, history: HashMap::new() }
    }

    fn send(&mut self, network: &mut Network) -> bool {
        let Some(mapping) = network.service.payload_type(&self.mid, self.codec) else { return false };
        let step = if self.spec.kind == MediaKind::Audio { 960 } else { 3000 };
        let timestamp = self.history.len() as u32 * step;
        let payload = match self.codec {
            // A VP8 descriptor that starts a partition, and the head of a key frame.
            CodecKey::Vp8 => vec![0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 64, 0, 64, 0, self.seq as u8],
            _ => vec![self.seq as u8; 60],
        };
        let sent = network.service.send_rtp(
            network.now,
            OutgoingRtp {
                mid: self.mid,
                ssrc: self.spec.ssrc,
                pt: mapping.pt,
                seq: self.seq,
                timestamp,
                marker: true,
                extensions: OutgoingExtensions {
                    audio_level: Some(AudioLevel(0x80 | 20)),
                    ..Default::default()
                },
                original_seq: None,
                padding: 0,
                payload: &payload,
            },
        );
        self.history.insert(self.seq, (timestamp, payload));
        self.seq = self.seq.wrapping_add(1);
        network.pump();
        sent.is_some()
    }

    fn repair(&mut self, network: &mut Network, seqs: &[u16]) {
        let mapping = network.service.payload_type(&self.mid, self.codec).unwrap();
        for seq in seqs {
            let Some((timestamp, payload)) = self.history.get(seq) else { continue };
            network.service.send_rtp(
                network.now,
                OutgoingRtp {
                    mid: self.mid,
                    ssrc: self.spec.rtx_ssrc.unwrap(),
                    pt: mapping.rtx_pt.unwrap(),
                    seq: self.rtx_seq,
                    timestamp: *timestamp,
                    marker: true,
                    extensions: OutgoingExtensions::default(),
                    original_seq: Some(*seq),
                    padding: 0,
                    payload,
                },
            );
            self.rtx_seq = self.rtx_seq.wrapping_add(1);
        }
        network.pump();
    }
}

fn media<'a>(network: &'a Network, mid: &Mid) -> Vec<&'a MediaData> {
    let of = network.client_events.iter().filter_map(|e| match e {
        Event::MediaData(data) if data.mid.to_string() == mid.as_str() => Some(data),
        _ => None,
    });
    of.collect()
}

#[test]
fn tracks_and_data_of_our_offer_arrive() {
    let mut network = Network::new();
    network.service.enable_data_channels();
    let audio = spec(MediaKind::Audio, "voice", 1000);
    let video = SenderSpec { codecs: vec![CodecKey::Vp8], ..spec(MediaKind::Video, "camera", 2000) };
    let audio_mid = network.service.add_sender(audio.clone()).unwrap();
    let video_mid = network.service.add_sender(video.clone()).unwrap();
    assert!(network.service.negotiation_needed());
    assert_eq!(network.service.payload_type(&video_mid, CodecKey::Vp8), None, "not agreed yet");
    let (offer, _) = network.service_offers();
    assert!(!network.service.negotiation_needed());
    assert!(offer.contains("a=msid:PA_camera TR_camera"));
    assert!(offer.contains("a=ssrc-group:FID 2000 2001"));
    assert!(!offer.contains("H264"), "only what the track comes in");
    network.connect();

    let mut voice = Source::new(audio_mid, audio, CodecKey::Opus);
    let mut camera = Source::new(video_mid, video, CodecKey::Vp8);
    let mut tick = 0;
    network.run_until(Duration::from_secs(3), |n| {
        if tick % 2 == 0 {
            assert!(voice.send(n));
        }
        if tick % 3 == 0 {
            assert!(camera.send(n));
        }
        if tick % 100 == 50 {
            let report = OutgoingRtcp::SenderReport {
                ssrc: 2000,
                ntp_time: (0xea00_0000 + tick as u64) << 32,
                rtp_time: 5,
            };
            n.service.send_rtcp(n.now, &[report]);
        }
        tick += 1;
        false
    });
    let sound = media(&network, &audio_mid);
    assert!(sound.len() > 140, "{} sound packets", sound.len());
    assert_eq!(sound[0].ext_vals.audio_level, Some(-20));
    assert!(media(&network, &video_mid).len() > 90);

    // The client reports, and the reports answer ours: the round trip of 10 ms is seen.
    assert!(
        network
            .events
            .iter()
            .any(|e| matches!(e, PeerEvent::Rtcp(Rtcp::ReceiverReport { ssrc: 2000, fraction_lost: 0, .. })))
    );
    assert!(network.events.iter().any(|e| matches!(e, PeerEvent::Rtcp(Rtcp::TransportFeedback(_)))));
    let round_trip = network.service.round_trip().unwrap();
    assert!(
        round_trip >= Duration::from_millis(9) && round_trip < Duration::from_millis(40),
        "{round_trip:?}"
    );

    // A key frame request comes back with our SSRC.
    let mid = str0m::media::Mid::from(video_mid.as_str());
    network.client.writer(mid).unwrap().request_keyframe(None, KeyframeRequestKind::Pli).unwrap();
    network.run(Duration::from_secs(1));
    assert!(network.events.iter().any(|e| matches!(e, PeerEvent::Rtcp(Rtcp::Pli { ssrc: 2000 }))));

    // The channels that we opened carry messages both ways.
    for kind in DataKind::ALL {
        network.service.send_data(network.now, kind, kind.label().as_bytes()).unwrap();
    }
    let open = network.client_events.iter().find_map(|e| match e {
        Event::ChannelOpen(id, label) if label == "_lossy" => Some(*id),
        _ => None,
    });
    network.client.channel(open.unwrap()).unwrap().write(true, b"hello").unwrap();
    network.run(Duration::from_secs(1));
    let got = network.client_events.iter().filter(|e| matches!(e, Event::ChannelData(_))).count();
    assert_eq!(got, 3);
    assert!(network.events.iter().any(|e| matches!(
        e,
        PeerEvent::Data { kind: DataKind::Lossy, bytes } if &bytes[..] == b"hello"
    )));
}

#[test]
fn what_a_subscriber_misses_it_asks_for_and_gets() {
    let mut network = Network::new();
    let video = SenderSpec { codecs: vec![CodecKey::Vp8], ..spec(MediaKind::Video, "camera", 2000) };
    let mid = network.service.add_sender(video.clone()).unwrap();
    network.service_offers();
    network.connect();
    let mut camera = Source::new(mid, video, CodecKey::Vp8);
    network.loss = 0.1;
    let mut asked = 0;
    network.run_until(Duration::from_secs(5), |n| {
        camera.send(n);
        for event in std::mem::take(&mut n.events) {
            if let PeerEvent::Rtcp(Rtcp::Nack { ssrc, seqs }) = event {
                assert_eq!(ssrc, 2000);
                asked += seqs.len();
                camera.repair(n, &seqs);
            }
        }
        false
    });
    assert!(asked > 10, "{asked} packets were asked for");
    let got = media(&network, &mid).len();
    assert!(got * 100 >= camera.history.len() * 95, "{got} of {} frames", camera.history.len());
}

#[test]
fn a_section_is_used_again_after_its_track_left() {
    let mut network = Network::new();
    let first = network.service.add_sender(spec(MediaKind::Video, "one", 10)).unwrap();
    let other = network.service.add_sender(spec(MediaKind::Audio, "two", 20)).unwrap();
    network.service_offers();
    network.connect();
    network.service.remove_sender(&first);
    assert!(network.service.negotiation_needed());
    let (offer, _) = network.service_offers();
    assert!(offer.contains("a=inactive") && !offer.contains("TR_one"));
    assert!(network.service.section(&first).unwrap().sending.is_none());
    let camera = SenderSpec { codecs: vec![CodecKey::Vp8], ..spec(MediaKind::Video, "three", 30) };
    let again = network.service.add_sender(camera.clone()).unwrap();
    assert_eq!(again, first, "the inactive section is reused");
    network.service_offers();
    assert_eq!(network.service.sections().count(), 2);
    assert!(network.service.section(&other).unwrap().sending.as_ref().unwrap().negotiated);
    let mut source = Source::new(again, camera, CodecKey::Vp8);
    network.run_until(Duration::from_secs(1), |n| {
        source.send(n);
        false
    });
    assert!(media(&network, &again).len() > 50);
}

#[test]
fn one_connection_carries_both_ways() {
    let mut network = Network::new();
    let mut change = network.client.sdp_api();
    change.add_media(ClientKind::Audio, Direction::SendOnly, None, Some("mic".into()), None);
    let free = change.add_media(ClientKind::Video, Direction::RecvOnly, None, None, None);
    change.add_media(ClientKind::Audio, Direction::RecvOnly, None, None, None);
    let (offer, pending) = change.apply().unwrap();
    network.service.handle_offer(&offer.to_sdp_string()).unwrap();
    let video = spec(MediaKind::Video, "camera", 2000);
    let mid = network.service.assign_sender(video.clone()).unwrap();
    assert_eq!(mid.as_str(), free.to_string());
    assert_eq!(
        network.service.assign_sender(spec(MediaKind::Video, "more", 3000)),
        None,
        "there is one only"
    );
    let answer = network.answer(pending);
    assert!(answer.contains("a=msid:PA_camera TR_camera"));
    network.connect();
    let mut camera = Source::new(mid, video, CodecKey::Vp8);
    network.run_until(Duration::from_secs(1), |n| {
        camera.send(n);
        false
    });
    assert!(media(&network, &mid).len() > 50);

    // More receive-only sections come with a new offer.
    let mut change = network.client.sdp_api();
    change.add_media(ClientKind::Video, Direction::RecvOnly, None, None, None);
    let (offer, pending) = change.apply().unwrap();
    network.service.handle_offer(&offer.to_sdp_string()).unwrap();
    let screen = spec(MediaKind::Video, "screen", 3000);
    let second = network.service.assign_sender(screen.clone()).unwrap();
    network.answer(pending);
    let mut screen = Source::new(second, screen, CodecKey::Vp8);
    network.run_until(Duration::from_secs(1), |n| {
        screen.send(n);
        false
    });
    assert!(media(&network, &second).len() > 50);
}

#[test]
fn nothing_is_sent_where_nothing_was_agreed() {
    let mut network = Network::new();
    let mid = network.service.add_sender(spec(MediaKind::Audio, "voice", 1000)).unwrap();
    network.service_offers();
    network.connect();
    let packet = |ssrc, mid, payload| OutgoingRtp {
        mid,
        ssrc,
        pt: 111,
        seq: 1,
        timestamp: 0,
        marker: false,
        extensions: OutgoingExtensions::default(),
        original_seq: None,
        padding: 0,
        payload,
    };
    let now = network.now;
    assert!(network.service.send_rtp(now, packet(1000, mid, &[1, 2, 3])).is_some());
    assert!(network.service.send_rtp(now, packet(1001, mid, &[1, 2, 3])).is_none(), "unknown SSRC");
    assert!(
        network.service.send_rtp(now, packet(1000, "9".parse().unwrap(), &[1])).is_none(),
        "other section"
    );
    assert!(network.service.send_rtp(now, packet(1000, mid, &[0; 1400])).is_none(), "too long");
}
