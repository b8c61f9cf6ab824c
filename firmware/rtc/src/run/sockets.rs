//! The media sockets of the terminal.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    task::Poll,
};

use bytes::BytesMut;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::net::UdpSocket;

use crate::{NetworkOptions, peer::Transmit, stay::Link};

/// Asked of the kernel for each direction: a quarter of a second of 30 Mbit/s.
const BUFFER: usize = 1 << 20;
/// Largest datagram that is read.
const DATAGRAM: usize = 2048;

struct Socket {
    link: Link,
    /// Receives.
    socket: UdpSocket,
    /// The same, to send: the runtime's own would say "not ready" before its first turn.
    sender: std::net::UdpSocket,
    /// Addresses that this socket is offered under.
    candidates: Vec<SocketAddr>,
}

/// All media sockets of a stay.
pub(super) struct Sockets {
    sockets: Vec<Socket>,
    buffer: BytesMut,
}

impl Sockets {
    /// Binds what `options` says, or else lets the operating system route: one socket an address family and
    /// connection. `service` are the addresses of the signalling, which tell which way media will most likely go.
    pub(super) fn bind(options: &NetworkOptions, service: &[SocketAddr], two: bool) -> io::Result<Self> {
        let links: &[Link] = if two { &[Link::Publisher, Link::Subscriber] } else { &[Link::Publisher] };
        let mut sockets = Vec::new();
        let mut failure = None;
        for link in links {
            for (bind, addresses) in plan(options, service) {
                match open(*link, bind, &addresses) {
                    Ok(socket) => sockets.push(socket),
                    Err(error) => failure = Some(error),
                }
            }
        }
        let complete = links.iter().all(|link| sockets.iter().any(|s| s.link == *link));
        match failure {
            Some(error) if !complete => Err(error),
            _ if !complete => Err(io::Error::other("no network")),
            _ => Ok(Self { sockets, buffer: BytesMut::new() }),
        }
    }

    /// The addresses to offer on a connection.
    pub(super) fn candidates(&self, link: Link) -> Vec<SocketAddr> {
        self.sockets.iter().filter(|s| s.link == link).flat_map(|s| s.candidates.iter().copied()).collect()
    }

    /// Waits until something can be read. May be dropped and called again.
    pub(super) async fn readable(&self) {
        poll_fn(|context| {
            let ready = self.sockets.iter().any(|s| s.socket.poll_recv_ready(context).is_ready());
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Reads up to `most` datagrams of each socket.
    pub(super) fn receive(
        &mut self,
        most: usize,
        mut take: impl FnMut(Link, SocketAddr, SocketAddr, BytesMut),
    ) {
        for socket in &self.sockets {
            for _ in 0..most {
                self.buffer.clear();
                self.buffer.reserve(DATAGRAM);
                // An error is about an earlier datagram (ICMP); the next read is about the next one.
                let Ok((_, from)) = socket.socket.try_recv_buf_from(&mut self.buffer) else { break };
                take(socket.link, socket.candidate(from), from, self.buffer.split());
            }
        }
    }

    /// Sends a datagram; what the kernel has no room for is lost, as on the way.
    pub(super) fn send(&self, link: Link, transmit: &Transmit) {
        let socket = self.sockets.iter().find(|s| s.link == link && s.candidates.contains(&transmit.from));
        if let Some(socket) = socket {
            let _ = socket.sender.send_to(&transmit.bytes, transmit.to);
        }
    }
}

impl Socket {
    /// Which of our addresses a datagram from there came to.
    fn candidate(&self, from: SocketAddr) -> SocketAddr {
        let same = self.candidates.iter().find(|c| c.ip().is_loopback() == from.ip().is_loopback());
        *same.unwrap_or(&self.candidates[0])
    }
}

/// What to bind, and which addresses to offer for it.
fn plan(options: &NetworkOptions, service: &[SocketAddr]) -> Vec<(IpAddr, Vec<IpAddr>)> {
    if !options.bind.is_empty() {
        return options.bind.iter().map(|ip| (*ip, vec![*ip])).collect();
    }
    let mut out = Vec::new();
    // Addresses for documentation (RFC 5737, RFC 3849): nothing is sent, only the route is looked up.
    let far_v4 = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9));
    let far_v6 = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9));
    for (any, far) in
        [(IpAddr::from(Ipv4Addr::UNSPECIFIED), far_v4), (IpAddr::from(Ipv6Addr::UNSPECIFIED), far_v6)]
    {
        let near = service.iter().copied().filter(|s| s.is_ipv4() == any.is_ipv4());
        let mut addresses: Vec<IpAddr> = Vec::new();
        for to in near.chain([far]) {
            if let Some(ip) = source(any, to)
                && !addresses.contains(&ip)
            {
                addresses.push(ip);
            }
        }
        let loopback =
            if any.is_ipv4() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
        if options.include_loopback && !addresses.contains(&loopback) {
            addresses.push(loopback);
        }
        if !addresses.is_empty() {
            out.push((any, addresses));
        }
    }
    out
}

/// The address that the operating system would send from.
fn source(any: IpAddr, to: SocketAddr) -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

fn open(link: Link, bind: IpAddr, addresses: &[IpAddr]) -> io::Result<Socket> {
    let domain = Domain::for_address(SocketAddr::new(bind, 0));
    let socket = RawSocket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if bind.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel gives what it allows.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(bind, 0).into())?;
    let sender = std::net::UdpSocket::from(socket);
    let socket = UdpSocket::from_std(sender.try_clone()?)?;
    let port = socket.local_addr()?.port();
    let candidates = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
    Ok(Socket { link, socket, sender, candidates })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_service_on_this_machine_is_reached_by_loopback() {
        let service = ["127.0.0.1:7880".parse().unwrap()];
        let sockets = Sockets::bind(&NetworkOptions::default(), &service, true).unwrap();
        for link in [Link::Publisher, Link::Subscriber] {
            assert!(sockets.candidates(link)[0].ip().is_loopback());
        }
        assert_ne!(sockets.candidates(Link::Publisher), sockets.candidates(Link::Subscriber));
    }

    #[tokio::test]
    async fn what_is_sent_arrives_at_the_address_that_was_offered() {
        let options = NetworkOptions { bind: vec![Ipv4Addr::LOCALHOST.into()], include_loopback: false };
        let mut sockets = Sockets::bind(&options, &[], true).unwrap();
        let from = sockets.candidates(Link::Publisher)[0];
        let to = sockets.candidates(Link::Subscriber)[0];
        sockets.send(Link::Publisher, &Transmit { from, to, bytes: BytesMut::from(&b"hi"[..]) });
        let mut got = None;
        while got.is_none() {
            sockets.readable().await;
            sockets.receive(8, |link, to, from, bytes| got = Some((link, to, from, bytes)));
        }
        assert_eq!(got.unwrap(), (Link::Subscriber, to, from, BytesMut::from(&b"hi"[..])));
    }

    #[test]
    fn an_address_that_is_not_ours_is_an_error() {
        let options =
            NetworkOptions { bind: vec![Ipv4Addr::new(192, 0, 2, 7).into()], include_loopback: false };
        assert!(Sockets::bind(&options, &[], false).is_err());
    }
}
