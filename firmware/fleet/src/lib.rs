//! What a terminal does for whoever looks after many of them: the self-test
//! and updates.

pub mod device_key;
pub mod https;
pub mod provision;
pub mod selftest;
pub mod site;
pub mod update;
