//! The hardware of a room terminal: traits, value types and errors, and [`sim`], a virtual board.
//!
//! No runtime and no I/O live here: asynchronous functions can be polled by any executor, and a driver
//! (in `board/`) brings its own file descriptors. All times are [`Timestamp`]s of one clock.

pub mod buttons;
pub mod camera;
mod device_kind;
pub mod display;
pub mod encoder;
pub mod frame;
pub mod identity;
pub mod indicator;
pub mod latest;
pub mod microphone;
pub mod mute_switch;
pub mod notify;
pub mod planes;
pub mod presence;
pub mod scaler;
pub mod screen_power;
pub mod selftest;
pub mod sim;
pub mod speaker;
pub mod time;
pub mod watchdog;

pub use device_kind::DeviceKind;
pub use frame::{DmaBuf, Frame, FrameData, FrameSize, PixelFormat};
pub use time::Timestamp;
