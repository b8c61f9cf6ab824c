//! The port of `vhci_hcd` that the camera is plugged into
//! (`Documentation/ABI/testing/sysfs-platform-vhci_hcd`).

use std::{
    fs,
    io::{self, ErrorKind},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rostrum_hal::Timestamp;

use crate::{
    camera::{LinkId, Shared},
    usbip::read_command,
};

const CONTROLLER: &str = "/sys/devices/platform/vhci_hcd.0";
/// `enum usb_device_speed`: high speed.
const HIGH_SPEED: u32 = 3;
/// Bus and device number of port 0's device on the host that it were on, were there one.
const FIRST_DEVICE: u32 = 0x1_0002;
/// How long the kernel may take to clear a port that was unplugged.
const CLEARING: Duration = Duration::from_secs(10);

/// A port.
pub(crate) struct Port {
    number: u32,
    shared: Arc<Shared>,
    /// Held while plugging and unplugging, which take time.
    busy: Mutex<()>,
}

impl Port {
    /// Port `number`, counted from 0, for this camera. Nothing is plugged in yet.
    pub(crate) fn new(number: u32, shared: Arc<Shared>) -> Self {
        Self { number, shared, busy: Mutex::new(()) }
    }

    /// Plugs the camera in, with another serial number when one is given.
    ///
    /// # Errors
    /// When it is plugged in already, or when the kernel does not take it.
    pub(crate) fn plug(&self, serial: Option<&str>) -> anyhow::Result<()> {
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shared.with(|camera| camera.is_plugged()) {
            bail!("it is plugged in already");
        }
        if let Some(serial) = serial {
            self.shared.with(|camera| camera.device.serial = serial.to_owned());
        }
        let (ours, kernels) = UnixStream::pair().context("making a pair of sockets")?;
        let writer = ours.try_clone().context("cloning the socket")?;
        // What the kernel asks for before the reader runs waits in the socket.
        self.attach(&kernels)?;
        let id = self.shared.with(|camera| camera.connect(writer));
        let shared = self.shared.clone();
        thread::Builder::new()
            .name("usbip".into())
            .spawn(move || serve(&shared, id, ours))
            .context("starting a thread")?;
        Ok(())
    }

    /// Unplugs the camera.
    ///
    /// # Errors
    /// When it is not plugged in, or when the kernel says so.
    pub(crate) fn unplug(&self) -> anyhow::Result<()> {
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.shared.with(|camera| camera.is_plugged()) {
            bail!("it is not plugged in");
        }
        // The kernel first: it would take a socket that closes for a broken connection.
        let path = Path::new(CONTROLLER).join("detach");
        let detached = fs::write(&path, self.number.to_string());
        self.shared.with(|camera| camera.unplug());
        detached.with_context(|| format!("detaching port {} with {}", self.number, path.display()))
    }

    /// Gives the kernel its end of the connection. A port that was unplugged is busy for a while.
    fn attach(&self, socket: &UnixStream) -> anyhow::Result<()> {
        let path = Path::new(CONTROLLER).join("attach");
        let device = FIRST_DEVICE + self.number;
        let line = format!("{} {} {device} {HIGH_SPEED}", self.number, socket.as_raw_fd());
        let deadline = Instant::now() + CLEARING;
        loop {
            match fs::write(&path, &line) {
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(50));
                }
                Err(e) => return Err(e).with_context(|| advice(&path, self.number)),
            }
        }
    }
}

fn advice(path: &Path, port: u32) -> String {
    match path.try_exists() {
        Ok(true) => format!("attaching to port {port} of vhci_hcd; its status file tells which are free"),
        _ => format!("{} is not there; load the module vhci-hcd", path.display()),
    }
}

/// Does what the host asks for until the connection ends.
fn serve(shared: &Shared, id: LinkId, socket: UnixStream) {
    let mut reader = io::BufReader::new(socket);
    let end = loop {
        match read_command(&mut reader) {
            Ok(Some(command)) => shared.with(|camera| camera.handle(id, command, Timestamp::now())),
            Ok(None) => break "the kernel closed the connection".to_owned(),
            Err(e) => break format!("{e:#}"),
        }
    };
    if shared.with(|camera| camera.disconnect(id)) {
        eprintln!("uvc-camera: unplugged: {end}");
    }
}
