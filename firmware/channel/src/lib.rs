//! rostrum-channel.
