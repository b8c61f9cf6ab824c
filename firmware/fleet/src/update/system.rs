//! The machine around: what systemd says of units by D-Bus, which boot this is, whether the clock was set, and its version.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use zbus::{
    Connection, proxy,
    zvariant::{OwnedObjectPath, OwnedValue},
};

use super::policy::LocalTime;

/// Interface of systemd.
#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1",
    gen_blocking = false
)]
trait Manager {
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
}

#[proxy(
    interface = "org.freedesktop.DBus.Properties",
    default_service = "org.freedesktop.systemd1",
    gen_blocking = false
)]
trait Properties {
    fn get_all(&self, interface: &str) -> zbus::Result<HashMap<String, OwnedValue>>;
}

/// Where the machine says what it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Places {
    /// File whose `VERSION_ID` is the version that runs (os-release(5)).
    pub os_release: PathBuf,
    /// File with the boot's id.
    pub boot_id: PathBuf,
    /// File that is there once the clock was set (systemd-timesyncd.service(8)).
    pub clock_is_set: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            os_release: "/etc/os-release".into(),
            boot_id: "/proc/sys/kernel/random/boot_id".into(),
            clock_is_set: "/run/systemd/timesync/synchronized".into(),
        }
    }
}

impl Places {
    /// The id of this boot.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn boot_id(&self) -> io::Result<String> {
        Ok(read(&self.boot_id)?.trim().to_owned())
    }

    /// The version that runs.
    ///
    /// # Errors
    /// When the file cannot be read or has no `VERSION_ID`.
    pub fn version(&self) -> io::Result<String> {
        version_id(&read(&self.os_release)?).ok_or_else(|| {
            io::Error::other(format!(
                "{} has no VERSION_ID, which is the version that runs",
                self.os_release.display()
            ))
        })
    }

    /// The local time in `zone`, when the clock was set since the start.
    pub fn local_time(&self, zone: &jiff::tz::TimeZone) -> Option<LocalTime> {
        self.clock_is_set.exists().then(|| {
            let now = jiff::Timestamp::now().to_zoned_datetime(zone.clone());
            LocalTime {
                weekday: u8::try_from(now.weekday().to_monday_zero_offset()).unwrap_or_default(),
                minute: u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs()),
            }
        })
    }
}

fn read(file: &Path) -> io::Result<String> {
    fs::read_to_string(file)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

/// `VERSION_ID` of an os-release file.
fn version_id(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("VERSION_ID="))?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// How a unit does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitState {
    /// It runs.
    pub is_active: bool,
    /// Starts after its own end.
    pub restarts: u32,
    /// systemd's word for its state.
    pub state: String,
}

/// systemd.
#[derive(Clone)]
pub struct System {
    bus: Connection,
    manager: ManagerProxy<'static>,
}

impl System {
    /// Finds it on `bus`.
    ///
    /// # Errors
    /// When the bus does not answer.
    pub async fn on(bus: &Connection) -> zbus::Result<Self> {
        Ok(Self { bus: bus.clone(), manager: ManagerProxy::new(bus).await? })
    }

    /// How a service does.
    ///
    /// # Errors
    /// When systemd does not say.
    pub async fn unit(&self, name: &str) -> zbus::Result<UnitState> {
        let path = self.manager.get_unit(name).await?;
        let properties = PropertiesProxy::new(&self.bus, path).await?;
        let unit = properties.get_all("org.freedesktop.systemd1.Unit").await?;
        let service = properties.get_all("org.freedesktop.systemd1.Service").await.unwrap_or_default();
        Ok(unit_state(&unit, &service))
    }
}

fn unit_state(unit: &HashMap<String, OwnedValue>, service: &HashMap<String, OwnedValue>) -> UnitState {
    let state = unit.get("ActiveState").and_then(|value| <&str>::try_from(value).ok()).unwrap_or("unknown");
    let restarts = service.get("NRestarts").and_then(|value| u32::try_from(value).ok()).unwrap_or_default();
    UnitState { is_active: state == "active", restarts, state: state.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use zbus::zvariant::Value;

    #[test]
    fn the_version_is_read_as_os_release_writes_it() {
        assert_eq!(version_id("NAME=x\nVERSION_ID=\"1.2.0\"\n").as_deref(), Some("1.2.0"));
        assert_eq!(version_id("VERSION_ID=1.2.0-dev.3").as_deref(), Some("1.2.0-dev.3"));
        assert_eq!(version_id("VERSION=1\nVERSION_ID=\n"), None);
    }

    #[test]
    fn a_clock_that_was_not_set_tells_no_time() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places { clock_is_set: dir.path().join("synchronized"), ..Places::default() };
        assert_eq!(places.local_time(&jiff::tz::TimeZone::UTC), None);
        fs::write(&places.clock_is_set, "").unwrap();
        let local = places.local_time(&jiff::tz::TimeZone::UTC).unwrap();
        assert!(local.weekday < 7 && local.minute < 1440);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader_of_os_release(text: String) {
            let _ = version_id(&text);
        }

        #[test]
        fn a_unit_is_active_only_when_systemd_says_so(state in "active|failed|[a-z]{0,10}", number: u32, wrong: bool) {
            let value = |of: Value<'_>| OwnedValue::try_from(of).unwrap();
            let mut unit = HashMap::from([("ActiveState".to_owned(), value(Value::from(state.as_str())))]);
            if wrong {
                unit.insert("ActiveState".into(), value(Value::from(number)));
            }
            let service = HashMap::from([("NRestarts".to_owned(), value(Value::from(number)))]);
            let found = unit_state(&unit, &service);
            prop_assert_eq!(found.is_active, state == "active" && !wrong);
            prop_assert_eq!(found.restarts, number);
        }
    }
}
