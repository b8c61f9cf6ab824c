//! The camera.

use axum::http::StatusCode;
use serde_json::Value;

use crate::rig::{Options, Rig};

fn value_of(camera: &Value, control: &str) -> i64 {
    let controls = camera["controls"].as_array().unwrap();
    controls.iter().find(|c| c["control"] == control).unwrap()["value"].as_i64().unwrap()
}

async fn turn(rig: &Rig, control: &str, value: i64) -> Value {
    let body = format!(r#"{{"value": {value}}}"#);
    let answer = rig.call("PUT", &format!("/api/v1/camera/controls/{control}"), Some(&body)).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.json()
}

#[tokio::test]
async fn a_control_is_set_within_its_range_and_shows_in_the_state() {
    let rig = Rig::start();
    let set = turn(&rig, "zoom", 100_000).await;
    assert_eq!(set["value"], set["maximum"]);
    let state = rig.get("/api/v1/state").await.json();
    assert_eq!(value_of(&state["camera"], "zoom"), set["maximum"].as_i64().unwrap());
    assert_eq!(state["camera"]["name"], "virtual camera");
}

#[tokio::test]
async fn a_preset_brings_the_camera_back_after_a_restart_too() {
    let rig = Rig::start();
    turn(&rig, "pan", 36_000).await;
    turn(&rig, "zoom", 250).await;
    let path = "/api/v1/camera/presets/White%20board";
    let stored = rig.call("PUT", path, None).await;
    assert_eq!((stored.status, &stored.json()["values"]["zoom"]), (StatusCode::OK, &250.into()));
    turn(&rig, "pan", 0).await;
    turn(&rig, "zoom", 100).await;
    assert_eq!(rig.get("/api/v1/camera").await.json()["presets"], serde_json::json!(["White board"]));
    let camera = rig.call("POST", &format!("{path}/recall"), None).await.json();
    assert_eq!((value_of(&camera, "pan"), value_of(&camera, "zoom")), (36_000, 250));

    let text = std::fs::read_to_string(rig.folder.path().join("presets.json")).unwrap();
    assert!(text.contains("White board"));
    assert_eq!(rig.get(path).await.json()["values"]["pan"], 36_000);
    assert_eq!(rig.call("DELETE", path, None).await.status, StatusCode::NO_CONTENT);
    for (method, path) in
        [("GET", path.to_owned()), ("DELETE", path.to_owned()), ("POST", format!("{path}/recall"))]
    {
        assert_eq!(rig.call(method, &path, None).await.status, StatusCode::NOT_FOUND, "{method}");
    }
}

#[tokio::test]
async fn a_preset_can_be_given_by_its_values() {
    let rig = Rig::start();
    let body = r#"{"values": {"zoom": 300}}"#;
    assert_eq!(rig.call("PUT", "/api/v1/camera/presets/door", Some(body)).await.status, StatusCode::OK);
    let camera = rig.call("POST", "/api/v1/camera/presets/door/recall", None).await.json();
    assert_eq!(value_of(&camera, "zoom"), 300);
    for body in [r#"{"values": {"legs": 4}}"#, r#"{"values": 1}"#, "[", r#"{"value": {}}"#] {
        let answer = rig.call("PUT", "/api/v1/camera/presets/door", Some(body)).await;
        assert!(answer.status.is_client_error(), "{body}: {}", answer.status);
    }
    let long = "x".repeat(65);
    for name in ["%20door", "a%2Fb", "%2e%2e", &long, "%0A"] {
        let answer = rig.call("PUT", &format!("/api/v1/camera/presets/{name}"), None).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
    }
}

#[tokio::test]
async fn a_preset_with_a_speed_is_kept_without_it() {
    let rig = Rig::start();
    let body = r#"{"values": {"zoom": 300, "pan_speed": 50}}"#;
    let kept = rig.call("PUT", "/api/v1/camera/presets/door", Some(body)).await;
    assert_eq!(kept.status, StatusCode::OK);
    assert_eq!(kept.json()["values"], serde_json::json!({"zoom": 300}));
}

#[tokio::test]
async fn a_missing_camera_and_a_missing_control_are_told_apart() {
    let rig = Rig::start();
    let answer = rig.call("PUT", "/api/v1/camera/controls/legs", Some(r#"{"value": 4}"#)).await;
    assert_eq!((answer.status, answer.error().as_str()), (StatusCode::BAD_REQUEST, "bad_path"));
    rig.board.set_fault(rostrum_hal::sim::Fault::CameraUnplugged, true);
    let answer = rig.get("/api/v1/camera").await;
    assert_eq!((answer.status, answer.error().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "camera_gone"));
    assert_eq!(rig.get("/api/v1/state").await.status, StatusCode::OK, "the rest is still told");

    let blind = Rig::with(Options { has_camera: false, ..Options::default() });
    assert_eq!(blind.get("/api/v1/camera").await.error(), "no_camera");
}

#[tokio::test]
async fn a_control_of_no_vendor_is_not_there_and_one_of_no_name_is_no_path() {
    let rig = Rig::start();
    let put = async |control: &str| {
        let path = format!("/api/v1/camera/controls/{control}");
        let answer = rig.call("PUT", &path, Some(r#"{"value": 4}"#)).await;
        (answer.status, answer.error())
    };
    assert_eq!(put("vendor_led").await, (StatusCode::NOT_FOUND, "no_such_control".into()));
    assert_eq!(put("vendor_LED").await, (StatusCode::BAD_REQUEST, "bad_path".into()));
    let body = r#"{"values": {"vendor_led": 300}}"#;
    let answer = rig.call("PUT", "/api/v1/camera/presets/door", Some(body)).await;
    assert_eq!((answer.status, answer.error()), (StatusCode::NOT_FOUND, "no_such_control".into()));
}
