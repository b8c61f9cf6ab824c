//! The way to the service, step by step: what fails first is named.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use url::Url;

use crate::https;

use super::{Figure, Outcome, Part, Test};

const NAME: &str = Part::Network.name();
/// Longest time for one step.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn check(test: &mut Test<'_>, service: Option<Url>) {
    let Some(service) = service else {
        return test.over(NAME, Outcome::skipped("no service is configured"), Vec::new());
    };
    test.begins(NAME);
    let reached = tokio::task::spawn_blocking(move || reach(&service)).await;
    match reached {
        Ok(Ok(figures)) => test.over(NAME, Outcome::Passed, figures),
        Ok(Err(outcome)) => test.over(NAME, outcome, Vec::new()),
        Err(error) => test.over(NAME, Outcome::failed(error.to_string(), "report this fault"), Vec::new()),
    }
}

/// Name, connection, TLS and HTTP.
fn reach(service: &Url) -> Result<Vec<Figure>, Outcome> {
    let mut url = service.clone();
    let is_secure = matches!(service.scheme(), "wss" | "https");
    // These schemes may replace each other.
    let _ = url.set_scheme(if is_secure { "https" } else { "http" });
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(Outcome::failed(
            format!("{service} names no host"),
            "correct service.url of the configuration",
        ));
    };
    let begin = Instant::now();
    // A literal IPv6 address stands in brackets.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = (bare, port).to_socket_addrs().map(Iterator::collect).map_err(|error| {
        Outcome::failed(
            format!("DNS: {host} has no address: {error}"),
            "look at the cable and the DNS server of the network, and at service.url of the configuration",
        )
    })?;
    let named = begin.elapsed();
    let begin = Instant::now();
    connect(&addresses).map_err(|error| {
        Outcome::failed(
            format!("TCP: {host} does not answer at port {port}: {error}"),
            "look whether the service runs, and whether a firewall lets this port through",
        )
    })?;
    let connected = begin.elapsed();
    let begin = Instant::now();
    answer(&url)?;
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
    Ok(vec![
        Figure::new("name", milliseconds(named), "ms"),
        Figure::new("connection", milliseconds(connected), "ms"),
        Figure::new("answer", milliseconds(begin.elapsed()), "ms"),
    ])
}

fn connect(addresses: &[SocketAddr]) -> std::io::Result<()> {
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect_timeout(address, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Any answer will do: what the service says to strangers is its own affair.
fn answer(url: &Url) -> Result<(), Outcome> {
    match https::agent(PATIENCE).get(url.as_str()).config().http_status_as_error(false).build().call() {
        Ok(_) => Ok(()),
        Err(error) if url.scheme() == "https" && is_tls(&error) => Err(Outcome::failed(
            format!("TLS: {error}"),
            "look at the service's certificate and at this machine's date; a private authority must be installed here",
        )),
        Err(error) => Err(Outcome::failed(
            format!("HTTP: {error}"),
            "something else than the service answers at that port; look at service.url of the configuration",
        )),
    }
}

fn is_tls(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) => true,
        // What rustls found wrong comes through the socket as data that cannot be.
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    /// A server that says `answer` to whoever comes.
    fn server(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut request = [0; 1024];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        port
    }

    fn problem(url: &str) -> String {
        match reach(&url.parse().unwrap()) {
            Err(Outcome::Failed { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_service_that_answers_is_reached_whatever_it_says() {
        let port = server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let figures = reach(&format!("ws://127.0.0.1:{port}").parse().unwrap()).unwrap();
        assert_eq!(figures.len(), 3);
        assert!(reach(&format!("ws://localhost:{port}/rtc").parse().unwrap()).is_ok());
    }

    #[test]
    fn the_step_that_fails_is_named() {
        assert!(problem("wss://nothing.invalid").starts_with("DNS: nothing.invalid"));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(problem(&format!("ws://127.0.0.1:{closed}")).starts_with("TCP: 127.0.0.1 does not answer"));
        let port = server("220 mail.example.com ESMTP\r\n");
        assert!(problem(&format!("ws://127.0.0.1:{port}")).starts_with("HTTP: "));
        let tls = problem(&format!("wss://127.0.0.1:{port}"));
        assert!(tls.starts_with("TLS: "), "{tls}");
    }
}
