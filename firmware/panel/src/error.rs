//! What goes wrong, for callers of the crate and for callers of the interface.

use std::{borrow::Cow, path::PathBuf, time::Duration};

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rostrum_hal::camera::CameraError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::command::{CommandError, CommandErrorKind};

/// What can go wrong with the panel itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PanelError {
    /// The socket failed.
    #[error("the panel cannot serve on its port: {source}")]
    Serve {
        /// What the system said.
        source: std::io::Error,
    },
    /// A file cannot be read or written.
    #[error("{path} cannot be {doing}: {source}; the user of rostrumd must own it and its folder")]
    File {
        /// Which.
        path: PathBuf,
        /// `read` or `written`.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of the password holds something else.
    #[error("{path} holds no password; remove it to set a new one")]
    PasswordFile {
        /// Which.
        path: PathBuf,
    },
    /// The password could not be hashed.
    #[error("the password cannot be hashed: {message}")]
    Hash {
        /// What the hash function said.
        message: String,
    },
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// Stable name for programs, `snake_case`.
    pub code: String,
    /// What is the matter, in plain words.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    hint: Cow<'static, str>,
    retry_after: Option<Duration>,
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code: code.into(), message: message.into(), hint: hint.into(), retry_after: None }
    }

    pub(crate) fn not_found(
        message: impl Into<Cow<'static, str>>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message, hint)
    }

    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>, hint: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message, hint)
    }

    pub(crate) fn forbidden(message: &'static str, hint: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message, hint)
    }

    /// The daemon does not answer.
    pub(crate) fn not_ready() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            "The terminal is not ready.",
            "Wait a few seconds and try again.",
        )
    }

    pub(crate) fn busy(message: &'static str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            message,
            "Close some pages of this panel and try again.",
        )
    }

    pub(crate) fn too_many_tries(wait: Duration) -> Self {
        let message = "Too many tries with a wrong password.";
        let hint = "Wait as long as Retry-After says and try again.";
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tries", message, hint);
        error.retry_after = Some(wait);
        error
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            code: self.code.into_owned(),
            message: self.message.into_owned(),
            hint: self.hint.into_owned(),
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        let status = match error.kind {
            CommandErrorKind::Refused => StatusCode::CONFLICT,
            CommandErrorKind::NotFound => StatusCode::NOT_FOUND,
            CommandErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.code, error.message, error.hint)
    }
}

impl From<CameraError> for ApiError {
    fn from(error: CameraError) -> Self {
        let (status, code, hint) = match &error {
            CameraError::NoControl { .. } => {
                (StatusCode::NOT_FOUND, "no_such_control", "Choose one that /api/v1/camera lists.")
            }
            CameraError::ReadOnly { .. } => {
                (StatusCode::CONFLICT, "read_only", "It follows a cover or switch on the camera.")
            }
            CameraError::Gone { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "camera_gone", "Check the camera's cable.")
            }
            _ => (
                StatusCode::SERVICE_UNAVAILABLE,
                "camera_failed",
                "Try again; then unplug the camera and plug it in.",
            ),
        };
        Self::new(status, code, error.to_string(), hint)
    }
}

impl From<PanelError> for ApiError {
    fn from(error: PanelError) -> Self {
        log::error!("the panel failed: {error}");
        // Paths of the device stay in its log.
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "storage_failed",
            "The terminal cannot read or write its files.",
            "Its log says which file and why.",
        )
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let hint = "Send what /api/openapi.json says, as application/json.";
        Self::new(rejection.status(), "bad_body", rejection.body_text(), hint)
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), "bad_path", rejection.body_text(), "See /api/openapi.json.")
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), "bad_query", rejection.body_text(), "See /api/openapi.json.")
    }
}
