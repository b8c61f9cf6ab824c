//! Driver `cec`: power of a screen over HDMI-CEC (HDMI 1.4b Supplement 1, CEC 13.2 and 13.7; the kernel's
//! `include/uapi/linux/cec.h` and its CEC API).
//!
//! The adapter is opened for each errand and closed again: the kernel keeps our place on the bus in between and
//! answers for us, and an adapter that was unplugged is found when it is back.

use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
};

use rostrum_hal::screen_power::{ScreenPower, ScreenPowerError, ScreenState};
use serde::Deserialize;

use crate::{BoardError, drivers::Device, error::Failure, probe::cec_adapters::CecAdapter};

/// Logical addresses.
const TV: u8 = 0;
const UNREGISTERED: u8 = 15;
const EVERYBODY: u8 = 15;
/// Messages.
const IMAGE_VIEW_ON: u8 = 0x04;
const STANDBY: u8 = 0x36;
const ACTIVE_SOURCE: u8 = 0x82;
const GIVE_POWER_STATUS: u8 = 0x8F;
const REPORT_POWER_STATUS: u8 = 0x90;

/// Keys of `[screen_power]` with the driver `cec`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// The adapter.
    #[serde(default = "first_adapter")]
    device: String,
    /// What the screen shows as our name, at most 14 characters of ASCII.
    #[serde(default = "our_name")]
    osd_name: String,
}

fn first_adapter() -> String {
    "/dev/cec0".into()
}

fn our_name() -> String {
    "Rostrum".into()
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn ScreenPower>, BoardError> {
    let Options { device: node, osd_name } = device.options()?;
    if osd_name.is_empty() || osd_name.len() > 14 || !osd_name.is_ascii() {
        return Err(device.wrong("osd_name is 1 to 14 characters of ASCII"));
    }
    if !Path::new(&node).exists() {
        let name = format!("the CEC adapter {node}");
        // It is opened anew for each errand.
        device.now_or_later::<()>(Err(Failure::Absent { name, hint: present() }))?;
    }
    Ok(Box::new(Cec { node, osd_name }))
}

/// Every adapter's node, in the order of their numbers.
fn nodes() -> Vec<String> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("cec")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| format!("/dev/cec{number}")).collect()
}

/// What to say of an adapter that is not there: those that are.
fn present() -> String {
    let nodes = nodes();
    if nodes.is_empty() {
        "this machine has none; load the driver of its HDMI output".into()
    } else {
        format!("there are {}", nodes.join(", "))
    }
}

struct Cec {
    node: String,
    osd_name: String,
}

fn open_node(node: &str) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(node)
}

/// Every adapter, for `probe`.
pub(crate) fn listing() -> Vec<CecAdapter> {
    let listed = nodes().into_iter().map(|node| {
        let asked = open_node(&node)
            .and_then(|file| Ok((ioctl::capabilities(&file)?, ioctl::physical_address(&file)?)));
        let node = node.into();
        match asked {
            Ok((capabilities, physical_address)) => {
                let (driver, name) = (capabilities.driver(), capabilities.name());
                CecAdapter { node, name, driver, physical_address, problem: None }
            }
            Err(error) => CecAdapter { node, problem: Some(error.to_string()), ..CecAdapter::default() },
        }
    });
    listed.collect()
}

/// An adapter that has its place on the bus, or waits for one.
struct Bus<'a> {
    cec: &'a Cec,
    file: File,
    /// Logical and physical address, once there are.
    ours: Option<(u8, u16)>,
    /// Something at the other end gives physical addresses.
    is_plugged_in: bool,
}

