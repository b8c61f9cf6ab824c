//! What people in the room see and hear of it, one behaviour a test.
#![allow(clippy::unwrap_used)]

use rostrum_hal::Timestamp;
use rostrum_hal::buttons::ButtonRole;
use rostrum_hal::indicator::{IndicatorRole, Signal};
use rostrum_room::{
    Command, Commands, Event, JOIN_SLOW, LEAVE_PATIENCE, MuteReason, Note, Part, Phase, RESET_HOLD,
    RESET_PATIENCE, Request, Reset, ResetButtons, Room, RoomConfig, Update,
};
use std::time::Duration;

struct Bench {
    room: Room,
    now: Timestamp,
}

impl Bench {
    fn new(config: RoomConfig) -> Self {
        let now = Timestamp::from_clock(Duration::from_secs(100));
        Self { room: Room::new(config, now), now }
    }

    fn in_channel() -> Self {
        let mut bench = Self::new(RoomConfig::default());
        bench.then(Event::Button(ButtonRole::Join));
        bench.then(Event::Joined);
        bench
    }

    fn then(&mut self, event: Event) -> Commands {
        self.room.handle(self.now, event)
    }

    fn after(&mut self, time: Duration) -> Commands {
        self.now = self.now + time;
        self.then(Event::Tick)
    }

    fn phase(&self) -> Phase {
        self.room.status().phase
    }

    fn codes(&self) -> Vec<String> {
        self.room.status().notes.into_iter().map(|note| note.code.into_owned()).collect()
    }
}

fn notified(commands: &Commands) -> Vec<&Note> {
    commands.iter().filter_map(|c| if let Command::Notify(note) = c { Some(note) } else { None }).collect()
}

fn faulty(part: Part) -> Event {
    Event::Faulty { part, detail: "unplugged".into() }
}

#[test]
fn at_power_on_every_output_is_commanded_and_the_room_is_muted() {
    let mut bench = Bench::new(RoomConfig { volume: 250, ..RoomConfig::default() });
    let commands = bench.then(Event::Tick);
    assert_eq!(commands[0], Command::Microphones { open: false });
    assert_eq!(commands[1], Command::ShowIndicator(IndicatorRole::Mute, Signal::RED));
    assert!(matches!(commands[2], Command::ShowIndicator(IndicatorRole::Status, Signal { blink: None, .. })));
    assert_eq!(commands[3], Command::ShowIndicator(IndicatorRole::Meeting, Signal::OFF));
    assert_eq!(commands[4], Command::SwitchScreen { on: true });
    assert_eq!(commands[5], Command::SetVolume(100));
    assert_eq!(commands.len(), 6);
    assert!(bench.then(Event::Tick).is_empty());
    assert_eq!(bench.room.status().mute_reason, Some(MuteReason::NotInMeeting));
}

#[test]
fn one_press_joins_and_opens_the_microphones_last() {
    let mut bench = Bench::new(RoomConfig::default());
    bench.then(Event::Tick);
    let commands = bench.then(Event::Button(ButtonRole::Join));
    assert!(commands.contains(&Command::Join { muted: false }));
    assert_eq!(commands.last(), Some(&Command::Microphones { open: true }));
    assert_eq!(bench.phase(), Phase::Joining);
    assert!(bench.room.status().signals.status.blink.is_some());
    bench.then(Event::Joined);
    assert_eq!(bench.phase(), Phase::InChannel);
    assert_eq!(bench.room.status().signals.status, Signal::GREEN);
    assert_eq!(bench.room.status().signals.mute, Signal::OFF);
}

#[test]
fn a_second_press_leaves_and_closes_the_microphones_first() {
    let mut bench = Bench::in_channel();
    let commands = bench.then(Event::Button(ButtonRole::Join));
    assert_eq!(commands[0], Command::Microphones { open: false });
    assert!(commands.contains(&Command::Leave));
    bench.then(Event::Left);
    assert_eq!(bench.phase(), Phase::Idle);
    assert!(bench.room.status().muted);
}

