//! The state, pushed.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::response::{IntoResponse, Response};
use rostrum_hal::sim::Changes;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::socket::{Upgrade, limited, pings, put, stop_of};
use crate::error::{ApiError, ApiResult, ErrorBody};
use crate::security::Caller;
use crate::serve::Serving;
use crate::{Panel, Shared};

/// Pages that follow at the same time.
const MAX_FOLLOWERS: usize = 32;
/// The first change goes out at once; what follows sooner than this goes out together.
const PACE: Duration = Duration::from_millis(50);

/// What a page is told: the fields of `State`, and `"type": "state"`.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Event {
    /// The whole state, at once and at each change, at most 20 times a second.
    State(Box<crate::State>),
}

/// A WebSocket that sends an `Event` at once and at each change. What is sent to it is ignored.
#[utoipa::path(get, path = "/api/v1/events", tag = "room", responses(
    (status = SWITCHING_PROTOCOLS, description = "Text messages, each a JSON `Event`", body = Event),
    (status = FORBIDDEN, body = ErrorBody), (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn events(
    State(panel): State<Shared>,
    caller: Caller,
    serving: Option<Extension<Serving>>,
    upgrade: Upgrade,
) -> ApiResult<Response> {
    let upgrade = limited(upgrade)?;
    let following =
        panel.followers.enter(MAX_FOLLOWERS).ok_or_else(|| ApiError::busy("Too many pages are open."))?;
    let stop = stop_of(serving);
    Ok(upgrade
        .on_upgrade(async move |socket| {
            let _following = following;
            let sources = Sources::of(&panel);
            follow(socket, &panel, &caller, sources, stop).await;
        })
        .into_response())
}

/// Everything that may change what a page shows.
struct Sources {
    state: watch::Receiver<std::sync::Arc<crate::State>>,
    camera: Option<watch::Receiver<u64>>,
    /// The camera's count of changes that was seen.
    turned: u64,
    board: Option<Changes>,
}

impl Sources {
    fn of(panel: &Panel) -> Self {
        Self {
            state: panel.state.clone(),
            camera: panel.desk.as_ref().map(|desk| desk.changes()),
            turned: panel.desk.as_ref().map(|desk| desk.count()).unwrap_or_default(),
            board: panel.board.as_ref().map(|board| board.changes()),
        }
    }

    /// Waits for the next change; `false` when the daemon ended. Cancel-safe.
    async fn changed(&mut self, panel: &Panel) -> bool {
        tokio::select! {
            changed = self.state.changed() => changed.is_ok(),
            () = camera_changed(&mut self.camera) => true,
            // Whoever looks next reads it.
            () = camera_turned(panel, &mut self.turned) => true,
            () = board_changed(&mut self.board) => true,
        }
    }
}

async fn camera_changed(camera: &mut Option<watch::Receiver<u64>>) {
    if let Some(camera) = camera
        && camera.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

async fn camera_turned(panel: &Panel, seen: &mut u64) {
    match &panel.desk {
        Some(desk) => *seen = desk.turned(*seen).await,
        None => std::future::pending().await,
    }
}

async fn board_changed(board: &mut Option<Changes>) {
    match board {
        Some(board) => board.changed().await,
        None => std::future::pending().await,
    }
}

async fn follow(
    mut socket: WebSocket,
    panel: &Panel,
    caller: &Caller,
    mut sources: Sources,
    stop: CancellationToken,
) {
    let mut ping = pings();
    let mut shown = panel.first_view().await;
    if !send(&mut socket, &shown).await {
        return;
    }
    let mut next = Instant::now() + PACE;
    let mut pending = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            alive = sources.changed(panel), if !pending => {
                if !alive { break }
                pending = true;
            }
            () = sleep_until(next), if pending => {
                pending = false;
                let mut state = panel.view();
                state.now_us = shown.now_us;
                if state == shown {
                    continue;
                }
                state.now_us = super::microseconds(rostrum_hal::Timestamp::now());
                shown = state;
                if !send(&mut socket, &shown).await {
                    return;
                }
                next = Instant::now() + PACE;
            }
            _ = ping.tick() => {
                // Who logged out in the meantime is told no more.
                if !caller.is_welcome(&panel.gate) { break }
                if !put(&mut socket, Message::Ping(Default::default())).await { return }
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            }
        }
    }
    put(&mut socket, Message::Close(None)).await;
}

async fn send(socket: &mut WebSocket, state: &crate::State) -> bool {
    match serde_json::to_string(&Event::State(Box::new(state.clone()))) {
        Ok(text) => put(socket, Message::Text(text.into())).await,
        Err(error) => {
            log::error!("the state cannot be told to a page: {error}");
            false
        }
    }
}
