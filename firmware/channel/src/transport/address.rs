//! Where a remote is, and by which of our sockets it is reached.

use std::fmt;
use std::net::SocketAddr;

/// One of the sockets that media comes and goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LocalSocket {
    /// An UDP socket, by its place in the caller's list.
    Udp(u16),
    /// A TCP connection of one remote (RFC 6544), by a number that is never used again.
    Tcp(u64),
}

impl LocalSocket {
    /// Whether it is a TCP connection: nothing is lost on the way, and what is late makes the rest late.
    pub fn is_tcp(self) -> bool {
        matches!(self, LocalSocket::Tcp(_))
    }
}

/// A remote's end of a path and ours: what a datagram came from, and where one goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemoteAddress {
    /// Our end.
    pub socket: LocalSocket,
    /// The remote's address and port.
    pub address: SocketAddr,
}

impl RemoteAddress {
    /// An address that is reached by our first UDP socket.
    pub fn udp(address: SocketAddr) -> RemoteAddress {
        RemoteAddress { socket: LocalSocket::Udp(0), address }
    }
}

/// An address under which remotes reach one of our sockets (RFC 8445 §5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Candidate {
    /// Of an UDP socket.
    Udp(SocketAddr),
    /// Where the remote opens a TCP connection to (RFC 6544: passive).
    Tcp(SocketAddr),
}

impl fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.socket.is_tcp() { "tcp" } else { "udp" };
        write!(f, "{protocol} {}", self.address)
    }
}
