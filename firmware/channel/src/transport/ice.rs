//! ICE as a lite agent (RFC 8445 §2.5): we answer connectivity checks and never make any.

use rand::{Rng, RngCore};

/// How much of a ufrag names the peer. The rest counts ICE restarts, so that routing survives them.
const STABLE_LEN: usize = 8;
const PASSWORD_LEN: usize = 24;
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Our ICE user fragment and password (RFC 8839 §5.4), and the randomness of one peer.
#[derive(Clone)]
pub struct IceCredentials {
    ufrag: String,
    password: String,
    pub(super) seed: [u8; 32],
}

impl IceCredentials {
    /// Makes new credentials from a cryptographically secure generator.
    pub fn generate(rng: &mut (impl RngCore + rand::CryptoRng)) -> IceCredentials {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        IceCredentials {
            ufrag: format!("{}0", random_text(rng, STABLE_LEN)),
            password: random_text(rng, PASSWORD_LEN),
            seed,
        }
    }

    /// The user fragment, as in `a=ice-ufrag`.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// The password, as in `a=ice-pwd`.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceCredentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

fn random_text(rng: &mut impl RngCore, len: usize) -> String {
    (0..len).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

/// The part of a ufrag that stays over ICE restarts.
pub(super) fn stable_part(ufrag: &str) -> &str {
    ufrag.get(..STABLE_LEN).unwrap_or(ufrag)
}

/// Whether a datagram is STUN (RFC 7983 §7, RFC 8489 §5).
pub(super) fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= 20 && datagram[0] < 4 && datagram[4..8] == [0x21, 0x12, 0xa4, 0x42]
}

/// Our part of the USERNAME of a STUN request (RFC 8445 §7.2.2), unverified.
pub(super) fn local_ufrag_of(datagram: &[u8]) -> Option<&str> {
    const USERNAME: u16 = 0x0006;
    let mut rest = datagram.get(20..)?;
    while let [t0, t1, l0, l1, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        if u16::from_be_bytes([*t0, *t1]) == USERNAME {
            let username = std::str::from_utf8(tail.get(..len)?).ok()?;
            return username.split(':').next();
        }
        rest = tail.get(len.div_ceil(4) * 4..)?;
    }
    None
}
