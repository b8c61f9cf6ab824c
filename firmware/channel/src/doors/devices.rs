//! Hardware terminals: which are known, and tokens for those that prove who they are.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use rand::Rng;
use rostrum_rtc::device_token::{Claim, DevicePublicKey, NoPublicKey};
use rostrum_rtc::names::{AppId, ChannelId, Udid, UserId};
use rostrum_rtc::token::TokenRequest;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Doors;
use super::api::{Answer, Body, read};
use super::errors::{ApiError, JsonRefusal, Refusal};
use crate::devices::{CHALLENGE_TTL, Device};
use crate::media_thread::unix_time;

/// Routes of this part.
pub(super) fn routes() -> OpenApiRouter<Doors> {
    OpenApiRouter::new()
        .routes(routes!(devices))
        .routes(routes!(register, forget))
        .routes(routes!(challenge))
        .routes(routes!(token))
}

/// What is known of a hardware terminal.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Registration {
    /// The line that `rostrumd device-key` prints on it.
    public_key: String,
    /// ChannelIds that it may join; any when there is none.
    #[serde(default)]
    channels: Vec<String>,
    /// The UserId that it may be; any when nothing is said.
    user: Option<String>,
}

/// One known terminal.
#[derive(Debug, Serialize, ToSchema)]
struct DeviceView {
    /// Its Udid.
    udid: String,
    /// Its public key.
    public_key: String,
    /// ChannelIds that it may join; any when there is none.
    channels: Vec<String>,
    /// The UserId that it may be.
    user: Option<String>,
}

/// What a terminal has to sign.
#[derive(Debug, Serialize, ToSchema)]
struct Challenge {
    /// Goes into what is signed, and back as it is.
    challenge: String,
    /// Seconds for which it can be used, once.
    expires_in_s: u64,
}

/// What a terminal wants, signed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignedWish {
    /// The challenge.
    challenge: String,
    /// The channel to join.
    channel: String,
    /// Who it is there.
    user: String,
    /// ECDSA with P-256 and SHA-256 of five lines, each with a line feed at its end (`rostrum-device-token-1`, Udid,
    /// channel, user, challenge): r and s, 32 bytes each, base64url without padding.
    signature: String,
}

/// A token for a terminal.
#[derive(Debug, Serialize, ToSchema)]
struct DeviceToken {
    /// The JWT.
    token: String,
    /// Where to connect with it.
    url: String,
    /// Seconds for which it is valid.
    expires_in_s: u64,
}

/// All hardware terminals of the application.
#[utoipa::path(get, path = "/api/v1/devices", security(("app" = [])), responses(
    (status = 200, body = Vec<DeviceView>), (status = 401, body = ApiError), (status = 429, body = ApiError)))]
async fn devices(State(doors): State<Doors>, headers: HeaderMap) -> Answer<Vec<DeviceView>> {
    let app = doors.application(&headers)?;
    let view = |(udid, device): (Udid, Device)| DeviceView {
        udid: udid.to_string(),
        public_key: device.public_key.to_string(),
        channels: device.channels.iter().map(ToString::to_string).collect(),
        user: device.user.map(String::from),
    };
    Ok(Json(doors.devices.of(&app).into_iter().map(view).collect()))
}

/// Registers a hardware terminal by its public key, in the place of what was known of it.
#[utoipa::path(put, path = "/api/v1/devices/{udid}", request_body = Registration, security(("app" = [])), params(("udid", description = "Udid")), responses(
    (status = 204), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 409, body = ApiError), (status = 429, body = ApiError)))]
