//! Tokens that are JWTs as LiveKit makes them.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::{
    AppKey, CLOCK_LEEWAY, Grants, Identity, MAX_TOKEN_LENGTH, TokenError, TokenRequest, UDID_ATTRIBUTE,
};
use crate::names::{AppId, ChannelId, DisplayName, UserId};

/// The claims of a JWT, as they stand in it (LiveKit's names).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<u64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(default)]
    pub(super) video: Grants,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) metadata: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) attributes: BTreeMap<String, String>,
}

/// Makes a JWT. `now` is seconds since 1970.
///
/// # Errors
/// [`TokenError::Signing`] when the claims cannot be encoded.
pub fn mint_jwt(app: &AppId, key: &AppKey, request: &TokenRequest, now: u64) -> Result<String, TokenError> {
    let mut grants = request.grants.clone();
    grants.room_join = true;
    grants.room = request.channel.to_string();
    let mut attributes = request.attributes.clone();
    if let Some(udid) = &request.udid {
        attributes.insert(UDID_ATTRIBUTE.to_string(), udid.clone());
    }
    let claims = Claims {
        iss: app.to_string(),
        sub: request.user.to_string(),
        exp: now.saturating_add(request.ttl.as_secs()),
        nbf: Some(now),
        name: request.name.as_ref().map(ToString::to_string).unwrap_or_default(),
        video: grants,
        metadata: request.metadata.clone(),
        attributes,
    };
    sign(key, &claims)
}

/// Makes the token that a participant gets in a meeting so that it can come back later: the same
/// rights as `identity`, valid for `ttl` from `now` (seconds since 1970).
///
/// # Errors
/// [`TokenError::Signing`] when the claims cannot be encoded.
pub fn refresh_jwt(key: &AppKey, identity: &Identity, now: u64, ttl: Duration) -> Result<String, TokenError> {
    let request = TokenRequest {
        channel: identity.channel.clone(),
        user: identity.user.clone(),
        name: identity.name.clone(),
        udid: identity.udid.clone(),
        grants: identity.grants.clone(),
        metadata: identity.metadata.clone(),
        attributes: identity.attributes.clone(),
        ttl,
    };
    mint_jwt(&identity.app, key, &request, now)
}

/// Signs any claims with an AppKey (HS256); for tickets of the service itself, such as invites.
///
/// # Errors
/// [`TokenError::Signing`] when the claims cannot be encoded.
pub fn sign<C: Serialize>(key: &AppKey, claims: &C) -> Result<String, TokenError> {
    jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        claims,
        &EncodingKey::from_secret(key.expose().as_bytes()),
    )
    .map_err(|error| TokenError::Signing(error.to_string()))
}

/// The claims of what [`sign`] made, with the signature checked and nothing else.
///
/// # Errors
/// [`TokenError::Signature`] or [`TokenError::Malformed`].
pub fn verify_signature<C: serde::de::DeserializeOwned + Clone>(
    key: &AppKey,
    token: &str,
) -> Result<C, TokenError> {
    // Times are checked by the callers, whose `now` is an argument.
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<C>(token, &DecodingKey::from_secret(key.expose().as_bytes()), &validation)
        .map(|data| data.claims)
        .map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenError::Signature,
            _ => TokenError::Malformed,
        })
}

/// The `iss` claim of a JWT that is not verified yet: whose key to verify it with.
///
/// # Errors
/// [`TokenError::Malformed`] when it is not a JWT, [`TokenError::Name`] when the AppId is bad.
pub fn unverified_issuer(token: &str) -> Result<AppId, TokenError> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    if token.len() > MAX_TOKEN_LENGTH {
        return Err(TokenError::Malformed);
    }
    let payload = token.split('.').nth(1).ok_or(TokenError::Malformed)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).map_err(|_| TokenError::Malformed)?;
    let issuer: Issuer = serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)?;
    Ok(AppId::new(issuer.iss)?)
}

pub(super) fn verify_jwt<'k>(
    token: &str,
    now: Option<u64>,
    key_of: impl Fn(&AppId) -> Option<&'k AppKey>,
) -> Result<Identity, TokenError> {
    let app = unverified_issuer(token)?;
    let key = key_of(&app).ok_or(TokenError::UnknownApp)?;
    let claims: Claims = verify_signature(key, token)?;
    if now.is_some_and(|now| now > claims.exp.saturating_add(CLOCK_LEEWAY.as_secs())) {
        return Err(TokenError::Expired);
    }
    let early = |nbf| now.is_some_and(|now| nbf > now.saturating_add(CLOCK_LEEWAY.as_secs()));
    if claims.nbf.is_some_and(early) {
        return Err(TokenError::NotYetValid);
    }
    if !claims.video.room_join {
        return Err(TokenError::NoJoin);
    }
    let channel = ChannelId::new(claims.video.room.clone())?;
    let user = UserId::new(claims.sub)?;
    let name = if claims.name.is_empty() { None } else { Some(DisplayName::new(claims.name)?) };
    let udid = claims.attributes.get(UDID_ATTRIBUTE).filter(|udid| !udid.is_empty()).cloned();
    Ok(Identity {
        app,
        channel,
        user,
        name,
        udid,
        grants: claims.video,
        metadata: claims.metadata,
        attributes: claims.attributes,
        expires_at: claims.exp,
    })
}
