//! Network interfaces. No profile names them; who installs a terminal wants to see them.

use std::path::Path;

use serde::Serialize;

use super::{entries, table::Row, text};

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub address: String,
    /// It is a radio.
    pub is_wireless: bool,
    /// `up`, `down` or `unknown`.
    pub state: String,
    /// Megabits a second, while it is connected.
    pub speed_mbps: Option<u32>,
}

/// All interfaces under `/sys/class/net` but the machine's own loop.
pub(super) fn listing(class: &Path) -> Vec<Network> {
    let names = entries(class).into_iter().filter(|name| name != "lo");
    let networks = names.map(|name| {
        let folder = class.join(&name);
        let attribute = |of| text(&folder.join(of));
        Network {
            address: attribute("address").unwrap_or_default(),
            is_wireless: folder.join("wireless").exists() || folder.join("phy80211").exists(),
            state: attribute("operstate").unwrap_or_else(|| "unknown".into()),
            speed_mbps: attribute("speed").and_then(|speed| speed.parse().ok()),
            name,
        }
    });
    networks.collect()
}

impl Network {
    pub(super) fn row(&self) -> Row {
        let kind = if self.is_wireless { "wireless" } else { "wired" };
        let speed = self.speed_mbps.map(|speed| format!(", {speed} Mbit/s")).unwrap_or_default();
        Row::plain(format!("{} ({kind}, {}{speed}, {})", self.name, self.state, self.address))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn interfaces_are_listed_with_their_state() {
        let root = tempfile::tempdir().unwrap();
        for name in ["lo", "eth0", "wlan0"] {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join("address"), "02:00:00:00:00:01\n").unwrap();
        }
        fs::write(root.path().join("eth0/operstate"), "up\n").unwrap();
        fs::write(root.path().join("eth0/speed"), "1000\n").unwrap();
        fs::write(root.path().join("wlan0/speed"), "-1\n").unwrap();
        fs::create_dir(root.path().join("wlan0/phy80211")).unwrap();
        let rows: Vec<_> = listing(root.path()).iter().map(|network| network.row().what).collect();
        assert_eq!(
            rows,
            [
                "eth0 (wired, up, 1000 Mbit/s, 02:00:00:00:00:01)",
                "wlan0 (wireless, unknown, 02:00:00:00:00:01)"
            ]
        );
    }
}
