//! The network of a site, and what `systemd-networkd` is told of it (systemd.network(5)).

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::SiteError;

/// Keys of `[network]`. Without an address, DHCP gives all that is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// The terminal's own address, such as `192.0.2.10/24`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Who leads out of its network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Servers of names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// Servers of time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ntp: Vec<Host>,
}

impl Network {
    /// The file for `systemd-networkd`: all wired interfaces, and this.
    pub fn networkd(&self) -> String {
        let mut text = String::from("[Match]\nType=ether\n\n[Network]\n");
        let mut add = |key: &str, value: &dyn fmt::Display| text += &format!("{key}={value}\n");
        match &self.address {
            Some(address) => add("Address", address),
            None => add("DHCP", &"yes"),
        }
        if let Some(gateway) = &self.gateway {
            add("Gateway", gateway);
        }
        for server in &self.dns {
            add("DNS", server);
        }
        for server in &self.ntp {
            add("NTP", server);
        }
        text
    }
}

/// An address and the bits of its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(IpAddr, u8);

impl TryFrom<String> for Address {
    type Error = SiteError;

    fn try_from(text: String) -> Result<Self, SiteError> {
        let parts = text.split_once('/').and_then(|(ip, bits)| Some((ip.parse().ok()?, bits.parse().ok()?)));
        let (ip, bits): (IpAddr, u8) = parts.ok_or(SiteError::Address)?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        if (1..=most).contains(&bits) { Ok(Self(ip, bits)) } else { Err(SiteError::Address) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, self.1)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

/// A name or an address of a machine: letters, digits, dots, hyphens and colons, at most 253.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(String);

impl TryFrom<String> for Host {
    type Error = SiteError;

    fn try_from(text: String) -> Result<Self, SiteError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
        if (1..=253).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(SiteError::Host)
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn networkd(text: &str) -> String {
        toml::from_str::<Network>(text).unwrap().networkd()
    }

    #[test]
    fn networkd_is_told_what_the_file_says_and_asks_dhcp_for_the_rest() {
        let fixed = "address = \"192.0.2.10/24\"\ngateway = \"192.0.2.1\"\ndns = [\"192.0.2.2\", \"2001:db8::1\"]\n\
                     ntp = [\"time.example.com\"]\n";
        let told = "[Match]\nType=ether\n\n[Network]\nAddress=192.0.2.10/24\nGateway=192.0.2.1\nDNS=192.0.2.2\n\
                    DNS=2001:db8::1\nNTP=time.example.com\n";
        assert_eq!(networkd(fixed), told);
        let dynamic = "[Match]\nType=ether\n\n[Network]\nDHCP=yes\nNTP=192.0.2.3\n";
        assert_eq!(networkd("ntp = [\"192.0.2.3\"]\n"), dynamic);
    }

    proptest! {
        #[test]
        fn no_text_gets_a_line_of_its_own_into_networkds_file(
            address in "\\PC{0,20}(\n\\PC{0,10})?", host in "\\PC{0,20}(\n\\PC{0,10})?", ip in any::<IpAddr>(), bits: u8,
        ) {
            let _ = Address::try_from(address);
            let address = Address::try_from(format!("{ip}/{bits}")).ok();
            let network = Network { address, ntp: Host::try_from(host).into_iter().collect(), ..Network::default() };
            prop_assert_eq!(network.networkd().lines().count(), 5 + network.ntp.len());
        }
    }
}
