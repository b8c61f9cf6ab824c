//! The management API, `/api/v1`, and its description, `/api/openapi.json`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use rostrum_rtc::names::{AppId, ChannelId, DisplayName, UserId};
use rostrum_rtc::token::{self, TokenError, TokenRequest};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Doors;
use super::devices;
use super::errors::{ApiError, JsonRefusal, Refusal};
use super::guests::{self, Invite};
use super::join::ask;
use super::participants;
use super::permissions::{self, Rights, Role};
use super::whip;
use crate::media_thread::unix_time;
use crate::sfu::command::{ChannelView, Command, DataToSend, Manage, ManageError};

/// How long a token may be valid at most.
const MAX_TOKEN_TTL_S: u64 = 30 * 24 * 3600;
/// The longest message that is sent for the application, in bytes; packets of data channels carry 64 KiB.
const MAX_DATA: usize = 32 * 1024;
/// How long it is valid when nothing is said.
const DEFAULT_TOKEN_TTL_S: u64 = 6 * 3600;

pub(super) type Answer<T> = Result<Json<T>, JsonRefusal>;
pub(super) type Body<T> = Result<Json<T>, JsonRejection>;

#[derive(OpenApi)]
#[openapi(
    info(title = "channeld", description = "Management of channels of the real-time audio-video service."),
    modifiers(&Schemes)
)]
struct Description;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("app", SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)));
        components.add_security_scheme("terminal", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// Routes of the API.
pub(super) fn routes() -> Router<Doors> {
    let (router, mut description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(health))
        .routes(routes!(mint))
        .routes(routes!(channels))
        .routes(routes!(channel, change_channel))
        .routes(routes!(send_data))
        .merge(participants::routes())
        .merge(devices::routes())
        .routes(routes!(invite))
        .routes(routes!(guest))
        .split_for_parts();
    description.merge(whip::description());
    router.route("/api/openapi.json", get(move || async move { Json(description) }))
}

pub(super) fn read<T>(body: Body<T>) -> Result<T, Refusal> {
    match body {
        Ok(Json(value)) => Ok(value),
        Err(rejection) => Err(Refusal::Bad(format!("the body cannot be read: {}", rejection.body_text()))),
    }
}

/// Whether the service lives.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Always `ok`.
    status: &'static str,
    /// The service's version.
    version: &'static str,
}

/// Whether the service lives.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = Health)))]
async fn health() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// What a token shall say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Mint {
    /// The channel it is for: 1 to 64 letters, digits, '_' and '-'.
    channel: String,
    /// Who it is for; the same rule.
    user: String,
    /// The name that others see; the same rule.
    name: Option<String>,
    /// The hardware terminal, when it is for one.
    udid: Option<String>,
    /// Seconds that it is valid; 6 hours by default, 30 days at most.
    ttl: Option<u64>,
    /// Free text for other participants.
    metadata: Option<String>,
    /// More participant attributes.
    attributes: Option<BTreeMap<String, String>>,
    /// What it may do; a host by default. Either this ...
    role: Option<Role>,
    /// ... or each right.
    grants: Option<Rights>,
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Minted {
    /// The JWT.
    pub(super) token: String,
    /// Where to connect with it.
    pub(super) url: String,
    /// Seconds since 1970 after which it is refused.
    expires_at: u64,
}

/// Makes a token for a participant.
#[utoipa::path(post, path = "/api/v1/tokens", request_body = Mint, security(("app" = [])), responses(
    (status = 200, body = Minted), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 429, body = ApiError)))]
async fn mint(State(doors): State<Doors>, headers: HeaderMap, body: Body<Mint>) -> Answer<Minted> {
    let app = doors.application(&headers)?;
    let body = read(body)?;
    let channel = ChannelId::new(body.channel)?;
    let grants = permissions::grants(body.role, body.grants)?;
    let ttl = Duration::from_secs(body.ttl.unwrap_or(DEFAULT_TOKEN_TTL_S).min(MAX_TOKEN_TTL_S));
    let request = TokenRequest {
        user: UserId::new(body.user)?,
        name: body.name.map(DisplayName::new).transpose()?,
        udid: body.udid.filter(|udid| !udid.is_empty()),
        grants,
        metadata: body.metadata.unwrap_or_default(),
        attributes: body.attributes.unwrap_or_default(),
        ttl,
        channel,
    };
    Ok(Json(doors.mint(&app, &request)?))
}

