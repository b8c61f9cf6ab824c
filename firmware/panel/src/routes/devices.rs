//! Devices: which there are, which are used, and their test.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use rostrum_hal::{DeviceKind, selftest::Part};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::devices::DeviceChoices;
use crate::error::{ApiResult, ErrorBody};
use crate::extract::{Json, OptionalJson, Path};
use crate::{PanelCommand, Shared, schema};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Chosen {
    /// The `id` of one of the choices.
    id: String,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    /// What is tested; all parts when it is left out or empty.
    #[schema(schema_with = schema::parts)]
    parts: BTreeSet<Part>,
    /// Somebody is there to look, to press and to answer; without, only what needs nobody is tested.
    person: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    /// Whether it is as the question says.
    yes: bool,
}

/// The devices that could be used, asked now.
#[utoipa::path(get, path = "/api/v1/devices", tag = "devices", responses(
    (status = OK, body = DeviceChoices), (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn devices(State(panel): State<Shared>) -> ApiResult<Json<DeviceChoices>> {
    Ok(Json(panel.ask(|reply| PanelCommand::ListDevices { reply }).await?))
}

/// Uses another device from now on, in a meeting too, and after a restart. When it cannot be used the old one stays.
#[utoipa::path(put, path = "/api/v1/devices/{kind}", tag = "devices",
    params(("kind" = String, Path, description = "`camera`, `microphones` or `speaker`")),
    request_body = Chosen,
    responses((status = NO_CONTENT), (status = NOT_FOUND, body = ErrorBody), (status = CONFLICT, body = ErrorBody),
        (status = SERVICE_UNAVAILABLE, body = ErrorBody)))]
pub(super) async fn switch_device(
    State(panel): State<Shared>,
    Path(kind): Path<DeviceKind>,
    Json(chosen): Json<Chosen>,
) -> ApiResult<StatusCode> {
    panel.ask(|reply| PanelCommand::SwitchDevice { kind, id: chosen.id, reply }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tests parts of the terminal, outside of a meeting. The answer comes when it begins; `selftest` of the state tells
/// how it goes. Joining a meeting ends it.
#[utoipa::path(post, path = "/api/v1/selftest", tag = "devices", request_body(content = Option<Wanted>), responses(
    (status = ACCEPTED), (status = CONFLICT, body = ErrorBody), (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn start_selftest(
    State(panel): State<Shared>,
    OptionalJson(wanted): OptionalJson<Wanted>,
) -> ApiResult<StatusCode> {
    let Wanted { parts, person } = wanted;
    panel.ask(|reply| PanelCommand::StartSelftest { parts, person, reply }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Answers the question of the test.
#[utoipa::path(post, path = "/api/v1/selftest/answer", tag = "devices", request_body = Answer, responses(
    (status = NO_CONTENT), (status = CONFLICT, body = ErrorBody), (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn answer_selftest(
    State(panel): State<Shared>,
    Json(answer): Json<Answer>,
) -> ApiResult<StatusCode> {
    panel.ask(|reply| PanelCommand::AnswerSelftest { yes: answer.yes, reply }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the test; what was found so far stays.
#[utoipa::path(delete, path = "/api/v1/selftest", tag = "devices", responses(
    (status = NO_CONTENT), (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn stop_selftest(State(panel): State<Shared>) -> ApiResult<StatusCode> {
    panel.ask(|reply| PanelCommand::StopSelftest { reply }).await?;
    Ok(StatusCode::NO_CONTENT)
}
