//! What survives a restart: settings, volume, and whether the room was in its meeting.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rostrum_panel::Settings;
use rostrum_room::RoomConfig;
use serde::{Deserialize, Serialize};

use crate::devices::Chosen;

/// Kept in `state.json` of the data folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Remembered {
    pub(crate) room: RoomConfig,
    pub(crate) settings: Settings,
    /// Devices that people chose in the place of the board's own.
    pub(crate) devices: Chosen,
    /// The room was in a meeting: after a crash or a restart it goes back into it, muted.
    pub(crate) in_meeting: bool,
}

/// The file, and what it holds now.
pub(crate) struct Memory {
    file: PathBuf,
    kept: Remembered,
}

impl Memory {
    /// Reads what was kept. A damaged file counts as empty, which is logged: the room must work.
    ///
    /// # Errors
    /// When the data folder cannot be made.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(data_dir)?;
        let file = data_dir.join("state.json");
        let kept = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                log::warn!(file:% = file.display(), error:%; "what was kept cannot be read; starting with defaults");
                Remembered::default()
            }),
            Err(_) => Remembered::default(),
        };
        Ok(Self { file, kept })
    }

    pub(crate) fn kept(&self) -> &Remembered {
        &self.kept
    }

    /// Writes when something changed: whole, or not at all.
    pub(crate) fn keep(&mut self, now: Remembered) {
        if now == self.kept {
            return;
        }
        self.kept = now;
        let temporary = self.file.with_extension("json.new");
        let written = serde_json::to_vec_pretty(&self.kept).map_err(io::Error::other).and_then(|bytes| {
            fs::write(&temporary, bytes)?;
            fs::File::open(&temporary)?.sync_all()?;
            fs::rename(&temporary, &self.file)
        });
        if let Err(error) = written {
            log::error!(file:% = self.file.display(), error:%; "settings cannot be kept; free some space or mend the folder");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_kept_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path()).unwrap();
        let kept = Remembered { in_meeting: true, ..Remembered::default() };
        memory.keep(kept.clone());
        assert_eq!(*Memory::open(dir.path()).unwrap().kept(), kept);
    }

    #[test]
    fn a_damaged_file_does_not_stop_the_room() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("state.json"), b"{\"room\": 7").unwrap();
        assert_eq!(*Memory::open(dir.path()).unwrap().kept(), Remembered::default());
    }
}
