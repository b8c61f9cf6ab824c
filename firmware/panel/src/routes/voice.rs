//! Meters of the room's voice, and recordings of it for fault reports.

use std::path::PathBuf;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::socket::{Upgrade, limited, pings, put, stop_of};
use crate::error::{ApiError, ApiResult, ErrorBody};
use crate::extract::Json;
use crate::security::Caller;
use crate::serve::Serving;
use crate::voice::VoiceMeters;
use crate::{Panel, PanelCommand, Shared};

/// Pages that follow the meters at the same time.
const MAX_LISTENERS: usize = 16;
/// Time between two pictures of the meters.
const PACE: Duration = Duration::from_millis(100);
/// The longest recording, seconds.
const LONGEST_S: u16 = 120;
/// Bytes of a file that are sent at once.
const PIECE: usize = 64 * 1024;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Recording {
    /// How long.
    #[schema(minimum = 1, maximum = 120)]
    seconds: u16,
}

/// What the voice chain measures: at most a second old.
#[utoipa::path(get, path = "/api/v1/voice/meters", tag = "voice", responses((status = OK, body = VoiceMeters)))]
pub(super) async fn meters(State(panel): State<Shared>) -> Json<VoiceMeters> {
    Json(panel.meters.borrow().clone())
}

/// A WebSocket that sends what the voice chain measures, ten times a second. What is sent to it is ignored.
#[utoipa::path(get, path = "/api/v1/voice/live", tag = "voice", responses(
    (status = SWITCHING_PROTOCOLS, description = "Text messages, each a JSON `VoiceMeters`", body = VoiceMeters),
    (status = FORBIDDEN, body = ErrorBody), (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn live(
    State(panel): State<Shared>,
    caller: Caller,
    serving: Option<Extension<Serving>>,
    upgrade: Upgrade,
) -> ApiResult<Response> {
    let upgrade = limited(upgrade)?;
    let listening =
        panel.listeners.enter(MAX_LISTENERS).ok_or_else(|| ApiError::busy("Too many pages are open."))?;
    let stop = stop_of(serving);
    Ok(upgrade
        .on_upgrade(async move |socket| {
            let _listening = listening;
            follow(socket, &panel, &caller, stop).await;
        })
        .into_response())
}

async fn follow(mut socket: WebSocket, panel: &Panel, caller: &Caller, stop: CancellationToken) {
    let mut meters = panel.meters.clone();
    meters.mark_changed();
    let mut ping = pings();
    let mut next = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            changed = async { sleep_until(next).await; meters.changed().await } => {
                if changed.is_err() { break }
                next = Instant::now() + PACE;
                let now = meters.borrow_and_update().clone();
                let Ok(text) = serde_json::to_string(&now) else { break };
                if !put(&mut socket, Message::Text(text.into())).await { return }
            }
            _ = ping.tick() => {
                // Who logged out in the meantime is told no more.
                if !caller.is_welcome(&panel.gate) { break }
                if !put(&mut socket, Message::Ping(Bytes::new())).await { return }
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            }
        }
    }
    put(&mut socket, Message::Close(None)).await;
}

/// Records all inner signals of the voice chain for a fault report, after the room and the meeting were told so. The
/// answer comes when it begins; `recording` of the state tells how it goes. Nothing is recorded while the room is muted:
/// 409 when it is, a pause when it is muted later.
#[utoipa::path(post, path = "/api/v1/voice/recording", tag = "voice", request_body = Recording, responses(
    (status = ACCEPTED), (status = CONFLICT, body = ErrorBody), (status = UNPROCESSABLE_ENTITY, body = ErrorBody),
    (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn record(
    State(panel): State<Shared>,
    Json(wish): Json<Recording>,
) -> ApiResult<StatusCode> {
    if !(1..=LONGEST_S).contains(&wish.seconds) {
        return Err(ApiError::invalid("There is no such length.", "Ask for 1 to 120 seconds."));
    }
    panel.ask(|reply| PanelCommand::StartRecording { seconds: wish.seconds, reply }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Ends a recording, and removes its files.
#[utoipa::path(delete, path = "/api/v1/voice/recording", tag = "voice", responses(
    (status = NO_CONTENT), (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn forget(State(panel): State<Shared>) -> ApiResult<StatusCode> {
    panel.ask(|reply| PanelCommand::ForgetRecording { reply }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The signals of the last recording: a WAV file, 48 kHz, 32-bit float, a channel each.
#[utoipa::path(get, path = "/api/v1/voice/recording.wav", tag = "voice", responses(
    (status = OK, content_type = "audio/wav", body = [u8]), (status = NOT_FOUND, body = ErrorBody)
))]
pub(super) async fn recording_wav(State(panel): State<Shared>) -> ApiResult<Response> {
    file(&panel, panel.recording_file.clone(), "audio/wav").await
}

/// What each channel of the last recording is, and how the room was set.
#[utoipa::path(get, path = "/api/v1/voice/recording.json", tag = "voice", responses(
    (status = OK, content_type = "application/json", body = String), (status = NOT_FOUND, body = ErrorBody)
))]
pub(super) async fn recording_json(State(panel): State<Shared>) -> ApiResult<Response> {
    file(&panel, panel.recording_file.with_extension("json"), "application/json").await
}

async fn file(panel: &Panel, path: PathBuf, kind: &'static str) -> ApiResult<Response> {
    let running =
        panel.state.borrow().recording.as_ref().is_some_and(|recording| recording.phase.is_running());
    let file = if running { None } else { tokio::fs::File::open(path).await.ok() };
    let file = file.ok_or_else(|| {
        ApiError::not_found("There is no recording.", "Make one, and wait until it is done.")
    })?;
    let pieces = futures_util::stream::unfold(file, async |mut file| {
        let mut piece = vec![0; PIECE];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                Some((Ok(Bytes::from(piece)), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    });
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response())
}
