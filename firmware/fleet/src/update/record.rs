//! What survives a power cut: how far an update came, and what its source was not told yet.
//!
//! The record is written whole and synced before every step that could be the last.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use rostrum_hal::selftest::Part;
use serde::{Deserialize, Serialize};

use super::offer::Offer;

/// Everything that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The update that is under way.
    pub attempt: Option<Attempt>,
    /// What the sources are yet to be told, oldest first.
    pub outcomes: VecDeque<Outcome>,
    /// The number of the next outcome.
    pub next_outcome: u64,
    /// Versions that failed here, newest last; they are not tried again.
    pub rejected: VecDeque<Rejected>,
    /// The action that a person said no to, while the server goes on asking.
    pub declined: Option<String>,
    /// How the last update ended.
    pub last: Option<Outcome>,
}

/// An update that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was asked for.
    pub offer: Offer,
    /// The bundle's own version, once it was looked at.
    pub version: Option<String>,
    /// A person agreed.
    pub confirmed: bool,
    /// Tries that failed, and power cuts on the way.
    pub tries: u32,
    /// How far it came.
    pub stage: Stage,
}

/// How far an update came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is to be fetched, looked at and waited for.
    Accepted,
    /// RAUC writes the other slot.
    Installing {
        /// The slot's name at the boot loader.
        target: String,
    },
    /// The other slot is next.
    Installed {
        /// The slot's name at the boot loader.
        target: String,
        /// The boot in which it was installed.
        boot_id: String,
        /// Parts that failed the self-test before it, and so prove nothing after it.
        failing: BTreeSet<Part>,
        /// The restart was asked for.
        restarting: bool,
    },
    /// The new version runs, and has to show that it is good.
    Trying {
        /// The slot's name at the boot loader.
        target: String,
        /// The boot in which it is tried.
        boot_id: String,
        /// Parts that failed before.
        failing: BTreeSet<Part>,
        /// Boots in which it was tried.
        boots: u32,
        /// Why it did not pass the last time.
        reason: Option<String>,
    },
    /// It is good, and the boot loader is told so.
    Committing {
        /// The slot's name at the boot loader.
        target: String,
    },
}

/// How an update ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Counts them.
    pub number: u64,
    /// The server's action, if it was the server's.
    pub action: Option<String>,
    /// The version.
    pub version: Option<String>,
    /// How.
    pub end: End,
    /// In words.
    pub text: String,
}

/// How an update ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The new version runs and is good.
    Success,
    /// The old version goes on.
    Failure,
    /// The source took it back in time.
    Cancelled,
}

/// A version that failed here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The version.
    pub version: String,
    /// Why.
    pub reason: String,
}

/// Where the record is kept.
#[derive(Clone, Debug)]
pub struct RecordFile {
    path: PathBuf,
}

/// A record of this many bytes is none of ours.
const LARGEST: u64 = 1 << 20;

impl RecordFile {
    /// Below `dir`, which is made when it is absent.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn in_dir(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { path: dir.join("updates.json") })
    }

    /// What was kept. A record that is damaged counts as none, which is logged: a terminal must go on.
    pub fn read(&self) -> Record {
        let read = fs::metadata(&self.path).and_then(|metadata| {
            if metadata.len() > LARGEST {
                return Err(io::Error::other("it is far too large"));
            }
            fs::read(&self.path)
        });
        match read {
            Ok(bytes) => parse(&bytes).unwrap_or_else(|error| {
                log::error!(file:% = self.path.display(), error:%; "the record of updates cannot be read; starting with none");
                Record::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Record::default(),
            Err(error) => {
                log::error!(file:% = self.path.display(), error:%; "the record of updates cannot be read; starting with none");
                Record::default()
            }
        }
    }

    /// Writes it: when this returns, it is on the disk, whole.
    ///
    /// # Errors
    /// When it is not; then the old one still is.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix("updates").suffix(".new").tempfile_in(dir)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        mark(&dir.join(ON_TRIAL), record.is_on_trial())?;
        fs::File::open(dir)?.sync_all()
    }
}

impl Record {
    /// A version is next, or runs, that was not found good yet.
    fn is_on_trial(&self) -> bool {
        let stage = self.attempt.as_ref().map(|attempt| &attempt.stage);
        matches!(stage, Some(Stage::Installed { .. } | Stage::Trying { .. } | Stage::Committing { .. }))
    }
}

/// There while a version is on trial, for units of a version in which this program may not come up
/// (`rostrum-trial.service`).
const ON_TRIAL: &str = "on-trial";

fn mark(file: &Path, there: bool) -> io::Result<()> {
    if there {
        return fs::File::create(file).map(drop);
    }
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a record's text.
///
/// # Errors
/// When it is none.
pub fn parse(bytes: &[u8]) -> serde_json::Result<Record> {
    serde_json::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn record() -> Record {
        Record {
            rejected: [Rejected { version: "1.2.0".into(), reason: "no picture".into() }].into(),
            next_outcome: 3,
            ..Record::default()
        }
    }

    #[test]
    fn what_was_written_is_there_and_nothing_else_lies_around() {
        let dir = tempfile::tempdir().unwrap();
        let file = RecordFile::in_dir(dir.path()).unwrap();
        assert_eq!(file.read(), Record::default());
        file.write(&record()).unwrap();
        assert_eq!(file.read(), record());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_version_on_trial_is_marked_for_whoever_else_looks_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = RecordFile::in_dir(dir.path()).unwrap();
        let offer = crate::update::stick::offer("/x".into(), crate::update::offer::Source::Stick);
        let stage = Stage::Trying {
            target: "B".into(),
            boot_id: "1".into(),
            failing: BTreeSet::new(),
            boots: 1,
            reason: None,
        };
        let attempt = Attempt { offer, version: None, confirmed: false, tries: 0, stage };
        file.write(&Record { attempt: Some(attempt), ..Record::default() }).unwrap();
        assert!(dir.path().join(ON_TRIAL).exists());
        file.write(&Record::default()).unwrap();
        assert!(!dir.path().join(ON_TRIAL).exists());
    }

    #[test]
    fn a_record_that_cannot_be_written_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = RecordFile::in_dir(dir.path()).unwrap();
        file.write(&record()).unwrap();
        fs::remove_dir_all(dir.path()).unwrap();
        assert!(file.write(&Record::default()).is_err());
    }

    #[test]
    fn a_damaged_record_does_not_stop_the_terminal() {
        let dir = tempfile::tempdir().unwrap();
        let file = RecordFile::in_dir(dir.path()).unwrap();
        fs::write(dir.path().join("updates.json"), b"{\"attempt\": 7").unwrap();
        assert_eq!(file.read(), Record::default());
        fs::write(dir.path().join("updates.json"), vec![b' '; 2 << 20]).unwrap();
        assert_eq!(file.read(), Record::default());
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
