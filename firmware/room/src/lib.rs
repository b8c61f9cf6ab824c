//! rostrum-room.
