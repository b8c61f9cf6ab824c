//! Who this board is.

/// The name of one terminal for life, given at the factory: `[A-Za-z0-9_-]{1,64}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Udid(String);

impl Udid {
    /// Takes `text` when it is a valid name.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`].
    pub fn new(text: impl Into<String>) -> Result<Self, IdentityError> {
        let text = text.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(IdentityError::Malformed)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Udid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Udid {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<Udid> for String {
    fn from(udid: Udid) -> Self {
        udid.0
    }
}

/// Where a board keeps its name.
pub trait Identity: Send {
    /// Reads it.
    ///
    /// # Errors
    /// [`IdentityError::Absent`]: nothing is ever invented in its place.
    fn udid(&self) -> Result<Udid, IdentityError>;
}

/// Why a board has no name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is none.
    #[error("this board has no Udid ({looked_at}); provision it at the factory or set one in the profile")]
    Absent {
        /// Where it was looked for.
        looked_at: String,
    },
    /// A place that has one cannot be read, or what it has is not a name.
    #[error("the Udid at {place} cannot be used: {message}; correct it there")]
    Unusable {
        /// The place.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// What is there is not a name.
    #[error("a Udid has 1 to 64 characters out of A-Z a-z 0-9 _ -")]
    Malformed,
}
