//! rostrum-audio.
