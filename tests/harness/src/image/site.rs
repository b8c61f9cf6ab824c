//! Where an image is installed: a network with a service, and what its factory gave the terminal.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::json;
use xtask::{
    image::{self, Plan},
    room::Panel,
};

use super::machine::{BOOT, Machine};
use crate::{Cable, Lab, Python, lab::CHANNEL, until};

/// The terminal's user in its channel.
pub const USER: &str = "room";
/// The terminal, as the update server of the harness knows its device.
pub const UDID: &str = "T-1";
/// In the pictures of its virtual camera.
pub const CAMERA_ID: u8 = 9;
/// Where it keeps its own key.
pub const SEALED_KEY: &str = "/var/lib/rostrum-device-key/device-key.cred";
/// Of its panel.
pub const PASSWORD: &str = "a long password";
/// For what an emulated machine does when it is up.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The site.
pub struct Site {
    /// The service, outside the machine.
    pub lab: Lab,
    /// Between the machine and the service.
    pub cable: Cable,
    /// What the factory partition holds.
    pub factory: PathBuf,
    _addresses: Addresses,
}

/// Gives the machine its address, as a room's network does.
struct Addresses(Child);

impl Drop for Addresses {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Site {
    /// A site whose files are in `dir`. It needs root.
    ///
    /// # Errors
    /// When the network cannot be made or a program does not start.
    pub fn new(dir: &Path) -> anyhow::Result<Self> {
        let cable = Cable::new()?;
        let lab = Lab::at(&cable.here, "")?;
        let factory = dir.join("factory");
        fs::create_dir(&factory)?;
        fs::write(factory.join("udid"), format!("{UDID}\n"))?;
        let addresses = addresses(&cable)?;
        Ok(Self { lab, cable, factory, _addresses: addresses })
    }

    /// A terminal's configuration for this site: `rostrumd`'s. It has no secret but its own key, which it seals to itself at
    /// its first start.
    pub fn configuration(&self) -> String {
        format!(
            "[service]\nurl = \"{}\"\nchannel = \"{CHANNEL}\"\nuser = \"{USER}\"\n\
             device_key = {{ file = \"/run/credentials/rostrumd.service/device-key\" }}\n\
             [board]\nprofile = \"{}\"\ncamera_id = {CAMERA_ID}\n[panel]\nlisten = \"0.0.0.0:8090\"\n\
             [picture]\nwidth = 160\nheight = 90\nframe_rate_hz = 10\n\
             [updates]\nsocket = \"/run/rostrum/updates.sock\"\n\
             [factory_reset]\nrequest = \"/run/rostrum/factory-reset\"\n",
            self.lab.service.url_at(Some(&self.cable.here)),
            image::MACHINE,
        )
    }

    /// An image of `version` for this site, to be made in `folder`. `server` is where it asks for updates; `more` are
    /// files that it has besides, with their modes.
    pub fn plan(&self, folder: PathBuf, version: &str, server: &str, more: &[(&str, &str, &str)]) -> Plan {
        let updater = updater(server);
        let file = |target: &str, text: &str, mode: &str| {
            (target.to_owned(), text.as_bytes().to_vec(), mode.to_owned())
        };
        let mut changes = vec![
            file("/etc/rostrum/rostrumd.toml", &self.configuration(), "644"),
            file("/etc/rostrum/rostrum-updater.toml", &updater, "644"),
        ];
        changes.extend(more.iter().map(|(target, text, mode)| file(target, text, mode)));
        Plan {
            folder,
            version: version.to_owned(),
            dev: true,
            factory: Some(self.factory.clone()),
            changes,
            ..Plan::default()
        }
    }

    /// Tells the service of the key that the terminal in `machine` made, as whoever installs it does.
    ///
    /// # Errors
    /// When it has none, or the service does not take it.
    pub fn register(&self, machine: &mut Machine) -> anyhow::Result<()> {
        let ask = format!("rostrumd --config /etc/rostrum/rostrumd.toml device-key --seal {SEALED_KEY}");
        let key = until("the terminal's key", PATIENCE, || machine.shell(&ask).map(Some))?;
        let device = format!("/api/v1/devices/{UDID}");
        let registration = json!({"public_key": key.trim()});
        self.lab.service.api("PUT", &device, Some(&registration)).map(drop)
    }

    /// The terminal's panel, where nobody has logged in yet.
    pub fn panel(&self) -> Panel {
        Panel::at(format!("http://{}:8090", self.cable.there))
    }

    /// The room comes up and is in its channel, and somebody outside sees its camera's pictures go on.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn in_channel(&self) -> anyhow::Result<Panel> {
        let deadline = Instant::now() + BOOT;
        let mut panel = self.panel();
        until("the panel", BOOT, || {
            panel.log_in(PASSWORD)?;
            Ok(Some(()))
        })?;
        if panel.state()?["room"]["phase"] != "in_channel" {
            // An emulated processor has no time for the voice chain's echo canceller.
            panel.api("PATCH", "/settings", Some(&json!({"voice_mode": "music"})))?;
            // It may be on its way already.
            let _ = panel.api("POST", "/join", None);
        }
        let left = deadline.saturating_duration_since(Instant::now()).max(PATIENCE);
        panel.wait_for("the room in its channel", left, |state| state["room"]["phase"] == "in_channel")?;
        let mut peer = self.lab.libwebrtc("peer", &[])?;
        let first = bar(&mut peer)?;
        ensure!(bar(&mut peer)? > first, "the picture stands still");
        peer.program().tell(r#"{"do": "quit"}"#)?;
        Ok(panel)
    }
}

/// The configuration of a terminal's updater.
pub fn updater(server: &str) -> String {
    // An emulated processor has no time for sound while it does something else.
    format!(
        "[server]\nurl = \"{server}\"\npoll_s = 5\n[install]\nidle_s = 5\nretry_s = 5\n\
         [gate]\nparts = [\"camera\"]\nsteady_s = 5\n"
    )
}

/// Waits for a picture of the room's camera with a readable bar; gives its time in the machine, in microseconds.
///
/// # Errors
/// When there is none for long.
pub fn bar(peer: &mut Python) -> anyhow::Result<u64> {
    peer.next(PATIENCE, |line| {
        (line["event"] == "frame" && line["camera"] == CAMERA_ID).then(|| line["bar_us"].as_u64())?
    })
}

/// A DHCP server on our end of the cable.
fn addresses(cable: &Cable) -> anyhow::Result<Addresses> {
    let range = format!("--dhcp-range={0},{0},255.255.255.0,1h", cable.there);
    let interface = format!("--interface={}", cable.device);
    let mut server = Command::new("dnsmasq");
    server
        .args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--bind-interfaces", "--leasefile-ro"])
        .args([&interface, &range])
        // Another machine at the same cable has the same address: `bench boot` has two, one after the other.
        .args(["--dhcp-ignore-clid", "--dhcp-option=option:router", "--log-facility=/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(Addresses(server.spawn().context("cannot start dnsmasq (apt-get install dnsmasq-base)")?))
}
