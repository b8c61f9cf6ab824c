//! One terminal's WebSocket: binary frames, one protobuf message each.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use livekit_protocol::{
    DisconnectReason, LeaveRequest, SignalRequest, SignalResponse, leave_request, signal_response,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::sfu::SessionKey;
use crate::sfu::command::{Command, SocketNumber, ToSocket};

/// How often the socket is pinged: its answers show that the terminal lives, whatever it says.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// A socket that takes nothing for this long is closed.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Tells the media thread that the socket is gone, however that comes.
pub(super) struct Guard {
    session: SessionKey,
    socket: SocketNumber,
    commands: mpsc::Sender<Command>,
    unsent: Vec<signal_response::Message>,
}

impl Guard {
    pub(super) fn new(session: SessionKey, socket: SocketNumber, commands: mpsc::Sender<Command>) -> Self {
        Self { session, socket, commands, unsent: Vec::new() }
    }

    /// Keeps what the socket did not take, for the one that the terminal may come back with.
    fn keep(&mut self, message: Option<Box<SignalResponse>>, rest: &mut mpsc::Receiver<ToSocket>) {
        self.unsent.extend(message.and_then(|message| message.message));
        while let Ok(message) = rest.try_recv() {
            if let ToSocket::Message(message) = message {
                self.unsent.extend(message.message);
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (session, socket, commands) = (self.session, self.socket, self.commands.clone());
        let unsent = std::mem::take(&mut self.unsent);
        if let Err(mpsc::error::TrySendError::Full(command)) =
            commands.try_send(Command::SocketClosed { session, socket, unsent })
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                // A service that ended knows.
                let _ = commands.send(command).await;
            });
        }
    }
}

/// Passes messages between a socket and the media thread until one of them ends.
pub(super) async fn run(
    mut socket: WebSocket,
    mut guard: Guard,
    mut outgoing: mpsc::Receiver<ToSocket>,
    limit: usize,
) {
    let (session, number) = (guard.session, guard.socket);
    let mut in_flight = None;
    let mut ping = tokio::time::interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    let close = loop {
        tokio::select! {
            message = outgoing.recv() => match message {
                Some(ToSocket::Message(message)) => {
                    if send(&mut socket, binary(&message)).await.is_none() {
                        in_flight = Some(message);
                        break None;
                    }
                }
                Some(ToSocket::Close) | None => break Some((close_code::NORMAL, String::new())),
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Binary(bytes))) => match SignalRequest::decode(bytes) {
                    Ok(request) => {
                        let request = Box::new(request);
                        if guard.commands.send(Command::Signal { session, socket: number, request }).await.is_err() {
                            break Some((close_code::RESTART, "the service is stopping".to_string()));
                        }
                    }
                    Err(_) => break Some((close_code::INVALID, "not a livekit.SignalRequest".to_string())),
                },
                Some(Ok(Message::Text(_))) => {
                    break Some((close_code::UNSUPPORTED, "send binary (protobuf) messages".to_string()));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                    if guard.commands.send(Command::Heard { session }).await.is_err() {
                        break None;
                    }
                }
                Some(Ok(Message::Close(_))) | None => break None,
                Some(Err(error)) => break why(&error, limit),
            },
            _ = ping.tick() => {
                if send(&mut socket, Message::Ping(bytes::Bytes::new())).await.is_none() {
                    break None;
                }
            }
        }
    };
    guard.keep(in_flight, &mut outgoing);
    if let Some((code, reason)) = close {
        send(&mut socket, Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
    }
}

/// What to tell a client whose message could not be read.
fn why(error: &axum::Error, limit: usize) -> Option<(u16, String)> {
    // The error's own words are all there is: its type is not ours to see.
    let too_large = std::error::Error::source(error).is_some_and(|e| e.to_string().contains("too long"));
    too_large.then(|| (close_code::SIZE, format!("message too large: at most {limit} bytes")))
}

fn binary(message: &SignalResponse) -> Message {
    Message::Binary(message.encode_to_vec().into())
}

async fn send(socket: &mut WebSocket, message: Message) -> Option<()> {
    timeout(SEND_TIMEOUT, socket.send(message)).await.ok()?.ok()
}

/// Tells a client that wants to resume what is not there any more to join anew.
pub(super) async fn send_back(mut socket: WebSocket) {
    let leave = LeaveRequest {
        can_reconnect: true,
        reason: DisconnectReason::StateMismatch.into(),
        action: leave_request::Action::Reconnect.into(),
        ..Default::default()
    };
    let message = SignalResponse { message: Some(signal_response::Message::Leave(leave)) };
    if send(&mut socket, binary(&message)).await.is_some() {
        send(&mut socket, Message::Close(None)).await;
    }
}
