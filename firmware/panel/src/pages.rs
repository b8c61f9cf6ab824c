//! The files of the page.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use tower_http::compression::CompressionLayer;
use tower_http::services::ServeDir;

const NOT_INSTALLED: &str = "The pages of the panel are not installed.\n\n\
    Build them in firmware/web (npm ci && npm run build) and point panel.pages_dir of the terminal's \
    configuration to dist/panel. The interface itself works: see /api/openapi.json.\n";

/// Serves `folder`: files as they are, and `index.html` for every address that is a place in the page.
pub(crate) fn pages(folder: &Path) -> Router {
    let index = Arc::new(folder.join("index.html"));
    let place = Router::new().fallback(place).with_state(index);
    let files = ServeDir::new(folder)
        .append_index_html_on_directories(false)
        .call_fallback_on_method_not_allowed(true)
        .fallback(place);
    Router::new().fallback_service(files).layer(CompressionLayer::new()).layer(middleware::from_fn(caching))
}

/// An address without a file.
async fn place(State(index): State<Arc<PathBuf>>, method: Method, uri: Uri) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, "A page can only be read.\n").into_response();
    }
    // A file that is absent must not look like a page: a browser would take it for a broken script.
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    match tokio::fs::read_to_string(&*index).await {
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, NOT_INSTALLED).into_response(),
        Ok(_) if last.contains('.') && last != "index.html" => {
            (StatusCode::NOT_FOUND, "There is no such file.\n").into_response()
        }
        Ok(page) => Html(page).into_response(),
    }
}

/// Names of built files carry their hash: they never change. All else is asked for again.
async fn caching(request: Request, next: Next) -> Response {
    let is_asset = request.uri().path().starts_with("/assets/");
    let mut response = next.run(request).await;
    let value = if is_asset && response.status().is_success() {
        HeaderValue::from_static("public, max-age=31536000, immutable")
    } else {
        HeaderValue::from_static("no-cache")
    };
    response.headers_mut().insert(header::CACHE_CONTROL, value);
    response
}
