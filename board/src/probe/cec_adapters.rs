//! Adapters of HDMI-CEC, which switch a screen on and off.

use std::path::PathBuf;

use serde::Serialize;

use super::{keys::Keys, table::Row};

/// One adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CecAdapter {
    /// Its node.
    pub node: PathBuf,
    /// Its name, of the connector or the dongle; empty when it cannot be asked.
    pub name: String,
    /// Kernel driver.
    pub driver: String,
    /// Where on the bus it is plugged in (CEC 1.4 §8.7): 0x1000 is the first input of the television; `None` while
    /// nothing that tells is plugged in.
    pub physical_address: Option<u16>,
    /// Why it cannot be asked.
    pub problem: Option<String>,
}

impl CecAdapter {
    pub(super) fn keys(&self) -> Keys {
        Keys::of("cec").with("device", self.node.to_string_lossy().into_owned())
    }

    /// A screen is at its other end. Address 0 is that of the screen itself.
    fn has_screen(&self) -> bool {
        self.physical_address.is_some_and(|address| address != 0)
    }

    pub(super) fn row(&self) -> Row {
        let state = match self.physical_address {
            None => "nothing plugged in".into(),
            Some(0) => "an input, not an output".into(),
            Some(address) => {
                let [high, low] = address.to_be_bytes();
                format!("a screen, at its {}.{}.{}.{}", high >> 4, high & 15, low >> 4, low & 15)
            }
        };
        let node = self.node.display();
        let what = match &self.problem {
            Some(_) => node.to_string(),
            None => format!("{node}: {} ({}, {state})", self.name, self.driver),
        };
        Row {
            what,
            details: self.problem.iter().cloned().collect(),
            key: format!("[screen_power] {}", self.keys().one_line()),
        }
    }
}

/// The first that has a screen.
pub(super) fn best(adapters: &[CecAdapter]) -> Option<&CecAdapter> {
    adapters.iter().find(|adapter| adapter.has_screen())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_with_a_screen_is_taken() {
        let adapter = |number: u32, physical_address| CecAdapter {
            node: format!("/dev/cec{number}").into(),
            name: "HDMI-A-1".into(),
            driver: "drm".into(),
            physical_address,
            problem: None,
        };
        let all = [adapter(0, None), adapter(1, Some(0)), adapter(2, Some(0x1200)), adapter(3, Some(0x1000))];
        assert_eq!(best(&all), Some(&all[2]));
        assert_eq!(best(&all[..2]), None);
        assert_eq!(all[2].row().what, "/dev/cec2: HDMI-A-1 (drm, a screen, at its 1.2.0.0)");
        assert!(all[1].row().what.contains("an input"), "{}", all[1].row().what);
    }
}
