//! The way to a camera: datagrams with numbers, a TCP connection, or a serial port. Asks one thing at a time
//! and waits for its answer; opens again what broke.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket},
    ops::RangeInclusive,
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    datagram::{Datagram, Payload, RESET},
    message::{ADDRESS_SET, Answer, Command, Malformed, Refusal, Reply, Request, Splitter, Unit},
    serial,
};

/// A datagram without an answer is sent again after this. A camera answers within a few pictures.
const TRY: Duration = Duration::from_millis(375);
/// Pause before a camera that is busy with two commands is told a third.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// So often a camera may dislike the number of one request.
const MAX_NUMBER_ERRORS: u32 = 4;
/// Packets that are put aside before a request.
const MAX_UNREAD: usize = 64;
/// Bytes in which there must be a packet.
const MAX_NOISE: usize = 1024;

/// Where a camera is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// VISCA over IP, `host:port`.
    Udp(String),
    /// Packets as on a serial port, `host:port`.
    Tcp(String),
    Serial {
        path: PathBuf,
        baud: u32,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(host) => write!(f, "{host}"),
            Self::Tcp(host) => write!(f, "{host} (TCP)"),
            Self::Serial { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

/// How long to wait for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// 1.5 s: a datagram is sent up to four times.
    Full,
    /// Half of that, to see whether a camera is back.
    Probe,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The camera is silent, or restarted on the way.
    #[error("it does not answer")]
    Silent,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

impl LinkError {
    /// The camera did answer.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Malformed(_))
    }
}

type Result<T> = std::result::Result<T, LinkError>;

/// The way to one camera.
pub(super) struct Link {
    address: Address,
    unit: Unit,
    transport: Option<Transport>,
}

enum Transport {
    Datagrams(Datagrams),
    Stream(Stream),
}

impl Link {
    pub(super) fn new(address: Address, unit: Unit) -> Self {
        Self { address, unit, transport: None }
    }

    /// Asks and waits: until a command is accepted (`None`; its execution goes on), or an inquiry answered.
    pub(super) fn ask(&mut self, request: Request, patience: Patience) -> Result<Option<Answer>> {
        let tries = match patience {
            Patience::Full => 4,
            Patience::Probe => 2,
        };
        let begun = Instant::now();
        let deadline = begun + TRY * tries;
        let mut may_reopen = self.transport.is_some();
        loop {
            // What breaks may be an old connection, so there is time left for a new one.
            let until = if may_reopen { begun + TRY * tries / 2 } else { deadline };
            match self.ask_once(request, until, deadline) {
                Err(LinkError::Refused(Refusal::BufferFull)) if Instant::now() + BUSY_PAUSE < deadline => {
                    std::thread::sleep(BUSY_PAUSE);
                }
                Err(error) if !error.is_answer() => {
                    let was_datagrams = matches!(self.transport, Some(Transport::Datagrams(_)));
                    self.transport = None;
                    let spent = was_datagrams && matches!(error, LinkError::Silent);
                    if !std::mem::take(&mut may_reopen) || spent {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    fn ask_once(&mut self, request: Request, until: Instant, deadline: Instant) -> Result<Option<Answer>> {
        let transport = match &mut self.transport {
            Some(transport) => transport,
            closed => closed.insert(Transport::open(&self.address, self.unit, deadline)?),
        };
        match transport {
            // A socket does not grow old.
            Transport::Datagrams(datagrams) => datagrams.ask(request, self.unit, deadline),
            Transport::Stream(stream) => stream.ask(request, self.unit, until),
        }
    }
}

impl Transport {
    fn open(address: &Address, unit: Unit, deadline: Instant) -> Result<Self> {
        match address {
            Address::Udp(host) => Ok(Self::Datagrams(Datagrams::open(resolve(host)?)?)),
            Address::Tcp(host) => {
                let stream = TcpStream::connect_timeout(&resolve(host)?, left(deadline))?;
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(TRY))?;
                Ok(Self::Stream(Stream::new(Port::Tcp(stream))))
            }
            Address::Serial { path, baud } => {
                let mut stream = Stream::new(Port::Serial(serial::open(path, *baud)?));
                stream.greet(unit, deadline)?;
                Ok(Self::Stream(stream))
            }
        }
    }
}

fn resolve(host: &str) -> io::Result<SocketAddr> {
    let none = || io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    host.to_socket_addrs()?.next().ok_or_else(none)
}

/// Time left, not 0, which would be none or forever.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// What a reply says to whoever waits for `request`; `None` when it is not for them.
fn outcome(request: Request, reply: Reply, open: &mut Sockets) -> Option<Result<Option<Answer>>> {
    match (request, reply) {
        (Request::Command(_), Reply::Ack { socket }) => {
            open.insert(socket);
            Some(Ok(None))
        }
        (_, Reply::Ack { socket }) => {
            open.insert(socket);
            None
        }
        // The end of what was accepted before; otherwise a camera that does not say that it accepts.
        (Request::Command(_), Reply::Completion { socket, .. }) => (!open.remove(socket)).then_some(Ok(None)),
        (Request::Inquiry(inquiry), Reply::Completion { socket, data }) => {
            if data.is_empty() {
                open.remove(socket);
                return None;
            }
            Some(inquiry.answer(&data).map(Some).map_err(LinkError::from))
        }
        // What is not understood has no socket; what fails later has that of its acceptance.
        (_, Reply::Refused { socket, .. }) if socket != 0 && open.remove(socket) => None,
        (_, Reply::Refused { refusal, .. }) => Some(Err(LinkError::Refused(refusal))),
        (_, Reply::NetworkChange) => Some(Err(LinkError::Silent)),
        (_, Reply::Addresses) => None,
    }
}

/// Sockets in which the camera executes commands.
#[derive(Debug, Default)]
struct Sockets(u16);

impl Sockets {
    fn insert(&mut self, socket: u8) {
        self.0 |= 1 << (socket & 0x0F);
    }

    /// Whether it was there.
    fn remove(&mut self, socket: u8) -> bool {
        let bit = 1 << (socket & 0x0F);
        let was = self.0 & bit != 0;
        self.0 &= !bit;
        was
    }
}

/// VISCA over IP. Numbers tell which reply belongs to what, so nothing late is taken for an answer.
struct Datagrams {
    socket: UdpSocket,
    number: u32,
    /// The camera has taken a number since they began.
    is_in_step: bool,
}

impl Datagrams {
    fn open(camera: SocketAddr) -> Result<Self> {
        let any: SocketAddr = match camera {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(camera)?;
        let mut datagrams = Self { socket, number: 0, is_in_step: false };
        datagrams.reset()?;
        Ok(datagrams)
    }

    /// Numbers begin again. Nobody waits for the reply: when this is lost, the next number is an error, and
    /// some cameras that are not Sony's do not know it.
    fn reset(&mut self) -> Result<()> {
        self.number = 0;
        self.is_in_step = false;
        let reset = Datagram { payload: Payload::Control, number: 0, bytes: &RESET };
        self.socket.send(&reset.encode())?;
        Ok(())
    }

    fn ask(&mut self, request: Request, unit: Unit, deadline: Instant) -> Result<Option<Answer>> {
        let packet = request.encode(unit);
        let payload = match request {
            Request::Command(_) => Payload::Command,
            Request::Inquiry(_) => Payload::Inquiry,
        };
        let mut numbers = self.next_number();
        let (mut sent, mut errors) = (0, 0);
        while Instant::now() < deadline && errors < MAX_NUMBER_ERRORS {
            self.socket.send(&Datagram { payload, number: self.number, bytes: &packet }.encode())?;
            sent += 1;
            match self.answer(request, unit, &numbers, deadline.min(Instant::now() + TRY))? {
                Heard::Answer(answer) => {
                    self.is_in_step = true;
                    return answer;
                }
                // By its number the camera knows a command that it has; what is asked can be asked anew.
                Heard::Nothing => {
                    if payload == Payload::Inquiry {
                        numbers = *numbers.start()..=*self.next_number().end();
                    }
                }
                Heard::NumberError => {
                    // It has an earlier one of these, and what is lost is that it accepted it: a refusal would
                    // come again.
                    if sent > 1 && payload == Payload::Command && self.is_in_step {
                        return Ok(None);
                    }
                    errors += 1;
                    self.reset()?;
                    numbers = self.next_number();
                    sent = 0;
                }
            }
        }
        Err(LinkError::Silent)
    }

    /// Numbers the next message, and gives the numbers of which the replies belong to it.
    fn next_number(&mut self) -> RangeInclusive<u32> {
        // Some 100 years of commands; then the camera says that it waits for another.
        self.number = self.number.wrapping_add(1);
        self.number..=self.number
    }

    fn answer(
        &self,
        request: Request,
        unit: Unit,
        numbers: &RangeInclusive<u32>,
        until: Instant,
    ) -> Result<Heard> {
        let mut buffer = [0; 64];
        while Instant::now() < until {
            self.socket.set_read_timeout(Some(left(until)))?;
            let length = match self.socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if is_timeout(&error) => return Ok(Heard::Nothing),
                Err(error) => return Err(error.into()),
            };
            let Some(datagram) = Datagram::parse(&buffer[..length]) else { continue };
            if datagram.number == self.number && datagram.is_number_error() {
                return Ok(Heard::NumberError);
            }
            if datagram.payload != Payload::Reply || !numbers.contains(&datagram.number) {
                continue;
            }
            let Ok((Some(from), reply)) = Reply::parse(datagram.bytes) else { continue };
            // No command but this one has its number.
            let answer = (from == unit).then(|| outcome(request, reply, &mut Sockets::default())).flatten();
            if let Some(answer) = answer {
                return Ok(Heard::Answer(answer));
            }
        }
        Ok(Heard::Nothing)
    }
}

enum Heard {
    Nothing,
    NumberError,
    Answer(Result<Option<Answer>>),
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

enum Port {
    Tcp(TcpStream),
    Serial(File),
}

/// Packets one after the other, without numbers: what was said before a request is not its answer.
struct Stream {
    port: Port,
    splitter: Splitter,
    open: Sockets,
}

impl Stream {
    fn new(port: Port) -> Self {
        Self { port, splitter: Splitter::default(), open: Sockets::default() }
    }

    /// What a chain of cameras wants to hear first.
    fn greet(&mut self, unit: Unit, deadline: Instant) -> Result<()> {
        self.write(&ADDRESS_SET)?;
        let until = deadline.min(Instant::now() + TRY / 2);
        // A camera whose address is set by a switch may be silent here.
        while !matches!(self.packet(until)?, None | Some((None, Reply::Addresses))) {}
        self.ask(Request::Command(Command::InterfaceClear), unit, deadline).map(drop)
    }

    fn ask(&mut self, request: Request, unit: Unit, until: Instant) -> Result<Option<Answer>> {
        // What was said before is no answer, but may be the end of an earlier command.
        for _ in 0..MAX_UNREAD {
            match self.packet(Instant::now())? {
                None => break,
                Some((_, Reply::NetworkChange)) => return Err(LinkError::Silent),
                Some((Some(from), Reply::Completion { socket, .. } | Reply::Refused { socket, .. }))
                    if from == unit =>
                {
                    self.open.remove(socket);
                }
                Some(_) => {}
            }
        }
        self.write(&request.encode(unit))?;
        while Instant::now() < until {
            let Some((from, reply)) = self.packet(until)? else { break };
            let for_us = from == Some(unit) || reply == Reply::NetworkChange;
            let answer = for_us.then(|| outcome(request, reply, &mut self.open)).flatten();
            if let Some(answer) = answer {
                return answer;
            }
        }
        Err(LinkError::Silent)
    }

    fn write(&mut self, packet: &[u8]) -> Result<()> {
        match &mut self.port {
            Port::Tcp(stream) => stream.write_all(packet)?,
            Port::Serial(port) => port.write_all(packet)?,
        }
        Ok(())
    }

    /// The next packet that VISCA knows; `None` when there is none until then.
    fn packet(&mut self, until: Instant) -> Result<Option<(Option<Unit>, Reply)>> {
        for _ in 0..MAX_NOISE {
            let Some(byte) = self.byte(until)? else { return Ok(None) };
            if let Some(reply) = self.splitter.push(byte).and_then(|packet| Reply::parse(&packet).ok()) {
                return Ok(Some(reply));
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "what is there does not speak VISCA").into())
    }

    fn byte(&mut self, until: Instant) -> Result<Option<u8>> {
        loop {
            let wait = until.saturating_duration_since(Instant::now());
            let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
            let ready = match &self.port {
                Port::Tcp(stream) => poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&wait)),
                Port::Serial(port) => poll(&mut [PollFd::new(port, PollFlags::IN)], Some(&wait)),
            };
            match ready {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        let mut byte = [0];
        match &mut self.port {
            Port::Tcp(stream) => stream.read_exact(&mut byte)?,
            Port::Serial(port) => port.read_exact(&mut byte)?,
        }
        Ok(Some(byte[0]))
    }
}
