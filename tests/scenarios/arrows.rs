//! Dependencies between the crates point one way, as the design says
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each crate of ours may use. An absent crate is a mistake: give it a line here and in the README.
fn allowed() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("rostrum-hal", &[][..]),
        ("rostrum-board", &["rostrum-hal"]),
        ("rostrum-rtc", &[]),
        ("rostrum-channel", &["rostrum-rtc", "rostrum-media"]),
        ("rostrum-audio", &["rostrum-hal"]),
        ("rostrum-media", &["rostrum-hal"]),
        ("rostrum-room", &["rostrum-hal"]),
        ("rostrum-fleet", &["rostrum-hal"]),
        ("rostrum-panel", &["rostrum-room", "rostrum-hal"]),
        (
            "rostrumd",
            &[
                "rostrum-hal",
                "rostrum-board",
                "rostrum-rtc",
                "rostrum-audio",
                "rostrum-media",
                "rostrum-room",
                "rostrum-fleet",
                "rostrum-panel",
            ],
        ),
    ])
}

/// Crates under `tests/` may use everything.
const TESTS: [&str; 4] = ["rostrum-acoustics", "rostrum-tests", "rostrum-rig", "xtask"];

#[test]
fn no_crate_uses_one_that_the_design_does_not_allow() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let ours: BTreeSet<_> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let allowed = allowed();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        if TESTS.contains(&package.name.as_str()) {
            continue;
        }
        let Some(allowed) = allowed.get(package.name.as_str()) else {
            wrong.push(format!("{} is not in the design's table", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let counts = dependency.kind != DependencyKind::Development && ours.contains(&dependency.name);
            if counts && !allowed.contains(&dependency.name.as_str()) {
                wrong.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_crate_of_the_design_is_there() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let ours: BTreeSet<_> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let missing: Vec<_> = allowed().into_keys().filter(|name| !ours.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
