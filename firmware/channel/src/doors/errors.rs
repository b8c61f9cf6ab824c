//! How the doors say no: JSON at the API, plain text at `/rtc`. Never with the token in it.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rostrum_rtc::names::NameError;
use rostrum_rtc::token::TokenError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::sfu::command::{JoinRefusal, ManageError};
use crate::sfu::whip::WhipRefusal;
use crate::transport::FragmentError;

/// Why a door does not let something through. The message says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("{0}")]
    Name(#[from] NameError),
    #[error(transparent)]
    Join(#[from] JoinRefusal),
    #[error(transparent)]
    Manage(#[from] ManageError),
    #[error(transparent)]
    Whip(#[from] WhipRefusal),
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    #[error("the body has another media type than this takes; send it with `Content-Type: {0}`")]
    MediaType(&'static str),
    #[error("this address does not take that method; use one of {0}")]
    Method(&'static str),
    #[error("AppId and AppKey are needed as HTTP Basic authorization; the ones given are wrong or missing")]
    Credentials,
    #[error("too many requests: the application may make {0} a second; slow down")]
    TooManyRequests(u32),
    #[error("{what} is too large: at most {limit} bytes")]
    TooLarge { what: &'static str, limit: usize },
    #[error("{0}")]
    Bad(String),
    #[error("this needs a WebSocket; connect with a LiveKit SDK, or look at /healthz")]
    NotWebSocket,
    #[error("the invitation is not valid or has expired; ask for a new link")]
    Invite,
    #[error("a terminal's token with a udid, or AppId and AppKey, are needed to invite")]
    MayNotInvite,
    #[error("the challenge was used, has expired or is another's; ask for a new one")]
    Challenge,
    #[error(
        "this service does not know the terminal by that key; register its Udid with the line that `rostrumd device-key` prints"
    )]
    Device,
    #[error("the terminal may not join that channel, or not as that user; change its registration")]
    DeviceElsewhere,
    #[error("that terminal is another application's; remove it there first")]
    OthersDevice,
    #[error("no terminal of that Udid is registered; /api/v1/devices lists them")]
    NoDevice,
    #[error("the service cannot keep that; look at its log")]
    Storage,
    #[error("unmuting others is not allowed here; they must unmute themselves, or set privacy.remote_unmute")]
    RemoteUnmute,
    #[error("the service is stopping; try again in a moment")]
    Stopping,
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Token(TokenError::OtherChannel | TokenError::NoJoin)
            | Self::MayNotInvite
            | Self::DeviceElsewhere
            | Self::RemoteUnmute => StatusCode::FORBIDDEN,
            Self::Token(_) | Self::Credentials | Self::Invite | Self::Challenge | Self::Device => {
                StatusCode::UNAUTHORIZED
            }
            Self::OthersDevice => StatusCode::CONFLICT,
            Self::NoDevice => StatusCode::NOT_FOUND,
            Self::Storage => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Name(_) | Self::Bad(_) | Self::NotWebSocket => StatusCode::BAD_REQUEST,
            Self::Join(JoinRefusal::Stopping | JoinRefusal::Moving) | Self::Stopping => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Join(_) => StatusCode::CONFLICT,
            Self::Manage(
                ManageError::OwnChannel
                | ManageError::UserTaken
                | ManageError::ChannelFull { .. }
                | ManageError::OtherThread
                | ManageError::TooManyMoved { .. },
            ) => StatusCode::CONFLICT,
            Self::Manage(ManageError::Change(_)) => StatusCode::BAD_REQUEST,
            Self::Manage(_) => StatusCode::NOT_FOUND,
            Self::Whip(refusal) => status_of_whip(refusal),
            Self::Fragment(FragmentError::TooMany { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Fragment(_) => StatusCode::BAD_REQUEST,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyRequests(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    /// What is wrong, and what to do: our messages have a semicolon or colon between the two.
    fn parts(&self) -> (String, String) {
        let text = self.to_string();
        match text.split_once("; ").or_else(|| text.split_once(": ")) {
            Some((error, hint)) => (error.to_string(), hint.to_string()),
            None => (text, String::new()),
        }
    }
}

/// RFC 9725 §4.1 to §4.5.
fn status_of_whip(refusal: &WhipRefusal) -> StatusCode {
    match refusal {
        WhipRefusal::Offer(_) => StatusCode::BAD_REQUEST,
        // Full or stopping: what RFC 9725 §4.5 has for that, so that the client tries again.
        WhipRefusal::Join(_) => StatusCode::SERVICE_UNAVAILABLE,
        WhipRefusal::NotAllowed(_) | WhipRefusal::Foreign => StatusCode::FORBIDDEN,
        WhipRefusal::Gone => StatusCode::NOT_FOUND,
        WhipRefusal::ConditionMissing => StatusCode::PRECONDITION_REQUIRED,
        WhipRefusal::ConditionFailed => StatusCode::PRECONDITION_FAILED,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// An error of the API.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiError {
    /// What is wrong.
    pub(super) error: String,
    /// What to do.
    pub(super) hint: String,
}

/// A [`Refusal`] as the API says it: JSON.
#[derive(Debug)]
pub(super) struct JsonRefusal(pub(super) Refusal);

impl<E: Into<Refusal>> From<E> for JsonRefusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for JsonRefusal {
    fn into_response(self) -> Response {
        let (error, hint) = self.0.parts();
        let mut response = (self.0.status(), Json(ApiError { error, hint })).into_response();
        challenge(&self.0, &mut response);
        response
    }
}

/// A [`Refusal`] in plain text.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.to_string()).into_response();
        challenge(&self, &mut response);
        response
    }
}

pub(super) fn challenge(refusal: &Refusal, response: &mut Response) {
    let (name, value) = match refusal {
        Refusal::Method(methods) => (header::ALLOW, *methods),
        Refusal::Credentials => (header::WWW_AUTHENTICATE, "Basic realm=\"channeld\""),
        Refusal::TooManyRequests(_) => (header::RETRY_AFTER, "1"),
        _ => return,
    };
    response.headers_mut().insert(name, header::HeaderValue::from_static(value));
}
