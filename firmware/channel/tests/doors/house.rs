//! The doors through real sockets: who is let in, who is refused, and with which words.

#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol::{
    DisconnectReason, SignalRequest, SignalResponse, leave_request, signal_request, signal_response,
};
use prost::Message as _;
use rostrum_channel::{Config, RunningService, serve};
use rostrum_rtc::names::{AppId, ChannelId, UserId};
use rostrum_rtc::token::{self, AppKey, TokenRequest};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const APP: &str = "app";
const KEY: &str = "a-key-for-tests-only";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct House {
    service: RunningService,
    _pages: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(more: &str) -> Self {
        let pages = tempfile::tempdir().unwrap();
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\npages = {:?}\n[media]\nlisten = \"127.0.0.1:0\"\n\
             [[apps]]\nid = \"{APP}\"\nkey = \"{KEY}\"\n{more}",
            pages.path()
        );
        let service = serve(Config::parse("test", &text).unwrap()).await.unwrap();
        Self { service, _pages: pages }
    }

    fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.service.http_addr)
    }

    /// Knocks with a token in the query: a socket, or status and words of the refusal.
    async fn knock(&self, door: &str, token: &str) -> Result<Socket, (u16, String)> {
        match tokio_tungstenite::connect_async(self.url(&format!("{door}?&access_token={token}"))).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                Err((response.status().as_u16(), String::from_utf8(body).unwrap()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn api(&self, method: &str, path: &str, auth: Option<&str>, body: Option<Value>) -> (u16, Value) {
        let url = format!("http://{}{path}", self.service.http_addr);
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = reqwest::Client::new().request(method, url);
        if let Some(auth) = auth {
            request = request.header("authorization", auth);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    async fn text(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("http://{}{path}", self.service.http_addr)).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

async fn receive(socket: &mut Socket) -> Option<signal_response::Message> {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap()?;
        match message {
            Ok(Message::Binary(bytes)) => return SignalResponse::decode(bytes).unwrap().message,
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

async fn say(socket: &mut Socket, message: signal_request::Message) {
    let bytes = SignalRequest { message: Some(message) }.encode_to_vec();
    socket.send(Message::Binary(bytes.into())).await.unwrap();
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn request(user: &str) -> TokenRequest {
    let ttl = Duration::from_secs(60);
    TokenRequest::participant(ChannelId::new("room").unwrap(), UserId::new(user).unwrap(), ttl)
}

fn mint(request: &TokenRequest, key: &str, at: u64) -> String {
    token::mint_jwt(&AppId::new(APP).unwrap(), &AppKey::new(key), request, at).unwrap()
}

fn jwt(user: &str) -> String {
    mint(&request(user), KEY, now())
}

fn hashed(user: &str, expires_at: u64) -> String {
    let (app, channel) = (AppId::new(APP).unwrap(), ChannelId::new("room").unwrap());
    token::mint_hashed(&app, &AppKey::new(KEY), &channel, &UserId::new(user).unwrap(), "", expires_at)
        .unwrap()
}

fn basic() -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{APP}:{KEY}")))
}

const DOORS: [&str; 2] = ["/rtc", "/rtc/v1"];

#[tokio::test]
async fn both_kinds_of_token_open_both_doors() {
    let house = House::new().await;
    for door in DOORS {
        for token in [jwt("ann"), hashed("ann", now() + 60)] {
            let mut socket = house.knock(door, &token).await.unwrap();
            let Some(signal_response::Message::Join(join)) = receive(&mut socket).await else { panic!() };
            assert_eq!(join.participant.unwrap().identity, "ann");
        }
    }
}

#[tokio::test]
async fn bad_tokens_are_refused_with_the_reason_and_without_the_token() {
    let house = House::new().await;
    let foreign = mint(&request("ann"), "another-key", now());
    let cases = [
        (String::new(), 401, "no token"),
        ("rubbish".to_string(), 401, "not a JWT"),
        (foreign, 401, "signature"),
        (mint(&request("ann"), KEY, now() - 3600), 401, "expired"),
        (mint(&request("ann"), KEY, now() + 3600), 401, "not valid yet"),
        (hashed("ann", now() - 60), 401, "expired"),
        (hashed("ann", now() + 60).replace(".room.", ".other."), 401, "signature"),
        (hashed("ann", now() + 60).replace(".ann.", ".a%20b."), 401, "bad user"),
        (jwt("ann").replace("ey", "ex"), 401, ""),
        (format!("{}&room=elsewhere", jwt("ann")), 403, "another channel"),
    ];
    for door in DOORS {
        for (token, status, words) in &cases {
            let (got, text) = house.knock(door, token).await.err().unwrap();
            assert_eq!(got, *status, "{text}");
            assert!(text.contains(words), "{text}");
            assert!(token.is_empty() || !text.contains(token.as_str()), "the token is repeated");
            let (got, text) = house.text(&format!("{door}/validate?access_token={token}")).await;
            assert_eq!(got, *status, "{text}");
        }
    }
    assert_eq!(
        house.text(&format!("/rtc/validate?access_token={}", jwt("ann"))).await,
        (200, "success".to_string())
    );
}

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
async fn roles_are_changed_and_changes_are_told() {
    let house = House::new().await;
    let mut socket = house.knock("/rtc", &jwt("ann")).await.unwrap();
    receive(&mut socket).await.unwrap();
    let path = "/api/v1/channels/room/participants/ann";
    let permissions = format!("{path}/permissions");
    let auth = basic();
    let put = |body| house.api("PUT", &permissions, Some(&auth), Some(body));
    let (status, view) = put(json!({"role": "listener"})).await;
    assert_eq!((status, &view["permissions"]["can_publish"]), (200, &json!(false)), "{view}");
    assert_eq!(view["permissions"]["can_publish_data"], true);
    let (status, view) = put(json!({"grants": {"can_publish_sources": ["camera"]}})).await;
    assert_eq!((status, &view["permissions"]["can_publish_sources"]), (200, &json!(["camera"])), "{view}");
    for bad in [json!({}), json!({"role": "king"}), json!({"grants": {"can_publish_sources": ["kamera"]}})] {
        let (status, error) = put(bad).await;
        assert_eq!(status, 400, "{error}");
    }
    let body = json!({"name": "Ann_B", "metadata": "m", "attributes": {"hand": "up"}});
    let (status, view) = house.api("PATCH", path, Some(&auth), Some(body)).await;
    assert_eq!((status, &view["name"], &view["attributes"]["hand"]), (200, &json!("Ann_B"), &json!("up")));
    let (status, error) = house.api("PATCH", path, Some(&auth), Some(json!({"name": "a b"}))).await;
    assert_eq!(status, 400, "{error}");
    let body = json!({"metadata": "agenda"});
    assert_eq!(house.api("PATCH", "/api/v1/channels/room", Some(&auth), Some(body)).await.0, 204);
    loop {
        if let signal_response::Message::RoomUpdate(update) = receive(&mut socket).await.unwrap() {
            assert_eq!(update.room.unwrap().metadata, "agenda");
            break;
        }
    }
    let data = "/api/v1/channels/room/data";
    let body = json!({"text": "hello", "topic": "t", "users": ["ann", "nobody"]});
    assert_eq!(house.api("POST", data, Some(&auth), Some(body)).await.1["participants"], 1);
    assert_eq!(house.api("POST", data, Some(&auth), Some(json!({"base64": "?"}))).await.0, 400);
    assert_eq!(house.api("POST", data, Some(&auth), Some(json!({}))).await.0, 400);
}

#[tokio::test]
async fn a_participant_is_forwarded_and_refusals_say_why() {
    let house = House::new().await;
    let mut socket = house.knock("/rtc", &jwt("ann")).await.unwrap();
    receive(&mut socket).await.unwrap();
    let path = "/api/v1/channels/room/participants/ann/forwards";
    let auth = basic();
    let post = |channel| house.api("POST", path, Some(&auth), Some(json!({"channel": channel})));
    assert_eq!(post("other").await.0, 204);
    let (status, error) = post("room").await;
    assert_eq!(status, 409, "{error}");
    let (_, channel) = house.api("GET", "/api/v1/channels/room", Some(&auth), None).await;
    assert_eq!(channel["participants"][0]["forwarded_into"], json!(["other"]));
    let one = format!("{path}/other");
    assert_eq!(house.api("DELETE", &one, Some(&auth), None).await.0, 204);
    assert_eq!(house.api("DELETE", &one, Some(&auth), None).await.0, 404);
}

#[tokio::test]
async fn the_table_in_the_readme_names_every_call() {
    let house = House::new().await;
    let (_, openapi) = house.api("GET", "/api/openapi.json", None, None).await;
    let mut described: Vec<String> = openapi["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, calls)| {
            calls.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let readme = include_str!("../README.md");
    let mut table: Vec<String> = readme
        .lines()
        .skip_while(|line| !line.starts_with("| call"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('`').nth(1).unwrap().to_string())
        .collect();
    described.sort();
    table.sort();
    assert_eq!(table, described);
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
async fn the_api_wants_the_key_and_says_what_is_wrong() {
    let house = House::new().await;
    let (status, error) = house.api("GET", "/api/v1/channels", None, None).await;
    assert_eq!(status, 401);
    assert!(error["error"].as_str().is_some() && error["hint"].as_str().is_some(), "{error}");
    let (status, error) = house
        .api("POST", "/api/v1/tokens", Some(&basic()), Some(json!({"channel": "a b", "user": "u"})))
        .await;
    assert_eq!(status, 400, "{error}");
    assert!(error["error"].as_str().unwrap().contains("channel contains ' '"), "{error}");
    let (status, _) = house.api("GET", "/api/v1/channels/none", Some(&basic()), None).await;
    assert_eq!(status, 404);
    let (status, openapi) = house.api("GET", "/api/openapi.json", None, None).await;
    assert_eq!(status, 200);
    assert!(openapi["paths"]["/api/v1/channels/{channel}/participants/{user}/mute"].is_object());
}

#[tokio::test]
async fn a_minted_token_lets_in_and_removal_sends_away() {
    let house = House::new().await;
    let body = json!({"channel": "room", "user": "ann", "name": "Ann", "udid": "board-7", "ttl": 60});
    let (status, minted) = house.api("POST", "/api/v1/tokens", Some(&basic()), Some(body)).await;
    assert_eq!(status, 200, "{minted}");
    let mut socket = house.knock("/rtc", minted["token"].as_str().unwrap()).await.unwrap();
    receive(&mut socket).await.unwrap();
    let (_, channel) = house.api("GET", "/api/v1/channels/room", Some(&basic()), None).await;
    assert_eq!(channel["participants"][0]["udid"], "board-7");
    let path = "/api/v1/channels/room/participants/ann";
    let (status, _) =
        house.api("POST", &format!("{path}/mute"), Some(&basic()), Some(json!({"muted": true}))).await;
    assert_eq!(status, 404, "it publishes nothing");
    let (status, _) =
        house.api("POST", &format!("{path}/mute"), Some(&basic()), Some(json!({"muted": false}))).await;
    assert_eq!(status, 403, "nobody is unmuted from afar");
    let (status, _) = house.api("DELETE", path, Some(&basic()), None).await;
    assert_eq!(status, 204);
    loop {
        if let signal_response::Message::Leave(leave) = receive(&mut socket).await.unwrap() {
            assert_eq!(leave.reason(), DisconnectReason::ParticipantRemoved);
            break;
        }
    }
}

#[tokio::test]
async fn a_guest_comes_in_by_a_terminals_invitation() {
    let house = House::new().await;
    let path = "/api/v1/channels/room/invites";
    let (status, _) = house.api("POST", path, Some(&format!("Bearer {}", jwt("ann"))), None).await;
    assert_eq!(status, 403, "a guest does not invite others");
    let terminal = mint(&TokenRequest { udid: Some("board-7".to_string()), ..request("room") }, KEY, now());
    let (status, _) =
        house.api("POST", "/api/v1/channels/other/invites", Some(&format!("Bearer {terminal}")), None).await;
    assert_eq!(status, 403, "not for another channel");
    let (status, invited) = house.api("POST", path, Some(&format!("Bearer {terminal}")), None).await;
    assert_eq!(status, 200, "{invited}");
    assert!(invited["link"].as_str().unwrap().contains("/guest?channel=room&invite="), "{invited}");
    let body = json!({"invite": invited["invite"], "name": "Ada"});
    let (status, guest) = house.api("POST", "/api/v1/guests", None, Some(body)).await;
    assert_eq!(status, 200, "{guest}");
    let mut socket = house.knock("/rtc", guest["token"].as_str().unwrap()).await.unwrap();
    let Some(signal_response::Message::Join(join)) = receive(&mut socket).await else { panic!() };
    let participant = join.participant.unwrap();
    assert_eq!(
        (participant.identity.as_str(), participant.name.as_str()),
        (guest["user"].as_str().unwrap(), "Ada")
    );
    let body = json!({"invite": "no.such.invite", "name": "Ada"});
    assert_eq!(house.api("POST", "/api/v1/guests", None, Some(body)).await.0, 401);
    let (status, _) = house.knock("/rtc", invited["invite"].as_str().unwrap()).await.err().unwrap();
    assert_eq!(status, 401, "an invitation is no token");
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

#[tokio::test]
async fn without_the_pages_files_the_door_says_how_to_build_them() {
    let house = House::new().await;
    let (status, text) = house.text("/guest").await;
    assert_eq!(status, 503);
    assert!(text.contains("npm run build"), "{text}");
    std::fs::write(house._pages.path().join("index.html"), "<p>hello</p>").unwrap();
    assert_eq!(house.text("/guest?channel=room&invite=x").await, (200, "<p>hello</p>".to_string()));
    assert_eq!(house.text("/healthz").await.0, 200);
    assert_eq!(house.text("/nothing").await.0, 404);
    assert_eq!(house.text("/guest/../../etc/passwd").await.0, 404);
}

#[tokio::test]
async fn a_service_that_ends_says_come_back() {
    let house = House::new().await;
    let mut socket = house.knock("/rtc", &jwt("ann")).await.unwrap();
    receive(&mut socket).await.unwrap();
    let address = house.service.http_addr;
    house.service.shutdown().await;
    let mut told = None;
    while let Some(message) = receive(&mut socket).await {
        if let signal_response::Message::Leave(leave) = message {
            told = Some((leave.reason(), leave.action()));
        }
    }
    assert_eq!(told, Some((DisconnectReason::ServerShutdown, leave_request::Action::Reconnect)));
    assert!(TcpStream::connect(address).await.is_err(), "it does not listen any more");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let house = House::new().await;
    let text = format!(
        "[http]\nlisten = \"{}\"\n[media]\nlisten = \"127.0.0.1:0\"\n[[apps]]\nid = \"a\"\nkey = \"b\"\n",
        house.service.http_addr
    );
    let error = serve(Config::parse("test", &text).unwrap()).await.err().unwrap().to_string();
    assert!(error.contains(&house.service.http_addr.to_string()) && error.contains("http.listen"), "{error}");
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

struct Made {
    certificate: String,
    key: String,
}

fn certificate() -> Made {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    Made { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

/// Whether a client that trusts this certificate only gets an answer.
async fn trusts(made: &Made, house: &House) -> bool {
    let root = reqwest::Certificate::from_pem(made.certificate.as_bytes()).unwrap();
    let client =
        reqwest::Client::builder().tls_built_in_root_certs(false).add_root_certificate(root).build().unwrap();
    let url = format!("https://localhost:{}/api/openapi.json", house.service.http_addr.port());
    client.get(url).send().await.is_ok_and(|answer| answer.status() == 200)
}

#[tokio::test]
async fn https_shows_new_connections_the_new_certificate_and_drops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let write = |made: &Made| {
        std::fs::write(file("c.pem"), &made.certificate).unwrap();
        std::fs::write(file("k.pem"), &made.key).unwrap();
    };
    let (old, new) = (certificate(), certificate());
    write(&old);
    let house = House::with(&format!(
        "[http.tls]\ncertificate = {:?}\nkey = {:?}\nplain_listen = \"127.0.0.1:0\"\n",
        file("c.pem"),
        file("k.pem")
    ))
    .await;
    assert!(trusts(&old, &house).await && !trusts(&new, &house).await);
    let plain = house.service.plain_addr.unwrap();
    let invite = reqwest::Client::new()
        .post(format!("http://{plain}/api/v1/channels/room/invites"))
        .header("authorization", basic())
        .send()
        .await
        .unwrap();
    let link: Value = invite.json().await.unwrap();
    assert!(link["link"].as_str().unwrap().starts_with("https://"), "{link}");

    let url = format!("ws://{plain}/rtc?access_token={}", jwt("ann"));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    receive(&mut socket).await.unwrap();

    write(&new);
    let replaced = async {
        while !trusts(&new, &house).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), replaced).await.expect("the new certificate is shown");
    assert!(!trusts(&old, &house).await);
    say(&mut socket, signal_request::Message::Ping(1)).await;
    assert!(receive(&mut socket).await.is_some(), "the old connection goes on");
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
