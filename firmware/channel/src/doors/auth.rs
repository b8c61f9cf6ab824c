//! Who asks: tokens of participants, and AppId with AppKey of applications.

use std::time::Instant;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rostrum_rtc::names::AppId;
use rostrum_rtc::token::{self, Identity, TokenError};

use super::Doors;
use super::errors::Refusal;
use crate::media_thread::unix_time;

/// The token of a request: `Authorization: Bearer ...`, else `access_token`.
pub(super) fn token_of<'a>(headers: &'a HeaderMap, query_token: Option<&'a str>) -> Option<&'a str> {
    bearer(headers).or(query_token).filter(|token| !token.is_empty())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// AppId and AppKey of a Basic authorization (RFC 7617), unverified.
fn basic(headers: &HeaderMap) -> Option<(AppId, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (app, key) = decoded.split_once(':')?;
    Some((AppId::new(app).ok()?, key.to_string()))
}

impl Doors {
    /// Who a token is for. Counts against the rate of its application.
    pub(super) fn identify(
        &self,
        headers: &HeaderMap,
        query_token: Option<&str>,
    ) -> Result<Identity, Refusal> {
        let now = unix_time().as_secs();
        self.identity(headers, query_token, |token| token::verify(token, now, |app| self.config.key_of(app)))
    }

    /// Who a token is for that let somebody in already, so that its time does not matter any more. Counts as well.
    pub(super) fn identify_whenever(&self, headers: &HeaderMap) -> Result<Identity, Refusal> {
        self.identity(headers, None, |token| token::verify_whenever(token, |app| self.config.key_of(app)))
    }

    fn identity(
        &self,
        headers: &HeaderMap,
        query_token: Option<&str>,
        verify: impl Fn(&str) -> Result<Identity, TokenError>,
    ) -> Result<Identity, Refusal> {
        let verified = token_of(headers, query_token).ok_or(TokenError::Missing).and_then(verify);
        self.limit(verified.as_ref().ok().map(|identity| &identity.app))?;
        Ok(verified?)
    }

    /// Which application asks. Counts against its rate.
    pub(super) fn application(&self, headers: &HeaderMap) -> Result<AppId, Refusal> {
        let verified = basic(headers)
            .filter(|(app, key)| self.config.key_of(app).is_some_and(|known| known.matches(key)))
            .map(|(app, _)| app);
        self.limit(verified.as_ref())?;
        verified.ok_or(Refusal::Credentials)
    }

    /// Whether the request has an application's credentials, right or wrong.
    pub(super) fn is_application(headers: &HeaderMap) -> bool {
        basic(headers).is_some()
    }

    /// Lets a request through, or says that there were too many.
    pub(super) fn limit(&self, app: Option<&AppId>) -> Result<(), Refusal> {
        let bucket = app.and_then(|app| self.buckets.get(app)).unwrap_or(&*self.strangers);
        if bucket.lock().take(Instant::now()) {
            Ok(())
        } else {
            Err(Refusal::TooManyRequests(self.config.limits.requests_per_second))
        }
    }
}