impl Cec {
    fn bus(&self) -> Result<Bus<'_>, ScreenPowerError> {
        let file = open_node(&self.node).map_err(|e| self.failed(&e))?;
        let physical = ioctl::physical_address(&file).map_err(|e| self.failed(&e))?;
        let mut addresses = ioctl::logical_addresses(&file).map_err(|e| self.failed(&e))?;
        if addresses.count > 0 && !addresses.has_name(&self.osd_name) {
            // Somebody else's, or ours before the profile was changed. It takes no other before it is given up.
            ioctl::give_up(&file).map_err(|e| self.failed(&e))?;
            addresses.count = 0;
        }
        let is_denied = addresses.count > 0 && addresses.first().is_none() && physical.is_some();
        if addresses.count == 0 || is_denied {
            // Returns when the bus has been asked for a free address, at once when there is no bus. The kernel asks
            // again by itself only after the cable was pulled.
            match ioctl::claim_playback(&file, &self.osd_name) {
                Ok(claimed) => addresses = claimed,
                // It is asking just now.
                Err(error) if is_denied && error.kind() == io::ErrorKind::ResourceBusy => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        let ours = addresses.first().zip(physical);
        Ok(Bus { cec: self, file, ours, is_plugged_in: physical.is_some() })
    }

    fn failed(&self, error: &io::Error) -> ScreenPowerError {
        let message = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                format!("{error}; let this program's user be in the group video")
            }
            io::ErrorKind::ResourceBusy => {
                format!("{error}; another program has it for itself, stop that")
            }
            _ => error.to_string(),
        };
        ScreenPowerError::Failed { name: self.node.clone(), message }
    }
}

impl Bus<'_> {
    /// Sends a message, and gives what is answered with `reply`.
    fn send(&self, to: u8, message: &[u8], reply: Option<u8>) -> Result<Option<Vec<u8>>, ScreenPowerError> {
        // Without a place on the bus only a screen that sleeps with its lines down can be woken, and nobody answers.
        if self.ours.is_none() && reply.is_some() {
            return Err(self.nobody());
        }
        let from = self.ours.map_or(UNREGISTERED, |(logical, _)| logical);
        let sent = ioctl::transmit(&self.file, from << 4 | to, message, reply.unwrap_or(0));
        let sent = sent.map_err(|error| match error.raw_os_error() {
            Some(libc::ENONET) => self.nobody(),
            _ => self.cec.failed(&error),
        })?;
        // Nobody acknowledges what is said to everybody: the kernel counts that as sent.
        if !sent.was_acknowledged() {
            return Err(self.nobody());
        }
        match reply {
            None => Ok(None),
            Some(_) if sent.was_refused() => Ok(None),
            Some(_) => sent.answer().map(Some).ok_or_else(|| self.nobody()),
        }
    }

    /// Why there is no answer.
    fn nobody(&self) -> ScreenPowerError {
        let name = self.cec.node.clone();
        if self.is_plugged_in {
            return ScreenPowerError::NoAnswer { name };
        }
        let message =
            "no screen is plugged in, or it does not say so while it is off; plug it in and switch it on";
        ScreenPowerError::Failed { name, message: message.into() }
    }
}

impl ScreenPower for Cec {
    fn name(&self) -> String {
        self.node.clone()
    }

    fn wake(&mut self) -> Result<(), ScreenPowerError> {
        let bus = self.bus()?;
        bus.send(TV, &[IMAGE_VIEW_ON], None)?;
        if let Some((_, physical)) = bus.ours {
            let [high, low] = physical.to_be_bytes();
            bus.send(EVERYBODY, &[ACTIVE_SOURCE, high, low], None)?;
        }
        Ok(())
    }

    fn standby(&mut self) -> Result<(), ScreenPowerError> {
        self.bus()?.send(TV, &[STANDBY], None).map(drop)
    }

    fn state(&mut self) -> Result<Option<ScreenState>, ScreenPowerError> {
        let answer = self.bus()?.send(TV, &[GIVE_POWER_STATUS], Some(REPORT_POWER_STATUS))?;
        Ok(answer.and_then(|operands| state_of(&operands)))
    }
}

/// CEC 1.4 §CEC 17, operand Power Status.
fn state_of(operands: &[u8]) -> Option<ScreenState> {
    match operands.first()? {
        0 => Some(ScreenState::On),
        2 => Some(ScreenState::Waking),
        1 | 3 => Some(ScreenState::Standby),
        _ => None,
    }
}

/// `include/uapi/linux/cec.h`.
mod ioctl {
    #![allow(unsafe_code)]
    use std::{fs::File, io};

