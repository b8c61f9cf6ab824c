//! One service and its rooms, in a folder that goes away.

use std::{path::Path, time::Duration};

use serde_json::Value;
use xtask::room::{Service, ServiceOptions, Terminal, TerminalOptions};

use crate::{Browser, Python};

/// The channel that everybody in a scenario joins.
pub const CHANNEL: &str = "boardroom";
/// Time that a machine with two busy cores gets for what takes a moment elsewhere.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A service and a folder for all files of a scenario.
pub struct Lab {
    /// The service.
    pub service: Service,
    dir: tempfile::TempDir,
}

impl Lab {
    /// Starts a service.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn new() -> anyhow::Result<Self> {
        Self::with("", "debug")
    }

    /// Starts a service with more lines of configuration, built in `profile`.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn with(extra: &str, profile: &str) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("rostrum-").tempdir()?;
        let options =
            ServiceOptions { profile, dir: &dir.path().join("service"), ports: (0, 0), address: None, extra };
        Ok(Self { service: Service::start(&options)?, dir })
    }

    /// Starts a service that others reach at the address `here` of this machine too.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn at(here: &str, extra: &str) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("rostrum-").tempdir()?;
        let options = ServiceOptions {
            profile: "debug",
            dir: &dir.path().join("service"),
            ports: (0, 0),
            address: Some(here),
            extra,
        };
        Ok(Self { service: Service::start(&options)?, dir })
    }

    /// Folder of the scenario.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a room on the virtual board. It does not join by itself.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn room(&self, user: &str) -> anyhow::Result<Terminal> {
        self.room_with(user, None, "", "debug")
    }

    /// Starts a room with a recording, or with more lines of configuration.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn room_with(
        &self,
        user: &str,
        clip: Option<&Path>,
        extra: &str,
        profile: &str,
    ) -> anyhow::Result<Terminal> {
        self.room_on(None, user, clip, extra, profile)
    }

    /// Starts a room on a board of another profile.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn room_on_board(&self, board: &Path, user: &str) -> anyhow::Result<Terminal> {
        self.room_on(Some(board), user, None, "", "debug")
    }

    fn room_on(
        &self,
        board: Option<&Path>,
        user: &str,
        clip: Option<&Path>,
        extra: &str,
        profile: &str,
    ) -> anyhow::Result<Terminal> {
        let dir = self.dir.path().join(user);
        let options =
            TerminalOptions { profile, dir: &dir, port: 0, user, channel: CHANNEL, board, clip, extra };
        Terminal::start(&self.service, &options)
    }

    /// Starts a room and joins.
    ///
    /// # Errors
    /// When it is not in the channel in time.
    pub fn joined_room(&self, user: &str) -> anyhow::Result<Terminal> {
        let room = self.room(user)?;
        join(&room)?;
        Ok(room)
    }

    /// Joins the channel with a page of livekit-client that has the user's name; see [`Browser::join`].
    ///
    /// # Errors
    /// When it cannot join.
    pub fn chromium(&self, browser: &mut Browser, user: &str, options: Value) -> anyhow::Result<String> {
        let token = self.service.token(CHANNEL, user, None)?;
        browser.join(user, &self.service.url, &token, options)
    }

    /// Joins the channel with PyPI `livekit`; `more` are arguments of `peer.py`.
    ///
    /// # Errors
    /// When it cannot join.
    pub fn libwebrtc(&self, user: &str, more: &[&str]) -> anyhow::Result<Python> {
        let token = self.service.token(CHANNEL, user, None)?;
        let arguments = ["--url", &self.service.url, "--token", &token];
        let mut peer = Python::start(self.dir(), "peer.py", &[&arguments, more].concat())?;
        peer.event("connected", PATIENCE)?;
        Ok(peer)
    }

    /// The path of a participant of the channel in the management API, with `rest` after it.
    pub fn path_of(&self, user: &str, rest: &str) -> String {
        format!("/api/v1/channels/{CHANNEL}/participants/{user}{rest}")
    }

    /// Who is in the channel, by the service's own word.
    ///
    /// # Errors
    /// When the service does not answer.
    pub fn users(&self) -> anyhow::Result<Vec<String>> {
        let channels = self.service.api("GET", "/api/v1/channels", None)?;
        let known =
            channels.as_array().or_else(|| channels["channels"].as_array()).cloned().unwrap_or_default();
        if !known.iter().any(|channel| channel["name"] == CHANNEL || channel["channel"] == CHANNEL) {
            return Ok(Vec::new());
        }
        let channel = self.service.api("GET", &format!("/api/v1/channels/{CHANNEL}"), None)?;
        let participants = channel["participants"].as_array().cloned().unwrap_or_default();
        Ok(participants.iter().filter_map(|one| one["user"].as_str().map(str::to_owned)).collect())
    }

    /// A guest's link that joins without a click under `name`, with the page's room open to the scenario.
    ///
    /// # Errors
    /// When the service refuses.
    pub fn guest_link(&self, name: &str) -> anyhow::Result<String> {
        Ok(format!("{}&name={name}&autojoin=1&debug=1", self.service.guest_link(CHANNEL)?))
    }
}

/// Presses Join on the panel's interface and waits until the room is in its channel.
///
/// # Errors
/// When it is not in time.
pub fn join(room: &Terminal) -> anyhow::Result<Value> {
    room.api("POST", "/join", None)?;
    in_channel(room)
}

/// Waits until the room is in its channel.
///
/// # Errors
/// When it is not in time.
pub fn in_channel(room: &Terminal) -> anyhow::Result<Value> {
    room.wait_for("the room in its channel", PATIENCE, |state| state["room"]["phase"] == "in_channel")
}
