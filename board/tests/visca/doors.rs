//! The ways to the camera: datagrams with numbers, TCP, and a serial port.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::camera::{Camera, Said};

/// How often a door looks whether it shall close.
const TICK: Duration = Duration::from_millis(10);

/// What happens to datagrams on the way, and to bytes of a serial port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    #[default]
    Good,
    /// Every second one to the camera is lost.
    LosesRequests,
    /// Every second one from the camera is lost.
    LosesReplies,
    /// The last of what the camera says comes first, and twice.
    Reorders,
    /// Nothing arrives.
    Cut,
}

/// What tests see and change.
pub(crate) struct Inside {
    pub(crate) camera: Camera,
    pub(crate) way: Way,
    /// Everything that was sent to the camera, lost or not: its payload type, number and packet.
    pub(crate) sent: Vec<(u16, u32, Vec<u8>)>,
    /// The greatest number that the camera has seen.
    pub(crate) number: u32,
    /// What the camera says by itself.
    pub(crate) to_say: Said,
    /// Ends the TCP connection.
    pub(crate) hangs_up: bool,
    pub(crate) connections: usize,
    /// Datagrams, to lose every second one.
    pub(crate) counted: usize,
}

/// A camera behind a door. It goes away when dropped.
pub(crate) struct Door {
    /// The key of `[camera_controls]` that leads there.
    pub(crate) key: String,
    inside: Arc<Mutex<Inside>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Door {
    fn open(key: String, unit: u8, serve: impl FnOnce(&Mutex<Inside>, &AtomicBool) + Send + 'static) -> Self {
        let inside = Arc::new(Mutex::new(Inside {
            camera: Camera::new(unit),
            way: Way::Good,
            sent: Vec::new(),
            number: 0,
            to_say: Vec::new(),
            hangs_up: false,
            connections: 0,
            counted: 0,
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (inside, stop) = (inside.clone(), stop.clone());
            move || serve(&inside, &stop)
        });
        Self { key, inside, stop, thread: Some(thread) }
    }

    pub(crate) fn look(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock()
    }

    /// The camera comes to where it was told to go, and says so.
    pub(crate) fn arrive(&self) {
        let mut inside = self.look();
        let said = inside.camera.arrive();
        inside.to_say.extend(said);
    }

    /// Waits until it is so inside.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Inside) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so(&self.look()) {
            assert!(Instant::now() < deadline, "never: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// VISCA over IP.
    pub(crate) fn datagrams() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(TICK)).unwrap();
        let key = format!("address = \"{}\"", socket.local_addr().unwrap());
        Self::open(key, 1, move |inside, stop| {
            let mut controller = None;
            while !stop.load(Ordering::Acquire) {
                let mut buffer = [0; 64];
                let heard = socket.recv_from(&mut buffer);
                let mut inside = inside.lock();
                let mut said = std::mem::take(&mut inside.to_say);
                if let Ok((length, from)) = heard {
                    controller = Some(from);
                    said.extend(inside.datagram(&buffer[..length]));
                }
                let said = inside.on_the_way(said);
                if let Some(controller) = controller {
                    send(&socket, controller, &said);
                }
            }
        })
    }

    /// Packets in a TCP connection.
    pub(crate) fn tcp() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let key = format!("tcp = \"{}\"", listener.local_addr().unwrap());
        Self::open(key, 1, move |inside, stop| {
            while !stop.load(Ordering::Acquire) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(TICK);
                    continue;
                };
                stream.set_nonblocking(true).unwrap();
                stream.set_nodelay(true).unwrap();
                inside.lock().connections += 1;
                serve_bytes(stream, inside, stop);
            }
        })
    }

    /// A serial port with a camera that has no address yet.
    pub(crate) fn serial() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let key = format!("serial = \"{path}\"");
        // While nobody has it open, reading the other end is an error.
        let kept_open = File::options().read(true).write(true).open(&path).unwrap();
        let flags = rustix::fs::fcntl_getfl(&master).unwrap() | rustix::fs::OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&master, flags).unwrap();
        Self::open(key, 0, move |inside, stop| {
            serve_bytes(File::from(master), inside, stop);
            drop(kept_open);
        })
    }
}

impl Inside {
    /// A datagram comes; what the camera says to it.
    fn datagram(&mut self, datagram: &[u8]) -> Said {
        let payload = u16::from_be_bytes([datagram[0], datagram[1]]);
        let length = usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
        let number = u32::from_be_bytes([datagram[4], datagram[5], datagram[6], datagram[7]]);
        let packet = datagram[8..].to_vec();
        assert_eq!(packet.len(), length, "{datagram:x?}");
        self.sent.push((payload, number, packet.clone()));
        let is_lost = match self.way {
            Way::Cut => true,
            Way::LosesRequests => self.every_second(),
            _ => false,
        };
        if is_lost {
            return Vec::new();
        }
        match payload {
            0x0200 if packet == [0x01] => {
                self.number = 0;
                vec![(number, vec![0x01])]
            }
            0x0100 | 0x0110 if number <= self.number => vec![(number, vec![0x0F, 0x01])],
            0x0100 | 0x0110 => {
                self.number = number;
                assert_eq!(payload == 0x0110, packet[1] == 0x09, "{packet:x?}");
                self.camera.hear(number, &packet)
            }
            _ => vec![(number, vec![0x0F, 0x02])],
        }
    }

    fn every_second(&mut self) -> bool {
        self.counted += 1;
        self.counted.is_multiple_of(2)
    }

    fn on_the_way(&mut self, mut said: Said) -> Said {
        match self.way {
            Way::Cut => said.clear(),
            Way::LosesReplies => said.retain(|_| !self.every_second()),
            Way::Reorders => {
                said.reverse();
                said.extend(said.clone());
            }
            Way::Good | Way::LosesRequests => {}
        }
        said
    }
}

fn send(socket: &UdpSocket, controller: SocketAddr, said: &Said) {
    for (number, packet) in said {
        let payload: u16 = if packet.last() == Some(&0xFF) { 0x0111 } else { 0x0201 };
        let mut datagram = payload.to_be_bytes().to_vec();
        datagram.extend((packet.len() as u16).to_be_bytes());
        datagram.extend(number.to_be_bytes());
        datagram.extend(packet);
        // Whoever is not there any more does not hear it.
        let _ = socket.send_to(&datagram, controller);
    }
}

fn serve_bytes(mut port: impl Read + Write, inside: &Mutex<Inside>, stop: &AtomicBool) {
    let mut packet = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let mut byte = [0];
        let heard = port.read(&mut byte);
        let mut inside = inside.lock();
        if std::mem::take(&mut inside.hangs_up) {
            return;
        }
        let mut said = std::mem::take(&mut inside.to_say);
        match &heard {
            Ok(0) => return,
            Ok(_) => {
                packet.push(byte[0]);
                if byte == [0xFF] {
                    let packet = std::mem::take(&mut packet);
                    inside.sent.push((0, 0, packet.clone()));
                    if inside.way != Way::Cut {
                        said.extend(inside.camera.hear(0, &packet));
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        for (_, packet) in said {
            if port.write_all(&packet).is_err() {
                return;
            }
        }
        drop(inside);
        if heard.is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
