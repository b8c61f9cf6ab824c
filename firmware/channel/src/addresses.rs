//! Under which addresses terminals reach the media sockets.

use std::net::{IpAddr, SocketAddr};

/// The addresses to tell of a socket that listens at `listen`, best first: `node_ip` of the configuration, else those
/// of the socket or of the machine. `machine` lists the machine's addresses; the port of `listen` is the one that
/// the socket really has.
pub fn of_socket(node_ip: &[IpAddr], listen: SocketAddr, machine: &[IpAddr]) -> Vec<SocketAddr> {
    let (listen, port) = (listen.ip(), listen.port());
    if !node_ip.is_empty() {
        return node_ip.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
    }
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

    fn told((listen, node_ip): (&str, &[&str]), machine: &[&str]) -> Vec<String> {
        let listen = SocketAddr::new(listen.parse().unwrap(), 7882);
        of_socket(&ips(node_ip), listen, &ips(machine)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_addresses_but_loopback_are_told() {
        let machine = ["127.0.0.1", "192.0.2.7", "fe80::1", "2001:db8::7", "10.0.0.3"];
        assert_eq!(told(("0.0.0.0", &[]), &machine), ["192.0.2.7:7882", "10.0.0.3:7882"]);
        assert_eq!(told(("::", &[]), &machine), ["[2001:db8::7]:7882"]);
    }

    #[test]
    fn a_machine_with_only_loopback_tells_that() {
        assert_eq!(told(("0.0.0.0", &[]), &["127.0.0.1", "::1"]), ["127.0.0.1:7882"]);
        assert_eq!(told(("0.0.0.0", &[]), &[]), ["127.0.0.1:7882"]);
    }

    #[test]
    fn what_is_configured_wins() {
        let machine = ["127.0.0.1", "192.0.2.7"];
        assert_eq!(told(("0.0.0.0", &["127.0.0.1"]), &machine), ["127.0.0.1:7882"]);
        assert_eq!(told(("192.0.2.7", &[]), &machine), ["192.0.2.7:7882"]);
    }
}
