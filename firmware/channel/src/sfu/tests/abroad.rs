//! Participants that are shown in a second channel.

use super::rights::{publish, whom};
use super::*;
use crate::sfu::command::ManageError;

impl Service {
    fn forward(&mut self, user: &str, into: &str) -> Result<(), ManageError> {
        let (whom, into) = (whom("room", user), ChannelId::new(into).unwrap());
        self.manage(|reply| Manage::Forward { whom, into, data: false, reply })
    }
}

#[test]
fn a_forwarded_participant_is_seen_heard_and_gone_in_the_other_channel() {
    let mut service = Service::new();
    let (ann, mut eve) = (service.join("room", "ann"), service.join("other", "eve"));
    publish(&mut service, &ann);
    assert_eq!(eve.told_of("ann"), None);
    service.forward("ann", "other").unwrap();
    let told = eve.told_of("ann").unwrap();
    assert!(told.kind_details().any(|detail| detail == participant_info::KindDetail::Forwarded));
    assert_eq!(told.tracks.len(), 1);
    let subscribers = |service: &Service| service.sfu.tracks.values().next().unwrap().down.len();
    assert_eq!(subscribers(&service), 1);

    let sid = told.tracks[0].sid.clone();
    service.say(&ann, Request::Mute(MuteTrackRequest { sid, muted: true }));
    assert!(eve.told_of("ann").unwrap().tracks[0].muted);

    let mut fay = service.join("other", "fay");
    let Message::Join(join) = fay.messages().remove(0) else { panic!() };
    let seen = join.other_participants.iter().find(|info| info.identity == "ann").unwrap();
    assert!(seen.kind_details().any(|detail| detail == participant_info::KindDetail::Forwarded));
    assert_eq!(subscribers(&service), 2);

    let into = ChannelId::new("other").unwrap();
    service.manage(|reply| Manage::StopForward { whom: whom("room", "ann"), into, reply }).unwrap();
    assert_eq!(eve.told_of("ann").unwrap().state(), participant_info::State::Disconnected);
    assert_eq!(subscribers(&service), 0);
    service.forward("ann", "other").unwrap();
    eve.messages();
    service.say(&ann, Request::Leave(LeaveRequest::default()));
    assert_eq!(eve.told_of("ann").unwrap().state(), participant_info::State::Disconnected);
    assert!(service.sfu.forwarded.is_empty());
}

#[test]
fn the_forwarded_one_sees_its_own_channel_only() {
    let mut service = Service::new();
    let (mut ann, eve) = (service.join("room", "ann"), service.join("other", "eve"));
    service.forward("ann", "other").unwrap();
    publish(&mut service, &eve);
    assert_eq!(ann.told_of("eve"), None);
    assert!(service.sfu.tracks.values().next().unwrap().down.is_empty());
}

#[test]
fn one_user_is_in_a_channel_once_however_it_came() {
    let mut service = Service::new();
    let _ann = service.join("room", "ann");
    let _namesake = service.join("other", "ann");
    assert_eq!(service.forward("ann", "other"), Err(ManageError::UserTaken));
    assert_eq!(service.forward("ann", "room"), Err(ManageError::OwnChannel));
    let _bob = service.join("room", "bob");
    service.forward("bob", "other").unwrap();
    service.forward("bob", "other").unwrap();
    let mut eve = service.join("other", "eve");
    eve.messages();
    // Whoever joins comes before whoever is only shown.
    let bob = service.join("other", "bob");
    let told: Vec<_> = eve
        .messages()
        .into_iter()
        .filter_map(|message| match message {
            Message::Update(update) => {
                Some((update.participants[0].sid.clone(), update.participants[0].state()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told[0].1, participant_info::State::Disconnected);
    assert_eq!(told[1].0, service.sfu.sessions[bob.key].sid);
}

#[test]
fn a_full_channel_takes_nobody_from_elsewhere() {
    let mut service = Service::new();
    let _ann = service.join("room", "ann");
    let _others: Vec<_> = ["x", "y", "z"].map(|user| service.join("other", user)).into();
    assert_eq!(service.forward("ann", "other"), Err(ManageError::ChannelFull { limit: 3 }));
}

#[test]
fn who_joins_anew_is_still_forwarded() {
    let mut service = Service::new();
    let (_ann, mut eve) = (service.join("room", "ann"), service.join("other", "eve"));
    service.forward("ann", "other").unwrap();
    eve.messages();
    let again = service.join("room", "ann");
    let told = eve.told_of("ann").unwrap();
    assert_eq!(told.sid, service.sfu.sessions[again.key].sid);
    assert_ne!(told.state(), participant_info::State::Disconnected);
}

#[test]
fn a_channel_that_moves_sends_everybody_to_its_new_place_and_lets_nobody_in() {
    let mut service = Service::new();
    let (mut eve, _ann) = (service.join("other", "eve"), service.join("room", "ann"));
    let move_on = |service: &mut Service, here: bool| {
        let (reply, mut answer) = oneshot::channel();
        let (app, channel) = (AppId::new("app").unwrap(), ChannelId::new("other").unwrap());
        service.sfu.handle_command(service.now, Command::Move { app, channel, here, reply });
        answer.try_recv().unwrap()
    };
    service.forward("ann", "other").unwrap();
    assert!(!move_on(&mut service, false), "a forward holds it");
    let into = ChannelId::new("other").unwrap();
    service.manage(|reply| Manage::StopForward { whom: whom("room", "ann"), into, reply }).unwrap();
    eve.messages();

    assert!(move_on(&mut service, false));
    let told = eve.messages();
    let leave = told.iter().find_map(|message| match message {
        Message::Leave(leave) => Some((leave.action(), leave.reason())),
        _ => None,
    });
    assert_eq!(leave, Some((leave_request::Action::Reconnect, DisconnectReason::Migration)));
    let again = || spec(identity("other", "eve"), Mode::Dual);
    assert!(matches!(service.try_join(again()), Err(JoinRefusal::Moving)));
    service.join("room", "bob");
    assert!(move_on(&mut service, true));
    assert!(service.try_join(again()).is_ok());
}

#[test]
fn limits_are_those_of_all_threads_together() {
    let mut totals = crate::threads::Totals::of_threads(2);
    let other = totals.remove(1);
    let mut service = Service::new();
    service.sfu.config.totals = totals.remove(0);
    other.set(0, 1);
    service.join("room", "ann");
    let refused = service.try_join(spec(identity("other", "eve"), Mode::Dual));
    assert!(matches!(refused, Err(JoinRefusal::TooManyChannels { limit: 2 })));
    other.set(0, 0);
    service.join("other", "eve");
}
