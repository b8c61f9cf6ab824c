//! Requests that nobody thought of.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use proptest::prelude::*;

use crate::rig::Rig;

/// Addresses of the interface, some with a part to fill.
const PATHS: [&str; 20] = [
    "/api/v1/state",
    "/api/v1/join",
    "/api/v1/leave",
    "/api/v1/mute",
    "/api/v1/volume",
    "/api/v1/settings",
    "/api/v1/camera",
    "/api/v1/camera/controls/{}",
    "/api/v1/camera/presets/{}",
    "/api/v1/camera/presets/{}/recall",
    "/api/v1/screen.jpg?quality={}",
    "/api/v1/board/buttons/{}",
    "/api/v1/board/mute_switch",
    "/api/v1/board/faults/{}",
    "/api/v1/board/sound/{}",
    "/api/v1/board/sound/scene.wav?seconds={}",
    "/api/v1/events",
    "/api/v1/{}",
    "/{}",
    "/assets/{}",
];

fn any_part() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "pan",
        "zoom",
        "mute",
        "join",
        "speaker_gone",
        "scene.wav",
        "1",
        "0.1",
        "..",
    ]);
    let escaped = prop::collection::vec(any::<u8>(), 0..24)
        .prop_map(|bytes| bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>());
    prop_oneof![known.prop_map(str::to_owned), escaped, "[a-zA-Z0-9._~!$&'()*+,;=:@-]{0,80}"]
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(vec![
        "muted",
        "volume",
        "value",
        "values",
        "pressed",
        "cut",
        "active",
        "orientation",
    ]);
    let value = prop_oneof![
        Just("true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        Just("null".to_owned()),
        Just(r#"{"pan": 9223372036854775807}"#.to_owned()),
        "[\\x00-\\x7f]{0,20}",
    ];
    prop_oneof![
        (key, value).prop_map(|(key, value)| format!(r#"{{"{key}": {value}}}"#).into_bytes()),
        prop::collection::vec(any::<u8>(), 0..256),
        Just("[".repeat(30_000).into_bytes()),
        Just(Vec::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_request_panics_and_what_is_wrong_is_the_callers_fault(
        requests in prop::collection::vec(
            (
                prop::sample::select(vec!["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"]),
                prop::sample::select(PATHS.to_vec()),
                any_part(),
                any_body(),
                prop::sample::select(vec!["application/json", "text/plain", "application/x-www-form-urlencoded"]),
            ),
            1..24,
        )
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::start();
            std::fs::create_dir(rig.folder.path().join("pages")).unwrap();
            std::fs::write(rig.folder.path().join("pages/index.html"), "the page").unwrap();
            for (method, path, part, body, kind) in requests {
                let path = path.replace("{}", &part);
                let request = Request::builder()
                    .method(method)
                    .uri(&path)
                    .header("host", "localhost")
                    .header("content-type", kind)
                    .body(Body::from(body));
                // What is no request at all never reaches the interface.
                let Ok(request) = request else { continue };
                let answer = rig.send(request).await;
                assert!(!answer.status.is_server_error(), "{method} {path}: {}", answer.status);
                if answer.status.is_client_error() && path.starts_with("/api/") && method != "HEAD" {
                    answer.error();
                }
            }
            assert_eq!(rig.get("/api/v1/state").await.status, StatusCode::OK);
        });
    }
}
