//! How connections begin, move and end.

use super::network::{Network, client, config, spec};
use crate::transport::{
    Candidate, CloseReason, Demux, IceCredentials, MediaKind, Peer, PeerConfig, PeerEvent, RemoteAddress,
    SdpError,
};
use rand::{SeedableRng, rngs::StdRng};
use std::time::{Duration, Instant};
use str0m::media::{Direction, MediaKind as ClientKind};

fn connected() -> Network {
    let mut network = Network::new();
    let mut change = network.client.sdp_api();
    change.add_media(ClientKind::Audio, Direction::SendOnly, None, None, None);
    let offer = change.apply().unwrap();
    network.client_offers(offer);
    network.connect();
    network
}

#[test]
fn a_remote_that_falls_silent_is_disconnected_and_may_come_back() {
    let mut network = connected();
    network.run(Duration::from_secs(20));
    assert!(!network.events.iter().any(|e| matches!(e, PeerEvent::Disconnected)), "checks keep it alive");
    network.cut = true;
    let silent = network.run_until(Duration::from_secs(20), |n| {
        n.events.iter().any(|e| matches!(e, PeerEvent::Disconnected))
    });
    assert!(silent);
    assert!(!network.service.is_connected());
    network.cut = false;
    network.events.clear();
    assert!(network.run_until(Duration::from_secs(20), |n| n.service.is_connected()));
    assert!(network.events.iter().any(|e| matches!(e, PeerEvent::Connected)));
}

#[test]
fn a_remote_that_closes_is_noticed_at_once() {
    let mut network = connected();
    network.client.close().unwrap();
    network.run(Duration::from_millis(100));
    assert!(network.events.iter().any(|e| matches!(e, PeerEvent::Closed { reason: CloseReason::Remote })));
    assert_eq!(network.service.poll_timeout(), None);
}

#[test]
fn closing_tells_the_remote() {
    let mut network = connected();
    network.service.close(network.now);
    network.run(Duration::from_millis(100));
    assert!(
        !network.client.is_alive() || network.client_events.iter().any(|e| matches!(e, str0m::Event::Closed))
    );
}

#[test]
fn a_connection_that_never_comes_up_is_given_up() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut now = Instant::now();
    let mut peer = Peer::new(now, &config(), IceCredentials::generate(&mut rng));
    while let Some(at) = peer.poll_timeout() {
        now = at;
        peer.handle_timeout(now);
    }
    assert!(matches!(peer.poll_event(), Some(PeerEvent::Closed { reason: CloseReason::ConnectTimeout })));
}

#[test]
fn an_ice_restart_keeps_the_connection() {
    let mut network = connected();
    let before = network.service.create_offer();
    let before = before.lines().find(|l| l.starts_with("a=ice-pwd")).unwrap().to_owned();
    let mut network = connected();
    let mut change = network.client.sdp_api();
    change.ice_restart(true);
    let offer = change.apply().unwrap();
    let answer = network.client_offers(offer);
    assert!(!answer.contains(&before), "the answer to a restart has a new password");
    network.events.clear();
    network.run(Duration::from_secs(20));
    assert!(!network.events.iter().any(|e| matches!(e, PeerEvent::Disconnected)));
    assert!(network.service.is_connected() && network.client.is_connected());
}

