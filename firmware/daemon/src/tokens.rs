//! Where the terminal's tokens come from: a file that somebody renews, or the service, by the terminal's own key.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rostrum_fleet::{
    device_key::{self, DeviceKey, DeviceKeyError, KeyPlace},
    https,
};
use rostrum_rtc::{
    TokenSource,
    device_token::{Challenge, Claim, Token, TokenRequest, signature_text},
    names::{ChannelId, Udid, UserId},
};
use serde::de::DeserializeOwned;
use url::Url;

use crate::config::Service;

/// Longest time for one request.
const PATIENCE: Duration = Duration::from_secs(5);

/// The source of this configuration. A key is opened at each attempt: it may be registered, or plugged in, later.
pub(crate) fn source(service: &Service, udid: &str) -> Arc<dyn TokenSource> {
    match (&service.token_file, &service.device_key) {
        (Some(file), _) => Arc::new(TokenFile(file.clone())),
        (None, Some(key)) => Arc::new(DeviceTokens {
            service: service.token_service.clone().unwrap_or_else(|| service.url.clone()),
            channel: service.channel.clone(),
            user: service.user.clone(),
            udid: udid.to_owned(),
            key: key.clone(),
        }),
        // Refused when the configuration was read.
        (None, None) => Arc::new(String::new()),
    }
}

/// Reads the token from a file at each attempt, so that whoever renews it needs no restart.
struct TokenFile(PathBuf);

#[async_trait::async_trait]
impl TokenSource for TokenFile {
    async fn token(&self) -> Result<String, String> {
        let text = std::fs::read_to_string(&self.0)
            .map_err(|error| format!("the token file {} cannot be read: {error}", self.0.display()))?;
        let token = text.trim();
        if token.is_empty() {
            return Err(format!("the token file {} is empty", self.0.display()));
        }
        Ok(token.to_owned())
    }
}

/// Signs for a token.
#[derive(Clone)]
struct DeviceTokens {
    service: Url,
    channel: ChannelId,
    user: UserId,
    udid: String,
    key: KeyPlace,
}

#[async_trait::async_trait]
impl TokenSource for DeviceTokens {
    async fn token(&self) -> Result<String, String> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.ask()).await.map_err(|error| error.to_string())?
    }
}

impl DeviceTokens {
    fn ask(&self) -> Result<String, String> {
        let udid = Udid::new(self.udid.as_str()).map_err(|error| error.to_string())?;
        let key = device_key::open(&self.key).map_err(|error: DeviceKeyError| error.to_string())?;
        let Challenge { challenge, .. } = self.post("challenge", &serde_json::json!({}))?;
        let claim = Claim { udid: &udid, channel: &self.channel, user: &self.user, challenge: &challenge };
        let signature = sign(&*key, &claim)?;
        let request =
            TokenRequest { channel: self.channel.clone(), user: self.user.clone(), signature, challenge };
        let Token { token, .. } = self.post("token", &request)?;
        Ok(token)
    }

    fn post<T: DeserializeOwned>(&self, what: &str, body: &impl serde::Serialize) -> Result<T, String> {
        let mut url = self.service.clone();
        let scheme = if matches!(url.scheme(), "ws" | "http") { "http" } else { "https" };
        // These schemes may replace each other.
        let _ = url.set_scheme(scheme);
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{path}/api/v1/devices/{}/{what}", self.udid));
        let agent = https::agent(PATIENCE);
        let request = agent.post(url.as_str()).config().http_status_as_error(false).build();
        let mut answer = request.send_json(body).map_err(|error| format!("no token from {url}: {error}"))?;
        let status = answer.status();
        let text =
            answer.body_mut().read_to_string().map_err(|error| format!("no token from {url}: {error}"))?;
        if !status.is_success() {
            return Err(format!("no token from {url}: {}", refusal(status.as_u16(), &text)));
        }
        serde_json::from_str(&text).map_err(|error| format!("{url} answers something else: {error}"))
    }
}

fn sign(key: &dyn DeviceKey, claim: &Claim<'_>) -> Result<String, String> {
    let signature = key.sign(&claim.text()).map_err(|error| error.to_string())?;
    Ok(signature_text(&signature))
}

/// What the service says for people, or its status.
fn refusal(status: u16, text: &str) -> String {
    let answer: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    match (answer["error"].as_str(), answer["hint"].as_str()) {
        (Some(error), Some(hint)) => format!("{error}; {hint}"),
        _ if status == 404 => {
            "it gives no tokens for keys of terminals; name who does in service.token_service, or use token_file".into()
        }
        _ => format!("status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_empty_token_file_is_told() {
        let file = tempfile::NamedTempFile::new();
        assert!(file.is_ok());
        if let Ok(file) = file {
            let token = TokenFile(file.path().into()).token().await;
            assert!(token.is_err_and(|error| error.contains("is empty")));
        }
    }

    #[test]
    fn the_services_own_words_are_told() {
        let words = r#"{"error": "this service does not know the terminal", "hint": "register it"}"#;
        assert_eq!(refusal(401, words), "this service does not know the terminal; register it");
        assert_eq!(refusal(502, "<html>"), "status 502");
        assert!(refusal(404, "404 page not found").contains("service.token_service"));
    }
}
