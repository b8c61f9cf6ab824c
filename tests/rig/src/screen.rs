//! The screens in front of the virtual graphics card, as a person there has them: plugged in, unplugged, looked at.
//!
//! QEMU offers each socket of its card by VNC ("The RFB Protocol", RFC 6143), and leads it to a serial port of the guest.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rostrum_hal::FrameSize;

use crate::until;

/// `O_NONBLOCK` of Linux: QEMU that says nothing is an error after a while, not a test that hangs.
const NONBLOCKING: i32 = 0o4000;
/// QEMU is away for a second between two sessions.
const MISSED: Duration = Duration::from_secs(4);
const VERSION: &[u8; 12] = b"RFB 003.008\n";
/// RFC 6143 §7.7.1.
const RAW: i32 = 0;
/// RFC 6143 §7.8.2: the picture has another size from now on.
const DESKTOP_SIZE: i32 = -223;
/// QEMU's answer to [`VirtualScreen::plug`], asked for or not (ExtendedDesktopSize of the community's description).
const EXTENDED_DESKTOP_SIZE: i32 = -308;

/// What a socket of the card gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels.
    pub size: FrameSize,
    /// Row after row, blue, green, red and nothing for each pixel.
    bytes: Vec<u8>,
}

impl Picture {
    /// Red, green and blue of the pixel at `x`, `y`; black outside.
    pub fn at(&self, x: u32, y: u32) -> [u8; 3] {
        let start = (y * self.size.width + x) as usize * 4;
        match self.bytes.get(start..start + 4) {
            Some(&[blue, green, red, _]) => [red, green, blue],
            _ => [0; 3],
        }
    }
}

/// One socket of the card.
pub struct VirtualScreen {
    port: File,
    picture: Picture,
}

impl VirtualScreen {
    /// The screen at socket `head` of the card, 0 or 1. Only one may be open for each.
    ///
    /// # Errors
    /// When the rig has none.
    pub fn at(head: u32) -> anyhow::Result<Self> {
        let path = port(&format!("screen-{head}"))?;
        let port = OpenOptions::new().read(true).write(true).custom_flags(NONBLOCKING).open(path)?;
        let mut screen = Self { port, picture: Picture { size: FrameSize::new(0, 0), bytes: Vec::new() } };
        screen.begin_anew()?;
        screen.shake_hands()?;
        Ok(screen)
    }

