//! A bare client of the service's signalling door: for what no well-behaved SDK would do.

use std::{net::TcpStream, time::Duration};

use anyhow::{Context, bail};
use livekit_protocol::{SignalRequest, SignalResponse, signal_request, signal_response};
use prost::Message as _;
use tungstenite::{Message, WebSocket, client::IntoClientRequest, http::StatusCode, stream::MaybeTlsStream};

/// A socket behind the door.
pub struct Signalling {
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
}

/// Why the door stayed closed.
#[derive(Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// What the service said.
    pub reason: String,
}

impl Signalling {
    /// Knocks at `door` (`/rtc` or `/rtc/v1`) of the service at `url` with `token`.
    ///
    /// # Errors
    /// When there is no service; a refusal is not an error.
    pub fn knock(url: &str, door: &str, token: &str) -> anyhow::Result<Result<Self, Refusal>> {
        let address = format!("{}{door}", url.replacen("http", "ws", 1));
        let join = if door.contains('?') { "&" } else { "?" };
        let mut request =
            format!("{address}{join}protocol=16&auto_subscribe=1&sdk=rust").into_client_request()?;
        request.headers_mut().insert("Authorization", format!("Bearer {token}").parse()?);
        match tungstenite::connect(request) {
            Ok((socket, _)) => {
                if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
                    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
                }
                Ok(Ok(Self { socket }))
            }
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                let reason = String::from_utf8_lossy(&body).into_owned();
                Ok(Err(Refusal { status: response.status(), reason }))
            }
            Err(error) => Err(error).context("no service answered"),
        }
    }

    /// The next message from the service, within 20 s.
    ///
    /// # Errors
    /// When the socket closed or nothing came.
    pub fn receive(&mut self) -> anyhow::Result<signal_response::Message> {
        loop {
            match self.socket.read()? {
                Message::Binary(bytes) => {
                    if let Some(message) = SignalResponse::decode(&bytes[..])?.message {
                        return Ok(message);
                    }
                }
                Message::Close(_) => bail!("the service closed the socket"),
                _ => {}
            }
        }
    }

    /// The next message for which `wanted` gives something.
    ///
    /// # Errors
    /// As [`Signalling::receive`].
    pub fn receive_until<T>(
        &mut self,
        mut wanted: impl FnMut(signal_response::Message) -> Option<T>,
    ) -> anyhow::Result<T> {
        loop {
            if let Some(found) = wanted(self.receive()?) {
                return Ok(found);
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the socket is closed.
    pub fn send(&mut self, message: signal_request::Message) -> anyhow::Result<()> {
        self.send_bytes(SignalRequest { message: Some(message) }.encode_to_vec())
    }

    /// Sends any bytes as one binary message.
    ///
    /// # Errors
    /// When the socket is closed.
    pub fn send_bytes(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::Binary(bytes.into()))?)
    }
}
