//! The two doors in front of the interface: same site, and logged in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::limiter::TryLimiter;
use super::origin::{self, Foreign};
use super::password::PasswordStore;
use super::sessions::Sessions;
use crate::Shared;
use crate::error::{ApiError, ApiResult};
use crate::serve::Serving;

const COOKIE: &str = "rostrum_session";

/// Everything that decides who may.
pub(crate) struct Gate {
    /// What the configuration says; a socket that is not on loopback needs a password in any case.
    pub(crate) needs_password: bool,
    /// Names of this device, in lower case.
    pub(crate) names: Vec<String>,
    pub(crate) password: PasswordStore,
    sessions: Mutex<Sessions>,
    tries: Mutex<TryLimiter>,
    /// One hash at a time: each takes 19 MiB.
    hashing: Semaphore,
}

impl Gate {
    pub(crate) fn new(needs_password: bool, names: &[String], password: PasswordStore) -> Self {
        Self {
            needs_password,
            names: names.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect(),
            password,
            sessions: Mutex::default(),
            tries: Mutex::default(),
            hashing: Semaphore::new(1),
        }
    }

    /// Whether `token` is of a session.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.sessions.lock().touch(Instant::now(), token)
    }

    /// Sets the first password and starts a session.
    pub(crate) async fn set_password(&self, peer: IpAddr, password: String) -> ApiResult<String> {
        let store = self.password.clone();
        let set = self.hash(peer, move || store.set(&password)).await?;
        if !set {
            return Err(already_set());
        }
        log::info!("the panel's password was set");
        Ok(self.open(peer))
    }

    /// Starts a session for who knows the password.
    pub(crate) async fn log_in(&self, peer: IpAddr, password: String) -> ApiResult<String> {
        let store = self.password.clone();
        let right = self.hash(peer, move || store.verify(&password)).await?;
        if !right {
            log::warn!(peer:%; "somebody tried a wrong password at the panel");
            return Err(wrong_password());
        }
        Ok(self.open(peer))
    }

    /// Ends a session.
    pub(crate) fn log_out(&self, token: &str) {
        self.sessions.lock().close(token);
    }

    fn open(&self, peer: IpAddr) -> String {
        self.tries.lock().succeeded(peer);
        let mut randomness = [0; 32];
        rand::fill(&mut randomness);
        self.sessions.lock().open(Instant::now(), randomness)
    }

    async fn hash<F>(&self, peer: IpAddr, work: F) -> ApiResult<bool>
    where
        F: FnOnce() -> Result<bool, crate::PanelError> + Send + 'static,
    {
        self.tries.lock().start(Instant::now(), peer).map_err(ApiError::too_many_tries)?;
        let _turn = self.hashing.acquire().await.map_err(|_| ApiError::not_ready())?;
        Ok(tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::not_ready())??)
    }
}

fn already_set() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "password_already_set",
        "This terminal has a password.",
        "Log in with it; who lost it removes the password file on the device.",
    )
}

fn wrong_password() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "wrong_password", "The password is wrong.", "Try again.")
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Its address; `0.0.0.0` when there is no socket under the router.
    pub(crate) peer: IpAddr,
    /// Its session's token, known or not.
    pub(crate) token: Option<String>,
    /// A password is needed where this request came in.
    pub(crate) needs_password: bool,
}

impl Caller {
    fn of(shared: &Shared, parts: &Parts) -> Self {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let serving = parts.extensions.get::<Serving>();
        Self {
            peer: peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip()),
            token: token_of(&parts.headers),
            needs_password: shared.gate.needs_password || serving.is_some_and(|s| !s.on_loopback),
        }
    }

    /// May use everything.
    pub(crate) fn is_welcome(&self, gate: &Gate) -> bool {
        !self.needs_password || self.token.as_deref().is_some_and(|token| gate.knows(token))
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Self::Rejection> {
        Ok(Self::of(shared, parts))
    }
}

/// The session's token in the cookies (RFC 6265 §4.2).
pub(crate) fn token_of(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, token)| token.to_owned())
}

/// The cookie that keeps `token`, or with an empty one forgets it. No `Secure`: the device itself speaks plain HTTP.
pub(crate) fn cookie(token: &str) -> String {
    let age = if token.is_empty() { 0 } else { super::LIFETIME.as_secs() };
    format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}")
}

/// Middleware: refuses what a page of another site made a browser send.
pub(crate) async fn require_same_site(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    match origin::check(request.method(), request.uri(), request.headers(), &shared.gate.names) {
        Ok(()) => next.run(request).await,
        Err(Foreign::Host) => ApiError::forbidden(
            "This terminal does not go by that name.",
            "Open it by its address, or add the name to panel.names in its configuration.",
        )
        .into_response(),
        Err(Foreign::Origin) => ApiError::forbidden(
            "A page of another site cannot use this terminal.",
            "Open the terminal's own page.",
        )
        .into_response(),
    }
}

/// Middleware: refuses who is not logged in where that is needed.
pub(crate) async fn require_login(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if Caller::of(&shared, &parts).is_welcome(&shared.gate) {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let (code, message, hint) = if shared.gate.password.is_set() {
        ("login_required", "This terminal asks for its password.", "Log in at /api/v1/session.")
    } else {
        ("password_not_set", "This terminal has no password yet.", "Set one at /api/v1/password.")
    };
    ApiError::new(StatusCode::UNAUTHORIZED, code, message, hint).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_token_is_found_among_other_cookies() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "theme=dark; rostrum_session=abc".parse().unwrap());
        assert_eq!(token_of(&headers).unwrap(), "abc");
        headers.clear();
        headers.append(header::COOKIE, "not_rostrum_session=abc; ;=;".parse().unwrap());
        assert_eq!(token_of(&headers), None);
    }
}
