//! What the scenarios are written with: a service and rooms, a browser, LiveKit's Python and Go SDKs, and ways to
//! look at pictures and to listen to sound.

pub mod boot_disk;
pub mod browser;
pub mod go;
pub mod image;
pub mod lab;
pub mod network;
pub mod picture;
pub mod proxy;
pub mod python;
pub mod rig;
pub mod signalling;
pub mod sound;
pub mod updates;
pub mod wait;

pub use browser::Browser;
pub use go::Go;
pub use lab::Lab;
pub use network::{Cable, Network};
pub use proxy::Proxy;
pub use python::Python;
pub use rig::RigRoom;
pub use wait::until;
