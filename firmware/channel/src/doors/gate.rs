//! How many sockets there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts sockets by the address that they come from.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    counts: Arc<Mutex<Counts>>,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) sockets: usize,
    pub(crate) per_address: usize,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One more socket would be too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Crowded {
    #[error("too many sockets: the service has {0} already (limits.sockets); try again in a moment")]
    Sockets(usize),
    #[error("too many sockets: your address has {0} already (limits.sockets_per_address); close some")]
    PerAddress(usize),
}

/// A socket that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    counts: Arc<Mutex<Counts>>,
    address: IpAddr,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { counts: Arc::default(), limits }
    }

    /// Lets a socket in, or says why not.
    pub(crate) fn enter(&self, address: IpAddr) -> Result<Pass, Crowded> {
        let address = one_place(address);
        let mut counts = self.counts.lock();
        if counts.all >= self.limits.sockets {
            return Err(Crowded::Sockets(self.limits.sockets));
        }
        let here = counts.by_address.entry(address).or_default();
        if *here >= self.limits.per_address {
            return Err(Crowded::PerAddress(self.limits.per_address));
        }
        *here += 1;
        counts.all += 1;
        Ok(Pass { counts: self.counts.clone(), address })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        counts.all -= 1;
        if let Some(here) = counts.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

/// Who has one IPv6 address has all of its network of 64 bits.
fn one_place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sockets_are_counted_in_all_and_by_address_until_they_are_gone() {
        let gate = Gate::new(Limits { sockets: 3, per_address: 2 });
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|a| a.parse().unwrap());
        let first = gate.enter(a).unwrap();
        let _second = gate.enter(a).unwrap();
        assert_eq!(gate.enter(a).unwrap_err(), Crowded::PerAddress(2));
        let _third = gate.enter(b).unwrap();
        assert_eq!(gate.enter(b).unwrap_err(), Crowded::Sockets(3));
        drop(first);
        let _fourth = gate.enter(a).unwrap();
        assert_eq!(gate.enter(a).unwrap_err(), Crowded::Sockets(3));
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_nothing_stays_behind() {
        let gate = Gate::new(Limits { sockets: 9, per_address: 1 });
        let pass = gate.enter("2001:db8::1".parse().unwrap()).unwrap();
        assert!(gate.enter("2001:db8::2".parse().unwrap()).is_err());
        assert!(gate.enter("2001:db8:0:1::1".parse().unwrap()).is_ok());
        let _mapped = gate.enter("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert!(gate.enter("192.0.2.1".parse().unwrap()).is_err());
        drop((pass, _mapped));
        assert!(gate.counts.lock().by_address.is_empty());
    }
}
