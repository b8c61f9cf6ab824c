//! What holds after every sequence of events.

use proptest::prelude::*;
use rostrum_hal::Timestamp;
use rostrum_hal::buttons::ButtonRole;
use rostrum_hal::indicator::{IndicatorRole, Signal};
use rostrum_room::{
    Command, Event, LEAVE_PATIENCE, Part, Phase, RESET_HOLD, Request, Reset, ResetButtons, Room, RoomConfig,
    Update,
};
use std::time::Duration;

fn any_event() -> impl Strategy<Value = Event> {
    let role = prop::sample::select(vec![
        ButtonRole::Join,
        ButtonRole::Mute,
        ButtonRole::VolumeUp,
        ButtonRole::VolumeDown,
        ButtonRole::Reset,
    ]);
    let request = prop_oneof![
        Just(Request::Join),
        Just(Request::Leave),
        any::<bool>().prop_map(Request::SetMuted),
        Just(Request::ToggleMute),
        any::<u8>().prop_map(Request::SetVolume),
        any::<bool>().prop_map(Request::SetJoinMuted),
        Just(Request::FactoryReset),
    ];
    let part = || prop::sample::select(Part::ALL.to_vec());
    prop_oneof![
        6 => role.clone().prop_map(Event::Button),
        4 => role.prop_map(Event::ButtonReleased),
        1 => Just(Event::ResetFailed { detail: String::new() }),
        6 => request.prop_map(Event::Request),
        2 => any::<bool>().prop_map(|cut| Event::MuteSwitch { cut }),
        2 => any::<bool>().prop_map(|covered| Event::CameraCover { covered }),
        2 => any::<bool>().prop_map(|occupied| Event::Presence { occupied }),
        4 => Just(Event::Joined),
        1 => "[a-z]{0,4}".prop_map(|reason| Event::Lost { reason }),
        1 => Just(Event::Rejoining),
        2 => any::<bool>().prop_map(|last| Event::LeftByService { reason: "gone".into(), last }),
        3 => Just(Event::Left),
        2 => any::<bool>().prop_map(|muted| Event::FarEndMuted { muted }),
        2 => part().prop_map(|part| Event::Faulty { part, detail: String::new() }),
        2 => part().prop_map(|part| Event::Healthy { part }),
        1 => prop_oneof![Just(None), Just(Some(Update::Installing)), Just(Some(Update::Checking))].prop_map(Event::Update),
        2 => Just(Event::Tick),
    ]
}

fn any_history() -> impl Strategy<Value = Vec<(u64, Event)>> {
    prop::collection::vec((0..4_000_u64, any_event()), 0..80)
}

/// The world as the commands make it.
#[derive(Default)]
struct World {
    open: Option<bool>,
    mute_light: Option<Signal>,
    status_light: Option<Signal>,
    meeting_light: Option<Signal>,
    screen_on: Option<bool>,
    volume: Option<u8>,
    /// What the service believes, while a join stands.
    service_muted: Option<bool>,
    joined: bool,
    picture_hidden: bool,
    exits: u32,
    resets: u32,
}

impl World {
    /// What an event means before anything is done about it.
    fn happens(&mut self, event: &Event) {
        match event {
            Event::Left | Event::LeftByService { last: true, .. } => self.joined = false,
            Event::FarEndMuted { muted } if self.joined => self.service_muted = Some(*muted),
            _ => {}
        }
    }

    fn does(&mut self, command: Command) -> Result<(), TestCaseError> {
        match command {
            Command::Join { muted } => {
                prop_assert!(!self.joined, "a second join while one stands");
                self.joined = true;
                self.picture_hidden = false;
                self.service_muted = Some(muted);
            }
            Command::Leave => self.joined = false,
            Command::HidePicture { hidden } => {
                prop_assert!(self.joined, "a picture without a meeting");
                self.picture_hidden = hidden;
            }
            Command::Microphones { open } => {
                prop_assert!(!open || self.joined, "open without a meeting");
                self.open = Some(open);
            }
            Command::TellService { muted } => self.service_muted = Some(muted),
            Command::ShowIndicator(IndicatorRole::Mute, signal) => self.mute_light = Some(signal),
            Command::ShowIndicator(IndicatorRole::Meeting, signal) => self.meeting_light = Some(signal),
            Command::ShowIndicator(_, signal) => self.status_light = Some(signal),
            Command::SwitchScreen { on } => self.screen_on = Some(on),
            Command::SetVolume(percent) => {
                prop_assert!(percent <= 100);
                self.volume = Some(percent);
            }
            Command::Exit => self.exits += 1,
            Command::FactoryReset => {
                prop_assert!(!self.joined, "reset in a meeting");
                self.resets += 1;
            }
            _ => {}
        }
        prop_assert!(
            self.open != Some(true) || self.mute_light == Some(Signal::OFF),
            "heard under a lit mute light"
        );
        Ok(())
    }

