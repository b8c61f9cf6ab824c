//! What a hawkBit server and a device say to each other (Direct Device Integration API, version 1, JSON).
//!
//! Unknown keys are passed over: servers grow. What is needed and missing is an error that names it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::update::{
    offer::{Bundle, Offer, Source, Urgency},
    record::{End, Outcome},
};

/// Why an answer of the server was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It is no such JSON.
    #[error("the update server's answer cannot be read: {0}")]
    Json(String),
    /// It offers nothing that can be installed.
    #[error("the update server's action {action} has {found} RAUC bundles (*.raucb); exactly one is needed")]
    NotOneBundle {
        /// The action.
        action: String,
        /// Bundles in it.
        found: usize,
    },
    /// The bundle has no address.
    #[error(
        "the update server's action {action} does not say where {file} is; it needs a link download or download-http"
    )]
    NoLink {
        /// The action.
        action: String,
        /// The bundle's name.
        file: String,
    },
}

impl From<serde_json::Error> for MessageError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}

/// The answer to a poll.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Poll {
    /// Seconds until the next one, when the server says so.
    pub sleep_s: Option<u64>,
    /// Where attributes of the device are to be put.
    pub config_data: Option<String>,
    /// Where a deployment is.
    pub deployment: Option<String>,
    /// Where a deployment is that waits for a yes.
    pub confirmation: Option<String>,
    /// Where an action is that is to be cancelled.
    pub cancel: Option<String>,
}

