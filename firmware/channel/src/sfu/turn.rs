//! Credentials of the TURN servers that terminals may use: coturn's `use-auth-secret`
//! (draft-uberti-behave-turn-rest-00 §2.2).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use livekit_protocol::IceServer;
use sha1::Sha1;

use crate::config::Turn;

/// The servers with credentials for one user; `now` is the time since 1970. The user's name is the end of the
/// credentials' life and who it is, its password is the name signed with the secret that we share with the servers.
pub(super) fn servers(turn: &Turn, user: &str, now: Duration) -> Vec<IceServer> {
    if turn.urls.is_empty() {
        return Vec::new();
    }
    let username = format!("{}:{user}", (now + turn.ttl()).as_secs());
    // A key of any length is one for HMAC.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(turn.secret.expose().as_bytes()) else {
        return Vec::new();
    };
    mac.update(username.as_bytes());
    let credential = STANDARD.encode(mac.finalize().into_bytes());
    vec![IceServer { urls: turn.urls.clone(), username, credential }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_what_coturn_computes() {
        let turn = Turn { urls: vec!["turn:t".into()], secret: "hush".to_string().into(), ttl_hours: 12 };
        let servers = servers(&turn, "ann", Duration::from_secs(1_700_000_000));
        assert_eq!(servers.len(), 1);
        assert_eq!(servers[0].username, "1700043200:ann");
        // printf 1700043200:ann | openssl dgst -sha1 -hmac hush -binary | base64
        assert_eq!(servers[0].credential, "grqUbuL7ho/juY9nudJUvnDhu2o=");
    }

    #[test]
    fn without_a_server_nothing_is_told() {
        assert!(servers(&Turn::default(), "ann", Duration::from_secs(1)).is_empty());
    }
}
