//! An update server for what `hawkbit_mock` lacks: ranges, connections that are cut or slow, redirects, TLS with client
//! certificates, confirmation and cancelling. It speaks hawkBit's Direct Device Integration API to one device, `T-1`.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path as Segment, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post, put},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_rustls::{TlsAcceptor, rustls, server::TlsStream};

/// What the server offers, and how it behaves.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The action.
    pub action: String,
    /// The version.
    pub version: String,
    /// The bundle.
    pub file: PathBuf,
    /// hawkBit's word for how urgent it is.
    pub urgency: &'static str,
    /// It closes a hole.
    pub security: bool,
    /// It waits for a yes.
    pub asks: bool,
    /// Parts of the bundle can be asked for.
    pub ranges: bool,
    /// Each connection ends after so many bytes.
    pub cut_after: Option<usize>,
    /// Bytes a second.
    pub slow: Option<usize>,
    /// The bundle is elsewhere.
    pub redirects: bool,
    /// It says another SHA-256.
    pub wrong_hash: bool,
    /// Another server has the bundle, at this address.
    pub elsewhere: Option<String>,
}

impl Offered {
    /// An offer that behaves well.
    pub fn new(action: &str, version: &str, file: &Path) -> Self {
        Self {
            action: action.into(),
            version: version.into(),
            file: file.into(),
            urgency: "attempt",
            security: false,
            asks: false,
            ranges: true,
            cut_after: None,
            slow: None,
            redirects: false,
            wrong_hash: false,
            elsewhere: None,
        }
    }
}

/// What it knows and was told.
#[derive(Default)]
struct Known {
    url: String,
    offered: Option<Offered>,
    cancel: Option<String>,
    feedback: Vec<(String, Value)>,
    attributes: Value,
    asks_attributes: bool,
    polls: u64,
    ranges: Vec<String>,
    authorization: Option<String>,
    /// It answers nothing but 503.
    is_down: bool,
}

type Shared = Arc<Mutex<Known>>;

/// The server. It ends when this is dropped.
pub struct Ddi {
    /// Its address, without a slash at its end.
    pub url: String,
    known: Shared,
    _runtime: Runtime,
}

const BASE: &str = "/default/controller/v1/T-1";

