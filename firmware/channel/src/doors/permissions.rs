//! Rights as the API says them: a role, or each of them.

use rostrum_rtc::token::{Grants, SOURCES};
use serde::Deserialize;
use utoipa::ToSchema;

use super::errors::Refusal;

/// A name for a set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// Publishes, subscribes, sends data.
    Host,
    /// Subscribes and sends data, but publishes no track.
    Listener,
}

/// Rights of a participant; what is not said is allowed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rights {
    /// May publish tracks.
    can_publish: Option<bool>,
    /// May subscribe to tracks.
    can_subscribe: Option<bool>,
    /// May send data; when it is not said, as `can_publish`.
    can_publish_data: Option<bool>,
    /// Only these sources: `camera`, `microphone`, `screen_share`, `screen_share_audio`.
    can_publish_sources: Vec<String>,
    /// May change its own name, metadata and attributes.
    can_update_own_metadata: Option<bool>,
    /// Others do not see it, and it publishes nothing.
    hidden: bool,
}

/// The grants of a token for a role or for rights; a host's when neither is said.
pub(super) fn grants(role: Option<Role>, rights: Option<Rights>) -> Result<Grants, Refusal> {
    let rights = match (role, rights) {
        (Some(_), Some(_)) => {
            return Err(Refusal::Bad("give either `role` or `grants`; both say what is allowed".to_string()));
        }
        (Some(Role::Listener), None) => {
            Rights { can_publish: Some(false), can_publish_data: Some(true), ..Rights::default() }
        }
        (Some(Role::Host), None) => Rights::default(),
        (None, rights) => rights.unwrap_or_default(),
    };
    if let Some(unknown) =
        rights.can_publish_sources.iter().find(|source| !SOURCES.contains(&source.as_str()))
    {
        return Err(Refusal::Bad(format!(
            "can_publish_sources names {unknown:?}; use one of {}",
            SOURCES.join(", ")
        )));
    }
    Ok(Grants {
        can_publish: rights.can_publish,
        can_subscribe: rights.can_subscribe,
        can_publish_data: rights.can_publish_data,
        can_publish_sources: rights.can_publish_sources,
        can_update_own_metadata: rights.can_update_own_metadata.or(Some(true)),
        hidden: rights.hidden,
        ..Grants::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_listener_hears_and_speaks_by_data_only() {
        let grants = grants(Some(Role::Listener), None).unwrap();
        assert!(!grants.may_publish() && grants.may_subscribe() && grants.may_publish_data());
    }

    #[test]
    fn rights_that_contradict_or_are_unknown_are_refused() {
        assert!(grants(Some(Role::Host), Some(Rights::default())).is_err());
        let rights = Rights { can_publish_sources: vec!["kamera".to_string()], ..Rights::default() };
        assert!(grants(None, Some(rights)).unwrap_err().to_string().contains("screen_share"));
    }
}
