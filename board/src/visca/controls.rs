//! The controls of a camera behind a [`Link`]. A thread speaks with the camera, so that one that is silent
//! keeps nobody longer than it is waited for; it also finds out when that camera is back.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use rostrum_hal::camera::{CameraControl, CameraControls, CameraError, ControlState};

use super::{
    known::Known,
    link::{Link, LinkError, Patience},
    message::{Command, Inquiry, Refusal, Request},
    scale::Scale,
};

/// Values younger than this are not read again.
const FRESH: Duration = Duration::from_millis(250);
/// A reading that takes longer is not waited for: what is known is told.
const MAX_WAIT: Duration = Duration::from_millis(1500);
/// A control takes one to three requests; only the search for the address of a name can take longer than they.
const MAX_SET: Duration = Duration::from_secs(5);
/// How often to see whether a silent camera is back.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Some cameras need a moment from the end of an automatic to the first value by hand.
const MODE_PAUSE: Duration = Duration::from_millis(60);
const MODE_TRIES: usize = 5;

/// Controls over VISCA.
pub(super) struct ViscaControls {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// Where the camera is, for errors.
    name: String,
    scale: Scale,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    known: Known,
    wishes: VecDeque<Wish>,
    /// What is left of the reading that goes on.
    to_read: VecDeque<Inquiry>,
    /// When the reading that goes on began.
    reading: Option<Instant>,
    /// When the last whole reading began.
    read: Option<Instant>,
    /// The camera does not answer; when to see whether it is back.
    gone: Option<Instant>,
    stop: bool,
}

/// A control to set.
struct Wish {
    control: CameraControl,
    value: i64,
    answer: mpsc::Sender<Result<i64, CameraError>>,
}

impl State {
    fn begin_reading(&mut self) {
        self.to_read = self.known.inquiries().collect();
        self.reading = Some(Instant::now());
    }
}

impl Shared {
    fn gone(&self) -> CameraError {
        CameraError::Gone { name: self.name.clone() }
    }
}

