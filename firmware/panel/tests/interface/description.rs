//! The description of the interface.

use serde_json::Value;

use crate::rig::Rig;

#[tokio::test]
async fn openapi_json_is_what_the_code_says() {
    let written: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
    let real = Rig::start().get("/api/openapi.json").await.json();
    assert!(
        written == real,
        "write it again: cargo run -q -p rostrum-panel --example openapi > firmware/panel/openapi.json"
    );
}

/// Reads the schema `reference` names and checks that `value` has exactly its properties.
fn assert_properties(api: &Value, schema: &str, value: &Value) {
    let described = api["components"]["schemas"][schema]["properties"].as_object().unwrap();
    let mut told: Vec<_> = value.as_object().unwrap().keys().collect();
    let mut properties: Vec<_> = described.keys().collect();
    told.sort();
    properties.sort();
    assert_eq!(told, properties, "{schema}");
}

#[tokio::test]
async fn the_state_is_as_described() {
    let rig = Rig::start();
    let (api, state) = (rig.get("/api/openapi.json").await.json(), rig.get("/api/v1/state").await.json());
    assert_properties(&api, "State", &state);
    assert_properties(&api, "RoomState", &state["room"]);
    assert_properties(&api, "BoardState", &state["board"]);
    assert_properties(&api, "CameraState", &state["camera"]);
    assert_properties(&api, "ControlState", &state["camera"]["controls"][0]);
    assert_properties(&api, "Settings", &state["settings"]);
    let phases = &api["components"]["schemas"]["RoomState"]["properties"]["phase"]["enum"];
    assert!(phases.as_array().unwrap().contains(&state["room"]["phase"]));
}
