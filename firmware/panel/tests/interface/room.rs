//! The meeting.

use axum::http::StatusCode;

use crate::rig::{Options, Rig};

#[tokio::test]
async fn join_mute_volume_and_leave_show_in_the_state() {
    let rig = Rig::start();
    assert_eq!(rig.get("/api/v1/state").await.json()["room"]["phase"], "idle");
    assert_eq!(rig.call("POST", "/api/v1/join", None).await.status, StatusCode::ACCEPTED);
    let state = rig.get("/api/v1/state").await.json();
    assert_eq!((&state["room"]["phase"], &state["room"]["muted"]), (&"in_channel".into(), &false.into()));

    let answer = rig.call("PUT", "/api/v1/mute", Some(r#"{"muted": true}"#)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    rig.call("PUT", "/api/v1/volume", Some(r#"{"volume": 35}"#)).await;
    let state = rig.get("/api/v1/state").await.json();
    assert_eq!((&state["room"]["mute_reason"], &state["volume"]), (&"page".into(), &35.into()));
    assert_eq!(state["indicators"]["mute"]["rgb"], serde_json::json!([255, 0, 0]));

    assert_eq!(rig.call("POST", "/api/v1/leave", None).await.status, StatusCode::ACCEPTED);
    assert_eq!(rig.get("/api/v1/state").await.json()["room"]["phase"], "idle");
}

#[tokio::test]
async fn what_the_room_refuses_is_told_with_its_reason() {
    let rig = Rig::start();
    let answer = rig.call("PUT", "/api/v1/mute", Some(r#"{"muted": false}"#)).await;
    assert_eq!((answer.status, answer.error().as_str()), (StatusCode::CONFLICT, "still_muted"));
}

#[tokio::test]
async fn a_volume_outside_its_range_is_refused_and_changes_nothing() {
    let rig = Rig::start();
    let before = rig.state.borrow().volume;
    for body in [r#"{"volume": 101}"#, r#"{"volume": 300}"#, r#"{"volume": -1}"#, r#"{"volume": "5"}"#, "{}"]
    {
        let answer = rig.call("PUT", "/api/v1/volume", Some(body)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        answer.error();
    }
    assert_eq!(rig.state.borrow().volume, before);
}

#[tokio::test]
async fn settings_change_one_by_one_and_a_misspelt_one_is_refused() {
    let rig = Rig::start();
    let answer = rig.call("PATCH", "/api/v1/settings", Some(r#"{"orientation": 90}"#)).await;
    assert_eq!((answer.status, &answer.json()["orientation"]), (StatusCode::OK, &90.into()));
    let answer = rig.call("PATCH", "/api/v1/settings", Some(r#"{"preference": "fluency"}"#)).await;
    assert_eq!(
        (&answer.json()["orientation"], &answer.json()["preference"]),
        (&90.into(), &"fluency".into())
    );
    for body in [r#"{"mirored": true}"#, r#"{"orientation": 45}"#, r#"{"max_layer": "huge"}"#] {
        let answer = rig.call("PATCH", "/api/v1/settings", Some(body)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
}

#[tokio::test]
async fn a_terminal_that_does_not_answer_is_not_ready_and_not_healthy() {
    let rig = Rig::start();
    assert_eq!(rig.get("/healthz").await.status, StatusCode::OK);
    let mut state = rig.state.clone();
    drop(rig.power);
    while state.changed().await.is_ok() {}
    let response = |method, path| {
        let request = axum::http::Request::builder().method(method).uri(path).header("host", "localhost");
        tower::ServiceExt::oneshot(rig.router.clone(), request.body(axum::body::Body::empty()).unwrap())
    };
    assert_eq!(response("POST", "/api/v1/join").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response("GET", "/healthz").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn metrics_tell_the_phase_and_mute() {
    let rig = Rig::with(Options { has_camera: false, ..Options::default() });
    rig.call("POST", "/api/v1/join", None).await;
    let text = rig.get("/metrics").await.text();
    for line in [
        r#"rostrum_room_phase{phase="in_channel"} 1"#,
        r#"rostrum_room_phase{phase="idle"} 0"#,
        "rostrum_room_muted 0",
        "rostrum_camera_frames_total 0",
        "rostrum_camera_frames_lost_total 0",
        "rostrum_microphone_samples_lost_total 0",
        r#"rostrum_build_info{version="1.2.3"} 1"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    // Prometheus knows no order of lines.
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&rig.get("/api/v1/metrics").await.text()), sorted(&text));
}

#[tokio::test]
async fn there_is_no_guest_link_before_the_service_gave_one() {
    let rig = Rig::start();
    assert_eq!(rig.get("/api/v1/guest_link").await.error(), "not_found");
    assert_eq!(rig.get("/api/v1/version").await.json()["version"], "1.2.3");
}

#[tokio::test]
async fn a_reset_to_factory_has_to_be_confirmed_and_shows_in_the_state() {
    let rig = Rig::start();
    for body in ["{}", r#"{"confirm": false}"#, r#"{"confirm": true, "now": 1}"#, r#"{"confirm": "yes"}"#] {
        let answer = rig.call("POST", "/api/v1/factory_reset", Some(body)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(rig.get("/api/v1/state").await.json()["room"]["reset_in_s"], serde_json::Value::Null);
    }
    let answer = rig.call("POST", "/api/v1/factory_reset", Some(r#"{"confirm": true}"#)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let state = rig.get("/api/v1/state").await.json();
    assert_eq!(
        (&state["room"]["reset_in_s"], &state["errors"][0]["code"]),
        (&0.into(), &"factory_reset".into())
    );
}