    /// Plugs in a screen whose preferred mode is `size`, or another in its place.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub fn plug(&mut self, size: FrameSize) -> anyhow::Result<()> {
        // SetDesktopSize of the community's RFB description, without a list of screens.
        let mut message = vec![251, 0];
        message.extend(u16::try_from(size.width)?.to_be_bytes());
        message.extend(u16::try_from(size.height)?.to_be_bytes());
        message.extend([0, 0]);
        self.send(&message)
    }

    /// Pulls the cable. The socket must have had a screen by [`VirtualScreen::plug`].
    ///
    /// # Errors
    /// As [`VirtualScreen::plug`].
    pub fn unplug(&mut self) -> anyhow::Result<()> {
        self.plug(FrameSize::new(0, 0))
    }

    /// What it shows now; a text of QEMU's while the socket gives no picture.
    ///
    /// # Errors
    /// When QEMU says what it should not.
    pub fn picture(&mut self) -> anyhow::Result<Picture> {
        // What comes first may be of a size that changes, without the picture.
        for _ in 0..8 {
            let (width, height) = (self.picture.size.width as u16, self.picture.size.height as u16);
            let mut request = vec![3, 0, 0, 0, 0, 0];
            request.extend(width.to_be_bytes());
            request.extend(height.to_be_bytes());
            self.send(&request)?;
            if self.update()? {
                return Ok(self.picture.clone());
            }
        }
        bail!("the screen changes its size all the time")
    }

    /// Waits until the picture is as `wanted` says.
    ///
    /// # Errors
    /// When it never is; then with the picture's size and four of its pixels.
    pub fn shows(&mut self, what: &str, wanted: impl Fn(&Picture) -> bool) -> anyhow::Result<Picture> {
        let mut last = None;
        until(what, || {
            let picture = self.picture();
            let is_so = picture.as_ref().map_or(true, &wanted);
            last = picture.as_ref().ok().cloned();
            is_so.then_some(picture)
        })
        .with_context(|| {
            let Some(picture) = last else { return "there is no picture".into() };
            let FrameSize { width, height } = picture.size;
            let corners =
                [(1, 1), (3, 1), (1, 3), (3, 3)].map(|(x, y)| picture.at(width * x / 4, height * y / 4));
            format!("it is {}, with {corners:?} in its quarters", picture.size)
        })?
    }

    /// Ends what an earlier program left undone, by a message that none is; QEMU then comes anew.
    fn begin_anew(&mut self) -> anyhow::Result<()> {
        let mut seen = Vec::new();
        // A greeting from before the nonsense may still be there; the answer to it is lost with its session.
        let mut gone = false;
        let mut said: Option<Instant> = None;
        until("greeting of the screen", || {
            // Who looks too seldom misses that QEMU was gone, and makes it go once more.
            if said.is_none_or(|said| said.elapsed() > MISSED) && !gone {
                // A port that is full, or that QEMU is not at, takes it at the next turn.
                said = self.port.write(&[0xff; 16]).ok().map(|_| Instant::now());
            }
            let mut some = [0; 4096];
            match self.port.read(&mut some) {
                Ok(0) => {
                    gone = true;
                    seen.clear();
                }
                Ok(length) => seen.extend_from_slice(&some[..length]),
                Err(_) => {}
            }
            (gone && seen.ends_with(VERSION)).then_some(())
        })
    }

    fn shake_hands(&mut self) -> anyhow::Result<()> {
        self.send(VERSION)?;
        let kinds = self.bytes::<1>()?[0];
        ensure!(kinds > 0, "QEMU refuses its screen");
        self.many(kinds.into())?;
        // No security, RFC 6143 §7.2.1.
        self.send(&[1])?;
        ensure!(u32::from_be_bytes(self.bytes()?) == 0, "QEMU wants a password for its screen");
        // ClientInit: others may look as well.
        self.send(&[1])?;
        self.take_size()?;
        self.bytes::<16>()?;
        let name = u32::from_be_bytes(self.bytes()?);
        self.many(name as usize)?;
        // SetPixelFormat: 32 bits, little-endian, 8 bits of red, green and blue from the top.
        let mut format = vec![0, 0, 0, 0, 32, 24, 0, 1];
        for most in [255_u16; 3] {
            format.extend(most.to_be_bytes());
        }
        format.extend([16, 8, 0, 0, 0, 0]);
        self.send(&format)?;
        // SetEncodings.
        let mut encodings = vec![2, 0, 0, 2];
        for encoding in [RAW, DESKTOP_SIZE] {
            encodings.extend(encoding.to_be_bytes());
        }
        self.send(&encodings)
    }

    /// Reads up to the end of one FramebufferUpdate; `false` when it brought no pixels.
    fn update(&mut self) -> anyhow::Result<bool> {
        loop {
            match self.bytes::<1>()?[0] {
                0 => break,
                // Bell.
                2 => {}
                // ServerCutText.
                3 => {
                    self.bytes::<3>()?;
                    let length = u32::from_be_bytes(self.bytes()?);
                    self.many(length as usize)?;
                }
                other => bail!("QEMU sent an RFB message of the kind {other}"),
            }
        }
        self.bytes::<1>()?;
        let (count, mut pixels) = (u16::from_be_bytes(self.bytes()?), false);
        for _ in 0..count {
            let place = [(); 4].map(|()| self.bytes::<2>().map(|two| u32::from(u16::from_be_bytes(two))));
            let [x, y, width, height] = place;
            let (x, y, width, height) = (x?, y?, width?, height?);
            match i32::from_be_bytes(self.bytes()?) {
                RAW => {
                    let rows = self.many((width * height * 4) as usize)?;
                    self.put(x, y, width, &rows);
                    pixels = true;
                }
                DESKTOP_SIZE => self.resize(FrameSize::new(width, height)),
                EXTENDED_DESKTOP_SIZE => {
                    let [screens, ..] = self.bytes::<4>()?;
                    self.many(usize::from(screens) * 16)?;
                }
                other => bail!("QEMU sent an RFB rectangle of the encoding {other}"),
            }
        }
        Ok(pixels)
    }

    fn take_size(&mut self) -> anyhow::Result<()> {
        let (width, height) = (u16::from_be_bytes(self.bytes()?), u16::from_be_bytes(self.bytes()?));
        self.resize(FrameSize::new(width.into(), height.into()));
        Ok(())
    }

    fn resize(&mut self, size: FrameSize) {
        self.picture = Picture { size, bytes: vec![0; (size.width * size.height * 4) as usize] };
    }

    fn put(&mut self, x: u32, y: u32, width: u32, rows: &[u8]) {
        for (row, y) in rows.chunks_exact((width * 4).max(1) as usize).zip(y..) {
            let start = ((y * self.picture.size.width + x) * 4) as usize;
            if let Some(place) = self.picture.bytes.get_mut(start..start + row.len()) {
                place.copy_from_slice(row);
            }
        }
    }

    fn bytes<const N: usize>(&mut self) -> anyhow::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn many(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        let mut done = 0;
        until("ear of QEMU's screen", || {
            // The port is full, or QEMU is about to come anew, until it is not.
            done += self.port.write(&message[done..]).unwrap_or(0);
            (done == message.len()).then_some(())
        })
    }

    fn fill(&mut self, bytes: &mut [u8]) -> anyhow::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let read = until("word of QEMU's screen", || match self.port.read(&mut bytes[done..]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => None,
                read => Some(read),
            });
            let length = read??;
            ensure!(length > 0, "QEMU's screen is gone");
            done += length;
        }
        Ok(())
    }
}

/// The serial port of that name.
fn port(name: &str) -> anyhow::Result<PathBuf> {
    for entry in std::fs::read_dir("/sys/class/virtio-ports").context("there are no virtual serial ports")? {
        let entry = entry?;
        if std::fs::read_to_string(entry.path().join("name")).is_ok_and(|found| found.trim() == name) {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    bail!("no serial port leads to {name}")
}
