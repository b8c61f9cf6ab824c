//! The virtual board: a complete board of software, as much a product as one of metal.
//!
//! [`VirtualBoard`] is a handle that can be cloned. Its devices ([`VirtualBoard::camera`], ...) are what
//! `board/` opens for the profile `virtual`; the handle itself is what a hand, an eye or a test has of a
//! real board: it presses buttons, sees lights and the screen, moves the mute switch, hears what was
//! said and played, and breaks things ([`Fault`]).
//!
//! Camera, microphones and speaker share one clock, so what the speaker plays comes back to the
//! microphones as echo, and [`bar`] tells when a picture was taken.

pub mod bar;
mod camera;
mod clip;
mod controls;
mod draw;
mod fault;
mod front;
mod microphones;
mod room_response;
mod scene;
mod speaker;
mod tape;
mod view;
mod voice;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

pub use camera::SimCamera;
pub use clip::{ClipAudio, ClipFrame, ClipSource, ClipVideo};
pub use controls::SimCameraControls;
pub use fault::{Fault, UnknownFault};
pub use front::{
    SimButtons, SimDisplay, SimIdentity, SimIndicator, SimMuteSwitch, SimPresence, SimScreenPower,
    SimWatchdog,
};
pub use microphones::SimMicrophones;
pub use speaker::SimSpeaker;

use crate::{
    Frame, FrameSize, Timestamp,
    buttons::{ButtonEvent, ButtonRole},
    identity::Udid,
    indicator::{IndicatorRole, Signal},
    microphone::Position,
    notify::Notify,
};
use controls::ControlValues;
use tape::Tape;

/// Samples a second of the virtual microphones and speaker.
pub const RATE_HZ: u32 = 48_000;
/// Samples of each channel in one period of the virtual microphones and speaker.
pub const PERIOD_FRAMES: usize = 480;
/// How much sound the board remembers.
const TAPE_SECONDS: usize = 60;
/// Presses that wait for a program that does not look at its buttons.
const MAX_WAITING_PRESSES: usize = 64;

/// What a virtual board is made of.
#[derive(Clone)]
pub struct VirtualBoardOptions {
    /// Stands in the camera's bar.
    pub camera_id: u8,
    /// Makes rooms differ: the scene's colours, and who talks and what.
    pub seed: u64,
    /// Name of the terminal; `None` is a board that nobody provisioned.
    pub udid: Option<Udid>,
    /// Where its microphones sit; one channel each.
    pub microphones: Vec<Position>,
    /// Channels of its speaker, 1 or 2.
    pub speaker_channels: usize,
    /// Size of its screen.
    pub display_size: FrameSize,
    /// Size of its second screen, when it is used.
    pub content_display_size: FrameSize,
    /// What its indicators stand for.
    pub indicators: Vec<IndicatorRole>,
    /// What its buttons mean.
    pub buttons: Vec<ButtonRole>,
    /// Time without food until its watchdog would reset it.
    pub watchdog_timeout: Duration,
    /// A recording that the camera sees and the microphones hear, in the place of the drawn scene.
    pub clip: Option<Arc<dyn ClipSource>>,
}

impl Default for VirtualBoardOptions {
    /// Four microphones on 6.5 cm, a mono speaker, a 1280x720 screen, all lights and buttons.
    fn default() -> Self {
        Self {
            camera_id: 0,
            seed: 1,
            udid: None,
            microphones: linear_array(4, 0.065),
            speaker_channels: 1,
            display_size: FrameSize::new(1280, 720),
            content_display_size: FrameSize::new(1280, 720),
            indicators: vec![IndicatorRole::Status, IndicatorRole::Mute],
            buttons: vec![ButtonRole::Join, ButtonRole::Mute, ButtonRole::VolumeUp, ButtonRole::VolumeDown],
            watchdog_timeout: Duration::from_secs(15),
            clip: None,
        }
    }
}

/// `count` microphones evenly on a line of `length_m` metres across the front.
pub fn linear_array(count: usize, length_m: f32) -> Vec<Position> {
    let gaps = count.saturating_sub(1).max(1) as f32;
    let start = if count > 1 { -length_m / 2.0 } else { 0.0 };
    (0..count).map(|i| Position { x: start + length_m * i as f32 / gaps, y: 0.0, z: 0.0 }).collect()
}

/// What a person in front of the board sees; see [`VirtualBoard::state`].
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct BoardState {
    /// What each light shows.
    pub indicators: BTreeMap<IndicatorRole, Signal>,
    /// Whether each button is held down.
    pub buttons: BTreeMap<ButtonRole, bool>,
    /// Whether the hardware switch cuts the microphones.
    pub mute_switch_cut: bool,
    /// Whether the screen is on, and not in standby.
    pub screen_on: bool,
    /// Faults that are active.
    pub faults: BTreeSet<Fault>,
    /// The watchdog.
    pub watchdog: WatchdogState,
}

/// What the watchdog does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchdogState {
    /// Nobody opened it, or it was disarmed.
    Off,
    /// It runs and is fed.
    Fed,
    /// Nobody fed it in time: a real board would have been reset.
    Expired,
}

