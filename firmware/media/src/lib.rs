//! rostrum-media.
