//! Where logs go: to the journal under systemd, else to standard error.

use std::io::Write as _;

use anyhow::Context as _;
use log::kv::{Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

/// Starts logging.
///
/// # Errors
/// When the journal is there and does not answer.
pub(crate) fn start(level: LevelFilter) -> anyhow::Result<()> {
    if systemd_journal_logger::connected_to_journal() {
        let journal = systemd_journal_logger::JournalLog::new().context("cannot reach the journal")?;
        journal.install().context("logging was started already")?;
    } else {
        log::set_boxed_logger(Box::new(StandardError)).context("logging was started already")?;
    }
    log::set_max_level(level);
    Ok(())
}

struct StandardError;

/// Writes key-values behind a message.
struct Pairs<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        self.0.push_str(&format!(" {key}={value}"));
        Ok(())
    }
}

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What libraries warn of (TLS extensions that they do not know, for example) is for their authors.
        metadata.target().starts_with("rostrum")
            || metadata.target().starts_with("channeld")
            || metadata.level() <= log::Level::Error
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = format!("{:5} {}: {}", record.level(), record.target(), record.args());
        // A value that cannot be shown is left out.
        let _ = record.key_values().visit(&mut Pairs(&mut line));
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn flush(&self) {}
}