/// Which of the board's sounds; see [`VirtualBoard::sound`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SoundTap {
    /// What was said in the room (or the recording's sound), without echo, noise and switch.
    Scene,
    /// What the first microphone gave: with echo and noise, silent when cut.
    Microphone,
    /// What the speaker played, all channels mixed to one.
    Speaker,
}

/// A piece of mono sound at [`RATE_HZ`].
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// When its first sample was heard.
    pub start: Timestamp,
    /// Samples, -1.0..=1.0.
    pub samples: Vec<f32>,
}

/// A handle of the virtual board; clones are of the same board.
#[derive(Clone)]
pub struct VirtualBoard {
    shared: Arc<Shared>,
}

struct Shared {
    options: VirtualBoardOptions,
    /// Sample 0 of microphones and speaker, and position 0 of the recording.
    epoch: Timestamp,
    state: Mutex<State>,
    controls: Mutex<ControlValues>,
    changes: Notify,
    screen: Screen,
    content_screen: Screen,
    scene: Mutex<Tape>,
    microphone: Mutex<Tape>,
    speaker: Mutex<Tape>,
}

/// What a screen shows.
#[derive(Default)]
struct Screen {
    frame: Mutex<Option<Frame>>,
    changes: Notify,
}

struct State {
    indicators: BTreeMap<IndicatorRole, Signal>,
    buttons: BTreeMap<ButtonRole, bool>,
    presses: VecDeque<ButtonEvent>,
    mute_switch_cut: bool,
    present: bool,
    screen_on: bool,
    faults: BTreeSet<Fault>,
    /// When the watchdog was fed last; `None` when it is off.
    fed: Option<Timestamp>,
    scene_loudness: f32,
}

impl VirtualBoard {
    /// Builds a board: dark lights, nothing pressed, switch not cutting, somebody in the room, the
    /// screen in standby.
    pub fn new(options: VirtualBoardOptions) -> Self {
        let state = State {
            indicators: options.indicators.iter().map(|&role| (role, Signal::OFF)).collect(),
            buttons: options.buttons.iter().map(|&role| (role, false)).collect(),
            presses: VecDeque::new(),
            mute_switch_cut: false,
            present: true,
            screen_on: false,
            faults: BTreeSet::new(),
            fed: None,
            scene_loudness: 1.0,
        };
        let epoch = Timestamp::now();
        let tape = || Mutex::new(Tape::new(TAPE_SECONDS * RATE_HZ as usize));
        Self {
            shared: Arc::new(Shared {
                options,
                epoch,
                state: Mutex::new(state),
                controls: Mutex::default(),
                changes: Notify::default(),
                screen: Screen::default(),
                content_screen: Screen::default(),
                scene: tape(),
                microphone: tape(),
                speaker: tape(),
            }),
        }
    }

    /// What it was made of.
    pub fn options(&self) -> &VirtualBoardOptions {
        &self.shared.options
    }

    /// Its camera.
    pub fn camera(&self) -> SimCamera {
        SimCamera::new(self.clone())
    }

    /// The controls of its camera.
    pub fn camera_controls(&self) -> SimCameraControls {
        SimCameraControls::new(self.clone())
    }

    /// Its microphones.
    pub fn microphones(&self) -> SimMicrophones {
        SimMicrophones::new(self.clone())
    }

    /// Its speaker.
    pub fn speaker(&self) -> SimSpeaker {
        SimSpeaker::new(self.clone())
    }

    /// Its screen.
    pub fn display(&self) -> SimDisplay {
        SimDisplay::first(self.clone())
    }

    /// Its second screen.
    pub fn content_display(&self) -> SimDisplay {
        SimDisplay::second(self.clone())
    }

    /// The light for `role`, when it has one.
    pub fn indicator(&self, role: IndicatorRole) -> Option<SimIndicator> {
        self.shared.options.indicators.contains(&role).then(|| SimIndicator::new(self.clone(), role))
    }

    /// Its buttons.
    pub fn buttons(&self) -> SimButtons {
        SimButtons::new(self.clone())
    }

    /// Its mute switch.
    pub fn mute_switch(&self) -> SimMuteSwitch {
        SimMuteSwitch::new(self.clone())
    }

    /// Its presence sensor.
    pub fn presence(&self) -> SimPresence {
        SimPresence::new(self.clone())
    }

    /// The power of its screen.
    pub fn screen_power(&self) -> SimScreenPower {
        SimScreenPower::new(self.clone())
    }

    /// Starts its watchdog.
    pub fn watchdog(&self) -> SimWatchdog {
        SimWatchdog::start(self.clone())
    }

    /// Its identity.
    pub fn identity(&self) -> SimIdentity {
        SimIdentity::new(self.clone())
    }

