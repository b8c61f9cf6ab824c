//! Signals to the lights of the board. A light that fails is tried again, so that one that was unplugged is right
//! when it is back.

use rostrum_hal::indicator::{Indicator, IndicatorRole, Signal};
use rostrum_room::Part;

/// All lights of the board.
pub(crate) struct Lights(Vec<Light>);

struct Light {
    role: IndicatorRole,
    indicator: Box<dyn Indicator>,
    /// What it failed to show.
    owed: Option<Signal>,
}

impl Lights {
    pub(crate) fn new(indicators: Vec<(IndicatorRole, Box<dyn Indicator>)>) -> Self {
        Self(indicators.into_iter().map(|(role, indicator)| Light { role, indicator, owed: None }).collect())
    }

    /// Shows a signal on all lights of a role; what failed, and why.
    pub(crate) fn show(&mut self, role: IndicatorRole, signal: Signal) -> Result<(), (Part, String)> {
        let mut result = Ok(());
        for light in self.0.iter_mut().filter(|light| light.role == role) {
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
        for light in &mut self.0 {
            if let Some(signal) = light.owed
                && light.indicator.show(signal).is_ok()
            {
                light.owed = None;
                healed.push(part_of(light.role));
            }
        }
        healed
            .retain(|part| !self.0.iter().any(|light| light.owed.is_some() && part_of(light.role) == *part));
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
        let mut lights = Lights::new(lamps.map(|(role, lamp)| (role, Box::new(lamp) as _)).into());
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
        let mut lights = Lights::new(vec![(IndicatorRole::Mute, Box::new(lamp.clone()) as _)]);
        lamp.unplugged.store(true, SeqCst);
        assert!(lights.show(IndicatorRole::Mute, Signal::RED).is_err());
        lamp.unplugged.store(false, SeqCst);
        // The room answers a fault with a signal.
        assert_eq!(lights.show(IndicatorRole::Mute, Signal::OFF), Ok(()));
        assert_eq!(lights.try_again(), [Part::MuteLight]);
        assert_eq!(*lamp.shown.lock(), Some(Signal::OFF));
    }
}
