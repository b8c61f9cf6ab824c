//! What can go wrong when a board is opened.

use std::path::PathBuf;

/// Why a board cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// There is no such profile.
    #[error("there is no board profile named {name}; there are {present}, or give the path of a .toml file")]
    UnknownProfile {
        /// The name asked for.
        name: String,
        /// Profiles that are there.
        present: String,
    },
    /// The profile's file cannot be read.
    #[error("the board profile {} cannot be read: {source}", path.display())]
    ReadProfile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The profile's file says something that is not understood.
    #[error("the board profile {file} is wrong: {source}")]
    ParseProfile {
        /// The file.
        file: String,
        /// Line, column and what was expected.
        source: Box<toml::de::Error>,
    },
    /// There is no such driver.
    #[error("profile {profile}, [{section}]: there is no driver named {name} for it; there are {present}")]
    UnknownDriver {
        /// The profile.
        profile: String,
        /// Section of the profile.
        section: String,
        /// The name asked for.
        name: String,
        /// Drivers for that kind of device.
        present: String,
    },
    /// A driver does not understand its section.
    #[error("profile {profile}, [{section}], driver {driver}: {message}")]
    Options {
        /// The profile.
        profile: String,
        /// Section of the profile.
        section: String,
        /// The driver.
        driver: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// The device that a section names is not on this machine.
    #[error("profile {profile}, [{section}]: {name} is not there; {hint}")]
    Absent {
        /// The profile.
        profile: String,
        /// Section of the profile.
        section: String,
        /// The device asked for.
        name: String,
        /// What is there, or what to do.
        hint: String,
    },
    /// The device that a section names is there, but not for us.
    #[error("profile {profile}, [{section}]: {name} cannot be used: {message}")]
    Unusable {
        /// The profile.
        profile: String,
        /// Section of the profile.
        section: String,
        /// The device asked for.
        name: String,
        /// Who uses it, what the system said, or what to do.
        message: String,
    },
    /// A GStreamer element is not installed.
    #[error("the GStreamer element {element} is not installed; {hint}")]
    MissingElement {
        /// The element.
        element: String,
        /// What to install.
        hint: String,
    },
    /// GStreamer itself does not start.
    #[error("GStreamer does not start: {message}; install libgstreamer1.0-0 and gstreamer1.0-plugins-base")]
    GStreamer {
        /// What it said.
        message: String,
    },
    /// A recording cannot be played.
    #[error("the recording {} cannot be played: {message}", path.display())]
    Clip {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A recording was given to a board that cannot show it.
    #[error(
        "profile {profile} has no virtual camera or microphones for a recording; use the profile virtual"
    )]
    ClipWithoutVirtualBoard {
        /// The profile.
        profile: String,
    },
}

/// Why a device does not open, now or when it is looked for again after it was unplugged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// It is not there.
    #[error("{name} is not there; {hint}")]
    Absent { name: String, hint: String },
    /// It is there, but not for us.
    #[error("{name} cannot be used: {message}")]
    Unusable { name: String, message: String },
}
