//! What the room's screen shows.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use futures_util::Stream;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use crate::error::{ApiError, ApiResult, ErrorBody};
use crate::extract::Query;
use crate::serve::Serving;
use crate::watchers::Watching;
use crate::{PanelCommand, Shared};

/// Live pictures at the same time.
const MAX_WATCHERS: usize = 8;
const DEFAULT_QUALITY: u8 = 85;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Snapshot {
    /// Quality of the JPEG; 85 when absent.
    #[param(minimum = 1, maximum = 100)]
    quality: Option<u8>,
}

/// One picture of the room's screen, in its full size.
#[utoipa::path(get, path = "/api/v1/screen.jpg", tag = "screen", params(Snapshot), responses(
    (status = OK, content_type = "image/jpeg", body = [u8]), (status = UNPROCESSABLE_ENTITY, body = ErrorBody),
    (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn snapshot(
    State(panel): State<Shared>,
    Query(query): Query<Snapshot>,
) -> ApiResult<impl IntoResponse> {
    let quality = query.quality.unwrap_or(DEFAULT_QUALITY);
    if !(1..=100).contains(&quality) {
        return Err(ApiError::invalid("There is no such quality.", "Ask for 1 to 100."));
    }
    let jpeg = panel.ask(|reply| PanelCommand::Snapshot { quality, reply }).await?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg")], Bytes::from_owner(Jpeg(jpeg))))
}

/// The room's screen, live: JPEG after JPEG, a few a second, for an `<img>`.
#[utoipa::path(get, path = "/api/v1/screen.mjpeg", tag = "screen", responses(
    (status = OK, content_type = "multipart/x-mixed-replace", body = [u8]),
    (status = SERVICE_UNAVAILABLE, body = ErrorBody)
))]
pub(super) async fn live(
    State(panel): State<Shared>,
    serving: Option<Extension<Serving>>,
) -> ApiResult<impl IntoResponse> {
    let watching =
        panel.watchers.enter(MAX_WATCHERS).ok_or_else(|| ApiError::busy("Too many watch the screen."))?;
    let mut pictures = panel.picture.clone();
    if panel.watchers.count() > 1 {
        // Somebody else watches, so the newest picture is new.
        pictures.mark_changed();
    } else {
        pictures.mark_unchanged();
    }
    let stop = serving.map(|Extension(serving)| serving.stop).unwrap_or_default();
    let body = Body::from_stream(parts(Live { pictures, stop, begun: false, _watching: watching }));
    Ok(([(header::CONTENT_TYPE, "multipart/x-mixed-replace; boundary=picture")], body))
}

struct Live {
    pictures: watch::Receiver<Option<Arc<Vec<u8>>>>,
    stop: CancellationToken,
    begun: bool,
    _watching: Watching,
}

impl Live {
    /// The next picture; `None` at the end.
    async fn next(&mut self) -> Option<Arc<Vec<u8>>> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return None,
                changed = self.pictures.changed() => changed.ok()?,
            }
            let picture = self.pictures.borrow_and_update().clone();
            if picture.is_some() {
                return picture;
            }
        }
    }
}

/// One part a picture (RFC 2046 §5.1.1). The boundary after it goes out with it: browsers show a picture
/// when they see its end.
fn parts(live: Live) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    futures_util::stream::unfold(live, async |mut live| {
        let jpeg = live.next().await?;
        let mut part = Vec::with_capacity(jpeg.len() + 128);
        if !std::mem::replace(&mut live.begun, true) {
            part.extend_from_slice(b"--picture\r\n");
        }
        let head = format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
        part.extend_from_slice(head.as_bytes());
        part.extend_from_slice(&jpeg);
        part.extend_from_slice(b"\r\n--picture\r\n");
        Some((Ok(Bytes::from(part)), live))
    })
}

/// A picture as an owner of bytes.
struct Jpeg(Arc<Vec<u8>>);

impl AsRef<[u8]> for Jpeg {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