#[test]
fn muting_closes_then_shows_then_tells_and_unmuting_goes_the_other_way() {
    let mut bench = Bench::in_channel();
    assert_eq!(
        bench.then(Event::Button(ButtonRole::Mute)),
        [
            Command::Microphones { open: false },
            Command::ShowIndicator(IndicatorRole::Mute, Signal::RED),
            Command::TellService { muted: true },
        ]
    );
    assert_eq!(bench.room.status().mute_reason, Some(MuteReason::Button));
    assert_eq!(
        bench.then(Event::Request(Request::ToggleMute)),
        [
            Command::ShowIndicator(IndicatorRole::Mute, Signal::OFF),
            Command::TellService { muted: false },
            Command::Microphones { open: true },
        ]
    );
}

#[test]
fn the_far_end_can_mute_and_never_unmute() {
    let mut bench = Bench::in_channel();
    let commands = bench.then(Event::FarEndMuted { muted: true });
    assert_eq!(commands[0], Command::Microphones { open: false });
    assert_eq!(bench.room.status().mute_reason, Some(MuteReason::FarEnd));
    assert_eq!(bench.then(Event::FarEndMuted { muted: false }), [Command::TellService { muted: true }]);
    assert!(bench.room.status().muted);
    bench.then(Event::Request(Request::SetMuted(false)));
    assert!(!bench.room.status().muted);
}

#[test]
fn the_hardware_switch_wins_over_the_button_and_says_why() {
    let mut bench = Bench::in_channel();
    bench.then(Event::MuteSwitch { cut: true });
    let commands = bench.then(Event::Button(ButtonRole::Mute));
    assert_eq!(notified(&commands)[0].code, "stays_muted");
    assert!(bench.room.status().muted && !bench.room.status().can_unmute);
    bench.then(Event::MuteSwitch { cut: false });
    assert!(!bench.room.status().muted);
}

#[test]
fn a_cut_switch_joins_muted() {
    let mut bench = Bench::new(RoomConfig::default());
    bench.then(Event::MuteSwitch { cut: true });
    let commands = bench.then(Event::Request(Request::Join));
    assert!(commands.contains(&Command::Join { muted: true }));
    assert!(!commands.contains(&Command::Microphones { open: true }));
}

#[test]
fn a_room_that_joins_muted_is_unmuted_by_its_button() {
    let mut bench = Bench::new(RoomConfig::default());
    bench.then(Event::Request(Request::SetJoinMuted(true)));
    assert!(bench.then(Event::Button(ButtonRole::Join)).contains(&Command::Join { muted: true }));
    assert_eq!(bench.room.status().mute_reason, Some(MuteReason::JoinedMuted));
    bench.then(Event::Button(ButtonRole::Mute));
    assert!(!bench.room.status().muted);
    assert!(bench.room.config().join_muted);
}

#[test]
fn microphones_that_fail_mute_the_room_and_stay_muted_when_they_are_back() {
    let mut bench = Bench::in_channel();
    bench.then(faulty(Part::Microphones));
    assert!(bench.room.status().signals.status.blink.is_some());
    assert_eq!(bench.codes(), ["microphones_fault"]);
    assert!(bench.then(faulty(Part::Microphones)).is_empty());
    let commands = bench.then(Event::Healthy { part: Part::Microphones });
    assert!(commands.contains(&Command::Microphones { open: false }));
    assert!(bench.room.status().muted && bench.room.status().can_unmute);
    assert!(bench.codes().is_empty());
}

#[test]
fn a_mute_light_that_fails_mutes_the_room_and_is_told_again_when_it_is_back() {
    let mut bench = Bench::in_channel();
    bench.then(faulty(Part::MuteLight));
    assert_eq!(bench.room.status().mute_reason, Some(MuteReason::LightFault));
    let commands = bench.then(Event::Healthy { part: Part::MuteLight });
    assert!(commands.contains(&Command::ShowIndicator(IndicatorRole::Mute, Signal::RED)));
}

