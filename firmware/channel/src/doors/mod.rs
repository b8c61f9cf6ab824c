//! The doors: HTTP and WebSocket. They check tokens and limits, and pass on to the media thread what gets in.

mod api;
mod auth;
mod devices;
mod errors;
mod gate;
mod guests;
mod join;
mod join_request;
mod listener;
mod pages;
mod participants;
mod permissions;
mod problem;
mod rate;
mod socket;
pub(crate) mod tls;
mod whip;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::routing::get;
use parking_lot::Mutex;
use rostrum_rtc::names::AppId;
use tokio_util::task::TaskTracker;
use tower_http::cors::{Any, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use url::Url;

use crate::config::Config;
use crate::devices::{Challenges, Devices};
use crate::threads::Threads;
pub(crate) use gate::{Gate, Limits as GateLimits, Pass};
pub(crate) use listener::{Listener, serve};
use rate::Bucket;

/// The longest body of an API request, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// What every door needs.
#[derive(Clone)]
pub(crate) struct Doors {
    config: Arc<Config>,
    public_url: Arc<Url>,
    threads: Threads,
    buckets: Arc<HashMap<AppId, Mutex<Bucket>>>,
    /// For requests that do not say (rightly) whose they are.
    strangers: Arc<Mutex<Bucket>>,
    sockets: TaskTracker,
    devices: Arc<Devices>,
    challenges: Arc<Challenges>,
}

impl Doors {
    pub(crate) fn new(
        config: Arc<Config>,
        public_url: Url,
        threads: Threads,
        sockets: TaskTracker,
        devices: Devices,
    ) -> Self {
        let bucket = || Mutex::new(Bucket::new(config.limits.requests_per_second));
        let buckets = config.apps.iter().map(|app| (app.id.clone(), bucket())).collect();
        let strangers = Arc::new(bucket());
        Self {
            buckets: Arc::new(buckets),
            strangers,
            public_url: Arc::new(public_url),
            threads,
            sockets,
            devices: Arc::new(devices),
            challenges: Arc::new(Challenges::new(rand::random())),
            config,
        }
    }

    /// All routes.
    pub(crate) fn router(self) -> Router {
        // Tokens travel in headers and never in cookies: a page of any origin may use its own.
        let cors = CorsLayer::new().allow_origin(Any).allow_headers(Any).allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ]);
        let header = |name: &'static str, value: &'static str| {
            SetResponseHeaderLayer::if_not_present(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let whip = whip::routes(self.config.limits.message_bytes);
        Router::new()
            .route("/rtc", get(join::two_connections))
            .route("/rtc/", get(join::two_connections))
            .route("/rtc/v1", get(join::one_connection))
            .route("/rtc/validate", get(join::validate))
            .route("/rtc/v1/validate", get(join::validate))
            .merge(api::routes())
            .merge(pages::routes(&self.config.http.pages))
            .layer(RequestBodyLimitLayer::new(MAX_BODY))
            .layer(cors)
            // After that layer: it would answer all OPTIONS, and these doors say more there.
            .merge(whip)
            .layer(header("x-content-type-options", "nosniff"))
            .layer(header("referrer-policy", "no-referrer"))
            .with_state(self)
    }
}
