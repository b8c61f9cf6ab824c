//! Who may.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::{Answer, Options, Rig};

const PASSWORD: &str = r#"{"password": "correct horse"}"#;

fn locked() -> Rig {
    Rig::with(Options { needs_password: true, ..Options::default() })
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("host", "192.0.2.7:8090");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Body::empty()).unwrap()
}

fn cookie(answer: &Answer) -> String {
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn on_loopback_nobody_is_asked_for_a_password() {
    let rig = Rig::start();
    assert_eq!(rig.get("/api/v1/state").await.status, StatusCode::OK);
    let session = rig.get("/api/v1/session").await.json();
    assert_eq!((&session["needs_password"], &session["welcome"]), (&false.into(), &true.into()));
}

#[tokio::test]
async fn elsewhere_nothing_works_before_the_password_is_set_and_known() {
    let rig = locked();
    let guarded = [
        ("GET", "/api/v1/state"),
        ("POST", "/api/v1/join"),
        ("GET", "/api/v1/screen.jpg"),
        ("GET", "/api/v1/screen.mjpeg"),
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/board/sound/microphone.wav"),
        ("GET", "/api/v1/camera"),
        ("GET", "/metrics"),
    ];
    for (method, path) in guarded {
        let answer = rig.call(method, path, None).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (StatusCode::UNAUTHORIZED, "password_not_set"),
            "{path}"
        );
    }
    assert_eq!(rig.get("/healthz").await.status, StatusCode::OK);
    let token = cookie(&rig.call("POST", "/api/v1/password", Some(PASSWORD)).await);
    assert_eq!(rig.get("/api/v1/state").await.error(), "login_required");
    assert_eq!(rig.send(request("GET", "/api/v1/state", &[("cookie", &token)])).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_password_is_set_once_and_opens_sessions_that_end_at_logout() {
    let rig = locked();
    assert_eq!(
        rig.call("POST", "/api/v1/password", Some(r#"{"password": "short"}"#)).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    rig.call("POST", "/api/v1/password", Some(PASSWORD)).await;
    let again = rig.call("POST", "/api/v1/password", Some(r#"{"password": "battery staple"}"#)).await;
    assert_eq!(again.error(), "password_already_set");
    assert!(!again.headers.contains_key("set-cookie"));
    let wrong = rig.call("POST", "/api/v1/session", Some(r#"{"password": "battery staple"}"#)).await;
    assert_eq!((wrong.status, wrong.error().as_str()), (StatusCode::UNAUTHORIZED, "wrong_password"));

    let token = cookie(&rig.call("POST", "/api/v1/session", Some(PASSWORD)).await);
    let state = || rig.send(request("GET", "/api/v1/state", &[("cookie", &token)]));
    assert_eq!(state().await.status, StatusCode::OK);
    rig.send(request("DELETE", "/api/v1/session", &[("cookie", &token)])).await;
    assert_eq!(state().await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn guessing_is_slowed_down_even_for_the_right_password() {
    let rig = locked();
    rig.call("POST", "/api/v1/password", Some(PASSWORD)).await;
    for _ in 0..5 {
        let wrong = rig.call("POST", "/api/v1/session", Some(r#"{"password": "guess"}"#)).await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    }
    let refused = rig.call("POST", "/api/v1/session", Some(PASSWORD)).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn a_page_of_another_site_can_neither_change_nor_see_anything() {
    let rig = Rig::start();
    let before = rig.state.borrow().clone();
    for headers in [
        &[("origin", "http://evil.example")][..],
        &[("origin", "null")],
        &[("origin", "http://192.0.2.7:7880")],
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
    ] {
        for (method, path) in
            [("POST", "/api/v1/join"), ("GET", "/api/v1/state"), ("GET", "/api/v1/screen.jpg")]
        {
            let answer = rig.send(request(method, path, headers)).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path} {headers:?}");
        }
    }
    let rebound =
        Request::builder().uri("/api/v1/state").header("host", "evil.example").body(Body::empty()).unwrap();
    assert_eq!(rig.send(rebound).await.status, StatusCode::FORBIDDEN);
    assert_eq!(**rig.state.borrow(), *before);

    let own = request("POST", "/api/v1/join", &[("origin", "http://192.0.2.7:8090")]);
    assert_eq!(rig.send(own).await.status, StatusCode::ACCEPTED);
    let named =
        Request::builder().uri("/api/v1/state").header("host", "Room7.local").body(Body::empty()).unwrap();
    assert_eq!(rig.send(named).await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_answer_keeps_other_sites_out() {
    let rig = Rig::start();
    for path in ["/api/v1/state", "/", "/api/nothing"] {
        let headers = rig.get(path).await.headers;
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin", "{path}");
        assert!(headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
        assert!(!headers.contains_key("access-control-allow-origin"), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let rig = Rig::start();
    let body = format!(r#"{{"password": "{}"}}"#, "x".repeat(70_000));
    for (method, path) in
        [("POST", "/api/v1/session"), ("PATCH", "/api/v1/settings"), ("PUT", "/api/v1/camera/presets/door")]
    {
        let answer = rig.call(method, path, Some(&body)).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (StatusCode::PAYLOAD_TOO_LARGE, "bad_body"),
            "{path}"
        );
    }
}

/// A router that thinks it is on loopback, served on all addresses.
#[tokio::test]
async fn a_socket_elsewhere_needs_the_password_whatever_the_configuration_says() {
    let rig = Rig::start();
    let Ok(listener) = tokio::net::TcpListener::bind("[::ffff:127.0.0.1]:0").await else {
        return; // no IPv6 here
    };
    let address = listener.local_addr().unwrap();
    assert!(!address.ip().is_loopback(), "a mapped address is none of the loopback ones");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let server = tokio::spawn(rostrum_panel::serve(listener, rig.router.clone(), shutdown));
    let mut client = tokio::net::TcpStream::connect(("127.0.0.1", address.port())).await.unwrap();
    let request = "GET /api/v1/state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
