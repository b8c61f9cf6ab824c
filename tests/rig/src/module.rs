//! The parameters of the rig's kernel modules: what they count, and how they are broken.

use std::{fs, path::PathBuf};

use anyhow::Context;

/// A module by its name, such as `rig_h264`.
#[derive(Clone, Copy, Debug)]
pub struct Module(pub &'static str);

impl Module {
    fn file(self, parameter: &str) -> PathBuf {
        PathBuf::from(format!("/sys/module/{}/parameters/{parameter}", self.0))
    }

    /// What it has counted in a parameter.
    ///
    /// # Errors
    /// When the module is not loaded, or has no such number.
    pub fn count(self, parameter: &str) -> anyhow::Result<u64> {
        let file = self.file(parameter);
        let text = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
        Ok(text.trim().parse()?)
    }

    /// Raw frames that it was given without a copy, and those that were copied.
    ///
    /// # Errors
    /// As [`Module::count`].
    pub fn imported_and_copied(self) -> anyhow::Result<(u64, u64)> {
        Ok((self.count("imported")?, self.count("copied")?))
    }

    /// Sets a parameter to a text, and leaves it so.
    ///
    /// # Errors
    /// When the module is not loaded, has no such parameter, or refuses.
    pub fn tell(self, parameter: &str, text: &str) -> anyhow::Result<()> {
        let file = self.file(parameter);
        fs::write(&file, text).with_context(|| format!("{} takes no {text:?}", file.display()))
    }

    /// Sets a parameter, until what is given is dropped.
    ///
    /// # Errors
    /// When the module is not loaded, or has no such parameter.
    pub fn broken(self, parameter: &str, value: u32) -> anyhow::Result<Fault> {
        let file = self.file(parameter);
        fs::write(&file, value.to_string()).with_context(|| format!("no {}", file.display()))?;
        Ok(Fault(file))
    }
}

/// A parameter that is set back when the test ends, however it does.
pub struct Fault(PathBuf);

impl Drop for Fault {
    fn drop(&mut self) {
        let _ = fs::write(&self.0, "0");
    }
}
