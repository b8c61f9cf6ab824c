//! When an update may disturb a room. Pure: the room, the time and the offer are arguments.

use std::time::Duration;

use rostrum_hal::Timestamp;
use serde::Deserialize;

use super::offer::{Offer, Source, Urgency};

/// What the terminal is doing, as far as it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomState {
    /// In a meeting, or on the way into or out of one.
    Meeting,
    /// Nobody meets, since then.
    Idle {
        /// Since when.
        since: Timestamp,
    },
    /// The terminal does not answer, since then. It may be in a meeting all the same.
    Silent {
        /// Since when.
        since: Timestamp,
    },
}

/// Local time, known only when the clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// 0 is Monday.
    pub weekday: u8,
    /// Minutes since midnight, below 1440.
    pub minute: u16,
}

/// Minutes since midnight, written `HH:MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TimeOfDay(u16);

impl TryFrom<String> for TimeOfDay {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let parts = text.split_once(':').filter(|(hours, minutes)| {
            [hours, minutes]
                .iter()
                .all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()))
        });
        let number = |part: &str| part.parse::<u16>().ok();
        match parts.and_then(|(hours, minutes)| number(hours).zip(number(minutes))) {
            Some((hours, minutes)) if hours < 24 && minutes < 60 => Ok(Self(hours * 60 + minutes)),
            _ => Err(format!("{text:?} is no time of day; write it like \"02:30\"")),
        }
    }
}

impl std::fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

const WEEK: [Day; 7] =
    [Day::Monday, Day::Tuesday, Day::Wednesday, Day::Thursday, Day::Friday, Day::Saturday, Day::Sunday];

fn every_day() -> Vec<Day> {
    WEEK.to_vec()
}

/// When updates are installed, in the room's local time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Begins then.
    pub from: TimeOfDay,
    /// Ends then; the next day when it is not later than `from`.
    pub to: TimeOfDay,
    /// Days on which it begins; every day when absent.
    #[serde(default = "every_day")]
    pub days: Vec<Day>,
}

impl Window {
    /// Whether it is open.
    pub fn is_open(&self, now: LocalTime) -> bool {
        let begins_on = |weekday: u8| self.days.contains(&WEEK[usize::from(weekday % 7)]);
        let (from, to) = (self.from.0, self.to.0);
        if from < to {
            return begins_on(now.weekday) && (from..to).contains(&now.minute);
        }
        (begins_on(now.weekday) && now.minute >= from) || (begins_on(now.weekday + 6) && now.minute < to)
    }
}

/// The rules of a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// When updates are installed and the terminal restarts; at any time when there is none.
    pub windows: Vec<Window>,
    /// A security release does not wait for a window.
    pub security_at_once: bool,
    /// How long nobody met before an update disturbs the room.
    pub idle: Duration,
    /// How long nobody met before that happens while the clock is not set, so that windows are not known.
    pub idle_without_clock: Duration,
    /// How long the terminal does not answer before that counts as nobody there.
    pub silent: Duration,
    /// A person has to agree to what the server asks for.
    pub person_confirms: bool,
    /// Half the time before the second try of what failed; it doubles with each.
    pub retry: Duration,
}

/// Why an update waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A meeting runs.
    Meeting,
    /// Somebody was here a moment ago.
    JustUsed,
    /// The terminal does not say what it does.
    Silent,
    /// Not in its window.
    Window,
    /// The clock is not set, so nobody knows whether it is time.
    Clock,
    /// The server does not want it yet.
    Server,
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Meeting => "waits for the end of the meeting",
            Self::JustUsed => "waits until the room is not in use",
            Self::Silent => "waits, as the terminal does not say whether a meeting runs",
            Self::Window => "waits for the time of day that updates are installed at",
            Self::Clock => "waits until the clock is set, or nobody uses the room for long",
            Self::Server => "waits for the update server",
        })
    }
}

impl Policy {
    /// Whether `offer` may be fetched.
    ///
    /// # Errors
    /// What it waits for. Fetching disturbs a meeting's network, so it waits for its end as well.
    pub fn may_fetch(&self, offer: &Offer, room: RoomState, now: Timestamp) -> Result<(), Wait> {
        if offer.download == Urgency::Skip {
            return Err(Wait::Server);
        }
        self.room_allows(room, now, Duration::ZERO)
    }

    /// Whether `offer` may be installed, and the terminal be restarted for it.
    ///
    /// # Errors
    /// What it waits for.
    pub fn may_install(
        &self,
        offer: &Offer,
        room: RoomState,
        now: Timestamp,
        local: Option<LocalTime>,
    ) -> Result<(), Wait> {
        if offer.install == Urgency::Skip || offer.window == Some(false) {
            return Err(Wait::Server);
        }
        if matches!(offer.source, Source::Stick | Source::Panel) {
            // A person stands there and asked for it.
            return self.room_allows(room, now, Duration::ZERO);
        }
        self.room_allows(room, now, self.idle)?;
        let at_once = offer.install == Urgency::Forced
            || offer.window == Some(true)
            || (offer.security && self.security_at_once);
        if at_once || self.windows.is_empty() {
            return Ok(());
        }
        match local {
            Some(local) if self.windows.iter().any(|window| window.is_open(local)) => Ok(()),
            Some(_) => Err(Wait::Window),
            None => self.room_allows(room, now, self.idle_without_clock).map_err(|_| Wait::Clock),
        }
    }

