//! The virtual board: what a hand, an eye and an ear have of a real one. On a real board all of it is 404.

use std::io::Cursor;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use rostrum_hal::FrameData;
use rostrum_hal::buttons::ButtonRole;
use rostrum_hal::sim::{Fault, RATE_HZ, Sound, SoundTap, VirtualBoard};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::microseconds;
use crate::board::BoardState;
use crate::error::{ApiError, ApiResult, ErrorBody};
use crate::extract::{Json, OptionalJson, Path, Query};
use crate::{Panel, Shared};

/// The board remembers that much sound.
const MAX_SECONDS: f64 = 60.0;
const DEFAULT_SECONDS: f64 = 5.0;

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Press {
    /// `true` holds the button down, `false` lets it go; absent: press and let go.
    pressed: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cut {
    /// `true` cuts the microphones in hardware.
    cut: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Active {
    /// `true` injects the fault, `false` clears it.
    active: bool,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Length {
    /// How much of the newest sound; 5 when absent.
    #[param(minimum = 0, maximum = 60)]
    seconds: Option<f64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct OneScreen {
    /// `true` is the second screen, for what is shared; the first when absent.
    #[serde(default)]
    content: bool,
}

impl Panel {
    fn board(&self) -> ApiResult<&VirtualBoard> {
        self.board.as_ref().ok_or_else(|| {
            let message = "This terminal is no virtual board.";
            ApiError::not_found(message, "Press its real buttons, or start it with the profile virtual.")
        })
    }
}

/// Lights as they really are, buttons, mute switch and faults.
#[utoipa::path(get, path = "/api/v1/board", tag = "board", responses(
    (status = OK, body = BoardState), (status = NOT_FOUND, body = ErrorBody)
))]
pub(super) async fn board(State(panel): State<Shared>) -> ApiResult<Json<BoardState>> {
    Ok(Json(panel.board()?.state().into()))
}

/// Presses a button: `join`, `mute`, `volume_up`, `volume_down`, `reset`.
#[utoipa::path(post, path = "/api/v1/board/buttons/{role}", tag = "board", params(("role" = String, Path)),
    request_body(content = Option<Press>),
    responses((status = NO_CONTENT), (status = NOT_FOUND, body = ErrorBody)))]
pub(super) async fn button(
    State(panel): State<Shared>,
    Path(role): Path<String>,
    OptionalJson(press): OptionalJson<Press>,
) -> ApiResult<StatusCode> {
    let board = panel.board()?;
    let there = serde_json::from_value::<ButtonRole>(role.into()).is_ok_and(|role| match press.pressed {
        Some(pressed) => board.press(role, pressed),
        None => board.push(role),
    });
    if there {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::not_found("The board has no such button.", "/api/v1/board lists them."))
}

/// Moves the hardware mute switch.
#[utoipa::path(put, path = "/api/v1/board/mute_switch", tag = "board", request_body = Cut,
    responses((status = NO_CONTENT), (status = NOT_FOUND, body = ErrorBody)))]
pub(super) async fn mute_switch(State(panel): State<Shared>, Json(wish): Json<Cut>) -> ApiResult<StatusCode> {
    panel.board()?.set_mute_switch(wish.cut);
    Ok(StatusCode::NO_CONTENT)
}

/// Injects or clears a fault; `/api/v1/board` lists them.
#[utoipa::path(put, path = "/api/v1/board/faults/{name}", tag = "board", params(("name" = String, Path)),
    request_body = Active, responses((status = NO_CONTENT), (status = NOT_FOUND, body = ErrorBody)))]
pub(super) async fn fault(
    State(panel): State<Shared>,
    Path(name): Path<String>,
    Json(wish): Json<Active>,
) -> ApiResult<StatusCode> {
    let board = panel.board()?;
    let fault = Fault::from_str(&name)
        .map_err(|_| ApiError::not_found("The board has no such fault.", "/api/v1/board lists them."))?;
    board.set_fault(fault, wish.active);
    Ok(StatusCode::NO_CONTENT)
}

