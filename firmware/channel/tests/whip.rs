//! The doors of WHIP and WHEP through real sockets: who is let in, what is answered, and that nobody stays who
//! should not.

#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use reqwest::{Method, Response};
use rostrum_channel::{Config, RunningService, serve};
use rostrum_rtc::names::{AppId, ChannelId, UserId};
use rostrum_rtc::token::{self, AppKey, Grants, TokenRequest};
use serde_json::{Value, json};

const APP: &str = "app";
const KEY: &str = "a-key-for-tests-only";
const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

struct House {
    service: RunningService,
    client: reqwest::Client,
    _pages: tempfile::TempDir,
}

/// A stay that was begun.
struct Stay {
    location: String,
    etag: String,
    answer: String,
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
        Self { service, client: reqwest::Client::new(), _pages: pages }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let url = format!("http://{}{path}", self.service.http_addr);
        let mut request = self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body.to_owned()).send().await.unwrap()
    }

    async fn post(&self, path: &str, token: &str, offer: &str) -> Response {
        let authorization = format!("Bearer {token}");
        self.ask("POST", path, &[("authorization", &authorization), ("content-type", SDP)], offer).await
    }

    async fn begin(&self, path: &str, token: &str, offer: &str) -> Stay {
        let response = self.post(path, token, offer).await;
        assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), SDP);
        assert_eq!(header("accept-patch"), FRAGMENT);
        let (location, etag) = (header("location"), header("etag"));
        Stay { location, etag, answer: response.text().await.unwrap() }
    }

    async fn patch(&self, stay: &Stay, token: &str, condition: Option<&str>, body: &str) -> Response {
        let authorization = format!("Bearer {token}");
        let mut headers = vec![("authorization", authorization.as_str()), ("content-type", FRAGMENT)];
        headers.extend(condition.map(|tag| ("if-match", tag)));
        self.ask("PATCH", &stay.location, &headers, body).await
    }

    async fn end(&self, stay: &Stay, token: &str) -> Response {
        self.ask("DELETE", &stay.location, &[("authorization", &format!("Bearer {token}"))], "").await
    }

    async fn channels(&self) -> Value {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{APP}:{KEY}"));
        let headers = [("authorization", format!("Basic {basic}"))];
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.ask("GET", "/api/v1/channels", &headers, "").await.json().await.unwrap()
    }
}

