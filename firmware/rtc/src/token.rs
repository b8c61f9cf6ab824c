//! Tokens: who may join which channel, as what. Minted by the service (or an application's own
//! backend), carried by terminals and guests, verified at every door of the service.
//!
//! Two kinds, both strings that fit wherever a token is asked for:
//! - JWT as LiveKit makes them (HS256; `iss` = AppId, `sub` = UserId, `video.room` = ChannelId);
//! - the hashed token `h1.<AppId>.<ChannelId>.<UserId>.<Nonce>.<Timestamp>.<hex>` where
//!   hex = sha256(AppId + AppKey + ChannelId + UserId + Nonce + Timestamp) and Timestamp is the
//!   expiry in seconds since 1970. It carries all rights of a participant and no name.
//!
//! Time is an argument everywhere. No error and no `Debug` shows a token or a key.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::names::{AppId, ChannelId, DisplayName, NameError, UserId};

/// The longest token a door reads, in bytes. Longer ones are refused before they are parsed.
pub const MAX_TOKEN_LENGTH: usize = 16 * 1024;
/// The longest nonce of a hashed token, in characters.
pub const MAX_NONCE_LENGTH: usize = 64;
/// The participant attribute that holds a hardware terminal's Udid.
pub const UDID_ATTRIBUTE: &str = "udid";
/// Clocks of two machines may differ by this much before a token counts as expired or too early.
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(10);

/// The secret of an application. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppKey(String);

impl AppKey {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself; for signing only, never for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `other` is this secret, in constant time.
    pub fn matches(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppKey(..)")
    }
}

/// What the holder of a token may do: the `video` claim of LiveKit's tokens. Absent rights mean
/// what they mean there: publish, subscribe and data are allowed unless said otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Grants {
    /// May join [`Grants::room`].
    #[serde(skip_serializing_if = "is_default")]
    pub room_join: bool,
    /// The channel, by its ChannelId.
    #[serde(skip_serializing_if = "is_default")]
    pub room: String,
    /// May manage the channel (mute and remove others, list).
    #[serde(skip_serializing_if = "is_default")]
    pub room_admin: bool,
    /// May publish tracks; absent = yes.
    #[serde(skip_serializing_if = "is_default")]
    pub can_publish: Option<bool>,
    /// May subscribe to tracks; absent = yes.
    #[serde(skip_serializing_if = "is_default")]
    pub can_subscribe: Option<bool>,
    /// May send data; absent = as `can_publish`.
    #[serde(skip_serializing_if = "is_default")]
    pub can_publish_data: Option<bool>,
    /// When not empty, only these sources may be published (`camera`, `microphone`,
    /// `screen_share`, `screen_share_audio`).
    #[serde(skip_serializing_if = "is_default")]
    pub can_publish_sources: Vec<String>,
    /// May change its own name, metadata and attributes; absent = no.
    #[serde(skip_serializing_if = "is_default")]
    pub can_update_own_metadata: Option<bool>,
    /// Others do not see it.
    #[serde(skip_serializing_if = "is_default")]
    pub hidden: bool,
    /// It records the channel.
    #[serde(skip_serializing_if = "is_default")]
    pub recorder: bool,
    /// It is a program that takes part by itself.
    #[serde(skip_serializing_if = "is_default")]
    pub agent: bool,
}

/// What a source of tracks is called in [`Grants::can_publish_sources`].
pub const SOURCES: [&str; 4] = ["camera", "microphone", "screen_share", "screen_share_audio"];

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Grants {
    /// The grants of an ordinary participant of `channel`: join, publish, subscribe, data, and
    /// its own metadata.
    pub fn participant(channel: &ChannelId) -> Self {
        Self {
            room_join: true,
            room: channel.to_string(),
            can_update_own_metadata: Some(true),
            ..Self::default()
        }
    }

    /// Whether tracks may be published.
    pub fn may_publish(&self) -> bool {
        self.can_publish.unwrap_or(true)
    }

    /// Whether tracks from a source (one of [`SOURCES`], or `unknown`) may be published. Those whom others do
    /// not see publish nothing: nobody could tell whose it is.
    pub fn may_publish_source(&self, source: &str) -> bool {
        let sources = &self.can_publish_sources;
        self.may_publish()
            && !self.hidden
            && (sources.is_empty() || sources.iter().any(|allowed| allowed.eq_ignore_ascii_case(source)))
    }

    /// Whether tracks may be subscribed to.
    pub fn may_subscribe(&self) -> bool {
        self.can_subscribe.unwrap_or(true)
    }

    /// Whether data may be sent.
    pub fn may_publish_data(&self) -> bool {
        self.can_publish_data.unwrap_or_else(|| self.may_publish())
    }

    /// Whether the participant may change its own name, metadata and attributes.
    pub fn may_update_own_metadata(&self) -> bool {
        self.can_update_own_metadata.unwrap_or(false)
    }
}

