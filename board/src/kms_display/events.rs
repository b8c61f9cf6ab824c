//! What the kernel tells when a screen comes, goes, or changes (kernel uevents on netlink, `HOTPLUG=1`).

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind,
    netlink::{KOBJECT_UEVENT, SocketAddrNetlink},
    recv, socket_with,
};

/// The group of the kernel's own messages, as against those of udev.
const KERNEL: u32 = 1;
/// Without the kernel's word a change is supposed that often: to ask a screen takes the card some 50 ms.
const SUPPOSED: Duration = Duration::from_secs(5);

/// Hears of changes at the sockets of graphics cards.
pub(super) struct Events {
    /// Nothing where netlink is forbidden; then something may always have changed.
    socket: Option<OwnedFd>,
    supposed_at: Instant,
}

impl Events {
    pub(super) fn listen() -> Self {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let made = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT));
        let bound =
            made.and_then(|socket| bind(&socket, &SocketAddrNetlink::new(0, KERNEL)).map(|()| socket));
        if let Err(error) = &bound {
            log::debug!(error:%; "changes of screens are not heard of");
        }
        Self { socket: bound.ok(), supposed_at: Instant::now() }
    }

    /// Something changed since the last call.
    pub(super) fn any(&mut self) -> bool {
        let Some(socket) = &self.socket else {
            let is_time = self.supposed_at.elapsed() > SUPPOSED;
            if is_time {
                self.supposed_at = Instant::now();
            }
            return is_time;
        };
        let (mut message, mut any) = ([0_u8; 4096], false);
        // Ends when no more waits, or when messages were lost, which may have been of us.
        loop {
            match recv(socket, &mut message[..], RecvFlags::empty()) {
                Ok((length, _)) => any |= is_of_a_screen(&message[..length.min(4096)]),
                Err(rustix::io::Errno::NOBUFS) => any = true,
                Err(_) => return any,
            }
        }
    }
}

/// A message is words that end with a zero.
fn is_of_a_screen(message: &[u8]) -> bool {
    message.split(|byte| *byte == 0).any(|word| word == b"SUBSYSTEM=drm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_of_screens_is_heard() {
        let of_a_card = b"change@/devices/pci0/drm/card0\0ACTION=change\0SUBSYSTEM=drm\0HOTPLUG=1\0";
        assert!(is_of_a_screen(of_a_card));
        assert!(!is_of_a_screen(b"add@/devices/usb1\0ACTION=add\0SUBSYSTEM=usb\0"));
    }
}
