//! A reset to factory, which this program may ask for and not do: a file in a folder that the system watches
//! (`rostrum-factory-reset.path`) makes it forget the data partition and restart.

use std::{fs, path::PathBuf};

/// Where to ask.
pub(crate) struct FactoryReset {
    request: PathBuf,
}

impl FactoryReset {
    pub(crate) fn new(request: PathBuf) -> Self {
        Self { request }
    }

    /// Asks; what the system does next ends this program.
    ///
    /// # Errors
    /// For people, with the file.
    pub(crate) fn ask(&self) -> Result<(), String> {
        let failed = |error| format!("{} cannot be written: {error}", self.request.display());
        fs::write(&self.request, "a person in the room or at the panel asked\n").map_err(failed)?;
        log::warn!("asked the system to reset this terminal to factory");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_asked_for_by_a_file_and_a_folder_that_is_missing_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let request = folder.path().join("factory-reset");
        FactoryReset::new(request.clone()).ask().unwrap();
        assert!(request.exists());
        let error = FactoryReset::new(folder.path().join("no/such")).ask().unwrap_err();
        assert!(error.contains("no/such cannot be written"), "{error}");
    }
}
