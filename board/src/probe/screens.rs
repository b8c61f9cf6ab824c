//! Screens: connectors of the kernel's mode setting (`Documentation/gpu/drm-uapi.rst`).

use std::path::Path;

use rostrum_hal::FrameSize;
use serde::Serialize;

use super::{entries, keys::Keys, table::Row, text};

/// One connector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Screen {
    /// Such as `HDMI-A-1`.
    pub connector: String,
    /// Its graphics card.
    pub card: String,
    /// A screen is plugged in.
    pub is_connected: bool,
    /// Sizes that the screen has, the one that it likes best first.
    pub sizes: Vec<FrameSize>,
}

/// All connectors under `/sys/class/drm`.
pub(super) fn listing(class: &Path) -> Vec<Screen> {
    let names = entries(class).into_iter();
    let screens = names.filter_map(|name| {
        let (card, connector) = name.split_once('-')?;
        // The kernel's screen for nobody.
        if !card.starts_with("card") || connector.starts_with("Writeback") {
            return None;
        }
        let folder = class.join(&name);
        let modes = text(&folder.join("modes")).unwrap_or_default();
        let mut sizes: Vec<_> = modes.lines().filter_map(size).collect();
        sizes.dedup();
        let is_connected = text(&folder.join("status")).as_deref() == Some("connected");
        Some(Screen { connector: connector.into(), card: card.into(), is_connected, sizes })
    });
    screens.collect()
}

/// Of a mode such as `1920x1080i`.
fn size(mode: &str) -> Option<FrameSize> {
    let (width, height) = mode.trim().split_once('x')?;
    Some(FrameSize::new(width.parse().ok()?, height.trim_end_matches('i').parse().ok()?))
}

impl Screen {
    /// Size and mode are left to the driver, which asks the screen each time that one is plugged in.
    pub(super) fn keys(&self) -> Keys {
        Keys::of("kms").with("connector", self.connector.as_str())
    }

    pub(super) fn row(&self) -> Row {
        let state = if self.is_connected { "connected" } else { "nothing plugged in" };
        let best = self.sizes.first().map(|size| format!(", {size}")).unwrap_or_default();
        Row {
            what: format!("{} of {} ({state}{best})", self.connector, self.card),
            details: Vec::new(),
            key: format!("[display] {}", self.keys().one_line()),
        }
    }
}

/// The first that somebody can look at.
pub(super) fn best(screens: &[Screen]) -> Option<&Screen> {
    screens.iter().find(|screen| screen.is_connected)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn connectors_are_listed_with_what_is_plugged_in() {
        let root = tempfile::tempdir().unwrap();
        for (name, status, modes) in [
            ("card0", "", ""),
            ("card1-HDMI-A-1", "disconnected\n", ""),
            ("card1-HDMI-A-2", "connected\n", "3840x2160\n3840x2160\n1920x1080i\nodd\n"),
            ("card1-Writeback-1", "unknown\n", ""),
            ("renderD128", "", ""),
        ] {
            let folder = root.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("status"), status).unwrap();
            fs::write(folder.join("modes"), modes).unwrap();
        }
        let screens = listing(root.path());
        assert_eq!(
            screens.iter().map(|screen| screen.connector.as_str()).collect::<Vec<_>>(),
            ["HDMI-A-1", "HDMI-A-2"]
        );
        let best = best(&screens).unwrap();
        assert_eq!(best.sizes, [FrameSize::new(3840, 2160), FrameSize::new(1920, 1080)]);
        assert!(best.keys().one_line().contains("connector = \"HDMI-A-2\""), "{}", best.keys().one_line());
    }
}