#[test]
fn a_camera_fault_shows_in_the_light_and_does_not_hide_the_phase() {
    let mut bench = Bench::in_channel();
    let commands = bench.then(faulty(Part::Camera));
    let note = notified(&commands)[0];
    assert_eq!(note.code, "camera_fault");
    assert!(note.message.contains("unplugged"));
    assert_eq!(bench.phase(), Phase::InChannel);
    assert!(!bench.room.status().muted);
    bench.then(Event::Healthy { part: Part::Camera });
    assert_eq!(bench.room.status().signals.status, Signal::GREEN);
}

#[test]
fn a_covered_camera_sends_no_picture_and_says_so_to_everybody() {
    let mut bench = Bench::in_channel();
    assert!(bench.then(Event::CameraCover { covered: false }).is_empty());
    let commands = bench.then(Event::CameraCover { covered: true });
    assert_eq!(notified(&commands)[0].code, "camera_covered");
    assert_eq!(commands.last(), Some(&Command::HidePicture { hidden: true }));
    assert!(bench.room.status().camera_covered);
    assert_eq!(bench.codes(), ["camera_covered"]);
    assert_eq!(bench.room.status().signals.status, Signal::GREEN, "it is no fault");
    assert!(!bench.room.status().muted, "the room is heard nevertheless");
    assert!(bench.then(Event::CameraCover { covered: true }).is_empty());
    // The next meeting begins with it closed.
    bench.then(Event::Request(Request::Leave));
    bench.then(Event::Left);
    let commands = bench.then(Event::Request(Request::Join));
    let at = |wanted: Command| commands.iter().position(|command| *command == wanted);
    assert!(at(Command::Join { muted: false }) < at(Command::HidePicture { hidden: true }));
    assert_eq!(bench.then(Event::CameraCover { covered: false }), [Command::HidePicture { hidden: false }]);
    assert!(bench.codes().is_empty());
}

fn screen(commands: Commands) -> Option<bool> {
    commands.into_iter().find_map(|c| if let Command::SwitchScreen { on } = c { Some(on) } else { None })
}

#[test]
fn the_screen_goes_to_standby_after_ten_minutes_without_use_and_wakes_for_a_join() {
    let mut bench = Bench::new(RoomConfig::default());
    assert_eq!(screen(bench.then(Event::Tick)), Some(true));
    assert_eq!(screen(bench.after(Duration::from_secs(599))), None);
    assert_eq!(screen(bench.then(Event::Button(ButtonRole::VolumeUp))), None);
    assert_eq!(screen(bench.after(Duration::from_secs(599))), None, "a press counts as use");
    assert_eq!(screen(bench.after(Duration::from_secs(1))), Some(false));
    assert_eq!(screen(bench.then(Event::Button(ButtonRole::Join))), Some(true));
    bench.then(Event::Joined);
    assert_eq!(screen(bench.after(Duration::from_secs(3_600))), None, "in a meeting");
    bench.then(Event::Request(Request::Leave));
    bench.then(Event::Left);
    assert_eq!(screen(bench.after(Duration::from_secs(599))), None);
    assert_eq!(screen(bench.after(Duration::from_secs(1))), Some(false));
}

#[test]
fn the_screen_wakes_for_who_comes_and_stays_on_while_somebody_is_there() {
    let mut bench = Bench::new(RoomConfig::default());
    bench.then(Event::Presence { occupied: false });
    assert_eq!(screen(bench.after(Duration::from_secs(600))), Some(false));
    assert_eq!(screen(bench.then(Event::Presence { occupied: true })), Some(true));
    assert_eq!(screen(bench.after(Duration::from_secs(6_000))), None);
    assert_eq!(screen(bench.then(Event::Presence { occupied: false })), None);
    // Somebody switched it off by hand: who comes next wakes it.
    assert_eq!(screen(bench.then(Event::Presence { occupied: true })), Some(true));
    let never = RoomConfig { screen_standby_after: None, ..RoomConfig::default() };
    let mut bench = Bench::new(never);
    assert_eq!(screen(bench.then(Event::Tick)), Some(true));
    assert_eq!(screen(bench.after(Duration::from_secs(90_000))), None);
}

