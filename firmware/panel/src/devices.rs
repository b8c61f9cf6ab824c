//! Devices that could be used, and their test.

use rostrum_hal::selftest::Check;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// What this terminal could use, of each kind the board's own first; empty where it does without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceChoices {
    /// Cameras.
    pub camera: Vec<DeviceChoice>,
    /// Microphone arrays.
    pub microphones: Vec<DeviceChoice>,
    /// Speakers.
    pub speaker: Vec<DeviceChoice>,
}

/// One device that could be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceChoice {
    /// Tells it from the others, also after a restart: `profile` for that of the board's profile.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// It is the one in use.
    pub chosen: bool,
    /// Why it cannot be used now.
    pub problem: Option<String>,
}

/// A test of the terminal's parts that runs, or the last one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Selftest {
    /// It goes on.
    pub running: bool,
    /// What is tested now.
    pub part: Option<String>,
    /// What somebody is to do now, such as to press a button.
    pub please: Option<String>,
    /// What somebody is to answer with yes or no now, at `/api/v1/selftest/answer`.
    pub question: Option<String>,
    /// What was found so far.
    #[schema(value_type = Vec<schema::CheckSchema>)]
    pub checks: Vec<Check>,
    /// Checks that are still to come, as far as is known.
    pub remaining: usize,
}