    /// What a person in front of the board sees now.
    pub fn state(&self) -> BoardState {
        let state = self.shared.state.lock();
        let watchdog = match state.fed {
            None => WatchdogState::Off,
            Some(fed) if Timestamp::now().saturating_since(fed) > self.shared.options.watchdog_timeout => {
                WatchdogState::Expired
            }
            Some(_) => WatchdogState::Fed,
        };
        BoardState {
            indicators: state.indicators.clone(),
            buttons: state.buttons.clone(),
            mute_switch_cut: state.mute_switch_cut,
            screen_on: state.screen_on,
            faults: state.faults.clone(),
            watchdog,
        }
    }

    /// Waits for changes of [`VirtualBoard::state`] and of the camera's controls, from now on.
    pub fn changes(&self) -> Changes {
        Changes { seen: self.shared.changes.count(), board: self.clone() }
    }

    /// Holds a button down (`true`) or lets it go. Nothing happens when it is so already, or when the
    /// board has no such button (`false` is returned).
    pub fn press(&self, button: ButtonRole, pressed: bool) -> bool {
        let mut state = self.shared.state.lock();
        let Some(held) = state.buttons.get_mut(&button) else { return false };
        if std::mem::replace(held, pressed) != pressed {
            if state.presses.len() == MAX_WAITING_PRESSES {
                state.presses.pop_front();
            }
            state.presses.push_back(ButtonEvent { button, pressed });
            drop(state);
            self.shared.changes.notify();
        }
        true
    }

    /// Presses a button and lets it go; `false` when the board has no such button.
    pub fn push(&self, button: ButtonRole) -> bool {
        self.press(button, true) && self.press(button, false)
    }

    /// Moves the mute switch; `true` cuts the microphones.
    pub fn set_mute_switch(&self, cut: bool) {
        self.change(|state| state.mute_switch_cut = cut);
    }

    /// Lets people into the room (`true`) or out of it, for its presence sensor alone.
    pub fn set_presence(&self, present: bool) {
        self.change(|state| state.present = present);
    }

    /// Injects (`true`) or clears a fault.
    pub fn set_fault(&self, fault: Fault, active: bool) {
        self.change(|state| {
            if active {
                state.faults.insert(fault);
            } else {
                state.faults.remove(&fault);
            }
        });
    }

    /// Whether a fault is active.
    pub fn has_fault(&self, fault: Fault) -> bool {
        self.shared.state.lock().faults.contains(&fault)
    }

    /// Makes the room's own sound louder or quieter: 1.0 is as it is, 0.0 an empty room.
    pub fn set_scene_loudness(&self, factor: f32) {
        self.change(|state| state.scene_loudness = factor.max(0.0));
    }

    /// The picture that the screen shows; `None` before the first.
    pub fn screen(&self) -> Option<Frame> {
        self.shared.screen.frame.lock().clone()
    }

    /// The picture that the second screen shows; `None` before the first.
    pub fn content_screen(&self) -> Option<Frame> {
        self.shared.content_screen.frame.lock().clone()
    }

    /// How many pictures the screen has shown.
    pub fn screen_count(&self) -> u64 {
        self.shared.screen.changes.count()
    }

    /// Waits until [`VirtualBoard::screen_count`] is no longer `seen`, and gives it.
    pub async fn screen_after(&self, seen: u64) -> u64 {
        self.shared.screen.changes.after(seen).await
    }

    /// The newest `length` of a sound, at most the last 60 s; shorter when less was heard. Empty when the
    /// device was never used.
    pub fn sound(&self, tap: SoundTap, length: Duration) -> Sound {
        let tape = match tap {
            SoundTap::Scene => &self.shared.scene,
            SoundTap::Microphone => &self.shared.microphone,
            SoundTap::Speaker => &self.shared.speaker,
        };
        let samples = usize::try_from(length.as_millis() * u128::from(RATE_HZ) / 1000).unwrap_or(usize::MAX);
        let tape = tape.lock();
        let mut end = tape.end();
        if tap == SoundTap::Speaker {
            // What waits in the speaker's buffer has not been heard.
            end = end.min(self.shared.sample_at(Timestamp::now()));
        }
        let (start, samples) = tape.read_before(end, samples);
        Sound { start: self.shared.time_of(start), samples }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state.lock());
        self.shared.changes.notify();
    }
}

impl Shared {
    /// When sample `index` of the common sample clock is heard.
    fn time_of(&self, index: u64) -> Timestamp {
        self.epoch + Duration::from_nanos(index * 62_500 / 3)
    }

    /// The sample that is heard at `time`.
    fn sample_at(&self, time: Timestamp) -> u64 {
        let nanos = time.saturating_since(self.epoch).as_nanos();
        u64::try_from(nanos * 3 / 62_500).unwrap_or(u64::MAX)
    }
}

/// Waits for changes of a board; see [`VirtualBoard::changes`].
pub struct Changes {
    board: VirtualBoard,
    seen: u64,
}

impl Changes {
    /// Waits until something changed since the last call; several changes may come as one. Cancel-safe.
    pub async fn changed(&mut self) {
        self.seen = self.board.shared.changes.after(self.seen).await;
    }
}

/// Sleeps until `time` on the clock of [`Timestamp`].
fn sleep_until(time: Timestamp) {
    let left = time.saturating_since(Timestamp::now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}
