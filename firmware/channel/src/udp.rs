//! A UDP socket that takes and gives many datagrams with one system call: reads come in batches (`recvmmsg`, UDP
//! GRO), and what goes to one address in one batch leaves as one (UDP GSO).

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use foldhash::fast::RandomState;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The longest datagram that is read: more than any path carries (RFC 8831 §5 and WebRTC's 1200).
const MAX_DATAGRAM: usize = 2048;
/// Addresses that are remembered between batches; more are forgotten.
const MAX_DESTINATIONS: usize = 4096;
/// Datagrams do not wait for longer in a socket that is read all the time.
const MAX_AGE: Duration = Duration::from_secs(1);
/// The longest batch to one address: what fits a datagram of IP.
const MAX_BATCH_BYTES: usize = 65_000;

/// A socket for media.
pub(crate) struct MediaSocket {
    /// Watched for what comes only: every datagram that left would wake us otherwise, to say that there is room again.
    socket: AsyncFd<UdpSocket>,
    state: UdpSocketState,
    /// Room for one batch of reads.
    buffer: Vec<u8>,
    piece: usize,
    queues: Vec<Queue>,
    by_address: HashMap<SocketAddr, usize, RandomState>,
    /// Queues with something in them, in the order in which they got it.
    filled: Vec<usize>,
    batch: Vec<u8>,
    /// Datagrams that the socket did not take.
    unsent: u64,
}

/// A datagram that was read.
pub(crate) struct Received {
    pub(crate) from: SocketAddr,
    /// When the system took it from the network, which on a busy machine is well before it was read.
    pub(crate) arrived: Instant,
    pub(crate) datagram: BytesMut,
}

/// The system's time of arrival, after 1970 by its clock, on the clock that everything is measured with.
fn arrival((now, now_by_clock): (Instant, SystemTime), stamp: Option<Duration>) -> Instant {
    let age = stamp.and_then(|stamp| now_by_clock.duration_since(UNIX_EPOCH + stamp).ok());
    // The clock may have been set meanwhile.
    age.filter(|age| *age < MAX_AGE).and_then(|age| now.checked_sub(age)).unwrap_or(now)
}

/// What waits for one address.
struct Queue {
    to: SocketAddr,
    datagrams: Vec<BytesMut>,
}

impl MediaSocket {
    /// Takes over a socket that does not block.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // Datagrams that the system put together are read as one.
        let piece = MAX_DATAGRAM.max(if state.gro_segments() > 1 { 65_536 } else { 0 });
        // Deprecated for types that could give another descriptor each time they are asked; this one has one.
        #[allow(deprecated)]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self {
            socket,
            buffer: vec![0; piece * BATCH_SIZE],
            piece,
            state,
            queues: Vec::new(),
            by_address: HashMap::default(),
            filled: Vec::new(),
            batch: Vec::with_capacity(MAX_BATCH_BYTES),
            unsent: 0,
        })
    }

    /// Waits until there is something to read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await?.retain_ready();
        Ok(())
    }

    /// Reads one batch behind what is in `into` already.
    pub(crate) fn receive(&mut self, into: &mut VecDeque<Received>) -> io::Result<()> {
        let mut pieces = self.buffer.chunks_mut(self.piece).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| pieces.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut messages = 0;
        let read = self.socket.try_io(Interest::READABLE, |socket| {
            messages = self.state.recv(UdpSockRef::from(socket), &mut slices, &mut metas)?;
            Ok(())
        });
        let clocks = (Instant::now(), SystemTime::now());
        for (slice, meta) in slices.iter().zip(&metas).take(messages) {
            for datagram in slice[..meta.len].chunks(meta.stride.max(1)) {
                if datagram.len() <= MAX_DATAGRAM {
                    let (from, datagram) = (meta.addr, BytesMut::from(datagram));
                    into.push_back(Received { from, arrived: arrival(clocks, meta.timestamp), datagram });
                }
            }
        }
        match read {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Lets a datagram leave with the next [`MediaSocket::flush`].
    pub(crate) fn push(&mut self, to: SocketAddr, datagram: BytesMut) {
        let at = match self.by_address.get(&to) {
            Some(at) => *at,
            None => {
                let at = self.queues.len();
                self.queues.push(Queue { to, datagrams: Vec::new() });
                self.by_address.insert(to, at);
                at
            }
        };
        if self.queues[at].datagrams.is_empty() {
            self.filled.push(at);
        }
        self.queues[at].datagrams.push(datagram);
    }

    /// Sends everything, in order for each address. A full socket loses what it does not take, as a full network
    /// does: waiting would delay everybody.
    pub(crate) fn flush(&mut self) {
        for at in std::mem::take(&mut self.filled) {
            let datagrams = std::mem::take(&mut self.queues[at].datagrams);
            let to = self.queues[at].to;
            let mut rest = &datagrams[..];
            while !rest.is_empty() {
                let run = run_length(rest, self.state.max_gso_segments());
                self.send(to, &rest[..run]);
                rest = &rest[run..];
            }
            // The room is kept for the next batch.
            let mut datagrams = datagrams;
            datagrams.clear();
            self.queues[at].datagrams = datagrams;
        }
        if self.queues.len() > MAX_DESTINATIONS {
            self.queues.clear();
            self.by_address.clear();
        }
    }

    /// Sends datagrams of one length; the last may be shorter.
    fn send(&mut self, to: SocketAddr, datagrams: &[BytesMut]) {
        let sent = match datagrams {
            [] => return,
            [datagram] => self.transmit(to, datagram, None),
            [first, ..] => {
                let mut batch = std::mem::take(&mut self.batch);
                batch.clear();
                datagrams.iter().for_each(|datagram| batch.extend_from_slice(datagram));
                let sent = self.transmit(to, &batch, Some(first.len()));
                self.batch = batch;
                sent
            }
        };
        match sent {
            Ok(()) => {}
            Err(error) if datagrams.len() > 1 && error.kind() != io::ErrorKind::WouldBlock => {
                // A device that cannot do it: one by one.
                for datagram in datagrams {
                    self.send(to, std::slice::from_ref(datagram));
                }
            }
            Err(error) => {
                self.unsent += datagrams.len() as u64;
                log::trace!(error:%; "datagrams were not sent");
            }
        }
    }

    fn transmit(&self, to: SocketAddr, contents: &[u8], segment_size: Option<usize>) -> io::Result<()> {
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size, src_ip: None };
        // A full socket says so by itself: nobody waits for it to become writable.
        self.state.try_send(UdpSockRef::from(self.socket.get_ref()), &transmit)
    }

    /// How many datagrams the socket did not take.
    pub(crate) fn unsent(&self) -> u64 {
        self.unsent
    }
}

