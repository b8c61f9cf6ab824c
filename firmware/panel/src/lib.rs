//! The panel: the terminal's REST and WebSocket interface, its metrics, and the files of its page.
//!
//! The daemon gives [`PanelHandles`]: a channel for [`PanelCommand`]s and a [`State`] that it keeps true.
//! [`router`] makes of them an interface that [`serve`] serves; `openapi.json` describes it.

mod board;
mod command;
mod desk;
mod devices;
mod error;
mod extract;
mod files;
mod pages;
mod presets;
mod routes;
mod schema;
mod security;
mod serve;
mod settings;
mod state;
mod updates;
mod voice;
mod watchers;

use std::path::PathBuf;
use std::sync::Arc;

use rostrum_hal::camera::CameraControls;
use rostrum_hal::sim::VirtualBoard;
use tokio::sync::{mpsc, watch};

pub use board::BoardState;
pub use command::{CommandError, CommandErrorKind, PanelCommand, Reply};
pub use devices::{DeviceChoice, DeviceChoices, Selftest};
pub use error::{ErrorBody, PanelError};
pub use routes::{openapi, router};
pub use serve::serve;
pub use settings::{MaxLayer, Orientation, Preference, Settings, SettingsPatch};
pub use state::{
    CameraState, Device, Devices, Indicators, Light, Participant, Problem, Quality, RoomState, State,
    Statistics,
};
pub use updates::{Update, UpdateEnd, UpdatePhase};
pub use voice::{MicrophoneMeter, RecordingPhase, VoiceMeters, VoiceMode, VoiceRecording};
pub use watchers::Watchers;

/// What the daemon gives the panel.
pub struct PanelHandles {
    /// Where wishes go. When it is full or closed, callers are told that the terminal is not ready.
    pub commands: mpsc::Sender<PanelCommand>,
    /// What to show. When its sender is dropped, the panel ends its WebSockets and is no longer healthy.
    pub state: watch::Receiver<Arc<State>>,
    /// Newest live picture of the room's screen, a JPEG; a few a second, made only while
    /// [`PanelHandles::watchers`] counts somebody.
    pub picture: watch::Receiver<Option<Arc<Vec<u8>>>>,
    /// Who looks at the live picture; keep a clone.
    pub watchers: Watchers,
    /// What the voice chain measures: ten times a second while [`PanelHandles::listeners`] counts somebody, once a
    /// second otherwise.
    pub meters: watch::Receiver<VoiceMeters>,
    /// Who looks at the meters; keep a clone.
    pub listeners: Watchers,
    /// The board, when it is the virtual one.
    pub virtual_board: Option<VirtualBoard>,
    /// The controls of the camera, when there is one.
    pub camera: Option<Box<dyn CameraControls>>,
}

/// How the panel is set up.
#[derive(Clone, Debug)]
pub struct PanelConfig {
    /// Ask for the password on loopback too, as behind a reverse proxy. A socket elsewhere always does.
    pub needs_password: bool,
    /// Names by which browsers may reach this device, such as `room7.local`, beside its addresses and
    /// `localhost`.
    pub names: Vec<String>,
    /// Folder of the page's files (`index.html` and `assets/`).
    pub pages_dir: PathBuf,
    /// File of the password's hash; made when the password is set, mode 0600.
    pub password_file: PathBuf,
    /// File of the camera's presets (JSON); made with the first.
    pub presets_file: PathBuf,
    /// Where an update bundle that a person brings is put, in the place of the one before.
    pub bundle_file: PathBuf,
    /// Where the daemon puts a recording of the voice chain (WAV); its description is beside it, with `json` at its end.
    pub recording_file: PathBuf,
}

/// What all requests share.
pub(crate) type Shared = Arc<Panel>;

pub(crate) struct Panel {
    commands: mpsc::Sender<PanelCommand>,
    state: watch::Receiver<Arc<State>>,
    picture: watch::Receiver<Option<Arc<Vec<u8>>>>,
    watchers: Watchers,
    meters: watch::Receiver<VoiceMeters>,
    listeners: Watchers,
    /// Pages that follow the state.
    followers: Watchers,
    board: Option<VirtualBoard>,
    desk: Option<Arc<desk::Desk>>,
    gate: security::Gate,
    bundle_file: PathBuf,
    recording_file: PathBuf,
    /// Held while somebody brings a bundle.
    upload: tokio::sync::Mutex<()>,
}
