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

mod grants;
mod hashed;
mod jwt;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

pub use grants::{Grants, SOURCES};
pub use hashed::{hash, mint_hashed};
pub use jwt::{mint_jwt, refresh_jwt, sign, unverified_issuer, verify_signature};

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
        Some(rest) => hashed::verify_hashed(rest, now, key_of),
        None => jwt::verify_jwt(token, now, key_of),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::jwt::Claims;
    use super::*;

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
