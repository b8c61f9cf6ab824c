//! The sockets of graphics cards and what is plugged in, as the kernel shows them (sysfs, `/sys/class/drm`). Reading it
//! opens no card and asks no screen.

use std::{fs, path::Path};

use rostrum_hal::FrameSize;

pub(super) const ROOT: &str = "/sys/class/drm";

/// What the kernel knows of the screen at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Presence {
    Connected,
    /// Nobody asked yet.
    Unknown,
    Absent,
}

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketState {
    /// Name of the card, such as `card0`.
    pub(super) card: String,
    /// Name of the connector, such as `HDMI-A-1`.
    pub(super) connector: String,
    pub(super) presence: Presence,
    /// Size of the mode that the screen prefers.
    pub(super) preferred: Option<FrameSize>,
}

/// All sockets, by card and name.
pub(super) fn list(root: &Path) -> Vec<SocketState> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.filter_map(|entry| read(&entry.path())).collect();
    found.sort_by(|a, b| (&a.card, &a.connector).cmp(&(&b.card, &b.connector)));
    found
}

/// Whether a screen is at the socket now.
pub(super) fn is_connected(root: &Path, card: &str, connector: &str) -> bool {
    presence(&root.join(format!("{card}-{connector}"))) == Some(Presence::Connected)
}

/// Where a screen is to be.
pub(super) struct Place {
    /// Only of this card.
    pub(super) card: Option<String>,
    /// Only there.
    pub(super) connector: Option<String>,
    /// Not there, as it is another display's.
    pub(super) reserved: Option<Reserved>,
}

/// A socket of another display. Cards number theirs each for itself: two may have an HDMI-A-1.
#[derive(Clone, Debug)]
pub(super) struct Reserved {
    /// The card; when that display names none it may be on any.
    pub(super) card: Option<String>,
    pub(super) connector: String,
}

impl Reserved {
    fn is(&self, socket: &SocketState) -> bool {
        socket.connector == self.connector && self.card.as_ref().is_none_or(|card| socket.card == *card)
    }
}

impl Place {
    /// All sockets where it may be.
    pub(super) fn fitting<'a>(&'a self, sockets: &'a [SocketState]) -> impl Iterator<Item = &'a SocketState> {
        sockets.iter().filter(|socket| {
            self.card.as_ref().is_none_or(|card| socket.card == *card)
                && self.connector.as_ref().is_none_or(|connector| socket.connector == *connector)
                && !self.reserved.as_ref().is_some_and(|reserved| reserved.is(socket))
        })
    }

    /// The first of them with a screen, else the first of which nobody knows.
    pub(super) fn choose<'a>(&'a self, sockets: &'a [SocketState]) -> Option<&'a SocketState> {
        let fitting = self.fitting(sockets).filter(|socket| socket.presence != Presence::Absent);
        fitting.min_by_key(|socket| socket.presence)
    }
}

/// `card0-HDMI-A-1` as a socket; nothing for the cards themselves, render nodes, and what writes pictures to memory.
fn read(folder: &Path) -> Option<SocketState> {
    let name = folder.file_name()?.to_str()?;
    let (card, connector) = name.split_once('-')?;
    if !card.starts_with("card") || connector.starts_with("Writeback") {
        return None;
    }
    let presence = presence(folder)?;
    let modes = fs::read_to_string(folder.join("modes")).unwrap_or_default();
    let size = |line: &str| {
        let (width, height) = line.split_once('x')?;
        let height = height.trim_end_matches(|c: char| !c.is_ascii_digit());
        Some(FrameSize::new(width.parse().ok()?, height.parse().ok()?))
    };
    let preferred = modes.lines().next().and_then(size);
    Some(SocketState { card: card.into(), connector: connector.into(), presence, preferred })
}

fn presence(folder: &Path) -> Option<Presence> {
    let status = fs::read_to_string(folder.join("status")).ok()?;
    Some(match status.trim() {
        "connected" => Presence::Connected,
        "unknown" => Presence::Unknown,
        _ => Presence::Absent,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tree(sockets: &[(&str, &str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, status, modes) in sockets {
            let folder = root.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("status"), format!("{status}\n")).unwrap();
            fs::write(folder.join("modes"), modes).unwrap();
        }
        fs::create_dir(root.path().join("card0")).unwrap();
        fs::create_dir(root.path().join("renderD128")).unwrap();
        root
    }

    #[test]
    fn the_first_screen_that_is_plugged_in_is_chosen() {
        let root = tree(&[
            ("card0-HDMI-A-1", "disconnected", ""),
            ("card1-Writeback-1", "unknown", ""),
            ("card1-DP-1", "unknown", ""),
            ("card1-HDMI-A-2", "connected", "1920x1080i\n1280x720\n"),
        ]);
        let sockets = list(root.path());
        assert_eq!(sockets.len(), 3);
        let place = |card: Option<&str>, connector: Option<&str>, reserved: Option<&str>| Place {
            card: card.map(str::to_owned),
            connector: connector.map(str::to_owned),
            reserved: reserved.map(|connector| Reserved { card: None, connector: connector.into() }),
        };
        let anywhere = place(None, None, None);
        let chosen = anywhere.choose(&sockets).unwrap();
        assert_eq!((chosen.card.as_str(), chosen.connector.as_str()), ("card1", "HDMI-A-2"));
        assert_eq!(chosen.preferred, Some(FrameSize::new(1920, 1080)));
        assert!(
            is_connected(root.path(), "card1", "HDMI-A-2") && !is_connected(root.path(), "card1", "DP-1")
        );
        // Nobody asked DP-1 yet; it is worth a try.
        assert_eq!(place(None, None, Some("HDMI-A-2")).choose(&sockets).unwrap().connector, "DP-1");
        assert_eq!(place(Some("card0"), None, None).choose(&sockets), None);
        let empty = place(None, Some("HDMI-A-1"), None);
        assert_eq!(empty.choose(&sockets), None, "nothing is plugged in there");
        assert_eq!(empty.fitting(&sockets).count(), 1);
    }

    #[test]
    fn a_socket_of_the_same_name_at_another_card_is_free() {
        let root = tree(&[
            ("card0-HDMI-A-1", "connected", "1280x720\n"),
            ("card1-HDMI-A-1", "connected", "1280x720\n"),
        ]);
        let sockets = list(root.path());
        let beside = |card: Option<&str>| Place {
            card: None,
            connector: None,
            reserved: Some(Reserved { card: card.map(str::to_owned), connector: "HDMI-A-1".into() }),
        };
        assert_eq!(beside(Some("card0")).choose(&sockets).unwrap().card, "card1");
        assert_eq!(beside(Some("card1")).choose(&sockets).unwrap().card, "card0");
        assert_eq!(beside(None).choose(&sockets), None, "nobody knows at which card the other is");
    }
}
