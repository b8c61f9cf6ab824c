//! The WebSocket of the signalling.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use livekit_protocol as proto;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        Error as WsError, Message,
        client::IntoClientRequest as _,
        http::{HeaderValue, header},
        protocol::WebSocketConfig,
    },
};
use url::Url;

/// Longest message that is read: a channel of many participants with their tracks.
const MAX_MESSAGE: usize = 1 << 20;
/// Time for one address to answer: short, so that a network that comes back is noticed.
const CONNECT: Duration = Duration::from_secs(2);
/// Time for the service to open the door.
const HANDSHAKE: Duration = Duration::from_secs(4);
/// Longest refusal that is repeated to people, in characters.
const MAX_REASON: usize = 300;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a door did not open.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DoorError {
    /// The service does not know this door.
    NotFound,
    /// The service refused, with its own text.
    Refused { status: u16, reason: String },
    /// Nobody listens.
    NobodyThere(String),
    /// Anything else.
    Other(String),
}

/// Sends messages.
pub(crate) struct Writer(SplitSink<Socket, Message>);

/// Receives messages.
pub(crate) struct Reader(SplitStream<Socket>);

/// Opens the WebSocket at one of `addresses` with a token. The token is in no log and no error.
pub(crate) async fn connect(
    url: &Url,
    addresses: &[SocketAddr],
    token: &str,
) -> Result<(Writer, Reader), DoorError> {
    let mut request = url.as_str().into_client_request().map_err(|e| DoorError::Other(e.to_string()))?;
    let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| DoorError::Refused {
        status: 0,
        reason: "the token has characters that no token has".to_owned(),
    })?;
    bearer.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    let mut failure = DoorError::Other("the service's name has no address".to_owned());
    for address in addresses {
        let stream = match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                failure = unreachable(&error);
                continue;
            }
            Err(_) => {
                failure = DoorError::Other(format!("no answer from {address}"));
                continue;
            }
        };
        // Signalling is small messages that somebody waits for.
        let _ = stream.set_nodelay(true);
        let config =
            WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let handshake = client_async_tls_with_config(request, stream, Some(config), None);
        return match tokio::time::timeout(HANDSHAKE, handshake).await {
            Ok(Ok((socket, _))) => {
                let (sink, stream) = socket.split();
                Ok((Writer(sink), Reader(stream)))
            }
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => {
                Err(DoorError::Other("the service accepted the connection and then said nothing".to_owned()))
            }
        };
    }
    Err(failure)
}

fn unreachable(error: &io::Error) -> DoorError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
            DoorError::NobodyThere("the service does not listen".to_owned())
        }
        _ => DoorError::Other(format!("the service cannot be reached: {error}")),
    }
}

fn refused(error: WsError) -> DoorError {
    match error {
        WsError::Http(response) => {
            let status = response.status().as_u16();
            let body = response.body().as_deref().unwrap_or_default();
            let reason = plain(&String::from_utf8_lossy(body));
            match status {
                404 => DoorError::NotFound,
                400..=499 if !matches!(status, 408 | 425 | 429) => DoorError::Refused { status, reason },
                _ => DoorError::Other(format!("the service is in trouble ({status}): {reason}")),
            }
        }
        WsError::Io(error) => unreachable(&error),
        other => DoorError::Other(format!("the service's answer is no WebSocket: {other}")),
    }
}

/// A refusal as it may be shown: one line, bounded, and without anything that looks like a token.
fn plain(body: &str) -> String {
    let words = body.split_whitespace().map(|word| {
        let secret = word.len() > 60 && word.chars().filter(|c| *c == '.').count() >= 2;
        if secret { "(token)" } else { word }
    });
    words.collect::<Vec<_>>().join(" ").chars().take(MAX_REASON).collect()
}

impl Writer {
    /// Sends one message.
    pub(crate) async fn send(&mut self, message: proto::signal_request::Message) -> Result<(), ()> {
        let request = proto::SignalRequest { message: Some(message) };
        self.0.send(Message::Binary(request.encode_to_vec().into())).await.map_err(|_| ())
    }

    /// Says goodbye and closes.
    pub(crate) async fn close(mut self) {
        let _ = self.0.close().await;
    }
}

impl Reader {
    /// The next message; `None` when the socket is gone. What is no message is passed over.
    pub(crate) async fn next(&mut self) -> Option<proto::signal_response::Message> {
        loop {
            match self.0.next().await? {
                Ok(Message::Binary(bytes)) => {
                    if let Some(message) = parse(&bytes) {
                        return Some(message);
                    }
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// Reads a message of the service.
fn parse(bytes: &[u8]) -> Option<proto::signal_response::Message> {
    proto::SignalResponse::decode(bytes).ok()?.message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_refusal_never_shows_a_token() {
        let token = format!("ey{}.ey{}.sig", "a".repeat(40), "b".repeat(40));
        let shown = plain(&format!("invalid token: {token},\n error: expired"));
        assert_eq!(shown, "invalid token: (token) error: expired");
    }

    proptest! {
        #[test]
        fn no_message_breaks_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn refusals_are_bounded(body in "\\PC{0,2000}") {
            prop_assert!(plain(&body).chars().count() <= MAX_REASON);
        }
    }
}
