//! Why the service does not start.

use std::net::SocketAddr;

/// An error of the service as a whole. What goes wrong with one client is told to that client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The port for HTTP cannot be had.
    #[error("cannot listen for HTTP on {address}: {source}; stop what uses it or change {setting}")]
    Http {
        /// Where.
        address: SocketAddr,
        /// The setting that says so.
        setting: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of the hardware terminals cannot be used.
    #[error(transparent)]
    Devices(#[from] crate::DevicesError),
    /// Certificate or key of HTTPS cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::TlsError),
    /// The port for media cannot be had.
    #[error("cannot listen for media on {address}: {source}; stop what uses it or change media.listen")]
    Media {
        /// `media.listen`.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The port for media over TCP cannot be had.
    #[error(
        "cannot listen for media over TCP on {address}: {source}; stop what uses it, or set media.tcp_listen to another \
         address or to \"off\""
    )]
    MediaTcp {
        /// `media.tcp_listen`.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The machine's addresses cannot be listed.
    #[error("cannot list this machine's addresses: {0}; set media.node_ip")]
    Addresses(std::io::Error),
    /// The certificate of the peer connections could not be made.
    #[error("cannot make a certificate for media: {0}")]
    Certificate(#[from] crate::transport::CertificateError),
    /// The media thread could not be started.
    #[error("cannot start the media thread: {0}")]
    Thread(std::io::Error),
}
