//! The socket under the interface.

use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::ListenerExt;
use axum::{Extension, Router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::PanelError;

/// How long answers under way may take at the end.
const GRACE: Duration = Duration::from_secs(2);

/// Where a request came in; an extension of each.
#[derive(Clone)]
pub(crate) struct Serving {
    /// Only programs of this device reach the socket.
    pub(crate) on_loopback: bool,
    /// The end: answers that last (live picture, events) stop.
    pub(crate) stop: CancellationToken,
}

/// Serves [`crate::router`] on `listener` until `shutdown`, then ends within two seconds.
///
/// On a socket that is not on loopback everything needs the password, whatever the configuration says.
///
/// # Errors
/// [`PanelError::Serve`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), PanelError> {
    let failed = |source| PanelError::Serve { source };
    let on_loopback = listener.local_addr().map_err(failed)?.ip().is_loopback();
    let stop = CancellationToken::new();
    let router = router.layer(Extension(Serving { on_loopback, stop: stop.clone() }));
    // A light's change is one small packet: it must not wait for others.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("a connection to the panel is slower than it could be: {error}");
        }
    });
    let signal = {
        let stop = stop.clone();
        async move {
            shutdown.await;
            stop.cancel();
        }
    };
    let server = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(signal)
        .into_future();
    let overtime = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = server => ended.map_err(failed),
        () = overtime => Ok(()),
    }
}
