#![allow(clippy::unwrap_used)]
use bytes::BufMut as _;

use super::*;
use crate::{rtp::Header, sdp};

const A: &str = "127.0.0.1:1001";
const B: &str = "127.0.0.1:1002";

/// Carries datagrams between two connections without delay, until nothing moves, and lets time pass.
fn run(a: &mut Peer, b: &mut Peer, now: &mut Instant, steps: usize) -> (Vec<PeerEvent>, Vec<PeerEvent>) {
    let (mut events_a, mut events_b) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let mut moved = true;
        while moved {
            moved = false;
            while let Some(t) = a.poll_transmit() {
                b.handle_datagram(*now, t.to, t.from, t.bytes);
                moved = true;
            }
            while let Some(t) = b.poll_transmit() {
                a.handle_datagram(*now, t.to, t.from, t.bytes);
                moved = true;
            }
        }
        while let Some(event) = a.poll_event() {
            events_a.push(event);
        }
        while let Some(event) = b.poll_event() {
            events_b.push(event);
        }
        *now += Duration::from_millis(5);
        a.handle_timeout(*now);
        b.handle_timeout(*now);
    }
    (events_a, events_b)
}

fn description(peer: &mut Peer, setup: &str) -> Description {
    let sections = [sdp::LocalSection { mid: "0".to_owned(), kind: sdp::SectionKind::Data }];
    let text = sdp::offer(&peer.transport(), &sections).replace("actpass", setup);
    Description::parse(&text).unwrap()
}

fn pair(now: Instant) -> (Peer, Peer) {
    let make = |address: &str| {
        let certificate = Arc::new(Certificate::generate().unwrap());
        Peer::new(now, &[address.parse().unwrap()], certificate, 7).unwrap()
    };
    let (mut a, mut b) = (make(A), make(B));
    a.open_channel("_reliable", true);
    let offer = description(&mut a, "actpass");
    b.set_remote(now, &offer, false).unwrap();
    let answer = description(&mut b, "active");
    a.set_remote(now, &answer, true).unwrap();
    (a, b)
}

#[test]
fn two_ends_connect_within_fifty_milliseconds_and_carry_media_and_data_both_ways() {
    let mut now = Instant::now();
    let (mut a, mut b) = pair(now);
    let (on_a, on_b) = run(&mut a, &mut b, &mut now, 10);
    assert!(on_a.iter().any(|e| matches!(e, PeerEvent::Connected)), "{on_a:?}");
    assert!(on_b.iter().any(|e| matches!(e, PeerEvent::Connected)), "{on_b:?}");
    run(&mut a, &mut b, &mut now, 40);

    let mut packet = BytesMut::new();
    Header { payload_type: 96, sequence: 5, timestamp: 6, ssrc: 7, marker: true }.write(&[], &mut packet);
    packet.put_slice(b"picture");
    a.send_rtp(&packet);
    assert!(a.send_data(now, "_reliable", &Bytes::from_static(b"hello")));
    let (_, on_b) = run(&mut a, &mut b, &mut now, 10);
    let media = on_b.iter().any(|e| matches!(e, PeerEvent::Rtp(p) if &p.payload[..] == b"picture"));
    let data = on_b.iter().any(|e| matches!(e, PeerEvent::Data(bytes) if &bytes[..] == b"hello"));
    assert!(media && data, "{on_b:?}");
    assert!(b.send_data(now, "_reliable", &Bytes::from_static(b"back")));
    let (on_a, _) = run(&mut a, &mut b, &mut now, 10);
    assert!(on_a.iter().any(|e| matches!(e, PeerEvent::Data(bytes) if &bytes[..] == b"back")));
    assert!(a.round_trip(now).is_some());
}

