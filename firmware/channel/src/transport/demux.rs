//! Which peer a datagram on the shared sockets belongs to.

use super::{RemoteAddress, ice};
use foldhash::fast::RandomState;
use std::{collections::HashMap, hash::BuildHasher};

/// Routes datagrams of the shared sockets to peers: STUN requests by our part of the username, all else by the
/// remote address that a peer validated. `K` is the caller's name of a peer.
#[derive(Debug)]
pub struct Demux<K, S = RandomState> {
    by_ufrag: HashMap<String, K, S>,
    by_address: HashMap<RemoteAddress, K, S>,
}

impl<K> Default for Demux<K> {
    fn default() -> Self {
        Demux { by_ufrag: HashMap::default(), by_address: HashMap::default() }
    }
}

impl<K: Copy + Eq, S: BuildHasher> Demux<K, S> {
    /// Adds a peer. The key holds over its ICE restarts.
    pub fn register(&mut self, credentials: &super::IceCredentials, key: K) {
        self.by_ufrag.insert(ice::stable_part(credentials.ufrag()).to_owned(), key);
    }

    /// Forgets a peer and its addresses.
    pub fn remove(&mut self, key: K) {
        self.by_ufrag.retain(|_, k| *k != key);
        self.by_address.retain(|_, k| *k != key);
    }

    /// Sends what comes from `address` to the peer: on [`PeerEvent::AddressValidated`](super::PeerEvent).
    pub fn bind(&mut self, address: RemoteAddress, key: K) {
        self.by_address.insert(address, key);
    }

    /// Forgets an address: on [`PeerEvent::AddressReleased`](super::PeerEvent). Another peer's claim to the
    /// address stays.
    pub fn release(&mut self, address: RemoteAddress, key: K) {
        if self.by_address.get(&address) == Some(&key) {
            self.by_address.remove(&address);
        }
    }

    /// The peer of a datagram, or `None` when it is nobody's and should be dropped.
    pub fn route(&self, from: RemoteAddress, datagram: &[u8]) -> Option<K> {
        if ice::is_stun(datagram) {
            let by_name =
                ice::local_ufrag_of(datagram).and_then(|ufrag| self.by_ufrag.get(ice::stable_part(ufrag)));
            return by_name.copied();
        }
        self.by_address.get(&from).copied()
    }

    /// How many addresses are bound.
    pub fn addresses(&self) -> usize {
        self.by_address.len()
    }
}
