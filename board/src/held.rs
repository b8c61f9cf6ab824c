//! Which buttons are held down.

use std::collections::BTreeSet;

use rostrum_hal::buttons::{ButtonEvent, ButtonRole};

/// Makes events out of what a kernel interface says, which may repeat itself.
#[derive(Debug, Default)]
pub(crate) struct Held(BTreeSet<ButtonRole>);

impl Held {
    /// What happened when `button` is down or up now; `None` when it was so already.
    pub(crate) fn now(&mut self, button: ButtonRole, pressed: bool) -> Option<ButtonEvent> {
        let changed = if pressed { self.0.insert(button) } else { self.0.remove(&button) };
        changed.then_some(ButtonEvent { button, pressed })
    }

    /// The buttons are gone.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_events() {
        let mut held = Held::default();
        let event = |button, pressed| Some(ButtonEvent { button, pressed });
        assert_eq!(held.now(ButtonRole::Join, false), None);
        assert_eq!(held.now(ButtonRole::Join, true), event(ButtonRole::Join, true));
        assert_eq!(held.now(ButtonRole::Join, true), None);
        assert_eq!(held.now(ButtonRole::Mute, true), event(ButtonRole::Mute, true));
        assert_eq!(held.now(ButtonRole::Join, false), event(ButtonRole::Join, false));
        held.clear();
        assert_eq!(held.now(ButtonRole::Mute, true), event(ButtonRole::Mute, true));
    }
}
