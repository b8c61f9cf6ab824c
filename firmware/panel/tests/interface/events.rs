//! The state, pushed over a real WebSocket.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rostrum_hal::buttons::ButtonRole;
use rostrum_hal::camera::CameraControl;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::rig::{Options, Rig, Served};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
const DEADLINE: Duration = Duration::from_secs(5);

async fn follow(served: &Served, headers: &[(&'static str, String)]) -> Result<Socket, Error> {
    let mut request = format!("ws://{}/api/v1/events", served.address).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    connect_async(request).await.map(|(socket, _)| socket)
}

/// The next text; `None` when the connection ended.
async fn text(socket: &mut Socket) -> Option<Utf8Bytes> {
    loop {
        match timeout(DEADLINE, socket.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => return Some(text),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

async fn next(socket: &mut Socket) -> Value {
    let state: Value = serde_json::from_str(&text(socket).await.unwrap()).unwrap();
    assert_eq!(state["type"], "state");
    state
}

async fn until(socket: &mut Socket, accept: impl Fn(&Value) -> bool) -> Value {
    loop {
        let state = next(socket).await;
        if accept(&state) {
            return state;
        }
    }
}

#[tokio::test]
async fn the_whole_state_comes_at_once_and_a_mute_lights_up_within_200_ms() {
    let rig = Rig::start();
    let served = rig.serve().await;
    let mut page = follow(&served, &[]).await.unwrap();
    let state = next(&mut page).await;
    assert_eq!((&state["room"]["phase"], &state["virtual"]), (&"idle".into(), &true.into()));
    assert!(!state["camera"]["controls"].as_array().unwrap().is_empty());

    rig.board.push(ButtonRole::Join);
    until(&mut page, |state| state["room"]["phase"] == "in_channel" && state["room"]["muted"] == false).await;
    let pressed = Instant::now();
    rig.board.push(ButtonRole::Mute);
    let red = serde_json::json!([255, 0, 0]);
    let lit = |state: &Value| {
        state["indicators"]["mute"]["rgb"] == red && state["board"]["indicators"]["mute"]["rgb"] == red
    };
    let state = until(&mut page, lit).await;
    assert!(pressed.elapsed() < Duration::from_millis(200), "{:?}", pressed.elapsed());
    assert_eq!(state["room"]["mute_reason"], "button");
}

#[tokio::test]
async fn many_changes_come_together_and_the_last_is_never_lost() {
    let rig = Rig::start();
    let served = rig.serve().await;
    let mut page = follow(&served, &[]).await.unwrap();
    next(&mut page).await;
    let begun = Instant::now();
    for volume in 1..=99 {
        rig.call("PUT", "/api/v1/volume", Some(&format!(r#"{{"volume": {volume}}}"#))).await;
    }
    let mut messages = 1;
    while next(&mut page).await["volume"] != 99 {
        messages += 1;
    }
    let most = 2 + begun.elapsed().as_millis() / 50;
    assert!(messages <= most, "{messages} in {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_camera_that_somebody_turned_tells_the_page() {
    let rig = Rig::with(Options { is_virtual: false, ..Options::default() });
    let served = rig.serve().await;
    let mut page = follow(&served, &[]).await.unwrap();
    next(&mut page).await;
    rostrum_hal::camera::CameraControls::set(&rig.board.camera_controls(), CameraControl::Pan, 36_000)
        .unwrap();
    let turned = |state: &Value| {
        let controls = state["camera"]["controls"].as_array().unwrap();
        controls.iter().any(|c| c["control"] == "pan" && c["value"] == 36_000)
    };
    until(&mut page, turned).await;
}

#[tokio::test]
async fn a_camera_turned_by_another_page_shows_here_too() {
    let rig = Rig::start();
    let served = rig.serve().await;
    let mut page = follow(&served, &[]).await.unwrap();
    next(&mut page).await;
    rig.call("PUT", "/api/v1/camera/controls/zoom", Some(r#"{"value": 400}"#)).await;
    let zoomed = |state: &Value| {
        let controls = state["camera"]["controls"].as_array().unwrap();
        controls.iter().any(|c| c["control"] == "zoom" && c["value"] == 400)
    };
    until(&mut page, zoomed).await;
    rig.call("PUT", "/api/v1/camera/presets/door", None).await;
    until(&mut page, |state| state["camera"]["presets"][0] == "door").await;
}

#[tokio::test]
async fn a_page_of_another_site_gets_no_events() {
    let rig = Rig::start();
    let served = rig.serve().await;
    let port = served.address.port();
    for (name, value) in [
        ("origin", "http://evil.example".to_owned()),
        ("origin", format!("http://localhost:{port}")),
        ("host", format!("evil.example:{port}")),
    ] {
        match follow(&served, &[(name, value.clone())]).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 403, "{name}: {value}"),
            other => panic!("{name}: {value} was not refused: {other:?}"),
        }
    }
    follow(&served, &[("origin", format!("http://127.0.0.1:{port}"))]).await.unwrap();
}

#[tokio::test]
async fn events_need_the_login_where_one_is_needed() {
    let rig = Rig::with(Options { needs_password: true, ..Options::default() });
    let served = rig.serve().await;
    assert!(matches!(follow(&served, &[]).await, Err(Error::Http(response)) if response.status() == 401));
    let set = rig.call("POST", "/api/v1/password", Some(r#"{"password": "correct horse"}"#)).await;
    let cookie = set.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    next(&mut follow(&served, &[("cookie", cookie)]).await.unwrap()).await;
}

#[tokio::test]
async fn a_page_that_talks_too_much_is_put_out_and_the_number_of_pages_is_bounded() {
    use futures_util::SinkExt;
    let rig = Rig::start();
    let served = rig.serve().await;
    let mut page = follow(&served, &[]).await.unwrap();
    next(&mut page).await;
    page.send(Message::text("x".repeat(8192))).await.unwrap();
    assert_eq!(text(&mut page).await, None);

    let mut pages = Vec::new();
    let refused = loop {
        match follow(&served, &[]).await {
            Ok(page) => pages.push(page),
            Err(error) => break error,
        }
        assert!(pages.len() <= 32);
    };
    assert!(matches!(refused, Error::Http(response) if response.status() == 503));
}

#[tokio::test]
async fn the_end_of_the_program_ends_pages_and_live_pictures_soon() {
    let rig = Rig::start();
    let served = rig.serve().await;
    let mut page = follow(&served, &[]).await.unwrap();
    next(&mut page).await;
    let mut live = TcpStream::connect(served.address).await.unwrap();
    let request = "GET /api/v1/screen.mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut live, request.as_bytes()).await.unwrap();
    let mut watchers = rig.watchers.subscribe();
    watchers.wait_for(|&count| count == 1).await.unwrap();
    let begun = Instant::now();
    served.stop.send(()).unwrap();
    assert_eq!(text(&mut page).await, None);
    timeout(DEADLINE, served.task).await.unwrap().unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(rig.watchers.count(), 0);
}
