//! The doors of LiveKit's protocol: `/rtc`, `/rtc/v1` and their `validate`.

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{RawQuery, State, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use rostrum_rtc::names::ChannelId;
use rostrum_rtc::token::{Identity, TokenError};
use tokio::sync::{mpsc, oneshot};

use super::Doors;
use super::errors::Refusal;
use super::join_request::Query;
use super::socket;
use crate::sfu::command::{Command, JoinSpec, Mode, ResumeSpec};

/// Messages that may wait for a socket; a client that does not read so many is sent away.
const QUEUE: usize = 512;

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// `GET /rtc`: two connections, unless a join request says one.
pub(super) async fn two_connections(
    State(doors): State<Doors>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Response {
    open(doors, &query.unwrap_or_default(), &headers, upgrade, false)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

/// `GET /rtc/v1`: one connection.
pub(super) async fn one_connection(
    State(doors): State<Doors>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Response {
    open(doors, &query.unwrap_or_default(), &headers, upgrade, true)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

/// `GET /rtc/validate`: says in plain text why a join would fail, for clients that cannot read that from a
/// failed upgrade.
pub(super) async fn validate(
    State(doors): State<Doors>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<&'static str, Refusal> {
    let (_, identity) = knock(&doors, &query.unwrap_or_default(), &headers)?;
    let (reply, answer) = oneshot::channel();
    doors.ask(Command::Check { identity: Box::new(identity), reply }, answer).await??;
    Ok("success")
}

/// Reads the query and verifies the token.
fn knock(doors: &Doors, query: &str, headers: &HeaderMap) -> Result<(Query, Identity), Refusal> {
    let query = Query::parse(query, doors.config.limits.message_bytes)?;
    let identity = doors.identify(headers, query.access_token.as_deref())?;
    if let Some(room) = query.room.as_deref().filter(|room| !room.is_empty())
        && ChannelId::new(room)? != identity.channel
    {
        return Err(TokenError::OtherChannel.into());
    }
    Ok((query, identity))
}

async fn open(
    doors: Doors,
    query: &str,
    headers: &HeaderMap,
    upgrade: Upgrade,
    one_connection: bool,
) -> Result<Response, Refusal> {
    let (query, identity) = knock(&doors, query, headers)?;
    let limit = doors.config.limits.message_bytes;
    let upgrade = upgrade.map_err(|_| Refusal::NotWebSocket)?.max_message_size(limit).max_frame_size(limit);
    let sockets = doors.sockets.clone();
    let thread = doors.threads.of(&identity.app, &identity.channel).clone();
    let (signals, outgoing) = mpsc::channel(QUEUE);
    if query.reconnect {
        let (reply, answer) = oneshot::channel();
        let spec = Box::new(resume_spec(query, identity));
        let resumed = ask(&thread, Command::Resume { spec, signals, reply }, answer).await?;
        let Some((session, number)) = resumed else {
            return Ok(upgrade.on_upgrade(move |socket| sockets.track_future(socket::send_back(socket))));
        };
        let guard = socket::Guard::new(session, number, thread);
        return Ok(upgrade
            .on_upgrade(move |socket| sockets.track_future(socket::run(socket, guard, outgoing, limit))));
    }
    let mode = if one_connection || query.join.is_some() { Mode::Single } else { Mode::Dual };
    let join = query.join.unwrap_or_default();
    let spec = JoinSpec {
        identity,
        mode,
        auto_subscribe: query.auto_subscribe,
        client: query.client,
        publisher_offer: join.publisher_offer,
        add_tracks: join.add_track_requests,
        metadata: join.metadata,
        attributes: join.participant_attributes,
    };
    let (reply, answer) = oneshot::channel();
    let session = ask(&thread, Command::Join { spec: Box::new(spec), signals, reply }, answer).await??;
    let guard = socket::Guard::new(session, 0, thread);
    Ok(upgrade.on_upgrade(move |socket| sockets.track_future(socket::run(socket, guard, outgoing, limit))))
}

/// What a client says of the stay that it wants to go on with: in the query or in its join request.
fn resume_spec(query: Query, identity: Identity) -> ResumeSpec {
    let join = query.join.unwrap_or_default();
    let sid = Some(join.participant_sid).filter(|sid| !sid.is_empty()).or(query.sid);
    ResumeSpec { identity, sid, state: join.sync_state, publisher_offer: join.publisher_offer }
}

impl Doors {
    /// Asks the media thread of the channel that a command is about, and waits for the answer.
    pub(super) async fn ask<T>(&self, command: Command, answer: oneshot::Receiver<T>) -> Result<T, Refusal> {
        let thread = match command.lives_at() {
            Some((app, channel)) => self.threads.of(app, channel),
            None => &self.threads.all()[0],
        };
        ask(thread, command, answer).await
    }
}

/// Asks a media thread something and waits for the answer.
pub(super) async fn ask<T>(
    thread: &mpsc::Sender<Command>,
    command: Command,
    answer: oneshot::Receiver<T>,
) -> Result<T, Refusal> {
    thread.send(command).await.map_err(|_| Refusal::Stopping)?;
    answer.await.map_err(|_| Refusal::Stopping)
}
