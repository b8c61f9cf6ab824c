//! The room's screen.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::StreamExt;
use tower::ServiceExt;

use crate::rig::Rig;

fn live() -> Request<Body> {
    Request::builder().uri("/api/v1/screen.mjpeg").header("host", "localhost").body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_snapshot_has_the_quality_that_was_asked_for() {
    let rig = Rig::start();
    let answer = rig.get("/api/v1/screen.jpg?quality=42").await;
    assert_eq!(
        (&answer.headers["content-type"], &answer.body[..]),
        (&"image/jpeg".parse().unwrap(), &[0xFF, 0xD8, 42][..])
    );
    assert_eq!(rig.get("/api/v1/screen.jpg").await.body[2], 85);
    for quality in ["0", "101"] {
        let answer = rig.get(&format!("/api/v1/screen.jpg?quality={quality}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn the_live_picture_is_counted_while_somebody_watches_and_shows_no_old_one() {
    let rig = Rig::start();
    rig.picture.send_replace(Some(Arc::new(b"old".to_vec())));
    let response = rig.router.clone().oneshot(live()).await.unwrap();
    assert_eq!(rig.watchers.count(), 1);
    assert_eq!(response.headers()["content-type"], "multipart/x-mixed-replace; boundary=picture");
    let mut parts = response.into_body().into_data_stream();
    for jpeg in ["first", "second"] {
        rig.picture.send_replace(Some(Arc::new(jpeg.as_bytes().to_vec())));
        let part = String::from_utf8(parts.next().await.unwrap().unwrap().to_vec()).unwrap();
        let shown = format!("Content-Length: {}\r\n\r\n{jpeg}\r\n--picture\r\n", jpeg.len());
        assert!(part.ends_with(&shown), "{part:?}");
        assert_eq!(part.starts_with("--picture\r\n"), jpeg == "first");
    }
    drop(parts);
    assert_eq!(rig.watchers.count(), 0);
}

#[tokio::test]
async fn the_live_picture_has_a_bounded_number_of_watchers() {
    let rig = Rig::start();
    let mut watching = Vec::new();
    for _ in 0..8 {
        watching.push(rig.router.clone().oneshot(live()).await.unwrap());
    }
    let refused = rig.send(live()).await;
    assert_eq!((refused.status, refused.error().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
    watching.pop();
    assert_eq!(rig.router.clone().oneshot(live()).await.unwrap().status(), StatusCode::OK);
}
