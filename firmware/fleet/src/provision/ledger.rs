//! The record of a bench, as a file that one program at a time writes.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use rostrum_hal::identity::Udid;

use super::{
    ProvisionError,
    bench_key::{BenchKey, BenchPublic},
    record::{self, Event, Fault, Record},
};

/// An open record. Nobody else has it open.
pub struct Ledger {
    path: PathBuf,
    file: File,
    record: Record,
}

impl Ledger {
    /// Opens a record, or begins one, and proves all of it. What a crash left of a line is removed: nothing was written to
    /// a terminal before its line was whole and on the disk.
    ///
    /// # Errors
    /// [`ProvisionError::Busy`], [`ProvisionError::Record`], [`ProvisionError::Io`].
    pub fn open(path: &Path, key: &BenchPublic) -> Result<Self, ProvisionError> {
        let at = || ProvisionError::at(path);
        let place = || path.display().to_string();
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(at())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ProvisionError::Busy { place: place() }),
            Err(TryLockError::Error(source)) => return Err(at()(source)),
        }
        let mut text = String::new();
        (&file).read_to_string(&mut text).map_err(at())?;
        let mut record = Record::new(key.clone());
        let rest = record.read(&text).map_err(|(line, fault)| {
            let message = fault.to_string();
            ProvisionError::Record { place: place(), line, message }
        })?;
        let mut ledger = Self { path: path.to_owned(), file, record };
        if !rest.is_empty() {
            ledger.mend(rest, text.len() - rest.len()).map_err(at())?;
        }
        // The file itself may be new.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(at())?;
        Ok(ledger)
    }

    /// What is left of a line gets its end when it is whole, as its name may be known, and goes when it is not.
    fn mend(&mut self, rest: &str, good_length: usize) -> std::io::Result<()> {
        if self.record.take(rest).is_ok() {
            self.file.write_all(b"\n")?;
        } else {
            log::warn!("the end of the record was cut by a crash, before its name was used; it is removed");
            self.file.set_len(u64::try_from(good_length).unwrap_or(u64::MAX))?;
            self.file.seek(SeekFrom::End(0))?;
        }
        self.file.sync_all()
    }

    /// What it says.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Refuses a name that was given away, to the end or not, unless it may be used again.
    ///
    /// # Errors
    /// [`ProvisionError::Used`].
    pub fn refuse_used(&self, udid: &Udid, replace: bool) -> Result<(), ProvisionError> {
        match self.record.used(udid) {
            Some(used) if !replace => {
                Err(ProvisionError::Used { udid: udid.clone(), line: used.line, complete: used.complete })
            }
            _ => Ok(()),
        }
    }

    /// The line that would be next; nothing is written.
    ///
    /// # Errors
    /// None that is known.
    pub fn draft(&self, event: Event, time_unix_s: u64, key: &BenchKey) -> Result<String, ProvisionError> {
        record::line(&self.record.next(event, time_unix_s), key).map_err(|fault| self.fault(&fault))
    }

    /// Writes a line of [`Ledger::draft`]. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`ProvisionError::Io`]; then the line may be there or not.
    pub fn append(&mut self, line: &str) -> Result<(), ProvisionError> {
        let mut next = self.record.clone();
        next.take(line).map_err(|fault| self.fault(&fault))?;
        let written = self.file.write_all(format!("{line}\n").as_bytes()).and_then(|()| self.file.sync_all());
        written.map_err(ProvisionError::at(&self.path))?;
        self.record = next;
        Ok(())
    }

    fn fault(&self, fault: &Fault) -> ProvisionError {
        let place = self.path.display().to_string();
        ProvisionError::Record { place, line: 0, message: fault.to_string() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        fs,
        time::{Duration, Instant},
    };

    use super::super::bench_key::test_key;
    use super::*;

    fn udid(name: &str) -> Udid {
        Udid::new(name).unwrap()
    }

    fn given(name: &str) -> Event {
        Event::Given {
            udid: udid(name),
            public_key: None,
            site_sha256: "00".into(),
            update_token_sha256: None,
            replaces: false,
        }
    }

    /// Opens a record that nobody has open any more. A program that another test starts at this moment has a copy of
    /// what is open here, until it is that program.
    fn open(path: &Path) -> Result<Ledger, ProvisionError> {
        let begun = Instant::now();
        loop {
            match Ledger::open(path, &test_key(1).public()) {
                Err(ProvisionError::Busy { .. }) if begun.elapsed() < Duration::from_secs(5) => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                opened => return opened,
            }
        }
    }

    fn append(ledger: &mut Ledger, event: Event) {
        let line = ledger.draft(event, 7, &test_key(1)).unwrap();
        ledger.append(&line).unwrap();
    }

    #[test]
    fn a_name_is_refused_as_soon_as_it_was_given_away_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let mut ledger = open(&path).unwrap();
        ledger.refuse_used(&udid("A"), false).unwrap();
        append(&mut ledger, given("A"));
        let unfinished = ledger.refuse_used(&udid("A"), false).unwrap_err().to_string();
        assert!(unfinished.contains("line 1") && unfinished.contains("not finished"), "{unfinished}");
        append(&mut ledger, Event::Written { udid: udid("A") });
        drop(ledger);
        let ledger = open(&path).unwrap();
        let error = ledger.refuse_used(&udid("A"), false).unwrap_err().to_string();
        assert!(error.contains("--replace") && !error.contains("not finished"), "{error}");
        ledger.refuse_used(&udid("A"), true).unwrap();
        ledger.refuse_used(&udid("B"), false).unwrap();
    }

    #[test]
    fn two_benches_cannot_write_one_record_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let first = open(&path).unwrap();
        let second = Ledger::open(&path, &test_key(1).public());
        assert!(matches!(second, Err(ProvisionError::Busy { .. })));
        drop(first);
        open(&path).unwrap();
    }

    #[test]
    fn a_crash_at_every_byte_of_a_line_loses_no_name_that_was_used_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let mut ledger = open(&path).unwrap();
        append(&mut ledger, given("A"));
        drop(ledger);
        let before = fs::metadata(&path).unwrap().len();
        let mut ledger = open(&path).unwrap();
        append(&mut ledger, given("B"));
        drop(ledger);
        let whole = fs::read(&path).unwrap();
        for length in before..=whole.len() as u64 {
            fs::write(&path, &whole[..length as usize]).unwrap();
            let mut ledger = open(&path).unwrap();
            assert!(ledger.refuse_used(&udid("A"), false).is_err(), "{length}");
            // Only without its line break, or with it, is the line whole.
            let is_there = length + 1 >= whole.len() as u64;
            assert_eq!(ledger.refuse_used(&udid("B"), false).is_err(), is_there, "{length}");
            append(&mut ledger, given("C"));
            drop(ledger);
            assert!(open(&path).unwrap().refuse_used(&udid("C"), false).is_err(), "{length}");
        }
    }

    #[test]
    fn a_changed_record_is_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        append(&mut open(&path).unwrap(), given("A"));
        let text = fs::read_to_string(&path).unwrap().replace("\"A\"", "\"B\"");
        fs::write(&path, &text).unwrap();
        let error = open(&path).err().unwrap().to_string();
        assert!(error.contains("in line 1"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "nothing was touched");
    }
}