impl Ddi {
    /// Starts it on loopback.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> anyhow::Result<Self> {
        Self::at("127.0.0.1")
    }

    /// Starts it at an address of this machine.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn at(address: &str) -> anyhow::Result<Self> {
        Self::with(address, None)
    }

    /// Starts it with TLS: shows `certificate` (PEM, with `key`), and wants one of its guests that `authority` signed.
    ///
    /// # Errors
    /// When it cannot listen or the files are none.
    pub fn with_tls(certificate: &str, key: &str, authority: &str) -> anyhow::Result<Self> {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
                .build()?;
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(key.as_bytes())?,
            )?;
        Self::with("127.0.0.1", Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn with(host: &str, tls: Option<TlsAcceptor>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let known = Shared::default();
        let listener = runtime.block_on(TcpListener::bind((host, 0)))?;
        let address = listener.local_addr()?;
        let router = router(known.clone());
        let scheme = if tls.is_some() { "https" } else { "http" };
        match tls {
            None => runtime.spawn(async move { axum::serve(listener, router).await }),
            Some(acceptor) => {
                runtime.spawn(async move { axum::serve(Tls { listener, acceptor }, router).await })
            }
        };
        let name = if host == "127.0.0.1" { "localhost" } else { host };
        let url = format!("{scheme}://{name}:{}", address.port());
        known.lock().url.clone_from(&url);
        Ok(Self { url, known, _runtime: runtime })
    }

    /// Lines of the updater's configuration that name it.
    pub fn configuration(&self, more: &str) -> String {
        format!("[server]\nurl = \"{}\"\npoll_s = 1\ntransfer = \"fetch\"\n{more}", self.url)
    }

    /// Offers something, or nothing.
    pub fn offer(&self, offered: Option<Offered>) {
        self.known.lock().offered = offered;
    }

    /// Takes an action back.
    pub fn cancel(&self, action: &str) {
        self.known.lock().cancel = Some(action.into());
    }

    /// Wants this header from now on.
    pub fn want(&self, authorization: &str) {
        self.known.lock().authorization = Some(authorization.into());
    }

    /// Does not answer any more, or does.
    pub fn is_down(&self, down: bool) {
        self.known.lock().is_down = down;
    }

    /// What it was told of an action, in order.
    pub fn feedback(&self, action: &str) -> Vec<Value> {
        let known = self.known.lock();
        known.feedback.iter().filter(|(of, _)| of == action).map(|(_, body)| body.clone()).collect()
    }

    /// The ends of an action that it was told of: whether it went well, and in words.
    pub fn ends(&self, action: &str) -> Vec<(bool, String)> {
        let closed = |body: &Value| body["status"]["execution"] == "closed";
        let end = |body: &Value| {
            let text = body["status"]["details"][0].as_str().unwrap_or_default().to_owned();
            (body["status"]["result"]["finished"] == "success", text)
        };
        self.feedback(action).iter().filter(|body| closed(body)).map(end).collect()
    }

    /// What the device says of itself.
    pub fn attributes(&self) -> Value {
        self.known.lock().attributes.clone()
    }

    /// Forgets what the device says of itself, and asks for it as hawkBit does when a person wants it.
    pub fn ask_attributes(&self) {
        let mut known = self.known.lock();
        known.attributes = Value::Null;
        known.asks_attributes = true;
    }

    /// How often it was asked.
    pub fn polls(&self) -> u64 {
        self.known.lock().polls
    }

    /// Parts that were asked for.
    pub fn ranges(&self) -> Vec<String> {
        self.known.lock().ranges.clone()
    }
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<tokio::net::TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok((stream, address)) = self.listener.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn router(known: Shared) -> Router {
    Router::new()
        .route(BASE, get(poll))
        .route(&format!("{BASE}/configData"), put(config_data))
        .route(&format!("{BASE}/deploymentBase/{{id}}"), get(deployment))
        .route(&format!("{BASE}/confirmationBase/{{id}}"), get(deployment))
        .route(&format!("{BASE}/cancelAction/{{id}}"), get(cancel))
        .route(&format!("{BASE}/deploymentBase/{{id}}/feedback"), post(feedback))
        .route(&format!("{BASE}/cancelAction/{{id}}/feedback"), post(cancel_feedback))
        .route(&format!("{BASE}/confirmationBase/{{id}}/feedback"), post(confirmation))
        .route("/bundle", get(bundle))
        .route("/moved", get(moved))
        .layer(middleware::from_fn_with_state(known.clone(), door))
        .with_state(known)
}

/// Keeps out who does not show the right header, and everybody while it is down.
async fn door(State(known): State<Shared>, request: Request, next: Next) -> Response {
    let answer = {
        let known = known.lock();
        let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let is_known = known.authorization.is_none() || known.authorization.as_deref() == shown;
        match (known.is_down, is_known) {
            (true, _) => Some(StatusCode::SERVICE_UNAVAILABLE),
            (_, false) => Some(StatusCode::UNAUTHORIZED),
            _ => None,
        }
    };
    match answer {
        Some(status) => status.into_response(),
        None => next.run(request).await,
    }
}

async fn poll(State(known): State<Shared>) -> Json<Value> {
    let mut known = known.lock();
    known.polls += 1;
    let base = format!("{}{BASE}", known.url);
    let mut links = json!({});
    if known.asks_attributes {
        links["configData"] = json!({"href": format!("{base}/configData")});
    }
    if let Some(cancel) = &known.cancel {
        links["cancelAction"] = json!({"href": format!("{base}/cancelAction/{cancel}")});
    } else if let Some(offered) = &known.offered {
        let name = if offered.asks { "confirmationBase" } else { "deploymentBase" };
        links[name] = json!({"href": format!("{base}/{name}/{}", offered.action)});
    }
    Json(json!({"config": {"polling": {"sleep": "00:00:01"}}, "_links": links}))
}

async fn config_data(State(known): State<Shared>, Json(body): Json<Value>) {
    let mut known = known.lock();
    known.attributes = body["data"].clone();
    known.asks_attributes = false;
}

async fn deployment(State(known): State<Shared>) -> Result<Json<Value>, StatusCode> {
    let (offered, url) = {
        let known = known.lock();
        (known.offered.clone().ok_or(StatusCode::NOT_FOUND)?, known.url.clone())
    };
    let bytes = fs::read(&offered.file).map_err(|_| StatusCode::NOT_FOUND)?;
    let hash: String = match offered.wrong_hash {
        true => "ab".repeat(32),
        false => Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let path = if offered.redirects { "moved" } else { "bundle" };
    let artifact = json!({
        "filename": "rostrum.raucb", "size": bytes.len(), "hashes": {"sha256": hash},
        "_links": {"download": {"href": offered.elsewhere.unwrap_or_else(|| format!("{url}/{path}"))}},
    });
    let security = json!([{"key": "rostrum-security", "value": offered.security.to_string()}]);
    let chunk =
        json!({"part": "os", "version": offered.version, "artifacts": [artifact], "metadata": security});
    let deployment = json!({"download": offered.urgency, "update": offered.urgency, "chunks": [chunk]});
    let name = if offered.asks { "confirmation" } else { "deployment" };
    Ok(Json(json!({"id": offered.action, name: deployment})))
}

async fn cancel(State(known): State<Shared>) -> Result<Json<Value>, StatusCode> {
    let cancel = known.lock().cancel.clone().ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(json!({"id": cancel, "cancelAction": {"stopId": cancel}})))
}

async fn feedback(State(known): State<Shared>, Segment(id): Segment<String>, Json(body): Json<Value>) {
    let mut known = known.lock();
    if body["status"]["execution"] == "closed" && known.offered.as_ref().is_some_and(|now| now.action == id) {
        known.offered = None;
    }
    known.feedback.push((id, body));
}

async fn cancel_feedback(State(known): State<Shared>, Segment(id): Segment<String>, Json(body): Json<Value>) {
    let mut known = known.lock();
    known.cancel = None;
    if body["status"]["execution"] == "closed" {
        known.offered = None;
    }
    known.feedback.push((id, body));
}

async fn confirmation(State(known): State<Shared>, Segment(id): Segment<String>, Json(body): Json<Value>) {
    let mut known = known.lock();
    if let Some(offered) = known.offered.as_mut().filter(|_| body["confirmation"] == "confirmed") {
        offered.asks = false;
    }
    known.feedback.push((id, body));
}

async fn moved(State(known): State<Shared>) -> Redirect {
    Redirect::temporary(&format!("{}/bundle", known.lock().url))
}

async fn bundle(State(known): State<Shared>, headers: HeaderMap) -> Result<Response, StatusCode> {
    let offered = known.lock().offered.clone().ok_or(StatusCode::NOT_FOUND)?;
    let bytes = fs::read(&offered.file).map_err(|_| StatusCode::NOT_FOUND)?;
    let total = bytes.len();
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
    let first = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-')?.0.parse::<usize>().ok())
        .filter(|_| offered.ranges);
    known.lock().ranges.push(range.to_owned());
    if first.is_some_and(|first| first >= total) {
        return Err(StatusCode::RANGE_NOT_SATISFIABLE);
    }
    let rest = bytes[first.unwrap_or(0)..].to_vec();
    let mut response = Response::builder().header(header::CONTENT_LENGTH, rest.len());
    if let Some(first) = first {
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, format!("bytes {first}-{}/{total}", total - 1));
    }
    response
        .body(stream(rest, offered.cut_after, offered.slow))
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

fn stream(bytes: Vec<u8>, cut_after: Option<usize>, slow: Option<usize>) -> Body {
    const CHUNK: usize = 16 << 10;
    let chunks: Vec<Bytes> = bytes.chunks(CHUNK).map(Bytes::copy_from_slice).collect();
    let pause = slow.map(|bytes_a_second| Duration::from_secs_f64(CHUNK as f64 / bytes_a_second as f64));
    let sent = (chunks.into_iter(), 0_usize);
    Body::from_stream(futures_util::stream::unfold(Some(sent), move |state| async move {
        let (mut chunks, sent) = state?;
        if cut_after.is_some_and(|limit| sent >= limit) {
            // What was sent is on its way, or nothing of the answer would come.
            tokio::time::sleep(Duration::from_millis(50)).await;
            return Some((Err(io::Error::other("cut")), None));
        }
        let chunk = chunks.next()?;
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        let sent = sent + chunk.len();
        Some((Ok(chunk), Some((chunks, sent))))
    }))
}

/// A certificate and its key (PEM) for `name`, signed by an authority of its own, and the authority.
///
/// # Errors
/// When they cannot be made.
pub fn certificates(name: &str) -> anyhow::Result<[String; 3]> {
    let authority_key = rcgen::KeyPair::generate()?;
    let mut parameters = rcgen::CertificateParams::new(Vec::new())?;
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key)?;
    let issuer = rcgen::Issuer::from_params(&parameters, &authority_key);
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()])?
        .signed_by(&key, &issuer)
        .context("the certificate cannot be signed")?;
    Ok([certificate.pem(), key.serialize_pem(), authority.pem()])
}
