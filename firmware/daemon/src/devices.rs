//! The devices in use: where each can be borrowed, which others could be used, and one in the place of another.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use rostrum_audio::{AudioError, CaptureChain, PlayOut, VoiceOptions};
use rostrum_board::{BoardError, Choice, Devices, Section};
use rostrum_hal::{
    DeviceKind,
    buttons::Buttons,
    camera::{Camera, CameraControl, CameraControls, CameraError, ControlState},
    display::Display,
    microphone::MicrophoneArray,
    mute_switch::MuteSwitch,
    presence::Presence,
    screen_power::ScreenPower,
    speaker::Speaker,
};
use rostrum_panel::{CommandError, CommandErrorKind, DeviceChoice, DeviceChoices};
use tokio::sync::watch;

use crate::{
    input::{Input, Inputs},
    lights::LentLights,
    loan::{Borrower, Lender, Loan, desk},
};

/// Where each device can be borrowed; what a board lacks is asked for in vain.
#[derive(Clone)]
pub(crate) struct Borrowers {
    pub(crate) camera: Borrower<Box<dyn Camera>>,
    pub(crate) microphones: Borrower<Box<dyn MicrophoneArray>>,
    pub(crate) speaker: Borrower<Box<dyn Speaker>>,
    pub(crate) display: Borrower<Box<dyn Display>>,
    pub(crate) content_display: Borrower<Box<dyn Display>>,
    pub(crate) screen_power: Borrower<Box<dyn ScreenPower>>,
    pub(crate) lights: Borrower<LentLights>,
    pub(crate) buttons: Borrower<Box<dyn Buttons>>,
    pub(crate) mute_switch: Borrower<Box<dyn MuteSwitch>>,
    pub(crate) presence: Borrower<Box<dyn Presence>>,
}

/// The same for those who have them.
pub(crate) struct Lenders {
    pub(crate) camera: Lender<Box<dyn Camera>>,
    pub(crate) microphones: Lender<Box<dyn MicrophoneArray>>,
    pub(crate) speaker: Lender<Box<dyn Speaker>>,
    pub(crate) display: Lender<Box<dyn Display>>,
    pub(crate) content_display: Lender<Box<dyn Display>>,
    pub(crate) screen_power: Lender<Box<dyn ScreenPower>>,
    pub(crate) lights: Lender<LentLights>,
    pub(crate) buttons: Lender<Box<dyn Buttons>>,
    pub(crate) mute_switch: Lender<Box<dyn MuteSwitch>>,
    pub(crate) presence: Lender<Box<dyn Presence>>,
}

/// Both ends for every device.
pub(crate) fn desks() -> (Borrowers, Lenders) {
    let (camera, lend_camera) = desk();
    let (microphones, lend_microphones) = desk();
    let (speaker, lend_speaker) = desk();
    let (display, lend_display) = desk();
    let (content_display, lend_content_display) = desk();
    let (screen_power, lend_screen_power) = desk();
    let (lights, lend_lights) = desk();
    let (buttons, lend_buttons) = desk();
    let (mute_switch, lend_mute_switch) = desk();
    let (presence, lend_presence) = desk();
    let borrowers = Borrowers {
        camera,
        microphones,
        speaker,
        display,
        content_display,
        screen_power,
        lights,
        buttons,
        mute_switch,
        presence,
    };
    let lenders = Lenders {
        camera: lend_camera,
        microphones: lend_microphones,
        speaker: lend_speaker,
        display: lend_display,
        content_display: lend_content_display,
        screen_power: lend_screen_power,
        lights: lend_lights,
        buttons: lend_buttons,
        mute_switch: lend_mute_switch,
        presence: lend_presence,
    };
    (borrowers, lenders)
}

/// The controls of the camera that is in use.
#[derive(Clone)]
pub(crate) struct SwitchedControls(Arc<Switched>);