#[test]
fn the_meeting_light_is_lit_from_join_to_leave_through_faults_and_lost_connections() {
    let mut bench = Bench::new(RoomConfig::default());
    bench.then(Event::Tick);
    let told = |commands: Commands| {
        commands.into_iter().find_map(|command| match command {
            Command::ShowIndicator(IndicatorRole::Meeting, signal) => Some(signal),
            _ => None,
        })
    };
    assert_eq!(told(bench.then(Event::Button(ButtonRole::Join))), Some(Signal::RED));
    for event in
        [Event::Joined, faulty(Part::Camera), Event::Lost { reason: "gone".into() }, Event::Rejoining]
    {
        assert_eq!(told(bench.then(event)), None);
    }
    assert_eq!(told(bench.then(Event::Healthy { part: Part::MeetingLight })), Some(Signal::RED));
    assert_eq!(told(bench.then(Event::Request(Request::Leave))), Some(Signal::OFF));
}

#[test]
fn a_lost_connection_is_amber_keeps_the_wish_and_is_told_once() {
    let mut bench = Bench::in_channel();
    let lost = || Event::Lost { reason: "no answer".into() };
    assert_eq!(notified(&bench.then(lost())).len(), 1);
    assert!(notified(&bench.then(lost())).is_empty());
    bench.then(Event::Rejoining);
    assert_eq!(bench.phase(), Phase::Reconnecting);
    assert!(!bench.room.status().muted);
    let commands = bench.then(Event::Joined);
    assert!(commands.contains(&Command::TellService { muted: false }));
    assert_eq!(bench.phase(), Phase::InChannel);
    assert!(bench.codes().is_empty());
}

#[test]
fn being_replaced_ends_in_idle_with_the_reason_until_the_next_join() {
    let mut bench = Bench::in_channel();
    let reason = "joined elsewhere under the same name".to_string();
    let commands = bench.then(Event::LeftByService { reason, last: true });
    assert_eq!(commands[0], Command::Microphones { open: false });
    assert_eq!(bench.phase(), Phase::Idle);
    assert!(bench.room.status().notes[0].message.contains("joined elsewhere"));
    bench.then(Event::Button(ButtonRole::Join));
    assert!(bench.codes().is_empty());
}

#[test]
fn leaving_ends_in_idle_even_when_nobody_answers() {
    let mut bench = Bench::in_channel();
    bench.then(Event::Request(Request::Leave));
    bench.after(LEAVE_PATIENCE - Duration::from_millis(1));
    assert_eq!(bench.phase(), Phase::Leaving);
    bench.after(Duration::from_millis(1));
    assert_eq!(bench.phase(), Phase::Idle);
    assert!(bench.then(Event::Joined).contains(&Command::Leave));
}

#[test]
fn a_press_while_leaving_joins_once_we_are_out() {
    let mut bench = Bench::in_channel();
    bench.then(Event::Button(ButtonRole::Join));
    assert!(bench.then(Event::Button(ButtonRole::Join)).is_empty());
    assert!(bench.then(Event::Left).contains(&Command::Join { muted: false }));
}

#[test]
fn a_slow_join_says_so_once() {
    let mut bench = Bench::new(RoomConfig::default());
    bench.then(Event::Button(ButtonRole::Join));
    assert_eq!(notified(&bench.after(JOIN_SLOW))[0].code, "join_slow");
    assert!(bench.after(JOIN_SLOW).is_empty());
}

#[test]
fn shutdown_leaves_first_and_exits_once() {
    let mut bench = Bench::in_channel();
    let commands = bench.then(Event::Shutdown);
    assert!(commands.contains(&Command::Leave) && !commands.contains(&Command::Exit));
    bench.then(Event::Button(ButtonRole::Join));
    assert_eq!(bench.then(Event::Left).last(), Some(&Command::Exit));
    assert!(bench.then(Event::Button(ButtonRole::Join)).is_empty());
    assert!(!bench.after(LEAVE_PATIENCE).contains(&Command::Exit));
}

