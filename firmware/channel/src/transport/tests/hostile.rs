//! Whatever arrives: no panic, no growth.

use super::network::{Network, client, config, spec};
use crate::transport::{
    DataKind, Demux, IceCredentials, MediaKind, Peer, RemoteAddress,
    data::{DataChannels, DataOutput},
    dtls::Role,
};
use bytes::BytesMut;
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use std::{
    collections::HashSet,
    sync::OnceLock,
    time::{Duration, Instant},
};
use str0m::media::{Direction, MediaKind as ClientKind, Simulcast, SimulcastLayer};

/// A description as Chromium writes it.
const CHROMIUM: &str = include_str!("chromium_offer.sdp");

fn client_offer(network: &mut Network) -> (str0m::change::SdpOffer, str0m::change::SdpPendingOffer) {
    let mut simulcast = Simulcast::new();
    simulcast.add_send_layer(SimulcastLayer::new("f"));
    simulcast.add_send_layer(SimulcastLayer::new("q"));
    let mut change = network.client.sdp_api();
    change.add_media(ClientKind::Audio, Direction::SendRecv, None, None, None);
    change.add_media(ClientKind::Video, Direction::SendOnly, None, None, Some(simulcast));
    change.add_media(ClientKind::Video, Direction::RecvOnly, None, None, None);
    change.add_channel("_reliable".into());
    change.apply().unwrap()
}

/// Texts of genuine offers.
fn offers() -> &'static [String] {
    static OFFERS: OnceLock<Vec<String>> = OnceLock::new();
    OFFERS.get_or_init(|| {
        let mut network = Network::new();
        vec![client_offer(&mut network).0.to_sdp_string(), CHROMIUM.replace('\n', "\r\n")]
    })
}

fn connected() -> Network {
    let (mut network, offer) = loop {
        let mut network = Network::new();
        let offer = client_offer(&mut network);
        // The client draws the names of its sections, and once in some thousands of times draws one twice.
        let text = offer.0.to_sdp_string();
        let mids: Vec<&str> = text.lines().filter(|line| line.starts_with("a=mid:")).collect();
        if mids.iter().collect::<HashSet<_>>().len() == mids.len() {
            break (network, offer);
        }
    };
    network.client_offers(offer);
    network.connect();
    network.run(Duration::from_millis(300));
    network
}

fn fresh() -> Peer {
    let mut rng = StdRng::seed_from_u64(5);
    Peer::new(Instant::now(), &config(), IceCredentials::generate(&mut rng))
}

/// Bytes that look like one of the protocols, or like none.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let head = prop_oneof![
        Just(vec![0x00, 0x01, 0x00, 0x10, 0x21, 0x12, 0xa4, 0x42]),
        Just(vec![22, 0xfe, 0xfd, 0, 0]),
        Just(vec![23, 0xfe, 0xfd, 0, 1]),
        Just(vec![0x90, 96]),
        Just(vec![0x80, 111]),
        Just(vec![0x81, 200]),
        Just(vec![0x8f, 205]),
        Just(vec![]),
    ];
    (head, proptest::collection::vec(any::<u8>(), 0..200)).prop_map(|(mut head, tail)| {
        head.extend(tail);
        head
    })
}

#[derive(Clone, Debug)]
enum Mutation {
    Drop(usize),
    Double(usize),
    Cut(usize, usize),
    Set(usize, String),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let words = prop_oneof![
        Just("a=mid:0".to_owned()),
        Just("a=mid:".to_owned()),
        Just("a=rtpmap:255 VP8/90000".to_owned()),
        Just("a=rtpmap:96 rtx/90000".to_owned()),
        Just("a=fmtp:96 apt=96".to_owned()),
        Just("a=extmap:0 urn:ietf:params:rtp-hdrext:sdes:mid".to_owned()),
        Just("a=extmap:65535 urn:ietf:params:rtp-hdrext:sdes:mid".to_owned()),
        Just("a=simulcast:send ;;,,~;q".to_owned()),
        Just("a=ssrc-group:FID 1 1".to_owned()),
        Just("a=ssrc:99999999999 cname:x".to_owned()),
        Just("a=max-message-size:0".to_owned()),
        Just("m=video 0 UDP/TLS/RTP/SAVPF 96".to_owned()),
        Just("m=audio 9 UDP/TLS/RTP/SAVPF 111 111 111".to_owned()),
        Just("a=setup:passive".to_owned()),
        "[ -~]{0,40}",
    ];
    prop_oneof![
        any::<usize>().prop_map(Mutation::Drop),
        any::<usize>().prop_map(Mutation::Double),
        (any::<usize>(), any::<usize>()).prop_map(|(line, at)| Mutation::Cut(line, at)),
        (any::<usize>(), words).prop_map(|(line, text)| Mutation::Set(line, text)),
    ]
}

