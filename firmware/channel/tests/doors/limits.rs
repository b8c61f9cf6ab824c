//! What is too much: each limit refuses with its name.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol::{signal_request, signal_response};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::house::*;

#[tokio::test]
async fn the_terminal_after_the_last_is_refused_with_the_limit() {
    let house = House::new().await;
    let mut sockets = Vec::new();
    for n in 0..16 {
        sockets.push(house.knock("/rtc", &jwt(&format!("user-{n}"))).await.unwrap());
    }
    let (status, text) = house.knock("/rtc", &jwt("user-16")).await.err().unwrap();
    assert_eq!(status, 409);
    assert!(text.contains("16"), "{text}");
    let (status, _) = house.text(&format!("/rtc/validate?access_token={}", jwt("user-16"))).await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_its_socket() {
    let house = House::with("[limits]\nmessage_bytes = 20000\n").await;
    let mut socket = house.knock("/rtc", &jwt("ann")).await.unwrap();
    receive(&mut socket).await.unwrap();
    socket.send(Message::Binary(vec![0; 30_000].into())).await.unwrap();
    let why = loop {
        match tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap() {
            Some(Ok(Message::Close(frame))) => break frame.unwrap(),
            Some(Ok(_)) => {}
            end => panic!("no word why: {end:?}"),
        }
    };
    assert_eq!(why.code, CloseCode::Size);
    assert!(why.reason.contains("20000"), "{}", why.reason);
    let long = "x".repeat(50_000);
    let (status, text) =
        house.text(&format!("/rtc/v1?access_token={}&join_request={long}", jwt("bob"))).await;
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("20000"), "{text}");
}

#[tokio::test]
async fn too_many_requests_are_slowed_down() {
    let house = House::with("[limits]\nrequests_per_second = 5\n").await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(house.api("GET", "/api/v1/channels", Some(&basic()), None).await.0);
    }
    assert!(statuses.contains(&429) && statuses.contains(&200), "{statuses:?}");
}

/// A plain socket that says a part of a request.
async fn half_open(house: &House, words: &[u8]) -> TcpStream {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = TcpStream::connect(house.service.http_addr).await.unwrap();
    stream.write_all(words).await.unwrap();
    stream
}

async fn closes_within(stream: &mut TcpStream, limit: Duration) -> bool {
    use tokio::io::AsyncReadExt as _;
    tokio::time::timeout(limit, stream.read_to_end(&mut Vec::new())).await.is_ok()
}

#[tokio::test]
async fn sockets_that_send_no_whole_request_are_closed_and_joined_ones_are_not() {
    let house = House::with("[timeouts]\nrequest_ms = 1000\n").await;
    let mut joined = house.knock("/rtc", &jwt("ann")).await.unwrap();
    receive(&mut joined).await.unwrap();
    let mut silent = half_open(&house, b"").await;
    let mut slow = half_open(&house, b"GET /rtc HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    assert!(!closes_within(&mut silent, Duration::from_millis(300)).await, "there is time for a request");
    assert!(closes_within(&mut silent, Duration::from_secs(10)).await);
    assert!(closes_within(&mut slow, Duration::from_secs(10)).await);
    say(&mut joined, signal_request::Message::Ping(1)).await;
    loop {
        let message = receive(&mut joined).await.expect("the socket lives on");
        if matches!(message, signal_response::Message::Pong(_)) {
            break;
        }
    }
}

#[tokio::test]
async fn too_many_sockets_are_refused_with_the_limits_name() {
    for (limit, setting) in
        [("sockets_per_address", "limits.sockets_per_address"), ("sockets", "limits.sockets")]
    {
        let house = House::with(&format!("[limits]\n{limit} = 2\n")).await;
        let first = half_open(&house, b"").await;
        let _second = house.knock("/rtc", &jwt("ann")).await.unwrap();
        let (status, words) = house.knock("/rtc", &jwt("bob")).await.unwrap_err();
        assert_eq!(status, 503);
        assert!(words.contains(setting) && words.contains('2'), "{words}");
        drop(first);
        let again = async {
            while house.text("/guest").await.1.contains(setting) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), again).await.expect("a place is free again");
    }
}

#[tokio::test]
async fn more_terminals_than_allowed_are_refused_with_the_limits_name() {
    let house = House::with("[limits]\nterminals = 1\n").await;
    let mut ann = house.knock("/rtc", &jwt("ann")).await.unwrap();
    receive(&mut ann).await.unwrap();
    let (status, words) = house.knock("/rtc", &jwt("bob")).await.unwrap_err();
    assert_eq!(status, 409);
    assert!(words.contains("limits.terminals") && words.contains('1'), "{words}");
    // Whoever takes the place of its former self is not one more.
    let mut again = house.knock("/rtc", &jwt("ann")).await.unwrap();
    assert!(matches!(receive(&mut again).await, Some(signal_response::Message::Join(_))));
}

#[tokio::test]
async fn more_tracks_than_allowed_are_refused_with_the_limits_name() {
    use livekit_protocol::{AddTrackRequest, TrackSource, TrackType, request_response};
    let house = House::new().await;
    let mut ann = house.knock("/rtc", &jwt("ann")).await.unwrap();
    let add = |cid: &str, kind: TrackType, source: TrackSource| {
        signal_request::Message::AddTrack(AddTrackRequest {
            cid: cid.to_string(),
            r#type: kind.into(),
            source: source.into(),
            ..Default::default()
        })
    };
    let (audio, video) = (TrackType::Audio, TrackType::Video);
    let wanted = [
        add("1", audio, TrackSource::Microphone),
        add("2", video, TrackSource::Camera),
        add("3", video, TrackSource::ScreenShare),
        add("4", audio, TrackSource::ScreenShareAudio),
    ];
    let refused = [
        (add("5", audio, TrackSource::Microphone), "limits.audio_tracks_per_terminal"),
        (add("6", video, TrackSource::Camera), "limits.video_tracks_per_terminal"),
        (add("7", video, TrackSource::ScreenShare), "limits.screen_tracks_per_terminal"),
        (add("8", audio, TrackSource::ScreenShareAudio), "limits.screen_tracks_per_terminal"),
    ];
    for message in wanted {
        say(&mut ann, message).await;
        while !matches!(receive(&mut ann).await.unwrap(), signal_response::Message::TrackPublished(_)) {}
    }
    for (message, setting) in refused {
        say(&mut ann, message).await;
        let response = loop {
            if let signal_response::Message::RequestResponse(response) = receive(&mut ann).await.unwrap() {
                break response;
            }
        };
        assert_eq!(response.reason(), request_response::Reason::LimitExceeded);
        assert!(response.message.contains(setting), "{}", response.message);
    }
}