#[test]
fn volume_buttons_stay_within_the_scale() {
    let mut bench = Bench::new(RoomConfig { volume: 95, ..RoomConfig::default() });
    assert!(bench.then(Event::Button(ButtonRole::VolumeUp)).contains(&Command::SetVolume(100)));
    assert!(bench.then(Event::Button(ButtonRole::VolumeUp)).is_empty());
    assert_eq!(bench.then(Event::Button(ButtonRole::VolumeDown)), [Command::SetVolume(90)]);
}

#[test]
fn the_status_is_json_with_names_for_programs() {
    let mut bench = Bench::in_channel();
    bench.then(Event::Button(ButtonRole::Mute));
    let json = serde_json::to_value(bench.room.status()).unwrap_or_default();
    assert_eq!(json["phase"], "in_channel");
    assert_eq!(json["mute_reason"], "button");
    assert_eq!(json["signals"]["mute"]["rgb"], serde_json::json!([255, 0, 0]));
}

/// A room that is reset by both volume buttons, which are held from now on.
fn held(volume: u8, in_channel: bool) -> Bench {
    let factory_reset = Some(ResetButtons::Volume);
    let mut bench = Bench::new(RoomConfig { volume, factory_reset, ..RoomConfig::default() });
    bench.then(Event::Tick);
    if in_channel {
        bench.then(Event::Button(ButtonRole::Join));
        bench.then(Event::Joined);
    }
    bench.then(Event::Button(ButtonRole::VolumeUp));
    bench.then(Event::Button(ButtonRole::VolumeDown));
    bench
}

#[test]
fn a_new_version_shows_in_the_lights_and_in_words_and_never_in_a_meeting() {
    let mut bench = Bench::new(RoomConfig::default());
    bench.then(Event::Tick);
    let commands = bench.then(Event::Update(Some(Update::Installing)));
    assert_eq!(notified(&commands)[0].code, "updating");
    let installing = status_light(&bench);
    assert!(installing.blink.is_some() && installing.rgb[2] > installing.rgb[0], "{installing:?}");
    assert!(bench.then(Event::Update(Some(Update::Installing))).is_empty(), "told once");
    bench.then(Event::Update(Some(Update::Restarting)));
    assert_ne!(status_light(&bench), installing);
    assert_eq!(bench.codes(), ["updating"]);
    bench.then(faulty(Part::Camera));
    assert_eq!(status_light(&bench).rgb, Signal::RED.rgb, "a fault matters more");
    bench.then(Event::Healthy { part: Part::Camera });
    bench.then(Event::Button(ButtonRole::Join));
    bench.then(Event::Joined);
    assert_eq!(status_light(&bench), Signal::GREEN);
    bench.then(Event::Update(None));
    assert!(bench.codes().is_empty());
}

fn status_light(bench: &Bench) -> Signal {
    bench.room.status().signals.status
}

#[test]
fn buttons_held_for_ten_seconds_count_down_on_the_light_and_reset_the_terminal() {
    let mut bench = held(95, false);
    assert!(bench.room.is_held());
    assert!(bench.after(Duration::from_millis(1_999)).is_empty(), "so far it may be a press like any other");
    let mut half_periods = Vec::new();
    for second in 2..10 {
        let commands = bench.after(Duration::from_millis(if second == 2 { 1 } else { 1_000 }));
        let light = status_light(&bench);
        assert!(commands.contains(&Command::ShowIndicator(IndicatorRole::Status, light)), "{commands:?}");
        half_periods.push(light.blink.unwrap());
        assert_eq!(bench.room.status().reset, Some(Reset::CountingDown { seconds_left: 10 - second }));
        assert!(bench.codes().contains(&"factory_reset_counts_down".to_owned()));
        assert_eq!(notified(&commands).len(), usize::from(second == 2), "it is logged once");
    }
    assert!(half_periods.is_sorted_by(|a, b| a > b), "faster each second: {half_periods:?}");
    let commands = bench.after(Duration::from_secs(1));
    assert_eq!(commands.last(), Some(&Command::FactoryReset));
    assert_eq!((status_light(&bench).blink, bench.room.status().reset), (None, Some(Reset::Resetting)));
    assert_eq!(bench.codes(), ["factory_reset"]);
    let again = bench.after(Duration::from_secs(1));
    assert!(!again.contains(&Command::FactoryReset), "once: {again:?}");
    assert!(!bench.then(Event::Button(ButtonRole::Join)).iter().any(|c| matches!(c, Command::Join { .. })));
}

