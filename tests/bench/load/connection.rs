//! One peer connection of `str0m` on a socket of its own.

use std::{
    io::IoSliceMut,
    net::{SocketAddr, UdpSocket as StdUdpSocket},
    os::fd::AsRawFd,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
    },
    sys::time::TimeSpec,
};
use socket2::{Domain, Socket, Type};
use str0m::{
    Candidate, Event, Input, Output, Rtc,
    media::{Mid, Pt},
    net::{Protocol, Receive},
};
use tokio::{io::Interest, net::UdpSocket};

/// What is asked of a socket's buffers: nothing is lost while the generator is busy.
const SOCKET_BUFFER: usize = 2 << 20;
/// Longer than any datagram on its way to a client.
const MAX_DATAGRAM: usize = 2048;

/// A peer connection.
pub(crate) struct Connection {
    pub(crate) rtc: Rtc,
    /// When [`Connection::timeout`] wants to be called.
    pub(crate) due: Instant,
    socket: UdpSocket,
    /// The same socket: it sends without asking the runtime whether it may.
    sender: StdUdpSocket,
    address: SocketAddr,
    /// Candidates that came before the description.
    early: Vec<Candidate>,
    described: bool,
}

impl Connection {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        // The system may give less.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        let sender: StdUdpSocket = socket.into();
        setsockopt(&sender, ReceiveTimestampns, &true)?;
        let address = sender.local_addr()?;
        let socket = UdpSocket::from_std(sender.try_clone()?)?;
        let now = Instant::now();
        let mut rtc = Rtc::builder()
            .set_crypto_provider(Arc::new(str0m_rust_crypto::default_provider()))
            .clear_codecs()
            .enable_opus(true, false)
            .enable_h264(true)
            .set_rtp_mode(true)
            .build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp")?);
        let (early, described) = (Vec::new(), false);
        Ok(Self { rtc, due: now, socket, sender, address, early, described })
    }

    /// Waits until a datagram is there.
    pub(crate) async fn readable(&self) -> std::io::Result<()> {
        self.socket.readable().await
    }

    /// Takes all datagrams that are there. `on` gets what they bring about, and when the system took each from the
    /// network: what waits for us here is not the server's delay.
    pub(crate) fn receive(&mut self, on: &mut dyn FnMut(Instant, Event)) -> anyhow::Result<()> {
        let mut buffer = [0; MAX_DATAGRAM];
        loop {
            let read = self.socket.try_io(Interest::READABLE, || Ok(receive(&self.sender, &mut buffer)?));
            let (length, from, arrived) = match read {
                Ok(received) => received,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                // A server that is stopping: what it says on its socket counts.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error.into()),
            };
            let now = Instant::now();
            // What is no packet of ours is not for us.
            let Ok(receive) = Receive::new(Protocol::Udp, from, self.address, &buffer[..length]) else {
                continue;
            };
            self.rtc.handle_input(Input::Receive(now, receive))?;
            self.poll(now, &mut |_, event| on(arrived, event))?;
        }
    }

    /// Lets time pass; also after something was written.
    pub(crate) fn timeout(&mut self, now: Instant, on: &mut dyn FnMut(Instant, Event)) -> anyhow::Result<()> {
        self.rtc.handle_input(Input::Timeout(now))?;
        self.poll(now, on)
    }

    fn poll(&mut self, now: Instant, on: &mut dyn FnMut(Instant, Event)) -> anyhow::Result<()> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    // It may want to be called at once again and again: others have to live too.
                    self.due = at.max(now + Duration::from_micros(500));
                    return Ok(());
                }
                // A full socket loses the datagram, as a full network does.
                Output::Transmit(transmit) => {
                    let _ = self.sender.send_to(&transmit.contents, transmit.destination);
                }
                Output::Event(event) => on(now, event),
            }
        }
    }

    /// A candidate of the other side, as signalling carries it: JSON.
    pub(crate) fn add_candidate(&mut self, init: &str) -> anyhow::Result<()> {
        let init: serde_json::Value = serde_json::from_str(init)?;
        let line = init["candidate"].as_str().context("a candidate without its line")?;
        // Candidates of a kind that is not for us (TCP) are passed over.
        if let Ok(candidate) = Candidate::from_sdp_string(line) {
            match self.described {
                true => self.rtc.add_remote_candidate(candidate),
                false => self.early.push(candidate),
            }
            self.due = Instant::now();
        }
        Ok(())
    }

    /// The other side's description has been taken: there is something to do at once.
    pub(crate) fn described(&mut self) {
        self.described = true;
        self.due = Instant::now();
        for candidate in self.early.drain(..) {
            self.rtc.add_remote_candidate(candidate);
        }
    }

    /// The payload type of what we send in a section: H.264 in packetization mode 1, or Opus.
    pub(crate) fn payload_type(&self, mid: Mid) -> Option<Pt> {
        let agreed = self.rtc.media(mid)?.remote_pts();
        let config = self.rtc.codec_config();
        let fits = |params: &str0m::format::PayloadParams| {
            let mode = params.spec().format.packetization_mode;
            agreed.contains(&params.pt()) && (params.spec().codec.is_audio() || mode == Some(1))
        };
        config.find(fits).map(str0m::format::PayloadParams::pt)
    }
}

/// Reads a datagram: its length, where it comes from, and when the system took it from the network.
fn receive(socket: &StdUdpSocket, buffer: &mut [u8]) -> Result<(usize, SocketAddr, Instant), Errno> {
    let mut room = cmsg_space!(TimeSpec);
    let mut pieces = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut pieces, Some(&mut room), MsgFlags::MSG_DONTWAIT)?;
    let stamps = message.cmsgs()?.filter_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
        _ => None,
    });
    let age = stamps.last().and_then(|at| SystemTime::now().duration_since(UNIX_EPOCH + at).ok());
    let now = Instant::now();
    let arrived = age.and_then(|age| now.checked_sub(age)).unwrap_or(now);
    let from = message.address.ok_or(Errno::EINVAL)?;
    Ok((message.bytes, SocketAddr::from((from.ip(), from.port())), arrived))
}
