//! Serial ports: RS-232 and RS-422, 8 bits, no parity, one stop bit, no flow control.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    termios::{ControlModes, OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr},
};

/// Opens the port at `path` with `baud` bits a second; what came before is forgotten.
pub(super) fn open(path: &Path, baud: u32) -> io::Result<File> {
    // Opening must not wait for a modem's carrier; reading then may.
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits() as i32;
    let port = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let mut settings = tcgetattr(&port)?;
    settings.make_raw();
    settings.control_modes.remove(ControlModes::CSTOPB | ControlModes::PARENB | ControlModes::CRTSCTS);
    settings.control_modes.insert(ControlModes::CLOCAL | ControlModes::CREAD);
    settings.set_speed(baud)?;
    tcsetattr(&port, OptionalActions::Now, &settings)?;
    tcflush(&port, QueueSelector::IOFlush)?;
    fcntl_setfl(&port, fcntl_getfl(&port)? - OFlags::NONBLOCK)?;
    Ok(port)
}

/// Ports of this machine that may have something behind them.
pub(super) fn present() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut ports: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            ["ttyUSB", "ttyACM", "ttyAMA", "ttyS"].iter().any(|kind| name.starts_with(kind))
        })
        .collect();
    ports.sort();
    ports
}
