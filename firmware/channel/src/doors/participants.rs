//! The part of the management API that is about one participant.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use rostrum_rtc::names::{AppId, ChannelId, DisplayName, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Doors;
use super::api::{Answer, Body, read};
use super::errors::{ApiError, JsonRefusal, Refusal};
use super::permissions::{self, Rights, Role};
use crate::sfu::command::{
    Command, Manage, ParticipantChange, ParticipantView, TrackChoice, TrackKind, Whom,
};

/// Routes of this part.
pub(super) fn routes() -> OpenApiRouter<Doors> {
    OpenApiRouter::new()
        .routes(routes!(mute))
        .routes(routes!(change, remove))
        .routes(routes!(set_permissions))
        .routes(routes!(forward))
        .routes(routes!(stop_forward))
}

fn whom(app: AppId, channel: String, user: String) -> Result<Whom, Refusal> {
    Ok(Whom { app, channel: ChannelId::new(channel)?, user: UserId::new(user)? })
}

/// Which tracks to mute.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Mute {
    /// One track, by its sid ...
    sid: Option<String>,
    /// ... or all of a kind; sound when nothing is said.
    kind: Option<TrackKind>,
    /// Mute, or unmute where the service allows that.
    muted: bool,
}

/// What was muted.
#[derive(Debug, Serialize, ToSchema)]
struct Muted {
    /// Sids of the tracks.
    tracks: Vec<String>,
    /// Whether they are muted now.
    muted: bool,
}

/// Mutes a participant's tracks. Nothing of them is forwarded from now on, and the participant is told.
#[utoipa::path(post, path = "/api/v1/channels/{channel}/participants/{user}/mute", request_body = Mute, security(("app" = [])),
    params(("channel", description = "ChannelId"), ("user", description = "UserId")), responses(
    (status = 200, body = Muted), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError)))]
async fn mute(
    State(doors): State<Doors>,
    Path((channel, user)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body<Mute>,
) -> Answer<Muted> {
    let app = doors.application(&headers)?;
    let body = read(body)?;
    if !body.muted && !doors.config.privacy.remote_unmute {
        return Err(Refusal::RemoteUnmute.into());
    }
    let tracks = match body.sid {
        Some(sid) => TrackChoice::Sid(sid),
        None => TrackChoice::Kind(body.kind.unwrap_or(TrackKind::Audio)),
    };
    let (reply, answer) = oneshot::channel();
    let command = Manage::Mute { whom: whom(app, channel, user)?, tracks, muted: body.muted, reply };
    let tracks = doors.ask(Command::Manage(command), answer).await??;
    Ok(Json(Muted { tracks, muted: body.muted }))
}

/// Sends a participant out of the channel. Its token still works: let it expire, or it may come back.
#[utoipa::path(delete, path = "/api/v1/channels/{channel}/participants/{user}", security(("app" = [])),
    params(("channel", description = "ChannelId"), ("user", description = "UserId")), responses(
    (status = 204), (status = 401, body = ApiError), (status = 404, body = ApiError)))]
async fn remove(
    State(doors): State<Doors>,
    Path((channel, user)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, JsonRefusal> {
    let app = doors.application(&headers)?;
    let (reply, answer) = oneshot::channel();
    let command = Manage::Remove { whom: whom(app, channel, user)?, reply };
    doors.ask(Command::Manage(command), answer).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// What changes about a participant; what is not said stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Change {
    /// The name that others see: 1 to 64 letters, digits, '_' and '-'.
    name: Option<String>,
    /// Free text for other participants.
    metadata: Option<String>,
    /// Attributes to set; an empty value removes one.
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

/// Changes name, metadata or attributes of a participant, and tells everybody.
#[utoipa::path(patch, path = "/api/v1/channels/{channel}/participants/{user}", request_body = Change, security(("app" = [])),
    params(("channel", description = "ChannelId"), ("user", description = "UserId")), responses(
    (status = 200, body = ParticipantView), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 404, body = ApiError), (status = 429, body = ApiError)))]
