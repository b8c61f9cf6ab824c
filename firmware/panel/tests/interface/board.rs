//! The virtual board.

use axum::http::StatusCode;
use rostrum_hal::display::Display;
use rostrum_hal::microphone::MicrophoneArray;
use rostrum_hal::{Frame, FrameData, FrameSize, PixelFormat, Timestamp};

use crate::rig::{Options, Rig};

#[tokio::test]
async fn a_pressed_button_does_what_a_real_one_does() {
    let mut rig = Rig::start();
    assert_eq!(rig.call("POST", "/api/v1/board/buttons/join", None).await.status, StatusCode::NO_CONTENT);
    rig.state.wait_for(|state| state.room.phase == rostrum_room::Phase::InChannel).await.unwrap();
    assert_eq!(rig.get("/api/v1/board").await.json()["buttons"]["join"], false, "it was let go");
    rig.call("POST", "/api/v1/board/buttons/mute", Some(r#"{"pressed": true}"#)).await;
    rig.state.wait_for(|state| state.room.muted).await.unwrap();
    let board = rig.get("/api/v1/board").await.json();
    assert_eq!(board["buttons"]["mute"], true, "it is held");
    assert_eq!(board["indicators"]["mute"]["rgb"], serde_json::json!([255, 0, 0]));
    assert_eq!(rig.call("POST", "/api/v1/board/buttons/reset", None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn switch_and_faults_are_those_of_the_board() {
    let rig = Rig::start();
    rig.call("PUT", "/api/v1/board/mute_switch", Some(r#"{"cut": true}"#)).await;
    rig.call("PUT", "/api/v1/board/faults/speaker_gone", Some(r#"{"active": true}"#)).await;
    assert!(rig.board.has_fault(rostrum_hal::sim::Fault::SpeakerGone));
    let board = rig.get("/api/v1/board").await.json();
    assert_eq!((&board["mute_switch_cut"], &board["faults"]["speaker_gone"]), (&true.into(), &true.into()));
    rig.call("PUT", "/api/v1/board/faults/speaker_gone", Some(r#"{"active": false}"#)).await;
    assert_eq!(rig.get("/api/v1/state").await.json()["board"]["faults"]["speaker_gone"], false);
    let answer = rig.call("PUT", "/api/v1/board/faults/gremlins", Some(r#"{"active": true}"#)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_the_microphones_heard_comes_as_a_file_with_its_time() {
    let rig = Rig::start();
    let board = rig.board.clone();
    let heard = tokio::task::spawn_blocking(move || {
        let mut microphones = board.microphones();
        let format = microphones.format();
        let mut samples = vec![0.0; format.period_frames * format.channels()];
        let start = microphones.read(&mut samples).unwrap();
        for _ in 0..4 {
            microphones.read(&mut samples).unwrap();
        }
        start
    });
    let start = heard.await.unwrap();
    let answer = rig.get("/api/v1/board/sound/microphone.wav?seconds=1").await;
    assert_eq!(
        (answer.status, &answer.headers["content-type"]),
        (StatusCode::OK, &"audio/wav".parse().unwrap())
    );
    let told: u128 = answer.headers["x-start-time-us"].to_str().unwrap().parse().unwrap();
    assert_eq!(told, start.since_start().as_micros());
    let mut file = hound::WavReader::new(std::io::Cursor::new(answer.body)).unwrap();
    assert_eq!((file.spec().sample_rate, file.spec().channels), (48_000, 1));
    let expected = rig.board.sound(rostrum_hal::sim::SoundTap::Microphone, std::time::Duration::from_secs(1));
    assert_eq!(file.samples::<f32>().collect::<Result<Vec<_>, _>>().unwrap(), expected.samples);
    assert_eq!(expected.samples.len(), 5 * 480);
}

#[tokio::test]
async fn sounds_that_the_board_does_not_have_are_refused() {
    let rig = Rig::start();
    assert_eq!(rig.get("/api/v1/board/sound/street.wav").await.status, StatusCode::NOT_FOUND);
    for seconds in ["61", "-1", "NaN", "inf", "1e300"] {
        let answer = rig.get(&format!("/api/v1/board/sound/scene.wav?seconds={seconds}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{seconds}");
    }
    assert_eq!(rig.get("/api/v1/board/sound/scene.wav?seconds=x").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_screen_comes_as_it_is_shown() {
    let rig = Rig::start();
    assert_eq!(rig.get("/api/v1/board/screen.yuv").await.status, StatusCode::NOT_FOUND);
    let picture = Frame {
        capture_time: Timestamp::from_clock(std::time::Duration::from_micros(1234)),
        sequence: 7,
        format: PixelFormat::Yuv420,
        size: FrameSize::new(4, 2),
        data: FrameData::Bytes((0..12).collect()),
    };
    rig.board.display().show(picture).unwrap();
    let answer = rig.get("/api/v1/board/screen.yuv").await;
    assert_eq!(answer.body, (0..12).collect::<Vec<u8>>());
    for (name, value) in
        [("x-width", "4"), ("x-height", "2"), ("x-capture-time-us", "1234"), ("x-sequence", "7")]
    {
        assert_eq!(answer.headers[name], value);
    }
}

#[tokio::test]
async fn a_real_board_has_no_virtual_inside() {
    let rig = Rig::with(Options { is_virtual: false, ..Options::default() });
    for (method, path, body) in [
        ("GET", "/api/v1/board", None),
        ("POST", "/api/v1/board/buttons/join", None),
        ("PUT", "/api/v1/board/mute_switch", Some(r#"{"cut": true}"#)),
        ("PUT", "/api/v1/board/faults/speaker_gone", Some(r#"{"active": true}"#)),
        ("GET", "/api/v1/board/sound/scene.wav", None),
        ("GET", "/api/v1/board/screen.yuv", None),
    ] {
        assert_eq!(rig.call(method, path, body).await.status, StatusCode::NOT_FOUND, "{method} {path}");
    }
    assert!(rig.get("/api/v1/state").await.json()["board"].is_null());
}
