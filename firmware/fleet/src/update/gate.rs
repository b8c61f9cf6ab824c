//! Whether what runs is good: its units are up and stay up, its storage can be written, and its parts pass the self-test.
//!
//! That an update server can be reached is no condition: a room without Internet is a good room.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use rostrum_hal::selftest::Part;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{
    link::FailedPart,
    system::{System, UnitState},
};

/// What has to be well.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// Units that have to be up.
    pub units: Vec<String>,
    /// Parts that have to pass the self-test of a new version, where they passed it before.
    pub parts: BTreeSet<Part>,
    /// Folders in which files can be written.
    pub folders: Vec<PathBuf>,
    /// Seconds in which the units have to come up and the self-test to pass.
    pub patience_s: u64,
    /// Seconds for which the units have to stay up.
    pub steady_s: u64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            units: vec!["rostrumd.service".into()],
            parts: [Part::Camera, Part::Encoder, Part::Sound].into(),
            folders: vec!["/var/lib/rostrum-updater".into()],
            patience_s: 300,
            steady_s: 30,
        }
    }
}

/// Restarts of a unit within [`Gate::steady_s`] that are no loop yet.
const RESTARTS: u32 = 1;
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

impl Gate {
    /// Time in which everything has to be well.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_s)
    }

    /// Waits until the units are up, and looks whether they stay up.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn units_are_up(&self, system: &System, until: Instant) -> Result<(), String> {
        if self.units.is_empty() {
            return Ok(());
        }
        let mut before;
        loop {
            before = self.look(system).await;
            match self.judge_up(&before) {
                Ok(()) => break,
                Err(why) if Instant::now() >= until => return Err(why),
                Err(_) => sleep(LOOK).await,
            }
        }
        let steady = Instant::now() + Duration::from_secs(self.steady_s);
        while Instant::now() < steady {
            sleep(LOOK).await;
            let now = self.look(system).await;
            self.judge_up(&now).or_else(|why| if Instant::now() < until { Ok(()) } else { Err(why) })?;
            judge_steady(&self.units, &before, &now)?;
        }
        let now = self.look(system).await;
        self.judge_up(&now)
    }

    async fn look(&self, system: &System) -> Vec<Result<UnitState, String>> {
        let mut states = Vec::new();
        for unit in &self.units {
            states.push(system.unit(unit).await.map_err(|error| error.to_string()));
        }
        states
    }

    fn judge_up(&self, states: &[Result<UnitState, String>]) -> Result<(), String> {
        for (unit, state) in self.units.iter().zip(states) {
            match state {
                Ok(state) if state.is_active => {}
                Ok(state) => {
                    return Err(format!("{unit} is not up ({}); see journalctl -u {unit}", state.state));
                }
                Err(error) => return Err(format!("systemd does not say how {unit} does: {error}")),
            }
        }
        Ok(())
    }

    /// Writes, syncs and reads back a file in each folder.
    ///
    /// # Errors
    /// Which cannot be written.
    pub fn storage_can_be_written(&self) -> Result<(), String> {
        self.folders.iter().try_for_each(|folder| {
            write_and_read(folder).map_err(|error| format!("{} cannot be written: {error}", folder.display()))
        })
    }

    /// Judges a self-test, without the parts that failed before the update.
    ///
    /// # Errors
    /// What failed.
    pub fn judge_test(&self, failed: &[FailedPart], before: &BTreeSet<Part>) -> Result<(), String> {
        let counts = |part: &&FailedPart| self.parts.contains(&part.part) && !before.contains(&part.part);
        match failed.iter().find(counts) {
            None => Ok(()),
            Some(part) => Err(format!("the self-test of {} failed: {}", part.part.name(), part.why)),
        }
    }
}

fn judge_steady(
    units: &[String],
    before: &[Result<UnitState, String>],
    now: &[Result<UnitState, String>],
) -> Result<(), String> {
    for ((unit, before), now) in units.iter().zip(before).zip(now) {
        if let (Ok(before), Ok(now)) = (before, now)
            && now.restarts > before.restarts + RESTARTS
        {
            let times = now.restarts - before.restarts;
            return Err(format!("{unit} was started again {times} times; see journalctl -u {unit}"));
        }
    }
    Ok(())
}

fn write_and_read(folder: &Path) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(b"written")?;
    file.as_file().sync_all()?;
    if fs::read(file.path())? == b"written" {
        Ok(())
    } else {
        Err(std::io::Error::other("it reads otherwise"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn failed(part: Part) -> FailedPart {
        FailedPart { part, why: "black".into() }
    }

    #[test]
    fn a_part_that_failed_before_the_update_does_not_count_against_it() {
        let gate = Gate::default();
        let before = BTreeSet::from([Part::Camera]);
        assert_eq!(gate.judge_test(&[failed(Part::Camera)], &before), Ok(()));
        let error = gate.judge_test(&[failed(Part::Camera)], &BTreeSet::new()).unwrap_err();
        assert_eq!(error, "the self-test of camera failed: black");
        assert_eq!(gate.judge_test(&[failed(Part::Lights)], &BTreeSet::new()), Ok(()));
    }

    #[test]
    fn a_unit_that_is_started_again_and_again_is_not_up() {
        let state = |restarts| Ok(UnitState { is_active: true, restarts, state: "active".into() });
        let units = vec!["rostrumd.service".to_owned()];
        assert_eq!(judge_steady(&units, &[state(3)], &[state(4)]), Ok(()));
        let error = judge_steady(&units, &[state(3)], &[state(5)]).unwrap_err();
        assert!(error.contains("started again 2 times"), "{error}");
        let gate = Gate::default();
        let down = Ok(UnitState { is_active: false, restarts: 0, state: "failed".into() });
        assert!(gate.judge_up(&[down]).unwrap_err().contains("not up (failed)"));
        assert_eq!(gate.judge_up(&[state(0)]), Ok(()));
    }

    #[test]
    fn storage_that_cannot_be_written_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let gate = |folder: PathBuf| Gate { folders: vec![folder], ..Gate::default() };
        assert_eq!(gate(dir.path().into()).storage_can_be_written(), Ok(()));
        let error = gate(dir.path().join("absent")).storage_can_be_written().unwrap_err();
        assert!(error.contains("cannot be written"), "{error}");
    }
}
