//! The running service: sockets opened, threads started, stopped again.

use std::net::{IpAddr, SocketAddr};
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
use crate::devices::Devices;
use crate::doors::tls::{self, Certificates};
use crate::doors::{self, Doors, Gate, GateLimits, Listener};
use crate::error::ServiceError;
use crate::media_tcp;
use crate::media_thread;
use crate::sfu::command::Command;
use crate::sfu::{Sfu, SfuConfig};
use crate::threads::{Threads, Totals};
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
    threads: Threads,
    sockets: TaskTracker,
    stop: CancellationToken,
    http: TaskTracker,
    media: Vec<std::thread::JoinHandle<()>>,
}

/// Opens the sockets and starts the service. When this returns it listens.
///
/// # Errors
/// [`ServiceError`] when a port is taken or the machine does not let it start.
pub async fn serve(config: Config) -> Result<RunningService, ServiceError> {
    let devices = Devices::open(&config.devices.file)?;
    let certificates = config.http.tls.as_ref().map(Certificates::load).transpose()?;
    let main = bind("http.listen", config.http.listen).await?;
    let plain = match config.http.tls.as_ref().and_then(|tls| tls.plain_listen) {
        Some(address) => Some(bind("http.tls.plain_listen", address).await?),
        None => None,
    };
    let (http_addr, plain_addr) = (main.1, plain.as_ref().map(|plain| plain.1));

    let machine = addresses::of_this_machine().map_err(ServiceError::Addresses)?;
    let limits =
        GateLimits { sockets: config.limits.sockets, per_address: config.limits.sockets_per_address };
    let ways = Ways::open(&config, &machine).await?;
    let (media_addr, media_tcp_addr) = (ways[0].udp[0].1, ways[0].tcp_addr());
    let told = addresses::of_socket(&config.media.node_ip, media_addr, &machine);
    let public_url = public_url(&config, http_addr, &told);
    let gate = Gate::new(limits);
    let (mut commands, mut media, mut tcp_doors) = (Vec::new(), Vec::new(), Vec::new());
    let certificate = Arc::new(Certificate::generate()?);
    // One gate for media over TCP: its limits are those of the service, not of a thread.
    let tcp_gate = Gate::new(limits);
    for (ways, totals) in ways.into_iter().zip(Totals::of_threads(config.media.threads.into())) {
        let mut peer = PeerConfig::new(certificate.clone(), ways.candidates[0].clone());
        peer.timeouts.consent = config.timeouts.silent();
        peer.timeouts.connect = config.timeouts.connect();
        peer.max_data_message_len = config.limits.data_message_bytes;
        let sfu_config = SfuConfig {
            peer,
            candidates: ways.candidates,
            limits: config.limits.clone(),
            timeouts: config.timeouts.clone(),
            turn: config.turn.clone(),
            apps: config.apps.clone(),
            totals,
        };
        let sfu = Sfu::new(sfu_config, StdRng::from_os_rng(), Instant::now(), media_thread::unix_time());
        let (tcp, door) = media_tcp::paths(ways.tcp, tcp_gate.clone(), config.timeouts.request());
        let (sender, receiver) = mpsc::channel(COMMANDS);
        let udp = ways.udp.into_iter().map(|(socket, _)| socket).collect();
        media.push(media_thread::start(udp, tcp, sfu, receiver)?);
        commands.push(sender);
        tcp_doors.extend(door);
    }
    let threads = Threads::new(commands);

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
    let doors = Doors::new(Arc::new(config), public_url, threads.clone(), sockets.clone(), devices);
    let router = doors.router();
    let http = TaskTracker::new();
    for listener in listeners {
        http.spawn(doors::serve(listener, router.clone(), stop.clone()));
    }
    http.close();
    for door in tcp_doors {
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
        threads,
        sockets,
        stop,
        http,
        media,
    })
}

impl RunningService {
    /// Returns when all media threads have answered: when they turn.
    pub async fn turns(&self) {
        self.threads.turn().await;
    }
}

/// The sockets of one media thread, and what is told of them.
struct Ways {
    udp: Vec<(std::net::UdpSocket, SocketAddr)>,
    tcp: Option<TcpListener>,
    /// For each UDP socket.
    candidates: Vec<Arc<[Candidate]>>,
}

impl Ways {
    /// Opens those of all threads: they take the UDP ports in turn, and a TCP port each.
    async fn open(config: &Config, machine: &[IpAddr]) -> Result<Vec<Self>, ServiceError> {
        let media = &config.media;
        // Port 0 takes a free one each time.
        let port = |first: u16, at: u16| if first == 0 { 0 } else { first + at };
        let told = |listen| addresses::of_socket(&media.node_ip, listen, machine);
        let mut all = Vec::new();
        for thread in 0..media.threads {
            let mut udp = Vec::new();
            for at in (thread..media.udp_ports).step_by(media.threads.into()) {
                let address = SocketAddr::new(media.listen.ip(), port(media.listen.port(), at));
                let socket = media_thread::open_socket(address)?;
                let address =
                    socket.local_addr().map_err(|source| ServiceError::Media { address, source })?;
                udp.push((socket, address));
            }
            let tcp = match media.tcp_listen {
                TcpListen::At(address) => {
                    TcpListen::At(SocketAddr::new(address.ip(), port(address.port(), thread)))
                }
                other => other,
            };
            let tcp = listen_for_media(tcp, media.listen, udp[0].1).await?;
            let tcp_address = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
            let tcp_candidates: Vec<Candidate> =
                tcp_address.into_iter().flat_map(told).map(Candidate::Tcp).collect();
            let candidates = udp
                .iter()
                .map(|(_, listen)| {
                    told(*listen).into_iter().map(Candidate::Udp).chain(tcp_candidates.clone()).collect()
                })
                .collect();
            all.push(Self { udp, tcp, candidates });
        }
        Ok(all)
    }

    fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }
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
        let goodbyes = self.threads.all().iter().map(|thread| async {
            let (reply, done) = oneshot::channel();
            if thread.send(Command::Stop { reply }).await.is_ok() {
                // An answer that does not come changes nothing: it ends anyway.
                let _ = tokio::time::timeout(GOODBYE, done).await;
            }
        });
        futures_util::future::join_all(goodbyes).await;
        self.stop.cancel();
        self.sockets.close();
        let _ = tokio::time::timeout(GOODBYE, self.sockets.wait()).await;
        drop(self.threads);
        if tokio::time::timeout(GOODBYE, self.http.wait()).await.is_err() {
            log::warn!("some HTTP connections did not end in time");
            return;
        }
        if tokio::task::spawn_blocking(move || self.media.into_iter().try_for_each(|thread| thread.join()))
            .await
            .is_ok_and(|ended| ended.is_err())
        {
            log::warn!("a media thread did not end cleanly");
        }
    }
}
