//! LiveKit's signalling as a client speaks it: the doors of the service, and messages over a WebSocket.

mod door;
mod socket;

pub(crate) use door::{Door, Hello, address};
pub(crate) use socket::{DoorError, Reader, Writer, connect};

/// A message to the service.
pub(crate) use livekit_protocol::signal_request::Message as Request;
