//! What participants may do, and changes of that while they are connected.

use super::*;
use crate::sfu::command::{ManageError, ParticipantChange, ParticipantView, Whom};
use livekit_protocol::UpdateSubscription;

pub(super) fn whom(channel: &str, user: &str) -> Whom {
    Whom {
        app: AppId::new("app").unwrap(),
        channel: ChannelId::new(channel).unwrap(),
        user: UserId::new(user).unwrap(),
    }
}

impl Service {
    pub(super) fn manage<T>(&mut self, make: impl FnOnce(oneshot::Sender<T>) -> Manage) -> T {
        let (reply, mut answer) = oneshot::channel();
        self.sfu.handle_command(self.now, Command::Manage(make(reply)));
        answer.try_recv().unwrap()
    }

    fn permit(&mut self, user: &str, grants: Grants) -> ParticipantView {
        let whom = whom("room", user);
        self.manage(|reply| Manage::SetPermissions { whom, grants: Box::new(grants), reply }).unwrap()
    }
}

pub(super) fn publish(service: &mut Service, client: &Client) {
    service.say(client, Request::AddTrack(camera("any")));
    service.say(client, offer(1));
}

#[test]
fn a_host_becomes_a_listener_and_a_host_again() {
    let mut service = Service::new();
    let (mut ann, mut bob) = (service.join("room", "ann"), service.join("room", "bob"));
    publish(&mut service, &ann);
    assert_eq!(bob.told_of("ann").unwrap().tracks.len(), 1);
    ann.messages();
    let view = service.permit("ann", Grants { can_publish: Some(false), ..Grants::default() });
    assert!(!view.permissions.can_publish && view.tracks.is_empty());
    let messages = ann.messages();
    assert!(messages.iter().any(|message| matches!(message, Message::TrackUnpublished(_))));
    assert!(messages.iter().any(|message| matches!(message, Message::RefreshToken(_))));
    let told = bob.told_of("ann").unwrap();
    assert!(told.tracks.is_empty() && !told.permission.unwrap().can_publish);
    publish(&mut service, &ann);
    assert!(service.sfu.tracks.is_empty(), "a listener publishes nothing");
    service.permit("ann", Grants::default());
    service.say(&ann, Request::AddTrack(camera("any")));
    assert_eq!(bob.told_of("ann").unwrap().tracks.len(), 1);
}

#[test]
fn who_may_not_subscribe_any_more_gets_nothing_until_it_may() {
    let mut service = Service::new();
    let (ann, mut bob) = (service.join("room", "ann"), service.join("room", "bob"));
    publish(&mut service, &ann);
    let sid = bob.told_of("ann").unwrap().tracks[0].sid.clone();
    let subscribers = |service: &Service| service.sfu.tracks.values().next().unwrap().down.len();
    service.permit("bob", Grants { can_subscribe: Some(false), ..Grants::default() });
    assert_eq!(subscribers(&service), 0);
    bob.messages();
    let update = UpdateSubscription { track_sids: vec![sid], subscribe: true, ..Default::default() };
    service.say(&bob, Request::Subscription(update));
    assert_eq!(subscribers(&service), 0);
    let refused = bob
        .messages()
        .into_iter()
        .any(|message| matches!(message, Message::SubscriptionPermissionUpdate(update) if !update.allowed));
    assert!(refused);
    service.permit("bob", Grants::default());
    assert_eq!(subscribers(&service), 1);
}

#[test]
fn who_is_hidden_leaves_for_the_others_and_comes_back() {
    let mut service = Service::new();
    let (ann, mut bob) = (service.join("room", "ann"), service.join("room", "bob"));
    publish(&mut service, &ann);
    service.permit("ann", Grants { hidden: true, ..Grants::default() });
    let told = bob.told_of("ann").unwrap();
    assert_eq!(told.state(), participant_info::State::Disconnected);
    assert!(told.tracks.is_empty());
    let change = Box::new(ParticipantChange { metadata: Some("x".to_string()), ..Default::default() });
    service.manage(|reply| Manage::Update { whom: whom("room", "ann"), change, reply }).unwrap();
    assert_eq!(bob.told_of("ann"), None);
    service.permit("ann", Grants::default());
    assert_ne!(bob.told_of("ann").unwrap().state(), participant_info::State::Disconnected);
}

#[test]
fn the_application_changes_what_is_told_of_a_participant_but_not_its_udid() {
    let mut service = Service::new();
    let (_ann, mut bob) = (service.join("room", "ann"), service.join("room", "bob"));
    let mut change = |attributes: &[(&str, &str)]| {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
        let change = Box::new(ParticipantChange {
            name: Some(rostrum_rtc::names::DisplayName::new("Ann").unwrap()),
            attributes,
            ..Default::default()
        });
        service.manage(|reply| Manage::Update { whom: whom("room", "ann"), change, reply })
    };
    assert!(change(&[("hand", "up")]).is_ok());
    let told = bob.told_of("ann").unwrap();
    assert_eq!((told.name.as_str(), told.attributes["hand"].as_str()), ("Ann", "up"));
    assert!(change(&[("hand", "")]).unwrap().attributes.is_empty());
    assert!(matches!(change(&[("udid", "x")]), Err(ManageError::Change(_))));
    let long = "x".repeat(70_000);
    assert!(matches!(change(&[("long", &long)]), Err(ManageError::Change(_))));
}

#[test]
fn data_without_the_right_is_refused_once() {
    let mut service = Service::new();
    let mut mute = identity("room", "ann");
    mute.grants.can_publish_data = Some(false);
    let mut ann = service.try_join(spec(mute, Mode::Single)).unwrap();
    ann.messages();
    let peer = service.sfu.sessions[ann.key].peers.publisher();
    for _ in 0..3 {
        service.sfu.handle_data(service.now, peer, crate::transport::DataKind::Reliable, &[]);
    }
    let refusals = ann.messages();
    assert!(matches!(&refusals[..], [Message::RequestResponse(_)]), "{refusals:?}");
}

#[test]
fn data_that_is_too_long_is_refused_with_its_limit_once() {
    let mut service = Service::new();
    let mut ann = service.join("room", "ann");
    ann.messages();
    let peer = service.sfu.sessions[ann.key].peers.publisher();
    for _ in 0..3 {
        let event = crate::transport::PeerEvent::DataTooLong { len: 70_000 };
        service.sfu.handle_peer_event(service.now, peer, event);
    }
    let refusals = ann.messages();
    let [Message::RequestResponse(refusal)] = &refusals[..] else { panic!("{refusals:?}") };
    assert_eq!(refusal.reason(), request_response::Reason::LimitExceeded);
    assert!(refusal.message.contains("70000") && refusal.message.contains("limits.data_message_bytes"));
}
