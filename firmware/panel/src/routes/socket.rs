//! What all WebSockets of the interface share.

use std::time::Duration;

use axum::Extension;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::{ApiError, ApiResult};
use crate::serve::Serving;

/// A page that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(10);
const PING: Duration = Duration::from_secs(15);
/// A page has nothing to say; longer messages end the connection.
const MAX_MESSAGE: usize = 4096;

/// What a request asks to become.
pub(super) type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// The upgrade within its limits, or what to say to who asked otherwise.
pub(super) fn limited(upgrade: Upgrade) -> ApiResult<WebSocketUpgrade> {
    let upgrade = upgrade.map_err(|rejection| {
        ApiError::new(rejection.status(), "no_websocket", rejection.body_text(), "Open it as a WebSocket.")
    })?;
    Ok(upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE))
}

/// Ends all sockets when the interface ends.
pub(super) fn stop_of(serving: Option<Extension<Serving>>) -> CancellationToken {
    serving.map(|Extension(serving)| serving.stop).unwrap_or_default()
}

/// When to look whether a page is still there; the first time is not at once.
pub(super) fn pings() -> Interval {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    ping
}

/// Sends a message; `false` when the page is gone.
pub(super) async fn put(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(PATIENCE, socket.send(message)).await, Ok(Ok(())))
}
