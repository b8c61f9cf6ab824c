//! The thread that owns the media sockets and everything that packets touch.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;

use crate::error::ServiceError;
use crate::media_tcp::TcpPaths;
use crate::sfu::Sfu;
use crate::sfu::command::Command;
use crate::transport::{LocalSocket, RemoteAddress};
use crate::udp::{MediaSocket, Received};

/// What is asked of the socket's buffers: a few hundred milliseconds of a full room. The system may give less.
const SOCKET_BUFFER: usize = 4 << 20;
/// Commands handled before datagrams get their turn.
const BATCH: usize = 64;
/// Outgoing datagrams that are gathered before they are sent: enough to share system calls.
const TRANSMITS: usize = 256;
/// How long datagrams are gathered at most before what they led to is sent.
const GATHER: Duration = Duration::from_micros(500);
const WALL_CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// Opens the media socket. It does not block, and its buffers are large.
pub(crate) fn open_socket(address: SocketAddr) -> Result<std::net::UdpSocket, ServiceError> {
    let open = || -> io::Result<std::net::UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // The system's limit may be lower: what it gives is better than its default.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    open().map_err(|source| ServiceError::Media { address, source })
}

/// Time since 1970 by the system's clock.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Starts the thread. It ends when all senders of commands are gone.
pub(crate) fn start(
    sockets: Vec<std::net::UdpSocket>,
    tcp: TcpPaths,
    sfu: Sfu,
    commands: mpsc::Receiver<Command>,
) -> Result<std::thread::JoinHandle<()>, ServiceError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServiceError::Thread)?;
    let work = move || {
        runtime.block_on(async {
            let sockets = sockets.into_iter().map(MediaSocket::new).collect::<io::Result<Vec<_>>>();
            match sockets {
                Ok(sockets) => MediaThread { sockets, tcp, sfu, inbox: VecDeque::new() }.run(commands).await,
                Err(error) => {
                    log::error!(error:%; "the media socket cannot be watched; nothing is forwarded")
                }
            }
        });
    };
    std::thread::Builder::new().name("media".to_string()).spawn(work).map_err(ServiceError::Thread)
}

struct MediaThread {
    /// Their places are the numbers of [`LocalSocket::Udp`].
    sockets: Vec<MediaSocket>,
    tcp: TcpPaths,
    sfu: Sfu,
    /// One batch of datagrams; empty between batches.
    inbox: VecDeque<Received>,
}

impl MediaThread {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut wall_clock_at = Instant::now() + WALL_CLOCK_INTERVAL;
        loop {
            let timeout = self.sfu.poll_timeout();
            let wait = async {
                match timeout {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                readable = readable(&self.sockets) => match readable {
                    Ok(()) => self.receive(),
                    Err(error) => log::warn!(error:%; "media socket"),
                },
                datagram = self.tcp.receive() => self.receive_tcp(datagram),
                command = commands.recv() => {
                    let Some(command) = command else { break };
                    self.sfu.handle_command(Instant::now(), command);
                    for _ in 0..BATCH {
                        let Ok(command) = commands.try_recv() else { break };
                        self.sfu.handle_command(Instant::now(), command);
                    }
                }
                () = wait => {}
            }
            let now = Instant::now();
            if now >= wall_clock_at {
                wall_clock_at = now + WALL_CLOCK_INTERVAL;
                self.sfu.set_wall_clock(now, unix_time());
            }
            if self.sfu.poll_timeout().is_some_and(|at| at <= now) {
                self.sfu.handle_timeout(now);
            }
            self.transmit();
        }
        let counters = self.sfu.counters();
        log::debug!(
            forwarded = counters.packets_forwarded,
            resent = counters.packets_resent,
            unknown = counters.datagrams_unknown,
            unsent = self.sockets.iter().map(MediaSocket::unsent).sum::<u64>() + self.tcp.dropped;
            "media thread ends"
        );
    }

    /// Takes datagrams of each socket until there are none, or enough: the packets of a picture come one right after
    /// the other, and those that came while the first were handled leave together with them.
    fn receive(&mut self) {
        let began = Instant::now();
        for at in 0..self.sockets.len() {
            let socket = LocalSocket::Udp(at as u16);
            loop {
                // An error is an ICMP answer to an earlier datagram: the terminal is gone, and its timeout says so.
                if let Err(error) = self.sockets[at].receive(&mut self.inbox) {
                    log::debug!(error:%; "media socket");
                }
                let now = Instant::now();
                let nothing_more = self.inbox.is_empty();
                self.take(now, socket);
                if nothing_more || now.saturating_duration_since(began) > GATHER {
                    break;
                }
            }
        }
    }

    fn take(&mut self, now: Instant, socket: LocalSocket) {
        while let Some(Received { from: address, arrived, datagram }) = self.inbox.pop_front() {
            self.sfu.handle_datagram(now, arrived.min(now), RemoteAddress { socket, address }, datagram);
            // What came first does not wait until all of a large room's batch is forwarded.
            if self.sfu.transmits() >= TRANSMITS {
                self.transmit();
            }
        }
    }

    /// Takes a datagram of a TCP connection and those that came meanwhile.
    fn receive_tcp(&mut self, first: (RemoteAddress, BytesMut)) {
        let mut next = Some(first);
        let mut left = BATCH;
        while let Some((from, datagram)) = next {
            let now = Instant::now();
            self.sfu.handle_datagram(now, now, from, datagram);
            left -= 1;
            next = if left > 0 { self.tcp.try_receive() } else { None };
        }
    }

    fn transmit(&mut self) {
        while let Some((to, datagram)) = self.sfu.poll_transmit() {
            match to.socket {
                LocalSocket::Udp(at) => {
                    if let Some(socket) = self.sockets.get_mut(usize::from(at)) {
                        socket.push(to.address, datagram);
                    }
                }
                LocalSocket::Tcp(id) => self.tcp.send(Instant::now(), id, datagram),
            }
        }
        self.sockets.iter_mut().for_each(MediaSocket::flush);
    }
}

/// Waits until one of the sockets has something.
async fn readable(sockets: &[MediaSocket]) -> io::Result<()> {
    match sockets {
        [only] => only.readable().await,
        several => {
            let waits = several.iter().map(|socket| Box::pin(socket.readable()));
            futures_util::future::select_all(waits).await.0
        }
    }
}
