//! Asks the service for a link by which guests come into the channel.

use std::time::Duration;

use rostrum_fleet::https::agent;
use url::Url;

/// Asks with the terminal's own token. `None` when the service gives no links, as a plain LiveKit server does not.
pub(crate) fn fetch(service: &Url, channel: &str, token: &str) -> Option<String> {
    let mut url = service.clone();
    let scheme = match service.scheme() {
        "ws" | "http" => "http",
        _ => "https",
    };
    // These schemes may replace each other.
    url.set_scheme(scheme).ok()?;
    url.set_path(&format!("/api/v1/channels/{channel}/invites"));
    let request =
        agent(Duration::from_secs(5)).post(url.as_str()).header("Authorization", &format!("Bearer {token}"));
    match request.send_json(serde_json::json!({})) {
        Ok(mut response) => {
            let answer: serde_json::Value = response.body_mut().read_json().ok()?;
            answer["link"].as_str().map(str::to_owned)
        }
        Err(error) => {
            log::debug!(error:%; "the service gives no link for guests");
            None
        }
    }
}
