//! Sockets become requests: TLS, time limits, and how many there may be.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::{Crowded, Gate};

/// How many of the sockets that are too many are told so at a time; more are closed without a word.
const TOLD: usize = 64;
/// How long to wait when the system gives no more sockets.
const EXHAUSTED: Duration = Duration::from_millis(200);
/// The longest answer to one request, but of WebSockets.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the doors are.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    /// `None` for plain HTTP.
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) gate: Gate,
    /// From a socket's opening, or its last answer, to the end of a request's head.
    pub(crate) request_timeout: Duration,
}

/// Serves until `stop`; then requests that are under way are answered, and it ends.
pub(crate) async fn serve(listener: Listener, router: Router, stop: CancellationToken) {
    let router = router.layer(middleware::from_fn(in_time));
    let told = Arc::new(Semaphore::new(TOLD));
    let connections = TaskTracker::new();
    loop {
        let (stream, from) = tokio::select! {
            accepted = listener.socket.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // The socket was gone before it was taken, or there are no more: both pass.
                    log::warn!(error:%; "a socket was not accepted");
                    tokio::time::sleep(EXHAUSTED).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        let (tls, request_timeout, stop) = (listener.tls.clone(), listener.request_timeout, stop.clone());
        match listener.gate.enter(from.ip()) {
            Ok(pass) => {
                let router = router.clone();
                connections.spawn(async move {
                    connection(stream, from, pass, tls, router, request_timeout, stop).await;
                });
            }
            Err(crowded) => {
                log::warn!(reason:% = crowded; "a socket is refused");
                if let Ok(permit) = told.clone().try_acquire_owned() {
                    connections.spawn(async move {
                        let router = refusal(crowded);
                        connection(stream, from, permit, tls, router, request_timeout, stop).await;
                    });
                }
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn connection<P: Send + Unpin + 'static>(
    stream: TcpStream,
    from: SocketAddr,
    pass: P,
    tls: Option<TlsAcceptor>,
    router: Router,
    request_timeout: Duration,
    stop: CancellationToken,
) {
    // Signalling is small messages that must not wait for each other. What fails shows in the next call.
    let _ = stream.set_nodelay(true);
    let stream = Counted { stream, _pass: pass };
    match tls {
        None => requests(stream, router, request_timeout, stop).await,
        Some(tls) => match tokio::time::timeout(request_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => requests(stream, router, request_timeout, stop).await,
            Ok(Err(error)) => log::debug!(from:%, error:%; "no TLS handshake"),
            Err(_) => log::debug!(from:%; "the TLS handshake took too long"),
        },
    }
}

async fn requests<S>(stream: S, router: Router, request_timeout: Duration, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(request_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        log::debug!(error:%; "an HTTP connection ended");
    }
}

/// A request that does not come to its end, or is not answered, is given up.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long; send it faster").into_response(),
    }
}

fn refusal(crowded: Crowded) -> Router {
    Router::new().fallback(move || async move {
        let close = [("connection", "close"), ("retry-after", "5")];
        (StatusCode::SERVICE_UNAVAILABLE, close, crowded.to_string())
    })
}

/// A socket with what it holds while it is open.
struct Counted<P> {
    stream: TcpStream,
    _pass: P,
}

impl<P: Unpin> AsyncRead for Counted<P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<P: Unpin> AsyncWrite for Counted<P> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
