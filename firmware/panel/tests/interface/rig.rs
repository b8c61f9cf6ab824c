//! A small terminal: virtual board, state machine, panel. It has no service, so it joins at once.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use rostrum_hal::Timestamp;
use rostrum_hal::buttons::Buttons;
use rostrum_hal::indicator::Indicator;
use rostrum_hal::sim::{VirtualBoard, VirtualBoardOptions};
use rostrum_panel::{
    CameraState, CommandError, CommandErrorKind, PanelCommand, PanelConfig, PanelHandles, Reply, State,
    Update, VoiceMeters, Watchers, router,
};
use rostrum_room::{Command, Event, Request as Wish, ResetButtons, Room, RoomConfig};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tower::ServiceExt;

/// What makes one terminal differ from another.
pub(crate) struct Options {
    pub(crate) needs_password: bool,
    pub(crate) is_virtual: bool,
    pub(crate) has_camera: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { needs_password: false, is_virtual: true, has_camera: true }
    }
}

/// The terminal.
pub(crate) struct Rig {
    pub(crate) router: Router,
    pub(crate) board: VirtualBoard,
    pub(crate) state: watch::Receiver<Arc<State>>,
    pub(crate) picture: watch::Sender<Option<Arc<Vec<u8>>>>,
    pub(crate) watchers: Watchers,
    pub(crate) meters: watch::Sender<VoiceMeters>,
    pub(crate) listeners: Watchers,
    pub(crate) folder: tempfile::TempDir,
    /// Ends the state machine when dropped.
    pub(crate) power: oneshot::Sender<()>,
}

/// An answer, whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// The code of an error; asserts that it is one that people understand.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        assert!(!json["message"].as_str().unwrap().is_empty());
        assert!(!json["hint"].as_str().unwrap().is_empty());
        json["code"].as_str().unwrap().to_owned()
    }
}

impl Rig {
    /// A virtual terminal on loopback.
    pub(crate) fn start() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        let board = VirtualBoard::new(VirtualBoardOptions::default());
        let folder = tempfile::tempdir().unwrap();
        let (commands, wishes) = mpsc::channel(16);
        let (power, off) = oneshot::channel();
        let state = run(board.clone(), wishes, off);
        let (picture, pictures) = watch::channel(None);
        let watchers = Watchers::default();
        let (meters, measured) = watch::channel(VoiceMeters::default());
        let listeners = Watchers::default();
        let handles = PanelHandles {
            commands,
            state: state.clone(),
            picture: pictures,
            watchers: watchers.clone(),
            meters: measured,
            listeners: listeners.clone(),
            virtual_board: options.is_virtual.then(|| board.clone()),
            camera: options.has_camera.then(|| Box::new(board.camera_controls()) as _),
        };
        let config = PanelConfig {
            needs_password: options.needs_password,
            names: vec!["room7.local".to_owned()],
            pages_dir: folder.path().join("pages"),
            password_file: folder.path().join("password"),
            presets_file: folder.path().join("presets.json"),
            bundle_file: folder.path().join("bundle.raucb"),
            recording_file: folder.path().join("recording.wav"),
        };
        Self {
            router: router(handles, config),
            board,
            state,
            picture,
            watchers,
            meters,
            listeners,
            folder,
            power,
        }
    }

    /// Sends a request as a script on the device does.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8090");
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        self.send(request.body(Body::from(body.unwrap_or_default().to_owned())).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 64 << 20).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Serves it on a free port of loopback.
    pub(crate) async fn serve(&self) -> Served {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let task = tokio::spawn(rostrum_panel::serve(listener, self.router.clone(), shutdown));
        Served { address, stop, task }
    }
}

/// A terminal on a socket.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: tokio::task::JoinHandle<Result<(), rostrum_panel::PanelError>>,
}

