//! How a terminal comes to the service's doors, is let in or refused, comes again, and leaves. The service here
//! speaks only the signalling; media is tried against real services elsewhere.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol::{
    self as proto, signal_request::Message as Request, signal_response::Message as Response,
};
use prost::Message as _;
use rostrum_rtc::{AudioPlan, Event, LeaveReason, NetworkOptions, Terminal, TerminalOptions, TokenSource};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request as HttpRequest, Response as HttpResponse},
    },
};

const SOON: Duration = Duration::from_secs(5);

fn options(port: u16, token: Arc<dyn TokenSource>) -> TerminalOptions {
    TerminalOptions {
        service_url: format!("http://127.0.0.1:{port}").parse().unwrap(),
        token,
        udid: "unit-1".to_owned(),
        display_name: String::new(),
        video: None,
        audio: Some(AudioPlan { stereo: false }),
        auto_subscribe: true,
        network: NetworkOptions::default(),
    }
}

fn start(port: u16) -> (Terminal, mpsc::Receiver<Event>) {
    let (terminal, events, _) = Terminal::start(options(port, Arc::new("secret".to_owned())));
    (terminal, events)
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Takes one visitor in, or refuses with a status; gives the path and query that it asked for.
async fn visit(
    listener: &TcpListener,
    refuse: impl Fn(&str) -> Option<(u16, &'static str)>,
) -> (String, Option<WebSocketStream<TcpStream>>) {
    let (stream, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    let mut asked = String::new();
    // The signature is the library's.
    #[allow(clippy::result_large_err)]
    let check = |request: &HttpRequest, response: HttpResponse| {
        asked = request.uri().to_string();
        assert_eq!(request.headers()["authorization"], "Bearer secret");
        match refuse(request.uri().path()) {
            None => Ok(response),
            Some((status, reason)) => {
                let mut error = ErrorResponse::new(Some(reason.to_owned()));
                *error.status_mut() = status.try_into().unwrap();
                Err(error)
            }
        }
    };
    let socket = accept_hdr_async(stream, check).await.ok();
    (asked, socket)
}

async fn say(socket: &mut WebSocketStream<TcpStream>, message: Response) {
    let response = proto::SignalResponse { message: Some(message) };
    socket.send(Message::Binary(response.encode_to_vec().into())).await.unwrap();
}

async fn join(socket: &mut WebSocketStream<TcpStream>) {
    let me =
        proto::ParticipantInfo { sid: "PA_1".to_owned(), identity: "room".to_owned(), ..Default::default() };
    let room = proto::Room { name: "hall".to_owned(), ..Default::default() };
    let join = proto::JoinResponse { room: Some(room), participant: Some(me), ..Default::default() };
    say(socket, Response::Join(join)).await;
}

/// The next message of the terminal; `None` at the end.
async fn hear(socket: &mut WebSocketStream<TcpStream>) -> Option<Request> {
    while let Some(Ok(message)) = timeout(SOON, socket.next()).await.unwrap() {
        if let Message::Binary(bytes) = message {
            return proto::SignalRequest::decode(&bytes[..]).unwrap().message;
        }
    }
    None
}

/// The next event that `wanted` knows.
async fn event<T>(events: &mut mpsc::Receiver<Event>, wanted: impl Fn(&Event) -> Option<T>) -> T {
    timeout(SOON, async {
        loop {
            let event = events.recv().await.expect("the terminal ended");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    })
    .await
    .expect("the event did not come")
}

fn joined(event: &Event) -> Option<String> {
    if let Event::Joined { channel, .. } = event { Some(channel.clone()) } else { None }
}

fn left(event: &Event) -> Option<LeaveReason> {
    if let Event::Left { reason } = event { Some(reason.clone()) } else { None }
}

#[tokio::test]
async fn one_connection_is_tried_first_and_its_offer_is_in_the_address() {
    let (listener, port) = listener().await;
    let (_terminal, mut events) = start(port);
    let (asked, socket) = visit(&listener, |_| None).await;
    assert!(asked.starts_with("/rtc/v1?join_request="), "{asked}");
    join(&mut socket.unwrap()).await;
    assert_eq!(event(&mut events, joined).await, "hall");
}

#[tokio::test]
async fn a_service_without_that_door_is_entered_by_the_other_at_once() {
    let (listener, port) = listener().await;
    let (_terminal, mut events) = start(port);
    let began = Instant::now();
    let old = |path: &str| (path == "/rtc/v1").then_some((404, "not found"));
    assert!(visit(&listener, old).await.1.is_none());
    let (asked, socket) = visit(&listener, old).await;
    assert!(asked.starts_with("/rtc?protocol=") && asked.contains("auto_subscribe=1"), "{asked}");
    let mut socket = socket.unwrap();
    join(&mut socket).await;
    event(&mut events, joined).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    // Tracks and offer follow without another round trip.
    assert!(matches!(hear(&mut socket).await, Some(Request::AddTrack(t)) if t.name == "microphone"));
    assert!(matches!(hear(&mut socket).await, Some(Request::Offer(_))));
}

#[tokio::test]
async fn a_refusal_is_final_and_says_why() {
    let (listener, port) = listener().await;
    let (_terminal, mut events) = start(port);
    visit(&listener, |_| Some((401, "the token is expired; get another"))).await;
    let reason = event(&mut events, left).await;
    assert_eq!(
        reason,
        LeaveReason::Refused { status: 401, reason: "the token is expired; get another".to_owned() }
    );
    assert!(!reason.retry_makes_sense());
    assert!(events.recv().await.is_none(), "nothing comes after the end");
}

#[tokio::test]
async fn a_service_in_trouble_is_tried_again() {
    let (listener, port) = listener().await;
    let (_terminal, mut events) = start(port);
    visit(&listener, |_| Some((503, "starting"))).await;
    let (_, socket) = visit(&listener, |_| None).await;
    join(&mut socket.unwrap()).await;
    event(&mut events, joined).await;
}

#[tokio::test]
async fn a_terminal_is_back_within_a_second_after_the_service_listens_again() {
    let (first, port) = listener().await;
    let (_terminal, mut events) = start(port);
    let (_, socket) = visit(&first, |_| None).await;
    let mut socket = socket.unwrap();
    join(&mut socket).await;
    event(&mut events, joined).await;
    drop((first, socket));
    for _ in 0..5 {
        event(&mut events, |e| matches!(e, Event::Lost { .. }).then_some(())).await;
    }
    let again = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let listens = Instant::now();
    let (_, socket) = visit(&again, |_| None).await;
    join(&mut socket.unwrap()).await;
    event(&mut events, joined).await;
    assert!(listens.elapsed() < Duration::from_secs(1), "{:?}", listens.elapsed());
}

#[tokio::test]
async fn another_device_with_the_same_user_ends_the_stay_for_good() {
    let (listener, port) = listener().await;
    let (_terminal, mut events) = start(port);
    let (_, socket) = visit(&listener, |_| None).await;
    let mut socket = socket.unwrap();
    join(&mut socket).await;
    let reason = proto::DisconnectReason::DuplicateIdentity as i32;
    say(&mut socket, Response::Leave(proto::LeaveRequest { reason, ..Default::default() })).await;
    assert_eq!(event(&mut events, left).await, LeaveReason::DuplicateIdentity);
    assert!(events.recv().await.is_none());
}

#[tokio::test]
async fn leaving_tells_the_service_and_takes_less_than_a_second() {
    let (listener, port) = listener().await;
    let (terminal, mut events) = start(port);
    let (_, socket) = visit(&listener, |_| None).await;
    let mut socket = socket.unwrap();
    join(&mut socket).await;
    event(&mut events, joined).await;
    let began = Instant::now();
    let leave = tokio::spawn(async move { terminal.leave().await });
    loop {
        match hear(&mut socket).await {
            Some(Request::Leave(leave)) => {
                assert_eq!(leave.reason(), proto::DisconnectReason::ClientInitiated);
                break;
            }
            Some(_) => {}
            None => panic!("the socket closed without a word"),
        }
    }
    assert!(hear(&mut socket).await.is_none());
    leave.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(event(&mut events, left).await, LeaveReason::Asked);
}

#[tokio::test]
async fn leaving_works_while_nobody_answers() {
    let (listener, port) = listener().await;
    let (terminal, mut events) = start(port);
    // The connection is accepted by the kernel, and nothing is ever said.
    event(&mut events, |e| matches!(e, Event::Joining { .. }).then_some(())).await;
    let began = Instant::now();
    terminal.leave().await;
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(event(&mut events, left).await, LeaveReason::Asked);
    drop(listener);
}

#[tokio::test]
async fn the_token_is_asked_for_at_each_attempt() {
    struct Counting(AtomicU32);
    #[async_trait::async_trait]
    impl TokenSource for Counting {
        async fn token(&self) -> Result<String, String> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => Err("the service has no token for this device yet".to_owned()),
                _ => Ok("secret".to_owned()),
            }
        }
    }
    let (listener, port) = listener().await;
    let (_terminal, mut events, _) = Terminal::start(options(port, Arc::new(Counting(AtomicU32::new(0)))));
    let reason =
        event(&mut events, |e| if let Event::Lost { reason, .. } = e { Some(reason.clone()) } else { None });
    assert_eq!(reason.await, "the service has no token for this device yet");
    let (_, socket) = visit(&listener, |_| None).await;
    assert!(socket.is_some());
}
