//! The doors of terminals: what they are told, and how they come back and leave.

use std::time::Duration;

use livekit_protocol::{DisconnectReason, leave_request, signal_request, signal_response};
use rostrum_channel::{Config, serve};
use serde_json::json;

use crate::house::*;

#[tokio::test]
async fn a_former_self_hears_why_it_left() {
    let house = House::new().await;
    let mut first = house.knock("/rtc", &jwt("ann")).await.unwrap();
    let mut second = house.knock("/rtc", &jwt("ann")).await.unwrap();
    receive(&mut second).await.unwrap();
    loop {
        if let signal_response::Message::Leave(leave) = receive(&mut first).await.unwrap() {
            assert_eq!(leave.reason(), DisconnectReason::DuplicateIdentity);
            break;
        }
    }
    assert_eq!(receive(&mut first).await, None, "its socket is closed");
}

#[tokio::test]
async fn a_resume_is_answered_by_join_anew() {
    let house = House::new().await;
    let token = format!("{}&reconnect=1&sid=PA_x", jwt("ann"));
    let mut socket = house.knock("/rtc", &token).await.unwrap();
    let Some(signal_response::Message::Leave(leave)) = receive(&mut socket).await else { panic!() };
    assert_eq!(leave.action(), leave_request::Action::Reconnect);
}

#[tokio::test]
async fn a_socket_that_was_lost_is_resumed_at_both_doors() {
    let house = House::new().await;
    let mut socket = house.knock("/rtc", &jwt("ann")).await.unwrap();
    let Some(signal_response::Message::Join(join)) = receive(&mut socket).await else { panic!() };
    let sid = join.participant.unwrap().sid;
    for door in DOORS {
        drop(socket);
        let token = format!("{}&reconnect=1&sid={sid}", jwt("ann"));
        socket = house.knock(door, &token).await.unwrap();
        let first = receive(&mut socket).await;
        assert!(matches!(first, Some(signal_response::Message::Reconnect(_))), "{first:?}");
        say(&mut socket, signal_request::Message::Ping(1)).await;
        while !matches!(receive(&mut socket).await.unwrap(), signal_response::Message::Pong(_)) {}
    }
    let (_, channel) = house.api("GET", "/api/v1/channels/room", Some(&basic()), None).await;
    assert_eq!(channel["participants"][0]["sid"], sid);
}

#[tokio::test]
async fn leaving_empties_the_channel() {
    let house = House::new().await;
    let mut socket = house.knock("/rtc", &jwt("ann")).await.unwrap();
    receive(&mut socket).await.unwrap();
    let (_, channels) = house.api("GET", "/api/v1/channels", Some(&basic()), None).await;
    assert_eq!(channels[0]["participants"][0]["user"], "ann");
    say(&mut socket, signal_request::Message::Leave(Default::default())).await;
    while receive(&mut socket).await.is_some() {}
    let (_, channels) = house.api("GET", "/api/v1/channels", Some(&basic()), None).await;
    assert_eq!(channels, json!([]));
}

#[tokio::test]
async fn a_terminal_whose_media_never_comes_up_is_sent_away() {
    let house = House::with("[timeouts]\nconnect_ms = 5000\n").await;
    let mut ann = house.knock("/rtc", &jwt("ann")).await.unwrap();
    let joined = tokio::time::Instant::now();
    loop {
        let message = receive(&mut ann).await.expect("a leave comes first");
        if let signal_response::Message::Leave(leave) = message {
            assert_eq!(leave.reason(), DisconnectReason::JoinFailure);
            break;
        }
    }
    assert!(joined.elapsed() > Duration::from_secs(4), "{:?}", joined.elapsed());
}

#[tokio::test]
async fn turn_servers_come_with_credentials_of_ones_own() {
    let house =
        House::with("[turn]\nurls = [\"turn:t.example.org?transport=udp\"]\nsecret = \"hush\"\n").await;
    let mut told = Vec::new();
    for user in ["ann", "bob"] {
        let mut socket = house.knock("/rtc/v1", &jwt(user)).await.unwrap();
        let Some(signal_response::Message::Join(join)) = receive(&mut socket).await else { panic!() };
        let server = join.ice_servers.into_iter().next().unwrap();
        assert_eq!(server.urls, ["turn:t.example.org?transport=udp"]);
        let (expiry, name) = server.username.split_once(':').unwrap();
        assert_eq!(name, user);
        assert!(expiry.parse::<u64>().unwrap() > now() + 3600);
        told.push(server.credential);
    }
    assert_ne!(told[0], told[1]);
}

#[tokio::test]
async fn connections_are_spread_over_the_udp_ports_and_all_are_told_of_tcp() {
    let pages = tempfile::tempdir().unwrap();
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\npages = {:?}\n[media]\nlisten = \"127.0.0.1:0\"\nudp_ports = 3\n\
         [[apps]]\nid = \"{APP}\"\nkey = \"{KEY}\"\n",
        pages.path()
    );
    let service = serve(Config::parse("test", &text).unwrap()).await.unwrap();
    let tcp = service.media_tcp_addr.unwrap().port();
    let house = House { service, _pages: pages };
    let mut ports = std::collections::BTreeSet::new();
    let mut sockets = Vec::new();
    for user in ["ann", "bob", "cleo"] {
        let mut socket = house.knock("/rtc", &jwt(user)).await.unwrap();
        let offer = loop {
            if let signal_response::Message::Offer(offer) = receive(&mut socket).await.unwrap() {
                break offer.sdp;
            }
        };
        let port = |protocol: &str| {
            let line = offer.lines().find(|line| line.contains(&format!(" 1 {protocol} "))).unwrap();
            line.split(' ').nth(5).unwrap().parse::<u16>().unwrap()
        };
        ports.insert(port("udp"));
        assert_eq!(port("tcp"), tcp);
        sockets.push(socket);
    }
    assert_eq!(ports.len(), 3, "{ports:?}");
}
