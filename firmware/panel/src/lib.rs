//! rostrum-panel.
