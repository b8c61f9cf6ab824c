//! Where things are.

use std::path::{Path, PathBuf};

/// The root of the checkout.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Where built peers and other things that are dear to make are kept by version, outside the checkout.
pub fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(|| {
        std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from).join(".cache")
    });
    base.join("rostrum")
}

/// Cargo's target directory.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A program of ours, built with `profile` (`debug` or `release`).
pub fn program(profile: &str, name: &str) -> PathBuf {
    target().join(profile).join(name)
}

/// The pages, built from `firmware/web`: `panel` or `guest`.
pub fn pages(which: &str) -> PathBuf {
    root().join("firmware/web/dist").join(which)
}

/// The Python interpreter that has the peers' packages.
pub fn python() -> PathBuf {
    crate::setup::venv_dir().join("bin/python")
}

/// Folder of the Chromium peer, with its `node_modules`.
pub fn chromium_peer() -> PathBuf {
    root().join("tests/peers/chromium")
}
