//! rostrum-rtc.
