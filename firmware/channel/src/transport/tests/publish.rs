//! What a remote sends reaches the caller.

use super::network::Network;
use crate::transport::{
    AudioPreference, CodecKey, DataKind, IncomingRtp, MediaKind, OutgoingRtcp, PeerEvent, Rtcp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use str0m::{
    Event,
    channel::ChannelId,
    format::Codec,
    media::{
        Direction, Frequency, KeyframeRequestKind, MediaKind as ClientKind, MediaTime, Mid, Rid, Simulcast,
        SimulcastLayer,
    },
};

const LAYERS: [(&str, usize); 3] = [("f", 6000), ("h", 2500), ("q", 700)];

fn layers() -> Simulcast {
    let mut simulcast = Simulcast::new();
    for (rid, _) in LAYERS {
        simulcast.add_send_layer(SimulcastLayer::new(rid));
    }
    simulcast
}

/// Writes one frame of a codec on a track of the client.
fn write(network: &mut Network, mid: Mid, codec: Codec, rid: Option<&str>, start: Instant, len: usize) {
    let now = network.now;
    let Some(writer) = network.client.writer(mid) else { return };
    let pt = writer.payload_params().find(|p| p.spec().codec == codec).unwrap().pt();
    let rate = if codec == Codec::Opus { Frequency::FORTY_EIGHT_KHZ } else { Frequency::NINETY_KHZ };
    let time = MediaTime::new((now - start).as_micros() as u64 * rate.get() as u64 / 1_000_000, rate);
    let data: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
    let writer = match rid {
        Some(rid) => writer.rid(Rid::from(rid)),
        None => writer.audio_level(-30, true),
    };
    writer.write(pt, now, time, data).unwrap();
    network.pump();
}

fn packets(network: &Network) -> impl Iterator<Item = &IncomingRtp> {
    network.events.iter().filter_map(|event| match event {
        PeerEvent::Rtp(rtp) => Some(rtp),
        _ => None,
    })
}

#[test]
fn a_publisher_with_layers_sound_and_data_is_received() {
    let mut network = Network::new();
    let mut change = network.client.sdp_api();
    let audio = change.add_media(ClientKind::Audio, Direction::SendOnly, None, Some("mic".into()), None);
    let video =
        change.add_media(ClientKind::Video, Direction::SendOnly, None, Some("cam".into()), Some(layers()));
    change.add_channel("_reliable".into());
    let offer = change.apply().unwrap();
    network.client_offers(offer);

    let sections: Vec<_> = network.service.sections().cloned().collect();
    assert_eq!(
        sections.iter().map(|s| s.kind).collect::<Vec<_>>(),
        [MediaKind::Audio, MediaKind::Video, MediaKind::Data]
    );
    let camera = sections[1].receiving.as_ref().unwrap();
    assert_eq!(camera.track_id.as_deref(), Some("cam"));
    assert_eq!(camera.rids.iter().map(|r| r.as_str()).collect::<Vec<_>>(), ["f", "h", "q"]);
    network.connect();

    let start = network.now;
    let mut tick = 0;
    network.run_until(Duration::from_secs(3), |n| {
        if tick % 2 == 0 {
            write(n, audio, Codec::Opus, None, start, 80);
        }
        if tick % 3 == 0 {
            for (rid, len) in LAYERS {
                write(n, video, Codec::Vp8, Some(rid), start, len);
            }
        }
        tick += 1;
        false
    });
    let (audio_mid, video_mid) = (sections[0].mid, sections[1].mid);
    let mut ssrcs = BTreeSet::new();
    for (rid, len) in LAYERS {
        let of: Vec<_> = packets(&network).filter(|p| p.rid.is_some_and(|r| r.as_str() == rid)).collect();
        assert!(of.len() > 90, "{} packets of layer {rid}", of.len());
        assert!(
            of.iter().all(|p| p.mid == video_mid && p.codec == CodecKey::Vp8 && p.transport_seq.is_some())
        );
        assert!(of.windows(2).all(|w| w[1].seq == w[0].seq.wrapping_add(1)), "nothing missing in {rid}");
        let frame: usize =
            of.iter().take_while(|p| p.timestamp == of[0].timestamp).map(|p| p.payload.len()).sum();
        assert!(frame >= len, "whole frames");
        ssrcs.insert(of[0].ssrc);
    }
    assert_eq!(ssrcs.len(), 3);
    let sound: Vec<_> = packets(&network).filter(|p| p.mid == audio_mid).collect();
    assert!(sound.len() > 140, "{} sound packets", sound.len());
    assert!(sound.iter().all(|p| p.rid.is_none() && p.codec == CodecKey::Opus && p.payload.len() == 80));
    let level = sound[0].audio_level.unwrap();
    assert_eq!((level.below_full_scale_db(), level.voice()), (30, true));

    // The publisher hears about its packets: reports for the encoder, transport-wide feedback for the estimate.
    assert!(network.events.iter().any(|e| matches!(e, PeerEvent::Rtcp(Rtcp::SenderReport { .. }))));

    // A key frame request for one layer reaches the publisher as one for that layer.
    let ssrc = packets(&network).find(|p| p.rid.is_some_and(|r| r.as_str() == "h")).unwrap().ssrc;
    network.client_events.clear();
    network.service.send_rtcp(network.now, &[OutgoingRtcp::Pli { ssrc }]);
    network.run(Duration::from_millis(100));
    let asked = network.client_events.iter().find_map(|e| match e {
        Event::KeyframeRequest(request) => Some((request.mid, request.rid, request.kind)),
        _ => None,
    });
    assert_eq!(asked, Some((video, Some(Rid::from("h")), KeyframeRequestKind::Pli)));
}

/// The remote connects and opens the reliable channel.
fn open_channel(network: &mut Network) -> ChannelId {
    let mut change = network.client.sdp_api();
    let id = change.add_channel("_reliable".into());
    let offer = change.apply().unwrap();
    network.client_offers(offer);
    network.connect();
    let open = network.run_until(Duration::from_secs(5), |n| {
        n.events.iter().any(|e| matches!(e, PeerEvent::DataChannelOpen { label } if label == "_reliable"))
    });
    assert!(open);
    id
}

#[test]
fn messages_travel_both_ways_on_channels_that_the_remote_opened() {
    let mut network = Network::new();
    let early =
        |n: &mut Network| n.service.send_data(n.now, DataKind::Reliable, b"before there is a channel");
    assert!(early(&mut network).is_err(), "nobody said that there will be one");
    network.service.hold_early_data();
    early(&mut network).unwrap();
    let id = open_channel(&mut network);
    assert!(network.client.channel(id).unwrap().write(true, b"from the client").unwrap());
    network.service.send_data(network.now, DataKind::Reliable, b"from the service").unwrap();
    let long = vec![42; 60_000];
    network.service.send_data(network.now, DataKind::Reliable, &long).unwrap();
    network.service.send_data(network.now, DataKind::Reliable, b"").unwrap();
    assert!(network.service.send_data(network.now, DataKind::Lossy, b"no such channel").is_err());
    assert!(network.service.send_data(network.now, DataKind::Reliable, &[0; 70_000]).is_err());
    network.run(Duration::from_secs(2));
    assert!(network.events.iter().any(|e| matches!(
        e,
        PeerEvent::Data { kind: DataKind::Reliable, bytes } if &bytes[..] == b"from the client"
    )));
    let got = network.client_events.iter().filter_map(|e| match e {
        Event::ChannelData(data) => Some(data.data.clone()),
        _ => None,
    });
    let got: Vec<_> = got.collect();
    let early = b"before there is a channel".to_vec();
    assert_eq!(got, [early, b"from the service".to_vec(), long, Vec::new()]);
}

#[test]
fn a_message_above_the_limit_is_reported_and_the_next_one_passes() {
    let mut network = Network::new();
    let id = open_channel(&mut network);
    network.service.limit_data_for_tests(2000);
    for len in [2001, 2000] {
        assert!(network.client.channel(id).unwrap().write(true, &vec![7; len]).unwrap());
    }
    network.run(Duration::from_secs(1));
    let seen: Vec<_> = network
        .events
        .iter()
        .filter_map(|event| match event {
            PeerEvent::DataTooLong { len } => Some((false, *len)),
            PeerEvent::Data { bytes, .. } => Some((true, bytes.len())),
            _ => None,
        })
        .collect();
    assert_eq!(seen, [(false, 2001), (true, 2000)]);
}

#[test]
fn lost_packets_of_every_layer_are_repaired() {
    let mut network = Network::new();
    let mut change = network.client.sdp_api();
    let video = change.add_media(ClientKind::Video, Direction::SendOnly, None, None, Some(layers()));
    let offer = change.apply().unwrap();
    network.client_offers(offer);
    network.connect();
    let start = network.now;
    let mut tick = 0;
    let mut send = |n: &mut Network| {
        if tick % 3 == 0 {
            for (rid, len) in LAYERS {
                write(n, video, Codec::Vp8, Some(rid), start, len);
            }
        }
        tick += 1;
        false
    };
    network.run_until(Duration::from_secs(1), &mut send);
    network.loss = 0.1;
    network.run_until(Duration::from_secs(5), &mut send);
    network.loss = 0.0;
    network.run_until(Duration::from_secs(1), &mut send);
    network.run(Duration::from_secs(1));

    let mut by_layer: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
    let mut repaired: BTreeMap<&str, usize> = BTreeMap::new();
    for packet in packets(&network) {
        let rid = packet.rid.as_ref().unwrap().as_str();
        assert!(by_layer.entry(rid).or_default().insert(packet.seq), "each packet comes once");
        *repaired.entry(rid).or_default() += usize::from(packet.is_repair);
    }
    for (rid, _) in LAYERS {
        let seqs = &by_layer[rid];
        let (first, last) = (*seqs.first().unwrap(), *seqs.last().unwrap());
        assert!(last - first < 10_000, "no wrap in this test");
        let missing = usize::from(last - first) + 1 - seqs.len();
        assert!(missing * 200 <= seqs.len(), "{missing} of {} stay missing in {rid}", seqs.len());
        assert!(repaired[rid] > 5, "{} repairs in {rid}", repaired[rid]);
    }
    assert!(network.service.round_trip().is_some_and(|rtt| rtt < Duration::from_millis(100)));
}

#[test]
fn stereo_and_silence_are_asked_for_in_the_answer() {
    for preference in [None, Some(AudioPreference { stereo: true, dtx: true })] {
        let mut network = Network::new();
        let mut change = network.client.sdp_api();
        change.add_media(ClientKind::Audio, Direction::SendOnly, None, None, None);
        let (offer, pending) = change.apply().unwrap();
        network.service.handle_offer(&offer.to_sdp_string()).unwrap();
        let mid = network.service.sections().next().unwrap().mid;
        if let Some(preference) = preference {
            network.service.set_audio_preference(&mid, preference);
        }
        let answer = network.answer(pending);
        assert_eq!(answer.contains(";stereo=1;sprop-stereo=1;usedtx=1"), preference.is_some(), "{answer}");
        assert!(answer.contains("useinbandfec=1"));
    }
}

#[test]
fn a_track_that_is_not_sent_any_more_is_gone_from_its_section() {
    let mut network = Network::new();
    let mut change = network.client.sdp_api();
    let video = change.add_media(ClientKind::Video, Direction::SendOnly, None, None, None);
    let offer = change.apply().unwrap();
    network.client_offers(offer);
    network.connect();
    let mut change = network.client.sdp_api();
    change.set_direction(video, Direction::Inactive);
    let offer = change.apply().unwrap();
    let answer = network.client_offers(offer);
    assert!(answer.contains("a=inactive"));
    assert!(network.service.sections().all(|s| s.receiving.is_none()));
}
