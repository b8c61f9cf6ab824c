//! The meeting.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{ApiError, ApiResult, ErrorBody};
use crate::extract::Json;
use crate::settings::{Settings, SettingsPatch};
use crate::{PanelCommand, Shared};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Mute {
    /// `true` mutes.
    muted: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Volume {
    /// Percent.
    #[schema(minimum = 0, maximum = 100)]
    volume: u8,
}

#[derive(Serialize, ToSchema)]
pub(super) struct GuestLink {
    /// By which a guest comes into the channel.
    link: String,
}

/// Everything there is to show.
#[utoipa::path(get, path = "/api/v1/state", tag = "room", responses((status = OK, body = crate::State)))]
pub(super) async fn state(State(panel): State<Shared>) -> Json<crate::State> {
    Json(panel.first_view().await)
}

/// Joins the room's channel. The answer comes when the room is on its way; the state tells the rest.
#[utoipa::path(post, path = "/api/v1/join", tag = "room", responses(
    (status = ACCEPTED), (status = CONFLICT, body = ErrorBody), (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn join(State(panel): State<Shared>) -> ApiResult<StatusCode> {
    panel.ask(|reply| PanelCommand::Join { reply }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Leaves the channel. The answer comes when the room is on its way out.
#[utoipa::path(post, path = "/api/v1/leave", tag = "room", responses(
    (status = ACCEPTED), (status = CONFLICT, body = ErrorBody), (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn leave(State(panel): State<Shared>) -> ApiResult<StatusCode> {
    panel.ask(|reply| PanelCommand::Leave { reply }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Mutes or unmutes the room. The answer comes when it is so; 409 when something else mutes it (`room.mute_reason`).
#[utoipa::path(put, path = "/api/v1/mute", tag = "room", request_body = Mute, responses(
    (status = NO_CONTENT), (status = CONFLICT, body = ErrorBody), (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn mute(State(panel): State<Shared>, Json(wish): Json<Mute>) -> ApiResult<StatusCode> {
    panel.ask(|reply| PanelCommand::SetMuted { muted: wish.muted, reply }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets the volume of the room's speaker.
#[utoipa::path(put, path = "/api/v1/volume", tag = "room", request_body = Volume, responses(
    (status = NO_CONTENT), (status = UNPROCESSABLE_ENTITY, body = ErrorBody),
    (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn volume(State(panel): State<Shared>, Json(wish): Json<Volume>) -> ApiResult<StatusCode> {
    let volume = wish.volume;
    if volume > 100 {
        return Err(ApiError::invalid("The volume is more than 100.", "Send 0 to 100 percent."));
    }
    panel.ask(|reply| PanelCommand::SetVolume { volume, reply }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes settings of the room, in a meeting too; what is absent stays as it is.
#[utoipa::path(patch, path = "/api/v1/settings", tag = "room", request_body = SettingsPatch, responses(
    (status = OK, body = Settings, description = "All settings as they are now"),
    (status = CONFLICT, body = ErrorBody), (status = UNPROCESSABLE_ENTITY, body = ErrorBody),
    (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn settings(
    State(panel): State<Shared>,
    Json(patch): Json<SettingsPatch>,
) -> ApiResult<Json<Settings>> {
    panel.ask(|reply| PanelCommand::ChangeSettings { patch, reply }).await.map(Json)
}

/// The link by which a guest comes into the channel.
#[utoipa::path(get, path = "/api/v1/guest_link", tag = "room", responses(
    (status = OK, body = GuestLink), (status = NOT_FOUND, body = ErrorBody)
))]
pub(super) async fn guest_link(State(panel): State<Shared>) -> ApiResult<Json<GuestLink>> {
    let link = panel.state.borrow().guest_link.clone();
    link.map(|link| Json(GuestLink { link })).ok_or_else(|| {
        ApiError::not_found(
            "There is no link for guests now.",
            "The service gives one when it can be reached.",
        )
    })
}