struct Switched {
    now: RwLock<InUse>,
    /// Told when another camera is in use.
    switches: watch::Sender<()>,
}

#[derive(Clone)]
struct InUse {
    controls: Arc<dyn CameraControls>,
    /// Changes that were told of before it came.
    before: u64,
}

impl SwitchedControls {
    pub(crate) fn of(controls: Box<dyn CameraControls>) -> Self {
        let now = RwLock::new(InUse { controls: controls.into(), before: 0 });
        Self(Arc::new(Switched { now, switches: watch::Sender::new(()) }))
    }

    fn set_camera(&self, controls: Box<dyn CameraControls>) {
        // Everything is another one's, which is a change.
        let before = self.changes() + 1;
        *self.0.now.write() = InUse { controls: controls.into(), before };
        self.0.switches.send_replace(());
    }

    /// Not used under the lock: a camera may take long.
    fn now(&self) -> InUse {
        self.0.now.read().clone()
    }
}

#[async_trait::async_trait]
impl CameraControls for SwitchedControls {
    fn list(&self) -> Result<Vec<ControlState>, CameraError> {
        self.now().controls.list()
    }

    fn get(&self, control: CameraControl) -> Result<Option<ControlState>, CameraError> {
        self.now().controls.get(control)
    }

    fn set(&self, control: CameraControl, value: i64) -> Result<i64, CameraError> {
        self.now().controls.set(control, value)
    }

    fn changes(&self) -> u64 {
        let InUse { controls, before } = self.now();
        before + controls.changes()
    }

    async fn changed(&self, seen: u64) -> u64 {
        loop {
            let mut switches = self.0.switches.subscribe();
            let InUse { controls, before } = self.now();
            let count = before + controls.changes();
            if count != seen {
                return count;
            }
            tokio::select! {
                changes = controls.changed(seen - before) => return before + changes,
                _ = switches.changed() => {}
            }
        }
    }
}

/// Devices that people chose in the place of the board's own.
pub(crate) type Chosen = BTreeMap<DeviceKind, Section>;

/// Puts one device in the place of another.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) devices: Arc<Devices>,
    pub(crate) borrowers: Borrowers,
    pub(crate) controls: Option<SwitchedControls>,
    pub(crate) inputs: Inputs,
}

impl Exchange {
    /// What could be used. Blocks for some 100 ms.
    pub(crate) fn list(&self, chosen: &Chosen) -> DeviceChoices {
        let of = |kind| {
            let choices = self.devices.choices(kind).into_iter();
            let shown = |choice: Choice| DeviceChoice {
                id: choice.id(),
                chosen: choice.section.as_ref() == chosen.get(&kind),
                // Its own use is no problem.
                problem: choice.problem.filter(|_| choice.section.as_ref() != chosen.get(&kind)),
                title: choice.title,
            };
            choices.map(shown).collect()
        };
        DeviceChoices {
            camera: of(DeviceKind::Camera),
            microphones: of(DeviceKind::Microphones),
            speaker: of(DeviceKind::Speaker),
        }
    }

    /// Uses the device with that id from now on, and tells so; the old one stays when the new one cannot be used.
    pub(crate) async fn switch(
        &self,
        kind: DeviceKind,
        id: String,
        chosen: &Chosen,
    ) -> Result<(), CommandError> {
        let this = self.clone();
        let choices = blocking(move || this.devices.choices(kind)).await?;
        if choices.is_empty() {
            return Err(not_found(
                format!("This terminal does without {}.", kind.name()),
                "Add it to the board's profile.",
            ));
        }
        let Some(Choice { section, title, .. }) = choices.into_iter().find(|choice| choice.id() == id) else {
            return Err(not_found(
                "That device is not there.".into(),
                "Plug it in, or choose one of /api/v1/devices.",
            ));
        };
        if section.as_ref() == chosen.get(&kind) {
            return Ok(());
        }
        let name = match kind {
            DeviceKind::Camera => self.switch_camera(section.clone()).await?,
            DeviceKind::Microphones => {
                let loan = borrow(&self.borrowers.microphones).await?;
                let microphones = self.open(section.clone(), Devices::open_microphones).await?;
                usable(CaptureChain::new(&microphones.format(), VoiceOptions::default()))?;
                let name = microphones.name();
                loan.replace(microphones);
                name
            }
            DeviceKind::Speaker => {
                let loan = borrow(&self.borrowers.speaker).await?;
                let speaker = self.open(section.clone(), Devices::open_speaker).await?;
                usable(PlayOut::new(speaker.format().channels))?;
                let name = speaker.name();
                loan.replace(speaker);
                name
            }
        };
        log::info!(kind = kind.name(), device = title; "another device is used");
        let _ = self.inputs.send(Input::Exchanged { kind, name, section });
        Ok(())
    }

