//! A stay goes on over the loss of its socket.

use super::*;
use crate::sfu::command::ResumeSpec;
use livekit_protocol::{
    DataChannelReceiveState, SyncState, TrackPublishedResponse, UpdateSubscription, signal_response,
};

impl Service {
    fn resume(&mut self, user: &str, sid: Option<&str>) -> Option<Client> {
        let spec = ResumeSpec {
            identity: identity("room", user),
            sid: sid.map(str::to_string),
            state: None,
            publisher_offer: None,
        };
        let (signals, inbox) = mpsc::channel(512);
        let (reply, mut answer) = oneshot::channel();
        self.sfu.handle_command(self.now, Command::Resume { spec: Box::new(spec), signals, reply });
        let (key, socket) = answer.try_recv().unwrap()?;
        Some(Client { key, socket, inbox })
    }

    fn sid(&self, client: &Client) -> String {
        self.sfu.sessions[client.key].sid.clone()
    }
}

fn publish(service: &mut Service, client: &mut Client) -> String {
    service.say(client, Request::AddTrack(camera("any")));
    service.say(client, offer(1));
    client.told_of(service.sfu.sessions[client.key].user().clone().as_str()).unwrap().tracks[0].sid.clone()
}

#[test]
fn a_client_comes_back_to_the_same_stay_and_hears_what_it_missed() {
    let mut service = Service::new();
    let (mut ann, mut bob) = (service.join("room", "ann"), service.join("room", "bob"));
    let sid = service.sid(&ann);
    let former = service.sid(&bob);
    bob.messages();
    service.lose_socket(&ann);
    service.say(&bob, Request::Leave(LeaveRequest::default()));
    let cat = service.join("room", "cat");
    service.say(
        &cat,
        Request::UpdateMetadata(UpdateParticipantMetadata {
            metadata: "news".to_string(),
            ..Default::default()
        }),
    );
    service.wait(Duration::from_secs(3));
    ann.messages();
    let mut again = service.resume("ann", Some(&sid)).unwrap();
    assert_eq!(again.key, ann.key);
    let messages = again.messages();
    assert!(matches!(messages[0], Message::Reconnect(_)), "{:?}", messages[0]);
    let told: Vec<ParticipantInfo> = messages
        .into_iter()
        .filter_map(|message| match message {
            Message::Update(update) => Some(update.participants),
            _ => None,
        })
        .flatten()
        .collect();
    let of = |user: &str| told.iter().find(|info| info.identity == user).unwrap();
    assert_eq!((of("bob").state(), &of("bob").sid), (participant_info::State::Disconnected, &former));
    assert_eq!(of("cat").metadata, "news");
    assert_eq!(of("ann").sid, sid);
    service.wait(Duration::from_secs(10));
    assert!(service.sfu.sessions.contains_key(ann.key), "it stays");
}

#[test]
fn the_others_hear_nothing_of_a_resume() {
    let mut service = Service::new();
    let (ann, mut bob) = (service.join("room", "ann"), service.join("room", "bob"));
    bob.messages();
    service.lose_socket(&ann);
    service.wait(Duration::from_secs(4));
    service.resume("ann", None).unwrap();
    assert_eq!(bob.told_of("ann"), None);
}

#[test]
fn a_stay_that_ended_or_is_anothers_is_not_resumed() {
    let mut service = Service::new();
    let ann = service.join("room", "ann");
    let sid = service.sid(&ann);
    assert!(service.resume("bob", Some(&sid)).is_none(), "the token is bob's");
    assert!(service.resume("ann", Some("PA_another")).is_none());
    service.lose_socket(&ann);
    service.wait(Duration::from_secs(5));
    assert!(service.resume("ann", Some(&sid)).is_none());
}

