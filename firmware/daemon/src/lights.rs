//! Signals to the lights of the board. A light that fails is tried again, so that one that was unplugged is right
//! when it is back.

use std::collections::HashMap;

use rostrum_hal::indicator::{Indicator, IndicatorRole, Signal};
use rostrum_room::Part;

use crate::loan::{Lender, Lent};

/// All lights of the board.
pub(crate) struct Lights {
    all: Vec<Light>,
    lender: Lender<LentLights>,
    lent: Option<Lent<LentLights>>,
    /// What each is to show, by role.
    signals: HashMap<IndicatorRole, Signal>,
}

/// Lights on their way to be tested.
pub(crate) type LentLights = Vec<(IndicatorRole, Box<dyn Indicator>)>;

struct Light {
    role: IndicatorRole,
    indicator: Box<dyn Indicator>,
    /// What it failed to show.
    owed: Option<Signal>,
}

impl Lights {
    pub(crate) fn new(indicators: LentLights, lender: Lender<LentLights>) -> Self {
        let light = |(role, indicator)| Light { role, indicator, owed: None };
        let all = indicators.into_iter().map(light).collect();
        Self { all, lender, lent: None, signals: HashMap::new() }
    }

    /// Lends all of them to who asks; those that are back show what they missed.
    pub(crate) fn look_for_lent(&mut self) {
        if self.lent.is_none()
            && let Some(ask) = self.lender.asked()
        {
            let all = std::mem::take(&mut self.all);
            self.lent = Some(ask.lend(all.into_iter().map(|light| (light.role, light.indicator)).collect()));
        }
        if let Some(back) = self.lent.as_mut().and_then(Lent::returned) {
            let signals = &self.signals;
            let light = |(role, mut indicator): (IndicatorRole, Box<dyn Indicator>)| {
                let signal = signals.get(&role).copied();
                let owed = signal.filter(|signal| indicator.show(*signal).is_err());
                Light { role, indicator, owed }
            };
            self.all = back.into_iter().map(light).collect();
            self.lent = None;
        }
    }

    /// Shows a signal on all lights of a role; what failed, and why.
    pub(crate) fn show(&mut self, role: IndicatorRole, signal: Signal) -> Result<(), (Part, String)> {
        self.signals.insert(role, signal);
        let mut result = Ok(());
        for light in self.all.iter_mut().filter(|light| light.role == role) {
            match light.indicator.show(signal) {
                Ok(()) if light.owed.is_none() => {}
                // Only `try_again` tells that it works.
                Ok(()) => light.owed = Some(signal),
                Err(error) => {
                    light.owed = Some(signal);
                    result = Err((part_of(role), error.to_string()));
                }
            }
        }
        result
    }

    /// Tries those that failed again; the parts that work now.
    pub(crate) fn try_again(&mut self) -> Vec<Part> {
        let mut healed = Vec::new();
        for light in &mut self.all {
            if let Some(signal) = light.owed
                && light.indicator.show(signal).is_ok()
            {
                light.owed = None;
                healed.push(part_of(light.role));
            }
        }
        healed.retain(|part| {
            !self.all.iter().any(|light| light.owed.is_some() && part_of(light.role) == *part)
        });
        healed
    }
}

fn part_of(role: IndicatorRole) -> Part {
    match role {
        IndicatorRole::Mute => Part::MuteLight,
        IndicatorRole::Meeting => Part::MeetingLight,
        _ => Part::StatusLight,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    };

    use parking_lot::Mutex;
    use rostrum_hal::indicator::IndicatorError;

    use super::*;
    use crate::loan::{Borrower, desk};

    fn lights(lamps: LentLights) -> (Lights, Borrower<LentLights>) {
        let (borrower, lender) = desk();
        (Lights::new(lamps, lender), borrower)
    }

    /// A lamp on a cable.
    #[derive(Clone, Default)]
    struct Lamp {
        unplugged: Arc<AtomicBool>,
        shown: Arc<Mutex<Option<Signal>>>,
    }

    impl Indicator for Lamp {
        fn show(&mut self, signal: Signal) -> Result<(), IndicatorError> {
            if self.unplugged.load(SeqCst) {
                let source = std::io::ErrorKind::NotConnected.into();
                return Err(IndicatorError::Gone { name: "lamp".into(), source });
            }
            *self.shown.lock() = Some(signal);
            Ok(())
        }
    }

    #[test]
    fn a_light_that_was_unplugged_shows_what_it_missed_and_its_part_is_healthy_again() {
        let (lamp, other) = (Lamp::default(), Lamp::default());
        let lamps = [(IndicatorRole::Mute, lamp.clone()), (IndicatorRole::Meeting, other.clone())];
        let (mut lights, _) = lights(lamps.map(|(role, lamp)| (role, Box::new(lamp) as _)).into());
        lamp.unplugged.store(true, SeqCst);
        let failed = lights.show(IndicatorRole::Mute, Signal::RED);
        assert!(matches!(failed, Err((Part::MuteLight, detail)) if detail.contains("lamp is gone")));
        assert_eq!(lights.show(IndicatorRole::Meeting, Signal::GREEN), Ok(()));
        assert_eq!(lights.try_again(), []);
        lamp.unplugged.store(false, SeqCst);
        assert_eq!(lights.try_again(), [Part::MuteLight]);
        assert_eq!((*lamp.shown.lock(), *other.shown.lock()), (Some(Signal::RED), Some(Signal::GREEN)));
        assert_eq!(lights.try_again(), [], "it is told once");
    }

    #[test]
    fn a_light_that_works_again_before_it_is_tried_is_told_to_be_healthy() {
        let lamp = Lamp::default();
        let (mut lights, _) = lights(vec![(IndicatorRole::Mute, Box::new(lamp.clone()) as _)]);
        lamp.unplugged.store(true, SeqCst);
        assert!(lights.show(IndicatorRole::Mute, Signal::RED).is_err());
        lamp.unplugged.store(false, SeqCst);
        // The room answers a fault with a signal.
        assert_eq!(lights.show(IndicatorRole::Mute, Signal::OFF), Ok(()));
        assert_eq!(lights.try_again(), [Part::MuteLight]);
        assert_eq!(*lamp.shown.lock(), Some(Signal::OFF));
    }

    #[tokio::test]
    async fn lights_that_were_lent_show_what_they_missed() {
        let lamp = Lamp::default();
        let (mut lights, borrower) = lights(vec![(IndicatorRole::Mute, Box::new(lamp.clone()) as _)]);
        let borrowed = tokio::spawn(async move { borrower.borrow().await });
        while lights.lent.is_none() {
            lights.look_for_lent();
            tokio::task::yield_now().await;
        }
        let mut loan = borrowed.await.ok().flatten();
        assert_eq!(lights.show(IndicatorRole::Mute, Signal::RED), Ok(()));
        let lent = loan.as_mut().and_then(|loan| loan.as_mut()).and_then(|lights| lights.first_mut());
        assert!(lent.is_some_and(|(_, lamp)| lamp.show(Signal::GREEN).is_ok()));
        assert_eq!(*lamp.shown.lock(), Some(Signal::GREEN));
        drop(loan);
        lights.look_for_lent();
        assert_eq!(*lamp.shown.lock(), Some(Signal::RED));
    }
}
