//! Watchdogs of the kernel (`Documentation/watchdog/watchdog-api.rst`,
//! `Documentation/ABI/testing/sysfs-class-watchdog`).
//!
//! A watchdog runs from the moment it is opened. It is stopped by the "magic close", a `V` before its file is
//! closed, unless it or the kernel was built to refuse that (`nowayout`).

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use rostrum_hal::watchdog::{ResetReason, Watchdog, WatchdogError};
use serde::Deserialize;

use crate::{BoardError, drivers::Device, error::Failure, probe};

const SYSFS: &str = "/sys/class/watchdog";

/// Keys of `[watchdog]` with the driver `watchdog`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Path of a watchdog, or its identity as `/sys/class/watchdog/*/identity` has it: numbers may change.
    #[serde(default = "first")]
    device: String,
    /// Seconds without food until the reset; hardware may round them.
    #[serde(default = "fifteen")]
    timeout_s: u16,
}

fn first() -> String {
    "/dev/watchdog".into()
}

/// The longest that a Raspberry Pi can wait.
fn fifteen() -> u16 {
    15
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Watchdog>, BoardError> {
    let Options { device: name, timeout_s } = device.options()?;
    if timeout_s == 0 {
        return Err(device.wrong("timeout_s is 1 or more"));
    }
    let opened = KernelWatchdog::open(Path::new(SYSFS), &name, timeout_s);
    Ok(Box::new(opened.map_err(|failure| device.failed(failure))?))
}

struct KernelWatchdog {
    node: PathBuf,
    /// Its folder under `/sys/class/watchdog`; kernels can be built without it.
    sysfs: PathBuf,
    /// `None` when it was disarmed.
    file: Option<File>,
    timeout: Duration,
    last_reset: ResetReason,
}

impl KernelWatchdog {
    fn open(sysfs: &Path, name: &str, timeout_s: u16) -> Result<Self, Failure> {
        let node = find(sysfs, name)?;
        let sysfs = sysfs.join(numbered(&node));
        let file =
            OpenOptions::new().write(true).open(&node).map_err(|error| refused(&node, &sysfs, error))?;
        let options = ioctl::support(&file).map_err(|error| Failure::Unusable {
            name: node.display().to_string(),
            message: format!("it is not a watchdog: {error}"),
        })?;
        // It runs, so that an error must stop it.
        let mut opened =
            Self { node, sysfs, file: Some(file), timeout: Duration::ZERO, last_reset: ResetReason::Unknown };
        match opened.set_up(options, timeout_s) {
            Ok(()) => Ok(opened),
            Err(message) => {
                let name = opened.name();
                let message = match opened.disarm() {
                    Ok(()) => message,
                    Err(error) => format!("{message}; and {error}"),
                };
                Err(Failure::Unusable { name, message })
            }
        }
    }

    fn set_up(&mut self, options: u32, timeout_s: u16) -> Result<(), String> {
        let Some(file) = &self.file else { return Err("it is closed".into()) };
        if options & ioctl::SET_TIMEOUT != 0 {
            ioctl::set_timeout(file, timeout_s)
                .map_err(|e| format!("timeout_s = {timeout_s}: {e}{}", self.limits()))?;
        }
        let timeout_s = ioctl::timeout(file).map_err(|e| format!("it does not tell its timeout: {e}"))?;
        self.timeout = match u64::try_from(timeout_s) {
            Ok(seconds @ 1..) => Duration::from_secs(seconds),
            _ => return Err(format!("it has a timeout of {timeout_s} seconds")),
        };
        // Some drivers do not know it.
        self.last_reset = ioctl::boot_status(file).map_or(ResetReason::Unknown, reason);
        if options & ioctl::MAGIC_CLOSE == 0 {
            let watchdog = self.name();
            log::warn!(watchdog:%; "this watchdog stops when the program ends, even when it crashes");
        }
        Ok(())
    }

    fn limits(&self) -> String {
        match (self.attribute("min_timeout"), self.attribute("max_timeout")) {
            (Some(least), Some(most)) if most != "0" => format!("; it takes {least} to {most}"),
            _ => String::new(),
        }
    }

    fn name(&self) -> String {
        match self.attribute("identity") {
            Some(identity) => format!("the watchdog {} ({identity})", self.node.display()),
            None => format!("the watchdog {}", self.node.display()),
        }
    }

    fn attribute(&self, name: &str) -> Option<String> {
        attribute(&self.sysfs, name)
    }

    fn error(&self, message: impl std::fmt::Display) -> WatchdogError {
        WatchdogError { message: format!("{}: {message}", self.node.display()) }
    }
}

impl Watchdog for KernelWatchdog {
    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn last_reset(&self) -> ResetReason {
        self.last_reset
    }

    fn feed(&mut self) -> Result<(), WatchdogError> {
        match &mut self.file {
            // Any byte is food but the V of the magic close.
            Some(file) => file.write_all(&[0]).map_err(|error| self.error(error)),
            None => Err(self.error("it was disarmed")),
        }
    }

    /// A watchdog that refuses is kept open, so that it can still be fed.
    fn disarm(&mut self) -> Result<(), WatchdogError> {
        const REFUSES: &str = "it cannot be stopped (nowayout): the board resets when it is not fed";
        let Some(mut file) = self.file.take() else { return Ok(()) };
        if self.attribute("nowayout").is_some_and(|set| set == "1") {
            self.file = Some(file);
            return Err(self.error(REFUSES));
        }
        if let Err(error) = file.write_all(b"V") {
            self.file = Some(file);
            return Err(self.error(error));
        }
        drop(file);
        if self.attribute("state").is_some_and(|state| state == "active") {
            self.file = OpenOptions::new().write(true).open(&self.node).ok();
            return Err(self.error(REFUSES));
        }
        Ok(())
    }
}

/// Why the board started, by the bits of the boot status; what is more precise goes first.
fn reason(boot_status: u32) -> ResetReason {
    const OVERHEAT: u32 = 0x01;
    const FAN_FAULT: u32 = 0x02;
    const EXTERN_1: u32 = 0x04;
    const EXTERN_2: u32 = 0x08;
    const POWER_UNDER: u32 = 0x10;
    const CARD_RESET: u32 = 0x20;
    const POWER_OVER: u32 = 0x40;
    match boot_status {
        bits if bits & (OVERHEAT | FAN_FAULT) != 0 => ResetReason::Overheat,
        bits if bits & (POWER_UNDER | POWER_OVER) != 0 => ResetReason::Power,
        bits if bits & CARD_RESET != 0 => ResetReason::Watchdog,
        bits if bits & (EXTERN_1 | EXTERN_2) != 0 => ResetReason::Other,
        _ => ResetReason::Unknown,
    }
}

/// Node of the watchdog that has `wanted` as its path or identity.
fn find(sysfs: &Path, wanted: &str) -> Result<PathBuf, Failure> {
    if Path::new(wanted).is_absolute() && Path::new(wanted).exists() {
        return Ok(wanted.into());
    }
    let names = names(sysfs);
    let identity = |name| attribute(&sysfs.join(name), "identity");
    if let Some(name) = names.iter().find(|name| identity(*name).is_some_and(|identity| identity == wanted)) {
        return Ok(Path::new("/dev").join(name));
    }
    let present: Vec<_> = names
        .iter()
        .map(|name| match identity(name) {
            Some(identity) => format!("/dev/{} ({identity})", name.display()),
            None => format!("/dev/{}", name.display()),
        })
        .collect();
    let hint = if present.is_empty() {
        "this machine has no watchdog; load the kernel's driver, or remove [watchdog] from the profile".into()
    } else {
        format!("there are {}", present.join(", "))
    };
    Err(Failure::Absent { name: format!("the watchdog {wanted}"), hint })
}

/// Every watchdog, for `probe`. Opens none, as it would run from then on.
pub(crate) fn listing() -> Vec<probe::watchdogs::Watchdog> {
    listing_under(Path::new(SYSFS))
}

fn listing_under(sysfs: &Path) -> Vec<probe::watchdogs::Watchdog> {
    let listed = names(sysfs).into_iter().map(|name| {
        let attribute = |of| attribute(&sysfs.join(&name), of);
        let seconds = |name| attribute(name).and_then(|text| text.parse().ok());
        probe::watchdogs::Watchdog {
            node: Path::new("/dev").join(&name),
            identity: attribute("identity"),
            max_timeout_s: seconds("max_timeout").filter(|most| *most > 0),
            is_running: attribute("state").is_some_and(|state| state == "active"),
            cannot_be_stopped: attribute("nowayout").is_some_and(|set| set == "1"),
        }
    });
    listed.collect()
}

fn names(sysfs: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(sysfs).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

/// Name under `/sys/class/watchdog`: the node `watchdog` is `watchdog0` under the name it had when there was
/// one.
fn numbered(node: &Path) -> PathBuf {
    let name = fs::canonicalize(node).unwrap_or_else(|_| node.into());
    match name.file_name() {
        Some(name) if name != "watchdog" => name.into(),
        _ => "watchdog0".into(),
    }
}

fn attribute(folder: &Path, name: &str) -> Option<String> {
    let text = fs::read(folder.join(name)).ok()?;
    Some(String::from_utf8_lossy(&text).trim().to_owned())
}

fn refused(node: &Path, sysfs: &Path, error: io::Error) -> Failure {
    let name = match attribute(sysfs, "identity") {
        Some(identity) => format!("the watchdog {} ({identity})", node.display()),
        None => format!("the watchdog {}", node.display()),
    };
    let message = match error.kind() {
        io::ErrorKind::ResourceBusy => {
            "another program feeds it, such as systemd with RuntimeWatchdogSec; stop \
                                        that, choose another, or remove [watchdog] from the profile"
                .into()
        }
        io::ErrorKind::PermissionDenied => format!("{error}; let a udev rule give it to this program's user"),
        _ => error.to_string(),
    };
    Failure::Unusable { name, message }
}

/// What sysfs cannot do or, in kernels without `CONFIG_WATCHDOG_SYSFS`, not tell:
/// `include/uapi/linux/watchdog.h`.
mod ioctl {
    #![allow(unsafe_code)]
    use std::{ffi::c_int, fs::File, io};

    use rustix::ioctl::{Getter, Opcode, Updater, ioctl, opcode};

    /// Bits of `watchdog_info::options`.
    pub(super) const SET_TIMEOUT: u32 = 0x80;
    pub(super) const MAGIC_CLOSE: u32 = 0x100;

    /// `struct watchdog_info`.
    #[repr(C)]
    struct Info {
        options: u32,
        _firmware_version: u32,
        _identity: [u8; 32],
    }

    const GET_SUPPORT: Opcode = opcode::read::<Info>(b'W', 0);
    const GET_BOOT_STATUS: Opcode = opcode::read::<c_int>(b'W', 2);
    const SET_TIMEOUT_CODE: Opcode = opcode::read_write::<c_int>(b'W', 6);
    const GET_TIMEOUT: Opcode = opcode::read::<c_int>(b'W', 7);

    /// What it can do.
    pub(super) fn support(file: &File) -> io::Result<u32> {
        // SAFETY: WDIOC_GETSUPPORT fills a struct watchdog_info; any bits are valid in its fields.
        let info: Info = unsafe { ioctl(file, Getter::<GET_SUPPORT, Info>::new()) }?;
        Ok(info.options)
    }

    /// Bits that say why the board started.
    pub(super) fn boot_status(file: &File) -> io::Result<u32> {
        // SAFETY: WDIOC_GETBOOTSTATUS fills an int.
        let bits: c_int = unsafe { ioctl(file, Getter::<GET_BOOT_STATUS, c_int>::new()) }?;
        Ok(bits.cast_unsigned())
    }

    /// Seconds until the reset.
    pub(super) fn timeout(file: &File) -> io::Result<c_int> {
        // SAFETY: WDIOC_GETTIMEOUT fills an int.
        Ok(unsafe { ioctl(file, Getter::<GET_TIMEOUT, c_int>::new()) }?)
    }

    /// Asks for other seconds until the reset.
    pub(super) fn set_timeout(file: &File, seconds: u16) -> io::Result<()> {
        let mut seconds = c_int::from(seconds);
        // SAFETY: WDIOC_SETTIMEOUT reads an int and writes what it became to the same place, which lives
        // until the call is over.
        Ok(unsafe { ioctl(file, Updater::<SET_TIMEOUT_CODE, c_int>::new(&mut seconds)) }?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// A folder like `/sys/class/watchdog`.
    fn sysfs_with(watchdogs: &[(&str, &[(&str, &str)])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, attributes) in watchdogs {
            fs::create_dir(root.path().join(name)).unwrap();
            for (attribute, value) in *attributes {
                fs::write(root.path().join(name).join(attribute), format!("{value}\n")).unwrap();
            }
        }
        root
    }

    /// A file in the place of a watchdog that is open.
    fn opened(root: &tempfile::TempDir) -> KernelWatchdog {
        let node = root.path().join("node");
        KernelWatchdog {
            file: Some(File::create(&node).unwrap()),
            node,
            sysfs: root.path().join("watchdog0"),
            timeout: Duration::from_secs(15),
            last_reset: ResetReason::Unknown,
        }
    }

    fn eaten(root: &tempfile::TempDir) -> Vec<u8> {
        fs::read(root.path().join("node")).unwrap()
    }

    #[test]
    fn a_watchdog_is_found_by_what_it_is() {
        let root = sysfs_with(&[
            ("watchdog0", &[("identity", "Software Watchdog")]),
            ("watchdog1", &[("identity", "i6300ESB timer")]),
        ]);
        assert_eq!(find(root.path(), "i6300ESB timer").unwrap(), Path::new("/dev/watchdog1"));
        let error = find(root.path(), "/dev/watchdog7").unwrap_err().to_string();
        assert_eq!(
            error,
            "the watchdog /dev/watchdog7 is not there; there are /dev/watchdog0 (Software Watchdog), \
             /dev/watchdog1 (i6300ESB timer)"
        );
        let error = find(sysfs_with(&[]).path(), "/dev/watchdog7").unwrap_err().to_string();
        assert!(error.contains("this machine has no watchdog"), "{error}");
    }

    #[test]
    fn a_watchdog_that_another_program_has_says_so() {
        let root = sysfs_with(&[("watchdog0", &[("identity", "Software Watchdog")])]);
        let sysfs = root.path().join("watchdog0");
        let busy = io::ErrorKind::ResourceBusy.into();
        let error = refused(Path::new("/dev/watchdog0"), &sysfs, busy).to_string();
        assert!(error.contains("(Software Watchdog) cannot be used: another program feeds it"), "{error}");
    }

    #[test]
    fn food_is_not_the_magic_close_and_disarming_is() {
        let root = sysfs_with(&[("watchdog0", &[("nowayout", "0"), ("state", "inactive")])]);
        let mut watchdog = opened(&root);
        watchdog.feed().unwrap();
        assert_eq!(eaten(&root), [0]);
        watchdog.disarm().unwrap();
        assert_eq!(eaten(&root), [0, b'V']);
        assert!(watchdog.feed().is_err() && watchdog.disarm().is_ok());
    }

    #[test]
    fn a_watchdog_that_cannot_be_stopped_says_so_and_can_still_be_fed() {
        for attributes in [[("nowayout", "1"), ("state", "active")], [("nowayout", "0"), ("state", "active")]]
        {
            let root = sysfs_with(&[("watchdog0", &attributes)]);
            let mut watchdog = opened(&root);
            let error = watchdog.disarm().unwrap_err().to_string();
            assert!(error.contains("nowayout"), "{error}");
            watchdog.feed().unwrap();
        }
    }

    #[test]
    fn a_file_that_is_no_watchdog_is_refused_and_left() {
        let root = tempfile::tempdir().unwrap();
        let node = root.path().join("node");
        fs::write(&node, "").unwrap();
        let opened = KernelWatchdog::open(root.path(), node.to_str().unwrap(), 15);
        let error = opened.err().unwrap().to_string();
        assert!(error.contains("it is not a watchdog"), "{error}");
        assert!(eaten(&root).is_empty());
    }

    #[test]
    fn the_boot_status_says_why_the_board_started() {
        let reasons = [0, 0x20, 0x21, 0x02, 0x10, 0x60, 0x04, 0x8000].map(reason);
        use ResetReason::{Other, Overheat, Power, Unknown, Watchdog};
        assert_eq!(reasons, [Unknown, Watchdog, Overheat, Overheat, Power, Power, Other, Unknown]);
    }

    proptest! {
        #[test]
        fn no_content_of_sysfs_panics(identity: Vec<u8>, state: Vec<u8>, wanted in "\\PC{0,20}", bits: u32) {
            let root = sysfs_with(&[("watchdog0", &[])]);
            fs::write(root.path().join("watchdog0/identity"), &identity).unwrap();
            fs::write(root.path().join("watchdog0/state"), &state).unwrap();
            let _ = (find(root.path(), &wanted), opened(&root).disarm(), reason(bits));
        }
    }
}