#[test]
fn datagrams_find_their_peer_and_only_proven_addresses_count() {
    let mut network = Network::new();
    let mut rng = StdRng::seed_from_u64(3);
    let (ours, other) = (IceCredentials::generate(&mut rng), IceCredentials::generate(&mut rng));
    network.service = Peer::new(network.now, &config(), ours.clone());
    let mut demux: Demux<u32> = Demux::default();
    demux.register(&ours, 1);
    demux.register(&other, 2);
    let mut change = network.client.sdp_api();
    change.add_media(ClientKind::Audio, Direction::SendOnly, None, None, None);
    let offer = change.apply().unwrap();
    network.client_offers(offer);
    network.connect();
    let seen = std::mem::take(&mut network.seen);
    let (stun, rest): (Vec<_>, Vec<_>) = seen.into_iter().partition(|d| d[0] < 4);
    assert!(!stun.is_empty() && !rest.is_empty());
    assert!(stun.iter().all(|d| demux.route(client(), d) == Some(1)));
    assert!(rest.iter().all(|d| demux.route(client(), d).is_none()), "not bound yet");
    for event in &network.events {
        if let PeerEvent::AddressValidated(address) = event {
            demux.bind(*address, 1);
        }
    }
    assert_eq!(demux.addresses(), 1);
    assert!(rest.iter().all(|d| demux.route(client(), d) == Some(1)));
    let stranger = RemoteAddress::udp(([192, 0, 2, 66], 5).into());
    assert!(rest.iter().all(|d| demux.route(stranger, d).is_none()));
    demux.release(client(), 2);
    assert_eq!(demux.addresses(), 1, "another peer's release does not count");
    demux.remove(1);
    assert!(stun.iter().chain(&rest).all(|d| demux.route(client(), d).is_none()));
}

#[test]
fn a_certificate_that_the_sdp_does_not_name_is_refused() {
    let mut network = Network::new();
    let mut change = network.client.sdp_api();
    change.add_media(ClientKind::Audio, Direction::SendOnly, None, None, None);
    let (offer, pending) = change.apply().unwrap();
    let offer = offer.to_sdp_string();
    let at = offer.find("sha-256 ").unwrap() + 8;
    let other = if &offer[at..at + 2] == "00" { "11" } else { "00" };
    let forged = format!("{}{other}{}", &offer[..at], &offer[at + 2..]);
    network.service.handle_offer(&forged).unwrap();
    network.answer(pending);
    network.run(Duration::from_secs(5));
    assert!(network.events.iter().any(|e| matches!(e, PeerEvent::Closed { reason: CloseReason::Dtls })));
    assert!(!network.service.is_connected());
}

/// A service that offered and a client whose answer is on its way, slower than its first datagrams.
fn answer_is_late(our_setup: &str) -> (Network, String) {
    let mut network = Network::new();
    network.service.add_sender(spec(MediaKind::Audio, "a", 1));
    let offer = network.service.create_offer().replace("a=setup:actpass", our_setup);
    let offer = str0m::change::SdpOffer::from_sdp_string(&offer).unwrap();
    let answer = network.client.sdp_api().accept_offer(offer).unwrap().to_sdp_string();
    network.run(Duration::from_millis(50));
    (network, answer)
}

#[test]
fn a_handshake_that_overtakes_the_answer_is_not_lost() {
    let (mut network, answer) = answer_is_late("a=setup:passive");
    assert!(network.seen.iter().any(|datagram| datagram[0] == 22), "there is a ClientHello");
    network.service.handle_answer(&answer).unwrap();
    // A second and more, were the client to repeat it.
    let up = |n: &mut Network| n.service.is_connected() && n.client.is_connected();
    assert!(network.run_until(Duration::from_millis(200), up));
}

#[test]
fn a_check_that_overtakes_the_answer_opens_the_handshake_where_that_is_ours_to_do() {
    let (mut network, answer) = answer_is_late("a=setup:active");
    network.service.handle_answer(&answer).unwrap();
    let up = |n: &mut Network| n.service.is_connected() && n.client.is_connected();
    assert!(network.run_until(Duration::from_millis(200), up));
}

