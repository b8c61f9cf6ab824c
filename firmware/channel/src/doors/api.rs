//! The management API, `/api/v1`, and its description, `/api/openapi.json`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use rand::Rng;
use rostrum_rtc::names::{AppId, ChannelId, DisplayName, UserId};
use rostrum_rtc::token::{self, Grants, TokenError, TokenRequest};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Doors;
use super::errors::{ApiError, JsonRefusal, Refusal};
use super::guests::{self, Invite};
use super::whip;
use crate::media_thread::unix_time;
use crate::sfu::command::{ChannelView, Command, Manage, ManageError, TrackChoice, TrackKind};

/// How long a token may be valid at most.
const MAX_TOKEN_TTL_S: u64 = 30 * 24 * 3600;
/// How long it is valid when nothing is said.
const DEFAULT_TOKEN_TTL_S: u64 = 6 * 3600;

type Answer<T> = Result<Json<T>, JsonRefusal>;
type Body<T> = Result<Json<T>, JsonRejection>;

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
        .routes(routes!(channel))
        .routes(routes!(mute))
        .routes(routes!(remove))
        .routes(routes!(invite))
        .routes(routes!(guest))
        .split_for_parts();
    description.merge(whip::description());
    router.route("/api/openapi.json", get(move || async move { Json(description) }))
}

fn read<T>(body: Body<T>) -> Result<T, Refusal> {
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
    /// Rights; an ordinary participant's by default.
    grants: Option<MintGrants>,
}

/// Rights of a participant; what is not said is allowed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct MintGrants {
    /// May publish tracks.
    can_publish: Option<bool>,
    /// May subscribe to tracks.
    can_subscribe: Option<bool>,
    /// May send data.
    can_publish_data: Option<bool>,
    /// Only these sources: `camera`, `microphone`, `screen_share`, `screen_share_audio`.
    can_publish_sources: Vec<String>,
    /// May change its own name, metadata and attributes.
    can_update_own_metadata: Option<bool>,
    /// Others do not see it.
    hidden: bool,
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
struct Minted {
    /// The JWT.
    token: String,
    /// Where to connect with it.
    url: String,
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
    let rights = body.grants.unwrap_or_default();
    let may_update = rights.can_update_own_metadata.or(Some(true));
    let ttl = Duration::from_secs(body.ttl.unwrap_or(DEFAULT_TOKEN_TTL_S).min(MAX_TOKEN_TTL_S));
    let request = TokenRequest {
        user: UserId::new(body.user)?,
        name: body.name.map(DisplayName::new).transpose()?,
        udid: body.udid.filter(|udid| !udid.is_empty()),
        grants: Grants {
            can_publish: rights.can_publish,
            can_subscribe: rights.can_subscribe,
            can_publish_data: rights.can_publish_data,
            can_publish_sources: rights.can_publish_sources,
            can_update_own_metadata: may_update,
            hidden: rights.hidden,
            ..Grants::default()
        },
        metadata: body.metadata.unwrap_or_default(),
        attributes: body.attributes.unwrap_or_default(),
        ttl,
        channel,
    };
    Ok(Json(doors.mint(&app, &request)?))
}

impl Doors {
    fn mint(&self, app: &AppId, request: &TokenRequest) -> Result<Minted, Refusal> {
        let now = unix_time().as_secs();
        let key = self.config.key_of(app).ok_or(Refusal::Credentials)?;
        Ok(Minted {
            token: token::mint_jwt(app, key, request, now)?,
            url: guests::signalling_url(&self.public_url),
            expires_at: now + request.ttl.as_secs(),
        })
    }

    async fn channels_of(&self, app: AppId) -> Result<Vec<ChannelView>, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Manage(Manage::Channels { app, reply }), answer).await
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
    let command = Manage::Mute {
        app,
        channel: ChannelId::new(channel)?,
        user: UserId::new(user)?,
        tracks,
        muted: body.muted,
        reply,
    };
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
    let command = Manage::Remove { app, channel: ChannelId::new(channel)?, user: UserId::new(user)?, reply };
    doors.ask(Command::Manage(command), answer).await??;
    Ok(StatusCode::NO_CONTENT)
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
