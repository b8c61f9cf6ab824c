//! A room in a virtual machine: `rostrumd` on the rig's hardware, with this machine's service at the other end of a cable.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use xtask::{
    rig::{Architecture, Machine, MachineOptions},
    room::Panel,
};

use crate::{Cable, Lab, Python, lab::CHANNEL, picture, sound, until};

/// What takes a moment on hardware takes seconds on an emulated processor.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The user of the terminal.
pub const USER: &str = "room";
/// Number in the bar of the rig's USB camera.
pub const CAMERA_ID: u8 = 9;
/// GPIO lines of the profile.
pub mod line {
    /// Lights, high when lit: status in red and green, mute.
    pub const STATUS_RED: u32 = 4;
    /// As above.
    pub const STATUS_GREEN: u32 = 6;
    /// As above.
    pub const MUTE: u32 = 7;
    /// Buttons, low while pressed.
    pub const JOIN_BUTTON: u32 = 13;
    /// As above.
    pub const MUTE_BUTTON: u32 = 14;
    /// Low while the microphones are cut.
    pub const MUTE_SWITCH: u32 = 15;
}

/// The rig's hardware, as an installer would describe it.
pub const PROFILE: &str = include_str!("rig.toml");
/// Where the panel listens in the guest.
const PANEL_PORT: u16 = 8090;

/// A terminal on virtual hardware.
pub struct RigRoom {
    /// The service that it joins.
    pub lab: Lab,
    /// The machine; its `/out` holds the terminal's files.
    pub machine: Machine,
    /// The terminal's panel.
    pub panel: Panel,
    /// What is before the microphones, from its beginning on and again.
    pub voice: Vec<f32>,
    // Gone after the machine.
    _cable: Cable,
}

impl RigRoom {
    /// Boots a machine, and starts a service that it reaches. Somebody speaks before its microphones without end.
    ///
    /// # Errors
    /// When one does not come up.
    pub fn boot(architecture: Architecture) -> anyhow::Result<Self> {
        let cable = Cable::new()?;
        let lab = Lab::at(&cable.here, "")?;
        let address = format!("{}/24", cable.there);
        let machine = Machine::start(&MachineOptions { architecture, network: (&cable.device, &address) })?;
        let voice = picture::fake_microphone(&xtask::setup::film()?, &machine.out().join("voice.wav"))?;
        let panel = Panel::at(format!("http://{}:{PANEL_PORT}", cable.there));
        let mut room = Self { lab, machine, panel, voice, _cable: cable };
        fs::write(room.machine.out().join("udid"), "rig-1\n")?;
        let token = room.lab.service.token(CHANNEL, USER, Some("rig-1"))?;
        fs::write(room.machine.out().join("token"), token)?;
        room.set_profile(PROFILE)?;
        let config = format!(
            "data_dir = \"/tmp/rostrum\"\n\
             [service]\nurl = \"{}\"\nchannel = \"{CHANNEL}\"\nuser = \"{USER}\"\ntoken_file = \"/out/token\"\n\
             [board]\nprofile = \"/out/board.toml\"\n\
             [panel]\nlisten = \"0.0.0.0:{PANEL_PORT}\"\n\
             [picture]\nwidth = 160\nheight = 90\nframe_rate_hz = 10\n",
            room.lab.service.url_at(Some(&room._cable.here)),
        );
        fs::write(room.machine.out().join("rostrumd.toml"), config)?;
        room.prepare()?;
        Ok(room)
    }

    /// Makes the machine's surroundings, after each of its boots.
    ///
    /// # Errors
    /// When the machine does not do it.
    pub fn prepare(&mut self) -> anyhow::Result<()> {
        // Without it a layer of few bits shows torn bars.
        self.machine.shell("echo 20 > /sys/module/rig_h264/parameters/compression")?;
        self.machine.shell("/out/other-side play /out/voice.wav hw:Loopback,0,0 8 &")?;
        for line in [line::JOIN_BUTTON, line::MUTE_BUTTON, line::MUTE_SWITCH] {
            self.pull(line, true)?;
        }
        Ok(())
    }

