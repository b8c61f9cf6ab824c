//! What somebody at the panel asks of the task that decides.

use std::sync::Arc;

use rostrum_board::Section;
use rostrum_hal::DeviceKind;
use rostrum_panel::{
    CommandError, CommandErrorKind, Device, PanelCommand, RecordingPhase, State, VoiceMode, VoiceRecording,
};
use rostrum_room::{Event as RoomEvent, MuteReason, Phase, Request};

use super::Control;
use crate::updates::UpdaterLink;

impl Control {
    /// Does what somebody at the panel asks.
    pub(super) fn panel(&mut self, command: PanelCommand) {
        match command {
            PanelCommand::Join { reply } => {
                self.happened(RoomEvent::Request(Request::Join));
                self.show();
                let _ = reply.send(Ok(()));
            }
            PanelCommand::Leave { reply } => {
                self.happened(RoomEvent::Request(Request::Leave));
                self.show();
                let _ = reply.send(Ok(()));
            }
            PanelCommand::SetMuted { muted, reply } => {
                self.happened(RoomEvent::Request(Request::SetMuted(muted)));
                self.show();
                let status = self.room.status();
                let _ = reply.send(if status.muted == muted {
                    Ok(())
                } else {
                    Err(muted_because(status.mute_reason))
                });
            }
            PanelCommand::SetVolume { volume, reply } => {
                self.happened(RoomEvent::Request(Request::SetVolume(volume)));
                self.show();
                let _ = reply.send(Ok(()));
            }
            PanelCommand::ChangeSettings { patch, reply } => {
                self.settings = patch.applied_to(self.settings);
                self.happened(RoomEvent::Request(Request::SetJoinMuted(self.settings.join_muted)));
                self.apply_settings();
                self.show();
                let _ = reply.send(Ok(self.settings));
            }
            PanelCommand::Snapshot { quality, reply } => self.screen.snapshot(quality, reply),
            PanelCommand::ListDevices { reply } => {
                let (exchange, chosen) = (self.exchange.clone(), self.chosen.clone());
                tokio::task::spawn_blocking(move || reply.send(Ok(exchange.list(&chosen))));
            }
            PanelCommand::SwitchDevice { kind, id, reply } => {
                let (exchange, chosen) = (self.exchange.clone(), self.chosen.clone());
                tokio::spawn(async move { reply.send(exchange.switch(kind, id, &chosen).await) });
            }
            PanelCommand::CheckUpdates { reply } => {
                let _ = reply.send(self.to_updater(UpdaterLink::check));
            }
            PanelCommand::ConfirmUpdate { yes, reply } => {
                let _ = reply.send(self.to_updater(|updater| updater.confirm(yes)));
            }
            PanelCommand::InstallUpdate { path, reply } => {
                let _ = reply.send(self.to_updater(|updater| updater.install(path)));
            }
            PanelCommand::FactoryReset { reply } => {
                let can = self.factory_reset.is_some();
                if can {
                    self.happened(RoomEvent::Request(Request::FactoryReset));
                    self.show();
                }
                let _ = reply.send(if can { Ok(()) } else { Err(no_factory_reset()) });
            }
            PanelCommand::StartSelftest { parts, person, reply } => {
                let in_meeting = self.room.status().phase != Phase::Idle;
                if !in_meeting {
                    self.tests.start(parts, person);
                    self.show();
                }
                let _ = reply.send(if in_meeting { Err(in_a_meeting()) } else { Ok(()) });
            }
            PanelCommand::AnswerSelftest { yes, reply } => {
                let answered = self.tests.answer(yes);
                self.show();
                let _ = reply.send(answered);
            }
            PanelCommand::StopSelftest { reply } => {
                self.tests.stop();
                self.show();
                let _ = reply.send(Ok(()));
            }
            PanelCommand::StartRecording { seconds, reply } => {
                let begun = self.record(seconds);
                self.show();
                let _ = reply.send(begun);
            }
            PanelCommand::ForgetRecording { reply } => {
                self.recordings.forget();
                self.recording = None;
                self.show();
                let _ = reply.send(Ok(()));
            }
            _ => {}
        }
    }

