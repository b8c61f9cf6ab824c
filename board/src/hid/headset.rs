//! One device, shared by its buttons and its lights, with a thread that reads it and finds it again after it
//! was unplugged.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    sync::{Arc, LazyLock, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use rostrum_hal::buttons::{ButtonEvent, ButtonRole};
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::sync::mpsc;

use super::{
    find::{self, Found, ROOTS},
    telephony::{Lamp, Telephony},
};
use crate::{BoardError, drivers::Device, error::Failure};

/// Time between two looks for a device that is gone, and for one that nobody uses any more.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Presses that wait for who does not look; more are lost.
const QUEUE: usize = 64;
/// Linux gives no longer reports.
const LONGEST: usize = 16_384;

/// The devices that are in use, by the name in the profile: its buttons and lights must know of each other,
/// and no driver knows the sections of the others.
static IN_USE: LazyLock<Mutex<Vec<Weak<Headset>>>> = LazyLock::new(Mutex::default);

/// What its buttons hear.
#[derive(Debug)]
pub(super) enum Heard {
    Button(ButtonEvent),
    /// It was unplugged.
    Gone(String),
}

/// A speakerphone or headset by its name in the profile, plugged in or not.
pub(super) struct Headset {
    wanted: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` while it is unplugged.
    open: Option<Open>,
    lit: BTreeMap<Lamp, bool>,
    listener: Option<mpsc::Sender<Heard>>,
}

struct Open {
    found: Found,
    file: Arc<File>,
    telephony: Telephony,
}

impl Headset {
    /// The device of that name, opened now unless something of ours uses it, by this name or another of its own.
    pub(super) fn of(wanted: &str, device: &Device<'_>) -> Result<Arc<Self>, BoardError> {
        let mut in_use = IN_USE.lock();
        in_use.retain(|headset| headset.strong_count() > 0);
        if let Some(headset) = in_use.iter().filter_map(Weak::upgrade).find(|h| h.is(wanted)) {
            return Ok(headset);
        }
        let open = device.now_or_later(open(wanted))?;
        let headset =
            Arc::new(Self { wanted: wanted.into(), state: Mutex::new(State { open, ..State::default() }) });
        in_use.push(Arc::downgrade(&headset));
        let watched = Arc::downgrade(&headset);
        let thread = std::thread::Builder::new().name("hid".into()).spawn(move || watch(&watched));
        thread.map_err(|e| device.failed(unusable(wanted, format!("its thread does not start: {e}"))))?;
        Ok(headset)
    }

    fn is(&self, wanted: &str) -> bool {
        let is_found = |open: &Open| open.found.is(wanted);
        self.wanted.eq_ignore_ascii_case(wanted) || self.state.lock().open.as_ref().is_some_and(is_found)
    }

    /// It is plugged in.
    pub(super) fn is_there(&self) -> bool {
        self.state.lock().open.is_some()
    }

    pub(super) fn wanted(&self) -> &str {
        &self.wanted
    }

    /// Buttons and lights that it has; none while it is unplugged.
    pub(super) fn has(&self) -> (Vec<ButtonRole>, Vec<Lamp>) {
        let state = self.state.lock();
        state.open.as_ref().map_or_else(Default::default, |o| (o.telephony.buttons(), o.telephony.lamps()))
    }

    /// What its buttons do from now on.
    pub(super) fn listen(&self) -> mpsc::Receiver<Heard> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut state = self.state.lock();
        state.listener = Some(sender);
        if state.open.is_none() {
            let message = format!("the speakerphone {} is not there", self.wanted);
            tell(&mut state.listener, Heard::Gone(message));
        }
        receiver
    }

    /// Switches a light, also for when it is plugged in again.
    pub(super) fn light(&self, lamp: Lamp, on: bool) -> io::Result<()> {
        let mut state = self.state.lock();
        state.lit.insert(lamp, on);
        match &mut state.open {
            Some(open) => open.switch(lamp, on),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Takes one report. Whether there was one.
    fn read(&self, file: &Arc<File>, bytes: &mut [u8]) -> io::Result<()> {
        let count = match (&**file).read(bytes) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(());
            }
            // The node of a device that is gone may end in place of an error.
            Ok(0) => return Err(io::ErrorKind::NotConnected.into()),
            count => count?,
        };
        let State { open, lit, listener } = &mut *self.state.lock();
        let Some(open) = open else { return Ok(()) };
        for event in open.telephony.report(&bytes[..count], lit) {
            tell(listener, Heard::Button(event));
        }
        Ok(())
    }

    fn lost(&self, error: &io::Error) {
        let mut state = self.state.lock();
        state.open = None;
        log::debug!(device = self.wanted.as_str(), error:%; "unplugged");
        tell(&mut state.listener, Heard::Gone(format!("the speakerphone {}: {error}", self.wanted)));
    }

    /// Looks for the device and brings its lights back to what they were.
    fn find_again(&self) {
        let Ok(mut open) = open(&self.wanted) else { return };
        let mut state = self.state.lock();
        if let Err(error) = state.lit.iter().try_for_each(|(lamp, on)| open.switch(*lamp, *on)) {
            log::warn!(device = self.wanted.as_str(), error:%; "a speakerphone is back without its lights");
        }
        state.open = Some(open);
    }
}

impl Open {
    fn switch(&mut self, lamp: Lamp, on: bool) -> io::Result<()> {
        match self.telephony.switch(lamp, on) {
            Some(report) => (&*self.file).write_all(&report),
            None => Ok(()),
        }
    }
}

fn tell(listener: &mut Option<mpsc::Sender<Heard>>, heard: Heard) {
    if listener.as_ref().is_some_and(|listener| listener.try_send(heard).is_err()) {
        log::debug!("nobody looks at the buttons of a speakerphone");
    }
}

/// Reads the device until nobody uses it any more.
fn watch(headset: &Weak<Headset>) {
    let mut bytes = vec![0; LONGEST];
    loop {
        let Some(strong) = headset.upgrade() else { return };
        let file = strong.state.lock().open.as_ref().map(|open| Arc::clone(&open.file));
        let Some(file) = file else {
            strong.find_again();
            let found = strong.state.lock().open.is_some();
            drop(strong);
            if !found {
                std::thread::sleep(LOOK_AGAIN);
            }
            continue;
        };
        drop(strong);
        let readable = wait(&file);
        let Some(strong) = headset.upgrade() else { return };
        let read = readable.and_then(|readable| match readable {
            true => strong.read(&file, &mut bytes),
            false => Ok(()),
        });
        if let Err(error) = read {
            strong.lost(&error);
        }
    }
}

/// Whether there is something to read, or an error, before the next look at whether it is still used.
fn wait(file: &File) -> io::Result<bool> {
    let patience = Timespec::try_from(LOOK_AGAIN).map_err(io::Error::other)?;
    match rustix::event::poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&patience)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Opens the interface of that device which has telephony.
fn open(wanted: &str) -> Result<Open, Failure> {
    let devices = find::devices(&ROOTS);
    let matching: Vec<_> = devices.iter().filter(|found| found.is(wanted)).collect();
    if matching.is_empty() {
        let titles: Vec<_> = devices.iter().map(Found::title).collect();
        let hint = if titles.is_empty() {
            "there is no HID device; plug it in".into()
        } else {
            format!("there are {}", titles.join(", "))
        };
        return Err(Failure::Absent { name: format!("the speakerphone {wanted}"), hint });
    }
    let telephony = matching.iter().find_map(|found| Some((*found, Telephony::new(&found.descriptor)?)));
    let Some((found, telephony)) = telephony else {
        return Err(unusable(wanted, "it has no telephony buttons or lights; use the driver evdev".into()));
    };
    let mut options = OpenOptions::new();
    let nonblocking = libc::O_NONBLOCK;
    let file = options.read(true).write(true).custom_flags(nonblocking).open(&found.node);
    let file = file.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "; let a udev rule give it to this program's user",
            _ => "",
        };
        unusable(wanted, format!("{}: {error}{hint}", found.node.display()))
    })?;
    Ok(Open { found: found.clone(), file: Arc::new(file), telephony })
}

fn unusable(wanted: &str, message: String) -> Failure {
    Failure::Unusable { name: format!("the speakerphone {wanted}"), message }
}