/// Runs the state machine until `off`; what it shows is in the state and on the board's lights.
fn run(
    board: VirtualBoard,
    mut wishes: mpsc::Receiver<PanelCommand>,
    mut off: oneshot::Receiver<()>,
) -> watch::Receiver<Arc<State>> {
    let mut terminal = Terminal {
        room: Room::new(
            RoomConfig { factory_reset: Some(ResetButtons::None), ..RoomConfig::default() },
            Timestamp::now(),
        ),
        state: State {
            camera: Some(CameraState { name: "virtual camera".into(), ..CameraState::default() }),
            is_virtual: true,
            version: "1.2.3".into(),
            ..State::default()
        },
        board: board.clone(),
    };
    terminal.happened(Event::Tick);
    let (states, state) = watch::channel(Arc::new(terminal.state.clone()));
    tokio::spawn(async move {
        let mut buttons = board.buttons();
        loop {
            tokio::select! {
                _ = &mut off => return,
                wish = wishes.recv() => match wish {
                    Some(wish) => terminal.take(wish),
                    None => return,
                },
                button = buttons.next() => match button {
                    Ok(event) if event.pressed => terminal.happened(Event::Button(event.button)),
                    _ => {}
                },
            }
            states.send_replace(Arc::new(terminal.state.clone()));
        }
    });
    state
}

struct Terminal {
    room: Room,
    state: State,
    board: VirtualBoard,
}

impl Terminal {
    fn happened(&mut self, event: Event) {
        for command in self.room.handle(Timestamp::now(), event) {
            match command {
                Command::Join { .. } => self.happened(Event::Joined),
                Command::Leave => self.happened(Event::Left),
                Command::ShowIndicator(role, signal) => {
                    // A board has the lights that it has.
                    if let Some(mut light) = self.board.indicator(role) {
                        light.show(signal).unwrap();
                    }
                }
                _ => {}
            }
        }
        self.state.show_room(&self.room.status());
    }

    fn take(&mut self, wish: PanelCommand) {
        match wish {
            PanelCommand::Join { reply } => self.wished(Wish::Join, reply),
            PanelCommand::Leave { reply } => self.wished(Wish::Leave, reply),
            PanelCommand::SetVolume { volume, reply } => self.wished(Wish::SetVolume(volume), reply),
            PanelCommand::SetMuted { muted, reply } => {
                self.happened(Event::Request(Wish::SetMuted(muted)));
                let done = self.room.status().muted == muted;
                let refusal = CommandError {
                    kind: CommandErrorKind::Refused,
                    code: "still_muted".into(),
                    message: "Something else mutes the room.".into(),
                    hint: "Move the switch.".into(),
                };
                let _ = reply.send(if done { Ok(()) } else { Err(refusal) });
            }
            PanelCommand::ChangeSettings { patch, reply } => {
                self.state.settings = patch.applied_to(self.state.settings);
                let _ = reply.send(Ok(self.state.settings));
            }
            PanelCommand::FactoryReset { reply } => self.wished(Wish::FactoryReset, reply),
            PanelCommand::CheckUpdates { reply } => self.update("check".into(), reply),
            PanelCommand::ConfirmUpdate { yes, reply } => self.update(format!("confirm {yes}"), reply),
            PanelCommand::InstallUpdate { path, reply } => {
                self.update(format!("install {}", path.display()), reply);
            }
            PanelCommand::Snapshot { quality, reply } => {
                let _ = reply.send(Ok(Arc::new(vec![0xFF, 0xD8, quality])));
            }
            _ => {}
        }
    }

    /// It is seen in the state what was wanted.
    fn update(&mut self, wanted: String, reply: Reply<()>) {
        self.state.update = Some(Update { reason: Some(wanted), ..Update::default() });
        let _ = reply.send(Ok(()));
    }

    fn wished(&mut self, wish: Wish, reply: Reply<()>) {
        self.happened(Event::Request(wish));
        let _ = reply.send(Ok(()));
    }
}
