//! One device, shared by its buttons and its lights, with a thread that reads it, writes its lights and finds it
//! again after it was unplugged: a device that hangs in a write hangs that thread and nobody else.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    sync::{Arc, LazyLock, Weak},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use rostrum_hal::buttons::{ButtonEvent, ButtonRole};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};
use tokio::sync::mpsc;

use super::{
    find::{self, Found, ROOTS},
    telephony::{Lamp, Telephony},
};
use crate::{BoardError, drivers::Device, error::Failure};

/// Time between two looks for a device that is gone, and for one that nobody uses any more.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Time in which a device takes its lights: a report is a transfer of some milliseconds.
const TAKEN_WITHIN: Duration = Duration::from_millis(200);
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
    /// The thread wrote lights, or found that it cannot.
    written: Condvar,
    /// Wakes the thread for lights.
    wake: Arc<OwnedFd>,
}

#[derive(Default)]
struct State {
    /// `None` while it is unplugged.
    open: Option<Open>,
    lit: BTreeMap<Lamp, bool>,
    /// What of it is to be written: the last value of each.
    to_write: BTreeMap<Lamp, bool>,
    /// How often lights were asked for, and of those how many are done.
    asked: u64,
    done: u64,
    /// Somebody waited in vain for what was asked for before.
    hangs: bool,
    /// How the last write ended.
    failed: Option<io::ErrorKind>,
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
        let headset = Self::start(wanted, open);
        let headset = headset
            .map_err(|e| device.failed(unusable(wanted, format!("its thread does not start: {e}"))))?;
        in_use.push(Arc::downgrade(&headset));
        Ok(headset)
    }

    fn start(wanted: &str, open: Option<Open>) -> io::Result<Arc<Self>> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let state = Mutex::new(State { open, ..State::default() });
        let headset = Arc::new(Self { wanted: wanted.into(), state, written: Condvar::new(), wake });
        let watched = Arc::downgrade(&headset);
        std::thread::Builder::new().name("hid".into()).spawn(move || watch(&watched))?;
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

    /// Switches a light, also for when it is plugged in again. A device that does not take it soon is not waited for:
    /// it gets the last value when it takes one.
    pub(super) fn light(&self, lamp: Lamp, on: bool) -> io::Result<()> {
        let mut state = self.state.lock();
        state.lit.insert(lamp, on);
        if state.open.is_none() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        state.to_write.insert(lamp, on);
        state.asked += 1;
        let ours = state.asked;
        self.ring();
        let deadline = Instant::now() + TAKEN_WITHIN;
        while state.done < ours {
            if state.hangs || self.written.wait_until(&mut state, deadline).timed_out() {
                state.hangs = true;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not take its lights"));
            }
        }
        state.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn ring(&self) {
        // The number has no meaning; an eventfd that is full wakes as well.
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }

    /// The reports that switch what is to be switched, and how many wishes they are.
    fn reports(&self) -> (Vec<Vec<u8>>, u64) {
        let State { open, to_write, asked, .. } = &mut *self.state.lock();
        let wishes = std::mem::take(to_write);
        let Some(open) = open else { return (Vec::new(), *asked) };
        let reports = wishes.into_iter().filter_map(|(lamp, on)| open.telephony.switch(lamp, on));
        (reports.collect(), *asked)
    }

    fn wrote(&self, result: &io::Result<()>, wishes: u64) {
        if let Err(error) = result {
            log::debug!(device = self.wanted.as_str(), error:%; "its lights cannot be written");
        }
        let mut state = self.state.lock();
        state.failed = result.as_ref().err().map(io::Error::kind);
        state.done = wishes;
        state.hangs = false;
        self.written.notify_all();
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
        let State { open, lit, listener, .. } = &mut *self.state.lock();
        let Some(open) = open else { return Ok(()) };
        for event in open.telephony.report(&bytes[..count], lit) {
            tell(listener, Heard::Button(event));
        }
        Ok(())
    }

    fn lost(&self, error: &io::Error) {
        let mut state = self.state.lock();
        state.open = None;
        state.failed = Some(error.kind());
        state.done = state.asked;
        state.hangs = false;
        self.written.notify_all();
        log::debug!(device = self.wanted.as_str(), error:%; "unplugged");
        tell(&mut state.listener, Heard::Gone(format!("the speakerphone {}: {error}", self.wanted)));
    }

    /// Looks for the device and brings its lights back to what they were.
    fn find_again(&self) {
        let Ok(open) = open(&self.wanted) else { return };
        let mut state = self.state.lock();
        state.to_write = state.lit.clone();
        state.open = Some(open);
        self.ring();
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
        let wake = Arc::clone(&strong.wake);
        drop(strong);
        let ready = wait(&file, &wake);
        let Some(strong) = headset.upgrade() else { return };
        let Ready { readable, lights } = match ready {
            Ok(ready) => ready,
            Err(error) => {
                strong.lost(&error);
                continue;
            }
        };
        let read = if readable { strong.read(&file, &mut bytes) } else { Ok(()) };
        if let Err(error) = read {
            strong.lost(&error);
            continue;
        }
        if lights {
            let (reports, wishes) = strong.reports();
            // Nobody waits for us to end while the device hangs.
            drop(strong);
            let written = reports.iter().try_for_each(|report| (&*file).write_all(report));
            let Some(strong) = headset.upgrade() else { return };
            strong.wrote(&written, wishes);
        }
    }
}