fn mutate(text: &str, mutations: &[Mutation]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for mutation in mutations {
        let count = lines.len().max(1);
        match mutation {
            Mutation::Drop(line) if !lines.is_empty() => drop(lines.remove(line % count)),
            Mutation::Double(line) if !lines.is_empty() => {
                lines.insert(line % count, lines[line % count].clone())
            }
            Mutation::Cut(line, at) if !lines.is_empty() => {
                let line = &mut lines[line % count];
                let at = at % (line.len() + 1);
                if line.is_char_boundary(at) {
                    line.truncate(at);
                }
            }
            Mutation::Set(line, text) => lines.insert(line % count, text.clone()),
            _ => {}
        }
    }
    lines.join("\r\n") + "\r\n"
}

#[test]
fn an_offer_of_chromium_is_answered() {
    let mut peer = fresh();
    peer.handle_offer(&CHROMIUM.replace('\n', "\r\n")).unwrap();
    let answer = peer.create_answer();
    let receiving = peer.sections().filter(|s| s.receiving.is_some()).count();
    assert!(receiving > 0);
    assert_eq!(answer.matches("m=").count(), CHROMIUM.matches("\nm=").count());
    assert!(answer.contains("a=setup:passive"));
}

#[test]
fn forged_media_with_ever_new_ssrcs_leaves_no_trace() {
    let mut network = connected();
    let genuine = network.seen.iter().filter(|d| d[0] >= 128).count();
    for ssrc in 0..20_000_u32 {
        let mut packet = vec![0x80, 96, 0, 1, 0, 0, 0, 1];
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet.extend_from_slice(&[0; 40]);
        network.service.handle_datagram(network.now, network.now, client(), BytesMut::from(&packet[..]));
        packet[1] = 200;
        packet[4..8].copy_from_slice(&ssrc.to_be_bytes());
        network.service.handle_datagram(network.now, network.now, client(), BytesMut::from(&packet[..]));
    }
    assert!(network.service.poll_event().is_none());
    assert!(network.service.srtp.as_ref().unwrap().known_ssrcs() <= genuine + 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_datagrams_are_survived(datagrams in proptest::collection::vec(datagram(), 1..40), validated: bool) {
        let mut peer = fresh();
        peer.handle_offer(&offers()[0]).unwrap();
        peer.create_answer();
        let now = Instant::now();
        let mut demux: Demux<u8> = Demux::default();
        let from = client();
        demux.bind(from, 1);
        if validated {
            peer.trust_for_tests(from);
        }
        for datagram in datagrams {
            demux.route(from, &datagram);
            peer.handle_datagram(now, now, from, BytesMut::from(&datagram[..]));
            while peer.poll_transmit().is_some() {}
            while peer.poll_event().is_some() {}
            if let Some(at) = peer.poll_timeout() {
                peer.handle_timeout(at.min(now + Duration::from_secs(1)));
            }
        }
    }

    #[test]
    fn any_description_is_answered_or_refused(
        which in 0..2_usize,
        mutations in proptest::collection::vec(mutation(), 0..6),
        again in proptest::collection::vec(mutation(), 0..3),
    ) {
        let mut peer = fresh();
        for mutations in [mutations, again] {
            let text = mutate(&offers()[which], &mutations);
            if peer.handle_offer(&text).is_ok() {
                peer.assign_sender(spec(MediaKind::Video, "x", 77));
                let answer = peer.create_answer();
                // What we say is well formed for ourselves too.
                prop_assert!(crate::transport::sdp::parse(&answer).is_ok(), "{}", answer);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn genuine_datagrams_that_were_changed_are_survived(
        changes in proptest::collection::vec((any::<usize>(), any::<usize>(), any::<u8>(), any::<bool>()), 1..200),
    ) {
        // From a whole session: connectivity checks, handshake, data, media.
        let mut network = connected();
        let genuine = network.seen.clone();
        for (which, at, byte, cut) in changes {
            let mut datagram = genuine[which % genuine.len()].clone();
            let at = at % datagram.len();
            datagram[at] = byte;
            if cut {
                datagram.truncate(at);
            }
            network.service.handle_datagram(network.now, network.now, client(), BytesMut::from(&datagram[..]));
            let stranger = RemoteAddress::udp(([192, 0, 2, 77], 1).into());
            network.service.handle_datagram(network.now, network.now, stranger, BytesMut::from(&datagram[..]));
            network.pump_all();
        }
        prop_assert!(network.service.is_connected(), "forgeries do not end a connection");
    }
}

/// Moves packets between two ends until both are silent; keeps those that went to the server.
fn exchange(client: &mut DataChannels, server: &mut DataChannels, now: Instant) -> Vec<Vec<u8>> {
    let (mut kept, mut out): (Vec<Vec<u8>>, Vec<DataOutput>) = (Vec::new(), Vec::new());
    loop {
        let to_server: Vec<_> = std::iter::from_fn(|| client.poll_transmit(now)).flatten().collect();
        let to_client: Vec<_> = std::iter::from_fn(|| server.poll_transmit(now)).flatten().collect();
        if to_server.is_empty() && to_client.is_empty() {
            return kept;
        }
        for packet in to_server {
            kept.push(packet.to_vec());
            server.handle(now, BytesMut::from(&packet[..]), &mut out);
        }
        for packet in to_client {
            client.handle(now, BytesMut::from(&packet[..]), &mut out);
        }
    }
}

/// Leaves the type of a chunk as it is, or makes it another that exists.
fn chunk_type() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![Just(None), (0..=14_u8).prop_map(Some), prop_oneof![Just(130), Just(192)].prop_map(Some)]
}

/// CRC-32C, which SCTP packets carry (RFC 9260 §6.8).
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_remote_with_keys_breaks_at_most_its_own_channels(
        changes in proptest::collection::vec((any::<usize>(), chunk_type(), any::<usize>(), any::<u8>(), any::<bool>()), 1..100),
    ) {
        let mut now = Instant::now();
        let (mut client, mut server) = (DataChannels::new(Role::Client, 0), DataChannels::new(Role::Server, 0));
        client.open_ours(now);
        client.start(now);
        let mut genuine = exchange(&mut client, &mut server, now);
        for kind in DataKind::ALL {
            client.send(now, kind, &[7; 3000]).unwrap();
        }
        genuine.extend(exchange(&mut client, &mut server, now));
        let mut zeroed = genuine[0].clone();
        zeroed[8..12].fill(0);
        prop_assert_eq!(&genuine[0][8..12], &crc32c(&zeroed).to_le_bytes(), "changed packets are not just refused");
        let mut out = Vec::new();
        for (which, chunk_type, at, byte, cut) in changes {
            let mut packet = genuine[which % genuine.len()].clone();
            let at = 12 + at % (packet.len() - 12);
            packet[12] = chunk_type.unwrap_or(packet[12]);
            packet[at] = byte;
            if cut && at > 16 {
                // A shorter chunk that says so, so that what is inside is looked at.
                packet.truncate(at & !3);
                let len = (packet.len() - 12) as u16 - u16::from(byte & 3);
                packet[14..16].copy_from_slice(&len.to_be_bytes());
            }
            packet[8..12].fill(0);
            let sum = crc32c(&packet).to_le_bytes();
            packet[8..12].copy_from_slice(&sum);
            server.handle(now, BytesMut::from(&packet[..]), &mut out);
            while server.poll_transmit(now).is_some() {}
            if let Some(at) = server.poll_timeout() {
                now = now.max(at.min(now + Duration::from_secs(1)));
                server.handle_timeout(now, &mut out);
            }
            prop_assert!(out.len() < 1000);
        }
    }
}

impl Network {
    /// Takes all that the service says, to whomever.
    fn pump_all(&mut self) {
        while self.service.poll_transmit().is_some() {}
        while self.service.poll_event().is_some() {}
    }
}
