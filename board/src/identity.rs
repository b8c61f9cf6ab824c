//! A board's name in a file, and a name given at the start.

use std::path::PathBuf;

use rostrum_hal::identity::{Identity, IdentityError, Udid};
use serde::Deserialize;

use crate::{BoardError, drivers::Device};

/// Keys of `[identity]` with the driver `file`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// A text file with the name and nothing else.
    path: PathBuf,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Identity>, BoardError> {
    let Options { path } = device.options()?;
    Ok(Box::new(FileIdentity { path }))
}

/// The name `udid`, whatever the board says.
pub(crate) fn fixed(udid: Udid) -> Box<dyn Identity> {
    Box::new(FixedIdentity { udid })
}

struct FixedIdentity {
    udid: Udid,
}

impl Identity for FixedIdentity {
    fn udid(&self) -> Result<Udid, IdentityError> {
        Ok(self.udid.clone())
    }
}

/// Read at each call, so that a board provisioned while it runs needs no restart.
struct FileIdentity {
    path: PathBuf,
}

impl Identity for FileIdentity {
    fn udid(&self) -> Result<Udid, IdentityError> {
        let text = std::fs::read_to_string(&self.path)
            .map_err(|e| IdentityError::Absent { looked_at: format!("{}: {e}", self.path.display()) })?;
        Udid::new(text.trim())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_name_is_the_content_of_the_file_and_nothing_is_invented() {
        let folder = tempfile::tempdir().unwrap();
        let identity = FileIdentity { path: folder.path().join("udid") };
        let error = identity.udid().unwrap_err();
        assert!(error.to_string().contains("udid"), "{error}");
        std::fs::write(&identity.path, "board-1\n").unwrap();
        assert_eq!(identity.udid().unwrap().as_str(), "board-1");
        std::fs::write(&identity.path, "no name\n").unwrap();
        assert!(matches!(identity.udid(), Err(IdentityError::Malformed)));
    }
}