impl Doors {
    pub(super) fn mint(&self, app: &AppId, request: &TokenRequest) -> Result<Minted, Refusal> {
        let now = unix_time().as_secs();
        let key = self.config.key_of(app).ok_or(Refusal::Credentials)?;
        Ok(Minted {
            token: token::mint_jwt(app, key, request, now)?,
            url: guests::signalling_url(&self.public_url),
            expires_at: now + request.ttl.as_secs(),
        })
    }

    async fn channels_of(&self, app: AppId) -> Result<Vec<ChannelView>, Refusal> {
        let mut channels = Vec::new();
        for thread in self.threads.all() {
            let (reply, answer) = oneshot::channel();
            let app = app.clone();
            channels.extend(ask(thread, Command::Manage(Manage::Channels { app, reply }), answer).await?);
        }
        Ok(channels)
    }
}

/// All channels of the application that somebody is in.
#[utoipa::path(get, path = "/api/v1/channels", security(("app" = [])), responses(
    (status = 200, body = Vec<ChannelView>), (status = 401, body = ApiError), (status = 429, body = ApiError)))]
async fn channels(State(doors): State<Doors>, headers: HeaderMap) -> Answer<Vec<ChannelView>> {
    let app = doors.application(&headers)?;
    Ok(Json(doors.channels_of(app).await?))
}

/// One channel: who is in it and what they publish.
#[utoipa::path(get, path = "/api/v1/channels/{channel}", security(("app" = [])), params(("channel", description = "ChannelId")), responses(
    (status = 200, body = ChannelView), (status = 401, body = ApiError), (status = 404, body = ApiError)))]
async fn channel(
    State(doors): State<Doors>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<ChannelView> {
    let app = doors.application(&headers)?;
    let id = ChannelId::new(id)?;
    let channels = doors.channels_of(app).await?;
    let found = channels.into_iter().find(|channel| channel.channel == id.as_str());
    Ok(Json(found.ok_or(ManageError::NoChannel)?))
}

/// What changes about a channel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChannelChange {
    /// Free text for everybody in it.
    metadata: String,
}

/// Changes the metadata of a channel. It is forgotten when the last participant leaves.
#[utoipa::path(patch, path = "/api/v1/channels/{channel}", request_body = ChannelChange, security(("app" = [])), params(("channel", description = "ChannelId")), responses(
    (status = 204), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 404, body = ApiError), (status = 429, body = ApiError)))]
async fn change_channel(
    State(doors): State<Doors>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<ChannelChange>,
) -> Result<StatusCode, JsonRefusal> {
    let app = doors.application(&headers)?;
    let (metadata, channel) = (read(body)?.metadata, ChannelId::new(id)?);
    let (reply, answer) = oneshot::channel();
    let command = Manage::SetChannelMetadata { app, channel, metadata, reply };
    doors.ask(Command::Manage(command), answer).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// A message for participants.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Data {
    /// The message, as text ...
    text: Option<String>,
    /// ... or as any bytes, in base64.
    base64: Option<String>,
    /// What it is about; clients pick messages by it.
    #[serde(default)]
    topic: String,
    /// UserIds that it is for; everybody when nothing is said.
    #[serde(default)]
    users: Vec<String>,
    /// Whether it may be lost, for what is soon out of date.
    #[serde(default)]
    lossy: bool,
}

/// How far a message got.
#[derive(Debug, Serialize, ToSchema)]
struct DataSent {
    /// How many participants it was sent to.
    participants: usize,
}

/// Sends a data message to participants of a channel. They get it without a sender.
#[utoipa::path(post, path = "/api/v1/channels/{channel}/data", request_body = Data, security(("app" = [])), params(("channel", description = "ChannelId")), responses(
    (status = 200, body = DataSent), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 404, body = ApiError), (status = 413, body = ApiError), (status = 429, body = ApiError)))]
