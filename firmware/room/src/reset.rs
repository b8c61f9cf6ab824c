//! Reset to factory: by buttons that are held for ten seconds, or by the panel.

use std::{collections::BTreeSet, time::Duration};

use rostrum_hal::{Timestamp, buttons::ButtonRole};

/// How long the buttons are held.
pub const RESET_HOLD: Duration = Duration::from_secs(10);
/// For so long it may be a press like any other, and nothing is shown.
pub const RESET_SILENCE: Duration = Duration::from_secs(2);
/// A terminal that was told to reset itself and still runs after this time did not do it.
pub const RESET_PATIENCE: Duration = Duration::from_secs(120);

/// Which buttons reset a terminal when they are held together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetButtons {
    /// None: only the panel can.
    #[default]
    None,
    /// The button that has no other use.
    Reset,
    /// Louder and quieter at once, which nobody holds by mistake and which cancel each other.
    Volume,
    /// The only button that there is. Pressing it joins or leaves as ever.
    Join,
}

impl ResetButtons {
    /// Those of a board that has the buttons `present`.
    pub fn of(present: &[ButtonRole]) -> Self {
        [Self::Reset, Self::Volume, Self::Join]
            .into_iter()
            .find(|buttons| buttons.roles().iter().all(|role| present.contains(role)))
            .unwrap_or_default()
    }

    fn roles(self) -> &'static [ButtonRole] {
        match self {
            Self::None => &[],
            Self::Reset => &[ButtonRole::Reset],
            Self::Volume => &[ButtonRole::VolumeUp, ButtonRole::VolumeDown],
            Self::Join => &[ButtonRole::Join],
        }
    }
}

/// How far a reset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// The buttons are held; letting one go ends it.
    CountingDown {
        /// Whole seconds that are left, 1..=8.
        seconds_left: u8,
    },
    /// It cannot be stopped any more.
    Resetting,
}

/// What became of a turn of the count-down.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Nothing,
    /// It is shown from now on.
    Begins,
    /// The buttons were held to the end.
    Decided,
    /// It was to be done long ago.
    Overdue,
}

/// Counts down.
#[derive(Debug)]
pub(crate) struct CountDown {
    buttons: ResetButtons,
    down: BTreeSet<ButtonRole>,
    held_since: Option<Timestamp>,
    decided: Option<Timestamp>,
    shown: Option<Reset>,
}

impl CountDown {
    pub(crate) fn new(buttons: ResetButtons) -> Self {
        Self { buttons, down: BTreeSet::new(), held_since: None, decided: None, shown: None }
    }

    /// A button went down; `true` when it is the first of those that reset.
    pub(crate) fn pressed(&mut self, now: Timestamp, role: ButtonRole) -> bool {
        let roles = self.buttons.roles();
        if !roles.contains(&role) {
            return false;
        }
        let is_first = self.down.is_empty();
        // Who presses a button that is down already missed its release, and does not hold it since then.
        let is_new = self.down.insert(role);
        if self.down.len() == roles.len() && (self.held_since.is_none() || !is_new) {
            self.held_since = Some(now);
        }
        is_first
    }

    pub(crate) fn released(&mut self, role: ButtonRole) {
        if self.down.remove(&role) {
            self.held_since = None;
        }
    }

    /// All buttons are let go, or nobody knows any more.
    pub(crate) fn let_go(&mut self) {
        self.down.clear();
        self.held_since = None;
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held_since.is_some()
    }

