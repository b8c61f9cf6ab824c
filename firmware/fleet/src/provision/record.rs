//! The record of a bench, as text: one JSON object a line, each signed, each holding the hash of the one before.
//!
//! A line that was changed, removed from the middle or put in another place is found. Lines that were removed from the
//! end are not, by the record alone: the terminals hold the lines that gave them their names.

use std::collections::BTreeMap;

use rostrum_hal::identity::Udid;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::bench_key::{BenchKey, BenchPublic};

/// First line of what is signed, so that it is nothing else.
const KIND: &str = "rostrum-provision-record-1\n";

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// From 1, by one.
    pub sequence: u64,
    /// SHA-256 of the line before without its line break, in hexadecimal; zeros in the first.
    pub previous: String,
    /// When, in seconds since 1970 (UTC), by the bench's clock.
    pub time_unix_s: u64,
    /// [`BenchPublic::id`] of who signed.
    pub bench: String,
    /// What.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A name was given away: said before anything is written to the terminal, which holds this line too.
    Given {
        /// The name.
        udid: Udid,
        /// The line by which the service knows the device's key; `None` when the device makes its key itself.
        public_key: Option<String>,
        /// SHA-256 of the site file on the device, in hexadecimal.
        site_sha256: String,
        /// SHA-256 of the token for the update server, which is too random to be guessed from it.
        update_token_sha256: Option<String>,
        /// Somebody said that a name or a disk that was used may be used again.
        replaces: bool,
    },
    /// It was written, and read back.
    Written {
        /// The name.
        udid: Udid,
    },
}

impl Event {
    /// Whom it is about.
    pub fn udid(&self) -> &Udid {
        match self {
            Self::Given { udid, .. } | Self::Written { udid } => udid,
        }
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(String);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed<'a> {
    #[serde(borrow)]
    entry: &'a RawValue,
    signature: String,
}

/// The line of an entry, without a line break.
///
/// # Errors
/// None that is known.
pub fn line(entry: &Entry, key: &BenchKey) -> Result<String, Fault> {
    let failed = |error: serde_json::Error| Fault(error.to_string());
    let text = serde_json::to_string(entry).map_err(failed)?;
    let signature = key.sign(format!("{KIND}{text}").as_bytes());
    let entry = RawValue::from_string(text).map_err(failed)?;
    serde_json::to_string(&Signed { entry: &entry, signature }).map_err(failed)
}

/// The entry of a line that `key` signed.
///
/// # Errors
/// What is wrong with it.
pub fn open(line: &str, key: &BenchPublic) -> Result<Entry, Fault> {
    let Signed { entry, signature } =
        serde_json::from_str(line).map_err(|error| Fault(format!("it is no line of a record: {error}")))?;
    if !key.signed(format!("{KIND}{entry}").as_bytes(), &signature) {
        return Err(Fault(format!("the key {} did not sign it", key.id())));
    }
    serde_json::from_str(entry.get()).map_err(|error| Fault(format!("it is no entry: {error}")))
}

/// What was given away, and when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Line of the record that gave it away last, from 1.
    pub line: u64,
    /// It was written to the end.
    pub complete: bool,
}

/// A whole record.
#[derive(Clone, Debug)]
pub struct Record {
    key: BenchPublic,
    next: u64,
    last: String,
    used: BTreeMap<Udid, Use>,
}

impl Record {
    /// One without a line.
    pub fn new(key: BenchPublic) -> Self {
        Self { key, next: 1, last: hex::encode([0; 32]), used: BTreeMap::new() }
    }

