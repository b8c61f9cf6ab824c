//! What a terminal does for whoever looks after many of them: its key, its site, its self-test and its updates; and the
//! bench that makes it a terminal.

pub mod device_key;
pub mod https;
pub mod provision;
pub mod selftest;
pub mod site;
pub mod update;
