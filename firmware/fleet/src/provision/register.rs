//! Makes a terminal's key known to the service (`PUT /api/v1/devices/{udid}`), which then gives it tokens.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rostrum_hal::identity::Udid;
use serde_json::{Value, json};
use url::Url;

use super::ProvisionError;
use crate::{https, site::Name};

/// Longest time for the request.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the service is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The terminal's name.
    pub udid: Udid,
    /// Its public key, as `rostrumd device-key` prints it.
    pub public_key: String,
    /// The only channels that it may join; all of its application when there is none.
    pub channels: Vec<Name>,
    /// The only user that it may be; any when there is none.
    pub user: Option<Name>,
}

impl Registration {
    /// The path below the service's address, and the body.
    pub fn request(&self) -> (String, Value) {
        let mut body = json!({"public_key": self.public_key});
        if !self.channels.is_empty() {
            body["channels"] = self.channels.iter().map(Name::as_str).collect();
        }
        if let Some(user) = &self.user {
            body["user"] = user.as_str().into();
        }
        (format!("/api/v1/devices/{}", self.udid), body)
    }

    /// Tells the service at `service`; `credentials` are `AppId:AppKey`.
    ///
    /// # Errors
    /// [`ProvisionError::Service`] with what it said.
    pub fn send(&self, service: &Url, credentials: &str) -> Result<(), ProvisionError> {
        let (path, body) = self.request();
        let mut url = service.clone();
        let scheme = if matches!(url.scheme(), "ws" | "http") { "http" } else { "https" };
        // These schemes may replace each other.
        let _ = url.set_scheme(scheme);
        url.set_path(&format!("{}{path}", service.path().trim_end_matches('/')));
        let failed = |message: String| ProvisionError::Service { url: url.to_string(), message };
        let authorization = format!("Basic {}", STANDARD.encode(credentials.trim()));
        let request = https::agent(PATIENCE).put(url.as_str()).header("Authorization", authorization);
        let request = request.config().http_status_as_error(false).build();
        let mut answer = request.send_json(body).map_err(|error| failed(error.to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        Err(failed(
            said["error"].as_str().map_or_else(|| format!("status {}", status.as_u16()), str::to_owned),
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_was_said_is_told() {
        let mut registration = Registration {
            udid: Udid::new("T-1").unwrap(),
            public_key: "KEY".into(),
            channels: Vec::new(),
            user: None,
        };
        assert_eq!(registration.request(), ("/api/v1/devices/T-1".into(), json!({"public_key": "KEY"})));
        registration.channels = vec![Name::try_from("a".to_owned()).unwrap()];
        registration.user = Some(Name::try_from("room".to_owned()).unwrap());
        let body = json!({"public_key": "KEY", "channels": ["a"], "user": "room"});
        assert_eq!(registration.request().1, body);
    }
}
