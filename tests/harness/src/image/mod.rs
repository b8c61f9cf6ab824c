//! An installed image in a machine of its own, and what stands around it: for the proof and the benches.

mod files;
mod machine;
mod site;

pub use files::Files;
pub use machine::{BOOT, Machine};
pub use site::{CAMERA_ID, PASSWORD, PATIENCE, SEALED_KEY, Site, UDID, USER, bar, updater};
