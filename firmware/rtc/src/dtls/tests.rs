#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

const PATIENCE: Duration = Duration::from_secs(30);

struct Identity {
    certificate: Certificate,
    fingerprint: String,
}

fn provider() -> Arc<dyn RTCCryptoProvider> {
    rtc::crypto::default_provider().unwrap()
}

fn identity() -> Identity {
    let provider = provider();
    let certificate = Certificate::generate_self_signed(vec!["test".to_owned()], provider.crypto()).unwrap();
    let fingerprint = fingerprint(&*provider, &certificate.certificate[0]).unwrap();
    Identity { certificate, fingerprint }
}

fn end(own: &Identity, other: &str, client: bool, patience: Duration) -> Association {
    Association::new(Setup {
        provider: provider(),
        certificate: own.certificate.clone(),
        fingerprints: vec![other.to_owned()],
        profiles: vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm],
        client,
        patience,
    })
    .unwrap()
}

/// A client and a server with a path between them that loses, delays and reorders.
struct Path {
    start: Instant,
    now: Instant,
    /// Client and server.
    ends: [Association; 2],
    /// Arrival, whose it is, datagram.
    flying: Vec<(Instant, usize, BytesMut)>,
    loss: f64,
    random: StdRng,
    outputs: [Vec<Output>; 2],
    seen: Vec<(usize, BytesMut)>,
}

impl Path {
    fn new(identities: &[Identity; 2], loss: f64, seed: u64) -> Self {
        let [a, b] = identities;
        let now = Instant::now();
        let mut path = Self {
            start: now,
            now,
            ends: [end(a, &b.fingerprint, true, PATIENCE), end(b, &a.fingerprint, false, PATIENCE)],
            flying: Vec::new(),
            loss,
            random: StdRng::seed_from_u64(seed),
            outputs: [Vec::new(), Vec::new()],
            seen: Vec::new(),
        };
        path.ends[0].connect(now);
        path
    }

    fn step(&mut self) {
        for from in 0..2 {
            while let Some(datagram) = self.ends[from].poll_transmit() {
                assert!(datagram.len() <= 1300, "{} bytes do not pass everywhere", datagram.len());
                if !self.random.random_bool(self.loss) {
                    let delay = Duration::from_millis(self.random.random_range(15..45));
                    self.flying.push((self.now + delay, 1 - from, datagram));
                }
            }
            while let Some(output) = self.ends[from].poll_output() {
                self.outputs[from].push(output);
            }
        }
        self.now += Duration::from_millis(1);
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.flying).into_iter().partition(|(at, ..)| *at <= now);
        self.flying = later;
        for (_, to, datagram) in due {
            self.seen.push((to, datagram.clone()));
            self.ends[to].handle(now, datagram);
        }
        for end in &mut self.ends {
            if end.poll_timeout().is_some_and(|at| at <= now) {
                end.handle_timeout(now);
            }
        }
    }

    /// Runs until both ends are connected or failed; how long that took when they connected.
    fn run(&mut self) -> Option<Duration> {
        let limit = self.now + PATIENCE + Duration::from_secs(2);
        while self.ends.iter().any(|end| end.phase == Phase::Handshake) {
            assert!(self.now < limit, "a handshake that never ends: {:?}", self.ends);
            self.step();
        }
        self.step();
        self.ends.iter().all(Association::is_connected).then(|| self.now - self.start)
    }

    fn data(&self, end: usize) -> Vec<&[u8]> {
        let data = self.outputs[end].iter().filter_map(|output| match output {
            Output::Data(data) => Some(&data[..]),
            _ => None,
        });
        data.collect()
    }
}

/// Times to connect of many handshakes, sorted; those that failed come last.
fn times(loss: f64, count: u64) -> Vec<Duration> {
    let identities = [identity(), identity()];
    let mut times: Vec<_> =
        (0..count).map(|seed| Path::new(&identities, loss, seed).run().unwrap_or(Duration::MAX)).collect();
    times.sort();
    times
}

