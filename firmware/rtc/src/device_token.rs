//! Tokens for hardware terminals, which hold a key of their own and no AppKey.
//!
//! The terminal asks the service for a challenge, signs it together with what it wants ([`Claim`]), and gets a token:
//!
//! ```text
//! POST /api/v1/devices/{udid}/challenge                                      -> Challenge
//! POST /api/v1/devices/{udid}/token      TokenRequest                        -> Token
//! ```
//!
//! Neither end has to trust the terminal's clock. An operator's own token service speaks the same two calls.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier as _};
use serde::{Deserialize, Serialize};

use crate::names::{ChannelId, Udid, UserId};

/// First line of what is signed, so that it is nothing else.
const KIND: &str = "rostrum-device-token-1";

/// What the service wants signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Any text without line breaks, at most 256 bytes.
    pub challenge: String,
    /// Seconds for which it can be signed, once.
    pub expires_in_s: u64,
}

/// What a terminal sends for a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The service's challenge.
    pub challenge: String,
    /// The channel that the terminal joins.
    pub channel: ChannelId,
    /// Who it is in it.
    pub user: UserId,
    /// ECDSA signature (P-256, SHA-256, as r and s of 32 bytes each) of [`Claim::text`], base64url without padding.
    pub signature: String,
}

/// What the terminal gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// A JWT for that channel and user.
    pub token: String,
    /// Seconds for which it is valid.
    pub expires_in_s: u64,
}

/// What a terminal claims with its signature.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Who it is.
    pub udid: &'a Udid,
    /// What it wants to join.
    pub channel: &'a ChannelId,
    /// As whom.
    pub user: &'a UserId,
    /// What the service asked.
    pub challenge: &'a str,
}

impl Claim<'_> {
    /// The text that is signed: five lines. Names have no line breaks, so no two claims have the same text.
    pub fn text(&self) -> Vec<u8> {
        format!("{KIND}\n{}\n{}\n{}\n{}\n", self.udid, self.channel, self.user, self.challenge).into_bytes()
    }
}

/// What a terminal is known by: the public half of its key, as base64url of the compressed point (SEC 1 §2.3.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DevicePublicKey(VerifyingKey);

/// A text that is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is no public key of P-256; copy the whole line that `rostrumd device-key` prints")]
pub struct NoPublicKey;

impl DevicePublicKey {
    /// A key from its compressed or uncompressed point.
    ///
    /// # Errors
    /// [`NoPublicKey`] when it is no point of the curve.
    pub fn from_sec1(point: &[u8]) -> Result<Self, NoPublicKey> {
        VerifyingKey::from_sec1_bytes(point).map(Self).map_err(|_| NoPublicKey)
    }

    /// Whether the terminal of this key made the signature.
    pub fn signed(&self, claim: &Claim<'_>, signature: &str) -> bool {
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        Signature::from_slice(&bytes).is_ok_and(|signature| self.0.verify(&claim.text(), &signature).is_ok())
    }
}

impl TryFrom<String> for DevicePublicKey {
    type Error = NoPublicKey;

    fn try_from(text: String) -> Result<Self, NoPublicKey> {
        let point = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| NoPublicKey)?;
        Self::from_sec1(&point)
    }
}

impl From<DevicePublicKey> for String {
    fn from(key: DevicePublicKey) -> Self {
        key.to_string()
    }
}

impl std::fmt::Display for DevicePublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.to_encoded_point(true).as_bytes()))
    }
}

/// A signature as a [`TokenRequest`] has it, from r and s.
pub fn signature_text(signature: &[u8; 64]) -> String {
    URL_SAFE_NO_PAD.encode(signature)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use p256::ecdsa::{SigningKey, signature::Signer as _};
    use proptest::prelude::*;

    use super::*;

    fn names() -> (Udid, ChannelId, UserId) {
        (Udid::new("T-1").unwrap(), ChannelId::new("room").unwrap(), UserId::new("room-1").unwrap())
    }

    fn key() -> SigningKey {
        SigningKey::from_slice(&[7; 32]).unwrap()
    }

    fn public(key: &SigningKey) -> DevicePublicKey {
        DevicePublicKey::from_sec1(key.verifying_key().to_encoded_point(false).as_bytes()).unwrap()
    }

    fn sign(key: &SigningKey, claim: &Claim<'_>) -> String {
        let signature: Signature = key.sign(&claim.text());
        signature_text(&signature.to_bytes().into())
    }

    #[test]
    fn a_signature_is_for_one_claim_and_of_one_key() {
        let (udid, channel, user) = names();
        let claim = Claim { udid: &udid, channel: &channel, user: &user, challenge: "c" };
        let signature = sign(&key(), &claim);
        let known = public(&key());
        assert!(known.signed(&claim, &signature));
        let other = ChannelId::new("other").unwrap();
        assert!(!known.signed(&Claim { channel: &other, ..claim }, &signature));
        assert!(!known.signed(&Claim { challenge: "d", ..claim }, &signature));
        assert!(!public(&SigningKey::from_slice(&[8; 32]).unwrap()).signed(&claim, &signature));
    }

    #[test]
    fn a_public_key_is_a_short_line_and_the_same_when_read_again() {
        let line = public(&key()).to_string();
        assert_eq!(line.len(), 44);
        assert_eq!(DevicePublicKey::try_from(format!("{line}\n")).unwrap(), public(&key()));
        assert_eq!(
            DevicePublicKey::try_from(line.replace('A', "*")).err().or(Some(NoPublicKey)),
            Some(NoPublicKey)
        );
    }

    proptest! {
        #[test]
        fn no_text_is_a_key_or_a_signature_by_chance(text in "\\PC{0,120}") {
            let (udid, channel, user) = names();
            let claim = Claim { udid: &udid, channel: &channel, user: &user, challenge: "c" };
            prop_assert!(!public(&key()).signed(&claim, &text));
            prop_assert!(DevicePublicKey::try_from(text).is_err());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let (udid, channel, user) = names();
            let claim = Claim { udid: &udid, channel: &channel, user: &user, challenge: "c" };
            let _ = DevicePublicKey::from_sec1(&bytes);
            prop_assert!(!public(&key()).signed(&claim, &URL_SAFE_NO_PAD.encode(&bytes)));
        }
    }
}
