//! The interface: one file a concern, all described by OpenAPI.

mod board;
mod camera;
mod devices;
mod events;
mod room;
mod screen;
mod session;
mod socket;
mod system;
mod updates;
mod voice;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Json, Router};
use rostrum_hal::Timestamp;
use tokio::sync::oneshot;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::command::Reply;
use crate::desk::Desk;
use crate::error::{ApiError, ApiResult, ErrorBody};
use crate::presets::Presets;
use crate::security::{Gate, PasswordStore, require_login, require_same_site};
use crate::state::State;
use crate::{Panel, PanelCommand, PanelConfig, PanelHandles, Shared, Watchers, pages};

/// Longest body that is taken, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rostrum panel",
        description = "The interface of a room's terminal. On loopback it is open; elsewhere it asks for the \
            password that was set at first start (`/api/v1/password`, `/api/v1/session`). Requests of pages of \
            other sites are refused. Every error is an `ErrorBody`."
    ),
    components(schemas(ErrorBody)),
    tags(
        (name = "room", description = "The meeting"),
        (name = "camera", description = "Pan, tilt, zoom and presets"),
        (name = "devices", description = "Which devices are used, and their test"),
        (name = "screen", description = "What the room's screen shows"),
        (name = "board", description = "The virtual board; 404 on a real one"),
        (name = "voice", description = "Meters and recordings of the room's voice"),
        (name = "updates", description = "New versions of the software"),
        (name = "session", description = "Who may"),
        (name = "system", description = "Version, health, metrics and reset to factory")
    )
)]
struct Description;

fn interface(shared: &Shared) -> (Router<Shared>, utoipa::openapi::OpenApi) {
    let open = OpenApiRouter::new()
        .routes(routes!(session::session, session::log_in, session::log_out))
        .routes(routes!(session::set_password))
        .routes(routes!(system::healthz))
        .route("/healthz", get(system::healthz));
    let guarded = OpenApiRouter::new()
        .routes(routes!(room::state))
        .routes(routes!(events::events))
        .routes(routes!(room::join))
        .routes(routes!(room::leave))
        .routes(routes!(room::mute))
        .routes(routes!(room::volume))
        .routes(routes!(room::settings))
        .routes(routes!(room::guest_link))
        .routes(routes!(camera::camera))
        .routes(routes!(camera::set_control))
        .routes(routes!(camera::preset, camera::store_preset, camera::delete_preset))
        .routes(routes!(camera::recall_preset))
        .routes(routes!(devices::devices))
        .routes(routes!(devices::switch_device))
        .routes(routes!(devices::start_selftest, devices::stop_selftest))
        .routes(routes!(devices::answer_selftest))
        .routes(routes!(screen::snapshot))
        .routes(routes!(screen::live))
        .routes(routes!(board::board))
        .routes(routes!(board::button))
        .routes(routes!(board::mute_switch))
        .routes(routes!(board::fault))
        .routes(routes!(board::sound))
        .routes(routes!(board::screen))
        .routes(routes!(voice::meters))
        .routes(routes!(voice::live))
        .routes(routes!(voice::record, voice::forget))
        .routes(routes!(voice::recording_wav))
        .routes(routes!(voice::recording_json))
        .routes(routes!(updates::check))
        .routes(routes!(updates::confirm))
        .routes(routes!(updates::bundle))
        .routes(routes!(system::factory_reset))
        .routes(routes!(system::version))
        .routes(routes!(system::metrics))
        .route("/metrics", get(system::metrics))
        .route_layer(middleware::from_fn_with_state(shared.clone(), require_login));
    OpenApiRouter::with_openapi(Description::openapi()).merge(open).merge(guarded).split_for_parts()
}

/// The interface and the page. Serve it with [`crate::serve`].
///
/// Reads the file of the presets: call it once, at start.
pub fn router(handles: PanelHandles, config: PanelConfig) -> Router {
    let presets = config.presets_file;
    let desk = handles.camera.map(|controls| Arc::new(Desk::new(controls, Presets::open(presets))));
    let password = PasswordStore::new(config.password_file);
    let shared = Arc::new(Panel {
        commands: handles.commands,
        state: handles.state,
        picture: handles.picture,
        watchers: handles.watchers,
        meters: handles.meters,
        listeners: handles.listeners,
        followers: Watchers::default(),
        board: handles.virtual_board,
        desk,
        gate: Gate::new(config.needs_password, &config.names, password),
        bundle_file: config.bundle_file,
        recording_file: config.recording_file,
        upload: tokio::sync::Mutex::default(),
    });
    let (interface, description) = interface(&shared);
    let description = Arc::new(description);
    interface
        .route("/api/openapi.json", get(async move || Json((*description).clone())))
        .route("/api", any(unknown))
        .route("/api/", any(unknown))
        .route("/api/{*rest}", any(unknown))
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared.clone())
        .fallback_service(pages::pages(&config.pages_dir))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(shared, require_same_site))
        .layer(middleware::from_fn(harden))
}

/// The description of the interface: what `firmware/panel/openapi.json` holds.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (commands, _) = tokio::sync::mpsc::channel(1);
    let (_, state) = tokio::sync::watch::channel(Arc::default());
    let (_, picture) = tokio::sync::watch::channel(None);
    let (_, meters) = tokio::sync::watch::channel(crate::VoiceMeters::default());
    let gate = Gate::new(false, &[], PasswordStore::new(std::path::PathBuf::new()));
    let (watchers, followers) = (Watchers::default(), Watchers::default());
    let panel = Panel {
        commands,
        state,
        picture,
        watchers,
        meters,
        listeners: Watchers::default(),
        followers,
        board: None,
        desk: None,
        gate,
        bundle_file: std::path::PathBuf::new(),
        recording_file: std::path::PathBuf::new(),
        upload: tokio::sync::Mutex::default(),
    };
    interface(&Arc::new(panel)).1
}

async fn unknown() -> ApiError {
    ApiError::not_found("There is no such address in this interface.", "See /api/openapi.json.")
}

async fn wrong_method() -> ApiError {
    let message = "That address takes other methods.";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, "See /api/openapi.json.")
}

/// Middleware: tells browsers to keep other sites out.
async fn harden(request: Request, next: Next) -> Response {
    const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; \
        frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

impl Panel {
    /// Asks the daemon and waits for its answer.
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> PanelCommand) -> ApiResult<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).map_err(|_| ApiError::not_ready())?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => Ok(answer?),
            _ => Err(ApiError::not_ready()),
        }
    }

    /// The daemon's state with what the panel itself knows.
    fn view(&self) -> State {
        let mut state = State::clone(&self.state.borrow());
        if let (Some(camera), Some(desk)) = (&mut state.camera, &self.desk) {
            camera.controls = desk.known();
            camera.presets = desk.preset_names();
        }
        state.board = self.board.as_ref().map(|board| board.state().into());
        state.now_us = microseconds(Timestamp::now());
        state
    }

    /// The same, after the camera was asked for its controls if it never was.
    async fn first_view(&self) -> State {
        if let Some(desk) = self.desk.as_ref().filter(|desk| !desk.is_known()) {
            // A camera that does not answer must not keep anybody from seeing the rest.
            let _ = tokio::time::timeout(Duration::from_millis(500), desk.list()).await;
        }
        self.view()
    }
}

/// A time as the interface tells it.
fn microseconds(time: Timestamp) -> u64 {
    u64::try_from(time.since_start().as_micros()).unwrap_or(u64::MAX)
}
