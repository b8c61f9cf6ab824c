//! rostrum-channel.
pub mod transport;
