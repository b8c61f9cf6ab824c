//! What can go wrong, beside what [`crate::Event`] tells.

/// An error of the terminal's side of the service. Each ends one attempt to join; the terminal tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RtcError {
    /// Keys, certificates or random numbers.
    #[error("cryptography does not work on this machine: {0}")]
    Crypto(String),
    /// The media connection.
    #[error("the media connection cannot be set up: {0}")]
    Connection(String),
    /// The service described a connection that we do not understand.
    #[error("the service's session description cannot be used: {0}")]
    Description(#[from] crate::sdp::SdpError),
    /// The service restarts the connection; joining again is quicker.
    #[error("the service asks for a new media connection")]
    Restart,
    /// A socket.
    #[error("no media socket on this machine: {0}; check rtc.network.bind")]
    Socket(#[from] std::io::Error),
    /// The service's address.
    #[error("{0} is no address of a service; use ws://HOST:PORT or wss://HOST")]
    Address(String),
}

impl RtcError {
    pub(crate) fn crypto(error: impl std::fmt::Display) -> Self {
        Self::Crypto(error.to_string())
    }

    pub(crate) fn connection(error: impl std::fmt::Display) -> Self {
        Self::Connection(error.to_string())
    }
}