    fn agrees_with(&self, room: &Room) -> Result<(), TestCaseError> {
        let status = room.status();
        prop_assert_eq!(self.open, Some(!status.muted));
        prop_assert_eq!(status.muted, status.mute_reason.is_some());
        prop_assert_eq!(self.mute_light, Some(status.signals.mute));
        prop_assert_eq!(self.status_light, Some(status.signals.status));
        prop_assert_eq!(self.meeting_light, Some(status.signals.meeting));
        prop_assert_eq!(status.signals.mute == Signal::RED, status.muted);
        prop_assert_eq!(status.signals.meeting != Signal::OFF, status.phase.in_meeting());
        prop_assert!(
            self.screen_on == Some(true) || status.phase == Phase::Idle,
            "a meeting without a screen"
        );
        prop_assert_eq!(self.volume, Some(status.volume));
        if status.phase.in_meeting() {
            prop_assert_eq!(self.service_muted, Some(status.muted));
            prop_assert_eq!(self.picture_hidden, status.camera_covered);
        } else {
            prop_assert!(status.muted);
        }
        prop_assert!(status.notes.len() <= Part::ALL.len() + 3);
        Ok(())
    }
}

fn play(history: Vec<(u64, Event)>, config: RoomConfig) -> Result<(Room, World, Timestamp), TestCaseError> {
    let mut now = Timestamp::from_clock(Duration::from_secs(1));
    let (mut room, mut world) = (Room::new(config, now), World::default());
    for (milliseconds, event) in history {
        now = now + Duration::from_millis(milliseconds);
        world.happens(&event);
        for command in room.handle(now, event) {
            world.does(command)?;
        }
        world.agrees_with(&room)?;
    }
    Ok((room, world, now))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lights_microphones_service_and_status_never_disagree(history in any_history(), join_muted in any::<bool>()) {
        let factory_reset = Some(ResetButtons::Volume);
        play(history, RoomConfig { join_muted, volume: 50, factory_reset, ..RoomConfig::default() })?;
    }

    #[test]
    fn leaving_always_ends_in_idle(history in any_history()) {
        let (mut room, _, now) = play(history, RoomConfig::default())?;
        room.handle(now, Event::Request(Request::Leave));
        room.handle(now + LEAVE_PATIENCE, Event::Tick);
        prop_assert_eq!(room.status().phase, Phase::Idle);
    }

    #[test]
    fn shutdown_leaves_and_exits_exactly_once(history in any_history(), afterwards in any_history()) {
        let (mut room, mut world, now) = play(history, RoomConfig::default())?;
        let mut later = vec![Event::Shutdown, Event::Tick];
        later.extend(afterwards.into_iter().map(|(_, event)| event));
        later.push(Event::Tick);
        for (seconds, event) in (0..).zip(later) {
            world.happens(&event);
            for command in room.handle(now + LEAVE_PATIENCE * seconds, event) {
                let goes_on = matches!(command, Command::Join { .. } | Command::Microphones { open: true });
                prop_assert!(!goes_on, "a meeting after the shutdown");
                world.does(command)?;
            }
        }
        prop_assert_eq!(world.exits, 1);
        prop_assert!(!world.joined);
    }

    #[test]
    fn only_who_holds_the_buttons_to_the_end_or_asks_resets(history in any_history()) {
        // Nothing of the history is as long as a reset is held, and nobody asks.
        let mut since = 0;
        let history: Vec<_> = history
            .into_iter()
            .filter(|(_, event)| *event != Event::Request(Request::FactoryReset))
            .flat_map(|(milliseconds, event)| {
                since += milliseconds;
                let let_go = since >= 8_000;
                if let_go {
                    since = 0;
                }
                let release = [ButtonRole::VolumeUp, ButtonRole::VolumeDown].map(|role| (0, Event::ButtonReleased(role)));
                release.into_iter().filter(move |_| let_go).chain([(milliseconds, event)])
            })
            .collect();
        let config = RoomConfig { factory_reset: Some(ResetButtons::Volume), ..RoomConfig::default() };
        let (mut room, mut world, mut now) = play(history, config)?;
        prop_assert_eq!(world.resets, 0);
        prop_assert!(room.status().reset != Some(Reset::Resetting));
        for role in [ButtonRole::VolumeUp, ButtonRole::VolumeDown] {
            room.handle(now, Event::ButtonReleased(role));
            room.handle(now, Event::Button(role));
        }
        now = now + RESET_HOLD;
        for event in [Event::Tick, Event::Left, Event::Tick] {
            world.happens(&event);
            for command in room.handle(now, event) {
                world.does(command)?;
            }
        }
        now = now + LEAVE_PATIENCE;
        for command in room.handle(now, Event::Tick) {
            world.does(command)?;
        }
        prop_assert_eq!(world.resets, 1);
        for command in room.handle(now, Event::Button(ButtonRole::Join)) {
            prop_assert!(!matches!(command, Command::Join { .. }), "a meeting after the reset");
        }
    }
}
