//! The camera: pan, tilt, zoom, focus, exposure, and presets.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use rostrum_hal::camera::{CameraControl, ControlState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::desk::Desk;
use crate::error::{ApiError, ApiResult, ErrorBody};
use crate::extract::{Json, OptionalJson, Path};
use crate::presets::{self, MAX_PRESETS, Values};
use crate::schema::ControlStateSchema;
use crate::state::CameraState;
use crate::{Panel, Shared};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ControlValue {
    /// In the control's unit; the nearest value that the camera allows is taken.
    value: i64,
}

/// A position of the camera.
#[derive(Serialize, ToSchema)]
pub(super) struct Preset {
    /// Its name.
    name: String,
    /// Where each control stands.
    #[schema(value_type = BTreeMap<String, i64>)]
    values: Values,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewPreset {
    /// Where each control is to stand; absent: where it stands now.
    #[schema(value_type = Option<BTreeMap<String, i64>>)]
    values: Option<Values>,
}

impl Panel {
    fn desk(&self) -> ApiResult<&Arc<Desk>> {
        self.desk.as_ref().ok_or_else(|| {
            ApiError::new(
                StatusCode::NOT_FOUND,
                "no_camera",
                "This terminal has no camera.",
                "Plug one in and restart it.",
            )
        })
    }
}

fn checked(name: String) -> ApiResult<String> {
    if presets::valid_name(&name) {
        return Ok(name);
    }
    let hint = "A name has 1 to 64 characters, no slash, and no space at its ends.";
    Err(ApiError::invalid("A preset cannot have that name.", hint))
}

fn no_preset() -> ApiError {
    ApiError::not_found("There is no preset of that name.", "/api/v1/camera lists them.")
}

/// Name, controls and presets of the camera, read now.
#[utoipa::path(get, path = "/api/v1/camera", tag = "camera", responses(
    (status = OK, body = CameraState), (status = NOT_FOUND, body = ErrorBody),
    (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn camera(State(panel): State<Shared>) -> ApiResult<Json<CameraState>> {
    let desk = panel.desk()?;
    let controls = desk.list().await?;
    let name = panel.state.borrow().camera.as_ref().map(|camera| camera.name.clone()).unwrap_or_default();
    Ok(Json(CameraState { name, controls, presets: desk.preset_names() }))
}

/// Turns or sets one of the controls that the camera's state lists, such as `pan`, `zoom`, `pan_speed` (a speed goes on
/// until it is set to 0) or `vendor_...`, one of the vendor's own that the board's profile names.
#[utoipa::path(put, path = "/api/v1/camera/controls/{control}", tag = "camera",
    params(("control" = String, Path)), request_body = ControlValue,
    responses((status = OK, body = ControlStateSchema), (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, body = ErrorBody), (status = SERVICE_UNAVAILABLE, body = ErrorBody)))]
pub(super) async fn set_control(
    State(panel): State<Shared>,
    Path(control): Path<CameraControl>,
    Json(wish): Json<ControlValue>,
) -> ApiResult<Json<ControlState>> {
    let controls = panel.desk()?.set(control, wish.value).await?;
    let found = controls.into_iter().find(|state| state.control == control);
    found.map(Json).ok_or_else(ApiError::not_ready)
}

/// One preset.
#[utoipa::path(get, path = "/api/v1/camera/presets/{name}", tag = "camera", params(("name" = String, Path)),
    responses((status = OK, body = Preset), (status = NOT_FOUND, body = ErrorBody)))]
pub(super) async fn preset(State(panel): State<Shared>, Path(name): Path<String>) -> ApiResult<Json<Preset>> {
    let values = panel.desk()?.preset(&name).ok_or_else(no_preset)?;
    Ok(Json(Preset { name, values }))
}

/// Keeps where the camera stands (or the values of the body) under a name, in the place of what had that name.
#[utoipa::path(put, path = "/api/v1/camera/presets/{name}", tag = "camera", params(("name" = String, Path)),
    request_body(content = Option<NewPreset>),
    responses((status = OK, body = Preset), (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, body = ErrorBody), (status = UNPROCESSABLE_ENTITY, body = ErrorBody),
        (status = SERVICE_UNAVAILABLE, body = ErrorBody)))]
pub(super) async fn store_preset(
    State(panel): State<Shared>,
    Path(name): Path<String>,
    OptionalJson(new): OptionalJson<NewPreset>,
) -> ApiResult<Json<Preset>> {
    let name = checked(name)?;
    let values = panel.desk()?.keep(name.clone(), new.values).await?.ok_or_else(|| {
        let message = format!("There are {MAX_PRESETS} presets.");
        ApiError::new(StatusCode::CONFLICT, "too_many_presets", message, "Delete one first.")
    })?;
    Ok(Json(Preset { name, values }))
}

/// Forgets a preset.
#[utoipa::path(delete, path = "/api/v1/camera/presets/{name}", tag = "camera", params(("name" = String, Path)),
    responses((status = NO_CONTENT), (status = NOT_FOUND, body = ErrorBody)))]
pub(super) async fn delete_preset(
    State(panel): State<Shared>,
    Path(name): Path<String>,
) -> ApiResult<StatusCode> {
    if panel.desk()?.forget(name).await? { Ok(StatusCode::NO_CONTENT) } else { Err(no_preset()) }
}

/// Moves the camera to where a preset says.
#[utoipa::path(post, path = "/api/v1/camera/presets/{name}/recall", tag = "camera",
    params(("name" = String, Path)),
    responses((status = OK, body = CameraState), (status = NOT_FOUND, body = ErrorBody),
        (status = SERVICE_UNAVAILABLE, body = ErrorBody)))]
pub(super) async fn recall_preset(
    State(panel): State<Shared>,
    Path(name): Path<String>,
) -> ApiResult<Json<CameraState>> {
    let desk = panel.desk()?;
    let values = desk.preset(&name).ok_or_else(no_preset)?;
    let controls = desk.recall(values).await?;
    let name = panel.state.borrow().camera.as_ref().map(|camera| camera.name.clone()).unwrap_or_default();
    Ok(Json(CameraState { name, controls, presets: desk.preset_names() }))
}
