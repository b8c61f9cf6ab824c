//! ICE as a lite agent (RFC 8445 §2.5): we answer connectivity checks and never make any.

use super::RemoteAddress;
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use rtc::{
    crypto::RTCCryptoProvider,
    stun::{
        attributes::{ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_USE_CANDIDATE},
        error_code::{CODE_ROLE_CONFLICT, ErrorCodeAttribute},
        fingerprint::FINGERPRINT,
        integrity::MessageIntegrity,
        message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, MESSAGE_HEADER_SIZE, Message, Setter},
        xoraddr::XorMappedAddress,
    },
};
use std::{collections::VecDeque, time::Instant};

/// How much of a ufrag names the peer. The rest counts ICE restarts, so that routing survives them.
const STABLE_LEN: usize = 8;
const PASSWORD_LEN: usize = 24;
/// How many addresses of a remote are remembered: its interfaces, and NAT bindings that came and went.
const MAX_ADDRESSES: usize = 8;
/// The longest STUN message that is looked at; connectivity checks are some 100 bytes.
const MAX_STUN_LEN: usize = 600;
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
    pub fn generate(rng: &mut impl rand::CryptoRng) -> IceCredentials {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let ufrag = format!("{}0", random_text(rng, STABLE_LEN));
        IceCredentials { ufrag, password: random_text(rng, PASSWORD_LEN), seed }
    }

    /// The credentials after one more ICE restart.
    fn next(&self) -> IceCredentials {
        let mut rng = StdRng::from_seed(self.seed);
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let restarts = self.ufrag.get(STABLE_LEN..).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        let ufrag = format!("{}{}", stable_part(&self.ufrag), restarts.wrapping_add(1));
        IceCredentials { ufrag, password: random_text(&mut rng, PASSWORD_LEN), seed }
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

/// What a STUN datagram led to.
#[derive(Debug, Default)]
pub(super) struct IceOutcome {
    /// Send this back to where the datagram came from.
    pub(super) response: Option<Vec<u8>>,
    /// The address is proven for the first time.
    pub(super) validated: bool,
    /// An address that was forgotten to make room.
    pub(super) released: Option<RemoteAddress>,
}

/// Our end of the connectivity checks of one peer.
pub(super) struct IceLite {
    credentials: IceCredentials,
    /// Still good until the remote uses the new ones.
    previous: Option<IceCredentials>,
    remote_ufrag: Option<String>,
    addresses: VecDeque<RemoteAddress>,
    selected: Option<RemoteAddress>,
    last_heard: Option<Instant>,
}

impl IceLite {
    pub(super) fn new(credentials: IceCredentials) -> IceLite {
        IceLite {
            credentials,
            previous: None,
            remote_ufrag: None,
            addresses: VecDeque::new(),
            selected: None,
            last_heard: None,
        }
    }

    pub(super) fn credentials(&self) -> &IceCredentials {
        &self.credentials
    }

    /// The remote's ufrag, once it said one.
    pub(super) fn remote_ufrag(&self) -> Option<&str> {
        self.remote_ufrag.as_deref()
    }

    /// Notes the remote's ufrag. A new one in an offer restarts ICE, and then we need new credentials too (RFC
    /// 8839 §4.4.3).
    pub(super) fn set_remote_ufrag(&mut self, ufrag: &str, in_offer: bool) {
        match &self.remote_ufrag {
            Some(known) if known == ufrag => return,
            Some(_) if in_offer => self.restart(),
            _ => {}
        }
        self.remote_ufrag = Some(ufrag.to_owned());
    }

    /// Makes new credentials; the former are good until the remote uses these.
    pub(super) fn restart(&mut self) {
        let next = self.credentials.next();
        self.previous = Some(std::mem::replace(&mut self.credentials, next));
    }

    /// Where to send.
    pub(super) fn selected(&self) -> Option<RemoteAddress> {
        self.selected
    }

    /// When the remote was last proven to be there.
    pub(super) fn last_heard(&self) -> Option<Instant> {
        self.last_heard
    }

    /// Whether the remote proved that it sends from there.
    pub(super) fn is_validated(&self, address: RemoteAddress) -> bool {
        self.addresses.contains(&address)
    }

    /// Takes what [`is_stun`] told to be STUN. All but valid binding requests is dropped without a word.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        from: RemoteAddress,
        datagram: &[u8],
        provider: &dyn RTCCryptoProvider,
    ) -> IceOutcome {
        self.try_handle(now, from, datagram, provider).unwrap_or_default()
    }

    fn try_handle(
        &mut self,
        now: Instant,
        from: RemoteAddress,
        datagram: &[u8],
        provider: &dyn RTCCryptoProvider,
    ) -> Option<IceOutcome> {
        if datagram.len() > MAX_STUN_LEN {
            return None;
        }
        let mut request = Message::new();
        request.write(datagram).ok()?;
        if request.typ != BINDING_REQUEST || datagram.len() != MESSAGE_HEADER_SIZE + request.length as usize {
            return None;
        }
        FINGERPRINT.check(&request).ok()?;
        let ufrag = local_ufrag_of(datagram)?;
        let renewed = ufrag == self.credentials.ufrag;
        let password = match &self.previous {
            _ if renewed => &self.credentials.password,
            Some(previous) if ufrag == previous.ufrag => &previous.password,
            _ => return None,
        };
        if request.get(ATTR_MESSAGE_INTEGRITY).ok()?.len() != 20 {
            return None;
        }
        MessageIntegrity::check(&mut request, password.as_bytes(), provider.crypto()).ok()?;

        let integrity =
            MessageIntegrity::new_short_term_integrity_with_provider(password.clone(), provider.crypto());
        if request.contains(ATTR_ICE_CONTROLLED) {
            // A lite agent is always the controlled one: the remote has to change roles (RFC 8445 §7.3.1.1).
            let error = ErrorCodeAttribute { code: CODE_ROLE_CONFLICT, reason: b"Role Conflict".to_vec() };
            let response = respond(&request, BINDING_ERROR, &[&error, &integrity, &FINGERPRINT])?;
            return Some(IceOutcome { response: Some(response), ..IceOutcome::default() });
        }
        let mapped = XorMappedAddress { ip: from.address.ip().to_canonical(), port: from.address.port() };
        let response = respond(&request, BINDING_SUCCESS, &[&mapped, &integrity, &FINGERPRINT])?;
        if renewed {
            self.previous = None;
        }
        self.last_heard = Some(now);
        let (validated, released) = self.learn(from, request.contains(ATTR_USE_CANDIDATE));
        Some(IceOutcome { response: Some(response), validated, released })
    }

    /// Remembers a proven address; says whether it is new and which one had to go for it.
    fn learn(&mut self, from: RemoteAddress, nominated: bool) -> (bool, Option<RemoteAddress>) {
        let (mut validated, mut released) = (false, None);
        if !self.addresses.contains(&from) {
            if self.addresses.len() >= MAX_ADDRESSES {
                let oldest = self.addresses.iter().position(|a| Some(*a) != self.selected);
                released = oldest.and_then(|at| self.addresses.remove(at));
            }
            self.addresses.push_back(from);
            validated = true;
        }
        if nominated {
            self.selected = Some(from);
        }
        (validated, released)
    }

    #[cfg(test)]
    pub(super) fn trust_for_tests(&mut self, address: RemoteAddress) {
        self.learn(address, true);
    }

    /// Uses an address that was not nominated, because DTLS came from there before the nomination.
    pub(super) fn select_if_none(&mut self, address: RemoteAddress) {
        self.selected.get_or_insert(address);
    }
}

fn respond(
    request: &Message,
    typ: rtc::stun::message::MessageType,
    attributes: &[&dyn Setter],
) -> Option<Vec<u8>> {
    let mut response = Message::new();
    response.typ = typ;
    response.transaction_id = request.transaction_id;
    response.write_header();
    for attribute in attributes {
        attribute.add_to(&mut response).ok()?;
    }
    Some(response.raw)
}