    /// Begins a recording of the voice chain, of a room that is heard.
    fn record(&mut self, seconds: u16) -> Result<(), CommandError> {
        if self.recording.as_ref().is_some_and(|recording| recording.phase.is_running()) {
            return Err(refused(
                "recording",
                "A recording runs already.",
                "Wait until it is done, or end it.",
            ));
        }
        if self.room.status().muted {
            let hint = "Join the meeting and unmute the room first.";
            return Err(refused(
                "muted",
                "The room is muted, and nothing of a muted room is recorded.",
                hint,
            ));
        }
        if self.settings.voice_mode == VoiceMode::Music {
            let message = "Music is sent as the microphones give it; there is nothing within to record.";
            return Err(refused("music", message, "Change the room's sound to voice first."));
        }
        self.recordings.start(seconds, self.settings.voice_mode).map_err(|error| CommandError {
            kind: CommandErrorKind::Unavailable,
            code: "no_recording".into(),
            message: format!("The recording cannot begin: {error}."),
            hint: "Restart the terminal.".into(),
        })?;
        let phase = RecordingPhase::Announcing;
        self.recording = Some(VoiceRecording { phase, seconds: 0.0, wanted_s: seconds, problem: None });
        Ok(())
    }

    fn to_updater(&self, say: impl FnOnce(&UpdaterLink) -> bool) -> Result<(), CommandError> {
        match &self.updates {
            Some(updater) if say(updater) => Ok(()),
            _ => Err(no_updater()),
        }
    }

    /// Another device is used from now on.
    pub(super) fn exchanged(&mut self, kind: DeviceKind, name: String, section: Option<Section>) {
        match section {
            Some(section) => self.chosen.insert(kind, section),
            None => self.chosen.remove(&kind),
        };
        self.state.send_modify(|state| {
            let mut new = State::clone(state);
            let device = match kind {
                DeviceKind::Camera => &mut new.devices.camera,
                DeviceKind::Microphones => &mut new.devices.microphones,
                DeviceKind::Speaker => &mut new.devices.speaker,
            };
            if let (DeviceKind::Camera, Some(camera)) = (kind, &mut new.camera) {
                camera.name.clone_from(&name);
            }
            *device = Some(Device { name, ok: true });
            *state = Arc::new(new);
        });
        self.remember();
    }
}

fn refused(code: &'static str, message: &str, hint: &'static str) -> CommandError {
    let kind = CommandErrorKind::Refused;
    CommandError { kind, code: code.into(), message: message.into(), hint: hint.into() }
}

fn in_a_meeting() -> CommandError {
    CommandError {
        kind: CommandErrorKind::Refused,
        code: "in_meeting".into(),
        message: "The room is in a meeting, which needs its devices.".into(),
        hint: "Leave the meeting first.".into(),
    }
}

fn no_updater() -> CommandError {
    CommandError {
        kind: CommandErrorKind::Refused,
        code: "no_updater".into(),
        message: "Nobody looks after updates of this terminal.".into(),
        hint: "It is no installed image, or rostrum-updater does not run; see its journal.".into(),
    }
}

fn no_factory_reset() -> CommandError {
    CommandError {
        kind: CommandErrorKind::Refused,
        code: "no_factory_reset".into(),
        message: "This terminal cannot be reset to factory from here.".into(),
        hint: "It is no installed image; see factory_reset in its configuration.".into(),
    }
}

/// Why the room stays muted.
fn muted_because(reason: Option<MuteReason>) -> CommandError {
    CommandError {
        kind: CommandErrorKind::Refused,
        code: "cannot_unmute".into(),
        message: match reason {
            Some(MuteReason::Switch) => "The switch on the device cuts the microphones.".into(),
            Some(reason) => format!("The room stays muted ({reason:?})."),
            None => "The room stays as it is.".into(),
        },
        hint: match reason {
            Some(MuteReason::Switch) => "Move the switch on the device.".into(),
            _ => "See what the panel says about the microphones.".into(),
        },
    }
}
