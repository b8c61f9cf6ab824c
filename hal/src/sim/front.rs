//! What a person sees and touches: screen, lights, buttons, mute switch; and the board's watchdog and name.

use std::time::Duration;

use super::{Fault, Screen, Shared, VirtualBoard};
use crate::{
    Frame, FrameSize, PixelFormat, Timestamp,
    buttons::{ButtonError, ButtonEvent, ButtonRole, Buttons},
    display::{Display, DisplayError},
    identity::{Identity, IdentityError, Udid},
    indicator::{Indicator, IndicatorError, IndicatorRole, Signal},
    mute_switch::{MuteSwitch, MuteSwitchError},
    presence::{Presence, PresenceError},
    screen_power::{ScreenPower, ScreenPowerError, ScreenState},
    watchdog::{ResetReason, Watchdog, WatchdogError},
};

/// A screen of a virtual board; [`VirtualBoard::screen`] and [`VirtualBoard::content_screen`] see it.
pub struct SimDisplay {
    board: VirtualBoard,
    name: &'static str,
    size: FrameSize,
    screen: fn(&Shared) -> &Screen,
    /// The fault that unplugs it.
    gone_with: Option<Fault>,
}

impl SimDisplay {
    pub(super) fn first(board: VirtualBoard) -> Self {
        let size = board.shared.options.display_size;
        Self { board, name: "virtual screen", size, screen: |shared| &shared.screen, gone_with: None }
    }

    pub(super) fn second(board: VirtualBoard) -> Self {
        let size = board.shared.options.content_display_size;
        Self {
            board,
            name: "virtual second screen",
            size,
            screen: |shared| &shared.content_screen,
            gone_with: Some(Fault::ContentDisplayGone),
        }
    }
}

impl Display for SimDisplay {
    fn name(&self) -> String {
        self.name.into()
    }

    fn size(&self) -> FrameSize {
        self.size
    }

    fn show(&mut self, frame: Frame) -> Result<(), DisplayError> {
        if frame.format != PixelFormat::Yuv420 || frame.bytes().is_none() {
            let message = format!("it takes Yuv420 frames in memory, not {:?}", frame.format);
            return Err(DisplayError::Failed { name: self.name(), message });
        }
        self.check()?;
        let screen = (self.screen)(&self.board.shared);
        *screen.frame.lock() = Some(frame);
        screen.changes.notify();
        Ok(())
    }

