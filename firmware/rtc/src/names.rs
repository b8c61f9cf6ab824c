//! The names of the real-time service: AppId, ChannelId, UserId and DisplayName.
//!
//! All of them are `[A-Za-z0-9_-]{1,64}`. They validate when made, so that a function that takes a
//! [`ChannelId`] never sees a bad one; every door (URL, JSON, token) refuses anything else with the
//! text of [`NameError`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most characters a name may have.
pub const MAX_NAME_LENGTH: usize = 64;

/// A name that is not `[A-Za-z0-9_-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing was given.
    #[error("{kind} is empty; use 1 to 64 letters, digits, '_' or '-'")]
    Empty {
        /// Which name, for people: "channel", "user", ...
        kind: &'static str,
    },
    /// More than [`MAX_NAME_LENGTH`] characters.
    #[error("{kind} has {length} characters; use at most 64")]
    TooLong {
        /// Which name, for people.
        kind: &'static str,
        /// How many characters it has.
        length: usize,
    },
    /// A character outside of `[A-Za-z0-9_-]`.
    #[error("{kind} contains {character:?}; use only letters A-Z and a-z, digits, '_' and '-'")]
    Character {
        /// Which name, for people.
        kind: &'static str,
        /// The first character that is not allowed.
        character: char,
    },
}

fn check(kind: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { kind });
    }
    // The first wrong character is named before the length: it is the better hint.
    if let Some(character) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_' || *c == '-')) {
        return Err(NameError::Character { kind, character });
    }
    if text.len() > MAX_NAME_LENGTH {
        return Err(NameError::TooLong { kind, length: text.len() });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Makes one from text.
            ///
            /// # Errors
            /// [`NameError`] when the text is not `[A-Za-z0-9_-]{1,64}`.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check($kind, &text)?;
                Ok(Self(text))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
    };
}

name!(
    /// One application of the service (LiveKit's API key).
    AppId,
    "AppId"
);
name!(
    /// A meeting, a room, a conference (LiveKit's room name).
    ChannelId,
    "channel"
);
name!(
    /// Who is in a channel (LiveKit's identity). One UserId is in a channel once.
    UserId,
    "user"
);
name!(
    /// One hardware terminal, for life.
    Udid,
    "udid"
);
name!(
    /// What others read under a user's picture (LiveKit's participant name).
    DisplayName,
    "display name"
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letters_digits_underscore_and_hyphen_are_taken() {
        assert_eq!(ChannelId::new("Room_7-b").unwrap().as_str(), "Room_7-b");
        assert_eq!(UserId::new("x".repeat(64)).unwrap().as_str().len(), 64);
    }

    #[test]
    fn a_bad_name_is_refused_with_what_is_wrong() {
        assert_eq!(ChannelId::new("").unwrap_err(), NameError::Empty { kind: "channel" });
        assert_eq!(
            UserId::new("a b").unwrap_err().to_string(),
            "user contains ' '; use only letters A-Z and a-z, digits, '_' and '-'"
        );
        assert_eq!(UserId::new("x".repeat(65)).unwrap_err(), NameError::TooLong { kind: "user", length: 65 });
        assert!(DisplayName::new("Jörg").is_err());
    }

    #[test]
    fn json_refuses_bad_names_too() {
        assert!(serde_json::from_str::<ChannelId>("\"ok\"").is_ok());
        assert!(serde_json::from_str::<ChannelId>("\"../etc\"").is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_taken_matches_the_rule(text in "\\PC{0,80}") {
            let valid = (1..=64).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            prop_assert_eq!(AppId::new(text).is_ok(), valid);
        }
    }
}
