//! The one task that decides: what happened goes into the room's state machine, and its commands go out.

mod panel;

use std::{sync::Arc, time::Duration};

use rostrum_audio::Ducking;
use rostrum_hal::{
    FrameSize, Timestamp,
    indicator::{IndicatorRole, Signal},
};
use rostrum_media::{Layer, PictureSettings};
use rostrum_panel::{Preference, Settings, State, Update, VoiceMode, VoiceRecording};
use rostrum_room::{Command, Event as RoomEvent, Note, Phase, Request, Room, Severity};
use rostrum_rtc::{
    AudioPlan, Event, LayerPlan, LeaveReason, NetworkOptions, TerminalOptions, TokenSource, TrackKind,
    VideoPlan,
};
use tokio::sync::{mpsc, watch};

use crate::{
    camera::CameraCommand,
    config::{Picture, Service},
    counters::Counters,
    devices::{Chosen, Exchange},
    factory_reset::FactoryReset,
    guest_link,
    input::{Input, Inputs},
    lights::Lights,
    memory::{Memory, Remembered},
    people::{Change, People},
    pulse::Pulse,
    recording::Recordings,
    screen::{ScreenControl, ScreenView, Seats, Which, largest},
    screen_switch::ScreenSwitch,
    selftest::panel::Tests,
    sounds::Chimes,
    stay::{Inlets, Outlet, Stay, layer_of, rid_of},
    updates::{self, UpdaterLink},
    voice::{Play, Voice},
};

/// Topic of data by which the far end says what the microphones are for, where it may: a mode's name.
const MODE_TOPIC: &str = "rostrum.voice-mode";
/// Time between two looks for lights that somebody wants to test, or that are back.
const LOOK: Duration = Duration::from_millis(100);

/// Everything that the task holds.
pub(crate) struct Control {
    pub(crate) room: Room,
    pub(crate) state: watch::Sender<Arc<State>>,
    pub(crate) memory: Memory,
    pub(crate) service: Service,
    pub(crate) udid: String,
    pub(crate) tokens: Arc<dyn TokenSource>,
    pub(crate) picture: Picture,
    pub(crate) lights: Lights,
    pub(crate) camera: Option<mpsc::UnboundedSender<CameraCommand>>,
    pub(crate) voice: Voice,
    pub(crate) screen: ScreenControl,
    pub(crate) screen_switch: Option<ScreenSwitch>,
    pub(crate) outlet: Outlet,
    pub(crate) inlets: Inlets,
    pub(crate) counters: Arc<Counters>,
    pub(crate) inputs: Inputs,
    pub(crate) settings: Settings,
    pub(crate) layers: Vec<Layer>,
    pub(crate) people: People,
    /// Places on the first and the second screen.
    pub(crate) seats: [Seats; 2],
    pub(crate) stay: Option<Stay>,
    pub(crate) stays: u64,
    pub(crate) guest_link: Option<String>,
    pub(crate) rtt: Option<Duration>,
    pub(crate) exit: bool,
    pub(crate) pulse: Pulse,
    pub(crate) exchange: Exchange,
    pub(crate) chosen: Chosen,
    pub(crate) tests: Tests,
    pub(crate) updates: Option<UpdaterLink>,
    pub(crate) update: Option<Update>,
    pub(crate) factory_reset: Option<FactoryReset>,
    pub(crate) recordings: Recordings,
    pub(crate) recording: Option<VoiceRecording>,
    /// What is heard when somebody comes or leaves, where it is.
    pub(crate) chimes: Option<Chimes>,
    /// Others in the channel may change what the microphones are for.
    pub(crate) far_end_may_change_mode: bool,
}