async fn register(
    State(doors): State<Doors>,
    Path(udid): Path<String>,
    headers: HeaderMap,
    body: Body<Registration>,
) -> Result<StatusCode, JsonRefusal> {
    let app = doors.application(&headers)?;
    let (udid, body) = (Udid::new(udid)?, read(body)?);
    let public_key: DevicePublicKey = body.public_key.try_into().map_err(no_key)?;
    let channels = body.channels.into_iter().map(ChannelId::new).collect::<Result<_, _>>()?;
    let user = body.user.map(UserId::new).transpose()?;
    let device = Device { app, public_key, channels, user };
    let devices = doors.devices.clone();
    let put = kept(move || devices.put(udid, device)).await?;
    if put { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::OthersDevice.into()) }
}

/// Forgets a hardware terminal: it gets no tokens any more. Those that it has work until they expire.
#[utoipa::path(delete, path = "/api/v1/devices/{udid}", security(("app" = [])), params(("udid", description = "Udid")), responses(
    (status = 204), (status = 401, body = ApiError), (status = 404, body = ApiError), (status = 429, body = ApiError)))]
async fn forget(
    State(doors): State<Doors>,
    Path(udid): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, JsonRefusal> {
    let app: AppId = doors.application(&headers)?;
    let udid = Udid::new(udid)?;
    let devices = doors.devices.clone();
    let removed = kept(move || devices.remove(&udid, &app)).await?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NoDevice.into()) }
}

/// Gives a terminal something to sign. Says nothing of whether it is known.
#[utoipa::path(post, path = "/api/v1/devices/{udid}/challenge", params(("udid", description = "Udid")), responses(
    (status = 200, body = Challenge), (status = 400, body = ApiError), (status = 429, body = ApiError)))]
async fn challenge(State(doors): State<Doors>, Path(udid): Path<String>) -> Answer<Challenge> {
    let udid = Udid::new(udid)?;
    doors.limit(doors.devices.get(&udid).as_ref().map(|device| &device.app))?;
    let challenge = doors.challenges.make(&udid, unix_time().as_secs(), rand::rng().random());
    Ok(Json(Challenge { challenge, expires_in_s: CHALLENGE_TTL.as_secs() }))
}

/// Gives a terminal that signs with the key it is known by a token for one channel.
#[utoipa::path(post, path = "/api/v1/devices/{udid}/token", request_body = SignedWish, params(("udid", description = "Udid")), responses(
    (status = 200, body = DeviceToken), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 429, body = ApiError)))]
async fn token(
    State(doors): State<Doors>,
    Path(udid): Path<String>,
    body: Body<SignedWish>,
) -> Answer<DeviceToken> {
    let udid = Udid::new(udid)?;
    let device = doors.devices.get(&udid);
    doors.limit(device.as_ref().map(|device| &device.app))?;
    let SignedWish { challenge, channel, user, signature } = read(body)?;
    let (channel, user) = (ChannelId::new(channel)?, UserId::new(user)?);
    if !doors.challenges.take(&udid, &challenge, unix_time().as_secs()) {
        return Err(Refusal::Challenge.into());
    }
    let claim = Claim { udid: &udid, channel: &channel, user: &user, challenge: &challenge };
    let device =
        device.filter(|device| device.public_key.signed(&claim, &signature)).ok_or(Refusal::Device)?;
    let may_join = device.channels.is_empty() || device.channels.contains(&channel);
    if !may_join || device.user.as_ref().is_some_and(|only| *only != user) {
        return Err(Refusal::DeviceElsewhere.into());
    }
    let ttl = Duration::from_secs(doors.config.devices.token_minutes * 60);
    let mut request = TokenRequest::participant(channel, user, ttl);
    request.udid = Some(udid.to_string());
    let minted = doors.mint(&device.app, &request)?;
    Ok(Json(DeviceToken { token: minted.token, url: minted.url, expires_in_s: ttl.as_secs() }))
}

fn no_key(error: NoPublicKey) -> Refusal {
    Refusal::Bad(error.to_string())
}

/// Does what writes a file, not on the threads that answer.
async fn kept<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            log::error!(error:%; "devices.file cannot be written; free some space, or give it to this user");
            Err(Refusal::Storage)
        }
        Err(_) => Err(Refusal::Stopping),
    }
}
