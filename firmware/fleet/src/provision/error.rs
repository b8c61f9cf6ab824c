//! What can go wrong on the bench.

use std::{io, path::Path};

use rostrum_hal::identity::Udid;

use crate::{device_key::DeviceKeyError, site::SiteError};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// A file or a device cannot be used.
    #[error("{place}: {source}")]
    Io {
        /// Which.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no key of the bench.
    #[error("there is no key {place}; make one with `rostrum-provision bench-key --key {place}`")]
    NoKey {
        /// Where it was looked for.
        place: String,
    },
    /// A key cannot be used.
    #[error("the key {place}: {message}")]
    Key {
        /// Which.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// A private key may be read by others, or cannot be read or made.
    #[error(transparent)]
    Secret(#[from] DeviceKeyError),
    /// Another program writes the record.
    #[error("the record {place} is in use by another rostrum-provision; wait until it is done")]
    Busy {
        /// Which.
        place: String,
    },
    /// The record is not what this bench wrote.
    #[error(
        "the record {place} is damaged or was changed in line {line}: {message}; go back to the last good copy, and do not \
         give any Udid away before"
    )]
    Record {
        /// Which.
        place: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A terminal has that name already, or may have it.
    #[error(
        "the Udid {udid} is used: line {line} of the record gave it away{}; choose another, or say --replace when it is \
         the same terminal",
        if *.complete { "" } else { ", though writing it was not finished" }
    )]
    Used {
        /// The name.
        udid: Udid,
        /// Line of the record, counted from 1.
        line: u64,
        /// It was written to the end.
        complete: bool,
    },
    /// No Udid is left below a prefix.
    #[error(
        "no serial number of {digits} digits is left for {prefix}; choose another prefix or more --digits"
    )]
    NoSerial {
        /// What they begin with.
        prefix: String,
        /// Digits of a number.
        digits: u8,
    },
    /// A disk or an image has no place for it.
    #[error(
        "{place}: {message}; flash the image first, or name the whole disk and not one of its partitions"
    )]
    Disk {
        /// Which.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// A disk is in use.
    #[error("{place} is in use ({by}); unmount its partitions, and make sure that it is the terminal's disk")]
    InUse {
        /// Which.
        place: String,
        /// By whom.
        by: String,
    },
    /// A disk belongs to a terminal already.
    #[error("{place} is that of the terminal {udid} already; say --replace to make it another's")]
    Provisioned {
        /// Which.
        place: String,
        /// Whose it is.
        udid: String,
    },
    /// A program of the system failed.
    #[error("{program} failed: {message}; it comes with e2fsprogs")]
    Tool {
        /// Its name.
        program: &'static str,
        /// What it said.
        message: String,
    },
    /// What was written is not what is read.
    #[error("{place} does not hold what was written to it; use another card or disk")]
    Differs {
        /// Which.
        place: String,
    },
    /// A factory partition is not as this program writes it.
    #[error("the factory partition: {message}; write it again with `rostrum-provision write`")]
    Factory {
        /// What is wrong.
        message: String,
    },
    /// The site file.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The service did not take a registration.
    #[error("{url}: {message}; check the address and the credentials")]
    Service {
        /// What was asked.
        url: String,
        /// What it said.
        message: String,
    },
    /// A label cannot be drawn.
    #[error("the label: {message}")]
    Label {
        /// Why.
        message: String,
    },
}

impl ProvisionError {
    /// For `map_err` of what is done to a file.
    pub(super) fn at(place: &Path) -> impl FnOnce(io::Error) -> Self {
        let place = place.display().to_string();
        move |source| Self::Io { place, source }
    }
}