#[test]
fn a_certificate_that_was_not_announced_is_refused() {
    let mut now = Instant::now();
    let make = |address: &str| {
        let certificate = Arc::new(Certificate::generate().unwrap());
        Peer::new(now, &[address.parse().unwrap()], certificate, 7).unwrap()
    };
    let (mut a, mut b) = (make(A), make(B));
    let mut offer = description(&mut a, "actpass");
    offer.fingerprints = vec!["00:11".to_owned()];
    b.set_remote(now, &offer, false).unwrap();
    let answer = description(&mut b, "active");
    a.set_remote(now, &answer, true).unwrap();
    let (_, on_b) = run(&mut a, &mut b, &mut now, 20);
    assert!(
        on_b.iter().any(|e| matches!(e, PeerEvent::Failed(why) if why.contains("certificate"))),
        "{on_b:?}"
    );
    assert!(b.srtp.is_none());
}

#[test]
fn a_silent_service_is_given_up_after_five_seconds() {
    let mut now = Instant::now();
    let (mut a, mut b) = pair(now);
    run(&mut a, &mut b, &mut now, 100);
    let start = now;
    let mut failed = None;
    while failed.is_none() && now < start + Duration::from_secs(20) {
        now += Duration::from_millis(50);
        a.handle_timeout(now);
        while a.poll_transmit().is_some() {}
        while let Some(event) = a.poll_event() {
            if matches!(event, PeerEvent::Failed(_)) {
                failed = Some(now - start);
            }
        }
    }
    let failed = failed.unwrap();
    assert!(failed > Duration::from_secs(3) && failed < Duration::from_secs(8), "{failed:?}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]
    #[test]
    fn no_datagram_breaks_it(datagrams in proptest::collection::vec(
        proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120), 1..60,
    )) {
        let mut now = Instant::now();
        let (mut a, mut b) = pair(now);
        run(&mut a, &mut b, &mut now, 20);
        for bytes in datagrams {
            a.handle_datagram(now, A.parse().unwrap(), B.parse().unwrap(), BytesMut::from(&bytes[..]));
            while a.poll_transmit().is_some() {}
        }
        proptest::prop_assert!(a.srtp.is_some());
    }
}

/// Of 50 connections over a path that loses `loss` percent each way with 20 ms round trip, the times to connect.
fn times_to_connect(loss: u32) -> Vec<Option<Duration>> {
    use rand::{Rng as _, SeedableRng as _};
    let mut out = Vec::new();
    for seed in 0..50 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let start = Instant::now();
        let mut now = start;
        let (mut a, mut b) = pair(now);
        let mut way: Vec<(Instant, bool, Transmit)> = Vec::new();
        let mut connected = (false, false);
        while connected != (true, true) && now < start + Duration::from_secs(10) {
            while let Some(t) = a.poll_transmit() {
                way.push((now + Duration::from_millis(10), true, t));
            }
            while let Some(t) = b.poll_transmit() {
                way.push((now + Duration::from_millis(10), false, t));
            }
            now += Duration::from_millis(1);
            let (due, later): (Vec<_>, Vec<_>) = way.into_iter().partition(|(at, ..)| *at <= now);
            way = later;
            for (_, to_b, t) in due {
                let drop = random.random_range(0..100) < loss;
                if !drop {
                    let peer = if to_b { &mut b } else { &mut a };
                    peer.handle_datagram(now, t.to, t.from, t.bytes);
                }
            }
            for peer in [&mut a, &mut b] {
                if peer.poll_timeout().is_some_and(|at| at <= now) {
                    peer.handle_timeout(now);
                }
            }
            while let Some(event) = a.poll_event() {
                connected.0 |= matches!(event, PeerEvent::Connected);
            }
            while let Some(event) = b.poll_event() {
                connected.1 |= matches!(event, PeerEvent::Connected);
            }
        }
        out.push((connected == (true, true)).then(|| now - start));
    }
    out.sort();
    out
}

#[test]
fn a_path_that_loses_every_fifth_datagram_delays_the_connection_and_does_not_prevent_it() {
    let times = times_to_connect(20);
    let slowest = times.last().copied().flatten();
    assert!(times[0].is_some() && slowest.is_some_and(|t| t < Duration::from_secs(4)), "{times:?}");
    assert!(times[25] < Some(Duration::from_millis(500)), "{times:?}");
    assert!(times_to_connect(0).iter().all(|t| *t <= Some(Duration::from_millis(100))), "two timers at most");
}
