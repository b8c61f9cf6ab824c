//! The way to the update server: whom to trust, and what shows the server who asks.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{
    Certificate, Client, Identity, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, HeaderValue, RETRY_AFTER},
};
use serde::Deserialize;
use url::Url;

/// A server that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// No answer but a bundle is as large as this, in bytes.
const LARGEST_ANSWER: usize = 1 << 20;

/// How the terminal shows who it is, and whom it trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Credentials {
    /// File with hawkBit's target token, which is this terminal's own.
    pub target_token_file: Option<PathBuf>,
    /// File with hawkBit's gateway token, which a whole fleet shares.
    pub gateway_token_file: Option<PathBuf>,
    /// Client certificate (PEM), with which TLS shows who asks.
    pub certificate: Option<PathBuf>,
    /// Its key (PEM, PKCS #8).
    pub key: Option<PathBuf>,
    /// Authorities (PEM) that are trusted in the place of those that the machine trusts.
    pub authorities: Option<PathBuf>,
}

/// Why there is no way to the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// A file cannot be read.
    #[error("cannot read {file}: {source}; check server.credentials of the configuration")]
    File {
        /// Its path.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{file} is no {what}")]
    Malformed {
        /// Its path.
        file: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// A certificate without its key, or a key without its certificate; or two tokens.
    #[error(
        "server.credentials takes certificate and key together, and one of target_token_file and gateway_token_file"
    )]
    Incomplete,
    /// The server cannot be reached, or the connection broke.
    #[error("{address}: {text}")]
    Connection {
        /// Where to.
        address: String,
        /// What happened.
        text: String,
    },
    /// It does not want it.
    #[error("{address} answers {status}")]
    Status {
        /// Where to.
        address: String,
        /// Its status.
        status: StatusCode,
        /// Seconds after which it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It answers at too great a length.
    #[error("{address} answers with more than {LARGEST_ANSWER} bytes")]
    TooLong {
        /// Where to.
        address: String,
    },
}

impl HttpError {
    /// The server knows nothing of what was asked.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::NOT_FOUND | StatusCode::GONE, .. })
    }

    /// When the server wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A client of one server.
#[derive(Clone)]
pub struct Http {
    client: Client,
    server: Url,
    authorization: Option<HeaderValue>,
}

fn read(file: &Path) -> Result<Vec<u8>, HttpError> {
    fs::read(file).map_err(|source| HttpError::File { file: file.into(), source })
}

impl Http {
    /// Reads the credentials.
    ///
    /// # Errors
    /// [`HttpError`], which names the file.
    pub fn new(server: &Url, credentials: &Credentials) -> Result<Self, HttpError> {
        let mut builder = Client::builder()
            .user_agent(concat!("rostrum-updater/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(SILENCE)
            .read_timeout(SILENCE)
            .pool_max_idle_per_host(1)
            .tls_built_in_root_certs(false);
        match &credentials.authorities {
            Some(file) => {
                let malformed =
                    || HttpError::Malformed { file: file.clone(), what: "list of PEM certificates" };
                let roots = Certificate::from_pem_bundle(&read(file)?).map_err(|_| malformed())?;
                if roots.is_empty() {
                    return Err(malformed());
                }
                builder = roots.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
            }
            None => {
                for root in rustls_native_certs::load_native_certs().certs {
                    if let Ok(root) = Certificate::from_der(&root) {
                        builder = builder.add_root_certificate(root);
                    }
                }
            }
        }
        match (&credentials.certificate, &credentials.key) {
            (Some(certificate), Some(key)) => {
                let mut pem = read(certificate)?;
                pem.push(b'\n');
                pem.extend(read(key)?);
                let identity = Identity::from_pem(&pem).map_err(|_| HttpError::Malformed {
                    file: certificate.clone(),
                    what: "PEM certificate that fits its key",
                })?;
                builder = builder.identity(identity);
            }
            (None, None) => {}
            _ => return Err(HttpError::Incomplete),
        }
        let authorization = match (&credentials.target_token_file, &credentials.gateway_token_file) {
            (Some(file), None) => Some(token(file, "TargetToken")?),
            (None, Some(file)) => Some(token(file, "GatewayToken")?),
            (None, None) => None,
            _ => return Err(HttpError::Incomplete),
        };
        let client = builder
            .build()
            .map_err(|error| HttpError::Connection { address: server.to_string(), text: chain(&error) })?;
        Ok(Self { client, server: server.clone(), authorization })
    }

    /// The header that shows the server at `url` who asks: for the update server itself only, as a token is nobody
    /// else's business.
    pub fn authorization(&self, url: &Url) -> Option<&HeaderValue> {
        self.authorization.as_ref().filter(|_| url.origin() == self.server.origin())
    }

    /// Asks for JSON.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn get(&self, url: &Url) -> Result<Vec<u8>, HttpError> {
        let response = self.send(url, self.client.get(url.clone())).await?;
        body(url, response).await
    }

    /// Asks for a file from its byte `from` on.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn get_from(&self, url: &Url, from: u64) -> Result<Response, HttpError> {
        let mut request = self.client.get(url.clone());
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        self.send(url, request).await
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn post(&self, url: &Url, json: &serde_json::Value) -> Result<(), HttpError> {
        self.send(url, self.client.post(url.clone()).json(json)).await.map(drop)
    }

    /// Puts JSON in the place of what is there.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn put(&self, url: &Url, json: &serde_json::Value) -> Result<(), HttpError> {
        self.send(url, self.client.put(url.clone()).json(json)).await.map(drop)
    }

    async fn send(&self, url: &Url, request: RequestBuilder) -> Result<Response, HttpError> {
        let request = match self.authorization(url) {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        };
        let response = request
            .send()
            .await
            .map_err(|error| HttpError::Connection { address: place(url), text: chain(&error) })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(HttpError::Status { address: place(url), status, retry_after: seconds.map(Duration::from_secs) })
    }
}

/// An address without what may be secret in it.
fn place(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

async fn body(url: &Url, mut response: Response) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    let broken = |error: reqwest::Error| HttpError::Connection { address: place(url), text: chain(&error) };
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST_ANSWER {
            return Err(HttpError::TooLong { address: place(url) });
        }
    }
    Ok(body)
}

fn token(file: &Path, kind: &str) -> Result<HeaderValue, HttpError> {
    let malformed =
        || HttpError::Malformed { file: file.into(), what: "file with a token in its first line" };
    let text = String::from_utf8(read(file)?).map_err(|_| malformed())?;
    let token = text.lines().next().map(str::trim).filter(|token| !token.is_empty()).ok_or_else(malformed)?;
    let mut value = HeaderValue::from_str(&format!("{kind} {token}")).map_err(|_| malformed())?;
    value.set_sensitive(true);
    Ok(value)
}

/// An error with everything that it comes from, without the address, which may hold a secret.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let words = error.to_string();
        let words = words.split(" for url (").next().unwrap_or_default();
        if !text.contains(words) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(words);
        }
        next = error.source();
    }
    text
}