    /// Takes all lines that end with a line break, and gives what is left: a line that a crash cut, or nothing.
    ///
    /// # Errors
    /// The number of the first line that is not right, from 1, and why.
    pub fn read<'a>(&mut self, text: &'a str) -> Result<&'a str, (usize, Fault)> {
        let mut rest = text;
        let mut number = 0;
        while let Some((line, behind)) = rest.split_once('\n') {
            number += 1;
            self.take(line).map_err(|fault| (number, fault))?;
            rest = behind;
        }
        Ok(rest)
    }

    /// Takes the next line.
    ///
    /// # Errors
    /// What is wrong with it; then nothing has changed.
    pub fn take(&mut self, line: &str) -> Result<(), Fault> {
        let entry = open(line, &self.key)?;
        if entry.sequence != self.next {
            return Err(Fault(format!("it has number {} in the place of {}", entry.sequence, self.next)));
        }
        if entry.previous != self.last {
            return Err(Fault("the line before it is another one than when it was written".into()));
        }
        self.next += 1;
        self.last = hex::encode(Sha256::digest(line));
        let used = self.used.entry(entry.event.udid().clone());
        let used = used.or_insert(Use { line: entry.sequence, complete: false });
        match entry.event {
            Event::Given { .. } => *used = Use { line: entry.sequence, complete: false },
            Event::Written { .. } => used.complete = true,
        }
        Ok(())
    }

    /// The next line, for [`Record::take`] after it was written.
    pub fn next(&self, event: Event, time_unix_s: u64) -> Entry {
        Entry { sequence: self.next, previous: self.last.clone(), time_unix_s, bench: self.key.id(), event }
    }

    /// Whether, and where, a name was given away.
    pub fn used(&self, udid: &Udid) -> Option<Use> {
        self.used.get(udid).copied()
    }

    /// All names that were given away.
    pub fn udids(&self) -> impl Iterator<Item = &Udid> {
        self.used.keys()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

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

    /// A record of three lines.
    fn text() -> String {
        let mut record = Record::new(test_key(1).public());
        let mut text = String::new();
        for event in [given("A"), Event::Written { udid: udid("A") }, given("B")] {
            let line = line(&record.next(event, 7), &test_key(1)).unwrap();
            record.take(&line).unwrap();
            text += &format!("{line}\n");
        }
        text
    }

    fn read(text: &str) -> Result<(Record, &str), (usize, Fault)> {
        let mut record = Record::new(test_key(1).public());
        let rest = record.read(text)?;
        Ok((record, rest))
    }

    #[test]
    fn a_record_knows_what_was_given_away_and_what_was_finished() {
        let text = text();
        let (record, rest) = read(&text).unwrap();
        assert_eq!(record.used(&udid("A")), Some(Use { line: 1, complete: true }));
        assert_eq!(record.used(&udid("B")), Some(Use { line: 3, complete: false }));
        assert_eq!((record.used(&udid("C")), rest), (None, ""));
        let cut = &text[..text.len() - 1];
        let (record, rest) = read(cut).unwrap();
        assert!(record.used(&udid("B")).is_none() && rest.contains("\"B\""), "a line without an end");
    }

    #[test]
    fn a_line_that_was_changed_moved_removed_or_signed_by_somebody_else_is_found() {
        let text = text();
        let lines: Vec<_> = text.lines().collect();
        let wrong = |lines: &[&str]| read(&format!("{}\n", lines.join("\n"))).unwrap_err();
        assert_eq!(wrong(&[lines[0], &lines[1].replace("\"A\"", "\"Z\""), lines[2]]).0, 2);
        assert_eq!(wrong(&[lines[1], lines[2]]).0, 1);
        assert_eq!(wrong(&[lines[0], lines[2]]).0, 2);
        assert_eq!(wrong(&[lines[0], lines[0]]).0, 2);
        let mut record = Record::new(test_key(1).public());
        record.take(lines[0]).unwrap();
        let stranger = line(&record.next(given("B"), 7), &test_key(2)).unwrap();
        let (number, fault) = wrong(&[lines[0], &stranger]);
        assert!(number == 2 && fault.to_string().contains("did not sign"), "{fault}");
        // Right in itself, and after another line than it says.
        let other = Entry { previous: "00".into(), ..record.next(given("B"), 7) };
        let fault = record.take(&line(&other, &test_key(1)).unwrap()).unwrap_err();
        assert!(fault.to_string().contains("line before"), "{fault}");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_none_is_a_record_by_chance(text in "(\\PC{0,60}\n){0,3}\\PC{0,20}") {
            let lines = text.matches('\n').count();
            prop_assert_eq!(read(&text).is_ok(), lines == 0);
        }

        #[test]
        fn one_changed_byte_anywhere_is_found_or_leaves_no_end(at in any::<prop::sample::Index>(), byte in 32..127_u8) {
            let text = text();
            let mut bytes = text.clone().into_bytes();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            match read(&changed) {
                Err(_) => {}
                // The last line break.
                Ok((record, rest)) => prop_assert!(!rest.is_empty() && record.used(&udid("B")).is_none()),
            }
        }
    }
}
