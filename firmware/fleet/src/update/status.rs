//! What people see of updates.

use serde::{Deserialize, Serialize};

use super::record::Outcome;

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What is done.
    pub phase: Phase,
    /// The version that runs.
    pub running: String,
    /// The version that is to be installed.
    pub version: Option<String>,
    /// 0 to 100.
    pub percent: Option<u8>,
    /// A person is to say yes or no.
    pub asks: bool,
    /// What it waits for.
    pub reason: Option<String>,
    /// How the last one ended.
    pub last: Option<Outcome>,
}

/// What is done about an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing.
    #[default]
    Idle,
    /// It waits.
    Waiting,
    /// The bundle comes.
    Fetching,
    /// The other slot is written.
    Installing,
    /// The terminal restarts.
    Restarting,
    /// The new version shows that it is good.
    Checking,
}