#[test]
fn buttons_that_are_let_go_early_change_nothing_not_even_the_volume() {
    let mut bench = held(95, false);
    let before = 95;
    let light = status_light(&bench);
    bench.after(Duration::from_millis(9_900));
    assert_ne!(status_light(&bench), light);
    bench.then(Event::ButtonReleased(ButtonRole::VolumeUp));
    assert_eq!((bench.room.status().reset, status_light(&bench)), (None, light));
    assert_eq!((bench.room.status().volume, bench.codes().len()), (before, 0));
    let later = bench.after(Duration::from_secs(60));
    assert!(!later.contains(&Command::FactoryReset));
}

#[test]
fn a_room_in_a_meeting_leaves_it_before_it_is_reset() {
    let mut bench = held(70, true);
    bench.after(Duration::from_secs(9));
    assert_eq!(bench.phase(), Phase::InChannel, "nothing happened so far");
    let commands = bench.after(Duration::from_secs(1));
    assert!(commands.contains(&Command::Leave) && !commands.contains(&Command::FactoryReset), "{commands:?}");
    assert_eq!(bench.then(Event::Left).last(), Some(&Command::FactoryReset));
}

#[test]
fn buttons_that_fail_while_they_are_held_reset_nothing() {
    let mut bench = held(70, false);
    bench.after(Duration::from_secs(5));
    bench.then(faulty(Part::Buttons));
    assert!(!bench.room.is_held() && bench.room.status().reset.is_none());
    assert!(!bench.after(Duration::from_secs(30)).contains(&Command::FactoryReset));
}

#[test]
fn a_terminal_that_cannot_be_reset_does_not_count_down_and_one_that_asks_the_panel_is_reset_at_once() {
    let mut bench = Bench::new(RoomConfig::default());
    bench.then(Event::Button(ButtonRole::VolumeUp));
    bench.then(Event::Button(ButtonRole::VolumeDown));
    assert!(!bench.after(Duration::from_secs(20)).contains(&Command::FactoryReset));
    assert!(!bench.then(Event::Request(Request::FactoryReset)).contains(&Command::FactoryReset));
    let mut bench =
        Bench::new(RoomConfig { factory_reset: Some(ResetButtons::None), ..RoomConfig::default() });
    assert_eq!(bench.then(Event::Request(Request::FactoryReset)).last(), Some(&Command::FactoryReset));
}

#[test]
fn a_reset_that_does_not_happen_is_told_and_can_be_asked_for_again() {
    let mut bench = held(70, false);
    bench.after(RESET_HOLD);
    bench.then(Event::ResetFailed { detail: "the disk is full".into() });
    assert_eq!((bench.codes(), bench.room.status().reset), (vec!["factory_reset_failed".to_owned()], None));
    assert_eq!(bench.then(Event::Request(Request::FactoryReset)).last(), Some(&Command::FactoryReset));
    assert_eq!(bench.codes(), ["factory_reset"]);
    bench.after(RESET_PATIENCE);
    assert_eq!(bench.codes(), ["factory_reset_failed"]);
    bench.then(Event::Button(ButtonRole::Join));
    assert_eq!(bench.phase(), Phase::Joining, "the room works on");
}
