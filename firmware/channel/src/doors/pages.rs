//! The guest's page: files that firmware/web built.

use std::path::Path;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use tower_http::services::{ServeDir, ServeFile};
use tower_http::set_header::SetResponseHeaderLayer;

use super::Doors;

/// Routes of `/guest` and the files below it.
pub(super) fn routes(pages: &Path) -> Router<Doors> {
    let index = pages.join("index.html");
    let missing = missing(pages);
    let page = move || {
        let (index, missing) = (index.clone(), missing.clone());
        async move { page(&index, missing).await }
    };
    let files = Router::new()
        .fallback_service(ServeDir::new(pages).append_index_html_on_directories(false))
        .layer(cache("no-cache"));
    let assets = Router::new()
        .fallback_service(ServeDir::new(pages.join("assets")))
        // Their names change with their content.
        .layer(cache("public, max-age=31536000, immutable"));
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/guest") }))
        .route("/guest", get(page.clone()))
        .route("/guest/", get(page))
        .nest_service("/guest/assets", assets)
        .fallback_service(Router::new().nest_service("/guest", files).fallback(not_found))
}

fn cache(value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, HeaderValue::from_static(value))
}

async fn page(index: &Path, missing: String) -> Response {
    if !index.is_file() {
        return (StatusCode::SERVICE_UNAVAILABLE, missing).into_response();
    }
    let request = axum::http::Request::new(axum::body::Body::empty());
    match ServeFile::new(index).try_call(request).await {
        Ok(response) => {
            let mut response = response.into_response();
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the page cannot be read: {error}")).into_response()
        }
    }
}

fn missing(pages: &Path) -> String {
    format!(
        "The guest's page is not in {}.\n\nBuild it: cd firmware/web && npm ci && npm run build\nThen name its \
         folder, firmware/web/dist/guest, as http.pages in the configuration of channeld, or copy it there.\n",
        pages.display()
    )
}

async fn not_found() -> (StatusCode, &'static str) {
    (
        StatusCode::NOT_FOUND,
        "there is nothing here; guests come by /guest, terminals by /rtc, programs by /api/v1\n",
    )
}