    use rustix::ioctl::{Getter, Opcode, Updater, ioctl, opcode};

    const CAPABILITIES: Opcode = opcode::read_write::<Capabilities>(b'a', 0);
    const PHYSICAL_ADDRESS: Opcode = opcode::read::<u16>(b'a', 1);
    const GET_LOGICAL_ADDRESSES: Opcode = opcode::read::<LogicalAddresses>(b'a', 3);
    const SET_LOGICAL_ADDRESSES: Opcode = opcode::read_write::<LogicalAddresses>(b'a', 4);
    const TRANSMIT: Opcode = opcode::read_write::<Message>(b'a', 5);

    /// Time for an answer in milliseconds; CEC 1.4 wants one within a second.
    const ANSWER_WITHIN_MS: u32 = 1_100;

    /// `struct cec_caps`.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub(super) struct Capabilities {
        driver: [u8; 32],
        name: [u8; 32],
        available_logical_addresses: u32,
        capabilities: u32,
        version: u32,
    }

    impl Capabilities {
        pub(super) fn driver(&self) -> String {
            text(&self.driver)
        }

        pub(super) fn name(&self) -> String {
            text(&self.name)
        }
    }

    /// What stands before the first zero.
    fn text(bytes: &[u8]) -> String {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// `struct cec_log_addrs`.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub(super) struct LogicalAddresses {
        addresses: [u8; 4],
        mask: u16,
        version: u8,
        pub(super) count: u8,
        vendor: u32,
        flags: u32,
        osd_name: [u8; 15],
        primary_device_types: [u8; 4],
        types: [u8; 4],
        all_device_types: [u8; 4],
        features: [[u8; 12]; 4],
    }

    impl LogicalAddresses {
        /// Whether that is what the screen shows as our name.
        pub(super) fn has_name(&self, name: &str) -> bool {
            text(&self.osd_name) == name
        }

        /// The first address that was free.
        pub(super) fn first(&self) -> Option<u8> {
            const INVALID: u8 = 0xFF;
            let count = usize::from(self.count).min(self.addresses.len());
            self.addresses[..count].iter().copied().find(|address| *address != INVALID && *address < 15)
        }
    }

    /// `struct cec_msg`.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub(super) struct Message {
        sent_at: u64,
        received_at: u64,
        length: u32,
        timeout_ms: u32,
        sequence: u32,
        flags: u32,
        bytes: [u8; 16],
        reply: u8,
        receive_status: u8,
        transmit_status: u8,
        counters: [u8; 4],
    }

    impl Message {
        pub(super) fn was_acknowledged(&self) -> bool {
            self.transmit_status & 1 != 0
        }

        /// The answer was Feature Abort.
        pub(super) fn was_refused(&self) -> bool {
            self.receive_status & 4 != 0
        }

        /// Operands of the answer.
        pub(super) fn answer(&self) -> Option<Vec<u8>> {
            let length = usize::try_from(self.length).ok()?.min(self.bytes.len());
            (self.receive_status & 1 != 0).then(|| self.bytes.get(2..length).unwrap_or_default().to_vec())
        }
    }

    /// Where our output is plugged in; `None` while nothing that tells is.
    pub(super) fn physical_address(file: &File) -> io::Result<Option<u16>> {
        const INVALID: u16 = 0xFFFF;
        // SAFETY: CEC_ADAP_G_PHYS_ADDR fills a u16.
        let address: u16 = unsafe { ioctl(file, Getter::<PHYSICAL_ADDRESS, u16>::new()) }?;
        Ok((address != INVALID).then_some(address))
    }

    pub(super) fn capabilities(file: &File) -> io::Result<Capabilities> {
        let mut capabilities = Capabilities::default();
        // SAFETY: CEC_ADAP_G_CAPS fills a struct cec_caps, which lives until the call is over; any bits are valid in
        // its fields.
        unsafe { ioctl(file, Updater::<CAPABILITIES, Capabilities>::new(&mut capabilities)) }?;
        Ok(capabilities)
    }

    /// Gives our place on the bus back.
    pub(super) fn give_up(file: &File) -> io::Result<()> {
        let mut none = LogicalAddresses::default();
        // SAFETY: as in `claim_playback`; no address is asked for.
        unsafe { ioctl(file, Updater::<SET_LOGICAL_ADDRESSES, LogicalAddresses>::new(&mut none)) }?;
        Ok(())
    }

    pub(super) fn logical_addresses(file: &File) -> io::Result<LogicalAddresses> {
        // SAFETY: CEC_ADAP_G_LOG_ADDRS fills a struct cec_log_addrs; any bits are valid in its fields.
        Ok(unsafe { ioctl(file, Getter::<GET_LOGICAL_ADDRESSES, LogicalAddresses>::new()) }?)
    }

    /// Asks for the address of a playback device.
    pub(super) fn claim_playback(file: &File, osd_name: &str) -> io::Result<LogicalAddresses> {
        const NO_VENDOR: u32 = u32::MAX;
        const CEC_1_4: u8 = 5;
        const PLAYBACK_TYPE: u8 = 3;
        const PLAYBACK_DEVICE: u8 = 4;
        const PLAYBACK_IN_ALL: u8 = 0x10;
        let mut wanted = LogicalAddresses {
            version: CEC_1_4,
            count: 1,
            vendor: NO_VENDOR,
            primary_device_types: [PLAYBACK_DEVICE, 0, 0, 0],
            types: [PLAYBACK_TYPE, 0, 0, 0],
            all_device_types: [PLAYBACK_IN_ALL, 0, 0, 0],
            ..LogicalAddresses::default()
        };
        // The last byte stays zero.
        for (to, from) in wanted.osd_name[..14].iter_mut().zip(osd_name.bytes()) {
            *to = from;
        }
        // SAFETY: CEC_ADAP_S_LOG_ADDRS reads a struct cec_log_addrs and writes what became of it to the same
        // place, which lives until the call is over; any bits are valid in its fields.
        unsafe { ioctl(file, Updater::<SET_LOGICAL_ADDRESSES, LogicalAddresses>::new(&mut wanted)) }?;
        Ok(wanted)
    }

    /// Sends a message and waits until that is done, and for an answer unless `reply` is 0.
    pub(super) fn transmit(file: &File, header: u8, message: &[u8], reply: u8) -> io::Result<Message> {
        let mut bytes = [0; 16];
        bytes[0] = header;
        let end = 1 + message.len().min(bytes.len() - 1);
        bytes[1..end].copy_from_slice(&message[..end - 1]);
        let mut sent = Message {
            length: u32::try_from(end).unwrap_or(1),
            timeout_ms: if reply == 0 { 0 } else { ANSWER_WITHIN_MS },
            reply,
            bytes,
            ..Message::default()
        };
        // SAFETY: CEC_TRANSMIT reads a struct cec_msg and writes what became of it to the same place, which
        // lives until the call is over; any bits are valid in its fields.
        unsafe { ioctl(file, Updater::<TRANSMIT, Message>::new(&mut sent)) }?;
        Ok(sent)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn structures_are_as_long_as_the_kernels() {
            assert_eq!((size_of::<LogicalAddresses>(), size_of::<Message>()), (92, 56));
            assert_eq!(size_of::<Capabilities>(), 76);
        }

        #[test]
        fn an_answer_is_what_follows_its_name() {
            let mut message = Message { length: 3, bytes: [0x40; 16], ..Message::default() };
            message.bytes[2] = 1;
            assert_eq!(message.answer(), None);
            message.receive_status = 1;
            assert_eq!(message.answer(), Some(vec![1]));
            message.length = 1;
            assert_eq!(message.answer(), Some(vec![]));
            message.length = u32::MAX;
            assert_eq!(message.answer().map(|operands| operands.len()), Some(14));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_says_what_it_is() {
        let states = [0, 1, 2, 3, 9].map(|status| state_of(&[status]));
        use ScreenState::{On, Standby, Waking};
        assert_eq!(states, [Some(On), Some(Standby), Some(Waking), Some(Standby), None]);
        assert_eq!(state_of(&[]), None);
    }
}
