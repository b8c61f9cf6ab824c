//! Media over TCP, for terminals whose network blocks UDP: connections that they open (ICE's passive candidates,
//! RFC 6544), with datagrams framed as RFC 4571 says.
//!
//! Each connection is a task of its own beside the media thread; queues with bounds are between them. A peer only
//! ever answers who proved by a connectivity check that it was told the password, so a connection that was sent
//! nothing belongs to nobody, and is closed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::doors::{Gate, Pass};
use crate::transport::{LocalSocket, RemoteAddress, framing};

/// Datagrams that may wait for the media thread, over all connections; they wait in their senders when there are more.
const INCOMING: usize = 1024;
/// Datagrams that may wait for one connection: some hundred milliseconds of a full room. More are lost, as on a full
/// network.
const OUTGOING: usize = 512;
/// A datagram that waited for longer is lost: newer ones are worth more.
const MAX_AGE: Duration = Duration::from_millis(800);
/// Bytes that wait in the system for being sent first. What waits there cannot be dropped.
const UNSENT: u32 = 32 * 1024;
/// What is written at once at most.
const WRITE: usize = 16 * 1024;
/// Nothing was said to it for so long: its peer is gone. Peers check their path every few seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// It took nothing for so long: it is gone.
const STUCK: Duration = Duration::from_secs(10);
/// How long to wait when the system gives no more sockets.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// What connections tell the media thread.
#[derive(Debug)]
enum FromTcp {
    Opened { id: u64, queue: mpsc::Sender<(Instant, BytesMut)> },
    Datagram { from: RemoteAddress, datagram: BytesMut },
    Closed { id: u64 },
}

/// The media thread's end of all connections.
#[derive(Debug)]
pub(crate) struct TcpPaths {
    events: mpsc::Receiver<FromTcp>,
    open: HashMap<u64, mpsc::Sender<(Instant, BytesMut)>>,
    /// Datagrams that a full queue did not take.
    pub(crate) dropped: u64,
}

/// What listens for connections.
#[derive(Debug)]
pub(crate) struct TcpDoor {
    listener: TcpListener,
    gate: Gate,
    /// How long a connection may take to its first valid connectivity check.
    check_timeout: Duration,
    events: mpsc::Sender<FromTcp>,
}

/// Both ends of media over TCP; without a listener nothing ever comes.
pub(crate) fn paths(
    listener: Option<TcpListener>,
    gate: Gate,
    check_timeout: Duration,
) -> (TcpPaths, Option<TcpDoor>) {
    let (sender, events) = mpsc::channel(INCOMING);
    let door = listener.map(|listener| TcpDoor { listener, gate, check_timeout, events: sender });
    (TcpPaths { events, open: HashMap::new(), dropped: 0 }, door)
}