#[test]
fn descriptions_that_cannot_be_used_are_refused_and_change_nothing() {
    let mut network = connected();
    assert!(matches!(network.service.handle_offer("nonsense"), Err(SdpError::Syntax(_))));
    let unasked = another_offer(network.now);
    assert!(matches!(network.service.handle_answer(&unasked), Err(SdpError::UnexpectedAnswer)));
    let offer = network.client_offer_text();
    let gone: String = offer.split("m=audio").next().unwrap().to_owned();
    assert!(matches!(network.service.handle_offer(&gone), Err(SdpError::SectionMoved(0))));
    let mid = network.service.sections().next().unwrap().mid;
    let renamed = offer.replace(mid.as_str(), "other");
    assert!(matches!(network.service.handle_offer(&renamed), Err(SdpError::SectionMoved(0))));
    let unprotected = offer.replace("a=fingerprint:sha-256", "a=fingerprint:md5");
    assert!(matches!(network.service.handle_offer(&unprotected), Err(SdpError::Missing(_))));
    assert!(network.service.is_connected());
    assert_eq!(network.service.sections().count(), 1);
}

impl Network {
    /// An offer of the client that is not applied.
    fn client_offer_text(&mut self) -> String {
        let mut change = self.client.sdp_api();
        change.add_media(ClientKind::Video, Direction::SendOnly, None, None, None);
        change.apply().unwrap().0.to_sdp_string()
    }
}

fn another_offer(now: Instant) -> String {
    let mut rng = StdRng::seed_from_u64(9);
    let mut peer = Peer::new(now, &config(), IceCredentials::generate(&mut rng));
    peer.add_sender(spec(MediaKind::Audio, "a", 1));
    peer.create_offer()
}

#[test]
fn all_addresses_are_told_best_first() {
    let addresses = ["192.0.2.1:7882", "[2001:db8::1]:7882"].map(|a| a.parse().unwrap());
    let candidates =
        [Candidate::Udp(addresses[0]), Candidate::Udp(addresses[1]), Candidate::Tcp(addresses[0])];
    let config = PeerConfig::new(config().certificate, candidates);
    let mut rng = StdRng::seed_from_u64(9);
    let mut peer = Peer::new(Instant::now(), &config, IceCredentials::generate(&mut rng));
    peer.add_sender(spec(MediaKind::Audio, "a", 1));
    let offer = peer.create_offer();
    let candidates: Vec<_> = offer.lines().filter(|l| l.starts_with("a=candidate")).collect();
    assert_eq!(
        candidates,
        [
            "a=candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host",
            "a=candidate:2 1 udp 2130706175 2001:db8::1 7882 typ host",
            "a=candidate:3 1 tcp 1526726143 192.0.2.1 7882 typ host tcptype passive",
        ]
    );
    assert!(offer.contains("a=ice-lite\r\n") && offer.contains("a=end-of-candidates\r\n"));
}

/// Times in which connections with `str0m` came up, sorted; those that did not come last.
fn times_to_connect(loss: f64, service_waits: bool) -> Vec<Duration> {
    let times = (0..60).map(|seed| {
        let mut network = Network::lossy(loss, seed);
        if service_waits {
            let mut change = network.client.sdp_api();
            change.add_media(ClientKind::Audio, Direction::SendOnly, None, None, None);
            let offer = change.apply().unwrap();
            network.client_offers(offer);
        } else {
            network.service.add_sender(spec(MediaKind::Audio, "a", 1));
            network.service_offers();
        }
        let start = network.now;
        let up = |n: &mut Network| n.service.is_connected() && n.client.is_connected();
        if network.run_until(Duration::from_secs(25), up) { network.now - start } else { Duration::MAX }
    });
    let mut times: Vec<_> = times.collect();
    times.sort();
    times
}

// The timers of the other end, a second and doubled each time, are what these figures are made of.

#[test]
fn a_path_that_loses_every_fifth_datagram_delays_connections_and_prevents_none() {
    for service_waits in [true, false] {
        let times = times_to_connect(0.2, service_waits);
        assert!(times[30] < Duration::from_millis(1500), "median: {:?}", times[30]);
        assert!(times[59] < Duration::from_secs(12), "slowest: {:?}", &times[50..]);
    }
}

#[test]
fn a_path_that_loses_every_second_datagram_prevents_few_connections() {
    let times = times_to_connect(0.5, true);
    assert!(times[47] < Duration::MAX, "{:?}", &times[40..]);
}
