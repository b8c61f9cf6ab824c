//! Modes of the room's voice, its meters, and recordings.

use std::time::Duration;

use axum::http::StatusCode;
use futures_util::StreamExt;
use rostrum_panel::{MicrophoneMeter, VoiceMeters, VoiceMode};
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;

use crate::rig::Rig;

const DEADLINE: Duration = Duration::from_secs(5);

fn loud(level_dbfs: f32) -> VoiceMeters {
    let microphones = vec![MicrophoneMeter { level_dbfs: Some(level_dbfs), ok: true }];
    VoiceMeters { microphones, mode: VoiceMode::VoiceWide, ..VoiceMeters::default() }
}

#[tokio::test]
async fn the_mode_is_changed_by_its_name() {
    let rig = Rig::start();
    for name in ["voice-wide", "music", "voice"] {
        let body = format!(r#"{{"voice_mode": "{name}"}}"#);
        let answer = rig.call("PATCH", "/api/v1/settings", Some(&body)).await;
        assert_eq!((answer.status, &answer.json()["voice_mode"]), (StatusCode::OK, &Value::from(name)));
    }
    let answer = rig.call("PATCH", "/api/v1/settings", Some(r#"{"voice_mode": "loud"}"#)).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.error();
}

#[tokio::test]
async fn the_meters_come_at_once_and_at_most_ten_times_a_second_and_somebody_counts_as_looking() {
    let rig = Rig::start();
    rig.meters.send_replace(loud(-30.0));
    assert_eq!(rig.get("/api/v1/voice/meters").await.json()["microphones"][0]["level_dbfs"], -30.0);
    let served = rig.serve().await;
    assert_eq!(rig.listeners.count(), 0);
    let (mut page, _) = connect_async(format!("ws://{}/api/v1/voice/live", served.address)).await.unwrap();
    let first = timeout(DEADLINE, page.next()).await.unwrap().unwrap().unwrap();
    let first: Value = serde_json::from_str(first.to_text().unwrap()).unwrap();
    assert_eq!((&first["mode"], rig.listeners.count()), (&Value::from("voice-wide"), 1));
    let begin = tokio::time::Instant::now();
    let mut told = 0;
    for i in 0..60_u8 {
        rig.meters.send_replace(loud(-f32::from(i)));
        if let Ok(Some(Ok(_))) = timeout(Duration::from_millis(10), page.next()).await {
            told += 1;
        }
    }
    let most = begin.elapsed().as_millis() / 100 + 1;
    assert!((1..=most).contains(&told), "{told} times in {:?}", begin.elapsed());
    drop(page);
    timeout(DEADLINE, rig.listeners.subscribe().wait_for(|count| *count == 0)).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_metrics_tell_of_each_microphone_and_of_the_mode() {
    let rig = Rig::start();
    rig.meters.send_replace(loud(-30.0));
    let text = rig.get("/metrics").await.text();
    for line in [
        r#"rostrum_microphone_level_dbfs{number="1"} -30"#,
        r#"rostrum_microphone_ok{number="1"} 1"#,
        r#"rostrum_voice_mode{mode="voice-wide"} 1"#,
        r#"rostrum_voice_mode{mode="music"} 0"#,
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
}

#[tokio::test]
async fn a_recording_has_a_length_and_files_once_it_is_done() {
    let rig = Rig::start();
    for seconds in ["0", "121"] {
        let body = format!(r#"{{"seconds": {seconds}}}"#);
        let answer = rig.call("POST", "/api/v1/voice/recording", Some(&body)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{seconds}");
    }
    let path = "/api/v1/voice/recording.wav";
    assert_eq!(rig.get(path).await.status, StatusCode::NOT_FOUND);
    let sound: Vec<u8> = (0..200_000_u32).map(|i| i as u8).collect();
    std::fs::write(rig.folder.path().join("recording.wav"), &sound).unwrap();
    let answer = rig.get(path).await;
    assert_eq!((answer.status, answer.body.as_ref()), (StatusCode::OK, &sound[..]));
}