impl TcpPaths {
    /// The next datagram. Waits for ever when nothing listens; may be dropped while it waits.
    pub(crate) async fn receive(&mut self) -> (RemoteAddress, BytesMut) {
        loop {
            match self.events.recv().await {
                Some(event) => {
                    if let Some(datagram) = self.take(event) {
                        return datagram;
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    /// The next datagram, when there is one already.
    pub(crate) fn try_receive(&mut self) -> Option<(RemoteAddress, BytesMut)> {
        while let Ok(event) = self.events.try_recv() {
            if let Some(datagram) = self.take(event) {
                return Some(datagram);
            }
        }
        None
    }

    fn take(&mut self, event: FromTcp) -> Option<(RemoteAddress, BytesMut)> {
        match event {
            FromTcp::Opened { id, queue } => {
                self.open.insert(id, queue);
            }
            FromTcp::Datagram { from, datagram } => return Some((from, datagram)),
            FromTcp::Closed { id } => {
                self.open.remove(&id);
            }
        }
        None
    }

    /// Sends a datagram on a connection. A full queue loses it, as a full network does.
    pub(crate) fn send(&mut self, now: Instant, id: u64, datagram: BytesMut) {
        if let Some(queue) = self.open.get(&id)
            && queue.try_send((now, datagram)).is_err()
        {
            self.dropped += 1;
        }
    }
}

impl TcpDoor {
    /// Lets connections in until `stop`, and then closes all.
    pub(crate) async fn serve(self, stop: CancellationToken) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let (stream, address) = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // The socket was gone before it was taken, or there are no more: both pass.
                        log::warn!(error:%; "a TCP connection for media was not accepted");
                        tokio::time::sleep(EXHAUSTED).await;
                        continue;
                    }
                },
                () = stop.cancelled() => break,
            };
            let pass = match self.gate.enter(address.ip()) {
                Ok(pass) => pass,
                Err(crowded) => {
                    // Nothing can be said on this socket: closing it is all.
                    log::warn!(reason:% = crowded; "a TCP connection for media is refused");
                    continue;
                }
            };
            let id = NEXT.fetch_add(1, Ordering::Relaxed);
            let connection =
                Connection { id, address, events: self.events.clone(), check_timeout: self.check_timeout };
            let stop = stop.clone();
            tokio::spawn(async move {
                stop.run_until_cancelled(connection.run(stream, pass)).await;
            });
        }
    }
}

struct Connection {
    id: u64,
    address: SocketAddr,
    events: mpsc::Sender<FromTcp>,
    check_timeout: Duration,
}

impl Connection {
    async fn run(self, stream: TcpStream, _pass: Pass) {
        // What the system does not know costs delay, and nothing else.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
        let (sender, queue) = mpsc::channel(OUTGOING);
        if self.events.send(FromTcp::Opened { id: self.id, queue: sender }).await.is_err() {
            return;
        }
        let (reading, writing) = stream.into_split();
        let why = tokio::select! {
            why = self.read(reading) => why,
            why = self.write(writing, queue) => why,
        };
        log::debug!(from:% = self.address, reason = why; "a TCP connection for media ended");
        // A media thread that ended knows.
        let _ = self.events.send(FromTcp::Closed { id: self.id }).await;
    }

