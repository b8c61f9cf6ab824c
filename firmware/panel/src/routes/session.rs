//! Who may: the first password, and logging in.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Shared;
use crate::error::{ApiError, ApiResult, ErrorBody};
use crate::extract::Json;
use crate::security::{Caller, MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, cookie};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Password {
    /// 8 characters or more, 256 bytes at most.
    #[schema(min_length = 8, max_length = 256)]
    password: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Session {
    /// This address asks for the password.
    needs_password: bool,
    /// A password was set.
    password_set: bool,
    /// The caller may use everything.
    welcome: bool,
}

/// Whether a login is needed, and whether there is one.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses((status = OK, body = Session)))]
pub(super) async fn session(State(panel): State<Shared>, caller: Caller) -> Json<Session> {
    Json(Session {
        needs_password: caller.needs_password,
        password_set: panel.gate.password.is_set(),
        welcome: caller.is_welcome(&panel.gate),
    })
}

/// Logs in; the session is a cookie.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = Password, responses(
    (status = NO_CONTENT), (status = UNAUTHORIZED, body = ErrorBody),
    (status = TOO_MANY_REQUESTS, body = ErrorBody, headers(("Retry-After" = u64, description = "Seconds")))
))]
pub(super) async fn log_in(
    State(panel): State<Shared>,
    caller: Caller,
    Json(Password { password }): Json<Password>,
) -> ApiResult<impl IntoResponse> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(unusable());
    }
    let token = panel.gate.log_in(caller.peer, password).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie(&token))]))
}

/// Logs out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses((status = NO_CONTENT)))]
pub(super) async fn log_out(State(panel): State<Shared>, caller: Caller) -> impl IntoResponse {
    if let Some(token) = caller.token {
        panel.gate.log_out(&token);
    }
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie(""))])
}

/// Sets the password, once, at first start; the caller is logged in.
#[utoipa::path(post, path = "/api/v1/password", tag = "session", request_body = Password, responses(
    (status = NO_CONTENT), (status = CONFLICT, body = ErrorBody), (status = UNPROCESSABLE_ENTITY, body = ErrorBody),
    (status = TOO_MANY_REQUESTS, body = ErrorBody)
))]
pub(super) async fn set_password(
    State(panel): State<Shared>,
    caller: Caller,
    Json(Password { password }): Json<Password>,
) -> ApiResult<impl IntoResponse> {
    if password.chars().count() < MIN_PASSWORD_CHARS || password.len() > MAX_PASSWORD_BYTES {
        return Err(unusable());
    }
    let token = panel.gate.set_password(caller.peer, password).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie(&token))]))
}

fn unusable() -> ApiError {
    ApiError::invalid(
        "That password is too short or too long.",
        "Take 8 characters or more, 256 bytes at most.",
    )
}
