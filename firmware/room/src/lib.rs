//! What the room is doing, and what follows from it: a state machine without I/O, threads or a clock.
//!
//! The shell (the daemon) turns whatever happens into an [`Event`], hands it to [`Room::handle`] with the
//! time, and does the returned [`Command`]s in their order. [`Room::status`] is what the panel shows.

mod command;
mod event;
mod lights;
mod mute;
mod note;
mod reset;
mod room;
mod screen;
mod status;

pub use command::{Command, Commands};
pub use event::{Event, Part, Request, Update};
pub use mute::MuteReason;
pub use note::{Note, Severity};
pub use reset::{RESET_HOLD, RESET_PATIENCE, RESET_SILENCE, Reset, ResetButtons};
pub use room::{JOIN_SLOW, LEAVE_PATIENCE, Room, RoomConfig};
pub use status::{Phase, Signals, Status};
