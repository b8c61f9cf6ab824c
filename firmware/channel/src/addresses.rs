//! Under which addresses terminals reach the media socket.

use std::net::{IpAddr, SocketAddr};

use crate::config::Media;

/// The addresses to tell, best first: `node_ip` of the configuration, else those of the socket or of the
/// machine. `machine` lists the machine's addresses; `port` is the port that the socket really has.
pub fn candidates(config: &Media, port: u16, machine: &[IpAddr]) -> Vec<SocketAddr> {
    if !config.node_ip.is_empty() {
        return config.node_ip.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
    }
    let listen = config.listen.ip();
    if !listen.is_unspecified() {
        return vec![SocketAddr::new(listen, port)];
    }
    let usable =
        |ip: &&IpAddr| ip.is_ipv4() == listen.is_ipv4() && !ip.is_unspecified() && !is_link_local(ip);
    let mut found: Vec<IpAddr> =
        machine.iter().filter(usable).filter(|ip| !ip.is_loopback()).copied().collect();
    if found.is_empty() {
        found = machine.iter().filter(usable).copied().collect();
    }
    if found.is_empty() {
        found.push(if listen.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)
        });
    }
    found.dedup();
    found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

/// Link-local IPv6 addresses need a scope that a candidate cannot carry (RFC 8839 §5.1).
fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The addresses of this machine's interfaces.
///
/// # Errors
/// What the system said.
pub fn of_this_machine() -> Result<Vec<IpAddr>, std::io::Error> {
    Ok(if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    fn media(listen: &str, node_ip: &[&str]) -> Media {
        Media { listen: listen.parse().unwrap(), node_ip: ips(node_ip) }
    }

    fn told(config: &Media, machine: &[&str]) -> Vec<String> {
        candidates(config, 7882, &ips(machine)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_addresses_but_loopback_are_told() {
        let machine = ["127.0.0.1", "192.0.2.7", "fe80::1", "2001:db8::7", "10.0.0.3"];
        assert_eq!(told(&media("0.0.0.0:0", &[]), &machine), ["192.0.2.7:7882", "10.0.0.3:7882"]);
        assert_eq!(told(&media("[::]:0", &[]), &machine), ["[2001:db8::7]:7882"]);
    }

    #[test]
    fn a_machine_with_only_loopback_tells_that() {
        assert_eq!(told(&media("0.0.0.0:0", &[]), &["127.0.0.1", "::1"]), ["127.0.0.1:7882"]);
        assert_eq!(told(&media("0.0.0.0:0", &[]), &[]), ["127.0.0.1:7882"]);
    }

    #[test]
    fn what_is_configured_wins() {
        let machine = ["127.0.0.1", "192.0.2.7"];
        assert_eq!(told(&media("0.0.0.0:0", &["127.0.0.1"]), &machine), ["127.0.0.1:7882"]);
        assert_eq!(told(&media("192.0.2.7:0", &[]), &machine), ["192.0.2.7:7882"]);
    }
}
