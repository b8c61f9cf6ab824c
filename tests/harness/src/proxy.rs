//! A TCP proxy in front of the service's signalling: what a network does to a socket, on command.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// A proxy that runs until the test ends.
pub struct Proxy {
    /// `http://127.0.0.1:PORT`: what stands for the service's address.
    pub url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    down: AtomicBool,
    pairs: Mutex<Vec<Pair>>,
}

/// The two ends of one connection.
struct Pair {
    client: TcpStream,
    service: TcpStream,
    /// The service is not told that the client's end closed.
    silent: Arc<AtomicBool>,
}

impl State {
    fn pairs(&self) -> MutexGuard<'_, Vec<Pair>> {
        self.pairs.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Proxy {
    /// Starts a proxy to the service at `url` (`http://HOST:PORT`).
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(url: &str) -> anyhow::Result<Self> {
        let target = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let own_url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(State::default());
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // While it is down, whoever knocks is sent away at once.
                if !shared.down.load(Ordering::SeqCst) {
                    let _ = connect(&shared, client, &target);
                }
            }
        });
        Ok(Self { url: own_url, state })
    }

    /// Closes all connections at both ends; new ones are let through.
    pub fn cut(&self) {
        for pair in self.state.pairs().drain(..) {
            // One that is closed already needs no closing.
            let _ = pair.client.shutdown(Shutdown::Both);
            let _ = pair.service.shutdown(Shutdown::Both);
        }
    }

    /// Closes the clients' ends only: the service does not notice, as when a phone changes its network.
    pub fn cut_clients(&self) {
        for pair in self.state.pairs().iter() {
            pair.silent.store(true, Ordering::SeqCst);
            let _ = pair.client.shutdown(Shutdown::Both);
        }
    }

    /// Closes all connections and lets no new one through until [`Proxy::up`].
    pub fn down(&self) {
        self.state.down.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Lets connections through again.
    pub fn up(&self) {
        self.state.down.store(false, Ordering::SeqCst);
    }
}

fn connect(state: &Arc<State>, client: TcpStream, target: &str) -> std::io::Result<()> {
    let service = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    service.set_nodelay(true)?;
    let silent = Arc::new(AtomicBool::new(false));
    let (client_end, service_end) = (client.try_clone()?, service.try_clone()?);
    state.pairs().push(Pair { client: client_end, service: service_end, silent: silent.clone() });
    let (from_client, to_service) = (client.try_clone()?, service.try_clone()?);
    thread::spawn(move || {
        copy(from_client, &to_service);
        if !silent.load(Ordering::SeqCst) {
            let _ = to_service.shutdown(Shutdown::Write);
        }
    });
    thread::spawn(move || {
        copy(service, &client);
        let _ = client.shutdown(Shutdown::Write);
    });
    Ok(())
}

/// Copies until one end closes.
fn copy(mut from: TcpStream, mut to: &TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
}
