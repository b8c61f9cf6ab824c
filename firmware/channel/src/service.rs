//! The running service: sockets opened, threads started, stopped again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::addresses;
use crate::config::{Config, TcpListen};
use crate::doors::tls::{self, Certificates};
use crate::doors::{self, Doors, Gate, GateLimits, Listener};
use crate::error::ServiceError;
use crate::media_tcp;
use crate::media_thread;
use crate::sfu::command::Command;
use crate::sfu::{Sfu, SfuConfig};
use crate::transport::{Candidate, Certificate, PeerConfig};

/// Commands that may wait for the media thread; doors wait when there are more.
const COMMANDS: usize = 1024;
/// How long sockets may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A service that listens.
pub struct RunningService {
    /// Where it listens for HTTP and WebSocket, or for HTTPS and WSS.
    pub http_addr: SocketAddr,
    /// Where it listens for plain HTTP beside HTTPS.
    pub plain_addr: Option<SocketAddr>,
    /// Whether [`RunningService::http_addr`] speaks TLS.
    pub tls: bool,
    /// Where it listens for media.
    pub media_addr: SocketAddr,
    /// Where it listens for media over TCP.
    pub media_tcp_addr: Option<SocketAddr>,
    commands: mpsc::Sender<Command>,
    sockets: TaskTracker,
    stop: CancellationToken,
    http: TaskTracker,
    media: std::thread::JoinHandle<()>,
}

/// Opens the sockets and starts the service. When this returns it listens.
///
/// # Errors
/// [`ServiceError`] when a port is taken or the machine does not let it start.
pub async fn serve(config: Config) -> Result<RunningService, ServiceError> {
    let certificates = config.http.tls.as_ref().map(Certificates::load).transpose()?;
    let main = bind("http.listen", config.http.listen).await?;
    let plain = match config.http.tls.as_ref().and_then(|tls| tls.plain_listen) {
        Some(address) => Some(bind("http.tls.plain_listen", address).await?),
        None => None,
    };
    let (http_addr, plain_addr) = (main.1, plain.as_ref().map(|plain| plain.1));

    let media_error = |source| ServiceError::Media { address: config.media.listen, source };
    let mut udp = Vec::new();
    for at in 0..config.media.udp_ports {
        // Port 0 takes a free one each time.
        let port = config.media.listen.port();
        let port = if port == 0 { 0 } else { port + at };
        udp.push(media_thread::open_socket(SocketAddr::new(config.media.listen.ip(), port))?);
    }
    let media_addrs: Vec<SocketAddr> =
        udp.iter().map(std::net::UdpSocket::local_addr).collect::<Result<_, _>>().map_err(media_error)?;
    let media_addr = media_addrs[0];
    let machine = addresses::of_this_machine().map_err(ServiceError::Addresses)?;
    let limits =
        GateLimits { sockets: config.limits.sockets, per_address: config.limits.sockets_per_address };
    let tcp_listener = listen_for_media(config.media.tcp_listen, config.media.listen, media_addr).await?;
    let told = |listen| addresses::of_socket(&config.media.node_ip, listen, &machine);
    let media_tcp_addr = tcp_listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let tcp_candidates: Vec<Candidate> =
        media_tcp_addr.into_iter().flat_map(told).map(Candidate::Tcp).collect();
    let candidates: Vec<Arc<[Candidate]>> = media_addrs
        .iter()
        .map(|listen| told(*listen).into_iter().map(Candidate::Udp).chain(tcp_candidates.clone()).collect())
        .collect();
    let (tcp, tcp_door) = media_tcp::paths(tcp_listener, Gate::new(limits), config.timeouts.request());
    let public_url = public_url(&config, http_addr, &told(media_addr));

    let mut peer = PeerConfig::new(Arc::new(Certificate::generate()?), candidates[0].clone());
    peer.timeouts.consent = config.timeouts.silent();
    peer.timeouts.connect = config.timeouts.connect();
    peer.max_data_message_len = config.limits.data_message_bytes;
    let sfu_config = SfuConfig {
        peer,
        candidates,
        limits: config.limits.clone(),
        timeouts: config.timeouts.clone(),
        turn: config.turn.clone(),
        apps: config.apps.clone(),
    };
    let sfu = Sfu::new(sfu_config, StdRng::from_os_rng(), Instant::now(), media_thread::unix_time());
    let gate = Gate::new(limits);
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let media = media_thread::start(udp, tcp, sfu, receiver)?;

    let (sockets, stop) = (TaskTracker::new(), CancellationToken::new());
    let listener = |socket, tls| Listener {
        socket,
        tls,
        gate: gate.clone(),
        request_timeout: config.timeouts.request(),
    };
    let acceptor = certificates.as_ref().map(Certificates::acceptor).transpose()?;
    let mut listeners = vec![listener(main.0, acceptor)];
    listeners.extend(plain.map(|plain| listener(plain.0, None)));
    let is_tls = certificates.is_some();
    let doors = Doors::new(Arc::new(config), public_url, commands.clone(), sockets.clone());
    let router = doors.router();
    let http = TaskTracker::new();
    for listener in listeners {
        http.spawn(doors::serve(listener, router.clone(), stop.clone()));
    }
    http.close();
    if let Some(door) = tcp_door {
        tokio::spawn(door.serve(stop.clone()));
    }
    if let Some(certificates) = certificates {
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled_owned(certificates.watch(tls::POLL)).await });
    }
    Ok(RunningService {
        http_addr,
        plain_addr,
        tls: is_tls,
        media_addr,
        media_tcp_addr,
        commands,
        sockets,
        stop,
        http,
        media,
    })
}

/// Opens the socket for media over TCP. `asked` and `given` are the UDP socket's address before and after it was opened.
async fn listen_for_media(
    tcp: TcpListen,
    asked: SocketAddr,
    given: SocketAddr,
) -> Result<Option<TcpListener>, ServiceError> {
    let address = match tcp {
        TcpListen::Off => return Ok(None),
        TcpListen::Same => given,
        TcpListen::At(address) => address,
    };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        // A number that was free for UDP may be taken for TCP: where any was good, another one is.
        Err(_) if tcp == TcpListen::Same && asked.port() == 0 => {
            let source = |source| ServiceError::MediaTcp { address: asked, source };
            TcpListener::bind(asked).await.map(Some).map_err(source)
        }
        Err(source) => Err(ServiceError::MediaTcp { address, source }),
    }
}

async fn bind(setting: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServiceError> {
    let error = |source| ServiceError::Http { address, setting, source };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    Ok((listener, address))
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
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{address}")).expect("a socket address makes a URL")
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
        if tokio::time::timeout(GOODBYE, self.http.wait()).await.is_err() {
            log::warn!("some HTTP connections did not end in time");
            return;
        }
        if tokio::task::spawn_blocking(move || self.media.join()).await.is_err() {
            log::warn!("the media thread did not end cleanly");
        }
    }
}
