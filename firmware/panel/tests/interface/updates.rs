//! Updates: asked for, agreed to, and brought.

use axum::body::Body;
use axum::http::{Request, StatusCode};

use crate::rig::{Answer, Rig};

/// What the terminal was asked for last.
async fn wanted(rig: &Rig) -> String {
    let state = rig.get("/api/v1/state").await.json();
    state["update"]["reason"].as_str().unwrap_or_default().to_owned()
}

async fn bring(rig: &Rig, bundle: Vec<u8>) -> Answer {
    let request = Request::put("/api/v1/updates/bundle").header("host", "127.0.0.1:8090");
    rig.send(request.header("content-type", "application/octet-stream").body(Body::from(bundle)).unwrap())
        .await
}

#[tokio::test]
async fn a_person_asks_agrees_and_brings_a_bundle() {
    let rig = Rig::start();
    assert_eq!(rig.call("POST", "/api/v1/updates/check", None).await.status, StatusCode::ACCEPTED);
    assert_eq!(wanted(&rig).await, "check");
    let agreed = rig.call("PUT", "/api/v1/updates/confirm", Some("{\"yes\": true}")).await;
    assert_eq!((agreed.status, wanted(&rig).await), (StatusCode::ACCEPTED, "confirm true".into()));
    // More than other bodies may have.
    let bundle = vec![7; 1 << 20];
    assert_eq!(bring(&rig, bundle.clone()).await.status, StatusCode::ACCEPTED);
    let path = rig.folder.path().join("bundle.raucb");
    assert_eq!(std::fs::read(&path).unwrap(), bundle);
    assert!(!rig.folder.path().join("bundle.part").exists());
    assert_eq!(wanted(&rig).await, format!("install {}", path.display()));
}

#[tokio::test]
async fn a_bundle_that_cannot_be_kept_is_said_so() {
    let rig = Rig::start();
    std::fs::create_dir(rig.folder.path().join("bundle.part")).unwrap();
    let answer = bring(&rig, vec![7; 100]).await;
    assert_eq!((answer.status, answer.error()), (StatusCode::INSUFFICIENT_STORAGE, "no_room".into()));
    assert_eq!(wanted(&rig).await, "");
}
