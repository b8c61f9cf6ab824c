//! A terminal without hardware for updates: the real RAUC as a service on a bus of its own, two slots, a scripted boot
//! loader that counts, and a disk that keeps only what was synced when its power is cut. Needs root: for loop devices
//! and mounts.

mod bundle;
mod ddi;
mod disk;
mod stand_ins;
mod terminal;

pub use bundle::{Bundles, Image, Quality};
pub use ddi::{Ddi, Offered, certificates};
pub use terminal::{OLD, UpdateTerminal};

use std::sync::LazyLock;

use xtask::image::{self, Rauc};

/// RAUC of our architecture: fetched once in a process, whichever test comes first.
///
/// # Panics
/// When it cannot be fetched.
pub fn rauc() -> Rauc {
    static RAUC: LazyLock<Rauc> = LazyLock::new(|| image::rauc().unwrap_or_else(|error| panic!("{error:#}")));
    RAUC.clone()
}