/// What there is to do.
struct Ready {
    /// A report, or an error.
    readable: bool,
    /// Lights to write.
    lights: bool,
}

/// Waits for something to do, until the next look at whether it is still used.
fn wait(file: &File, wake: &OwnedFd) -> io::Result<Ready> {
    let patience = Timespec::try_from(LOOK_AGAIN).map_err(io::Error::other)?;
    let mut ends = [PollFd::new(file, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
    match rustix::event::poll(&mut ends, Some(&patience)) {
        Ok(_) => {
            let [readable, lights] = ends.each_ref().map(|end| !end.revents().is_empty());
            if lights {
                // What is asked for from here on wakes again.
                let _ = rustix::io::read(wake, &mut [0; 8]);
            }
            Ok(Ready { readable, lights })
        }
        Err(rustix::io::Errno::INTR) => Ok(Ready { readable: false, lights: false }),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::net::UnixStream;

    use super::{super::descriptor::tests::SPEAKERPHONE, *};

    /// Reads so many bytes, within some seconds.
    fn taken(from: &mut UnixStream, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        from.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        from.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_device_that_hangs_holds_nobody_up_and_gets_the_last_lights_when_it_goes_on() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        // It takes no more, and a write waits for that.
        ours.set_nonblocking(true).unwrap();
        let mut waiting = 0;
        while let Ok(count) = (&ours).write(&[0; 4096]) {
            waiting += count;
        }
        ours.set_nonblocking(false).unwrap();
        let found = Found::of("phone", SPEAKERPHONE);
        let telephony = Telephony::new(&found.descriptor).unwrap();
        let file = Arc::new(File::from(OwnedFd::from(ours)));
        let headset = Headset::start("phone", Some(Open { found, file, telephony })).unwrap();

        let start = Instant::now();
        let kind = |result: io::Result<()>| result.unwrap_err().kind();
        assert_eq!(kind(headset.light(Lamp::Mute, true)), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= TAKEN_WITHIN);
        let start = Instant::now();
        for on in [false, true, false] {
            assert_eq!(kind(headset.light(Lamp::Mute, on)), io::ErrorKind::TimedOut);
        }
        assert_eq!(kind(headset.light(Lamp::OffHook, true)), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < TAKEN_WITHIN, "who waited once waits no more");

        taken(&mut theirs, waiting);
        assert_eq!(taken(&mut theirs, 2), [2, 0b010], "the first wish was on its way");
        assert_eq!(taken(&mut theirs, 4), [2, 0b011, 2, 0b001], "of the others the last");
        let deadline = Instant::now() + Duration::from_secs(20);
        while headset.light(Lamp::Ring, true).is_err() {
            assert!(Instant::now() < deadline, "it goes on and is not used");
        }
        assert_eq!(taken(&mut theirs, 2), [2, 0b101]);
    }
}
