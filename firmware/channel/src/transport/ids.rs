//! Short names that travel in header extensions: MID and RID. Both are copied with every packet, so they
//! are fixed-size values and not strings.

use std::{fmt, str::FromStr};

/// The longest MID or RID, in bytes: what a one-byte RTP header extension holds (RFC 8285 §4.2).
pub const MAX_NAME_LEN: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Name {
    len: u8,
    bytes: [u8; MAX_NAME_LEN],
}

impl Name {
    fn new(text: &[u8]) -> Option<Name> {
        let token = |b: &u8| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(b);
        if text.is_empty() || text.len() > MAX_NAME_LEN || !text.iter().all(token) {
            return None;
        }
        let mut bytes = [0; MAX_NAME_LEN];
        bytes[..text.len()].copy_from_slice(text);
        Some(Name { len: text.len() as u8, bytes })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// A name is empty, longer than [`MAX_NAME_LEN`] bytes or not an SDP token (RFC 8866 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a MID or RID must be a token of 1 to 16 bytes")]
pub struct NameError;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Name);

        impl $name {
            /// The name from the bytes of a header extension; `None` unless it is a token of 1 to
            /// [`MAX_NAME_LEN`] bytes.
            pub fn from_bytes(bytes: &[u8]) -> Option<$name> {
                Name::new(bytes).map($name)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// The name as it stands in a header extension.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<$name, NameError> {
                $name::from_bytes(text.as_bytes()).ok_or(NameError)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    };
}

name_type!(
    /// Names one media section of a connection (RFC 8843 §15, `a=mid`).
    Mid
);
name_type!(
    /// Names one simulcast layer inside a media section (RFC 8851, `a=rid`).
    Rid
);
