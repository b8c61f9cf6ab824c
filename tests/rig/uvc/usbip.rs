//! Frames of USB/IP (`Documentation/usb/usbip_protocol.rst`), as the kernel's `vhci_hcd` speaks it once a
//! device is attached: the handshake of network clients (`OP_REQ_IMPORT`) does not take place.
//!
//! Every frame begins with 48 bytes, twelve numbers of 32 bits in network order. What the bytes from 20 on
//! mean depends on the command.

use std::io::{ErrorKind, Read};

use anyhow::{Context, bail};

const HEADER_BYTES: usize = 48;
const CMD_SUBMIT: u32 = 1;
const CMD_UNLINK: u32 = 2;
const RET_SUBMIT: u32 = 3;
const RET_UNLINK: u32 = 4;
/// A host sends at most 64 kB with a control transfer, and our device has no other endpoint that receives.
const MAX_OUT_BYTES: u32 = 1 << 16;

/// How a transfer ended. On the wire it is zero or a negated Linux error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It was done.
    Done,
    /// The endpoint stalled (`EPIPE`).
    Stalled,
    /// It was taken back before it was done (`ECONNRESET`).
    Unlinked,
}

impl Status {
    fn to_wire(self) -> u32 {
        let negated_errno: i32 = match self {
            Self::Done => 0,
            Self::Stalled => -32,
            Self::Unlinked => -104,
        };
        negated_errno.cast_unsigned()
    }
}

/// What the host asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Do a transfer (`USBIP_CMD_SUBMIT`).
    Submit(Submit),
    /// Take a transfer back (`USBIP_CMD_UNLINK`).
    Unlink {
        /// Number of this command.
        sequence: u32,
        /// Number of the [`Submit`] that is not wanted any more.
        victim: u32,
    },
}

/// A transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Submit {
    /// Number of this command; the answer repeats it.
    pub(crate) sequence: u32,
    /// Endpoint without its direction bit.
    pub(crate) endpoint: u32,
    /// Whether the device is to send.
    pub(crate) to_host: bool,
    /// Bytes that the host has room for, or sends.
    pub(crate) length: u32,
    /// Setup packet; meaningful on endpoint 0.
    pub(crate) setup: [u8; 8],
    /// What the host sent.
    pub(crate) data: Vec<u8>,
}

/// Reads the next command; `None` when the host has closed the connection.
///
/// # Errors
/// When the connection breaks within a frame, or when the host sends what the protocol does not have. The
/// place of the next frame is unknown then.
pub(crate) fn read_command(reader: &mut impl Read) -> anyhow::Result<Option<Command>> {
    let mut header = [0; HEADER_BYTES];
    match reader.read_exact(&mut header) {
        Ok(()) => {}
        Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
            return Ok(None);
        }
        Err(e) => return Err(e).context("reading a USB/IP header"),
    }
    let sequence = word(&header, 1);
    match word(&header, 0) {
        CMD_SUBMIT => {
            let to_host = word(&header, 3) != 0;
            let length = word(&header, 6);
            let mut data = Vec::new();
            if !to_host {
                if length > MAX_OUT_BYTES {
                    bail!("the host wants to send {length} bytes in one transfer");
                }
                data.resize(length as usize, 0);
                reader.read_exact(&mut data).context("reading what the host sends")?;
            }
            let mut setup = [0; 8];
            setup.copy_from_slice(&header[40..]);
            let endpoint = word(&header, 4);
            Ok(Some(Command::Submit(Submit { sequence, endpoint, to_host, length, setup, data })))
        }
        CMD_UNLINK => Ok(Some(Command::Unlink { sequence, victim: word(&header, 5) })),
        other => bail!("the host sent the unknown USB/IP command {other}"),
    }
}

/// Appends the header of `USBIP_RET_SUBMIT`; for a transfer to the host, `actual_length` bytes follow.
pub(crate) fn put_ret_submit(out: &mut Vec<u8>, sequence: u32, status: Status, actual_length: u32) {
    put_header(out, RET_SUBMIT, sequence, status, actual_length);
}

/// Appends `USBIP_RET_UNLINK`. Its status is [`Status::Done`] when the transfer was already answered.
pub(crate) fn put_ret_unlink(out: &mut Vec<u8>, sequence: u32, status: Status) {
    put_header(out, RET_UNLINK, sequence, status, 0);
}

fn put_header(out: &mut Vec<u8>, command: u32, sequence: u32, status: Status, actual_length: u32) {
    // Device id, direction and endpoint are zero in answers; what follows the length counts packets of
    // isochronous endpoints, which we have none of.
    for word in [command, sequence, 0, 0, 0, status.to_wire(), actual_length, 0, 0, 0, 0, 0] {
        out.extend(word.to_be_bytes());
    }
}

fn word(header: &[u8; HEADER_BYTES], index: usize) -> u32 {
    let at = index * 4;
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::noise::Noise;

    fn frame(words: [u32; 10], setup: [u8; 8], data: &[u8]) -> Vec<u8> {
        let mut frame: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
        frame.extend(setup);
        frame.extend(data);
        frame
    }

    #[test]
    fn a_transfer_to_the_device_carries_its_bytes() {
        let setup = [0x21, 1, 0, 2, 0, 2, 2, 0];
        let bytes = frame([1, 7, 0x10002, 0, 0, 0, 2, 0, 0, 0], setup, &[5, 6]);
        let submit = Submit { sequence: 7, endpoint: 0, to_host: false, length: 2, setup, data: vec![5, 6] };
        assert_eq!(read_command(&mut &bytes[..]).unwrap(), Some(Command::Submit(submit)));
    }

    #[test]
    fn a_transfer_to_the_host_carries_none() {
        let bytes = frame([1, 8, 0x10002, 1, 1, 0, 16384, 0, 0, 0], [0; 8], &[]);
        let submit =
            Submit { sequence: 8, endpoint: 1, to_host: true, length: 16384, setup: [0; 8], data: vec![] };
        assert_eq!(read_command(&mut &bytes[..]).unwrap(), Some(Command::Submit(submit)));
    }

    #[test]
    fn unlink_names_its_victim() {
        let bytes = frame([2, 9, 0x10002, 0, 0, 8, 0, 0, 0, 0], [0; 8], &[]);
        let unlink = Command::Unlink { sequence: 9, victim: 8 };
        assert_eq!(read_command(&mut &bytes[..]).unwrap(), Some(unlink));
    }

    #[test]
    fn answers_have_the_size_of_a_header() {
        let mut out = Vec::new();
        put_ret_submit(&mut out, 1, Status::Stalled, 0);
        put_ret_unlink(&mut out, 2, Status::Unlinked);
        assert_eq!(out.len(), 2 * HEADER_BYTES);
        assert_eq!(out[20..24], (-32_i32).to_be_bytes());
        assert_eq!(out[68..72], (-104_i32).to_be_bytes());
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        let mut noise = Noise::new(1);
        for _ in 0..5_000 {
            let length = noise.below(200);
            let mut bytes = noise.bytes(length);
            // Half of them have a command that exists and a length that can be there.
            if bytes.len() >= 28 && noise.below(2) == 0 {
                bytes[..4].copy_from_slice(&[0, 0, 0, 1 + u8::try_from(noise.below(2)).unwrap()]);
                bytes[24..27].fill(0);
            }
            let mut reader = &bytes[..];
            while let Ok(Some(_)) = read_command(&mut reader) {}
        }
    }
}
