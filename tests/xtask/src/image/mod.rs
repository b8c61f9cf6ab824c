//! `cargo xtask image`: what is flashed to terminals.

pub mod kas;
