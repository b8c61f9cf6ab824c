//! rostrum-board.