    async fn switch_camera(&self, section: Option<Section>) -> Result<String, CommandError> {
        let loan = borrow(&self.borrowers.camera).await?;
        let camera = self.open(section, Devices::open_camera).await?;
        if let Some(controls) = &self.controls {
            controls.set_camera(camera.controls());
        }
        let name = camera.name();
        loan.replace(camera);
        Ok(name)
    }

    async fn open<T: Send + 'static>(
        &self,
        section: Option<Section>,
        open: fn(&Devices, Option<&Section>) -> Result<T, BoardError>,
    ) -> Result<T, CommandError> {
        let devices = Arc::clone(&self.devices);
        blocking(move || open(&devices, section.as_ref())).await?.map_err(|error| unusable(error.to_string()))
    }
}

async fn borrow<T>(borrower: &Borrower<T>) -> Result<Loan<T>, CommandError> {
    borrower.borrow().await.ok_or_else(|| unusable("nobody has the device that it would replace".into()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CommandError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| unusable(error.to_string()))
}

fn usable<T>(made: Result<T, AudioError>) -> Result<(), CommandError> {
    made.map(drop).map_err(|error| unusable(error.to_string()))
}

fn unusable(reason: String) -> CommandError {
    CommandError {
        kind: CommandErrorKind::Unavailable,
        code: "device_unusable".into(),
        message: format!("It cannot be used: {reason}."),
        hint: "The device of before stays in use; choose another one.".into(),
    }
}

fn not_found(message: String, hint: &'static str) -> CommandError {
    CommandError { kind: CommandErrorKind::NotFound, code: "no_device".into(), message, hint: hint.into() }
}

#[cfg(test)]
mod tests {
    use rostrum_hal::sim::{VirtualBoard, VirtualBoardOptions};

    use super::*;

    #[tokio::test]
    async fn controls_are_those_of_the_camera_in_use_and_its_exchange_is_a_change() {
        let (one, other) = (
            VirtualBoard::new(VirtualBoardOptions::default()),
            VirtualBoard::new(VirtualBoardOptions::default()),
        );
        let controls = SwitchedControls::of(Box::new(one.camera_controls()));
        let seen = controls.changes();
        assert!(controls.set(CameraControl::Zoom, 200).is_ok());
        let seen_then = controls.changed(seen).await;
        assert_ne!(seen_then, seen);
        let waiting = controls.clone();
        let waits = tokio::spawn(async move { waiting.changed(seen_then).await });
        tokio::task::yield_now().await;
        controls.set_camera(Box::new(other.camera_controls()));
        assert!(waits.await.is_ok_and(|count| count != seen_then));
        let zoom = |controls: &dyn CameraControls| {
            controls.get(CameraControl::Zoom).ok().flatten().map(|state| state.value)
        };
        assert_eq!(zoom(&controls), Some(100));
        assert!(controls.set(CameraControl::Zoom, 300).is_ok());
        assert_eq!((zoom(&one.camera_controls()), zoom(&other.camera_controls())), (Some(200), Some(300)));
    }
}