#[derive(Deserialize)]
struct Link {
    href: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PollLinks {
    config_data: Option<Link>,
    deployment_base: Option<Link>,
    confirmation_base: Option<Link>,
    cancel_action: Option<Link>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Polling {
    sleep: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PollConfig {
    polling: Polling,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawPoll {
    config: PollConfig,
    #[serde(rename = "_links")]
    links: PollLinks,
}

/// Reads the answer to a poll.
///
/// # Errors
/// [`MessageError::Json`].
pub fn poll(text: &[u8]) -> Result<Poll, MessageError> {
    let RawPoll { config, links } = serde_json::from_slice(text)?;
    let href = |link: Option<Link>| link.map(|link| link.href);
    Ok(Poll {
        sleep_s: config.polling.sleep.as_deref().and_then(seconds),
        config_data: href(links.config_data),
        deployment: href(links.deployment_base),
        confirmation: href(links.confirmation_base),
        cancel: href(links.cancel_action),
    })
}

/// `HH:MM:SS` as seconds.
fn seconds(text: &str) -> Option<u64> {
    let mut parts = text.split(':').map(|part| part.parse::<u64>().ok().filter(|part| *part < 1000));
    let seconds = parts.next()?? * 3600 + parts.next()?? * 60 + parts.next()??;
    parts.next().is_none().then_some(seconds)
}

#[derive(Deserialize)]
struct RawDeployment {
    id: Id,
    #[serde(alias = "confirmation")]
    deployment: Deployment,
}

/// An id is text in newer servers, and was a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        match id {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deployment {
    #[serde(default = "attempt")]
    download: Urgency,
    #[serde(default = "attempt")]
    update: Urgency,
    maintenance_window: Option<MaintenanceWindow>,
    #[serde(default)]
    chunks: Vec<Chunk>,
}

fn attempt() -> Urgency {
    Urgency::Attempt
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum MaintenanceWindow {
    Available,
    Unavailable,
}

#[derive(Deserialize)]
struct Chunk {
    version: Option<String>,
    #[serde(default)]
    metadata: Vec<Metadata>,
    #[serde(default)]
    artifacts: Vec<Artifact>,
}

#[derive(Deserialize)]
struct Metadata {
    key: String,
    value: String,
}

#[derive(Deserialize)]
struct Artifact {
    filename: String,
    size: Option<u64>,
    #[serde(default)]
    hashes: Hashes,
    #[serde(rename = "_links", default)]
    links: ArtifactLinks,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Hashes {
    sha256: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct ArtifactLinks {
    download: Option<Link>,
    download_http: Option<Link>,
}

/// The key of a chunk's metadata that says that it closes a hole; its value is `true`.
pub const SECURITY: &str = "rostrum-security";

/// Reads a deployment, or one that waits for a yes (`asks`).
///
/// # Errors
/// [`MessageError`].
pub fn deployment(text: &[u8], asks: bool) -> Result<Offer, MessageError> {
    let RawDeployment { id, deployment } = serde_json::from_slice(text)?;
    let action: String = id.into();
    let security = deployment
        .chunks
        .iter()
        .flat_map(|chunk| &chunk.metadata)
        .any(|metadata| metadata.key == SECURITY && metadata.value == "true");
    let mut bundles: Vec<_> = deployment
        .chunks
        .into_iter()
        .flat_map(|chunk| {
            let version = chunk.version;
            chunk.artifacts.into_iter().map(move |artifact| (version.clone(), artifact))
        })
        .filter(|(_, artifact)| artifact.filename.ends_with(".raucb"))
        .collect();
    let found = bundles.len();
    let (1, Some((version, artifact))) = (found, bundles.pop()) else {
        return Err(MessageError::NotOneBundle { action, found });
    };
    let Some(link) = artifact.links.download.or(artifact.links.download_http) else {
        return Err(MessageError::NoLink { action, file: artifact.filename });
    };
    let is_hash = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(Offer {
        source: Source::Server { action },
        version,
        bundle: Bundle::Remote {
            url: link.href,
            size: artifact.size,
            sha256: artifact.hashes.sha256.filter(is_hash).map(|hash| hash.to_ascii_lowercase()),
        },
        download: deployment.download,
        install: deployment.update,
        window: deployment.maintenance_window.map(|window| window == MaintenanceWindow::Available),
        security,
        asks,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCancel {
    id: Id,
    cancel_action: StopId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StopId {
    stop_id: Id,
}

/// An action that is to be cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// The cancelling's own id, under which it is answered.
    pub id: String,
    /// The action that is to be cancelled.
    pub action: String,
}

/// Reads what is to be cancelled.
///
/// # Errors
/// [`MessageError::Json`].
pub fn cancel(text: &[u8]) -> Result<Cancel, MessageError> {
    let RawCancel { id, cancel_action } = serde_json::from_slice(text)?;
    Ok(Cancel { id: id.into(), action: cancel_action.stop_id.into() })
}

/// How an action stands, for its `feedback`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// It goes on.
    Proceeding,
    /// The bundle is here.
    Downloaded,
    /// It is over.
    Closed,
    /// A cancelling came too late.
    Rejected,
}

/// The body of a `feedback`. `finished` is the end, when there is one.
pub fn feedback(id: &str, execution: Execution, finished: Option<bool>, text: &str) -> Value {
    let finished = match finished {
        None => "none",
        Some(true) => "success",
        Some(false) => "failure",
    };
    let status = json!({"execution": execution, "result": {"finished": finished}, "details": [text]});
    json!({"id": id, "status": status})
}

/// The body of the last `feedback` of an action.
pub fn last_feedback(action: &str, outcome: &Outcome) -> Value {
    feedback(action, Execution::Closed, Some(outcome.end == End::Success), &outcome.text)
}

/// The body of the answer to a server that asks.
pub fn answer(yes: bool) -> Value {
    let (word, text) = match yes {
        true => ("confirmed", "confirmed by the terminal"),
        false => ("denied", "a person at the terminal said no"),
    };
    json!({"confirmation": word, "code": if yes { 1 } else { -1 }, "details": [text]})
}

/// The body that tells the device's attributes.
pub fn attributes(of: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<_, _> =
        of.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    json!({"mode": "replace", "data": data})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn body(artifacts: Value) -> Value {
        json!({
            "id": "8",
            "deployment": {
                "download": "forced", "update": "attempt", "maintenanceWindow": "unavailable",
                "chunks": [
                    {"part": "doc", "version": "3", "name": "manual", "artifacts": []},
                    {"part": "os", "version": "1.1.0", "name": "rostrum", "artifacts": artifacts,
                     "metadata": [{"key": "rostrum-security", "value": "true"}]},
                ],
            },
        })
    }

    fn artifact(name: &str) -> Value {
        json!({
            "filename": name, "size": 5_000_000_000_u64,
            "hashes": {"sha1": "00", "sha256": "AB".repeat(32)},
            "_links": {"download": {"href": "https://u/x"}, "download-http": {"href": "http://u/x"}},
        })
    }

    #[test]
    fn a_deployment_becomes_an_offer() {
        let text = body(json!([artifact("r.raucb"), artifact("r.txt")])).to_string();
        let offer = deployment(text.as_bytes(), false).unwrap();
        assert_eq!(offer.source.action(), Some("8"));
        assert_eq!(offer.version.as_deref(), Some("1.1.0"));
        assert_eq!((offer.download, offer.install), (Urgency::Forced, Urgency::Attempt));
        assert_eq!((offer.window, offer.security, offer.asks), (Some(false), true, false));
        // Larger than 32 bits hold.
        let remote = Bundle::Remote {
            url: "https://u/x".into(),
            size: Some(5_000_000_000),
            sha256: Some("ab".repeat(32)),
        };
        assert_eq!(offer.bundle, remote);
    }

    #[test]
    fn what_cannot_be_installed_is_said_so() {
        for (artifacts, found) in [(json!([]), 0), (json!([artifact("a.raucb"), artifact("b.raucb")]), 2)] {
            let error = deployment(body(artifacts).to_string().as_bytes(), false).unwrap_err();
            assert_eq!(error, MessageError::NotOneBundle { action: "8".into(), found });
        }
        let mut without = artifact("r.raucb");
        without.as_object_mut().unwrap().remove("_links");
        let error = deployment(body(json!([without])).to_string().as_bytes(), false).unwrap_err();
        assert!(matches!(error, MessageError::NoLink { .. }), "{error}");
    }

    #[test]
    fn a_poll_says_what_is_there_and_when_to_come_again() {
        let text = json!({
            "config": {"polling": {"sleep": "00:05:30"}},
            "_links": {"deploymentBase": {"href": "http://u/d"}, "configData": {"href": "http://u/c"}},
        });
        let poll = poll(text.to_string().as_bytes()).unwrap();
        assert_eq!(poll.sleep_s, Some(330));
        assert_eq!(poll.deployment.as_deref(), Some("http://u/d"));
        assert_eq!((poll.cancel, poll.confirmation), (None, None));
        assert_eq!(super::poll(b"{}").unwrap(), Poll::default());
        for wrong in ["", "1:2", "1:2:3:4", "-1:00:00", "99999999999999999999:00:00"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ids_may_be_numbers() {
        let text = json!({"id": 11, "cancelAction": {"stopId": "8"}}).to_string();
        assert_eq!(cancel(text.as_bytes()).unwrap(), Cancel { id: "11".into(), action: "8".into() });
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z0-9:./]{0,12}".prop_map(Value::from),
        ];
        let key = prop_oneof![
            "id|config|polling|sleep|_links|href|deployment|chunks|artifacts|filename|hashes|sha256|size|download|update"
                .prop_map(String::from),
            "[a-z]{1,8}".prop_map(String::from),
        ];
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_readers(bytes: Vec<u8>) {
            let _ = (poll(&bytes), deployment(&bytes, false), cancel(&bytes));
        }

        #[test]
        fn no_json_breaks_the_readers(value in value()) {
            let text = value.to_string();
            let _ = (poll(text.as_bytes()), deployment(text.as_bytes(), true), cancel(text.as_bytes()));
        }

        /// A byte changed anywhere gives an offer or an error, and never another address without a byte of it changed.
        #[test]
        fn a_changed_byte_gives_an_offer_or_an_error(at: prop::sample::Index, byte: u8) {
            let mut text = body(json!([artifact("r.raucb")])).to_string().into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            let _ = deployment(&text, false);
        }
    }
}