    /// When the buttons went down, or it was decided.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.decided.or(self.held_since)
    }

    /// It is done from now on, whatever is held.
    pub(crate) fn decide(&mut self, now: Timestamp) {
        self.let_go();
        self.decided.get_or_insert(now);
        self.shown = Some(Reset::Resetting);
    }

    /// It could not be done.
    pub(crate) fn fail(&mut self) {
        self.decided = None;
        self.shown = None;
    }

    pub(crate) fn is_decided(&self) -> bool {
        self.decided.is_some()
    }

    pub(crate) fn shown(&self) -> Option<Reset> {
        self.shown
    }

    /// Time passed.
    pub(crate) fn turn(&mut self, now: Timestamp) -> Turn {
        if let Some(decided) = self.decided {
            let overdue = now.saturating_since(decided) >= RESET_PATIENCE;
            return if overdue { Turn::Overdue } else { Turn::Nothing };
        }
        let was_shown = self.shown.is_some();
        self.shown = None;
        let Some(since) = self.held_since else { return Turn::Nothing };
        let held = now.saturating_since(since);
        if held >= RESET_HOLD {
            self.decide(now);
            return Turn::Decided;
        }
        if held < RESET_SILENCE {
            return Turn::Nothing;
        }
        let left = (RESET_HOLD - held).as_millis().div_ceil(1000);
        self.shown = Some(Reset::CountingDown { seconds_left: u8::try_from(left).unwrap_or(u8::MAX) });
        if was_shown { Turn::Nothing } else { Turn::Begins }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ButtonRole::{Join, Mute, VolumeDown, VolumeUp};

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_clock(Duration::from_millis(ms))
    }

    #[test]
    fn a_button_of_its_own_comes_before_a_pair_and_that_before_the_only_one() {
        let of = ResetButtons::of;
        assert_eq!(of(&[Join, Mute, VolumeUp, VolumeDown, ButtonRole::Reset]), ResetButtons::Reset);
        assert_eq!(of(&[Join, Mute, VolumeUp, VolumeDown]), ResetButtons::Volume);
        assert_eq!(of(&[Join, VolumeUp]), ResetButtons::Join);
        assert_eq!(of(&[Mute]), ResetButtons::None);
        assert_eq!(of(&[]), ResetButtons::None);
    }

    #[test]
    fn it_counts_whole_seconds_from_when_all_are_down() {
        let mut count = CountDown::new(ResetButtons::Volume);
        assert!(count.pressed(at(0), VolumeUp) && !count.pressed(at(3_000), VolumeDown));
        assert!(!count.pressed(at(3_000), Mute), "it has no say");
        assert_eq!((count.turn(at(4_999)), count.shown()), (Turn::Nothing, None));
        assert_eq!(count.turn(at(5_000)), Turn::Begins);
        let left = |count: &CountDown| match count.shown() {
            Some(Reset::CountingDown { seconds_left }) => seconds_left,
            other => panic!("{other:?}"),
        };
        assert_eq!(left(&count), 8);
        assert_eq!((count.turn(at(5_001)), left(&count)), (Turn::Nothing, 8));
        assert_eq!((count.turn(at(6_000)), left(&count)), (Turn::Nothing, 7));
        assert_eq!((count.turn(at(12_999)), left(&count)), (Turn::Nothing, 1));
        assert_eq!((count.turn(at(13_000)), count.shown()), (Turn::Decided, Some(Reset::Resetting)));
        count.released(VolumeUp);
        assert_eq!((count.turn(at(13_001)), count.shown()), (Turn::Nothing, Some(Reset::Resetting)));
        assert_eq!(count.turn(at(133_000)), Turn::Overdue);
    }

    #[test]
    fn one_button_that_is_let_go_ends_it_and_it_begins_anew() {
        let mut count = CountDown::new(ResetButtons::Volume);
        count.pressed(at(0), VolumeUp);
        count.pressed(at(0), VolumeDown);
        assert_eq!(count.turn(at(9_999)), Turn::Begins);
        count.released(VolumeUp);
        assert_eq!((count.turn(at(10_500)), count.shown()), (Turn::Nothing, None));
        assert!(!count.pressed(at(10_600), VolumeUp), "the other is still down");
        assert_eq!(count.turn(at(20_599)), Turn::Begins);
        assert_eq!(count.turn(at(20_600)), Turn::Decided);
    }

    #[test]
    fn a_release_that_nobody_told_of_is_not_taken_for_holding() {
        let mut count = CountDown::new(ResetButtons::Join);
        count.pressed(at(0), Join);
        count.pressed(at(9_000), Join);
        assert_eq!(count.turn(at(10_500)), Turn::Nothing);
        count.let_go();
        assert_eq!(count.turn(at(30_000)), Turn::Nothing);
    }
}