/// A problem's status and words, checked to be problem details.
async fn problem(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(media_type, "application/problem+json", "{status}");
    let details: Value = response.json().await.unwrap();
    assert_eq!(details["status"], status);
    assert!(details["title"].as_str().is_some_and(|title| !title.is_empty()), "{details}");
    (status, details["detail"].as_str().unwrap().to_owned())
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn request(user: &str) -> TokenRequest {
    let ttl = Duration::from_secs(60);
    TokenRequest::participant(ChannelId::new("room").unwrap(), UserId::new(user).unwrap(), ttl)
}

fn mint(request: &TokenRequest) -> String {
    token::mint_jwt(&AppId::new(APP).unwrap(), &AppKey::new(KEY), request, now()).unwrap()
}

fn jwt(user: &str) -> String {
    mint(&request(user))
}

fn with_grants(user: &str, change: impl Fn(&mut Grants)) -> String {
    let mut request = request(user);
    change(&mut request.grants);
    mint(&request)
}

const FINGERPRINT: &str =
    "0A:1B:2C:3D:4E:5F:60:71:82:93:A4:B5:C6:D7:E8:F9:0A:1B:2C:3D:4E:5F:60:71:82:93:A4:B5:C6:D7:E8:F9";

/// An offer with these kinds of sections, all of one direction.
fn offer(kinds: &[&str], direction: &str) -> String {
    let mids: Vec<String> = (0..kinds.len()).map(|mid| mid.to_string()).collect();
    let mut sdp = format!(
        "v=0\r\no=- 42 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n\
         a=extmap-allow-mixed\r\na=fingerprint:sha-256 {FINGERPRINT}\r\n",
        mids.join(" ")
    );
    for (mid, kind) in kinds.iter().enumerate() {
        let (pt, map) = if *kind == "audio" { (111, "opus/48000/2") } else { (96, "VP8/90000") };
        sdp += &format!(
            "m={kind} 9 UDP/TLS/RTP/SAVPF {pt}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
             a=ice-pwd:0123456789abcdefghijklmn\r\na=setup:actpass\r\na=mid:{mid}\r\n\
             a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na={direction}\r\na=msid:stream track-{mid}\r\n\
             a=rtcp-mux\r\na=rtcp-mux-only\r\na=rtpmap:{pt} {map}\r\n"
        );
    }
    sdp
}

fn fragment(ufrag: &str) -> String {
    format!(
        "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:{ufrag}\r\n\
         a=ice-pwd:0123456789abcdefghijklmn\r\na=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n\
         a=end-of-candidates\r\n"
    )
}

fn both(direction: &str) -> String {
    offer(&["audio", "video"], direction)
}

#[tokio::test]
async fn a_publisher_is_a_participant_with_its_tracks_until_it_ends() {
    let house = House::new().await;
    let stay = house.begin("/whip/room", &jwt("cam"), &both("sendonly")).await;
    assert!(stay.location.starts_with("/whip/room/") && stay.location.len() > "/whip/room/".len() + 20);
    assert!(stay.etag.starts_with('"') && stay.etag.len() > 2);
    assert!(stay.answer.contains("a=recvonly") && !stay.answer.contains("a=sendrecv"), "{}", stay.answer);
    assert!(stay.answer.contains("a=ice-lite") && stay.answer.contains("a=rtcp-mux-only"));
    assert!(stay.answer.contains("a=setup:passive") && stay.answer.contains("a=end-of-candidates"));
    let channels = house.channels().await;
    let participant = &channels[0]["participants"][0];
    assert_eq!(participant["user"], "cam");
    let sources: Vec<&str> =
        participant["tracks"].as_array().unwrap().iter().map(|t| t["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["microphone", "camera"]);

    let (status, _) = problem(house.end(&stay, &jwt("other")).await).await;
    assert_eq!(status, 403, "not by another user");
    let watched_by = stay.location.replace("/whip/", "/whep/");
    let foreign_door = Stay { location: watched_by, etag: String::new(), answer: String::new() };
    assert_eq!(problem(house.end(&foreign_door, &jwt("cam")).await).await.0, 404, "not by the other door");
    assert_eq!(house.end(&stay, &jwt("cam")).await.status(), 200);
    assert_eq!(house.channels().await, json!([]), "it is gone at once");
    assert_eq!(problem(house.end(&stay, &jwt("cam")).await).await.0, 404);
    assert_eq!(
        problem(house.patch(&stay, &jwt("cam"), Some(&stay.etag), &fragment("abcd")).await).await.0,
        404
    );
}

#[tokio::test]
async fn turn_servers_are_told_as_links() {
    let turn =
        "[turn]\nurls = [\"turn:t.example.org?transport=udp\", \"turns:t.example.org\"]\nsecret = \"hush\"\n";
    let house = House::with(turn).await;
    for (path, direction) in [("/whip/room", "sendonly"), ("/whep/room", "recvonly")] {
        let response = house.post(path, &jwt("cam"), &both(direction)).await;
        let links: Vec<&str> =
            response.headers().get_all("link").iter().map(|link| link.to_str().unwrap()).collect();
        assert_eq!(links.len(), 2, "{links:?}");
        assert!(links[0].starts_with("<turn:t.example.org?transport=udp>; rel=\"ice-server\"; username=\""));
        assert!(
            links.iter().all(|link| link.contains(":cam\"; credential=\"") && link.ends_with("\"password\""))
        );
    }
    let house = House::new().await;
    let response = house.post("/whip/room", &jwt("cam"), &both("sendonly")).await;
    assert!(!response.headers().contains_key("link"));
}

#[tokio::test]
async fn a_stay_outlives_its_token() {
    let house = House::new().await;
    let stay = house.begin("/whip/room", &jwt("cam"), &both("sendonly")).await;
    let expired = |user: &str| {
        token::mint_jwt(&AppId::new(APP).unwrap(), &AppKey::new(KEY), &request(user), now() - 3600).unwrap()
    };
    assert_eq!(problem(house.post("/whip/room", &expired("cam"), &both("sendonly")).await).await.0, 401);
    assert_eq!(house.patch(&stay, &expired("cam"), Some("*"), &fragment("efgh")).await.status(), 200);
    assert_eq!(problem(house.end(&stay, &expired("other")).await).await.0, 403);
    assert_eq!(problem(house.end(&stay, "rubbish").await).await.0, 401);
    assert_eq!(house.end(&stay, &expired("cam")).await.status(), 200);
}

#[tokio::test]
async fn a_screen_is_published_as_one() {
    let house = House::new().await;
    house.begin("/whip/room?source=screen_share", &jwt("cam"), &both("sendrecv")).await;
    let channels = house.channels().await;
    let tracks = &channels[0]["participants"][0]["tracks"];
    assert_eq!(
        (&tracks[0]["source"], &tracks[1]["source"]),
        (&json!("screen_share_audio"), &json!("screen_share"))
    );
}

#[tokio::test]
async fn a_viewer_is_a_participant_without_tracks() {
    let house = House::new().await;
    for direction in ["recvonly", "sendrecv"] {
        let stay = house.begin("/whep/room?user=cam&source=camera", &jwt("eye"), &both(direction)).await;
        assert!(stay.location.starts_with("/whep/room/"));
        assert!(stay.answer.contains("a=sendonly") && !stay.answer.contains("a=sendrecv"), "{}", stay.answer);
        let streams: Vec<&str> =
            stay.answer.lines().filter_map(|line| line.strip_prefix("a=msid:")?.split(' ').next()).collect();
        assert!(streams.len() == 2 && streams[0] == streams[1], "one stream: {streams:?}");
        let channels = house.channels().await;
        let participants = channels[0]["participants"].as_array().unwrap();
        assert_eq!((participants.len(), &participants[0]["user"]), (1, &json!("eye")));
        assert_eq!(participants[0]["tracks"], json!([]));
    }
}

#[tokio::test]
async fn the_same_user_is_there_once() {
    let house = House::new().await;
    let first = house.begin("/whip/room", &jwt("cam"), &both("sendonly")).await;
    let second = house.begin("/whip/room", &jwt("cam"), &both("sendonly")).await;
    assert_ne!(first.location, second.location);
    assert_eq!(house.channels().await[0]["participants"].as_array().unwrap().len(), 1);
    assert_eq!(problem(house.end(&first, &jwt("cam")).await).await.0, 404);
    // An offer that cannot be used does not cost the stay that there is.
    let (status, words) = problem(house.post("/whip/room", &jwt("cam"), "v=0\r\nrubbish").await).await;
    assert_eq!(status, 400, "{words}");
    assert_eq!(house.end(&second, &jwt("cam")).await.status(), 200);
}

#[tokio::test]
async fn refusals_say_what_to_do_and_leave_nobody_behind() {
    let house = House::new().await;
    let (whip, whep) = ("/whip/room", "/whep/room");
    let no_audio = with_grants("cam", |grants| grants.can_publish_sources = vec!["camera".to_owned()]);
    let no_publishing = with_grants("cam", |grants| grants.can_publish = Some(false));
    let no_subscribing = with_grants("cam", |grants| grants.can_subscribe = Some(false));
    let unknown_codec = both("sendonly").replace("VP8/90000", "FlexFEC/90000");
    let without_dtls = both("sendonly").replace("a=fingerprint", "a=x");
    let cases = [
        (whip, "", both("sendonly"), 401, "no token"),
        (whip, "rubbish", both("sendonly"), 401, "not a JWT"),
        ("/whip/other", &*jwt("cam"), both("sendonly"), 403, "another channel"),
        ("/whip/a%20b", &*jwt("cam"), both("sendonly"), 400, "channel contains"),
        (whip, &*no_publishing, both("sendonly"), 403, "does not allow publishing"),
        (whip, &*no_audio, both("sendonly"), 403, "publishing sound"),
        (whip, &*jwt("cam"), both("recvonly"), 422, "`sendonly`"),
        (whip, &*jwt("cam"), both("inactive"), 422, "`sendonly`"),
        (whip, &*jwt("cam"), offer(&["video", "video"], "sendonly"), 422, "at most 1 for picture"),
        (whip, &*jwt("cam"), offer(&["audio", "video", "audio"], "sendonly"), 422, "at most 1 for sound"),
        (whip, &*jwt("cam"), unknown_codec, 422, "no codec"),
        (whip, &*jwt("cam"), without_dtls, 400, "fingerprint"),
        (whip, &*jwt("cam"), offer(&[], "sendonly"), 422, "neither sound nor picture"),
        (whip, &*jwt("cam"), String::new(), 400, "cannot be parsed"),
        ("/whip/room?source=window", &*jwt("cam"), both("sendonly"), 400, "source"),
        (whep, &*no_subscribing, both("recvonly"), 403, "subscribing"),
        (whep, &*jwt("cam"), both("sendonly"), 422, "`recvonly`"),
        (whep, &*jwt("cam"), offer(&["video"; 40], "recvonly"), 422, "at most 32"),
        ("/whep/room?user=a%20b", &*jwt("cam"), both("recvonly"), 400, "user contains"),
        ("/whep/room?source=hand", &*jwt("cam"), both("recvonly"), 400, "screen_share"),
    ];
    for (path, token, offer, status, words) in cases {
        let response = house.post(path, token, &offer).await;
        let challenged = response.headers().contains_key("www-authenticate");
        let (got, text) = problem(response).await;
        assert_eq!(got, status, "{path}: {text}");
        assert!(text.contains(words), "{path}: {text}");
        assert!(token.is_empty() || !text.contains(token), "the token is repeated");
        assert_eq!(challenged, status == 401);
    }
    assert_eq!(house.channels().await, json!([]));
}

#[tokio::test]
async fn bodies_have_a_type_and_a_size() {
    let house = House::with("[limits]\nmessage_bytes = 20000\n").await;
    let authorization = format!("Bearer {}", jwt("cam"));
    let auth = ("authorization", authorization.as_str());
    for headers in [vec![auth], vec![auth, ("content-type", "application/json")]] {
        let response = house.ask("POST", "/whip/room", &headers, &both("sendonly")).await;
        assert_eq!(response.headers()["accept-post"], SDP);
        let (status, text) = problem(response).await;
        assert_eq!(status, 415);
        assert!(text.contains(SDP), "{text}");
    }
    let with_charset = [auth, ("content-type", "Application/SDP; charset=utf-8")];
    assert_eq!(house.ask("POST", "/whip/room", &with_charset, &both("sendonly")).await.status(), 201);
    let long = both("sendonly") + &"a=x\r\n".repeat(10_000);
    let (status, text) = problem(house.post("/whip/room", &jwt("cam"), &long).await).await;
    assert_eq!(status, 413);
    assert!(text.contains("20000"), "{text}");
    let stay = house.begin("/whep/room", &jwt("eye"), &both("recvonly")).await;
    let headers =
        [("authorization", &*format!("Bearer {}", jwt("eye"))), ("content-type", SDP), ("if-match", "*")];
    let response = house.ask("PATCH", &stay.location, &headers, &fragment("abcd")).await;
    assert_eq!(response.headers()["accept-patch"], FRAGMENT);
    assert_eq!(problem(response).await.0, 415);
}

#[tokio::test]
async fn candidates_trickle_and_ice_restarts_under_conditions() {
    let house = House::new().await;
    for (path, direction) in [("/whip/room", "sendonly"), ("/whep/room", "recvonly")] {
        let (token, stay) = (jwt("cam"), house.begin(path, &jwt("cam"), &both(direction)).await);
        let (status, words) = problem(house.patch(&stay, &token, None, &fragment("abcd")).await).await;
        assert_eq!(status, 428, "{words}");
        let (status, words) =
            problem(house.patch(&stay, &token, Some("\"old\""), &fragment("abcd")).await).await;
        assert_eq!(status, 412, "{words}");
        let weak = format!("W/{}", stay.etag);
        assert_eq!(problem(house.patch(&stay, &token, Some(&weak), &fragment("abcd")).await).await.0, 412);
        let trickled = house.patch(&stay, &token, Some(&stay.etag), &fragment("abcd")).await;
        assert_eq!(trickled.status(), 204);
        assert!(!trickled.headers().contains_key("etag") && trickled.text().await.unwrap().is_empty());
        let (status, words) = problem(house.patch(&stay, &token, Some("*"), "{}").await).await;
        assert_eq!(status, 400, "{words}");

        let restarted = house.patch(&stay, &token, Some("\"*\""), &fragment("efgh")).await;
        assert_eq!(restarted.status(), 200);
        let etag = restarted.headers()["etag"].to_str().unwrap().to_owned();
        assert_ne!(etag, stay.etag);
        assert_eq!(restarted.headers()["content-type"], FRAGMENT);
        let ours = restarted.text().await.unwrap();
        let attribute = |text: &str, name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap()
        };
        for name in ["a=ice-ufrag:", "a=ice-pwd:"] {
            assert_ne!(attribute(&ours, name), attribute(&stay.answer, name), "{name}");
        }
        assert!(
            ours.contains("a=candidate:") && ours.contains("a=ice-lite") && ours.contains("a=mid:0"),
            "{ours}"
        );
        assert!(!ours.contains("fingerprint") && !ours.contains("rtpmap"), "{ours}");
        assert_eq!(house.patch(&stay, &token, Some(&stay.etag), &fragment("efgh")).await.status(), 412);
        assert_eq!(house.patch(&stay, &token, Some(&etag), &fragment("efgh")).await.status(), 204);
        assert_eq!(problem(house.patch(&stay, &jwt("x"), Some(&etag), &fragment("efgh")).await).await.0, 403);
        assert_eq!(house.end(&stay, &token).await.status(), 200);
    }
}

#[tokio::test]
async fn a_full_channel_says_when_to_come_back() {
    let house = House::with("[limits]\nterminals_per_channel = 1\n").await;
    let stay = house.begin("/whip/room", &jwt("cam"), &both("sendonly")).await;
    for (path, direction) in [("/whip/room", "sendonly"), ("/whep/room", "recvonly")] {
        let response = house.post(path, &jwt("late"), &both(direction)).await;
        assert!(response.headers().contains_key("retry-after"));
        let (status, text) = problem(response).await;
        assert_eq!(status, 503);
        assert!(text.contains("full"), "{text}");
    }
    house.end(&stay, &jwt("cam")).await;
    house.begin("/whep/room", &jwt("late"), &both("recvonly")).await;
}

#[tokio::test]
async fn a_limit_on_tracks_holds_here_too() {
    let house = House::with("[limits]\naudio_tracks_per_terminal = 1\nvideo_tracks_per_terminal = 0\n").await;
    let (status, text) = problem(house.post("/whip/room", &jwt("cam"), &both("sendonly")).await).await;
    assert_eq!(status, 422);
    assert!(text.contains("video_tracks_per_terminal"), "{text}");
    assert_eq!(house.channels().await, json!([]));
}

#[tokio::test]
async fn browsers_of_any_origin_may_ask_and_are_told_what_is_taken() {
    let house = House::new().await;
    let preflight = [
        ("origin", "https://studio.example.org"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    for (path, name, value) in [
        ("/whip/room", "accept-post", SDP),
        ("/whep/room", "accept-post", SDP),
        ("/whip/room/x", "accept-patch", FRAGMENT),
    ] {
        let response = house.ask("OPTIONS", path, &preflight, "").await;
        assert_eq!(response.status(), 200, "without a token");
        assert_eq!(response.headers()[name], value);
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_lowercase();
        assert!(header("access-control-allow-headers").contains("authorization"));
        for method in ["post", "patch", "delete"] {
            assert!(header("access-control-allow-methods").contains(method));
        }
    }
    let response = house.post("/whip/room", &jwt("cam"), &both("sendonly")).await;
    let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap().to_lowercase();
    assert!(["location", "etag", "link"].iter().all(|name| exposed.contains(name)), "{exposed}");
}

#[tokio::test]
async fn other_methods_are_answered_as_the_rfc_says() {
    let house = House::new().await;
    let stay = house.begin("/whip/room", &jwt("cam"), &both("sendonly")).await;
    for path in ["/whip/room", &stay.location] {
        let response = house.ask("GET", path, &[], "").await;
        assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (204, ""));
    }
    let response = house.ask("HEAD", "/whep/room", &[], "").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &SDP.parse().unwrap())
    );
    for path in ["/whip/room", "/whep/room", &stay.location] {
        let response = house.ask("PUT", path, &[], "").await;
        let allow = response.headers()["allow"].to_str().unwrap().to_owned();
        assert!(allow.contains(if path.len() > 12 { "PATCH" } else { "POST" }), "{allow}");
        assert_eq!(problem(response).await.0, 405);
    }
}

#[tokio::test]
async fn too_many_requests_are_slowed_down() {
    let house = House::with("[limits]\nrequests_per_second = 5\n").await;
    let mut slowed = 0;
    for _ in 0..20 {
        let response = house.post("/whip/room", &jwt("cam"), &both("recvonly")).await;
        if response.status() == 429 {
            assert!(response.headers().contains_key("retry-after"));
            slowed += 1;
        }
    }
    assert!(slowed > 0);
}

#[tokio::test]
async fn openapi_describes_both_doors() {
    let house = House::new().await;
    let openapi: Value = house.ask("GET", "/api/openapi.json", &[], "").await.json().await.unwrap();
    for path in ["/whip/{channel}", "/whep/{channel}", "/whip/{channel}/{id}", "/whep/{channel}/{id}"] {
        assert!(openapi["paths"][path].is_object(), "{path}");
    }
    assert!(openapi["paths"]["/whip/{channel}"]["post"]["requestBody"]["content"][SDP].is_object());
}

fn any_body() -> impl Strategy<Value = String> {
    let offers = [both("sendonly"), both("recvonly"), offer(&["audio"], "sendonly"), fragment("abcd")];
    let cut = (prop::sample::select(offers.to_vec()), any::<prop::sample::Index>(), "\\PC{0,20}").prop_map(
        |(offer, at, junk)| {
            let at = at.index(offer.len());
            format!("{}{junk}{}", &offer[..at], &offer[at..])
        },
    );
    let shuffled = prop::sample::select(offers.to_vec()).prop_flat_map(|offer| {
        let lines: Vec<String> = offer.lines().map(str::to_owned).collect();
        Just(lines).prop_shuffle().prop_map(|lines| lines.join("\r\n"))
    });
    prop_oneof![cut, shuffled, "\\PC{0,200}", prop::sample::select(offers.to_vec())]
}

/// Arbitrary bodies at both doors and their stays: each gets a decided answer, and whoever was let in can be let
/// out. Nobody is left.
#[test]
fn whatever_is_sent_nobody_is_left_behind() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let house = runtime.block_on(House::with("[limits]\nrequests_per_second = 100000\n"));
    let token = jwt("cam");
    let mut runner = TestRunner::new(ProptestConfig { cases: 200, ..ProptestConfig::default() });
    let strategy = (any_body(), any_body(), any::<bool>(), any::<bool>());
    let result = runner.run(&strategy, |(body, change, publish, any)| {
        runtime.block_on(async {
            let path = if publish { "/whip/room" } else { "/whep/room" };
            let response = house.post(path, &token, &body).await;
            if response.status() != 201 {
                prop_assert!(response.status().is_client_error(), "{}", response.status());
                prop_assert!(!problem(response).await.1.is_empty());
                prop_assert_eq!(house.channels().await, json!([]));
                return Ok(());
            }
            let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
            let stay = Stay { location: header("location"), etag: header("etag"), answer: String::new() };
            let condition = if any { "*" } else { stay.etag.as_str() };
            let changed = house.patch(&stay, &token, Some(condition), &change).await.status();
            prop_assert!(changed.is_success() || changed.is_client_error(), "{changed}");
            prop_assert_eq!(house.end(&stay, &token).await.status(), 200);
            prop_assert_eq!(house.channels().await, json!([]));
            Ok(())
        })
    });
    result.unwrap();
}

#[tokio::test]
async fn who_never_connects_is_gone_when_it_was_silent_too_long() {
    let house = House::with("[timeouts]\nsilent_ms = 500\n").await;
    house.begin("/whip/room", &jwt("cam"), &both("sendonly")).await;
    house.begin("/whep/room", &jwt("eye"), &both("recvonly")).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while house.channels().await != json!([]) {
        assert!(std::time::Instant::now() < deadline, "still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
