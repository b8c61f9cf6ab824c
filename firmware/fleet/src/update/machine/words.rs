//! What happens, and what is to be done.

use std::{collections::BTreeSet, path::PathBuf};

use rostrum_hal::selftest::Part;

use crate::update::{
    offer::{Bundle, BundleInfo, Offer, Trouble},
    policy::{LocalTime, RoomState},
    record::Record,
    status::Status,
};

/// What RAUC, the boot loader and the kernel say after a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Differs from boot to boot.
    pub id: String,
    /// The kind of machine.
    pub compatible: String,
    /// The version that runs.
    pub version: String,
    /// Name of the slot that runs, at the boot loader.
    pub slot: String,
    /// Name of the other one.
    pub other: String,
    /// The version in the other slot, as far as RAUC knows.
    pub other_version: Option<String>,
    /// Which slot the boot loader takes the next time.
    pub next: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// RAUC was asked.
    Started(Boot),
    /// What the terminal does.
    Room(RoomState),
    /// The local time, or that the clock is not set.
    Clock(Option<LocalTime>),
    /// Somebody offers a version; the same one is offered again and again.
    Offered(Offer),
    /// The server offers nothing.
    NothingOffered,
    /// The server offers something that cannot be installed.
    Unusable {
        /// Its action.
        action: String,
        /// Why.
        text: String,
    },
    /// The server takes an action back.
    Withdrawn {
        /// Its id.
        action: String,
    },
    /// A person says yes or no to what the server asks for.
    Confirmed {
        /// Yes.
        yes: bool,
    },
    /// How far the fetching is, in percent.
    Fetching(u8),
    /// The bundle is here, or is not.
    Fetched(Result<PathBuf, Trouble>),
    /// What the bundle says of itself, or why it is none.
    Inspected(Result<BundleInfo, Trouble>),
    /// How far RAUC is, in percent.
    Installing(u8),
    /// RAUC is done.
    Installed(Result<(), Trouble>),
    /// The parts that failed a self-test before the restart.
    Tested(BTreeSet<Part>),
    /// Whether what runs is good; why not.
    Checked(Result<(), String>),
    /// The boot loader was told.
    Marked(Result<(), String>),
    /// The source was told of the outcome.
    Told(u64),
    /// The record could not be kept.
    NotKept(String),
    /// Time passes; at least once a second.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Write the record and sync it.
    Keep(Box<Record>),
    /// Fetch a bundle.
    Fetch(Offer),
    /// Pause or resume what is fetched or installed.
    Hold(bool),
    /// Stop fetching, and forget what was fetched.
    Discard,
    /// Read what the bundle says of itself.
    Inspect(Bundle),
    /// Have RAUC install it.
    Install(Bundle),
    /// Test the parts of the terminal before the restart.
    Test,
    /// Look whether what runs is good: its units, its storage, and, when `parts` is given, the self-test without those.
    Check {
        /// Parts that failed before; no self-test when `None`.
        failing: Option<BTreeSet<Part>>,
    },
    /// Tell the boot loader that the slot that runs is good.
    MarkGood,
    /// Tell the boot loader that the slot that runs is bad, and the other one is next.
    GoBack,
    /// Tell the boot loader that the slot that runs is next as well.
    Stay,
    /// Restart through the service manager.
    Restart,
    /// Tell the server how it goes.
    Tell {
        /// The server's action.
        action: String,
        /// How it goes.
        news: News,
    },
    /// Show it.
    Show(Status),
}

/// What the server is told on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It goes on, or waits.
    Proceeding(String),
    /// The bundle is here.
    Downloaded,
    /// It cannot be taken back any more.
    TooLate,
    /// A person said yes or no.
    Answer {
        /// Yes.
        yes: bool,
    },
}