#[test]
fn a_handshake_takes_three_round_trips_and_both_ends_get_the_same_keys() {
    let identities = [identity(), identity()];
    let mut path = Path::new(&identities, 0.0, 1);
    let time = path.run().unwrap();
    assert!(time < Duration::from_millis(300), "{time:?}");
    let keys: Vec<_> = path
        .outputs
        .iter()
        .map(|outputs| match &outputs[0] {
            Output::Connected(keys) => &keys.0.keys,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(keys[0].local_master_key, keys[1].remote_master_key);
    assert_eq!(keys[0].remote_master_key, keys[1].local_master_key);
    let now = path.now;
    path.ends[0].send(now, b"there");
    path.ends[1].send(now, b"back");
    (0..100).for_each(|_| path.step());
    assert_eq!((path.data(1), path.data(0)), (vec![&b"there"[..]], vec![&b"back"[..]]));
    path.ends[0].close(path.now);
    (0..100).for_each(|_| path.step());
    assert!(matches!(path.outputs[1].last(), Some(Output::ClosedByRemote)));
}

#[test]
fn on_a_path_that_loses_every_fifth_datagram_handshakes_end_within_two_seconds() {
    let times = times(0.2, 300);
    assert!(times[284] < Duration::from_secs(2), "p95 {:?}", times[284]);
    assert!(times[299] < PATIENCE, "slowest {:?}", times[299]);
    assert!(times[150] < Duration::from_millis(500), "median {:?}", times[150]);
}

#[test]
fn on_a_path_that_loses_every_second_datagram_handshakes_end_too() {
    let times = times(0.5, 300);
    assert!(times[284] < Duration::from_secs(8), "p95 {:?}", times[284]);
    assert!(times[298] < PATIENCE, "slowest but one {:?}", times[298]);
}

#[test]
fn a_certificate_that_was_not_announced_is_refused_by_either_end() {
    let [a, b, other] = [identity(), identity(), identity()];
    for wrong in 0..2 {
        let mut path = Path::new(&[identity(), identity()], 0.0, 1);
        let expected = |is_wrong: bool, real: &Identity| {
            if is_wrong { other.fingerprint.clone() } else { real.fingerprint.clone() }
        };
        path.ends = [
            end(&a, &expected(wrong == 0, &b), true, PATIENCE),
            end(&b, &expected(wrong == 1, &a).to_lowercase(), false, PATIENCE),
        ];
        path.ends[0].connect(path.now);
        assert!(path.run().is_none());
        let failure = path.outputs[wrong].iter().find_map(|output| match output {
            Output::Failed(failure) => Some(*failure),
            _ => None,
        });
        assert_eq!(failure, Some(Failure::Certificate));
        assert!(!path.outputs[1 - wrong].iter().any(|o| matches!(o, Output::Data(_))));
    }
}

#[test]
fn a_silent_other_end_is_given_up_when_patience_is_over() {
    let [a, b] = [identity(), identity()];
    let mut now = Instant::now();
    let (start, patience) = (now, Duration::from_secs(3));
    let mut client = end(&a, &b.fingerprint, true, patience);
    client.connect(now);
    let mut flights = 0;
    while let Some(at) = client.poll_timeout() {
        now = at;
        client.handle_timeout(now);
        while client.poll_transmit().is_some() {
            flights += 1;
        }
    }
    assert_eq!(now - start, patience);
    assert!(matches!(client.poll_output(), Some(Output::Failed(Failure::TimedOut))));
    assert!((5..12).contains(&flights), "{flights}");
    let mut server = end(&b, &a.fingerprint, false, patience);
    assert_eq!(server.poll_timeout(), None, "whoever says nothing costs no timer");
    server.handle_timeout(now);
    assert!(server.poll_output().is_none());
}

#[test]
fn repetitions_of_a_connected_client_are_answered_without_being_multiplied() {
    let identities = [identity(), identity()];
    let mut path = Path::new(&identities, 0.0, 3);
    path.run().unwrap();
    let last = path.seen.iter().rfind(|(to, _)| *to == 1).unwrap().1.clone();
    (0..200).for_each(|_| path.step());
    let (mut answers, mut now) = (0, path.now);
    for _ in 0..1000 {
        now += Duration::from_millis(1);
        path.ends[1].handle(now, last.clone());
        while let Some(datagram) = path.ends[1].poll_transmit() {
            answers += 1;
            assert!(datagram.len() <= last.len(), "no amplification");
        }
    }
    assert!((1..=17).contains(&answers), "{answers}");
    assert!(path.ends[1].is_connected());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_datagram_breaks_an_end(
        datagrams in prop::collection::vec(
            (prop_oneof![Just(20_u8), Just(21), Just(22), Just(23)], 0..3_u8, prop::collection::vec(any::<u8>(), 0..80)),
            1..60,
        ),
        client: bool,
    ) {
        let [a, b] = [identity(), identity()];
        let mut now = Instant::now();
        let mut end = end(&a, &b.fingerprint, client, PATIENCE);
        end.connect(now);
        for (kind, epoch, content) in datagrams {
            let mut datagram = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 0, 0, content.len() as u8];
            datagram.extend(content);
            end.handle(now, BytesMut::from(&datagram[..]));
            while end.poll_transmit().is_some() {}
            now += Duration::from_millis(40);
            end.handle_timeout(now);
        }
        prop_assert!(!end.is_connected());
    }

    #[test]
    fn changed_datagrams_do_not_end_an_association_that_is_connected(
        changes in prop::collection::vec((any::<usize>(), any::<usize>(), any::<u8>(), any::<bool>()), 1..100),
    ) {
        let mut path = Path::new(&[identity(), identity()], 0.1, 5);
        path.run().unwrap();
        let genuine = std::mem::take(&mut path.seen);
        for (which, at, byte, cut) in changes {
            let (to, mut datagram) = genuine[which % genuine.len()].clone();
            let at = at % datagram.len();
            if datagram[at] == byte {
                continue;
            }
            datagram[at] = byte;
            if cut {
                datagram.truncate(at);
            }
            path.ends[to].handle(path.now, datagram);
            path.step();
        }
        prop_assert!(path.ends.iter().all(Association::is_connected));
    }
}