impl Control {
    /// Decides until the program is to end.
    pub(crate) async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Before anything is kept anew.
        let was_in_meeting = self.memory.kept().in_meeting;
        self.apply_settings();
        self.ask_for_guest_link();
        self.happened(RoomEvent::Tick);
        if was_in_meeting {
            log::info!("going back into the meeting that this terminal was in");
            self.happened(RoomEvent::Request(Request::Join));
            self.happened(RoomEvent::Request(Request::SetMuted(true)));
        }
        self.show();
        // Devices that are asked for or come back do not wait for the next second.
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.exit {
            self.pulse.beat(Timestamp::now());
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.take(input),
                    None => return,
                },
                _ = look.tick() => {
                    self.lights.look_for_lent();
                    // A count-down does not wait for the next second either.
                    if !self.room.is_held() {
                        continue;
                    }
                    self.happened(RoomEvent::Tick);
                }
                _ = tick.tick() => {
                    self.happened(RoomEvent::Tick);
                    for part in self.lights.try_again() {
                        log::info!(part:?; "a part of the terminal works again");
                        // Behind the fault, which may still be on its way.
                        let _ = self.inputs.send(Input::Healthy { part });
                    }
                }
            }
            self.show();
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Button(role) => self.happened(RoomEvent::Button(role)),
            Input::ButtonReleased(role) => self.happened(RoomEvent::ButtonReleased(role)),
            Input::ResetFailed { detail } => self.happened(RoomEvent::ResetFailed { detail }),
            Input::MuteSwitch { cut } => self.happened(RoomEvent::MuteSwitch { cut }),
            Input::CameraCover { covered } => self.happened(RoomEvent::CameraCover { covered }),
            Input::Presence { occupied } => self.happened(RoomEvent::Presence { occupied }),
            Input::Panel(command) => self.panel(command),
            Input::Stay { stay, event } if self.stay.as_ref().is_some_and(|now| now.number == stay) => {
                self.stay_event(event);
            }
            Input::Stay { .. } => {} // the last words of an earlier stay
            Input::Layers(layers) => {
                self.layers = layers;
                if let Some(stay) = &self.stay {
                    stay.terminal.set_video_plan(self.video_plan());
                }
            }
            Input::Seats { screen, seats } => {
                self.seats[match screen {
                    Which::People => 0,
                    Which::Content => 1,
                }] = seats;
                self.tell_seats();
            }
            Input::GuestLink(link) => self.guest_link = link,
            Input::Exchanged { kind, name, section } => self.exchanged(kind, name, section),
            Input::Test { run, event } => self.tests.happened(run, event),
            Input::Update(status) => {
                let update = status.as_ref().and_then(updates::in_the_room);
                self.update = status.as_ref().map(updates::shown);
                self.happened(RoomEvent::Update(update));
            }
            Input::TestWanted { parts, answer } => {
                // A meeting needs its devices, and so does a person who tests them.
                if self.room.status().phase == Phase::Idle && !self.tests.is_running() {
                    self.tests.start_for(parts, answer);
                } else {
                    drop(answer);
                }
            }
            Input::Recording { number, recording } if self.recordings.is_last(number) => {
                self.recording = Some(recording);
            }
            Input::Recording { .. } => {} // the last words of an earlier one
            Input::Faulty { part, detail } => self.happened(RoomEvent::Faulty { part, detail }),
            Input::Healthy { part } => self.happened(RoomEvent::Healthy { part }),
            // Asked to end, it leaves for good; only a terminal that died goes back into its meeting.
            Input::Shutdown => self.happened(RoomEvent::Shutdown),
        }
    }

    /// Tells the state machine and does what it commands, in its order.
    fn happened(&mut self, event: RoomEvent) {
        for command in self.room.handle(Timestamp::now(), event) {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Join { muted } => self.join(muted),
            Command::Leave => match &self.stay {
                Some(stay) => stay.leave(),
                None => self.happened(RoomEvent::Left),
            },
            Command::Microphones { open } => self.voice.switches.set_open(open),
            Command::TellService { muted } => {
                if let Some(stay) = &self.stay {
                    stay.terminal.set_muted(TrackKind::Audio, muted);
                }
            }
            Command::HidePicture { hidden } => {
                if let Some(stay) = &self.stay {
                    stay.terminal.set_muted(TrackKind::Video, hidden);
                }
            }
            Command::ShowIndicator(role, signal) => self.light(role, signal),
            Command::SwitchScreen { on } => {
                if let Some(switch) = &self.screen_switch {
                    switch.switch(on);
                }
            }
            Command::SetVolume(volume) => self.voice.switches.set_volume(volume),
            Command::Notify(note) => tell(&note),
            Command::FactoryReset => {
                if let Some(Err(detail)) = self.factory_reset.as_ref().map(FactoryReset::ask) {
                    // Not from here: the state machine is in the middle of its commands.
                    let _ = self.inputs.send(Input::ResetFailed { detail });
                }
            }
            Command::Exit => self.exit = true,
            _ => {}
        }
    }

    fn light(&mut self, role: IndicatorRole, signal: Signal) {
        if let Err((part, detail)) = self.lights.show(role, signal) {
            // Not from here: the state machine is in the middle of its commands.
            let _ = self.inputs.send(Input::Faulty { part, detail });
        }
    }

    fn join(&mut self, muted: bool) {
        // Its devices come back by themselves.
        self.tests.stop();
        self.stays += 1;
        let name = self.service.display_name.as_ref().map(|name| name.as_str().to_owned());
        let options = TerminalOptions {
            service_url: self.service.url.clone(),
            token: Arc::clone(&self.tokens),
            udid: self.udid.clone(),
            display_name: name.unwrap_or_default(),
            video: self.video_plan(),
            // In each mode: it may change in the meeting, and a decoder of two channels takes one as well.
            audio: Some(AudioPlan { stereo: true }),
            auto_subscribe: true,
            network: NetworkOptions::default(),
        };
        self.camera_command(CameraCommand::Meeting(true));
        let stay = Stay::begin(self.stays, options, &self.outlet, &self.inlets);
        stay.terminal.set_muted(TrackKind::Audio, muted);
        self.stay = Some(stay);
    }

    /// The layers to publish; by the configured size until the camera has said what it gives.
    fn video_plan(&self) -> Option<VideoPlan> {
        if self.settings.audio_only || self.camera.is_none() {
            return None;
        }
        let expected;
        let layers = if self.layers.is_empty() {
            let size = FrameSize::new(self.picture.width, self.picture.height);
            expected = rostrum_media::layers_for(size, &self.picture_settings());
            &expected
        } else {
            &self.layers
        };
        let plan = |layer: &Layer| LayerPlan {
            rid: rid_of(layer.rid),
            width: layer.size.width,
            height: layer.size.height,
            max_bitrate_bps: layer.bitrate_bps,
            frame_rate: layer.frame_rate_hz.round() as u32,
        };
        Some(VideoPlan { layers: layers.iter().map(plan).collect() })
    }

    fn stay_event(&mut self, event: Event) {
        if let Some(stay) = &self.stay {
            stay.follow(&event);
        }
        match event {
            Event::Joining { attempt } if attempt > 1 => self.happened(RoomEvent::Rejoining),
            Event::Joined { participants, .. } => {
                // Who is there already does not come.
                let _ = self.people.set(participants);
                self.happened(RoomEvent::Joined);
                self.remember();
                self.ask_for_guest_link();
            }
            Event::MediaUp => {
                for layer in rostrum_media::LayerId::ALL {
                    self.camera_command(CameraCommand::KeyFrame(layer));
                }
            }
            Event::Participants(participants) => {
                let change = self.people.set(participants);
                self.chime(change);
            }
            Event::Speakers(speakers) => self.people.set_speakers(&speakers),
            Event::KeyFrameWanted { rid } => self.camera_command(CameraCommand::KeyFrame(layer_of(rid))),
            Event::LayersWanted(layers) => {
                for (rid, wanted) in layers {
                    self.camera_command(CameraCommand::Active(layer_of(rid), wanted));
                }
            }
            Event::BitrateWanted { total_bps } => {
                self.camera_command(CameraCommand::Bitrate(u32::try_from(total_bps).unwrap_or(u32::MAX)));
            }
            Event::MutedByService { kind: TrackKind::Audio, muted } => {
                self.happened(RoomEvent::FarEndMuted { muted });
            }
            // The cover is closed for the far end as well.
            Event::MutedByService { kind: TrackKind::Video, muted: false }
                if self.room.status().camera_covered =>
            {
                self.obey(Command::HidePicture { hidden: true });
            }
            Event::Lost { reason, retry_in } => {
                log::warn!(reason, retry_ms = retry_in.as_millis() as u64; "the channel is lost");
                self.people.clear();
                self.happened(RoomEvent::Lost { reason });
            }
            Event::Left { reason } => self.left(&reason),
            Event::Data { user, topic, bytes } if topic == MODE_TOPIC => self.mode_wanted(&user, &bytes),
            Event::Statistics(statistics) => {
                self.rtt = statistics.round_trip;
                self.voice.switches.set_link(&statistics);
            }
            _ => {}
        }
    }

    /// Lets the room hear that somebody came or left, below what is said.
    fn chime(&self, change: Change) {
        let Some(chimes) = &self.chimes else { return };
        let sound = match change {
            Change { came: true, .. } => &chimes.came,
            Change { left: true, .. } => &chimes.left,
            Change { .. } => return,
        };
        // Without a speaker nobody listens.
        let _ = self.voice.play.send(Play::Sound(Arc::clone(sound), Ducking::UnderSpeech));
    }

    /// Somebody in the channel wants another mode.
    fn mode_wanted(&mut self, user: &str, name: &[u8]) {
        let mode = std::str::from_utf8(name).ok().and_then(VoiceMode::named);
        match mode {
            Some(mode) if self.far_end_may_change_mode => {
                log::info!(user, mode = mode.name(); "the far end changes what the microphones are for");
                self.settings.voice_mode = mode;
                self.apply_settings();
            }
            Some(mode) => {
                let mode = mode.name();
                log::warn!(user, mode; "the far end may not change what the microphones are for; see voice.far_end_may_change_mode");
            }
            None => log::warn!(user; "the far end wants a mode of the microphones that there is not"),
        }
    }

    fn left(&mut self, reason: &LeaveReason) {
        log::info!(reason:%; "out of the channel");
        self.stay = None;
        self.people.clear();
        self.rtt = None;
        self.camera_command(CameraCommand::Meeting(false));
        match reason {
            LeaveReason::Asked => self.happened(RoomEvent::Left),
            reason => self.happened(RoomEvent::LeftByService { reason: reason.to_string(), last: true }),
        }
        self.remember();
    }

    fn picture_settings(&self) -> PictureSettings {
        let settings = &self.settings;
        PictureSettings {
            max_size: match settings.max_layer {
                rostrum_panel::MaxLayer::Low => FrameSize::new(640, 360),
                rostrum_panel::MaxLayer::Mid => FrameSize::new(1280, 720),
                rostrum_panel::MaxLayer::High => FrameSize::new(1920, 1080),
            },
            frame_rate_hz: self.picture.frame_rate_hz,
            orientation: rostrum_media::Orientation::from_degrees(u32::from(settings.orientation.degrees()))
                .unwrap_or_default(),
            mirror: settings.mirrored,
            preference: match settings.preference {
                Preference::Sharpness => rostrum_media::Preference::Sharpness,
                Preference::Fluency => rostrum_media::Preference::Fluency,
            },
            audio_only: settings.audio_only,
        }
    }

    fn apply_settings(&mut self) {
        self.camera_command(CameraCommand::Settings(self.picture_settings()));
        self.camera_command(CameraCommand::SelfView(self.settings.self_view && !self.settings.audio_only));
        self.voice.switches.set_mode(self.settings.voice_mode);
        if let Some(stay) = &self.stay {
            stay.terminal.set_video_plan(self.video_plan());
        }
        self.remember();
    }

    fn camera_command(&self, command: CameraCommand) {
        if let Some(camera) = &self.camera {
            let _ = camera.send(command);
        }
    }

    /// Asks for each picture in the size that it has on the screens; what has no seat is not sent at all.
    fn tell_seats(&self) {
        let Some(stay) = &self.stay else { return };
        for sid in self.people.video_tracks() {
            let seat = largest(&self.seats, sid.as_str());
            stay.terminal.set_seat(&sid, if self.settings.audio_only { None } else { seat });
        }
    }

    fn ask_for_guest_link(&self) {
        let (service, channel) = (self.service.url.clone(), self.service.channel.to_string());
        let (tokens, inputs) = (Arc::clone(&self.tokens), self.inputs.clone());
        tokio::spawn(async move {
            let Ok(token) = tokens.token().await else { return };
            let link = tokio::task::spawn_blocking(move || guest_link::fetch(&service, &channel, &token));
            if let Ok(Some(link)) = link.await {
                let _ = inputs.send(Input::GuestLink(Some(link)));
            }
        });
    }

    fn remember(&mut self) {
        let in_meeting = self.room.status().phase.in_meeting();
        let devices = self.chosen.clone();
        self.memory.keep(Remembered {
            room: self.room.config(),
            settings: self.settings,
            devices,
            in_meeting,
        });
    }

    /// Publishes the state to the panel and the screen.
    fn show(&mut self) {
        let status = self.room.status();
        let mut state = State::clone(&self.state.borrow());
        state.show_room(&status);
        state.settings = Settings { join_muted: status.join_muted, ..self.settings };
        self.settings = state.settings;
        state.participants = self.people.for_panel();
        state.guest_link = self.guest_link.clone();
        state.selftest = self.tests.shown();
        state.update = self.update.clone();
        state.recording = self.recording.clone();
        if let Some(updates) = &self.updates {
            updates.meeting(status.phase != Phase::Idle);
        }
        self.counters.fill(&mut state.statistics);
        state.statistics.rtt_ms = self.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0);
        let failing = |code: &str| status.notes.iter().any(|note| note.code == code);
        let devices = &mut state.devices;
        for (device, code) in [
            (&mut devices.camera, "camera_fault"),
            (&mut devices.microphones, "microphones_fault"),
            (&mut devices.speaker, "speaker_fault"),
            (&mut devices.encoder, "encoder_fault"),
            (&mut devices.display, "display_fault"),
            (&mut devices.content_display, "content_display_fault"),
        ] {
            if let Some(device) = device {
                device.ok = !failing(code);
            }
        }
        self.screen.show(ScreenView {
            phase: status.phase,
            muted: status.muted,
            reset: status.reset,
            channel: self.service.channel.to_string(),
            seats: self.people.for_screen(self.settings.audio_only),
            self_view: self.settings.self_view && !self.settings.audio_only,
            spotlight: self.people.spotlight(self.settings.audio_only),
            two_screens: self.screen.has_second() && !failing("content_display_fault"),
        });
        self.state.send_if_modified(|now| {
            let changed = **now != state;
            if changed {
                *now = Arc::new(state);
            }
            changed
        });
    }
}

fn tell(note: &Note) {
    let (code, hint) = (note.code.as_ref(), note.hint.as_ref());
    match note.severity {
        Severity::Info => log::info!(code, hint; "{}", note.message),
        Severity::Warning => log::warn!(code, hint; "{}", note.message),
        Severity::Error => log::error!(code, hint; "{}", note.message),
    }
}
