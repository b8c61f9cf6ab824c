//! Hashed tokens, which an application's own backend makes without a library.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{AppKey, CLOCK_LEEWAY, Grants, Identity, MAX_NONCE_LENGTH, TokenError};
use crate::names::{AppId, ChannelId, UserId};

/// The hash of the hashed token, in hex: sha256(AppId + AppKey + ChannelId + UserId + Nonce +
/// Timestamp), `expires_at` in seconds since 1970.
pub fn hash(
    app: &AppId,
    key: &AppKey,
    channel: &ChannelId,
    user: &UserId,
    nonce: &str,
    expires_at: u64,
) -> String {
    let mut sha = Sha256::new();
    for part in [app.as_str(), key.expose(), channel.as_str(), user.as_str(), nonce] {
        sha.update(part.as_bytes());
    }
    sha.update(expires_at.to_string().as_bytes());
    hex::encode(sha.finalize())
}

/// Makes a hashed token; `expires_at` in seconds since 1970, `nonce` may be empty.
///
/// # Errors
/// [`TokenError::Nonce`] when the nonce is too long or has characters that a token cannot hold.
pub fn mint_hashed(
    app: &AppId,
    key: &AppKey,
    channel: &ChannelId,
    user: &UserId,
    nonce: &str,
    expires_at: u64,
) -> Result<String, TokenError> {
    check_nonce(nonce)?;
    let hash = hash(app, key, channel, user, nonce, expires_at);
    Ok(format!("h1.{app}.{channel}.{user}.{nonce}.{expires_at}.{hash}"))
}

fn check_nonce(nonce: &str) -> Result<(), TokenError> {
    let valid = nonce.len() <= MAX_NONCE_LENGTH
        && nonce.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if valid { Ok(()) } else { Err(TokenError::Nonce) }
}

pub(super) fn verify_hashed<'k>(
    rest: &str,
    now: Option<u64>,
    key_of: impl Fn(&AppId) -> Option<&'k AppKey>,
) -> Result<Identity, TokenError> {
    let parts: Vec<&str> = rest.split('.').collect();
    let [app, channel, user, nonce, timestamp, given] = parts[..] else {
        return Err(TokenError::Malformed);
    };
    let app = AppId::new(app)?;
    let channel = ChannelId::new(channel)?;
    let user = UserId::new(user)?;
    check_nonce(nonce)?;
    let expires_at: u64 = timestamp.parse().map_err(|_| TokenError::Malformed)?;
    // A digit of the nonce must not become the first of the time: ten digits are enough until 2286.
    if expires_at.to_string() != timestamp || timestamp.len() > 10 {
        return Err(TokenError::Malformed);
    }
    let key = key_of(&app).ok_or(TokenError::UnknownApp)?;
    let wanted = hash(&app, key, &channel, &user, nonce, expires_at);
    if !bool::from(wanted.as_bytes().ct_eq(given.to_ascii_lowercase().as_bytes())) {
        return Err(TokenError::Signature);
    }
    if now.is_some_and(|now| now > expires_at.saturating_add(CLOCK_LEEWAY.as_secs())) {
        return Err(TokenError::Expired);
    }
    Ok(Identity {
        app,
        grants: Grants::participant(&channel),
        channel,
        user,
        name: None,
        udid: None,
        metadata: String::new(),
        attributes: BTreeMap::new(),
        expires_at,
    })
}
