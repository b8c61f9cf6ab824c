//! The bench: gives a terminal its name, its key and its site, prints its label, and keeps a record of all of them.
//!
//! ```text
//! site file, Udid ---> record (signed, synced) ---> factory partition of a disk or an image ---> label, registration
//! ```
//!
//! A Udid is written to the record, and the record to the disk, before anything is written to the terminal: no crash makes
//! a Udid that was given away look unused.

pub mod bench_key;
pub mod block_map;
pub mod cli;
pub mod disk;
mod error;
pub mod factory;
pub mod label;
pub mod ledger;
pub mod partition_table;
pub mod record;
pub mod register;
pub mod seal;
pub mod serial;
mod tool;

pub use error::ProvisionError;
