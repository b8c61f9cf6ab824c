//! Bundles on USB sticks, which the system mounts read-only, each below a folder of its own.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::offer::{Bundle, Offer, Source, Urgency};

/// A bundle as it was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    path: PathBuf,
    length: u64,
    changed: Option<SystemTime>,
}

/// What lies on the sticks.
#[derive(Debug)]
pub struct Sticks {
    dir: PathBuf,
    /// What was offered since it was plugged in.
    offered: BTreeSet<Found>,
}

/// Entries of a folder that are looked at.
const ENTRIES: usize = 1000;

impl Sticks {
    /// Below `dir` there is a folder for each stick.
    pub fn below(dir: PathBuf) -> Self {
        Self { dir, offered: BTreeSet::new() }
    }

    /// A bundle that was not offered since its stick was plugged in.
    pub fn next_offer(&mut self) -> Option<Offer> {
        let here = bundles(&self.dir);
        // What is plugged in again is offered again.
        self.offered.retain(|found| here.contains(found));
        let found = here.into_iter().find(|found| !self.offered.contains(found))?;
        self.offered.insert(found.clone());
        log::info!(file:% = found.path.display(); "a bundle is on a stick");
        Some(offer(found.path, Source::Stick))
    }
}

/// An offer of a file that a person brought.
pub fn offer(path: PathBuf, source: Source) -> Offer {
    Offer {
        source,
        version: None,
        bundle: Bundle::File { path },
        download: Urgency::Forced,
        install: Urgency::Forced,
        window: None,
        security: false,
        asks: false,
    }
}

fn bundles(dir: &Path) -> BTreeSet<Found> {
    entries(dir).filter(|stick| stick.is_dir()).flat_map(|stick| entries(&stick).filter_map(found)).collect()
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .take(ENTRIES)
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
}

fn found(path: PathBuf) -> Option<Found> {
    // Not what a link on the stick points to.
    let metadata = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let is_bundle = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("raucb"));
    // Systems write files beside their own that begin with a dot.
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    (is_bundle && !is_hidden).then(|| Found {
        length: metadata.len(),
        changed: metadata.modified().ok(),
        path,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_bundle_is_offered_once_each_time_its_stick_is_plugged_in() {
        let dir = tempfile::tempdir().unwrap();
        let mut sticks = Sticks::below(dir.path().into());
        assert_eq!(sticks.next_offer(), None);
        let stick = dir.path().join("sda1");
        fs::create_dir(&stick).unwrap();
        for name in ["a.raucb", "notes.txt", "._a.raucb"] {
            fs::write(stick.join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", stick.join("b.raucb")).unwrap();
        let offer = sticks.next_offer().unwrap();
        assert_eq!(offer.bundle, Bundle::File { path: stick.join("a.raucb") });
        assert_eq!(sticks.next_offer(), None);
        fs::remove_dir_all(&stick).unwrap();
        assert_eq!(sticks.next_offer(), None);
        fs::create_dir(&stick).unwrap();
        fs::write(stick.join("a.RAUCB"), "x").unwrap();
        assert!(sticks.next_offer().is_some());
    }

    #[test]
    fn a_stick_that_is_nothing_but_trouble_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("sda1"), "no folder").unwrap();
        fs::create_dir_all(dir.path().join("sdb1/x.raucb")).unwrap();
        assert_eq!(Sticks::below(dir.path().into()).next_offer(), None);
    }
}
