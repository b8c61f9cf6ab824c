//! Errors of the transport.

/// Why a session description was refused. The connection stays as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// It is not SDP.
    #[error("the session description cannot be parsed ({0}); send SDP as of RFC 8866")]
    Syntax(String),
    /// It is too long or has too many media sections.
    #[error("the session description has too many {what} (at most {limit}); negotiate fewer tracks")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// An attribute without which no connection can be made is absent or wrong.
    #[error("the session description lacks a usable `{0}`; WebRTC needs it (RFC 8829 §5)")]
    Missing(&'static str),
    /// The media sections do not share one transport.
    #[error("all media sections must be in one BUNDLE group (RFC 8843)")]
    NotBundled,
    /// A media section changed its place, name or kind.
    #[error(
        "media section {0} is not where it was; sections keep their order, mid and kind (RFC 8829 §5.2.2)"
    )]
    SectionMoved(usize),
    /// The DTLS certificate of the remote changed.
    #[error("the DTLS fingerprint changed; make a new connection instead")]
    FingerprintChanged,
    /// Both ends made an offer at once.
    #[error("an offer of this end waits for its answer; answer it first, then offer (RFC 3264 §4)")]
    Glare,
    /// An answer came without an offer of ours.
    #[error("no offer is waiting for this answer")]
    UnexpectedAnswer,
}

/// Why an SDP fragment was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentError {
    /// A line is none of an SDP fragment.
    #[error("line {0} of the SDP fragment cannot be read; send lines as of RFC 8840 §9")]
    Line(usize),
    /// There is more than anybody needs.
    #[error("the SDP fragment has too many {what}: at most {limit}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// User fragment and password come in pairs.
    #[error("the SDP fragment has only one of `ice-ufrag` and `ice-pwd`; send both")]
    HalfCredentials,
    /// Neither credentials nor candidates.
    #[error("the SDP fragment says nothing; send `ice-ufrag` and `ice-pwd`, and candidates")]
    Empty,
}

/// Why a data message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendDataError {
    /// The channel is not open (yet).
    #[error("the data channel is not open; wait for DataChannelOpen")]
    NotOpen,
    /// The message is longer than the remote takes.
    #[error("a data message of {len} bytes is longer than the {limit} that the other end takes; split it")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// The remote does not take what waits already.
    #[error("more than {limit} bytes wait for the other end; send less or drop")]
    Full {
        /// The limit in bytes.
        limit: usize,
    },
}

/// The process's certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the DTLS certificate: {0}; is the system's random source readable?")]
pub struct CertificateError(pub(super) String);
