//! Pages, ports and certificates of the service itself.

use std::time::Duration;

use livekit_protocol::{DisconnectReason, leave_request, signal_request, signal_response};
use rostrum_channel::{Config, serve};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::house::*;

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
