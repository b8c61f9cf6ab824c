//! rostrum-fleet.