    async fn read(&self, mut stream: OwnedReadHalf) -> &'static str {
        let from = RemoteAddress { socket: LocalSocket::Tcp(self.id), address: self.address };
        let mut buffer = BytesMut::with_capacity(8 * 1024);
        loop {
            loop {
                match framing::take_frame(&mut buffer) {
                    Ok(Some(datagram)) => {
                        if self.events.send(FromTcp::Datagram { from, datagram }).await.is_err() {
                            return "the service ends";
                        }
                    }
                    Ok(None) => break,
                    Err(_) => return "no datagrams",
                }
            }
            match stream.read_buf(&mut buffer).await {
                Ok(0) => return "closed by the remote",
                Ok(_) => {}
                Err(_) => return "broken",
            }
        }
    }

    async fn write(
        &self,
        mut stream: OwnedWriteHalf,
        mut queue: mpsc::Receiver<(Instant, BytesMut)>,
    ) -> &'static str {
        let mut bytes = BytesMut::with_capacity(WRITE);
        let mut wait = self.check_timeout;
        loop {
            let Ok(first) = timeout(wait, queue.recv()).await else {
                return if wait == SILENCE { "silent" } else { "no valid connectivity check in time" };
            };
            let Some(first) = first else { return "the service ends" };
            wait = SILENCE;
            let mut next = Some(first);
            while let Some((at, datagram)) = next {
                if at.elapsed() <= MAX_AGE {
                    framing::put_frame(&mut bytes, &datagram);
                }
                next = if bytes.len() < WRITE { queue.try_recv().ok() } else { None };
            }
            match timeout(STUCK, stream.write_all(&bytes)).await {
                Ok(Ok(())) => bytes.clear(),
                Ok(Err(_)) => return "broken",
                Err(_) => return "takes nothing",
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::doors::GateLimits;

    struct House {
        paths: TcpPaths,
        address: SocketAddr,
        stop: CancellationToken,
    }

    async fn house(check_timeout: Duration, per_address: usize) -> House {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Gate::new(GateLimits { sockets: 100, per_address });
        let (paths, door) = paths(Some(listener), gate, check_timeout);
        let stop = CancellationToken::new();
        tokio::spawn(door.unwrap().serve(stop.clone()));
        House { paths, address, stop }
    }

    impl House {
        async fn receive(&mut self) -> (u64, BytesMut) {
            let (from, datagram) = timeout(STUCK, self.paths.receive()).await.unwrap();
            let LocalSocket::Tcp(id) = from.socket else { panic!("{from}") };
            (id, datagram)
        }
    }

    async fn closes(stream: &mut TcpStream) -> bool {
        let mut rest = Vec::new();
        // A reset is an end too.
        timeout(STUCK, stream.read_to_end(&mut rest)).await.is_ok()
    }

    #[tokio::test]
    async fn datagrams_go_both_ways_and_the_end_is_the_end() {
        let mut house = house(Duration::from_secs(30), 10).await;
        let mut client = TcpStream::connect(house.address).await.unwrap();
        client.write_all(&[0, 3, 1, 2]).await.unwrap();
        client.write_all(&[3, 0, 1, 9]).await.unwrap();
        let (id, first) = house.receive().await;
        assert_eq!((&first[..], &house.receive().await.1[..]), (&[1, 2, 3][..], &[9][..]));
        house.paths.send(Instant::now(), id, BytesMut::from(&b"back"[..]));
        let mut back = [0; 6];
        client.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"\x00\x04back");
        house.stop.cancel();
        assert!(closes(&mut client).await);
    }

    #[tokio::test]
    async fn a_connection_that_nothing_is_said_to_is_closed_and_others_are_not() {
        let mut house = house(Duration::from_millis(700), 10).await;
        let mut stranger = TcpStream::connect(house.address).await.unwrap();
        stranger.write_all(&[0, 1, 77]).await.unwrap();
        let mut friend = TcpStream::connect(house.address).await.unwrap();
        friend.write_all(&[0, 1, 88]).await.unwrap();
        for _ in 0..2 {
            let (id, datagram) = house.receive().await;
            if datagram[0] == 88 {
                house.paths.send(Instant::now(), id, BytesMut::from(&b"answer"[..]));
            }
        }
        assert!(closes(&mut stranger).await);
        friend.write_all(&[0, 1, 89]).await.unwrap();
        assert_eq!(house.receive().await.1[0], 89);
    }

    #[tokio::test]
    async fn a_stream_of_something_else_is_closed_at_once() {
        let house = house(Duration::from_secs(30), 10).await;
        let mut client = TcpStream::connect(house.address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(closes(&mut client).await);
    }

    #[tokio::test]
    async fn an_address_has_so_many_connections_and_no_more() {
        let mut house = house(Duration::from_secs(30), 2).await;
        let mut clients = Vec::new();
        for _ in 0..2 {
            let mut client = TcpStream::connect(house.address).await.unwrap();
            client.write_all(&[0, 1, 1]).await.unwrap();
            house.receive().await;
            clients.push(client);
        }
        let mut third = TcpStream::connect(house.address).await.unwrap();
        assert!(closes(&mut third).await);
    }

    #[tokio::test]
    async fn who_does_not_read_loses_datagrams_and_holds_nobody_up() {
        let mut house = house(Duration::from_secs(30), 10).await;
        let mut client = TcpStream::connect(house.address).await.unwrap();
        client.write_all(&[0, 1, 1]).await.unwrap();
        let (id, _) = house.receive().await;
        let start = Instant::now();
        let datagram = BytesMut::from(&[5; 1200][..]);
        for _ in 0..40_000 {
            house.paths.send(Instant::now(), id, datagram.clone());
            tokio::task::yield_now().await;
        }
        assert!(house.paths.dropped > 1000, "{} of 48 MB were dropped", house.paths.dropped);
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    }
}
