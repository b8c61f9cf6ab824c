//! What a person sees and touches: screen, lights, buttons, mute switch; and the board's watchdog and name.

use std::time::Duration;

use super::{Fault, VirtualBoard};
use crate::{
    Frame, FrameSize, PixelFormat, Timestamp,
    buttons::{ButtonError, ButtonEvent, ButtonRole, Buttons},
    display::{Display, DisplayError},
    identity::{Identity, IdentityError, Udid},
    indicator::{Indicator, IndicatorError, IndicatorRole, Signal},
    mute_switch::{MuteSwitch, MuteSwitchError},
    watchdog::{Watchdog, WatchdogError},
};

/// The screen of a virtual board; [`VirtualBoard::screen`] sees it.
pub struct SimDisplay {
    board: VirtualBoard,
}

impl SimDisplay {
    pub(super) fn new(board: VirtualBoard) -> Self {
        Self { board }
    }
}

impl Display for SimDisplay {
    fn name(&self) -> String {
        "virtual screen".into()
    }

    fn size(&self) -> FrameSize {
        self.board.shared.options.display_size
    }

    fn show(&mut self, frame: Frame) -> Result<(), DisplayError> {
        if frame.format != PixelFormat::Yuv420 || frame.bytes().is_none() {
            let message = format!("it takes Yuv420 frames in memory, not {:?}", frame.format);
            return Err(DisplayError::Failed { name: self.name(), message });
        }
        *self.board.shared.screen.lock() = Some(frame);
        self.board.shared.screen_changes.notify();
        Ok(())
    }
}

/// A light of a virtual board.
pub struct SimIndicator {
    board: VirtualBoard,
    role: IndicatorRole,
}

impl SimIndicator {
    pub(super) fn new(board: VirtualBoard, role: IndicatorRole) -> Self {
        Self { board, role }
    }
}

impl Indicator for SimIndicator {
    fn show(&mut self, signal: Signal) -> Result<(), IndicatorError> {
        let before = self.board.shared.state.lock().indicators.insert(self.role, signal);
        if before != Some(signal) {
            self.board.shared.changes.notify();
        }
        Ok(())
    }
}

/// The buttons of a virtual board; [`VirtualBoard::press`] presses them.
pub struct SimButtons {
    board: VirtualBoard,
}

impl SimButtons {
    pub(super) fn new(board: VirtualBoard) -> Self {
        Self { board }
    }
}

#[async_trait::async_trait]
impl Buttons for SimButtons {
    fn present(&self) -> Vec<ButtonRole> {
        self.board.shared.options.buttons.clone()
    }

    async fn next(&mut self) -> Result<ButtonEvent, ButtonError> {
        let shared = &self.board.shared;
        loop {
            let seen = shared.changes.count();
            let press = shared.state.lock().presses.pop_front();
            if let Some(event) = press {
                return Ok(event);
            }
            shared.changes.after(seen).await;
        }
    }
}

/// The mute switch of a virtual board; [`VirtualBoard::set_mute_switch`] moves it.
pub struct SimMuteSwitch {
    board: VirtualBoard,
    /// Position told last; `None` when it was unreadable.
    told: Option<bool>,
}

impl SimMuteSwitch {
    pub(super) fn new(board: VirtualBoard) -> Self {
        let told = Some(board.shared.state.lock().mute_switch_cut);
        Self { board, told }
    }
}

#[async_trait::async_trait]
impl MuteSwitch for SimMuteSwitch {
    fn cut(&mut self) -> Result<bool, MuteSwitchError> {
        let state = self.board.shared.state.lock();
        if state.faults.contains(&Fault::MuteSwitchGone) {
            self.told = None;
            return Err(MuteSwitchError::Gone { message: "it was taken off the virtual board".into() });
        }
        self.told = Some(state.mute_switch_cut);
        Ok(state.mute_switch_cut)
    }

    /// Also returns when the switch goes, and when it is back.
    async fn moved(&mut self) -> Result<bool, MuteSwitchError> {
        loop {
            let seen = self.board.shared.changes.count();
            let before = self.told;
            match self.cut() {
                Ok(now) if before == Some(now) => {}
                Err(_) if before.is_none() => {}
                moved => return moved,
            }
            self.board.shared.changes.after(seen).await;
        }
    }
}

/// The watchdog of a virtual board; it resets nothing, but [`VirtualBoard::state`] tells that it would have.
pub struct SimWatchdog {
    board: VirtualBoard,
}

impl SimWatchdog {
    pub(super) fn start(board: VirtualBoard) -> Self {
        board.change(|state| state.fed = Some(Timestamp::now()));
        Self { board }
    }
}

impl Watchdog for SimWatchdog {
    fn timeout(&self) -> Duration {
        self.board.shared.options.watchdog_timeout
    }

    fn feed(&mut self) -> Result<(), WatchdogError> {
        self.board.shared.state.lock().fed = Some(Timestamp::now());
        Ok(())
    }

    fn disarm(&mut self) -> Result<(), WatchdogError> {
        self.board.change(|state| state.fed = None);
        Ok(())
    }
}

/// The name of a virtual board, from its options.
pub struct SimIdentity {
    board: VirtualBoard,
}

impl SimIdentity {
    pub(super) fn new(board: VirtualBoard) -> Self {
        Self { board }
    }
}

impl Identity for SimIdentity {
    fn udid(&self) -> Result<Udid, IdentityError> {
        self.board.shared.options.udid.clone().ok_or_else(|| IdentityError::Absent {
            looked_at: "the virtual board's options; set board.identity.udid in the profile".into(),
        })
    }
}
