//! Starts the real LiveKit server on loopback, the way [`crate::room`] starts ours.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::{
    go,
    process::Running,
    room::{READY, http_bytes, random_hex},
};

/// A LiveKit server on 127.0.0.1.
pub struct LiveKit {
    /// The program.
    pub program: Running,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// Its only API key, which is an AppId of ours.
    pub api_key: String,
    /// The secret to it.
    pub api_secret: String,
}

impl LiveKit {
    /// Starts it with its defaults, all media on one UDP port, and waits until it answers. Configuration and log
    /// go into `dir`, which is made when absent.
    ///
    /// # Errors
    /// When it cannot be built or does not answer.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        let server = go::livekit_server()?;
        fs::create_dir_all(dir)?;
        let (api_key, api_secret) = ("peer".to_owned(), random_hex()?);
        // LiveKit wants its ports told. Somebody may take a free one before it does: then it says so and ends.
        let http = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let media = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = format!(
            "port: {http}\n\
             bind_addresses: [127.0.0.1]\n\
             keys:\n  {api_key}: {api_secret}\n\
             logging:\n  level: warn\n\
             rtc:\n  udp_port: {media}\n  tcp_port: 0\n  node_ip: 127.0.0.1\n  use_external_ip: false\n  \
             enable_loopback_candidate: true\n  interfaces:\n    includes: [lo]\n"
        );
        let file = dir.join("livekit.yaml");
        fs::write(&file, config)?;
        let mut command = Command::new(server);
        command.arg("--config").arg(&file);
        let mut program = Running::start("livekit-server", dir.join("livekit.log"), &mut command)?;
        let url = format!("http://127.0.0.1:{http}");
        let deadline = Instant::now() + READY;
        while http_bytes(&url).is_err() {
            if let Some(status) = program.ended() {
                bail!("livekit-server ended with {status}; its log is {}", program.log().display());
            }
            if Instant::now() >= deadline {
                bail!("livekit-server does not answer; its log is {}", program.log().display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { program, url, api_key, api_secret })
    }
}
