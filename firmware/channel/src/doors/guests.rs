//! Invites: a link for one channel, and the token that a guest gets for it.

use rostrum_rtc::names::{AppId, ChannelId};
use rostrum_rtc::token::{self, AppKey, TokenError};
use serde::{Deserialize, Serialize};
use url::Url;

/// What makes a signed text an invite and nothing else.
const KIND: &str = "rostrum-invite";

/// What an invite says, signed with the application's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Invite {
    /// The application.
    pub(super) iss: AppId,
    /// [`KIND`].
    kind: String,
    /// The channel that it lets into.
    pub(super) channel: ChannelId,
    /// Seconds since 1970 after which it does not.
    pub(super) exp: u64,
}

impl Invite {
    pub(super) fn new(app: AppId, channel: ChannelId, expires_at: u64) -> Self {
        Self { iss: app, kind: KIND.to_string(), channel, exp: expires_at }
    }

    pub(super) fn sign(&self, key: &AppKey) -> Result<String, TokenError> {
        token::sign(key, self)
    }

    /// Reads an invite; `None` when it is not one, was changed or has expired.
    pub(super) fn verify<'k>(
        text: &str,
        now: u64,
        key_of: impl Fn(&AppId) -> Option<&'k AppKey>,
    ) -> Option<Self> {
        let app = token::unverified_issuer(text).ok()?;
        let invite: Self = token::verify_signature(key_of(&app)?, text).ok()?;
        (invite.kind == KIND && invite.iss == app && now <= invite.exp).then_some(invite)
    }
}

/// The link of an invite.
pub(super) fn link(public_url: &Url, channel: &ChannelId, invite: &str) -> String {
    let mut link = public_url.clone();
    link.set_path(&format!("{}/guest", public_url.path().trim_end_matches('/')));
    link.query_pairs_mut().clear().append_pair("channel", channel.as_str()).append_pair("invite", invite);
    link.to_string()
}

/// The address for LiveKit SDKs: the public one as a WebSocket's.
pub(super) fn signalling_url(public_url: &Url) -> String {
    let text = public_url.as_str().trim_end_matches('/');
    match text.strip_prefix("http") {
        Some(rest) => format!("ws{rest}"),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn app() -> AppId {
        AppId::new("app").unwrap()
    }

    fn invite() -> Invite {
        Invite::new(app(), ChannelId::new("room").unwrap(), 1_000)
    }

    fn verify(text: &str, now: u64) -> Option<Invite> {
        let key = AppKey::new("key");
        Invite::verify(text, now, |id| (id.as_str() == "app").then_some(&key))
    }

    #[test]
    fn an_invite_works_until_it_expires() {
        let text = invite().sign(&AppKey::new("key")).unwrap();
        assert_eq!(verify(&text, 1_000), Some(invite()));
        assert_eq!(verify(&text, 1_001), None);
    }

    #[test]
    fn an_invite_of_another_key_or_kind_is_none() {
        assert_eq!(verify(&invite().sign(&AppKey::new("other")).unwrap(), 0), None);
        let other_kind = Invite { kind: "token".to_string(), ..invite() };
        assert_eq!(verify(&other_kind.sign(&AppKey::new("key")).unwrap(), 0), None);
    }

    #[test]
    fn an_invite_is_no_token() {
        let key = AppKey::new("key");
        let text = invite().sign(&key).unwrap();
        assert!(token::verify(&text, 0, |_| Some(&key)).is_err());
    }

    #[test]
    fn links_keep_the_public_path() {
        let room = ChannelId::new("room").unwrap();
        let base = Url::parse("https://example.org/meet/").unwrap();
        assert_eq!(link(&base, &room, "a.b"), "https://example.org/meet/guest?channel=room&invite=a.b");
        assert_eq!(signalling_url(&base), "wss://example.org/meet");
        let plain = Url::parse("http://127.0.0.1:7880").unwrap();
        assert_eq!(link(&plain, &room, "i"), "http://127.0.0.1:7880/guest?channel=room&invite=i");
        assert_eq!(signalling_url(&plain), "ws://127.0.0.1:7880");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            prop_assert_eq!(verify(&text, 0), None);
        }
    }
}