    /// Takes another profile at the next start.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_profile(&self, profile: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.machine.out().join("board.toml"), profile)?)
    }

    /// Starts the terminal.
    ///
    /// # Errors
    /// As [`RigRoom::shell`](Machine::shell).
    pub fn launch(&mut self) -> anyhow::Result<()> {
        let run = "/out/rostrumd --config /out/rostrumd.toml > /out/ready 2>> /out/rostrumd.log";
        self.machine.shell(&format!("{{ {run}; echo $? > /out/ended; }} & echo $! > /tmp/shell.id"))?;
        Ok(())
    }

    /// Starts the terminal and logs in on its panel.
    ///
    /// # Errors
    /// When it does not get ready; the message holds its log.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let ready = self.machine.out().join("ready");
        let _ = fs::remove_file(&ready);
        self.launch()?;
        until("the terminal", PATIENCE, || {
            Ok(fs::read_to_string(&ready)?.contains("rostrumd ready").then_some(()))
        })
        .with_context(|| self.log())?;
        self.panel = Panel::at(self.panel.url.clone());
        self.panel.log_in("a long password")?;
        // An emulated processor has no time for the voice chain's echo canceller.
        self.panel.api("PATCH", "/settings", Some(&json!({"voice_mode": "music"})))?;
        Ok(())
    }

    /// Boots a machine, starts the terminal, and joins; a peer is there before it.
    ///
    /// # Errors
    /// As the others.
    pub fn in_meeting(architecture: Architecture, of_peer: &[&str]) -> anyhow::Result<(Self, Python)> {
        let mut room = Self::boot(architecture)?;
        room.start()?;
        let peer = room.lab.libwebrtc("peer", of_peer)?;
        room.join()?;
        Ok((room, peer))
    }

    /// Presses Join and waits until the room is in its channel.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn join(&mut self) -> anyhow::Result<()> {
        self.press(line::JOIN_BUTTON)?;
        self.wait_for("the room in its channel", |state| state["room"]["phase"] == "in_channel")?;
        Ok(())
    }

    /// Waits until `accept` holds of the panel's state.
    ///
    /// # Errors
    /// When it does not in time; the message holds the terminal's log.
    pub fn wait_for(&self, what: &str, accept: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.panel.wait_for(what, PATIENCE, accept).with_context(|| self.log())
    }

    /// What the terminal logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.machine.out().join("rostrumd.log")).unwrap_or_default()
    }

    /// Says a line to the emulated USB camera.
    ///
    /// # Errors
    /// When it refuses.
    pub fn camera(&mut self, line: &str) -> anyhow::Result<String> {
        self.machine.shell(&format!("/out/other-side camera 0 {line}"))
    }

    /// Pulls an input up or down.
    ///
    /// # Errors
    /// When there is no such line.
    pub fn pull(&mut self, line: u32, up: bool) -> anyhow::Result<()> {
        let level = if up { "pull-up" } else { "pull-down" };
        self.machine.shell(&format!(
            "for pull in /sys/devices/platform/gpio-sim.0/gpiochip*/sim_gpio{line}/pull; do echo {level} > $pull; done"
        ))?;
        Ok(())
    }

    /// Presses a button and lets it go.
    ///
    /// # Errors
    /// When there is no such line.
    pub fn press(&mut self, line: u32) -> anyhow::Result<()> {
        self.pull(line, false)?;
        self.machine.shell("/run/busybox sleep 0.1")?;
        self.pull(line, true)
    }

    /// Whether an output is high.
    ///
    /// # Errors
    /// When there is no such line.
    pub fn is_lit(&mut self, line: u32) -> anyhow::Result<bool> {
        let value = self.machine.shell(&format!("read -r value < {}; echo $value", value_file(line)))?;
        Ok(value.trim() == "1")
    }

    /// Waits until an output is high, or low.
    ///
    /// # Errors
    /// When it does not change in time.
    pub fn wait_for_light(&mut self, line: u32, lit: bool) -> anyhow::Result<()> {
        until(&format!("line {line} at {lit}"), PATIENCE, || Ok((self.is_lit(line)? == lit).then_some(())))
    }
}

fn value_file(line: u32) -> String {
    // The glob has one match, which a redirection of the guest's shell does not expand.
    format!("$(echo /sys/devices/platform/gpio-sim.0/gpiochip*/sim_gpio{line}/value)")
}

/// Waits for a picture of the room's camera with a readable bar; gives its time in the guest, in microseconds.
///
/// # Errors
/// When none comes.
pub fn bar(peer: &mut Python, timeout: Duration) -> anyhow::Result<u64> {
    peer.next(timeout, |line| {
        let of_camera = line["event"] == "frame" && line["camera"] == CAMERA_ID;
        of_camera.then(|| line["bar_us"].as_u64())?
    })
}

/// The newest picture of the room: rows of luma.
///
/// # Errors
/// When the peer has none.
pub fn picture_of(peer: &mut Python) -> anyhow::Result<Vec<Vec<u8>>> {
    peer.program().tell(r#"{"do": "picture", "user": "room"}"#)?;
    let answer = peer.event("picture", Duration::from_secs(10))?;
    let width = answer["width"].as_u64().context("no width")? as usize;
    ensure!(width > 0, "there is no picture yet");
    let luma = fs::read(PathBuf::from(answer["file"].as_str().unwrap_or_default()))?;
    Ok(luma.chunks(width).map(<[u8]>::to_vec).collect())
}

/// Waits until what the peer hears of the room is `voice`.
///
/// # Errors
/// When it is not in time; the message says how like it was.
pub fn hears(peer: &mut Python, voice: &[f32]) -> anyhow::Result<()> {
    let endless = [voice, voice].concat();
    until("the room's voice", PATIENCE, || {
        peer.program().tell(r#"{"do": "sound", "user": "room", "seconds": 2.5}"#)?;
        let answer = peer.event("sound", Duration::from_secs(20))?;
        let heard = sound::from_le_bytes(&fs::read(answer["file"].as_str().unwrap_or_default())?);
        let (_, likeness) = sound::find(&endless, &heard);
        ensure!(likeness > 0.4, "likeness {likeness}, level {}", sound::level(&heard));
        Ok(Some(()))
    })
}
