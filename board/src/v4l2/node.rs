//! An open video device.

use std::{
    fs::{File, OpenOptions},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
};

use rustix::{fs::OFlags, io::Errno};
use v4l2r::{
    bindings::{V4L2_CAP_IO_MC, v4l2_capability},
    ioctl::{Capabilities, Capability, IntoErrno},
};

/// What the kernel says when something does not work, as far as one can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The device was unplugged.
    Gone,
    /// Another program has it.
    Busy,
    /// Anything else.
    Other(Errno),
}

impl Fault {
    /// What a number of the kernel's means.
    pub(super) fn of(errno: Errno) -> Self {
        match errno {
            // ESHUTDOWN is what controls of an unplugged USB camera give; EPIPE from them is a refused request.
            Errno::NODEV | Errno::NXIO | Errno::NOENT | Errno::SHUTDOWN => Self::Gone,
            Errno::BUSY => Self::Busy,
            other => Self::Other(other),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str("the device is gone"),
            Self::Busy => f.write_str("the device is used by another program"),
            Self::Other(errno) => write!(f, "{}", std::io::Error::from(*errno)),
        }
    }
}

/// The errors of all of `v4l2r`'s ioctls become one.
pub(super) trait OrFault<T> {
    /// The number inside, and what it means.
    fn or_fault(self) -> Result<T, Fault>;
}

impl<T, E: IntoErrno> OrFault<T> for Result<T, E> {
    fn or_fault(self) -> Result<T, Fault> {
        self.map_err(|error| Fault::of(Errno::from_raw_os_error(error.into_errno())))
    }
}

/// An open device that never blocks.
#[derive(Debug)]
pub(super) struct Node {
    file: File,
}

impl Node {
    /// Opens the device and gives what it can do.
    pub(super) fn open(path: &Path) -> Result<(Self, Capability), Fault> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let file = opened.map_err(|error| match Errno::from_io_error(&error) {
            Some(errno) => Fault::of(errno),
            None => Fault::Other(Errno::IO),
        })?;
        let capability = v4l2r::ioctl::querycap(&file).or_fault()?;
        Ok((Self { file }, capability))
    }
}

/// What this node itself can do, not its siblings.
pub(super) fn can(capability: &Capability, needed: Capabilities) -> bool {
    capability.device_caps().contains(needed)
}

/// Whether pictures only come after a media graph was set up, as of cameras behind an image processor
/// (`V4L2_CAP_IO_MC`): libcamera does that.
pub(super) fn needs_graph(node: &Node) -> bool {
    struct Bits(u32);
    impl From<v4l2_capability> for Bits {
        fn from(capability: v4l2_capability) -> Self {
            Self(capability.device_caps)
        }
    }
    v4l2r::ioctl::querycap::<Bits>(node).is_ok_and(|Bits(bits)| bits & V4L2_CAP_IO_MC != 0)
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Settings are changed by whoever has the device open, so `v4l2r`'s "mutable" descriptor may be a shared one.
pub(super) struct Settable<'a>(pub(super) &'a Node);

impl AsRawFd for Settable<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsRawFd for Node {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}
