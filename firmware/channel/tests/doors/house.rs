//! A service with its doors, and those who knock.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol::{SignalRequest, SignalResponse, signal_request, signal_response};
use prost::Message as _;
use rostrum_channel::{Config, RunningService, serve};
use rostrum_rtc::names::{AppId, ChannelId, UserId};
use rostrum_rtc::token::{self, AppKey, TokenRequest};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub(crate) const APP: &str = "app";
pub(crate) const KEY: &str = "a-key-for-tests-only";

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) struct House {
    pub(crate) service: RunningService,
    pub(crate) _pages: tempfile::TempDir,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    pub(crate) async fn with(more: &str) -> Self {
        let pages = tempfile::tempdir().unwrap();
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\npages = {:?}\n[media]\nlisten = \"127.0.0.1:0\"\n\
             [[apps]]\nid = \"{APP}\"\nkey = \"{KEY}\"\n{more}",
            pages.path()
        );
        let service = serve(Config::parse("test", &text).unwrap()).await.unwrap();
        Self { service, _pages: pages }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.service.http_addr)
    }

    /// Knocks with a token in the query: a socket, or status and words of the refusal.
    pub(crate) async fn knock(&self, door: &str, token: &str) -> Result<Socket, (u16, String)> {
        match tokio_tungstenite::connect_async(self.url(&format!("{door}?&access_token={token}"))).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                Err((response.status().as_u16(), String::from_utf8(body).unwrap()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn api(
        &self,
        method: &str,
        path: &str,
        auth: Option<&str>,
        body: Option<Value>,
    ) -> (u16, Value) {
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

    pub(crate) async fn text(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("http://{}{path}", self.service.http_addr)).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

pub(crate) async fn receive(socket: &mut Socket) -> Option<signal_response::Message> {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap()?;
        match message {
            Ok(Message::Binary(bytes)) => return SignalResponse::decode(bytes).unwrap().message,
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

pub(crate) async fn say(socket: &mut Socket, message: signal_request::Message) {
    let bytes = SignalRequest { message: Some(message) }.encode_to_vec();
    socket.send(Message::Binary(bytes.into())).await.unwrap();
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn request(user: &str) -> TokenRequest {
    let ttl = Duration::from_secs(60);
    TokenRequest::participant(ChannelId::new("room").unwrap(), UserId::new(user).unwrap(), ttl)
}

pub(crate) fn mint(request: &TokenRequest, key: &str, at: u64) -> String {
    token::mint_jwt(&AppId::new(APP).unwrap(), &AppKey::new(key), request, at).unwrap()
}

pub(crate) fn jwt(user: &str) -> String {
    mint(&request(user), KEY, now())
}

pub(crate) fn hashed(user: &str, expires_at: u64) -> String {
    let (app, channel) = (AppId::new(APP).unwrap(), ChannelId::new("room").unwrap());
    token::mint_hashed(&app, &AppKey::new(KEY), &channel, &UserId::new(user).unwrap(), "", expires_at)
        .unwrap()
}

pub(crate) fn basic() -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{APP}:{KEY}")))
}

pub(crate) const DOORS: [&str; 2] = ["/rtc", "/rtc/v1"];