async fn send_data(
    State(doors): State<Doors>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<Data>,
) -> Answer<DataSent> {
    let app = doors.application(&headers)?;
    let body = read(body)?;
    let payload = match (body.text, body.base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => STANDARD
            .decode(base64)
            .map_err(|error| Refusal::Bad(format!("base64 cannot be decoded: {error}")))?,
        _ => return Err(Refusal::Bad("give the message as either `text` or `base64`".to_string()).into()),
    };
    if payload.len() > MAX_DATA {
        return Err(Refusal::TooLarge { what: "the message", limit: MAX_DATA }.into());
    }
    let data = DataToSend { payload, topic: body.topic, users: body.users, lossy: body.lossy };
    let (reply, answer) = oneshot::channel();
    let command = Manage::SendData { app, channel: ChannelId::new(id)?, data: Box::new(data), reply };
    Ok(Json(DataSent { participants: doors.ask(Command::Manage(command), answer).await?? }))
}

/// An invitation to one channel.
#[derive(Debug, Serialize, ToSchema)]
struct Invited {
    /// The address to open in a browser.
    link: String,
    /// The invitation in it.
    invite: String,
    /// Seconds since 1970 after which it does not work any more.
    expires_at: u64,
}

/// Makes a link that lets guests into a channel. Asked for by the application, or by a hardware terminal for
/// its own channel.
#[utoipa::path(post, path = "/api/v1/channels/{channel}/invites", security(("app" = []), ("terminal" = [])),
    params(("channel", description = "ChannelId")), responses(
    (status = 200, body = Invited), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 429, body = ApiError)))]
async fn invite(
    State(doors): State<Doors>,
    Path(channel): Path<String>,
    headers: HeaderMap,
) -> Answer<Invited> {
    let app = if Doors::is_application(&headers) {
        doors.application(&headers)?
    } else {
        let identity = doors.identify(&headers, None)?;
        if identity.channel.as_str() != channel {
            return Err(TokenError::OtherChannel.into());
        }
        if identity.udid.is_none() {
            return Err(Refusal::MayNotInvite.into());
        }
        identity.app
    };
    let channel = ChannelId::new(channel)?;
    let key = doors.config.key_of(&app).ok_or(Refusal::Credentials)?;
    let expires_at = unix_time().as_secs() + doors.config.guests.invite_hours * 3600;
    let invite = Invite::new(app, channel.clone(), expires_at).sign(key)?;
    Ok(Json(Invited { link: guests::link(&doors.public_url, &channel, &invite), invite, expires_at }))
}

/// A guest at the door.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GuestRequest {
    /// The invitation from the link.
    invite: String,
    /// The name that others shall see: 1 to 64 letters, digits, '_' and '-'.
    name: String,
}

/// What a guest needs to join.
#[derive(Debug, Serialize, ToSchema)]
struct Guest {
    /// Its token.
    token: String,
    /// The channel.
    channel: String,
    /// Its UserId.
    user: String,
    /// Where to connect.
    url: String,
}

/// Gives a guest with an invitation a token for that one channel.
#[utoipa::path(post, path = "/api/v1/guests", request_body = GuestRequest, responses(
    (status = 200, body = Guest), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 429, body = ApiError)))]
async fn guest(State(doors): State<Doors>, body: Body<GuestRequest>) -> Answer<Guest> {
    let invite = read(body).and_then(|body| {
        let invite = Invite::verify(&body.invite, unix_time().as_secs(), |app| doors.config.key_of(app));
        invite.map(|invite| (invite, body.name)).ok_or(Refusal::Invite)
    });
    doors.limit(invite.as_ref().ok().map(|(invite, _)| &invite.iss))?;
    let (invite, name) = invite?;
    let user = UserId::new(format!("guest-{:016x}", rand::rng().random::<u64>()))?;
    let ttl = Duration::from_secs(doors.config.guests.token_minutes * 60);
    let mut request = TokenRequest::participant(invite.channel.clone(), user.clone(), ttl);
    request.name = Some(DisplayName::new(name)?);
    let minted = doors.mint(&invite.iss, &request)?;
    Ok(Json(Guest {
        token: minted.token,
        channel: invite.channel.to_string(),
        user: user.to_string(),
        url: minted.url,
    }))
}
