//! The running service: sockets opened, threads started, stopped again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::serve::ListenerExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::addresses;
use crate::config::Config;
use crate::doors::Doors;
use crate::error::ServiceError;
use crate::media_thread;
use crate::sfu::command::Command;
use crate::sfu::{Sfu, SfuConfig};
use crate::transport::{Certificate, PeerConfig};

/// Commands that may wait for the media thread; doors wait when there are more.
const COMMANDS: usize = 1024;
/// How long sockets may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A service that listens.
pub struct RunningService {
    /// Where it listens for HTTP and WebSocket.
    pub http_addr: SocketAddr,
    /// Where it listens for media.
    pub media_addr: SocketAddr,
    commands: mpsc::Sender<Command>,
    sockets: TaskTracker,
    stop: CancellationToken,
    http: JoinHandle<()>,
    media: std::thread::JoinHandle<()>,
}

/// Opens the sockets and starts the service. When this returns it listens.
///
/// # Errors
/// [`ServiceError`] when a port is taken or the machine does not let it start.
pub async fn serve(config: Config) -> Result<RunningService, ServiceError> {
    let address = config.http.listen;
    let http_error = |source| ServiceError::Http { address, source };
    let listener = TcpListener::bind(address).await.map_err(http_error)?;
    let http_addr = listener.local_addr().map_err(http_error)?;

    let media_error = |source| ServiceError::Media { address: config.media.listen, source };
    let socket = media_thread::open_socket(config.media.listen)?;
    let media_addr = socket.local_addr().map_err(media_error)?;
    let machine = addresses::of_this_machine().map_err(ServiceError::Addresses)?;
    let candidates = addresses::candidates(&config.media, media_addr.port(), &machine);
    let public_url = public_url(&config, http_addr, &candidates);

    let mut peer = PeerConfig::new(Arc::new(Certificate::generate()?), candidates);
    peer.timeouts.consent = config.timeouts.silent();
    peer.timeouts.connect = CONNECT_TIMEOUT;
    let sfu_config = SfuConfig {
        peer,
        limits: config.limits.clone(),
        timeouts: config.timeouts.clone(),
        apps: config.apps.clone(),
    };
    let sfu = Sfu::new(sfu_config, StdRng::from_os_rng(), Instant::now(), media_thread::unix_time());
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let media = media_thread::start(socket, sfu, receiver)?;

    let (sockets, stop) = (TaskTracker::new(), CancellationToken::new());
    let doors = Doors::new(Arc::new(config), public_url, commands.clone(), sockets.clone());
    let stopped = stop.clone();
    let http = tokio::spawn(async move {
        // Signalling is small messages that must not wait for each other.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let server = axum::serve(listener, doors.router());
        if let Err(error) = server.with_graceful_shutdown(stopped.cancelled_owned()).await {
            log::error!(error:%; "the HTTP server ended");
        }
    });
    Ok(RunningService { http_addr, media_addr, commands, sockets, stop, http, media })
}

/// How others reach the service: as configured, else by its first address.
fn public_url(config: &Config, http_addr: SocketAddr, candidates: &[SocketAddr]) -> Url {
    if let Some(url) = &config.http.public_url {
        return url.clone();
    }
    let ip = match http_addr.ip() {
        ip if ip.is_unspecified() => candidates.first().map_or(ip, SocketAddr::ip),
        ip => ip,
    };
    let address = SocketAddr::new(ip, http_addr.port());
    Url::parse(&format!("http://{address}")).expect("a socket address makes a URL")
}

impl RunningService {
    /// Tells everybody to come back later, closes all sockets and ends.
    pub async fn shutdown(self) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Stop { reply }).await.is_ok() {
            // An answer that does not come changes nothing: it ends anyway.
            let _ = tokio::time::timeout(GOODBYE, done).await;
        }
        self.stop.cancel();
        self.sockets.close();
        let _ = tokio::time::timeout(GOODBYE, self.sockets.wait()).await;
        drop(self.commands);
        if tokio::time::timeout(GOODBYE, self.http).await.is_err() {
            log::warn!("some HTTP connections did not end in time");
            return;
        }
        if tokio::task::spawn_blocking(move || self.media.join()).await.is_err() {
            log::warn!("the media thread did not end cleanly");
        }
    }
}
