//! Power of the room's screen, on a thread of its own: a screen takes seconds, and may not answer at all.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use rostrum_hal::screen_power::{ScreenPower, ScreenPowerError, ScreenState};

use crate::loan::Lender;

/// Time between two looks whether somebody wants to borrow it.
const TURN: Duration = Duration::from_millis(200);
/// Time that a screen gets until it is asked whether it did what it was told.
const SETTLES: Duration = Duration::from_secs(5);
/// Longest time between two tries with a screen that does not.
const LONGEST: Duration = Duration::from_secs(60);
/// Tries with a screen that does not; then it is left alone until the room wants something else.
const TRIES: u32 = 8;

/// The deciding task's end.
pub(crate) struct ScreenSwitch(mpsc::Sender<bool>);

impl ScreenSwitch {
    /// Starts the thread. It runs as long as the program.
    ///
    /// # Errors
    /// When there are no threads left.
    pub(crate) fn start(
        power: Box<dyn ScreenPower>,
        lender: Lender<Box<dyn ScreenPower>>,
    ) -> std::io::Result<Self> {
        let (sender, wanted) = mpsc::channel();
        std::thread::Builder::new()
            .name("screen-power".into())
            .spawn(move || run(power, lender, &wanted, SETTLES))?;
        Ok(Self(sender))
    }

    /// Wakes the screen, or sends it to standby.
    pub(crate) fn switch(&self, on: bool) {
        // The thread ends only with the program.
        let _ = self.0.send(on);
    }
}

fn run(
    mut power: Box<dyn ScreenPower>,
    mut lender: Lender<Box<dyn ScreenPower>>,
    wanted: &mpsc::Receiver<bool>,
    settles: Duration,
) {
    let mut next = None;
    let mut last = None;
    loop {
        if let Some(ask) = lender.asked() {
            power = ask.lend(power).blocking_wait();
            // Whoever had it may have left it otherwise.
            next = next.or(last);
        }
        if let Some(on) = next.take() {
            last = Some(on);
            next = bring(&mut *power, on, wanted, settles);
            continue;
        }
        match wanted.recv_timeout(TURN) {
            Ok(on) => next = Some(on),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Switches until the screen is as it should be, or does not for long; what is wanted meanwhile, if anything.
fn bring(
    power: &mut dyn ScreenPower,
    on: bool,
    wanted: &mpsc::Receiver<bool>,
    settles: Duration,
) -> Option<bool> {
    let mut pause = settles;
    for attempt in 0..TRIES {
        let switched = if on { power.wake() } else { power.standby() };
        match wanted.recv_timeout(pause) {
            Ok(other) => return Some(other),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        match switched.and_then(|()| is_as_wanted(power, on)) {
            Ok(true) => {
                log::info!(screen = power.name(), on; "the screen was switched");
                return None;
            }
            Ok(false) if attempt == 0 => log::debug!(on; "the screen does not do it yet"),
            Err(error) if attempt == 0 => log::warn!(on, error:%; "the screen is not switched; trying again"),
            Ok(false) | Err(_) => {}
        }
        pause = (pause * 2).min(LONGEST);
    }
    log::warn!(screen = power.name(), on; "the screen is left as it is; switch it by its remote control");
    None
}

/// A screen that does not say is believed to have done it.
fn is_as_wanted(power: &mut dyn ScreenPower, on: bool) -> Result<bool, ScreenPowerError> {
    Ok(match power.state()? {
        None => true,
        Some(ScreenState::Standby) => !on,
        Some(ScreenState::On | ScreenState::Waking) => on,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    /// A screen that hears only each n-th message.
    #[derive(Clone)]
    struct HardOfHearing {
        each: u32,
        heard: Arc<Mutex<(u32, bool)>>,
    }

    impl HardOfHearing {
        fn new(each: u32) -> Self {
            Self { each, heard: Arc::default() }
        }

        fn told(&self, on: bool) -> Result<(), ScreenPowerError> {
            let mut heard = self.heard.lock();
            heard.0 += 1;
            if !heard.0.is_multiple_of(self.each) {
                return Err(ScreenPowerError::NoAnswer { name: "it".into() });
            }
            heard.1 = on;
            Ok(())
        }
    }

    impl ScreenPower for HardOfHearing {
        fn name(&self) -> String {
            "it".into()
        }
        fn wake(&mut self) -> Result<(), ScreenPowerError> {
            self.told(true)
        }
        fn standby(&mut self) -> Result<(), ScreenPowerError> {
            self.told(false)
        }
        fn state(&mut self) -> Result<Option<ScreenState>, ScreenPowerError> {
            Ok(Some(if self.heard.lock().1 { ScreenState::On } else { ScreenState::Standby }))
        }
    }

    #[test]
    fn a_screen_that_does_not_answer_is_told_again_until_it_does() {
        let (screen, (_keep, wanted)) = (HardOfHearing::new(3), mpsc::channel());
        assert_eq!(bring(&mut screen.clone(), true, &wanted, SOON), None);
        assert_eq!(*screen.heard.lock(), (3, true));
    }

    #[test]
    fn a_screen_that_never_answers_is_left_alone_after_some_tries() {
        let (screen, (_keep, wanted)) = (HardOfHearing::new(1_000), mpsc::channel());
        assert_eq!(bring(&mut screen.clone(), true, &wanted, SOON), None);
        assert_eq!(*screen.heard.lock(), (TRIES, false));
    }

    #[test]
    fn what_is_wanted_meanwhile_takes_the_place_of_what_was() {
        let (screen, (want, wanted)) = (HardOfHearing::new(1_000), mpsc::channel());
        assert_eq!(want.send(false), Ok(()));
        let next = bring(&mut screen.clone(), true, &wanted, Duration::from_secs(60));
        assert_eq!(next, Some(false));
    }
}