impl ViscaControls {
    /// Begins to speak with the camera; whether it is there shows later.
    pub(super) fn start(name: String, link: Link, scale: Scale) -> io::Result<Self> {
        let mut state = State::default();
        state.begin_reading();
        let shared = Arc::new(Shared { name, scale, state: Mutex::new(state), changed: Condvar::new() });
        let speaker = Speaker { shared: shared.clone(), link };
        let thread = std::thread::Builder::new().name("visca".into()).spawn(move || speaker.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for ViscaControls {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl CameraControls for ViscaControls {
    fn list(&self) -> Result<Vec<ControlState>, CameraError> {
        let asked = Instant::now();
        let mut state = self.shared.state.lock();
        loop {
            if state.gone.is_some() {
                return Err(self.shared.gone());
            }
            if state.read.is_some_and(|read| read + FRESH >= asked) {
                break;
            }
            if state.reading.is_none() {
                state.begin_reading();
                self.shared.changed.notify_all();
            }
            if self.shared.changed.wait_until(&mut state, asked + MAX_WAIT).timed_out() {
                state.read.ok_or_else(|| self.shared.gone())?;
                break;
            }
        }
        Ok(state.known.list(&self.shared.scale))
    }

    fn set(&self, control: CameraControl, value: i64) -> Result<i64, CameraError> {
        let (answer, answered) = mpsc::channel();
        let mut state = self.shared.state.lock();
        if state.known.lacks(control) {
            let present = state.known.list(&self.shared.scale).iter().map(|state| state.control).collect();
            return Err(CameraError::NoControl { control, present });
        }
        if state.gone.is_some() {
            return Err(self.shared.gone());
        }
        state.wishes.push_back(Wish { control, value, answer });
        drop(state);
        self.shared.changed.notify_all();
        answered.recv_timeout(MAX_SET).unwrap_or_else(|_| Err(self.shared.gone()))
    }
}

/// The thread that speaks with the camera.
struct Speaker {
    shared: Arc<Shared>,
    link: Link,
}

enum Task {
    Set(Wish),
    Read(Inquiry),
    Probe,
}

impl Speaker {
    fn run(mut self) {
        while let Some(task) = self.next() {
            match task {
                Task::Set(wish) => {
                    let set = self.set(wish.control, wish.value).map_err(|error| self.told(&error));
                    // Who asked waits for this.
                    let _ = wish.answer.send(set);
                }
                Task::Read(inquiry) => {
                    if self.read(inquiry).is_ok() {
                        self.end_reading();
                    }
                }
                Task::Probe => self.probe(),
            }
        }
    }

    /// Waits for something to do; what somebody waits for goes first.
    fn next(&self) -> Option<Task> {
        let mut state = self.shared.state.lock();
        loop {
            if state.stop {
                return None;
            }
            if let Some(wish) = state.wishes.pop_front() {
                return Some(Task::Set(wish));
            }
            if let Some(inquiry) = state.to_read.pop_front() {
                return Some(Task::Read(inquiry));
            }
            match state.gone {
                Some(probe_at) if Instant::now() >= probe_at => return Some(Task::Probe),
                Some(probe_at) => drop(self.shared.changed.wait_until(&mut state, probe_at)),
                None => self.shared.changed.wait(&mut state),
            }
        }
    }

    fn end_reading(&self) {
        let mut state = self.shared.state.lock();
        if state.to_read.is_empty() {
            state.read = state.reading.take();
            self.shared.changed.notify_all();
        }
    }

    fn probe(&mut self) {
        let answer = self.link.ask(Request::Inquiry(Inquiry::Zoom), Patience::Probe);
        let mut state = self.shared.state.lock();
        if answer.is_err_and(|error| !error.is_answer()) {
            state.gone = Some(Instant::now() + PROBE_EVERY);
            return;
        }
        log::info!(camera = self.shared.name.as_str(); "the camera's controls answer again");
        state.gone = None;
        state.begin_reading();
    }

    /// What an error is to whoever set a control.
    fn told(&self, error: &LinkError) -> CameraError {
        if error.is_answer() {
            CameraError::Failed { name: self.shared.name.clone(), message: error.to_string() }
        } else {
            self.shared.gone()
        }
    }

    fn ask(&mut self, request: Request) -> Result<(), LinkError> {
        let answer = self.link.ask(request, Patience::Full);
        let mut state = self.shared.state.lock();
        match answer {
            Ok(answer) => {
                if let Some(answer) = answer {
                    state.known.learn(answer, &self.shared.scale, Instant::now());
                }
                Ok(())
            }
            Err(error) => {
                if !error.is_answer() {
                    log::warn!(camera = self.shared.name.as_str(), error:%; "the camera's controls are gone");
                    let wishes = std::mem::take(&mut state.wishes);
                    let (gone, stop) = (Some(Instant::now() + PROBE_EVERY), state.stop);
                    *state = State { gone, stop, ..State::default() };
                    for wish in wishes {
                        // It was waited for as long as for the one that failed.
                        let _ = wish.answer.send(Err(self.shared.gone()));
                    }
                    self.shared.changed.notify_all();
                }
                Err(error)
            }
        }
    }

    /// Learns what an inquiry tells; a camera need not know it.
    fn read(&mut self, inquiry: Inquiry) -> Result<(), LinkError> {
        match self.ask(Request::Inquiry(inquiry)) {
            Err(LinkError::Refused(Refusal::Syntax | Refusal::Length) | LinkError::Malformed(_)) => {
                log::debug!(camera = self.shared.name.as_str(), inquiry:?; "the camera lacks a control");
                self.shared.state.lock().known.lack(inquiry);
                Ok(())
            }
            // It cannot tell now.
            Err(LinkError::Refused(_)) => Ok(()),
            other => other,
        }
    }

    fn tell(&mut self, command: Command) -> Result<(), LinkError> {
        self.ask(Request::Command(command))
    }

    fn tell_after_mode(&mut self, command: Command) -> Result<(), LinkError> {
        for _ in 1..MODE_TRIES {
            match self.tell(command) {
                Err(LinkError::Refused(Refusal::NotExecutable)) => std::thread::sleep(MODE_PAUSE),
                result => return result,
            }
        }
        self.tell(command)
    }

    /// Tells the camera, waits until it accepts, and gives the value that it goes to.
    fn set(&mut self, control: CameraControl, value: i64) -> Result<i64, LinkError> {
        use CameraControl as Control;
        let shared = self.shared.clone();
        let scale = &shared.scale;
        let value = scale.range(control).map_or(value, |range| value.clamp(range.minimum, range.maximum));
        let known = || shared.state.lock();
        match control {
            Control::Pan => {
                let tilt = self.aim(Control::Tilt)?;
                self.turn(scale.pan_steps(value), scale.tilt_steps(tilt))?;
            }
            Control::Tilt => {
                let pan = self.aim(Control::Pan)?;
                self.turn(scale.pan_steps(pan), scale.tilt_steps(value))?;
            }
            Control::PanSpeed | Control::TiltSpeed => {
                let speed = |wanted| if wanted == control { value } else { known().known.value(wanted) };
                let pan = scale.pan_speed(speed(Control::PanSpeed));
                let tilt = scale.tilt_speed(speed(Control::TiltSpeed));
                self.tell(Command::PanTiltDrive { pan, tilt })?;
                let known = &mut known().known;
                known.put(control, value);
                known.let_go(Control::Pan);
                known.let_go(Control::Tilt);
            }
            Control::Zoom => {
                let position = scale.zoom_position(value);
                self.tell(Command::ZoomTo(position))?;
                let known = &mut known().known;
                known.aim(control, scale.magnification(position), Instant::now());
                known.put(Control::ZoomSpeed, 0);
            }
            Control::ZoomSpeed => {
                self.tell(Command::ZoomDrive(Scale::zoom_speed(value)))?;
                let known = &mut known().known;
                known.put(control, value);
                known.let_go(Control::Zoom);
            }
            Control::Focus => {
                let position = scale.focus_position(value);
                self.tell(Command::FocusAuto(false))?;
                known().known.put(Control::FocusAuto, 0);
                self.tell_after_mode(Command::FocusTo(position))?;
                known().known.aim(control, scale.focus(position), Instant::now());
            }
            Control::FocusAuto => {
                self.tell(Command::FocusAuto(value == 1))?;
                let known = &mut known().known;
                known.put(control, value);
                known.let_go(Control::Focus);
            }
            Control::Exposure => {
                let row = scale.shutter_row(value);
                self.tell(Command::ExposureAuto(false))?;
                known().known.put(Control::ExposureAuto, 0);
                self.tell_after_mode(Command::ShutterTo(row))?;
                known().known.put(control, scale.exposure(row.into()));
            }
            Control::ExposureAuto => {
                self.tell(Command::ExposureAuto(value == 1))?;
                known().known.put(control, value);
            }
            // Every other is lacking.
            _ => {}
        }
        Ok(known().known.value(control))
    }

    /// Where the other axis is going, or else stands: one command turns both.
    fn aim(&mut self, axis: CameraControl) -> Result<i64, LinkError> {
        let target = self.shared.state.lock().known.target(axis, Instant::now());
        if let Some(target) = target {
            return Ok(target);
        }
        self.ask(Request::Inquiry(Inquiry::PanTilt))?;
        Ok(self.shared.state.lock().known.value(axis))
    }

    fn turn(&mut self, pan: i16, tilt: i16) -> Result<(), LinkError> {
        use CameraControl::{Pan, PanSpeed, Tilt, TiltSpeed};
        let scale = &self.shared.scale;
        let (pan_speed, tilt_speed) = scale.speeds;
        let values = (scale.arc_seconds(pan), scale.arc_seconds(tilt));
        self.tell(Command::PanTiltTo { pan, tilt, pan_speed, tilt_speed })?;
        let now = Instant::now();
        let known = &mut self.shared.state.lock().known;
        known.aim(Pan, values.0, now);
        known.aim(Tilt, values.1, now);
        known.put(PanSpeed, 0);
        known.put(TiltSpeed, 0);
        Ok(())
    }
}
