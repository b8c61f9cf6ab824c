//! Everything that can happen to the terminal, on its way to the one task that decides.

use std::collections::BTreeSet;

use rostrum_board::Section;
use rostrum_fleet::update::{status::Status as UpdateStatus, terminal::TestResult};
use rostrum_hal::{DeviceKind, buttons::ButtonRole, selftest::Part as SelftestPart};
use rostrum_media::Layer;
use rostrum_panel::{PanelCommand, VoiceRecording};
use rostrum_room::Part;
use tokio::sync::{mpsc, oneshot};

use crate::{
    screen::{Seats, Which},
    selftest::panel::TestEvent,
};

/// One thing that happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// A button went down.
    Button(ButtonRole),
    /// A button was let go, or nobody sees it any more.
    ButtonReleased(ButtonRole),
    /// The hardware mute switch moved, or was read at start.
    MuteSwitch { cut: bool },
    /// The camera's cover moved, or was read at start.
    CameraCover { covered: bool },
    /// What the presence sensor says.
    Presence { occupied: bool },
    /// Somebody at the panel asks.
    Panel(PanelCommand),
    /// The stay in the channel; `stay` counts them, so that an old one's last words are told apart.
    Stay { stay: u64, event: rostrum_rtc::Event },
    /// The camera track has these layers from now on.
    Layers(Vec<Layer>),
    /// The places on one of the room's screens changed.
    Seats { screen: Which, seats: Seats },
    /// The service gave a link for guests.
    GuestLink(Option<String>),
    /// Another device is used from now on; `section` is `None` for the one of the board's profile.
    Exchanged { kind: DeviceKind, name: String, section: Option<Section> },
    /// Something happened in a test of the devices; `run` counts them.
    Test { run: u64, event: TestEvent },
    /// How updates stand; `None` when nobody looks after them any more.
    Update(Option<UpdateStatus>),
    /// Whoever looks after updates wants parts tested.
    TestWanted { parts: BTreeSet<SelftestPart>, answer: oneshot::Sender<TestResult> },
    /// A part failed.
    Faulty { part: Part, detail: String },
    /// A part works.
    Healthy { part: Part },
    /// How a recording of the voice chain goes; `number` counts them.
    Recording { number: u64, recording: VoiceRecording },
    /// A reset to factory could not be asked for.
    ResetFailed { detail: String },
    /// SIGTERM or SIGINT.
    Shutdown,
}

/// Where inputs go.
pub(crate) type Inputs = mpsc::UnboundedSender<Input>;

/// Tells when a part starts to fail and when it works again, once each.
pub(crate) struct Health {
    part: Part,
    inputs: Inputs,
    told: Option<String>,
}

impl Health {
    pub(crate) fn of(part: Part, inputs: &Inputs) -> Self {
        Self { part, inputs: inputs.clone(), told: None }
    }

    pub(crate) fn faulty(&mut self, detail: impl ToString) {
        let detail = detail.to_string();
        if self.told.as_ref() != Some(&detail) {
            log::warn!(part:? = self.part, detail; "a part of the terminal failed");
            self.told = Some(detail.clone());
            // The receiver ends only with the program.
            let _ = self.inputs.send(Input::Faulty { part: self.part, detail });
        }
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.told.is_some()
    }

    pub(crate) fn healthy(&mut self) {
        if self.told.take().is_some() {
            log::info!(part:? = self.part; "a part of the terminal works again");
            let _ = self.inputs.send(Input::Healthy { part: self.part });
        }
    }
}
