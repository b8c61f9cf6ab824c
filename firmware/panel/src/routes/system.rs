//! Version, health, metrics and reset to factory.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;
use rostrum_room::Phase;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{ApiError, ApiResult, ErrorBody};
use crate::extract::Json;
use crate::{PanelCommand, Shared, board};

#[derive(Serialize, ToSchema)]
pub(super) struct Version {
    /// Version of the firmware.
    version: String,
    /// Version of this interface.
    api: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// The terminal works, whatever its room does.
    ok: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Meant {
    /// `true`: the person was asked, and means it.
    confirm: bool,
}

/// Resets the terminal to factory: its settings, its password and what it was told since are forgotten, and it
/// restarts. It leaves a meeting first. What the factory gave it and its software stay.
#[utoipa::path(post, path = "/api/v1/factory_reset", tag = "system", request_body = Meant, responses(
    (status = ACCEPTED), (status = CONFLICT, body = ErrorBody), (status = UNPROCESSABLE_ENTITY, body = ErrorBody),
    (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn factory_reset(
    State(panel): State<Shared>,
    Json(wish): Json<Meant>,
) -> ApiResult<StatusCode> {
    if !wish.confirm {
        let hint = "Ask the person first, and send confirm: true when they mean it.";
        return Err(ApiError::invalid("A reset to factory has to be confirmed.", hint));
    }
    panel.ask(|reply| PanelCommand::FactoryReset { reply }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The version of the firmware.
#[utoipa::path(get, path = "/api/v1/version", tag = "system", responses((status = OK, body = Version)))]
pub(super) async fn version(State(panel): State<Shared>) -> Json<Version> {
    Json(Version { version: panel.state.borrow().version.clone(), api: "v1" })
}

/// Whether the terminal works; no login. Also at `/healthz`.
#[utoipa::path(get, path = "/api/v1/healthz", tag = "system", responses(
    (status = OK, body = Health), (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn healthz(State(panel): State<Shared>) -> ApiResult<Json<Health>> {
    if panel.commands.is_closed() || panel.state.has_changed().is_err() {
        return Err(ApiError::not_ready());
    }
    Ok(Json(Health { ok: true }))
}

/// Metrics in Prometheus' text format. Also at `/metrics`.
#[utoipa::path(get, path = "/api/v1/metrics", tag = "system", responses(
    (status = OK, content_type = "text/plain", body = String)
))]
pub(super) async fn metrics(State(panel): State<Shared>) -> impl IntoResponse {
    let state = panel.state.borrow().clone();
    let meters = panel.meters.borrow().clone();
    let text = render(&state, &meters, panel.watchers.count());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// A recorder of its own for each answer: nothing is counted twice, and tests do not meet each other.
fn render(state: &crate::State, voice: &crate::VoiceMeters, watchers: usize) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        describe();
        for phase in [Phase::Idle, Phase::Joining, Phase::InChannel, Phase::Reconnecting, Phase::Leaving] {
            let name = board::name_of(phase);
            gauge!("rostrum_room_phase", "phase" => name).set(f64::from(u8::from(phase == state.room.phase)));
        }
        gauge!("rostrum_room_muted").set(f64::from(u8::from(state.room.muted)));
        gauge!("rostrum_room_volume_ratio").set(f64::from(state.volume) / 100.0);
        gauge!("rostrum_participants").set(state.participants.len() as f64);
        gauge!("rostrum_problems").set(state.errors.len() as f64);
        gauge!("rostrum_picture_watchers").set(watchers as f64);
        if let Some(rtt_ms) = state.statistics.rtt_ms {
            gauge!("rostrum_rtt_seconds").set(rtt_ms / 1000.0);
        }
        counter!("rostrum_camera_frames_total").absolute(state.statistics.camera_frames);
        counter!("rostrum_camera_frames_lost_total").absolute(state.statistics.camera_frames_lost);
        counter!("rostrum_microphone_samples_lost_total").absolute(state.statistics.microphone_samples_lost);
        counter!("rostrum_frames_sent_total").absolute(state.statistics.frames_sent);
        counter!("rostrum_frames_shown_total").absolute(state.statistics.frames_shown);
        counter!("rostrum_audio_packets_sent_total").absolute(state.statistics.audio_packets_sent);
        tell_voice(voice);
        gauge!("rostrum_build_info", "version" => state.version.clone()).set(1.0);
    });
    recorder.handle().render()
}

fn tell_voice(voice: &crate::VoiceMeters) {
    for mode in crate::VoiceMode::ALL {
        gauge!("rostrum_voice_mode", "mode" => mode.name()).set(f64::from(u8::from(mode == voice.mode)));
    }
    for (number, microphone) in (1..).zip(&voice.microphones) {
        let number: u32 = number;
        gauge!("rostrum_microphone_ok", "number" => number.to_string())
            .set(f64::from(u8::from(microphone.ok)));
        if let Some(level) = microphone.level_dbfs {
            gauge!("rostrum_microphone_level_dbfs", "number" => number.to_string()).set(f64::from(level));
        }
    }
    let measured = [
        ("rostrum_voice_gain_db", voice.gain_db),
        ("rostrum_echo_removed_db", voice.echo_removed_db),
        ("rostrum_echo_delay_seconds", voice.echo_delay_ms.map(|ms| ms as f32 / 1000.0)),
        ("rostrum_clock_drift_ppm", voice.clock_drift_ppm),
    ];
    for (name, value) in measured {
        if let Some(value) = value {
            gauge!(name).set(f64::from(value));
        }
    }
}

fn describe() {
    describe_gauge!("rostrum_voice_mode", "1 for what the microphones are for.");
    describe_gauge!("rostrum_microphone_ok", "1 when the microphone works.");
    describe_gauge!("rostrum_microphone_level_dbfs", "Loudness at the microphone; absent while muted.");
    describe_gauge!("rostrum_voice_gain_db", "What gain control adds.");
    describe_gauge!("rostrum_echo_removed_db", "Echo of the own speaker that is taken out.");
    describe_gauge!("rostrum_echo_delay_seconds", "Time from playing to hearing.");
    describe_gauge!(
        "rostrum_clock_drift_ppm",
        "How much faster the speaker's clock runs than the microphones'."
    );
    describe_gauge!("rostrum_room_phase", "1 for what the room does now.");
    describe_gauge!("rostrum_room_muted", "1 when no sample of the microphones leaves the room.");
    describe_gauge!("rostrum_room_volume_ratio", "Volume of the speaker, 0 to 1.");
    describe_gauge!("rostrum_participants", "Others in the channel.");
    describe_gauge!("rostrum_problems", "Things that people should know.");
    describe_gauge!("rostrum_picture_watchers", "Pages that show the live picture.");
    describe_gauge!("rostrum_rtt_seconds", "Round trip to the service.");
    describe_counter!("rostrum_camera_frames_total", "Frames that came from the camera.");
    describe_counter!(
        "rostrum_camera_frames_lost_total",
        "Frames that the camera missed at its rate, or that nobody fetched in time."
    );
    describe_counter!(
        "rostrum_microphone_samples_lost_total",
        "Samples of each microphone that nobody fetched in time."
    );
    describe_counter!("rostrum_frames_sent_total", "Encoded frames sent, over all layers.");
    describe_counter!("rostrum_frames_shown_total", "Pictures shown on the room's screen.");
    describe_counter!("rostrum_audio_packets_sent_total", "Packets of sound sent.");
    describe_gauge!("rostrum_build_info", "1; the version is a label.");
}