    fn room_allows(&self, room: RoomState, now: Timestamp, idle: Duration) -> Result<(), Wait> {
        match room {
            RoomState::Meeting => Err(Wait::Meeting),
            RoomState::Idle { since } if now.saturating_since(since) < idle => Err(Wait::JustUsed),
            RoomState::Silent { since } if now.saturating_since(since) < self.silent => Err(Wait::Silent),
            RoomState::Idle { .. } | RoomState::Silent { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::update::offer::Bundle;
    use proptest::prelude::*;

    fn window(from: &str, to: &str, days: &[Day]) -> Window {
        let time = |text: &str| TimeOfDay::try_from(text.to_owned()).unwrap();
        Window { from: time(from), to: time(to), days: days.to_vec() }
    }

    fn at(weekday: u8, hours: u16, minutes: u16) -> LocalTime {
        LocalTime { weekday, minute: hours * 60 + minutes }
    }

    fn policy() -> Policy {
        Policy {
            windows: vec![window("02:00", "05:00", &every_day())],
            security_at_once: true,
            idle: Duration::from_secs(120),
            idle_without_clock: Duration::from_secs(4 * 3600),
            silent: Duration::from_secs(600),
            person_confirms: false,
            retry: Duration::from_secs(60),
        }
    }

    fn offer() -> Offer {
        Offer {
            source: Source::Server { action: "1".into() },
            version: None,
            bundle: Bundle::File { path: "/x".into() },
            download: Urgency::Attempt,
            install: Urgency::Attempt,
            window: None,
            security: false,
            asks: false,
        }
    }

    fn second(seconds: u64) -> Timestamp {
        Timestamp::from_clock(Duration::from_secs(seconds))
    }

    const IDLE: RoomState = RoomState::Idle { since: Timestamp::from_clock(Duration::ZERO) };

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = window("22:00", "04:00", &[Day::Friday]);
        assert!(night.is_open(at(4, 23, 0)));
        assert!(night.is_open(at(5, 3, 59)));
        assert!(!night.is_open(at(5, 4, 0)));
        assert!(!night.is_open(at(4, 3, 0)));
        let sunday = window("23:00", "01:00", &[Day::Sunday]);
        assert!(sunday.is_open(at(0, 0, 30)));
    }

    #[test]
    fn an_update_waits_for_its_window_and_a_security_release_does_not() {
        let ask = |offer: &Offer, local| policy().may_install(offer, IDLE, second(1000), local);
        assert_eq!(ask(&offer(), Some(at(0, 12, 0))), Err(Wait::Window));
        assert_eq!(ask(&offer(), Some(at(0, 3, 0))), Ok(()));
        assert_eq!(ask(&Offer { security: true, ..offer() }, Some(at(0, 12, 0))), Ok(()));
        assert_eq!(ask(&Offer { install: Urgency::Forced, ..offer() }, Some(at(0, 12, 0))), Ok(()));
        assert_eq!(ask(&Offer { window: Some(false), ..offer() }, Some(at(0, 3, 0))), Err(Wait::Server));
        assert_eq!(ask(&Offer { source: Source::Stick, ..offer() }, Some(at(0, 12, 0))), Ok(()));
        let patient = Policy { security_at_once: false, ..policy() };
        let security = Offer { security: true, ..offer() };
        assert_eq!(patient.may_install(&security, IDLE, second(1000), Some(at(0, 12, 0))), Err(Wait::Window));
    }

    #[test]
    fn a_clock_that_was_never_set_is_not_believed() {
        let ask = |seconds| policy().may_install(&offer(), IDLE, second(seconds), None);
        assert_eq!(ask(1000), Err(Wait::Clock));
        assert_eq!(ask(4 * 3600), Ok(()));
    }

    #[test]
    fn a_terminal_that_does_not_answer_counts_as_a_meeting_for_a_while() {
        let silent = RoomState::Silent { since: second(0) };
        let ask = |seconds| policy().may_install(&offer(), silent, second(seconds), Some(at(0, 3, 0)));
        assert_eq!(ask(599), Err(Wait::Silent));
        assert_eq!(ask(600), Ok(()));
    }

    #[test]
    fn times_of_day_are_taken_as_written_and_nothing_else_is() {
        assert_eq!(TimeOfDay::try_from("02:30".to_owned()).unwrap().to_string(), "02:30");
        for wrong in ["24:00", "2:30", "02:60", "0230", "+2:30", "02:3x", ""] {
            assert!(TimeOfDay::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_ever_installed_in_a_meeting(
            source in 0..3, install in 0..3, security: bool, window: Option<bool>, weekday in 0..7_u8,
            minute in 0..1440_u16, clock: bool, seconds: u32,
        ) {
            let source = [Source::Server { action: "1".into() }, Source::Stick, Source::Panel][source as usize].clone();
            let install = [Urgency::Skip, Urgency::Attempt, Urgency::Forced][install as usize];
            let offer = Offer { source, install, security, window, ..offer() };
            let local = clock.then_some(LocalTime { weekday, minute });
            let now = second(u64::from(seconds));
            prop_assert!(policy().may_install(&offer, RoomState::Meeting, now, local).is_err());
            prop_assert_eq!(policy().may_fetch(&offer, RoomState::Meeting, now), Err(Wait::Meeting));
        }
    }
}
