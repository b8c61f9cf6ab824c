//! How often a password may be tried.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Wrong passwords that cost nothing: people mistype.
const FREE_TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// A peer that was quiet that long starts anew.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
const MAX_PEERS: usize = 1024;
/// Wrong passwords a minute from all peers together: many addresses are no way around.
const TRIES_A_MINUTE: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
struct Peer {
    failures: u32,
    last: Instant,
}

/// Counts wrong passwords; the time is an argument. Memory is bounded.
#[derive(Default)]
pub(crate) struct TryLimiter {
    peers: HashMap<IpAddr, Peer>,
    minute: Option<(Instant, u32)>,
}

/// Who counts as one peer: an IPv4 address, or a /64 network of IPv6.
fn key(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

impl TryLimiter {
    /// Counts a try of `peer` as wrong in advance, so that tries at the same time count too.
    ///
    /// # Errors
    /// How long to wait when there were too many.
    pub(crate) fn start(&mut self, now: Instant, peer: IpAddr) -> Result<(), Duration> {
        let peer = key(peer);
        self.peers.retain(|_, p| now.saturating_duration_since(p.last) < FORGET_AFTER);
        if let Some(known) = self.peers.get(&peer) {
            let since = now.saturating_duration_since(known.last);
            let wait = wait_after(known.failures);
            if since < wait {
                return Err(wait - since);
            }
        }
        let (start, count) = self
            .minute
            .filter(|(start, _)| now.saturating_duration_since(*start) < MINUTE)
            .unwrap_or((now, 0));
        if count >= TRIES_A_MINUTE {
            return Err(MINUTE - now.saturating_duration_since(start));
        }
        self.minute = Some((start, count + 1));
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&peer) {
            let oldest = self.peers.iter().min_by_key(|(_, p)| p.last).map(|(&address, _)| address);
            oldest.map(|address| self.peers.remove(&address));
        }
        let known = self.peers.entry(peer).or_insert(Peer { failures: 0, last: now });
        *known = Peer { failures: known.failures.saturating_add(1), last: now };
        Ok(())
    }

    /// The try was right: `peer` starts anew.
    pub(crate) fn succeeded(&mut self, peer: IpAddr) {
        self.peers.remove(&key(peer));
        if let Some((_, count)) = &mut self.minute {
            *count = count.saturating_sub(1);
        }
    }
}

fn wait_after(failures: u32) -> Duration {
    match failures.checked_sub(FREE_TRIES) {
        None => Duration::ZERO,
        Some(more) => FIRST_WAIT.saturating_mul(2_u32.saturating_pow(more)).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::Ipv4Addr;

    const ROOM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn after_five_wrong_tries_each_next_waits_longer() {
        let (mut limiter, mut now) = (TryLimiter::default(), Instant::now());
        for _ in 0..5 {
            limiter.start(now, ROOM).unwrap();
        }
        let first = limiter.start(now, ROOM).unwrap_err();
        now += first;
        limiter.start(now, ROOM).unwrap();
        let second = limiter.start(now, ROOM).unwrap_err();
        assert!(second > first, "{second:?} {first:?}");
    }

    #[test]
    fn the_right_password_forgives_and_one_peer_does_not_lock_out_another() {
        let (mut limiter, now) = (TryLimiter::default(), Instant::now());
        for _ in 0..5 {
            limiter.start(now, ROOM).unwrap();
        }
        assert!(limiter.start(now, ROOM).is_err());
        limiter.start(now, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))).unwrap();
        limiter.succeeded(ROOM);
        limiter.start(now, ROOM).unwrap();
    }

    #[test]
    fn many_addresses_are_no_way_around() {
        let (mut limiter, now) = (TryLimiter::default(), Instant::now());
        let tries = (0..100_000_u128)
            .filter(|&n| {
                let peer = IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (n << 64)));
                limiter.start(now, peer).is_ok()
            })
            .count();
        assert_eq!(tries, TRIES_A_MINUTE as usize);
        let network = |n: u128| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + n));
        assert_eq!(key(network(1)), key(network(2)));
        assert!(limiter.peers.len() <= MAX_PEERS);
    }
}
