//! What `cargo xtask` is made of. The scenario tests use [`room`] to start the same programs the same way.

pub mod bench;
pub mod demo;
pub mod go;
pub mod image;
pub mod livekit;
pub mod paths;
pub mod process;
pub mod prove;
pub mod recipes;
pub mod rig;
pub mod room;
pub mod screenshots;
pub mod setup;
pub mod test;