/// How many datagrams at the beginning can leave as one batch: all of one length but the last, which may be shorter.
fn run_length(datagrams: &[BytesMut], most: usize) -> usize {
    let Some(first) = datagrams.first().map(BytesMut::len) else { return 0 };
    let most = most.min(MAX_BATCH_BYTES / first.max(1)).max(1);
    let same = datagrams.iter().take(most).take_while(|datagram| datagram.len() == first).count();
    let shorter =
        datagrams.get(same).is_some_and(|next| same < most && !next.is_empty() && next.len() < first);
    same + usize::from(shorter)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn datagram(len: usize, fill: u8) -> BytesMut {
        BytesMut::from(&vec![fill; len][..])
    }

    #[test]
    fn a_run_has_one_length_and_perhaps_a_shorter_end() {
        let lengths =
            |lengths: &[usize]| -> Vec<BytesMut> { lengths.iter().map(|l| datagram(*l, 0)).collect() };
        assert_eq!(run_length(&lengths(&[]), 64), 0);
        assert_eq!(run_length(&lengths(&[900]), 64), 1);
        assert_eq!(run_length(&lengths(&[900, 900, 300, 900]), 64), 3);
        assert_eq!(run_length(&lengths(&[900, 900, 1000]), 64), 2);
        assert_eq!(run_length(&lengths(&[900, 900, 900]), 2), 2);
        assert_eq!(run_length(&lengths(&[900, 900, 300]), 1), 1, "where the system cannot do it");
    }

    proptest! {
        #[test]
        fn runs_cover_everything_in_order(lengths in prop::collection::vec(1usize..1500, 1..200), most in 1usize..70) {
            let datagrams: Vec<BytesMut> = lengths.iter().map(|l| datagram(*l, 0)).collect();
            let mut rest = &datagrams[..];
            while !rest.is_empty() {
                let run = run_length(rest, most);
                prop_assert!(run >= 1 && run <= most.max(1));
                prop_assert!(rest[..run].iter().map(|d| d.len()).sum::<usize>() <= 65_507);
                rest = &rest[run..];
            }
        }
    }

    #[tokio::test]
    async fn a_datagram_that_is_read_late_still_says_when_it_came() {
        let open = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (sender, socket) = (open(), open());
        socket.set_nonblocking(true).unwrap();
        let (to, mut receiver) = (socket.local_addr().unwrap(), MediaSocket::new(socket).unwrap());
        let before = Instant::now();
        sender.send_to(b"early", to).unwrap();
        let after = Instant::now();
        std::thread::sleep(Duration::from_millis(100));
        let mut got = VecDeque::new();
        while got.is_empty() {
            receiver.readable().await.unwrap();
            receiver.receive(&mut got).unwrap();
        }
        // The two clocks are read one after the other.
        let tolerance = Duration::from_millis(20);
        assert!(got[0].arrived + tolerance > before && got[0].arrived < after + tolerance);
    }

    #[test]
    fn a_clock_that_was_set_meanwhile_says_nothing() {
        let clocks = (Instant::now(), SystemTime::now());
        let unix = clocks.1.duration_since(UNIX_EPOCH).unwrap();
        let ten = Duration::from_millis(10);
        assert_eq!(arrival(clocks, Some(unix - ten)), clocks.0 - ten);
        for unusable in [None, Some(unix + ten), Some(unix - MAX_AGE), Some(Duration::ZERO)] {
            assert_eq!(arrival(clocks, unusable), clocks.0);
        }
    }

    #[tokio::test]
    async fn what_is_pushed_arrives_whole_and_in_order() {
        let open = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let (one, two, three) = (open(), open(), open());
        let addresses = [two.local_addr().unwrap(), three.local_addr().unwrap()];
        let mut sender = MediaSocket::new(one).unwrap();
        let mut receivers = [MediaSocket::new(two).unwrap(), MediaSocket::new(three).unwrap()];
        let lengths = [1000, 1000, 1000, 200, 1000, 40, 41, 1400];
        for (place, length) in lengths.into_iter().enumerate() {
            for address in addresses {
                sender.push(address, datagram(length, place as u8));
            }
        }
        sender.flush();
        assert_eq!(sender.unsent(), 0);
        for receiver in &mut receivers {
            let mut got = VecDeque::new();
            while got.len() < lengths.len() {
                receiver.readable().await.unwrap();
                receiver.receive(&mut got).unwrap();
            }
            let got: Vec<BytesMut> = got.into_iter().map(|received| received.datagram).collect();
            let expected: Vec<BytesMut> = lengths
                .into_iter()
                .enumerate()
                .map(|(place, length)| datagram(length, place as u8))
                .collect();
            assert_eq!(got, expected);
        }
    }
}
