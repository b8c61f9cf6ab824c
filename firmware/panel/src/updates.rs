//! Updates of the terminal's software, as the panel shows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Update {
    /// What is done.
    pub phase: UpdatePhase,
    /// The version that runs.
    pub running: String,
    /// The version that is to be installed; `null` when there is none or it is not known yet.
    pub version: Option<String>,
    /// How far what is done is, 0..=100; `null` when nobody can tell.
    pub percent: Option<u8>,
    /// A person is to say yes or no.
    pub asks: bool,
    /// What it waits for, in plain words.
    pub reason: Option<String>,
    /// How the last one ended.
    pub last: Option<UpdateEnd>,
}

/// What is done about an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdatePhase {
    /// Nothing.
    #[default]
    Idle,
    /// It waits.
    Waiting,
    /// It is fetched.
    Fetching,
    /// It is written beside the version that runs.
    Installing,
    /// The terminal restarts.
    Restarting,
    /// The new version shows that it is good.
    Checking,
}

/// How an update ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpdateEnd {
    /// The new version runs.
    pub ok: bool,
    /// The version, when it is known.
    pub version: Option<String>,
    /// What happened, in plain words.
    pub text: String,
}
