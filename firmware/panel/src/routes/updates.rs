//! Updates: asked for, agreed to, and brought by a person.

use std::path::Path;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use utoipa::ToSchema;

use crate::error::{ApiError, ApiResult, ErrorBody};
use crate::extract::Json;
use crate::{PanelCommand, Shared};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Agreement {
    /// Whether the offered version is to be installed.
    yes: bool,
}

/// No bundle is larger, in bytes.
const LARGEST: u64 = 4 << 30;

/// Asks the update server now; `update` of the state tells what comes of it.
#[utoipa::path(post, path = "/api/v1/updates/check", tag = "updates", responses(
    (status = ACCEPTED), (status = CONFLICT, body = ErrorBody), (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn check(State(panel): State<Shared>) -> ApiResult<StatusCode> {
    panel.ask(|reply| PanelCommand::CheckUpdates { reply }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Says yes or no to the version that the update server offers, while `update.asks`.
#[utoipa::path(put, path = "/api/v1/updates/confirm", tag = "updates", request_body = Agreement, responses(
    (status = ACCEPTED), (status = CONFLICT, body = ErrorBody), (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn confirm(
    State(panel): State<Shared>,
    Json(agreement): Json<Agreement>,
) -> ApiResult<StatusCode> {
    panel.ask(|reply| PanelCommand::ConfirmUpdate { yes: agreement.yes, reply }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Installs the bundle that is sent (`*.raucb`), after a meeting that runs. It has to be signed by whom the terminal
/// trusts; `update` of the state tells how it goes.
#[utoipa::path(put, path = "/api/v1/updates/bundle", tag = "updates",
    request_body(content = String, content_type = "application/octet-stream", description = "The bundle"),
    responses((status = ACCEPTED), (status = CONFLICT, body = ErrorBody), (status = PAYLOAD_TOO_LARGE, body = ErrorBody),
        (status = SERVICE_UNAVAILABLE, body = ErrorBody), (status = INSUFFICIENT_STORAGE, body = ErrorBody)))]
pub(super) async fn bundle(State(panel): State<Shared>, body: Body) -> ApiResult<StatusCode> {
    // One at a time: a second person's would write over the first's.
    let Ok(_one) = panel.upload.try_lock() else {
        let message = "Somebody else is bringing a bundle.";
        return Err(ApiError::new(StatusCode::CONFLICT, "busy", message, "Wait until theirs is here."));
    };
    let file = panel.bundle_file.clone();
    let partial = file.with_extension("part");
    if let Err(error) = write(&partial, body).await {
        let _ = tokio::fs::remove_file(&partial).await;
        return Err(error);
    }
    tokio::fs::rename(&partial, &file).await.map_err(|error| not_written(&error))?;
    panel.ask(|reply| PanelCommand::InstallUpdate { path: file, reply }).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn write(path: &Path, body: Body) -> ApiResult<()> {
    if let Some(dir) = path.parent() {
        tokio::fs::create_dir_all(dir).await.map_err(|error| not_written(&error))?;
    }
    let mut file = tokio::fs::File::create(path).await.map_err(|error| not_written(&error))?;
    let mut stream = body.into_data_stream();
    let mut length = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| {
            ApiError::invalid(
                "The bundle did not come to its end.",
                "Send it again over a better connection.",
            )
        })?;
        length += chunk.len() as u64;
        if length > LARGEST {
            let message = "That is larger than any bundle.";
            let hint = "Send the file whose name ends in .raucb.";
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message, hint));
        }
        file.write_all(&chunk).await.map_err(|error| not_written(&error))?;
    }
    file.sync_all().await.map_err(|error| not_written(&error))
}

fn not_written(error: &std::io::Error) -> ApiError {
    let message = format!("The bundle cannot be kept: {error}.");
    let hint = "Free some space, or bring it on a USB stick.";
    ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "no_room", message, hint)
}
