//! `rostrumd probe`: what this machine has, and a profile that uses it.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use rostrum_board::{Profile, drivers, probe};

/// What the command takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Print JSON in the place of a table.
    #[arg(long)]
    json: bool,
    /// Write a profile for this machine to that file as well.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Overwrite that file when it exists.
    #[arg(long, requires = "write")]
    force: bool,
}

/// Looks, writes the profile when that was asked for, and gives what to print.
pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let machine = probe::look();
    let mut text = if options.json { serde_json::to_string_pretty(&machine)? } else { machine.table() };
    if let Some(path) = &options.write {
        write(path, &machine.profile(), options.force)?;
        if !options.json {
            let path = path.display();
            text +=
                &format!("\nThe profile is in {path}; try it with `rostrumd selftest --profile {path}`.\n");
        }
    }
    Ok(text.trim_end().to_owned())
}

fn write(path: &Path, profile: &str, force: bool) -> anyhow::Result<()> {
    // What would not be read again is not written.
    drivers::check(&Profile::parse(profile, "probe")?)?;
    let mut open = OpenOptions::new();
    open.write(true);
    if force {
        open.create(true).truncate(true)
    } else {
        open.create_new(true)
    };
    let mut file = match open.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} exists; give --force to overwrite it, or another name", path.display())
        }
        opened => opened.with_context(|| format!("{} cannot be written", path.display()))?,
    };
    file.write_all(profile.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_profile_that_is_there_is_overwritten_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("board.toml");
        let profile = probe::Machine::default().profile();
        std::fs::write(&path, "mine").unwrap();
        let error = write(&path, &profile, false).unwrap_err().to_string();
        assert!(error.contains("--force"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        write(&path, &profile, true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), profile);
        assert_eq!(Profile::named_or_path(path.to_str().unwrap()).unwrap().name, "board");
    }

    #[test]
    fn what_would_not_be_read_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("board.toml");
        write(&path, "name = 5", false).unwrap_err();
        assert!(!path.exists());
    }

    #[test]
    fn this_machine_is_told_as_a_table_and_as_data() {
        let options = |json| Options { json, write: None, force: false };
        assert!(run(&options(false)).unwrap().contains("\nNetwork\n"));
        let data: serde_json::Value = serde_json::from_str(&run(&options(true)).unwrap()).unwrap();
        assert!(data["cameras"].is_array() && data["networks"].is_array(), "{data}");
    }
}