/// The claims of a JWT, as they stand in it (LiveKit's names).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default)]
    video: Grants,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    metadata: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
}

/// A verified token: who may join what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The application whose key signed it.
    pub app: AppId,
    /// The channel it is for.
    pub channel: ChannelId,
    /// Who it is for.
    pub user: UserId,
    /// The name that others see, when the token carries one.
    pub name: Option<DisplayName>,
    /// The hardware terminal, when the token was given to one.
    pub udid: Option<String>,
    /// What it may do.
    pub grants: Grants,
    /// Free text of the application.
    pub metadata: String,
    /// All participant attributes, `udid` included.
    pub attributes: BTreeMap<String, String>,
    /// Seconds since 1970 after which it is refused.
    pub expires_at: u64,
}

/// What goes into a JWT to be minted.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// The channel it is for.
    pub channel: ChannelId,
    /// Who it is for.
    pub user: UserId,
    /// The name that others see.
    pub name: Option<DisplayName>,
    /// The hardware terminal's Udid.
    pub udid: Option<String>,
    /// What it may do; [`Grants::participant`] for ordinary ones. `room` and `room_join` are set
    /// by [`mint_jwt`].
    pub grants: Grants,
    /// Free text of the application.
    pub metadata: String,
    /// More participant attributes.
    pub attributes: BTreeMap<String, String>,
    /// How long it is valid.
    pub ttl: Duration,
}

impl TokenRequest {
    /// An ordinary participant's token for `ttl`.
    pub fn participant(channel: ChannelId, user: UserId, ttl: Duration) -> Self {
        let grants = Grants::participant(&channel);
        Self {
            channel,
            user,
            name: None,
            udid: None,
            grants,
            metadata: String::new(),
            attributes: BTreeMap::new(),
            ttl,
        }
    }
}

/// Why a token was refused. Messages say what to do and never repeat the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Neither header nor query carried one.
    #[error("no token given; send it as `Authorization: Bearer ...` or as `access_token`")]
    Missing,
    /// Not a token at all.
    #[error("the token is not a JWT and not a hashed token (`h1....`); ask the service for a new one")]
    Malformed,
    /// The AppId is not in the service's configuration.
    #[error("the token's AppId is not known here; check the AppId, or add it to `apps` of the service")]
    UnknownApp,
    /// The signature does not fit.
    #[error("the token's signature is wrong; it was made with another AppKey, or changed on its way")]
    Signature,
    /// Too late.
    #[error("the token has expired; ask for a new one (and check this machine's clock)")]
    Expired,
    /// Too early.
    #[error("the token is not valid yet; check the clocks of the machine that made it and of this one")]
    NotYetValid,
    /// A name in it is bad.
    #[error("the token names a bad {0}")]
    Name(#[from] NameError),
    /// It is for another channel than the one asked for.
    #[error("the token is for another channel; ask for one for this channel")]
    OtherChannel,
    /// It is valid, but does not let its holder join.
    #[error("the token does not allow joining a channel; it needs `video.roomJoin` and `video.room`")]
    NoJoin,
    /// A nonce with a character that cannot be in a hashed token, or too long.
    #[error("the nonce may have at most 64 letters, digits, '_' and '-'")]
    Nonce,
    /// It could not be signed.
    #[error("the token could not be signed: {0}")]
    Signing(String),
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

/// Verifies a token of either kind. `key_of` finds an application's key; `now` is seconds since 1970.
///
/// # Errors
/// The [`TokenError`] that says why it is refused. Signatures are checked before anything else
/// that the token says is believed.
pub fn verify<'k>(
    token: &str,
    now: u64,
    key_of: impl Fn(&AppId) -> Option<&'k AppKey>,
) -> Result<Identity, TokenError> {
    verify_at(token, Some(now), key_of)
}

/// Verifies all of a token but its time: for changes to what its holder began while it was valid.
///
/// # Errors
/// As [`verify`], but neither [`TokenError::Expired`] nor [`TokenError::NotYetValid`].
pub fn verify_whenever<'k>(
    token: &str,
    key_of: impl Fn(&AppId) -> Option<&'k AppKey>,
) -> Result<Identity, TokenError> {
    verify_at(token, None, key_of)
}