async fn change(
    State(doors): State<Doors>,
    Path((channel, user)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body<Change>,
) -> Answer<ParticipantView> {
    let app = doors.application(&headers)?;
    let body = read(body)?;
    let change = Box::new(ParticipantChange {
        name: body.name.map(DisplayName::new).transpose()?,
        metadata: body.metadata,
        attributes: body.attributes,
    });
    let (reply, answer) = oneshot::channel();
    let command = Manage::Update { whom: whom(app, channel, user)?, change, reply };
    Ok(Json(doors.ask(Command::Manage(command), answer).await??))
}

/// What a participant may do from now on: one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Permissions {
    /// A name for a set of rights ...
    role: Option<Role>,
    /// ... or each right.
    grants: Option<Rights>,
}

/// Changes what a participant may do while it is connected. Tracks that it may not publish any more end, and its
/// subscriptions when it may have none; it gets a token with the new rights.
#[utoipa::path(put, path = "/api/v1/channels/{channel}/participants/{user}/permissions", request_body = Permissions, security(("app" = [])),
    params(("channel", description = "ChannelId"), ("user", description = "UserId")), responses(
    (status = 200, body = ParticipantView), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 404, body = ApiError), (status = 429, body = ApiError)))]
async fn set_permissions(
    State(doors): State<Doors>,
    Path((channel, user)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body<Permissions>,
) -> Answer<ParticipantView> {
    let app = doors.application(&headers)?;
    let body = read(body)?;
    if body.role.is_none() && body.grants.is_none() {
        return Err(Refusal::Bad("give either `role` or `grants`".to_string()).into());
    }
    let grants = Box::new(permissions::grants(body.role, body.grants)?);
    let (reply, answer) = oneshot::channel();
    let command = Manage::SetPermissions { whom: whom(app, channel, user)?, grants, reply };
    Ok(Json(doors.ask(Command::Manage(command), answer).await??))
}

/// Where a participant shall be seen besides its own channel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ForwardRequest {
    /// The second channel, of the same application.
    channel: String,
    /// Whether the data that it sends goes there too.
    #[serde(default)]
    data: bool,
}

/// Shows a participant in a second channel too: it is seen and heard there, and sees its own channel only. It
/// ends when the participant leaves, and when somebody with its UserId joins the second channel.
#[utoipa::path(post, path = "/api/v1/channels/{channel}/participants/{user}/forwards", request_body = ForwardRequest, security(("app" = [])),
    params(("channel", description = "ChannelId"), ("user", description = "UserId")), responses(
    (status = 204), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 404, body = ApiError), (status = 409, body = ApiError), (status = 429, body = ApiError)))]
async fn forward(
    State(doors): State<Doors>,
    Path((channel, user)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body<ForwardRequest>,
) -> Result<StatusCode, JsonRefusal> {
    let app = doors.application(&headers)?;
    let body = read(body)?;
    let (whom, into) = (whom(app, channel, user)?, ChannelId::new(body.channel)?);
    let (reply, answer) = oneshot::channel();
    doors.ask(Command::Manage(Manage::Find { whom: whom.clone(), reply }), answer).await??;
    // Both must live on one thread: there a forwarded packet costs what any other does.
    doors.threads.bring(&whom.app, &into, &whom.channel).await.map_err(|_| Refusal::Stopping)??;
    let (reply, answer) = oneshot::channel();
    doors.ask(Command::Manage(Manage::Forward { whom, into, data: body.data, reply }), answer).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows a participant in a second channel no longer.
#[utoipa::path(delete, path = "/api/v1/channels/{channel}/participants/{user}/forwards/{into}", security(("app" = [])),
    params(("channel", description = "ChannelId"), ("user", description = "UserId"), ("into", description = "The second channel")), responses(
    (status = 204), (status = 401, body = ApiError), (status = 404, body = ApiError), (status = 429, body = ApiError)))]
async fn stop_forward(
    State(doors): State<Doors>,
    Path((channel, user, into)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, JsonRefusal> {
    let app = doors.application(&headers)?;
    let (reply, answer) = oneshot::channel();
    let (whom, into) = (whom(app, channel, user)?, ChannelId::new(into)?);
    doors.ask(Command::Manage(Manage::StopForward { whom, into, reply }), answer).await??;
    Ok(StatusCode::NO_CONTENT)
}