    fn check(&mut self) -> Result<(), DisplayError> {
        match self.gone_with {
            Some(fault) if self.board.has_fault(fault) => {
                let hint = "take the fault away".into();
                Err(DisplayError::Gone { name: self.name(), hint })
            }
            _ => Ok(()),
        }
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

/// The presence sensor of a virtual board; [`VirtualBoard::set_presence`] empties and fills the room.
pub struct SimPresence {
    board: VirtualBoard,
    told: bool,
}

impl SimPresence {
    pub(super) fn new(board: VirtualBoard) -> Self {
        let told = board.shared.state.lock().present;
        Self { board, told }
    }
}

#[async_trait::async_trait]
impl Presence for SimPresence {
    fn present(&mut self) -> Result<bool, PresenceError> {
        self.told = self.board.shared.state.lock().present;
        Ok(self.told)
    }

    async fn changed(&mut self) -> Result<bool, PresenceError> {
        loop {
            let seen = self.board.shared.changes.count();
            let before = self.told;
            let now = self.present()?;
            if now != before {
                return Ok(now);
            }
            self.board.shared.changes.after(seen).await;
        }
    }
}

/// The power of a virtual board's screen; [`VirtualBoard::state`] tells it.
pub struct SimScreenPower {
    board: VirtualBoard,
}

impl SimScreenPower {
    pub(super) fn new(board: VirtualBoard) -> Self {
        Self { board }
    }
}

impl ScreenPower for SimScreenPower {
    fn name(&self) -> String {
        "virtual screen".into()
    }

    fn wake(&mut self) -> Result<(), ScreenPowerError> {
        self.board.change(|state| state.screen_on = true);
        Ok(())
    }

    fn standby(&mut self) -> Result<(), ScreenPowerError> {
        self.board.change(|state| state.screen_on = false);
        Ok(())
    }

    fn state(&mut self) -> Result<Option<ScreenState>, ScreenPowerError> {
        let on = self.board.shared.state.lock().screen_on;
        Ok(Some(if on { ScreenState::On } else { ScreenState::Standby }))
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

    /// It never resets anything.
    fn last_reset(&self) -> ResetReason {
        ResetReason::Unknown
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{future::Future, pin::pin, task};

    use pollster::block_on;

    use super::*;
    use crate::{
        FrameData,
        sim::{VirtualBoardOptions, WatchdogState},
    };

    fn board() -> VirtualBoard {
        VirtualBoard::new(VirtualBoardOptions::default())
    }

    /// Whether the future is still waiting when it is asked once.
    fn waits(future: impl Future) -> bool {
        let mut context = task::Context::from_waker(task::Waker::noop());
        pin!(future).poll(&mut context).is_pending()
    }

    #[test]
    fn presses_arrive_in_order_and_are_seen_through_the_handle() {
        let board = board();
        let mut buttons = board.buttons();
        assert!(waits(buttons.next()));
        assert!(board.push(ButtonRole::Join));
        assert!(board.press(ButtonRole::Mute, true) && board.press(ButtonRole::Mute, true));
        let event = |button, pressed| ButtonEvent { button, pressed };
        let expected = [(ButtonRole::Join, true), (ButtonRole::Join, false), (ButtonRole::Mute, true)];
        for (button, pressed) in expected {
            assert_eq!(block_on(buttons.next()).unwrap(), event(button, pressed));
        }
        assert!(waits(buttons.next()), "holding a button down is one press");
        assert!(board.state().buttons[&ButtonRole::Mute] && !board.state().buttons[&ButtonRole::Join]);
    }

    #[test]
    fn a_press_wakes_a_task_that_waits() {
        let board = board();
        let mut buttons = board.buttons();
        let waiting = std::thread::spawn(move || block_on(buttons.next()).unwrap());
        board.push(ButtonRole::VolumeUp);
        assert_eq!(waiting.join().unwrap(), ButtonEvent { button: ButtonRole::VolumeUp, pressed: true });
    }

    #[test]
    fn a_board_without_a_button_or_light_says_so() {
        let options =
            VirtualBoardOptions { buttons: vec![ButtonRole::Join], indicators: vec![], ..Default::default() };
        let board = VirtualBoard::new(options);
        assert!(!board.push(ButtonRole::Mute) && board.push(ButtonRole::Join));
        assert!(board.indicator(IndicatorRole::Mute).is_none());
        assert_eq!(board.buttons().present(), [ButtonRole::Join]);
    }

    #[test]
    fn a_light_is_seen_through_the_handle_and_only_a_change_is_told() {
        let board = board();
        let mut light = board.indicator(IndicatorRole::Mute).unwrap();
        let mut changes = board.changes();
        light.show(Signal::OFF).unwrap();
        assert!(waits(changes.changed()));
        light.show(Signal::RED).unwrap();
        block_on(changes.changed());
        assert_eq!(board.state().indicators[&IndicatorRole::Mute], Signal::RED);
        assert!(waits(changes.changed()));
    }

    #[test]
    fn the_mute_switch_tells_its_moves_and_that_it_is_gone() {
        let board = board();
        let mut switch = board.mute_switch();
        assert!(!switch.cut().unwrap() && waits(switch.moved()));
        board.set_mute_switch(true);
        assert!(block_on(switch.moved()).unwrap());
        board.set_fault(Fault::MuteSwitchGone, true);
        assert!(block_on(switch.moved()).is_err());
        assert!(switch.cut().is_err() && waits(switch.moved()));
        board.set_fault(Fault::MuteSwitchGone, false);
        assert!(block_on(switch.moved()).unwrap(), "it is back where it was");
    }

    #[test]
    fn somebody_is_there_until_the_handle_says_otherwise() {
        let board = board();
        let mut presence = board.presence();
        assert!(presence.present().unwrap() && waits(presence.changed()));
        board.set_presence(false);
        assert!(!block_on(presence.changed()).unwrap() && waits(presence.changed()));
        board.set_presence(true);
        assert!(presence.present().unwrap() && waits(presence.changed()), "it was told");
    }

    #[test]
    fn the_screen_keeps_the_last_frame_and_refuses_what_it_cannot_show() {
        let board = board();
        let mut display = board.display();
        assert!(board.screen().is_none() && display.size() == FrameSize::new(1280, 720));
        let frame = |sequence, format| Frame {
            capture_time: Timestamp::now(),
            sequence,
            format,
            size: FrameSize::new(1280, 720),
            data: FrameData::Bytes(vec![0; 1280 * 720 * 3 / 2].into()),
        };
        display.show(frame(1, PixelFormat::Yuv420)).unwrap();
        display.show(frame(2, PixelFormat::Yuv420)).unwrap();
        assert!(display.show(frame(3, PixelFormat::Mjpeg)).is_err());
        assert_eq!((board.screen().unwrap().sequence, block_on(board.screen_after(1))), (2, 2));
    }

    #[test]
    fn the_second_screen_shows_its_own_picture_and_can_be_unplugged() {
        let board = board();
        let (mut first, mut second) = (board.display(), board.content_display());
        let frame = |sequence| Frame {
            capture_time: Timestamp::now(),
            sequence,
            format: PixelFormat::Yuv420,
            size: FrameSize::new(1280, 720),
            data: FrameData::Bytes(vec![0; 1280 * 720 * 3 / 2].into()),
        };
        first.show(frame(1)).unwrap();
        second.show(frame(2)).unwrap();
        assert_eq!((board.screen().unwrap().sequence, board.content_screen().unwrap().sequence), (1, 2));
        board.set_fault(Fault::ContentDisplayGone, true);
        assert!(matches!(second.check(), Err(DisplayError::Gone { .. })) && first.check().is_ok());
        assert!(second.show(frame(3)).is_err() && board.content_screen().unwrap().sequence == 2);
        board.set_fault(Fault::ContentDisplayGone, false);
        second.show(frame(4)).unwrap();
    }

    #[test]
    fn a_watchdog_without_food_expires_unless_it_was_disarmed() {
        let options =
            VirtualBoardOptions { watchdog_timeout: Duration::from_millis(30), ..Default::default() };
        let board = VirtualBoard::new(options);
        assert_eq!(board.state().watchdog, WatchdogState::Off);
        let mut watchdog = board.watchdog();
        let fed = Timestamp::now();
        while board.state().watchdog == WatchdogState::Fed {
            assert!(Timestamp::now().saturating_since(fed) < Duration::from_secs(5), "it never expires");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(Timestamp::now().saturating_since(fed) >= Duration::from_millis(30));
        assert_eq!(board.state().watchdog, WatchdogState::Expired);
        watchdog.disarm().unwrap();
        assert_eq!(board.state().watchdog, WatchdogState::Off);
    }

    #[test]
    fn a_board_without_a_name_invents_none() {
        assert!(matches!(board().identity().udid(), Err(IdentityError::Absent { .. })));
        let udid = Udid::new("room-1").ok();
        let named = VirtualBoard::new(VirtualBoardOptions { udid: udid.clone(), ..Default::default() });
        assert_eq!(named.identity().udid().ok(), udid);
    }
}