fn verify_at<'k>(
    token: &str,
    now: Option<u64>,
    key_of: impl Fn(&AppId) -> Option<&'k AppKey>,
) -> Result<Identity, TokenError> {
    if token.is_empty() {
        return Err(TokenError::Missing);
    }
    if token.len() > MAX_TOKEN_LENGTH {
        return Err(TokenError::Malformed);
    }
    match token.strip_prefix("h1.") {
        Some(rest) => verify_hashed(rest, now, key_of),
        None => verify_jwt(token, now, key_of),
    }
}

fn verify_hashed<'k>(
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

fn verify_jwt<'k>(
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_700_000_000;

    fn app() -> AppId {
        AppId::new("abc").unwrap()
    }

    fn key() -> AppKey {
        AppKey::new("abckey")
    }

    fn request() -> TokenRequest {
        TokenRequest::participant(
            ChannelId::new("room").unwrap(),
            UserId::new("ann").unwrap(),
            Duration::from_secs(600),
        )
    }

    fn check(token: &str, now: u64) -> Result<Identity, TokenError> {
        let key = key();
        verify(token, now, |id| (id.as_str() == "abc").then_some(&key))
    }

    #[test]
    fn the_hash_is_the_designs_test_vector() {
        let hash = hash(
            &app(),
            &key(),
            &ChannelId::new("abcChannel").unwrap(),
            &UserId::new("abcUser").unwrap(),
            "",
            1_699_423_634,
        );
        assert_eq!(hash, "3c9ee8d9f8734f0b7560ed8022a0590659113955819724fc9345ab8eedf84f31");
    }

    #[test]
    fn a_hashed_token_with_an_empty_nonce_is_taken() {
        let channel = ChannelId::new("abcChannel").unwrap();
        let user = UserId::new("abcUser").unwrap();
        let token = mint_hashed(&app(), &key(), &channel, &user, "", 1_699_423_634).unwrap();
        let identity = check(&token, 1_699_423_000).unwrap();
        assert_eq!(identity.channel, channel);
        assert_eq!(identity.user, user);
        assert!(identity.grants.may_publish() && identity.grants.may_subscribe());
    }

    #[test]
    fn a_hashed_token_that_was_changed_is_refused() {
        let channel = ChannelId::new("c").unwrap();
        let token = mint_hashed(&app(), &key(), &channel, &UserId::new("u").unwrap(), "n", NOW).unwrap();
        assert_eq!(check(&token, NOW + 60), Err(TokenError::Expired));
        assert_eq!(check(&token.replace(".u.", ".v."), NOW), Err(TokenError::Signature));
        assert_eq!(check(&token.replace("h1.abc.", "h1.abd."), NOW), Err(TokenError::UnknownApp));
        assert!(matches!(check(&token.replace(".c.", ".c d."), NOW), Err(TokenError::Name(_))));
        assert_eq!(check(&format!("{token}.x"), NOW), Err(TokenError::Malformed));
    }

    #[test]
    fn what_began_in_time_is_changed_whenever_but_by_the_same_holder_only() {
        let key = key();
        let whenever = |token: &str| verify_whenever(token, |id| (id.as_str() == "abc").then_some(&key));
        let jwt = mint_jwt(&app(), &key, &request(), NOW).unwrap();
        let (channel, user) = (ChannelId::new("room").unwrap(), UserId::new("ann").unwrap());
        let hashed = mint_hashed(&app(), &key, &channel, &user, "n", NOW).unwrap();
        for token in [jwt, hashed] {
            assert_eq!(check(&token, NOW + 3600), Err(TokenError::Expired));
            assert_eq!(whenever(&token).unwrap().user, user);
        }
        let foreign = mint_jwt(&app(), &AppKey::new("other"), &request(), NOW).unwrap();
        assert_eq!(whenever(&foreign), Err(TokenError::Signature));
    }

    #[test]
    fn a_digit_of_the_nonce_cannot_prolong_a_hashed_token() {
        let (channel, user) = (ChannelId::new("c").unwrap(), UserId::new("u").unwrap());
        let token = mint_hashed(&app(), &key(), &channel, &user, "n9", NOW).unwrap();
        assert!(check(&token, NOW).is_ok());
        assert_eq!(check(&token.replace(".n9.", ".n.9"), NOW + 60), Err(TokenError::Malformed));
    }

    #[test]
    fn a_jwt_carries_name_udid_and_grants() {
        let mut wanted = request();
        wanted.name = Some(DisplayName::new("Ann").unwrap());
        wanted.udid = Some("board-7".to_string());
        wanted.grants.can_publish_sources = vec!["camera".to_string()];
        let identity = check(&mint_jwt(&app(), &key(), &wanted, NOW).unwrap(), NOW).unwrap();
        assert_eq!(identity.name.unwrap().as_str(), "Ann");
        assert_eq!(identity.udid.as_deref(), Some("board-7"));
        assert_eq!(identity.grants.can_publish_sources, ["camera"]);
        assert_eq!(identity.expires_at, NOW + 600);
    }

    #[test]
    fn wrong_expired_early_and_foreign_jwts_are_refused_for_that_reason() {
        let token = mint_jwt(&app(), &key(), &request(), NOW).unwrap();
        assert_eq!(check(&token, NOW + 611), Err(TokenError::Expired));
        assert_eq!(check(&token, NOW - 11), Err(TokenError::NotYetValid));
        let other = mint_jwt(&app(), &AppKey::new("otherkey"), &request(), NOW).unwrap();
        assert_eq!(check(&other, NOW), Err(TokenError::Signature));
        let unknown = mint_jwt(&AppId::new("zzz").unwrap(), &key(), &request(), NOW).unwrap();
        assert_eq!(check(&unknown, NOW), Err(TokenError::UnknownApp));
        assert_eq!(check("", NOW), Err(TokenError::Missing));
        assert_eq!(check("rubbish", NOW), Err(TokenError::Malformed));
    }

    #[test]
    fn a_jwt_without_join_or_with_a_bad_name_is_refused() {
        let claims = |sub: &str, room: &str, join: bool| Claims {
            iss: "abc".into(),
            sub: sub.into(),
            exp: NOW + 60,
            video: Grants { room_join: join, room: room.into(), ..Grants::default() },
            ..Claims::default()
        };
        let check = |claims| check(&sign(&key(), &claims).unwrap(), NOW);
        assert_eq!(check(claims("ann", "room", false)), Err(TokenError::NoJoin));
        assert!(matches!(check(claims("an n", "room", true)), Err(TokenError::Name(_))));
        assert!(matches!(check(claims("ann", "ro/om", true)), Err(TokenError::Name(_))));
        assert!(check(claims("ann", "room", true)).is_ok());
    }

    #[test]
    fn an_unsigned_jwt_is_refused() {
        let body = URL_SAFE_NO_PAD.encode(format!(
            r#"{{"iss":"abc","sub":"ann","exp":{},"video":{{"roomJoin":true,"room":"r"}}}}"#,
            NOW + 60
        ));
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        assert!(check(&format!("{head}.{body}."), NOW).is_err());
    }

    #[test]
    fn sources_narrow_what_may_be_published_and_never_widen_it() {
        let mut grants = Grants { can_publish_sources: vec!["Camera".to_string()], ..Grants::default() };
        assert!(grants.may_publish_source("camera") && !grants.may_publish_source("microphone"));
        grants.hidden = true;
        assert!(!grants.may_publish_source("camera"), "nobody sees whose it is");
        grants.hidden = false;
        grants.can_publish = Some(false);
        assert!(!grants.may_publish_source("camera"));
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", key()), "AppKey(..)");
    }

    proptest! {
        #[test]
        fn no_text_panics_or_is_believed(text in "\\PC{0,200}") {
            prop_assert!(check(&text, NOW).is_err());
            let hashed = format!("h1.{text}");
            prop_assert!(check(&hashed, NOW).is_err());
        }

        #[test]
        fn whatever_is_minted_is_verified(channel in "[A-Za-z0-9_-]{1,64}", user in "[A-Za-z0-9_-]{1,64}",
                                          nonce in "[A-Za-z0-9_-]{0,64}") {
            let (channel, user) = (ChannelId::new(channel).unwrap(), UserId::new(user).unwrap());
            let hashed = mint_hashed(&app(), &key(), &channel, &user, &nonce, NOW).unwrap();
            let identity = check(&hashed, NOW).unwrap();
            prop_assert_eq!(&identity.channel, &channel);
            let wanted = TokenRequest::participant(channel, user, Duration::from_secs(60));
            let jwt = mint_jwt(&app(), &key(), &wanted, NOW).unwrap();
            prop_assert_eq!(check(&jwt, NOW).unwrap().user, wanted.user);
        }
    }
}