/// The newest sound: `scene.wav` (what was said in the room), `microphone.wav` (what the first microphone heard),
/// `speaker.wav` (what the speaker played). Mono, 48 kHz, 32-bit float.
#[utoipa::path(get, path = "/api/v1/board/sound/{tap}", tag = "board", params(("tap" = String, Path), Length),
    responses(
        (status = OK, content_type = "audio/wav", body = [u8], headers(
            ("X-Start-Time-Us" = u64, description = "When its first sample was heard, in microseconds on CLOCK_MONOTONIC")
        )),
        (status = NOT_FOUND, body = ErrorBody), (status = UNPROCESSABLE_ENTITY, body = ErrorBody)
    ))]
pub(super) async fn sound(
    State(panel): State<Shared>,
    Path(tap): Path<String>,
    Query(length): Query<Length>,
) -> ApiResult<impl IntoResponse> {
    let board = panel.board()?;
    let tap = match tap.as_str() {
        "scene.wav" => SoundTap::Scene,
        "microphone.wav" => SoundTap::Microphone,
        "speaker.wav" => SoundTap::Speaker,
        _ => {
            return Err(ApiError::not_found(
                "There is no such sound.",
                "Ask for scene.wav, microphone.wav or speaker.wav.",
            ));
        }
    };
    let seconds = length.seconds.unwrap_or(DEFAULT_SECONDS);
    if !(0.0..=MAX_SECONDS).contains(&seconds) {
        return Err(ApiError::invalid("The board does not remember that much.", "Ask for 0 to 60 seconds."));
    }
    let sound = board.sound(tap, Duration::from_secs_f64(seconds));
    let start = microseconds(sound.start).to_string();
    Ok(([("content-type", "audio/wav".to_owned()), ("x-start-time-us", start)], wav(&sound)?))
}

/// The sound as a file.
fn wav(sound: &Sound) -> ApiResult<Vec<u8>> {
    let format = hound::WavSpec {
        channels: 1,
        sample_rate: RATE_HZ,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut file = Cursor::new(Vec::with_capacity(sound.samples.len() * 4 + 64));
    let written = hound::WavWriter::new(&mut file, format).and_then(|mut writer| {
        sound.samples.iter().try_for_each(|&sample| writer.write_sample(sample))?;
        writer.finalize()
    });
    written.map_err(|_| ApiError::not_ready())?;
    Ok(file.into_inner())
}

/// The picture that one of the board's screens shows, as it is: Y, U and V planes without padding, chroma halved both
/// ways.
#[utoipa::path(get, path = "/api/v1/board/screen.yuv", tag = "board", params(OneScreen), responses(
    (status = OK, content_type = "application/octet-stream", body = [u8], headers(
        ("X-Width" = u32, description = "Pixels from left to right"),
        ("X-Height" = u32, description = "Pixels from top to bottom"),
        ("X-Capture-Time-Us" = u64, description = "When it was due, in microseconds on CLOCK_MONOTONIC"),
        ("X-Sequence" = u64, description = "Its number")
    )),
    (status = NOT_FOUND, body = ErrorBody)
))]
pub(super) async fn screen(
    State(panel): State<Shared>,
    Query(one): Query<OneScreen>,
) -> ApiResult<impl IntoResponse> {
    let board = panel.board()?;
    let frame = if one.content { board.content_screen() } else { board.screen() };
    // The virtual screen takes nothing but planar frames in memory.
    let (frame, bytes) = frame
        .and_then(|frame| match &frame.data {
            FrameData::Bytes(bytes) => Some((frame.clone(), bytes.clone())),
            _ => None,
        })
        .ok_or_else(|| ApiError::not_found("The screen shows nothing yet.", "Ask again."))?;
    let head = [
        (header::CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()),
        ("x-width", frame.size.width.to_string()),
        ("x-height", frame.size.height.to_string()),
        ("x-capture-time-us", microseconds(frame.capture_time).to_string()),
        ("x-sequence", frame.sequence.to_string()),
    ];
    Ok((head, axum::body::Bytes::from_owner(bytes)))
}