#[test]
fn a_socket_that_was_replaced_ends_nothing_and_says_nothing() {
    let mut service = Service::new();
    let ann = service.join("room", "ann");
    // The service did not notice that the first socket is gone.
    let mut again = service.resume("ann", None).unwrap();
    again.messages();
    service.say(&ann, Request::Leave(LeaveRequest::default()));
    service.lose_socket(&ann);
    service.wait(Duration::from_secs(10));
    assert!(service.sfu.sessions.contains_key(ann.key));
    service.say(&again, Request::Ping(1));
    assert!(matches!(again.messages()[..], [Message::Pong(_)]));
}

#[test]
fn answers_that_no_socket_took_go_out_on_the_next() {
    let mut service = Service::new();
    let ann = service.join("room", "ann");
    let answered = |n| {
        signal_response::Message::RequestResponse(livekit_protocol::RequestResponse {
            request_id: n,
            ..Default::default()
        })
    };
    let closed =
        Command::SocketClosed { session: ann.key, socket: 0, unsent: vec![answered(7), Message::Pong(1)] };
    service.sfu.handle_command(service.now, closed);
    let mut again = service.resume("ann", None).unwrap();
    let answers: Vec<u32> = again
        .messages()
        .into_iter()
        .filter_map(|message| match message {
            Message::RequestResponse(response) => Some(response.request_id),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [7]);
}

#[test]
fn an_unanswered_offer_is_made_again_with_new_credentials() {
    let mut service = Service::new();
    let mut ann = service.join("room", "ann");
    let offers = |client: &mut Client| {
        let messages = client.messages().into_iter();
        let mut offers = messages.filter_map(|message| match message {
            Message::Offer(offer) => Some((offer.id, offer.sdp)),
            _ => None,
        });
        offers.next_back()
    };
    let ufrag = |sdp: &str| sdp.split("a=ice-ufrag:").nth(1).unwrap().split('\r').next().unwrap().to_string();
    let (first, sdp) = offers(&mut ann).unwrap();
    service.lose_socket(&ann);
    let mut again = service.resume("ann", None).unwrap();
    let (second, anew) = offers(&mut again).unwrap();
    assert!(second > first);
    assert_ne!(ufrag(&sdp), ufrag(&anew));
}

#[test]
fn what_differs_after_a_resume_is_brought_in_line() {
    let mut service = Service::new();
    let (mut ann, bob) = (service.join("room", "ann"), service.join("room", "bob"));
    let sid = publish(&mut service, &mut ann);
    let state = |declined: &[&str]| {
        let track_sids = declined.iter().map(|sid| (*sid).to_string()).collect();
        let subscription = UpdateSubscription { track_sids, subscribe: false, ..Default::default() };
        Request::SyncState(SyncState { subscription: Some(subscription), ..Default::default() })
    };
    let subscribers = |service: &Service| service.sfu.tracks.values().next().unwrap().down.len();
    assert_eq!(subscribers(&service), 1);
    service.say(&bob, state(&[&sid]));
    assert_eq!(subscribers(&service), 0, "declined while it had no socket");
    service.say(&bob, state(&[]));
    assert_eq!(subscribers(&service), 1, "and wanted again");
}

#[test]
fn a_client_that_publishes_what_the_service_does_not_have_joins_anew() {
    let mut service = Service::new();
    let mut ann = service.join("room", "ann");
    let info = livekit_protocol::TrackInfo { sid: "TR_Vlost".to_string(), ..Default::default() };
    let published = TrackPublishedResponse { cid: "any".to_string(), track: Some(info) };
    let state = SyncState { publish_tracks: vec![published], ..Default::default() };
    service.say(&ann, Request::SyncState(state));
    assert_eq!(ann.leave().unwrap().action(), leave_request::Action::Reconnect);
    assert!(service.sfu.sessions.is_empty());
}

#[test]
fn a_receive_state_of_nobody_does_no_harm() {
    let mut service = Service::new();
    let ann = service.join("room", "ann");
    let state = DataChannelReceiveState { publisher_sid: "PA_none".to_string(), last_seq: 3 };
    let state = SyncState { datachannel_receive_states: vec![state], ..Default::default() };
    service.say(&ann, Request::SyncState(state));
    assert_eq!(service.sfu.sessions.len(), 1);
}
